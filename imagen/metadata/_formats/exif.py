"""Fields of EXIF that matter here: the orientation, and the texts of programs
for generated images.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

__all__ = ["read_exif_texts", "read_orientation", "read_user_comment"]

_EXIF_IFD, _USER_COMMENT, _ORIENTATION = 0x8769, 0x9286, 0x0112
_CHARACTER_CODE_BYTES = 8
_UPRIGHT = 1
# Texts of the first directory, by the names that EXIF 3.0 gives them.
_TEXTS: Final = {
    "ImageDescription": 0x010E,
    "Make": 0x010F,
    "Model": 0x0110,
    "Software": 0x0131,
    "Artist": 0x013B,
    "XPComment": 0x9C9C,
}
_UTF16_TEXTS: Final = ("XPComment",)
# Bytes of one value by its type; a type of a later version counts as bytes.
_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 129: 1}
_INLINE_BYTES = 4


def read_orientation(exif: bytes) -> int | None:
    """Read the orientation, from 1 (upright) to 8; return None without a valid
    one.
    """
    found = _read(exif, _ORIENTATION)
    number = 0 if found is None else int.from_bytes(found, _byte_order(exif))
    return number if _UPRIGHT <= number <= 8 else None


def read_exif_texts(exif: bytes) -> dict[str, str]:
    """Read the texts of the first directory by name; empty ones are left out."""
    found = {}
    for name, tag in _TEXTS.items():
        value = _read(exif, tag)
        encoding = "utf-16-le" if name in _UTF16_TEXTS else "utf-8"
        text = "" if value is None else value.decode(encoding, "replace").strip("\0 ")
        if text:
            found[name] = text
    return found


def read_user_comment(exif: bytes) -> str | None:
    """Read the user comment of EXIF data, which begin with a TIFF header;
    return None without one.
    """
    below = _read(exif, _EXIF_IFD)
    if below is None or len(below) != _INLINE_BYTES:
        return None
    comment = _read(exif, _USER_COMMENT, int.from_bytes(below, _byte_order(exif)))
    return None if comment is None else _decode(comment)


def _byte_order(exif: bytes) -> Literal["little", "big"]:
    return "little" if exif.startswith(b"II") else "big"


def _read(exif: bytes, tag: int, directory: int | None = None) -> bytes | None:
    """Return the bytes of an entry, of the first directory if none is named."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        if directory is None:
            (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        return _find_entry(exif, order, directory, tag)
    except struct.error:
        return None


def _find_entry(exif: bytes, order: str, directory: int, tag: int) -> bytes | None:
    (entries,) = struct.unpack_from(f"{order}H", exif, directory)
    for number in range(entries):
        at = directory + 2 + 12 * number
        found, kind, count, value = struct.unpack_from(f"{order}HHII", exif, at)
        if found == tag:
            size = count * _SIZES.get(kind, 1)
            start = at + 8 if size <= _INLINE_BYTES else value
            return exif[start : start + size]
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
    if 0 not in text and _is_utf8(text):
        return text.decode("utf-8").strip(" ") or None
    # The high bytes of commas, digits and English letters are zero; their
    # position shows the byte order.
    little = text[::2].count(0) < text[1::2].count(0)
    return text.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\0 ") or None


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
