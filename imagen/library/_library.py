"""The pictures that were made: files named by their SHA-256, and a row for each picture.

A file is written under a temporary name, fsynced and renamed, and its row comes after it: a reader sees a whole picture
or none.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from .._database import Database, Row, Statement, from_nanousd, to_nanousd
from .._errors import InvalidRequestError, StorageError
from .._images import SUFFIXES, Cost, CostSource, Image
from .._measure import Measure, measure
from .._requests import decode_request, encode_request
from .._translation import Adjustment
from .._workers import Workers

__all__ = ["ImageRow", "Library", "WeighedPicture", "insert_image", "row_of"]

# A picture that finds no room on the disk was paid for nothing, so sending stops while there still is some.
_ROOM_BYTES = 64 << 20
_ROOM_CHECK_SECONDS = 1.0
# For a smaller file, giving its pages back costs more than it brings.
_LARGE_BYTES = 1 << 18


class ImageRow(msgspec.Struct, frozen=True):
    """The columns of a picture, in order."""

    id: str
    attempt_id: str
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


_HASH = re.compile(r"[0-9a-f]{64}")
_COLUMNS = ", ".join(ImageRow.__struct_fields__)
_QUALIFIED = ", ".join(f"images.{column}" for column in ImageRow.__struct_fields__)
_decode_adjustments = msgspec.json.Decoder(tuple[Adjustment, ...]).decode


class WeighedPicture(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a picture by its bytes, and where its file belongs."""

    measure: Measure
    sha256: str
    path: Path


def row_of(image: Image) -> ImageRow:
    """What the library remembers of a picture."""
    return ImageRow(
        id=image.id,
        attempt_id=image.attempt_id,
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
        seed=image.seed,
        cost_nanousd=to_nanousd(image.cost.usd),
        cost_source=image.cost.source,
        adjustments=msgspec.json.encode(image.adjustments).decode(),
        seconds=image.seconds,
        created_at=image.created_at.timestamp(),
        parent_id=image.parent_id,
        provider_id=image.provider_id,
    )


def insert_image(row: ImageRow) -> Statement:
    """Lists a picture, in the transaction that settles its attempt. Doing it again changes nothing."""
    values: Row = msgspec.structs.astuple(row)
    return f"INSERT OR IGNORE INTO images ({_COLUMNS}) VALUES ({', '.join('?' * len(values))})", values


