"""The one door to Pillow: nothing is decoded before its head was looked at, and
whatever goes wrong is one of our errors.

An image file is a stranger's word. A PNG of a kilobyte may claim a hundred
gigapixels, and Pillow answers what is broken with a dozen kinds of exceptions.
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
# Pillow warns of bombs, so it never does.
MAX_PIXELS = 1 << 26
# The formats that imagen knows; Pillow has forty others, which nobody needs and
# somebody may attack.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# No image of MAX_PIXELS is larger, uncompressed.
_MAX_BYTES = 4 * MAX_PIXELS
# Where an ICC profile says which colours it is for (ICC.1:2022, 7.2.6).
_COLOUR_SPACE = slice(16, 20)


def open_image(
    source: bytes | Path, *, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> Pixels:
    """Decodes an image: as RGB or RGBA, upright as its EXIF says, of an
    animation the first frame. Blocking.

    Of what the file says beside the pixels only an ICC profile stays, in
    `info["icc_profile"]`.

    Args:
        source: The bytes of a PNG, JPEG, WebP or GIF file, or its path.
        max_pixels: More are refused before anything is decoded; at most
            `MAX_PIXELS`.
        side: Where no side longer than so many pixels is wanted: a JPEG is then
            decoded at a part of its size, which is several times as fast. The
            image may still be larger than that.

    Raises:
        InvalidRequestError: it is no such image, is damaged, or has too many
            pixels.
        StorageError: the file cannot be read.
    """
    data = read_image(source) if isinstance(source, Path) else source
    _check_head(data, min(max_pixels, MAX_PIXELS))
    import PIL.Image
    import PIL.ImageOps

    try:
        with PIL.Image.open(BytesIO(data), formats=_FORMATS) as opened:
            # A frame of a GIF may be larger than its head says.
            _check_size(*opened.size, min(max_pixels, MAX_PIXELS))
            if side is not None:
                opened.draft(None, (side, side))
            profile = opened.info.get("icc_profile")
            image = _as_rgb(PIL.ImageOps.exif_transpose(opened))
    except ImagenError:
        raise
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, EOFError, struct.error
        # and more, and warnings where they are errors.
        raise InvalidRequestError(
            f"The image is damaged and cannot be decoded: {_one_line(error)}."
        ) from error
    is_rgb_profile = isinstance(profile, bytes) and profile[_COLOUR_SPACE] == b"RGB "
    image.info = {"icc_profile": profile} if is_rgb_profile else {}
    return image


def read_image(path: Path) -> bytes:
    """The bytes of a file, unless it is far too large for an image. Blocking.

    Raises:
        InvalidRequestError: it is.
        StorageError: the file cannot be read.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidRequestError(
                f"The file {path.name} has more than {_MAX_BYTES >> 20} MiB, which no image needs."
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
            f"The {len(data)} bytes are no PNG, JPEG, WebP or GIF image."
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
        # Pillow cuts off what is brighter than 255 where sixteen bits become
        # eight.
        image = image.point(lambda value: value / 256).convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _one_line(error: Exception) -> str:
    # What Pillow says may quote the file.
    return (
        "".join(letter if letter.isprintable() else " " for letter in str(error))[:200].rstrip(". ")
        or "no reason given"
    )
