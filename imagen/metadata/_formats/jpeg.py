"""Segments of a JPEG file before its pixels: XMP, EXIF and C2PA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = [
    "drop_jpeg_packet",
    "embed_jpeg_packet",
    "is_jpeg_sealed",
    "jpeg_channels",
    "jpeg_comment",
    "jpeg_exif",
    "jpeg_keys",
    "jpeg_packet",
]

_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF: Final = b"Exif\0\0"
# The length of a segment has two bytes, and includes itself.
_LARGEST_PACKET: Final = 0xFFFF - 2 - len(_XMP)
_APP0, _APP1, _APP11, _START_OF_SCAN, _COMMENT = 0xE0, 0xE1, 0xEB, 0xDA, 0xFE
# Start of frame: sixteen markers less DHT, JPG and DAC (ITU-T T.81, table B.1).
_FRAMES: Final = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Position of the number of channels in the body of a frame.
_CHANNELS = 5


class _Segment(NamedTuple):
    marker: int
    start: int
    end: int
    body: bytes


def _segments(data: bytes) -> Iterator[_Segment]:
    """Yield every complete segment up to the start of the first scan, which a
    truncated file lacks.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if end < at + 4 or end > len(data):
            return
        yield _Segment(marker, at, end, data[at + 4 : end])
        if marker == _START_OF_SCAN:
            return
        at = end


def _is_xmp(segment: _Segment) -> bool:
    return segment.marker == _APP1 and segment.body.startswith(_XMP)


def _is_exif(segment: _Segment) -> bool:
    return segment.marker == _APP1 and segment.body.startswith(_EXIF)


def jpeg_packet(data: bytes) -> bytes | None:
    """Return the first XMP packet."""
    return next(
        (segment.body[len(_XMP) :] for segment in _segments(data) if _is_xmp(segment)), None
    )


def jpeg_exif(data: bytes) -> bytes | None:
    """Return the EXIF data, which begin with a TIFF header."""
    return next(
        (segment.body[len(_EXIF) :] for segment in _segments(data) if _is_exif(segment)), None
    )


def jpeg_comment(data: bytes) -> bytes | None:
    """Return the first comment."""
    return next((one.body for one in _segments(data) if one.marker == _COMMENT), None)


def jpeg_channels(data: bytes) -> int:
    """Return the number of colour channels: 1 grey, 3, or 4 of a press; 0 if it
    is not stated.
    """
    frame = next((one.body for one in _segments(data) if one.marker in _FRAMES), b"")
    return frame[_CHANNELS] if len(frame) > _CHANNELS else 0


def jpeg_keys(data: bytes) -> Iterator[str]:
    """Yield the kinds of metadata."""
    for segment in _segments(data):
        match segment.marker:
            case 0xE1 if _is_exif(segment):
                yield "EXIF"
            case 0xE1 if _is_xmp(segment):
                yield "XMP"
            case 0xE2 if segment.body.startswith(b"ICC_PROFILE\0"):
                yield "ICC"
            case 0xEB if segment.body.startswith(b"JP"):
                yield "C2PA"
            case 0xED:
                yield "IPTC"
            case 0xFE:
                yield "comment"


def is_jpeg_sealed(data: bytes) -> bool:
    """Return whether it contains a C2PA manifest: JUMBF boxes in APP11."""
    return any(
        segment.marker == _APP11 and segment.body.startswith(b"JP") for segment in _segments(data)
    )


def embed_jpeg_packet(data: bytes, packet: bytes) -> bytes | None:
    """Replace the XMP packet; return None if the file is damaged or the packet
    too long.
    """
    segments = list(_segments(data))
    if len(packet) > _LARGEST_PACKET or not segments or segments[-1].marker != _START_OF_SCAN:
        return None
    body = _XMP + packet
    ours = b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body
    old = next((segment for segment in segments if _is_xmp(segment)), None)
    if old is not None:
        return data[: old.start] + ours + data[old.end :]
    # JFIF and EXIF must each be the first segment, so XMP follows them.
    at = 2
    for segment in segments:
        if segment.marker != _APP0 and not _is_exif(segment):
            break
        at = segment.end
    return data[:at] + ours + data[at:]


def drop_jpeg_packet(data: bytes) -> bytes:
    """Remove the first XMP packet."""
    packet = next((segment for segment in _segments(data) if _is_xmp(segment)), None)
    return data if packet is None else data[: packet.start] + data[packet.end :]
