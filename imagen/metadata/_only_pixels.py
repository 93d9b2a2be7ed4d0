"""Detection of data besides the pixels of a file.

Unknown parts may contain anything, and so may data after the end of an image.
"""

from __future__ import annotations

import re
from typing import Final

from ._embed import kind_of
from ._formats.png import png_kinds
from ._formats.webp import webp_kinds

__all__ = ["holds_only_pixels"]

_PNG: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs tIME acTL"
    b" fcTL fdAT caBX".split()
)
_WEBP: Final = frozenset((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"C2PA"))
_JPEG_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])")
# Within a scan 0xFF00 is pixel data, and 0xFFD0 to 0xFFD7 number its parts.
_MARKER_IN_SCAN: Final = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
# Frames, tables and scans; other markers are application data or comments.
_JPEG_OWN: Final = range(0xC0, 0xE0)
_JPEG_APPS: Final = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEB: b"JP", 0xEE: b"Adobe"}
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_GIF_FRAME, _GIF_EXTENSION, _GIF_END = 0x2C, 0x21, 0x3B
_GIF_CONTROL: Final = b"\xf9"
_GIF_LOOPS: Final = (b"\xff\x0bNETSCAPE2.0\x03\x01", b"\xff\x0bANIMEXTS1.0\x03\x01")


def holds_only_pixels(data: bytes) -> bool:
    """Return whether a file has nothing but pixels, their colours and times, a
    date, and a C2PA manifest, up to the last byte.
    """
    match kind_of(data):
        case "image/png":
            return png_kinds(data) <= _PNG
        case "image/webp":
            return webp_kinds(data) <= _WEBP
        case "image/jpeg":
            return _is_bare_jpeg(data)
        case "image/svg+xml":
            # Its text, scripts and links are shown or run by a browser.
            return False
    try:
        return _is_bare_gif(data)
    except IndexError:
        return False


def _is_bare_jpeg(data: bytes) -> bool:
    at, in_scan = 2, False
    while found := _MARKER_IN_SCAN.search(data, at) if in_scan else _JPEG_MARKER.match(data, at):
        at, marker = found.end(), found[1][0]
        if marker == _END_OF_IMAGE:
            return at == len(data)
        is_known = marker in _JPEG_OWN or (
            marker in _JPEG_APPS and data.startswith(_JPEG_APPS[marker], at + 2)
        )
        if not is_known:
            return False
        at += int.from_bytes(data[at : at + 2])
        in_scan = marker == _START_OF_SCAN
    # A truncated file has no end.
    return in_scan


def _is_bare_gif(data: bytes) -> bool:
    at = 13 + _colours(data[10])
    while data[at] != _GIF_END:
        if data[at] == _GIF_FRAME:
            at = _behind_blocks(data, at + 11 + _colours(data[at + 9]))
        elif data[at] == _GIF_EXTENSION and data.startswith((_GIF_CONTROL, *_GIF_LOOPS), at + 1):
            at = _behind_blocks(data, at + 2)
        else:
            return False
    return at + 1 == len(data)


def _colours(flags: int) -> int:
    """Return the size of a colour table in bytes."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1
