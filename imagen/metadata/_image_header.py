"""Header of an image file: media type and size.

Pillow is not used: its import costs 20 ms and 3 MB, and requests need nothing
else of it. Supported are the formats that providers send; pixels are not read.
An SVG has no pixels: its size is that of its root, or of its viewBox.
"""

from __future__ import annotations

import struct

import msgspec

from .._errors import ProviderError
from ._formats.svg import SVG, find_svg, svg_size

__all__ = ["ImageHeader", "read_image_header"]

_PNG, _GIF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a")
# JPEG markers without a body: TEM, RST0 to RST7, SOI.
_ALONE = {0x01, *range(0xD0, 0xD9)}
# Start of frame, which has the size: sixteen markers less DHT, JPG and DAC
# (ITU-T T.81, table B.1).
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# No frame follows the start of scan or the end of image.
_TOO_LATE = {0xD9, 0xDA}


class ImageHeader(msgspec.Struct, frozen=True, kw_only=True):
    """Media type and size of an image, in pixels."""

    media_type: str
    width: int
    height: int


def read_image_header(data: bytes) -> ImageHeader:
    """Read media type and size from the header of an image.

    Raises:
        ProviderError: the bytes are not a supported image.
    """
    try:
        media_type, (width, height) = _read_head(data)
    except struct.error:
        width = height = 0
    if not width or not height:
        raise ProviderError(
            f"The reply has {len(data)} bytes that are not an image: expected PNG, JPEG, WebP, GIF"
            " or SVG.",
            billed="yes",
        )
    return ImageHeader(media_type=media_type, width=width, height=height)


def _read_head(data: bytes) -> tuple[str, tuple[int, int]]:
    if data.startswith(_PNG) and data[12:16] == b"IHDR":
        return "image/png", struct.unpack_from(">II", data, 16)
    if data.startswith(_GIF):
        return "image/gif", struct.unpack_from("<HH", data, 6)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp", _webp_size(data)
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", _jpeg_size(data)
    if (start := find_svg(data)) is not None:
        return SVG, svg_size(data[start:])
    return "", (0, 0)


def _webp_size(data: bytes) -> tuple[int, int]:
    """Read the first chunk, which is one of three kinds (RFC 9649)."""
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(
                data[27:30], "little"
            )
        case b"VP8L" if data[20:21] == b"\x2f":
            (bits,) = struct.unpack_from("<I", data, 21)
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 " if data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case _:
            return 0, 0


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Read the first frame; segments before it are skipped by their length."""
    at = 2
    while True:
        filler, marker = struct.unpack_from(">BB", data, at)
        if filler != 0xFF or marker in _TOO_LATE:
            return 0, 0
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + max(2, length)
