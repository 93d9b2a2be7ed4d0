"""Images as a person sees them: upright, in the colours of a screen, 8 bits a
channel.

Files say how they are to be shown: turned by EXIF, in the colours of a press,
with one colour that is transparent. Many readers ignore that, and draw what
no person sees. Pillow is imported only for files that need it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Final

import msgspec

from .._errors import ImagenError, InvalidRequestError, ProviderError
from ._embed import kind_of, packet_of
from ._file_kinds import HEAD_BYTES, other_format
from ._formats.exif import read_orientation
from ._formats.jpeg import jpeg_channels, jpeg_exif
from ._formats.png import png_exif, png_pixel_form
from ._formats.svg import SVG, svg_size
from ._formats.webp import webp_exif
from ._formats.xmp import read_packet
from ._image_header import read_image_header
from ._svg_drawing import draw_svg

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = [
    "MAX_PIXELS",
    "SeenImage",
    "as_rgb",
    "as_seen",
    "check_size",
    "decode",
    "one_line",
    "pixels_of",
]

# 8192 by 8192: a quarter of a gigabyte as RGBA. It is below the size at which
# Pillow warns of decompression bombs.
MAX_PIXELS: Final = 1 << 26
# Formats that the library does not hold; others of Pillow's forty are not
# needed, and would enlarge the attack surface.
_CONVERTED: Final = ("AVIF", "HEIF", "TIFF", "BMP", "JPEG2000")
_LOSSY: Final = ("JPEG", "MPO", "AVIF", "HEIF", "JPEG2000")
_READABLE: Final = ("PNG", "JPEG", "WEBP", "GIF", *_CONVERTED)
_JPEG_QUALITY: Final = 95
_LEAST_DRAWN: Final = 1024
_UPRIGHT: Final = 1
_TIFF_ORIENTATION: Final = "{http://ns.adobe.com/tiff/1.0/}Orientation"
# Position of the colour space in an ICC profile (ICC.1:2022, 7.2.6).
_COLOUR_SPACE: Final = slice(16, 20)


class SeenImage(msgspec.Struct, frozen=True, kw_only=True):
    """Image as a person sees it, encoded; `is_changed` unless these are the
    bytes of the file.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    is_changed: bool = False


def as_seen(data: bytes, *, max_pixels: int = MAX_PIXELS) -> SeenImage:
    """Return an image as a person sees it; the same bytes if they show that to
    every reader. Blocking.

    A photo becomes a JPEG of high quality, everything else a PNG.

    Args:
        data: Bytes of a PNG, JPEG, WebP or GIF file, of an AVIF, BMP, HEIC,
            JPEG 2000 or TIFF file if Pillow reads that, or of an SVG.
        max_pixels: Limit, checked before decoding.

    Raises:
        InvalidRequestError: it is no such image, is damaged, or has too many
            pixels.
        ConfigurationError: it is an SVG, and the extra `svg` is not installed.
    """
    if kind_of(data) and not _misleads(data):
        return _unchanged(data)
    # An SVG of an icon is drawn larger than its few pixels.
    side = max(_LEAST_DRAWN, *svg_size(data)) if kind_of(data) == SVG else None
    image, is_lossy = _decode(data, min(max_pixels, MAX_PIXELS), side)
    return _encode(image, as_jpeg=is_lossy and image.mode == "RGB")


def pixels_of(data: bytes) -> Pixels:
    """Decode an image as a person sees it, as RGB or RGBA, with its ICC profile.

    Raises:
        InvalidRequestError: it is no image, is damaged, or has too many pixels.
    """
    return _decode(data, MAX_PIXELS, None)[0]


def _unchanged(data: bytes) -> SeenImage:
    try:
        found = read_image_header(data)
    except ProviderError:
        raise _not_an_image(data) from None
    return SeenImage(data=data, media_type=found.media_type, width=found.width, height=found.height)


def _not_an_image(data: bytes) -> InvalidRequestError:
    if _is_heic(data):
        return InvalidRequestError(
            'HEIC images need another package: pip install "imagen-trio[heic]", or convert the'
            " image to PNG or JPEG."
        )
    return InvalidRequestError(
        f"The {len(data):,} bytes are not a PNG, JPEG, WebP or GIF image, nor one that Pillow"
        " converts (AVIF, BMP, HEIC, JPEG 2000, TIFF)."
    )


def _misleads(data: bytes) -> bool:
    """Return whether a careless reader shows something else."""
    if (_orientation(data) or _UPRIGHT) != _UPRIGHT:
        return True
    match kind_of(data):
        case "image/png":
            # Pillow and others clip 16 bits of grey at 255.
            return png_pixel_form(data) == (16, 0)
        case "image/jpeg":
            return jpeg_channels(data) == 4
        case "image/svg+xml":
            return True
        case _:
            return False


def _orientation(data: bytes) -> int | None:
    readers: dict[str, Callable[[bytes], bytes | None]] = {
        "image/png": png_exif,
        "image/jpeg": jpeg_exif,
        "image/webp": webp_exif,
    }
    reader = readers.get(kind_of(data))
    exif = None if reader is None else reader(data)
    found = None if exif is None else read_orientation(exif)
    # As in Pillow, XMP counts if EXIF has none.
    return found or _xmp_orientation(packet_of(data))


