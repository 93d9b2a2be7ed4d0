"""The whole image in the bytes of a reply.

A body may have stray bytes around the image, such as a byte order mark or the
rest of a chunk, and it may end too early: a truncated image has a good header.
Pixels are not decoded.
"""

from __future__ import annotations

import re
import struct

from .._errors import ProviderError
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
    return None if found is None else found.start()


def cut_out_image(data: bytes) -> bytes:
    """Return the image in the bytes, without stray bytes before it.

    Raises:
        ProviderError: there is no image, or its end is missing.
    """
    if start := find_image_start(data):
        data = data[start:]
    header = read_image_header(data)
    if not _ENDS[header.media_type](data):
        raise ProviderError(
            f"The reply has {len(data)} bytes of an image whose end is missing.", billed="yes"
        )
    return data


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
    return data.rfind(b"\xff\xd9") > 0


def _has_gif_end(data: bytes) -> bool:
    return data.rfind(b"\x3b") > 0


def _has_webp_end(data: bytes) -> bool:
    """Compare with the size in the header, which leaves out its first 8 bytes
    (RFC 9649).
    """
    return int.from_bytes(data[4:8], "little") + 8 <= len(data)


_ENDS = {
    "image/png": _has_png_end,
    "image/jpeg": _has_jpeg_end,
    "image/gif": _has_gif_end,
    "image/webp": _has_webp_end,
}
