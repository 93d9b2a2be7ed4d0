"""Formats of image files by their first bytes."""

from __future__ import annotations

from typing import Final

from ._embed import kind_of

__all__ = ["HEAD_BYTES", "other_format", "is_held"]

# An SVG may have a declaration and a comment before its root.
HEAD_BYTES: Final = 4096
# ISO base media files by their brand: AVIF (AV1 Image File Format, 2024) and
# HEIF (ISO 23008-12).
_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
    ),
}
_HEADS: Final = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"8BPS": "Photoshop",
    b"qoif": "QOI",
    b"\x76\x2f\x31\x01": "OpenEXR",
}
# Sizes of the second header of a bitmap; without them "BM" begins many texts.
_BITMAP_HEADERS: Final = (12, 40, 52, 56, 64, 108, 124)


def is_held(head: bytes) -> bool:
    """Return whether a file that begins so is of a format of the library."""
    return bool(kind_of(head))


def other_format(head: bytes) -> str | None:
    """Return the name of the image format of a file that begins so, if the
    library does not hold it; None if it is no image.
    """
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if head.startswith(b"BM"):
        size = int.from_bytes(head[14:18], "little")
        return "BMP" if size in _BITMAP_HEADERS else None
    return next((name for start, name in _HEADS.items() if head.startswith(start)), None)
