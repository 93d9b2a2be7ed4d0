"""The way back: the bytes that a provider sent, out of a copy that carries our
record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from .._errors import InvalidRequestError
from ._embed import KEYWORD, XMP_KEYWORD, kind_of, packet_of, read_record
from ._formats.jpeg import drop_jpeg_packet, embed_jpeg_packet
from ._formats.png import drop_texts, embed_texts
from ._formats.webp import drop_webp_packet, embed_webp_packet
from ._formats.xmp import without_record

__all__ = ["remove_record"]


def remove_record(data: bytes) -> bytes | None:
    """The bytes that the provider sent, proven by the hash in the record.

    Gives None where there is no record, where the file was changed after it was
    put in, or where a PNG had an XMP packet of its own that stood elsewhere.
    """
    try:
        record = read_record(data)
    except InvalidRequestError:
        return None
    if record is None:
        return None
    return next(
        (
            found
            for found in _candidates(data)
            if hashlib.sha256(found).hexdigest() == record.sha256
        ),
        None,
    )


def _candidates(data: bytes) -> Iterator[bytes]:
    """What the file may have been; where a packet was merged with another one,
    it stood in the same place perhaps.
    """
    packet = packet_of(data) or ""
    theirs = without_record(packet)
    match kind_of(data):
        case "image/png":
            bare = drop_texts(data, {KEYWORD} if theirs == packet else {KEYWORD, XMP_KEYWORD})
            yield bare
            merged = embed_texts(bare, {XMP_KEYWORD: theirs}) if theirs else None
        case "image/jpeg":
            yield drop_jpeg_packet(data)
            merged = embed_jpeg_packet(data, theirs.encode()) if theirs else None
        case "image/webp":
            yield from drop_webp_packet(data)
            merged = embed_webp_packet(data, theirs.encode()) if theirs else None
        case _:
            return
    if merged is not None:
        yield merged
