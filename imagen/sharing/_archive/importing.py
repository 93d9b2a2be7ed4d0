"""Import of images from an archive, a folder or a file.

Each image is added atomically, under the same id at each import. So an
interrupted import needs no rollback, and the next one continues it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Final, NamedTuple

import msgspec

from ..._errors import InvalidRequestError
from ..._storage.database import Database
from ..._system.threads import Workers
from ...library._library import Library
from ...library._rows import ImageRow
from ...metadata._embed import decode_sidecar
from ...metadata._file_kinds import is_held, other_format
from ...metadata._record import Record
from .format import (
    COLLECTIONS,
    LARGEST_LINE,
    RECORDS,
    THUMBNAILS,
    ArchivedCollection,
    ArchivedCollections,
    ArchivedImage,
    ImportResult,
    RejectedEntry,
)
from .imported_image import ClaimedRecord, ImportedImage, read_imported_image
from .safe_names import shown_name
from .sources import IMAGE_ENDINGS, ImportSource, InvalidEntryError, open_source

__all__ = ["Import"]

_LARGEST_COLLECTIONS: Final = 64 << 20
# Real libraries have fewer, and an untrusted archive must not create a million.
_MOST_COLLECTIONS: Final = 10_000
_LARGEST_SIDECAR: Final = 4 << 20
# Each is reported, and a list may have millions of lines.
_MOST_STRAY_LINES: Final = 1000

# An untrusted archive may have millions of files.
_MOST_IGNORED: Final = 1000
# The gallery of our archive, beside its images and records.
_OWN_FILES: Final = (RECORDS, COLLECTIONS, "index.html")
# Formats of images by their endings, for files whose first bytes say nothing.
_OTHER_ENDINGS: Final = {
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".heic": "HEIC",
    ".heif": "HEIF",
    ".jp2": "JPEG 2000",
    ".jxl": "JPEG XL",
    ".psd": "Photoshop",
    ".svgz": "compressed SVG",
    ".tga": "TGA",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}

_decode_line = msgspec.json.Decoder(ArchivedImage).decode
_decode_collections = msgspec.json.Decoder(ArchivedCollections).decode
_Item = tuple[str, ImportedImage | str]
"""Name of a file, and its image or the reason for rejection."""


class Import:
    """One import."""

    def __init__(
        self,
        database: Database,
        library: Library,
        workers: Workers,
        *,
        max_pixels: int,
        trusted: bool,
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._library = library
        self._workers = workers
        self._max_pixels = max_pixels
        self._trusted = trusted
        self._now = now
        # Ids in the library, by id in the archive.
        self._ids: dict[str, str] = {}
        self._added = 0
        self._already_there = 0
        self._refused: list[RejectedEntry] = []
        self._doubted: list[RejectedEntry] = []
        self._ignored: list[RejectedEntry] = []
        self._ignored_count = 0

    async def run(self, path: Path, on_progress: Callable[[int], None]) -> ImportResult:
        """Import everything at a path."""
        source = await self._workers.run(partial(open_source, path))
        reading = self._read(source)
        seen = 0
        try:
            while (item := await self._workers.run(partial(next, reading, None))) is not None:
                await self._take(*item)
                seen += 1
                on_progress(seen)
            await self._collect(await self._workers.run(partial(self._read_collections, source)))
        finally:
            reading.close()
            source.close()
        return ImportResult(
            added=self._added,
            already_there=self._already_there,
            refused=tuple(self._refused),
            doubted=tuple(self._doubted),
            ignored=self._all_ignored(),
        )

    async def _take(self, name: str, found: ImportedImage | str) -> None:
        if isinstance(found, str):
            self._refused.append(
                RejectedEntry(name=shown_name(name), reason=f"{shown_name(name)} {found}")
            )
            return
        row = await self._placed(found)
        is_new = await self._library.adopt(row, found.data)
        self._added += is_new
        self._already_there += not is_new
        if found.claimed_id is not None:
            self._ids[found.claimed_id] = row.id
        if found.doubt is not None:
            self._doubted.append(
                RejectedEntry(name=shown_name(name), reason=f"{shown_name(name)} {found.doubt}")
            )

    async def _placed(self, imported: ImportedImage) -> ImageRow:
        """Return the row, under the id that these bytes have in the library."""
        row = imported.row
        if not imported.is_known:
            # Without a record, it is the image with the same bytes.
            rows = await self._database.read(
                "SELECT id FROM images WHERE sha256 = ? LIMIT 1", (row.sha256,)
            )
            if rows:
                return msgspec.structs.replace(row, id=str(rows[0][0]))
        # The id of another image is never reused, whatever the record claims.
        for image_id in (row.id, *(row.sha256[at : at + 16] for at in range(0, 64, 16))):
            taken = "SELECT 1 FROM images WHERE id = ? AND sha256 <> ?"
            if not await self._database.read(taken, (image_id, row.sha256)):
                return msgspec.structs.replace(row, id=image_id)
        return row

    async def _collect(self, archived: Sequence[ArchivedCollection]) -> None:
        """Add images to the collections of the same names, and create missing
        ones.
        """
        collections = self._library.collections
        known = {one.name for one in await collections.list()} if archived else set()
        for one in archived:
            ids = [self._ids[image_id] for image_id in one.images if image_id in self._ids]
            try:
                if one.name not in known:
                    await collections.create(one.name, notes=one.notes)
                    # Creating "outer/inner" creates the outer one too.
                    known |= {one.name, one.name.partition("/")[0]}
                await collections.add(one.name, ids)
            except InvalidRequestError as error:
                self._refused.append(RejectedEntry(name=shown_name(one.name), reason=error.message))

    # --- what blocks ----------------------------------------------------------

    def _read(self, source: ImportSource) -> Generator[_Item, None, None]:
        """Yield every image, those with records in the archive first."""
        seen: set[str] = set()
        root = _root_of(source)
        # In any other source, a folder of that name may hold images to import.
        thumbnails = None if root is None else root + THUMBNAILS
        try:
            if root is not None:
                yield from self._read_listed(source, root, seen)
            for name in source.names:
                is_thumbnail = thumbnails is not None and name.startswith(thumbnails)
                is_ours = root is not None and name.removeprefix(root) in _OWN_FILES
                if name in seen or is_thumbnail or is_ours or _is_sidecar(source, name):
                    continue
                found = self._read_found(source, name)
                if found is not None:
                    yield name, found
        except _StopImportError as error:
            yield error.item

    def _read_listed(self, source: ImportSource, root: str, seen: set[str]) -> Iterator[_Item]:
        strays = 0
        try:
            for number, line in enumerate(_lines(source, root + RECORDS), 1):
                known = len(seen)
                for item in self._read_line(source, root, number, line, seen):
                    strays += len(seen) == known
                    yield item
                if strays >= _MOST_STRAY_LINES:
                    raise InvalidEntryError(
                        f"was read to line {number} only: {strays:,} lines name files that are not"
                        " in the"
                        " archive."
                    )
        except InvalidEntryError as error:
            if error.is_last:
                raise _StopImportError((RECORDS, str(error))) from error
            # The remaining images are imported without their records.
            yield RECORDS, str(error)

    def _read_line(
        self, source: ImportSource, root: str, number: int, line: bytes, seen: set[str]
    ) -> Iterator[_Item]:
        try:
            listed = _decode_line(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            yield RECORDS, f"has an invalid record on line {number}: {error}."
            return
        name = root + listed.file
        if name not in source.names:
            yield listed.file, "is not in the archive, which has a record of it."
        elif name not in seen:
            seen.add(name)
            yield (
                name,
                self._read_one(
                    source, name, ClaimedRecord(record=listed.record, index=listed.index)
                ),
            )

    def _read_found(self, source: ImportSource, name: str) -> ImportedImage | str | None:
        """Read a file that no record names, by its content; return None if it
        is no image.
        """
        complaint = None if name.lower().endswith(IMAGE_ENDINGS) else _complaint(source, name)
        if complaint is None:
            return self._read_one(source, name, ClaimedRecord(record=_beside(source, name)))
        if complaint.is_image:
            return complaint.reason
        self._ignore(shown_name(name), complaint.reason)
        return None

    def _ignore(self, shown: str, reason: str) -> None:
        self._ignored_count += 1
        if self._ignored_count <= _MOST_IGNORED:
            self._ignored.append(RejectedEntry(name=shown, reason=f"{shown} {reason}"))

    def _all_ignored(self) -> tuple[RejectedEntry, ...]:
        more = self._ignored_count - len(self._ignored)
        if not more:
            return tuple(self._ignored)
        reason = f"{more:,} more files are not images."
        return (*self._ignored, RejectedEntry(name="", reason=reason))

    def _read_one(
        self, source: ImportSource, name: str, claimed: ClaimedRecord
    ) -> ImportedImage | str:
        now = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
        claimed = msgspec.structs.replace(claimed, moment=source.moment(name))
        try:
            data = source.read(name)
            return read_imported_image(
                data, claimed, trusted=self._trusted, max_pixels=self._max_pixels, now=now
            )
        except InvalidEntryError as error:
            if error.is_last:
                raise _StopImportError((name, str(error))) from error
            return str(error)

    def _read_collections(self, source: ImportSource) -> Sequence[ArchivedCollection]:
        root = _root_of(source)
        if root is None or root + COLLECTIONS not in source.names:
            return ()
        try:
            return _decode_collections(
                source.read(root + COLLECTIONS, _LARGEST_COLLECTIONS)
            ).collections[:_MOST_COLLECTIONS]
        except InvalidEntryError as error:
            reason = str(error)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            reason = f"cannot be read: {error}."
        self._refused.append(RejectedEntry(name=COLLECTIONS, reason=f"{COLLECTIONS} {reason}"))
        return ()


class _StopImportError(Exception):
    """Stop of an import, as reading more is unsafe."""

    def __init__(self, item: _Item) -> None:
        super().__init__()
        self.item = item


class _Complaint(NamedTuple):
    """Reason for leaving out a file; the rest of a sentence after its name."""

    is_image: bool
    reason: str


def _complaint(source: ImportSource, name: str) -> _Complaint | None:
    """Return why a file is left out by its first bytes; None if it is an image
    that the library holds.
    """
    ending = PurePath(name).suffix.lower()
    try:
        head = source.head(name)
    except InvalidEntryError as error:
        return _Complaint(ending in _OTHER_ENDINGS, str(error))
    if is_held(head):
        return None
    other = other_format(head) or _OTHER_ENDINGS.get(ending)
    if other is None:
        return _Complaint(False, "is not an image.")
    return _Complaint(
        True, f"is of the format {other}, which the library does not hold: convert it to PNG."
    )


def _is_sidecar(source: ImportSource, name: str) -> bool:
    return name.endswith(".xmp") and name.removesuffix(".xmp") in source.names


def _root_of(source: ImportSource) -> str | None:
    """Return the folder of our archive in the source: the root, or the one
    folder of an archive that was unpacked and packed again.
    """
    if RECORDS in source.names:
        return ""
    within = [
        name for name in source.names if name.count("/") == 1 and name.endswith(f"/{RECORDS}")
    ]
    return within[0].removesuffix(RECORDS) if len(within) == 1 else None


def _beside(source: ImportSource, name: str) -> Record | None:
    """Return the record in a sidecar."""
    sidecar = f"{name}.xmp"
    if sidecar not in source.names:
        return None
    try:
        return decode_sidecar(source.read(sidecar, _LARGEST_SIDECAR))
    except (InvalidEntryError, InvalidRequestError):
        return None


def _lines(source: ImportSource, name: str) -> Iterator[bytes]:
    """Yield the lines of the records; a too long one in pieces, which are not
    valid records.
    """
    file = source.open(name)
    try:
        while line := _read_line(file):
            if line.strip():
                yield line
    finally:
        file.close()


def _read_line(file: IO[bytes]) -> bytes:
    try:
        return file.readline(LARGEST_LINE)
    except Exception as error:
        # A damaged archive raises a dozen kinds of exceptions, and only while
        # it is read.
        raise InvalidEntryError(f"is damaged ({shown_name(str(error))}).") from error
