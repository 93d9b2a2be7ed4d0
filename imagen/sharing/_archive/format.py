"""Contents of an archive, shared by export and import."""

from __future__ import annotations

from typing import Final

import msgspec

from ...metadata._record import Record

__all__ = [
    "ArchivedCollection",
    "ArchivedCollections",
    "ArchivedImage",
    "COLLECTIONS",
    "ExportResult",
    "IMAGES",
    "ImportResult",
    "LARGEST_LINE",
    "RECORDS",
    "RejectedEntry",
    "THUMBNAILS",
]

IMAGES: Final = "pictures/"
THUMBNAILS: Final = "thumbnails/"
RECORDS: Final = "records.jsonl"
COLLECTIONS: Final = "collection.json"
# Many times the longest prompt of any provider.
LARGEST_LINE: Final = 16 << 20


class ArchivedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A line of records.jsonl; `file` is the name of the image in the archive."""

    file: str
    index: int = 0
    record: Record


class ArchivedCollection(msgspec.Struct, frozen=True, kw_only=True):
    """A collection, with the ids of its images in their order."""

    name: str
    notes: str = ""
    images: list[str] = []


class ArchivedCollections(msgspec.Struct, frozen=True, kw_only=True):
    """The file collection.json."""

    format: int = 1
    software: str = ""
    title: str = ""
    collections: list[ArchivedCollection] = []


class RejectedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was rejected or accepted with a doubt, and the reason."""

    name: str
    reason: str


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an export. Images are `left_out` if their files are missing or
    damaged.
    """

    images: int
    size_bytes: int
    left_out: tuple[RejectedEntry, ...] = ()


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of an import.

    Entries that were `refused` are not in the library. Those `doubted` are,
    without their claimed metadata: the record belongs to other bytes, or needs
    a trusted archive. Those `ignored` are not images, e.g. texts and links;
    the last entry has the number of those beyond a thousand.
    """

    added: int = 0
    already_there: int = 0
    refused: tuple[RejectedEntry, ...] = ()
    doubted: tuple[RejectedEntry, ...] = ()
    ignored: tuple[RejectedEntry, ...] = ()