class Library:
    """Finished pictures, newest first. Cheap to ask; nothing is held in memory."""

    def __init__(self, folder: Path, database: Database, workers: Workers) -> None:
        self._folder = folder
        self._database = database
        self._workers = workers
        self._room_checked_at = -_ROOM_CHECK_SECONDS

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._folder

    async def get(self, image_id: str) -> Image | None:
        """The picture of that id, or of the only id that begins so.

        Raises:
            InvalidRequestError: several ids begin so.
        """
        if not image_id.isascii() or not image_id.isalnum():
            return None
        # The upper end of the range: "g" follows every hexadecimal digit.
        rows = await self._database.read(
            f"SELECT {_COLUMNS} FROM images WHERE id >= ? AND id < ? ORDER BY id LIMIT 2", (image_id, image_id + "g")
        )
        if len(rows) > 1 and rows[0][0] != image_id:
            raise InvalidRequestError(f"Several pictures have an id that begins with {image_id}: give more of it.")
        return self._read_row(rows[0]) if rows else None

    async def list(self, *, limit: int = 50, before: str | None = None) -> Sequence[Image]:
        """The newest pictures, at most `limit`; `before` is the id of the last one of the page before."""
        if before is None:
            rows = await self._database.read(f"SELECT {_COLUMNS} FROM images ORDER BY number DESC LIMIT ?", (limit,))
        else:
            rows = await self._database.read(
                f"SELECT {_COLUMNS} FROM images WHERE number < (SELECT number FROM images WHERE id = ?) "
                "ORDER BY number DESC LIMIT ?",
                (before, limit),
            )
        return [self._read_row(row) for row in rows]

    async def of_batch(self, batch_id: str) -> Sequence[Image]:
        """The pictures of a batch, in the order in which they finished."""
        rows = await self._database.read(
            f"SELECT {_QUALIFIED} FROM images JOIN attempts ON attempts.id = images.attempt_id "
            "WHERE attempts.batch_id = ? ORDER BY images.number",
            (batch_id,),
        )
        return [self._read_row(row) for row in rows]

    async def delete(self, image_id: str) -> bool:
        """Removes a picture: its row, and its file where no other row has the same bytes. What it cost stays in the ledger."""
        image = await self.get(image_id)
        if image is None:
            return False
        await self._database.write([("DELETE FROM images WHERE id = ?", (image.id,))])
        others = await self._database.read("SELECT 1 FROM images WHERE sha256 = ? LIMIT 1", (image.sha256,))
        if not others and image.path is not None:
            path = image.path
            await self._workers.run(lambda: path.unlink(missing_ok=True))
        return True

    async def check_room(self) -> None:
        """Makes sure that the next pictures will find room on the disk.

        Raises:
            StorageError: they will not.
        """
        now = time.monotonic()
        if now - self._room_checked_at >= _ROOM_CHECK_SECONDS:
            await self._workers.run(self._check_room)
            self._room_checked_at = now

    def weigh(self, data: bytes) -> WeighedPicture:
        """Looks at a picture, and writes nothing. Blocking: call it through the workers.

        Raises:
            ProviderError: the bytes are no picture.
        """
        found = measure(data)
        sha256 = hashlib.sha256(data).hexdigest()
        return WeighedPicture(measure=found, sha256=sha256, path=self._path(sha256, found.media_type))

    def store(self, data: bytes, path: Path) -> None:
        """Writes a picture to its file. Blocking.

        Raises:
            StorageError: the file cannot be written; there is no half one either.
        """
        try:
            _write_whole(path, data)
        except OSError as error:
            raise StorageError(
                f"The picture cannot be written to {self._folder}: {error.strerror or error}."
            ) from error

    def store_input(self, data: bytes, *, sha256: str, media_type: str) -> Path:
        """Writes a picture that a request works on, unless it is there already. Blocking.

        Raises:
            StorageError: the file cannot be written.
        """
        kept = self._find_file(sha256)
        if kept is not None:
            return kept
        path = self._folder / "inputs" / (sha256 + SUFFIXES[media_type])
        try:
            _write_whole(path, data)
        except OSError as error:
            raise StorageError(
                f"The picture cannot be written to {self._folder}: {error.strerror or error}."
            ) from error
        return path

    def find_input(self, sha256: str) -> bytes | None:
        """The bytes of a picture that was made or worked on, by their hash. Blocking."""
        path = self._find_file(sha256) if _HASH.fullmatch(sha256) else None
        return None if path is None else path.read_bytes()

    def _find_file(self, sha256: str) -> Path | None:
        names = [sha256 + suffix for suffix in SUFFIXES.values()]
        places = [self._folder / folder / name for name in names for folder in (sha256[:1], "inputs")]
        return next((path for path in places if path.is_file()), None)

    def store_unreadable(self, attempt_id: str, data: bytes) -> Path:
        """Writes bytes that are no picture beside the pictures, named by their attempt. Blocking.

        Raises:
            StorageError: the file cannot be written.
        """
        path = self._folder / "unreadable" / f"{attempt_id}-{secrets.token_hex(2)}.bin"
        try:
            _write_whole(path, data)
        except OSError as error:
            raise StorageError(f"The bytes cannot be written to {self._folder}: {error.strerror or error}.") from error
        return path

    def _check_room(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise StorageError(f"The folder {self._folder} cannot be used: {error.strerror or error}.") from error
        if free < _ROOM_BYTES:
            raise StorageError(
                f"Only {free >> 20} MiB are free where pictures are kept ({self._folder}); nothing was sent. Free some space."
            )

    def _path(self, sha256: str, media_type: str) -> Path:
        # One digit: the system spreads folders over the disk, and 256 of them make the first pictures slow to write.
        return self._folder / sha256[:1] / (sha256 + SUFFIXES[media_type])

    def _read_row(self, values: Row) -> Image:
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
            path=self._path(row.sha256, row.media_type),
            revised_prompt=row.revised_prompt,
            model=row.model,
            provider=row.provider,
            seed=row.seed,
            cost=Cost(usd=from_nanousd(row.cost_nanousd), source=row.cost_source),
            adjustments=_decode_adjustments(row.adjustments),
            created_at=datetime.datetime.fromtimestamp(row.created_at, datetime.UTC),
            seconds=row.seconds,
            attempt_id=row.attempt_id,
            parent_id=row.parent_id,
            provider_id=row.provider_id,
        )


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part")
    try:
        descriptor = _create(temporary)
        try:
            # Not through a file object: its buffer makes the writes unaligned, which costs four times as much.
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
            if len(data) >= _LARGE_BYTES:
                _drop_from_memory(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create(path: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def _drop_from_memory(descriptor: int) -> None:
    """Gives the pages of a file that is on the disk back to the system.

    A long batch would else fill the machine's memory with pictures that are looked at once, if at all, and the system
    would look for fresh pages all the time, which costs more than the writing itself.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
