"""Description of all metadata of an image file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from .._errors import ConfigurationError, ImagenError, InvalidRequestError, StorageError
from .._system.texts_of_users import user_path
from ._c2pa.manifest import Provenance, read_provenance
from ._embed import is_sealed, kind_of, packet_of, read_record, read_sidecar, sidecar_of
from ._foreign.foreign_record import ForeignRecord
from ._foreign.reading import read_foreign
from ._formats.jpeg import jpeg_keys
from ._formats.png import png_keys
from ._formats.webp import webp_keys
from ._formats.xmp import read_packet, short_name
from ._image_header import read_image_header
from ._record import Record

__all__ = ["FileDescription", "describe_file"]

_LARGEST_FILE: Final = 256 << 20
_MOST_KEYS: Final = 100
_LONGEST_KEY: Final = 100
_Found = TypeVar("_Found")


class FileDescription(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of an image file.

    `record` is imagen's, from the file or, if `sidecar` is set, from that file
    beside it. `foreign` is that of another program. `sealed` is set if there is
    a C2PA manifest; `provenance` is its contents, if readable. `keys` names the
    metadata. `problems` are sentences on damaged or unreadable parts.
    """

    path: Path
    media_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    record: Record | None = None
    sidecar: Path | None = None
    foreign: ForeignRecord | None = None
    sealed: bool = False
    provenance: Provenance | None = None
    keys: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def describe_file(path: str | Path, *, trust_anchors: str | None = None) -> FileDescription:
    """Read the metadata of an image file, whatever program made it. Blocking;
    never uses the network.

    Args:
        trust_anchors: PEM certificates trusted to sign C2PA manifests.

    Raises:
        StorageError: the file cannot be read.
        InvalidRequestError: it is not a PNG, JPEG, WebP, GIF or SVG image,
            or exceeds 256 MiB.
    """
    path = user_path(path)
    data = _read_file(path)
    try:
        found = read_image_header(data)
    except ImagenError:
        raise InvalidRequestError(
            f"{path} is not an image: expected PNG, JPEG, WebP, GIF or SVG."
        ) from None
    problems: list[str] = []
    sha256 = hashlib.sha256(data).hexdigest()
    record = _try(problems, lambda: read_record(data))
    beside = _try(problems, lambda: read_sidecar(path)) if record is None else None
    if beside is not None and beside.sha256 != sha256:
        problems.append(
            f"{sidecar_of(path).name} belongs to another image, or this image was changed."
        )
        beside = None
    return FileDescription(
        path=path,
        media_type=found.media_type,
        width=found.width,
        height=found.height,
        size_bytes=len(data),
        sha256=sha256,
        record=record or beside,
        sidecar=None if beside is None else sidecar_of(path),
        foreign=read_foreign(data),
        sealed=is_sealed(data),
        provenance=_try(problems, lambda: read_provenance(data, trust_anchors=trust_anchors)),
        keys=_metadata_keys(data),
        problems=tuple(problems),
    )


def _try(problems: list[str], read: Callable[[], _Found | None]) -> _Found | None:
    """Return the result, or None and add a sentence to the problems."""
    try:
        return read()
    except (InvalidRequestError, ConfigurationError, StorageError) as error:
        problems.append(error.message)
        return None


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(data) > _LARGEST_FILE:
        raise InvalidRequestError(f"{path} is too large: expected an image of at most 256 MiB.")
    return data


def _metadata_keys(data: bytes) -> tuple[str, ...]:
    """Return the distinct names of the metadata; XMP properties with their
    usual prefixes.
    """
    readers = {"image/png": png_keys, "image/jpeg": jpeg_keys, "image/webp": webp_keys}
    reader = readers.get(kind_of(data))
    names = [] if reader is None else list(reader(data))
    names += [short_name(name) for name in read_packet(packet_of(data) or "") or {}]
    return tuple(dict.fromkeys(name[:_LONGEST_KEY] for name in names if name))[:_MOST_KEYS]
