"""The whole image in the bytes of a reply.

A body may have stray bytes around the image, such as a byte order mark or the
rest of a chunk, and it may end too early: a truncated image has a good header.
Pixels are not decoded.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping

from .._errors import ProviderError
from ._formats.svg import SVG, find_svg, read_svg
from ._image_header import read_image_header

__all__ = ["cut_out_image", "find_image_start"]

_STARTS = re.compile(rb"\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|\xff\xd8\xff", re.DOTALL)
# A head of an HTTP part or a line of a log fits into it.
_MOST_STRAY_BYTES = 4096


def find_image_start(data: bytes) -> int | None:
    """Return the offset of the first image near the start; None if there is
    none.
    """
    found = _STARTS.search(data, 0, _MOST_STRAY_BYTES + 12)
    # An SVG may hold the first bytes of another format, e.g. in a comment.
    starts = (
        None if found is None else found.start(),
        find_svg(data, most_before=_MOST_STRAY_BYTES),
    )
    return min((start for start in starts if start is not None), default=None)


def cut_out_image(data: bytes) -> bytes:
    """Return the image in the bytes, without stray bytes before it, and behind
    an SVG.

    Raises:
        ProviderError: there is no image, or its end is missing.
    """
    if start := find_image_start(data):
        data = data[start:]
    header = read_image_header(data)
    end = _svg_end(data) if header.media_type == SVG else len(data)
    if not end or not _ENDS[header.media_type](data):
        raise ProviderError(
            f"The reply has {len(data)} bytes of an image whose end is missing.", billed="yes"
        )
    return data[:end]


def _svg_end(data: bytes) -> int:
    """Return the offset behind a document, which ends there for every reader;
    0 without an end.
    """
    contents = read_svg(data)
    return 0 if contents is None else contents.end


def _has_png_end(data: bytes) -> bool:
    """Walk the chunks, of length, type, data and checksum (PNG, 5.3)."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + length
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Look for the end behind the start of the scan: a thumbnail in a segment
    before it has an end of its own. No scan has these two bytes in it.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            return data.find(b"\xff\xd9", at) > 0
        at += 1 if marker == 0xFF else 2 + max(2, length)
    return False


def _has_gif_end(data: bytes) -> bool:
    """Walk the blocks to the trailer (GIF89a, 15 to 27)."""
    at = 13 + _color_table_bytes(data[10])
    while at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C and at + 10 < len(data):
            at = _skip_sub_blocks(data, at + 11 + _color_table_bytes(data[at + 9]))
        elif data[at] == 0x21:
            at = _skip_sub_blocks(data, at + 2)
        else:
            return False
    return at < len(data)


def _color_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_sub_blocks(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        at += 1 + data[at]
    return at + 1


def _has_webp_end(data: bytes) -> bool:
    """Compare with the size in the header, which leaves out its first 8 bytes
    (RFC 9649).
    """
    return int.from_bytes(data[4:8], "little") + 8 <= len(data)


_ENDS: Mapping[str, Callable[[bytes], bool]] = {
    "image/png": _has_png_end,
    "image/jpeg": _has_jpeg_end,
    "image/gif": _has_gif_end,
    "image/webp": _has_webp_end,
    SVG: bool,
}
