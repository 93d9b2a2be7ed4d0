"""Conversion between images and database rows."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from .._errors import StorageError
from .._requests.request import decode_request, encode_request, fingerprint_of
from .._requests.translation import Adjustment
from .._results.images import Cost, CostSource, Image, RemoteFiles
from .._storage.database import Statement, from_nanousd, to_nanousd

__all__ = [
    "COLUMNS",
    "FilePlaces",
    "ImageRow",
    "insert_image",
    "microseconds",
    "read_image",
    "row_of",
]


class FilePlaces(Protocol):
    """Where the files of images are; `remote` is the store in which they live,
    if it is not this machine.
    """

    @property
    def remote(self) -> RemoteFiles | None: ...

    def path(self, sha256: str, media_type: str) -> Path:
        """Return the path of a file on this machine."""
        ...


class ImageRow(msgspec.Struct, frozen=True):
    """Columns of an image, in order, without `number`, which the insertion
    assigns.
    """

    id: str
    attempt_id: str | None
    batch_index: int
    sha256: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    provider: str
    model: str
    request: str
    revised_prompt: str | None
    seed: int | None
    cost_nanousd: int | None
    cost_source: CostSource
    adjustments: str
    seconds: float
    created_at: float
    parent_id: str | None
    provider_id: str | None
    fingerprint: str | None = None
    tags: str = "[]"
    rating: int = 0
    notes: str = ""
    trashed_at: float | None = None


COLUMNS = ", ".join(f"images.{column}" for column in ImageRow.__struct_fields__)
_decode_adjustments = msgspec.json.Decoder(tuple[Adjustment, ...]).decode
_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode

# If its number is taken, the image gets the number after the last image of that
# second, or the next free one.
_INSERT = f"""
INSERT INTO images (number, {", ".join(ImageRow.__struct_fields__)})
WITH RECURSIVE free (number) AS (
    SELECT CASE
        WHEN EXISTS (SELECT 1 FROM images WHERE number = ?)
        THEN (SELECT max(number) + 1 FROM images WHERE number BETWEEN ? AND ? + 999999)
        ELSE ?
    END
    UNION ALL SELECT number + 1 FROM free
    WHERE EXISTS (SELECT 1 FROM images WHERE images.number = free.number)
)
SELECT max(number), {", ".join("?" * len(ImageRow.__struct_fields__))} FROM free WHERE true
ON CONFLICT (id) DO NOTHING
""".strip()


def row_of(image: Image) -> ImageRow:
    """Return the row of an image."""
    return ImageRow(
        id=image.id,
        attempt_id=image.attempt_id or None,
        batch_index=image.index,
        sha256=image.sha256,
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        provider=image.provider,
        model=image.model,
        request=encode_request(image.request),
        revised_prompt=image.revised_prompt,
        # Some providers use seeds up to 2**64; SQLite integers end at 2**63.
        seed=image.seed if image.seed is None or -(2**63) <= image.seed < 2**63 else None,
        cost_nanousd=to_nanousd(image.cost.usd),
        cost_source=image.cost.source,
        adjustments=msgspec.json.encode(image.adjustments).decode(),
        seconds=image.seconds,
        created_at=image.created_at.timestamp(),
        parent_id=image.parent_id,
        provider_id=image.provider_id,
        fingerprint=fingerprint_of(image.request, image.model),
        tags=msgspec.json.encode(image.tags).decode(),
        rating=image.rating,
        notes=image.notes,
        trashed_at=None if image.trashed_at is None else image.trashed_at.timestamp(),
    )


def insert_image(row: ImageRow) -> Statement:
    """Return the statement that inserts an image. It is idempotent, and runs in
    the transaction that settles the attempt.
    """
    place = microseconds(row.created_at)
    return _INSERT, (place, place, place, place, *msgspec.structs.astuple(row))


def microseconds(unix_time: float) -> int:
    """Convert a time to the number of an image."""
    return int(unix_time * 1_000_000)


def read_image(values: Sequence[object], files: FilePlaces) -> Image:
    """Return the image of a row of COLUMNS.

    Raises:
        StorageError: the row is damaged; the message names it.
    """
    try:
        return _read_image(values, files)
    except (msgspec.MsgspecError, ValueError, LookupError, ArithmeticError, OSError) as error:
        raise StorageError(
            f"The row of the image {values[0]} in the database is damaged: {error}. Run: imagen"
            " library check --repair"
        ) from error


def _read_image(values: Sequence[object], files: FilePlaces) -> Image:
    row = msgspec.convert(dict(zip(ImageRow.__struct_fields__, values, strict=True)), ImageRow)
    return Image(
        id=row.id,
        index=row.batch_index,
        request=decode_request(row.request),
        media_type=row.media_type,
        width=row.width,
        height=row.height,
        size_bytes=row.size_bytes,
        stored_sha256=row.sha256,
        path=files.path(row.sha256, row.media_type),
        remote=files.remote,
        revised_prompt=row.revised_prompt,
        model=row.model,
        provider=row.provider,
        seed=row.seed,
        cost=Cost(usd=from_nanousd(row.cost_nanousd), source=row.cost_source),
        adjustments=_decode_adjustments(row.adjustments),
        created_at=datetime.datetime.fromtimestamp(row.created_at, datetime.UTC),
        seconds=row.seconds,
        attempt_id=row.attempt_id or "",
        parent_id=row.parent_id,
        provider_id=row.provider_id,
        tags=_decode_tags(row.tags),
        rating=row.rating,
        notes=row.notes,
        trashed_at=(
            None
            if row.trashed_at is None
            else datetime.datetime.fromtimestamp(row.trashed_at, datetime.UTC)
        ),
    )
