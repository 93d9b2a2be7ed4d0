"""User comment of EXIF, the only EXIF field that programs for generated images
use.
"""

from __future__ import annotations

import struct

__all__ = ["read_user_comment"]

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_CHARACTER_CODE_BYTES = 8


def read_user_comment(exif: bytes) -> str | None:
    """Read the user comment of EXIF data, which begin with a TIFF header;
    return None without one.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        found = _find_entry(exif, order, first, _EXIF_IFD)
        found = None if found is None else _find_entry(exif, order, found[1], _USER_COMMENT)
    except struct.error:
        return None
    if found is None:
        return None
    count, at = found
    return _decode(exif[at : at + count])


def _find_entry(exif: bytes, order: str, directory: int, tag: int) -> tuple[int, int] | None:
    """Return the number of values of a directory entry, and their offset."""
    (entries,) = struct.unpack_from(f"{order}H", exif, directory)
    for number in range(entries):
        found, _, count, value = struct.unpack_from(
            f"{order}HHII", exif, directory + 2 + 12 * number
        )
        if found == tag:
            return count, value
    return None


def _decode(comment: bytes) -> str | None:
    """Decode a comment by the character code in its first eight bytes.
    "UNICODE" is UTF-16, usually big-endian in any file.
    """
    code, text = comment[:_CHARACTER_CODE_BYTES], comment[_CHARACTER_CODE_BYTES:]
    if code.rstrip(b"\0 ") != b"UNICODE":
        return text.decode("utf-8", "replace").strip("\0 ") or None
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text.decode("utf-16", "replace").strip("\0 ") or None
    # In English text every other byte is zero; their position shows the byte
    # order.
    little = text[:64:2].count(0) < text[1:64:2].count(0)
    return text.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\0 ") or None
