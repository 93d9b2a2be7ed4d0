"""What an archive of images holds, for who writes it and who reads it."""

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
# Prompts of any provider fit many times.
LARGEST_LINE: Final = 16 << 20


class ArchivedImage(msgspec.Struct, frozen=True, kw_only=True):
    """A line of records.jsonl; `file` is the name of the image in the archive."""

    file: str
    index: int = 0
    record: Record


class ArchivedCollection(msgspec.Struct, frozen=True, kw_only=True):
    """A collection, and the ids of its images in their order."""

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
    """Something that did not go the usual way, by the name of its file, and
    why.
    """

    name: str
    reason: str


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an export wrote. Images are `left_out` where their files are gone or
    damaged.
    """

    images: int
    size_bytes: int
    left_out: tuple[RejectedEntry, ...] = ()


class ImportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an import brought.

    What is `refused` is not in the library. What is `doubted` is, without what
    was said of it: its record is that of other bytes, or asks for what only
    one's own records may.
    """

    added: int = 0
    already_there: int = 0
    refused: tuple[RejectedEntry, ...] = ()
    doubted: tuple[RejectedEntry, ...] = ()
