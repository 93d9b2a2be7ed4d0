"""Records in files: embedded in a copy, read, removed, or kept in a sidecar.

PNG has the record as a text chunk, which programs for generated images read,
and an XMP packet for other programs; JPEG and WebP have it inside the packet.
Pixels and foreign data are copied unchanged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .._errors import InvalidRequestError, StorageError
from .._system.atomic_files import write_atomically
from ._formats.inflate import LARGEST_TEXT
from ._formats.jpeg import drop_jpeg_packet, embed_jpeg_packet, is_jpeg_sealed, jpeg_packet
from ._formats.png import drop_texts, embed_texts, is_png_sealed, read_texts
from ._formats.svg import SVG, find_svg
from ._formats.webp import drop_webp_packet, embed_webp_packet, is_webp_sealed, webp_packet
from ._formats.xmp import RECORD_PROPERTY, merge_packet, read_packet, without_record, write_packet
from ._record import Record, decode_record, encode_record

__all__ = [
    "KEYWORD",
    "XMP_KEYWORD",
    "decode_sidecar",
    "embed_in_unsealed",
    "embed_record",
    "holds_manifest",
    "is_sealed",
    "kind_of",
    "manifest_address",
    "packet_of",
    "read_record",
    "read_sidecar",
    "remove_record",
    "remove_sidecar",
    "sidecar_of",
    "write_sidecar",
]

KEYWORD: Final = "imagen"
XMP_KEYWORD: Final = "XML:com.adobe.xmp"
# XMP property that names a remote manifest, which seals the file too.
_PROVENANCE: Final = "{http://purl.org/dc/terms/}provenance"


def kind_of(data: bytes) -> str:
    """Return the media type by the first bytes; empty if unsupported."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return SVG if find_svg(data) is not None else ""


def packet_of(data: bytes) -> str | None:
    """Return the XMP packet of a file as text."""
    match kind_of(data):
        case "image/png":
            return read_texts(data).get(XMP_KEYWORD)
        case "image/jpeg":
            packet = jpeg_packet(data)
        case "image/webp":
            packet = webp_packet(data)
        case _:
            return None
    return None if packet is None else packet.decode("utf-8", "replace")


def is_sealed(data: bytes) -> bool:
    """Return whether a C2PA manifest covers every byte of the file, so that
    nothing may be added.
    """
    return holds_manifest(data) or manifest_address(data) is not None


def holds_manifest(data: bytes) -> bool:
    """Return whether the file contains a C2PA manifest."""
    match kind_of(data):
        case "image/png":
            return is_png_sealed(data)
        case "image/jpeg":
            return is_jpeg_sealed(data)
        case "image/webp":
            return is_webp_sealed(data)
        case "image/svg+xml":
            return b"c2pa:manifest" in data
        case _:
            return b"C2PA_GIF" in data


def manifest_address(data: bytes) -> str | None:
    """Return the address of a remote manifest that seals the file."""
    return (read_packet(packet_of(data) or "") or {}).get(_PROVENANCE)


def embed_record(data: bytes, record: Record) -> bytes | None:
    """Embed the record in a copy of the image, replacing an earlier one.

    Returns None if a sidecar has to hold it: the file is sealed, damaged, a
    GIF or an SVG, or has no room for it (64 kB in JPEG).

    Raises:
        StorageError: the record exceeds the limit of readers.
    """
    return None if is_sealed(data) else embed_in_unsealed(data, record)


def embed_in_unsealed(data: bytes, record: Record) -> bytes | None:
    """Like `embed_record`, but breaks the seal of the file, which the caller
    renews.
    """
    kind = kind_of(data)
    old = packet_of(data)
    with_record = kind != "image/png"
    if old is not None and "\ufffd" in old:
        # Invalid UTF-8 could not be written back unchanged.
        return None
    if old is None:
        packet: str | None = write_packet(record, with_record=with_record)
    else:
        packet = merge_packet(old, record, with_record=with_record)
    if packet is None:
        return None
    match kind:
        case "image/png":
            return embed_texts(data, {KEYWORD: encode_record(record), XMP_KEYWORD: packet})
        case "image/jpeg":
            return embed_jpeg_packet(data, packet.encode())
        case "image/webp":
            return embed_webp_packet(data, packet.encode())
        case _:
            return None


def read_record(data: bytes) -> Record | None:
    """Read the record in the bytes of a file; return None without one.

    Raises:
        InvalidRequestError: the record is damaged.
    """
    if kind_of(data) == "image/png":
        text = read_texts(data).get(KEYWORD)
        if text is not None:
            return decode_record(text)
    packet = packet_of(data)
    return None if packet is None else _record_in(packet)


def _record_in(packet: str) -> Record | None:
    text = (read_packet(packet) or {}).get(RECORD_PROPERTY)
    return None if text is None else decode_record(text)


def remove_record(data: bytes) -> bytes | None:
    """Restore the provider's bytes, verified by the hash in the record.

    Returns None without a record, if the file was changed since, or if a PNG
    had an XMP packet of its own at another position.
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
    """Yield possible originals; a packet that was merged is assumed at the same
    position.
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


# --- sidecars -----------------------------------------------------------------


def sidecar_of(path: Path) -> Path:
    """Return the path of an image's sidecar: its full name plus .xmp, as photo
    programs expect.
    """
    return path.with_name(f"{path.name}.xmp")


def write_sidecar(path: Path, record: Record) -> Path:
    """Write the record to the sidecar of `path`, atomically, and return its
    path. Blocking.

    Raises:
        StorageError: it cannot be written.
    """
    target = sidecar_of(path)
    try:
        write_atomically(target, write_packet(record).encode())
    except OSError as error:
        raise StorageError(
            f"The record cannot be written to {target}: {error.strerror or error}."
        ) from error
    return target


def remove_sidecar(path: Path) -> None:
    """Remove the record of an earlier image at `path`; sidecars of other
    programs stay. Blocking.

    Raises:
        StorageError: it cannot be removed.
    """
    try:
        if read_sidecar(path) is not None:
            sidecar_of(path).unlink(missing_ok=True)
    except (InvalidRequestError, StorageError):
        return
    except OSError as error:
        raise StorageError(
            f"{sidecar_of(path)} cannot be removed: {error.strerror or error}."
        ) from error


def read_sidecar(path: Path) -> Record | None:
    """Read the record in the sidecar of `path`; return None without one.

    Raises:
        InvalidRequestError: the record is damaged.
        StorageError: it cannot be read.
    """
    try:
        with sidecar_of(path).open("rb") as file:
            packet = file.read(LARGEST_TEXT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{sidecar_of(path)} cannot be read: {error.strerror or error}."
        ) from error
    if len(packet) > LARGEST_TEXT:
        raise InvalidRequestError(f"{sidecar_of(path)} is larger than any record.")
    return decode_sidecar(packet)


def decode_sidecar(packet: bytes) -> Record | None:
    """Read the record in the bytes of a sidecar; return None without one.

    Raises:
        InvalidRequestError: the record is damaged.
    """
    return _record_in(packet.decode("utf-8", "replace"))