def _xmp_orientation(packet: str | None) -> int | None:
    if packet is None or "Orientation" not in packet:
        return None
    text = (read_packet(packet) or {}).get(_TIFF_ORIENTATION, "")
    return int(text) if text in set("12345678") else None


def _decode(data: bytes, max_pixels: int, side: int | None) -> tuple[Pixels, bool]:
    """Return the pixels, and whether the file is a photo's."""
    import PIL

    try:
        image, name = decode(data, _formats(data), max_pixels=max_pixels, side=side)
    except InvalidRequestError as error:
        if isinstance(error.__cause__, PIL.UnidentifiedImageError):
            raise _not_an_image(data) from None
        raise
    return image, name in _LOSSY


def decode(
    data: bytes, formats: list[str] | tuple[str, ...], *, max_pixels: int, side: int | None = None
) -> tuple[Pixels, str | None]:
    """Decode an image of one of the formats of Pillow, upright, as RGB or RGBA,
    and return it with the name of its format. An SVG is drawn. Blocking.

    Of the metadata only an ICC profile is kept, in `info["icc_profile"]`. With
    `side`, the longest side needed, a JPEG is decoded at reduced size, and an
    SVG is drawn with that side.

    Raises:
        InvalidRequestError: it is not such an image, is damaged, or has too
            many pixels.
        ConfigurationError: it is an SVG, and the extra `svg` is not installed.
    """
    import PIL.Image
    import PIL.ImageOps

    if kind_of(data) == SVG:
        data = draw_svg(data, max_pixels=max_pixels, side=side)
    try:
        with PIL.Image.open(BytesIO(data), formats=formats) as opened:
            # A frame of a GIF may be larger than its header claims.
            check_size(*opened.size, max_pixels)
            if side is not None:
                opened.draft(None, (side, side))
            profile, name = _rgb_profile(opened), opened.format
            image = as_rgb(PIL.ImageOps.exif_transpose(opened))
    except ImagenError:
        raise
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, EOFError, struct.error
        # and more, and warnings if they are errors.
        raise InvalidRequestError(
            f"The image is damaged and cannot be decoded: {one_line(error)}."
        ) from error
    image.info = {} if profile is None else {"icc_profile": profile}
    return image, name


def _formats(data: bytes) -> list[str]:
    import PIL.Image

    if _is_heic(data):
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
    PIL.Image.init()
    return [name for name in _READABLE if name in PIL.Image.OPEN]


def _is_heic(data: bytes) -> bool:
    return other_format(data[:HEAD_BYTES]) == "HEIC"


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise InvalidRequestError for an image that is too large to be decoded."""
    if width * height > max_pixels:
        raise InvalidRequestError(
            f"The image claims {width}x{height} pixels; at most {max_pixels:,} are decoded. Make it"
            " smaller first."
        )


def _encode(image: Pixels, *, as_jpeg: bool) -> SeenImage:
    file = BytesIO()
    profile = image.info.get("icc_profile")
    if as_jpeg:
        image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0, icc_profile=profile)
    else:
        image.save(file, "PNG", compress_level=3, icc_profile=profile)
    return SeenImage(
        data=file.getvalue(),
        media_type="image/jpeg" if as_jpeg else "image/png",
        width=image.width,
        height=image.height,
        is_changed=True,
    )


# --- colours ------------------------------------------------------------------


def as_rgb(image: Pixels) -> Pixels:
    """Convert pixels to RGB, or RGBA if some may be transparent."""
    if image.mode in ("RGB", "RGBA") and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.mode == "CMYK":
        return _from_cmyk(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_16_bits(image: Pixels) -> Pixels:
    import PIL.ImageMath

    # Pillow clips values above 255 when it converts 16 bits to 8.
    grey = image.point(lambda value: value / 256).convert("L")
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return grey.convert("RGB")
    alpha = PIL.ImageMath.lambda_eval(
        lambda names: names["convert"]((names["grey"] != clear) * 255, "L"),
        grey=image.convert("I"),
    )
    canvas = grey.convert("RGB")
    canvas.putalpha(alpha)
    return canvas


def _from_cmyk(image: Pixels) -> Pixels:
    """Convert the colours of a press by their profile, else roughly."""
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile[_COLOUR_SPACE] == b"CMYK":
        from PIL import ImageCms

        with suppress(ImageCms.PyCMSError, OSError):
            found = ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
            if found is not None:
                return found
    return image.convert("RGB")


def _rgb_profile(image: Pixels) -> bytes | None:
    """Return the ICC profile of an image, if it is one of RGB."""
    profile = image.info.get("icc_profile")
    is_rgb = isinstance(profile, bytes) and profile[_COLOUR_SPACE] == b"RGB "
    return profile if is_rgb else None


def one_line(error: Exception) -> str:
    """Return the text of an exception of Pillow on one line: it may quote the
    file.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in str(error))
    return text[:200].rstrip(". ") or "no reason given"
