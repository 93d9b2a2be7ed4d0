"""Chunks of a WebP file (RFC 9649): XMP, EXIF and C2PA."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..._errors import ProviderError
from .._image_header import read_image_header

__all__ = [
    "drop_webp_packet",
    "embed_webp_packet",
    "is_webp_sealed",
    "webp_exif",
    "webp_keys",
    "webp_kinds",
    "webp_packet",
]

_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10
_NAMES = {b"XMP ": "XMP", b"EXIF": "EXIF", b"ICCP": "ICC", b"C2PA": "C2PA"}


class _Chunk(NamedTuple):
    kind: bytes
    end: int
    body: bytes


def _end(data: bytes) -> int:
    """Return the end of the file according to its header."""
    return 8 + int.from_bytes(data[4:8], "little")


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """Yield every complete chunk."""
    at, end = 12, min(_end(data), len(data))
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        stop = at + 8 + length
        if stop > end:
            return
        # Chunks begin at even offsets; the last one may lack its padding.
        yield _Chunk(kind, min(stop + length % 2, end), data[at + 8 : stop])
        at = stop + length % 2


def _first(data: bytes, kind: bytes) -> bytes | None:
    return next((chunk.body for chunk in _chunks(data) if chunk.kind == kind), None)


def webp_packet(data: bytes) -> bytes | None:
    """Return the XMP packet."""
    return _first(data, b"XMP ")


def webp_exif(data: bytes) -> bytes | None:
    """Return the EXIF data, which begin with a TIFF header, sometimes after the
    prefix of JPEG.
    """
    exif = _first(data, b"EXIF")
    return None if exif is None else exif.removeprefix(b"Exif\0\0")


def webp_keys(data: bytes) -> Iterator[str]:
    """Yield the kinds of metadata."""
    return (_NAMES[chunk.kind] for chunk in _chunks(data) if chunk.kind in _NAMES)


def webp_kinds(data: bytes) -> set[bytes]:
    """Return the kinds of chunks; an empty kind if the file is truncated or has
    data after its end.
    """
    chunks = [(chunk.kind, chunk.end) for chunk in _chunks(data)]
    is_whole = bool(chunks) and chunks[-1][1] == len(data)
    return {kind for kind, _ in chunks} | (set() if is_whole else {b""})


def is_webp_sealed(data: bytes) -> bool:
    """Return whether it contains a C2PA manifest."""
    return any(chunk.kind == b"C2PA" for chunk in _chunks(data))


def embed_webp_packet(data: bytes, packet: bytes) -> bytes | None:
    """Replace the XMP packet; return None if the file is damaged."""
    chunks = list(_chunks(data))
    if not chunks or chunks[-1].end != _end(data):
        return None
    head = chunks[0]
    rest = chunks[1:] if head.kind == b"VP8X" else chunks
    canvas = head.body if head.kind == b"VP8X" else _canvas(data, head)
    if canvas is None or len(canvas) < 10:
        return None
    extended = bytes([canvas[0] | _XMP_FLAG]) + canvas[1:]
    body = b"".join(
        [
            b"WEBP",
            _pack(b"VP8X", extended),
            *(_pack(chunk.kind, chunk.body) for chunk in rest if chunk.kind != b"XMP "),
            _pack(b"XMP ", packet),
        ]
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body + data[chunks[-1].end :]


def drop_webp_packet(data: bytes) -> Iterator[bytes]:
    """Remove the XMP packet; yield the file with its extended header and
    without, as that may have come with the packet.
    """
    chunks = list(_chunks(data))
    kept = [chunk for chunk in chunks if chunk.kind != b"XMP "]
    if not kept or kept[0].kind != b"VP8X" or not kept[0].body:
        return
    header = bytes([kept[0].body[0] & ~_XMP_FLAG]) + kept[0].body[1:]
    pixels = b"".join(_pack(chunk.kind, chunk.body) for chunk in kept[1:])
    for body in (b"WEBP" + _pack(b"VP8X", header) + pixels, b"WEBP" + pixels):
        yield b"RIFF" + struct.pack("<I", len(body)) + body + data[chunks[-1].end :]


def _canvas(data: bytes, head: _Chunk) -> bytes | None:
    """Return the body of an extended header for a file with a simple one."""
    try:
        found = read_image_header(data)
    except ProviderError:
        return None
    # A lossless header has a flag for alpha; a lossy file without extended
    # header has no alpha.
    has_alpha = head.kind == b"VP8L" and len(head.body) > 4 and head.body[4] & 0x10
    flags = _ALPHA_FLAG if has_alpha else 0
    return (
        struct.pack("<I", flags)
        + (found.width - 1).to_bytes(3, "little")
        + (found.height - 1).to_bytes(3, "little")
    )


def _pack(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
