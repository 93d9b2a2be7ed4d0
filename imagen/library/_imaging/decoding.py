"""Single point of access to Pillow: the header is checked before decoding, and
every failure becomes an `ImagenError`.

Image files are untrusted. A PNG of one kilobyte may claim a hundred gigapixels,
and Pillow reports damage by a dozen kinds of exceptions.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..._errors import InvalidRequestError, ProviderError, StorageError
from ...metadata._formats.svg import SVG
from ...metadata._image_header import read_image_header
from ...metadata._seen import MAX_PIXELS, check_size, decode

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

__all__ = ["MAX_PIXELS", "open_image", "read_image"]

# Pillow's forty other formats are not needed, and would enlarge the attack
# surface.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
# Largest image of MAX_PIXELS, uncompressed.
_MAX_BYTES = 4 * MAX_PIXELS


def open_image(
    source: bytes | Path, *, max_pixels: int = MAX_PIXELS, side: int | None = None
) -> Pixels:
    """Decode an image as RGB or RGBA, upright by its EXIF; of an animation the
    first frame. An SVG is drawn. Blocking.

    Of the metadata only an ICC profile is kept, in `info["icc_profile"]`.

    Args:
        source: The bytes of a PNG, JPEG, WebP, GIF or SVG file, or its path.
        max_pixels: Limit, checked before decoding; at most `MAX_PIXELS`.
        side: Longest side needed: a JPEG is decoded at reduced size, which is
            several times as fast. The result may still be larger. An SVG is
            drawn with this side.

    Raises:
        InvalidRequestError: it is not such an image, is damaged, or has too
            many pixels.
        ConfigurationError: it is an SVG, and the extra `svg` is not installed.
        StorageError: the file cannot be read.
    """
    data = read_image(source) if isinstance(source, Path) else source
    _check_head(data, min(max_pixels, MAX_PIXELS))
    return decode(data, _FORMATS, max_pixels=min(max_pixels, MAX_PIXELS), side=side)[0]


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
            f"The {len(data)} bytes are not an image: expected PNG, JPEG, WebP, GIF or SVG."
        ) from error
    if found.media_type != SVG:
        check_size(found.width, found.height, max_pixels)
