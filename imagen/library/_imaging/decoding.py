"""Single point of access to Pillow: the header is checked before decoding, and
every failure becomes an `ImagenError`.

Image files are untrusted. A PNG of one kilobyte may claim a hundred gigapixels,
and Pillow reports damage by a dozen kinds of exceptions.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..._errors import ImagenError, InvalidRequestError, ProviderError, StorageError
from ...metadata._image_header import read_image_header

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = ["MAX_PIXELS", "open_image", "read_image"]

# 8192 by 8192: a quarter of a gigabyte as RGBA. It is below the size at which
# Pillow warns of decompression bombs.
MAX_PIXELS = 1 << 26
# Pillow's forty other formats are not needed, and would enlarge the attack
# surface.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# Largest image of MAX_PIXELS, uncompressed.
_MAX_BYTES = 4 * MAX_PIXELS
# Position of the colour space in an ICC profile (ICC.1:2022, 7.2.6).
_COLOUR_SPACE = slice(16, 20)


def open_image(
    source: bytes | Path, *, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> Pixels:
    """Decode an image as RGB or RGBA, upright by its EXIF; of an animation the
    first frame. Blocking.

    Of the metadata only an ICC profile is kept, in `info["icc_profile"]`.

    Args:
        source: The bytes of a PNG, JPEG, WebP or GIF file, or its path.
        max_pixels: Limit, checked before decoding; at most `MAX_PIXELS`.
        side: Longest side needed: a JPEG is decoded at reduced size, which is
            several times as fast. The result may still be larger.

    Raises:
        InvalidRequestError: it is not such an image, is damaged, or has too
            many pixels.
        StorageError: the file cannot be read.
    """
    data = read_image(source) if isinstance(source, Path) else source
    _check_head(data, min(max_pixels, MAX_PIXELS))
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(BytesIO(data), formats=_FORMATS) as opened:
            # A frame of a GIF may be larger than its header claims.
            _check_size(*opened.size, min(max_pixels, MAX_PIXELS))
            if side is not None:
                opened.draft(None, (side, side))
            profile = opened.info.get("icc_profile")
            image = _as_rgb(PIL.ImageOps.exif_transpose(opened))
    except ImagenError:
        raise
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, EOFError, struct.error
        # and more, and warnings if they are errors.
        raise InvalidRequestError(
            f"The image is damaged and cannot be decoded: {_one_line(error)}."
        ) from error
    is_rgb_profile = isinstance(profile, bytes) and profile[_COLOUR_SPACE] == b"RGB "
    image.info = {"icc_profile": profile} if is_rgb_profile else {}
    return image


def read_image(path: Path) -> bytes:
    """Read a file, unless it is too large for an image. Blocking.

    Raises:
        InvalidRequestError: the file is too large.
        StorageError: the file cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidRequestError(
                f"The file {path.name} is too large: expected an image of at most"
                f" {_MAX_BYTES >> 20} MiB."
            )
        return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"The image {path} cannot be read: {error.strerror or error}."
        ) from error


def _check_head(data: bytes, max_pixels: int) -> None:
    try:
        found = read_image_header(data)
    except ProviderError as error:
        raise InvalidRequestError(
            f"The {len(data)} bytes are not an image: expected PNG, JPEG, WebP or GIF."
        ) from error
    _check_size(found.width, found.height, max_pixels)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InvalidRequestError(
            f"The image claims {width}x{height} pixels; at most {max_pixels:,} are decoded. Make it"
            " smaller first."
        )


def _as_rgb(image: Pixels) -> Pixels:
    if image.mode in ("RGB", "RGBA"):
        image.load()
        return image
    if image.mode.startswith("I"):
        # Pillow clips values above 255 when it converts 16 bits to 8.
        image = image.point(lambda value: value / 256).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _one_line(error: Exception) -> str:
    # Pillow's messages may quote the file.
    return (
        "".join(letter if letter.isprintable() else " " for letter in str(error))[:200].rstrip(". ")
        or "no reason given"
    )
