"""Text chunks of a PNG file (PNG specification, third edition, 11.3.3); all
other chunks stay unchanged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from .inflate import LARGEST_TEXT, MOST_TEXT, inflate

__all__ = [
    "drop_texts",
    "embed_texts",
    "is_png_sealed",
    "png_exif",
    "png_keys",
    "png_kinds",
    "png_pixel_form",
    "read_texts",
]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_RAW_EXIF = "Raw profile type exif"
_NAMES = {b"iCCP": "ICC", b"eXIf": "EXIF", b"tIME": "tIME", b"caBX": "C2PA"}


class _Chunk(NamedTuple):
    kind: bytes
    start: int
    end: int
    body: memoryview


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield every complete chunk; a truncated file has no IEND."""
    at, view = len(_SIGNATURE), memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            return
        yield _Chunk(kind, at, end, view[at + 8 : end - 4])
        if kind == b"IEND":
            return
        at = end


def read_texts(data: bytes) -> dict[str, str]:
    """Return the texts by keyword, the first of each; damaged or too large ones
    are skipped.
    """
    texts: dict[str, str] = {}
    left = MOST_TEXT
    for chunk in _chunks(data):
        if chunk.kind in _TEXT_KINDS and left > 0:
            keyword, text = _read_text(chunk.kind, chunk.body)
            if text is not None:
                texts.setdefault(keyword, text)
                left -= len(text)
    return texts


def _keyword(body: memoryview) -> str:
    """Return the keyword before the first zero byte, at most 79 characters."""
    head, found, _ = bytes(body[:80]).partition(b"\0")
    return head.decode("latin-1") if found else ""


def _read_text(kind: bytes, body: memoryview) -> tuple[str, str | None]:
    keyword = _keyword(body)
    rest = body[len(keyword) + 1 :]
    if not keyword or len(rest) > LARGEST_TEXT:
        return "", None
    match kind:
        case b"tEXt":
            return keyword, _decode_text(bytes(rest))
        case b"zTXt":
            inflated = inflate(bytes(rest[1:]))
            return keyword, None if inflated is None else _decode_text(inflated)
        case _:
            return keyword, _read_international(bytes(rest))


def _decode_text(text: bytes) -> str:
    """Decode a text that the standard has in Latin-1; many programs write
    UTF-8, and other text is hardly ever valid as that.
    """
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _read_international(rest: bytes) -> str | None:
    """Decode an iTXt chunk after its compression flag, language and translated
    keyword.
    """
    parts = rest[2:].split(b"\0", 2)
    if len(parts) < 3:
        return None
    text = inflate(parts[2]) if rest[0] else parts[2]
    return None if text is None else text.decode("utf-8", "replace")


def png_keys(data: bytes) -> Iterator[str]:
    """Yield the names of the metadata: keywords of texts, profiles, the C2PA
    manifest.
    """
    for chunk in _chunks(data):
        if chunk.kind in _TEXT_KINDS:
            yield _keyword(chunk.body)
        elif chunk.kind in _NAMES:
            yield _NAMES[chunk.kind]


def png_kinds(data: bytes) -> set[bytes]:
    """Return the kinds of chunks; an empty kind if the file is truncated or has
    data after its end.
    """
    chunks = [(chunk.kind, chunk.end) for chunk in _chunks(data)]
    is_whole = bool(chunks) and chunks[-1] == (b"IEND", len(data))
    return {kind for kind, _ in chunks} | (set() if is_whole else {b""})


def png_exif(data: bytes) -> bytes | None:
    """Return the EXIF data, which begin with a TIFF header: from their chunk,
    or from the text that ImageMagick writes.
    """
    chunk = next((one.body for one in _chunks(data) if one.kind == b"eXIf"), None)
    if chunk is not None:
        return bytes(chunk).removeprefix(b"Exif\0\0")
    return _unfold_profile(read_texts(data).get(_RAW_EXIF, ""))


def _unfold_profile(text: str) -> bytes | None:
    """Decode a raw profile: its name, its length, and hexadecimal digits."""
    lines = text.strip().split("\n", 2)
    try:
        body = bytes.fromhex(lines[2]) if len(lines) == 3 else b""
    except ValueError:
        body = b""
    return body.removeprefix(b"Exif\0\0") or None


def png_pixel_form(data: bytes) -> tuple[int, int]:
    """Return the bits of a channel, and the colour type (0 is grey)."""
    return (data[24], data[25]) if len(data) > 25 else (0, 0)


def is_png_sealed(data: bytes) -> bool:
    """Return whether it contains a C2PA manifest."""
    return any(chunk.kind == b"caBX" for chunk in _chunks(data))


def embed_texts(data: bytes, texts: Mapping[str, str]) -> bytes | None:
    """Add these texts, replacing those of the same keywords; return None if the
    file is damaged.

    They precede the pixels, so that readers find them early.
    """
    chunks = list(_chunks(data))
    pixels = next((chunk.start for chunk in chunks if chunk.kind == b"IDAT"), None)
    if pixels is None or chunks[-1].kind != b"IEND":
        return None
    parts, at = [], 0
    for chunk in chunks:
        if chunk.start == pixels:
            parts += [
                data[at:pixels],
                *(_text_chunk(keyword, text) for keyword, text in texts.items()),
            ]
            at = pixels
        if chunk.kind in _TEXT_KINDS and _keyword(chunk.body) in texts:
            parts.append(data[at : chunk.start])
            at = chunk.end
    return b"".join([*parts, data[at:]])


def drop_texts(data: bytes, keywords: Collection[str]) -> bytes:
    """Remove the texts of these keywords."""
    parts, at = [], 0
    for chunk in _chunks(data):
        if chunk.kind in _TEXT_KINDS and _keyword(chunk.body) in keywords:
            parts.append(data[at : chunk.start])
            at = chunk.end
    return b"".join([*parts, data[at:]])


def _text_chunk(keyword: str, text: str) -> bytes:
    body = b"iTXt" + keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
