"""Consistency check of rows and files, with repair."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from .._errors import ImagenError, ProviderError, StorageError
from .._requests.request import Generate, encode_request
from .._results.images import SUFFIXES
from .._storage.database import Database, Transaction, Value
from .._system.atomic_files import PART
from .._system.private_files import make_private_folder
from .._system.threads import Workers
from ..metadata._embed import read_record
from ..metadata._image_header import read_image_header
from ..metadata._record import Record
from ._deletion import Deletion
from ._files import ImageFiles
from ._image_store import ImageStore
from ._rows import COLUMNS, ImageRow, insert_image, read_image
from ._uploads import Uploads

__all__ = ["Finding", "LibraryCheck"]

_PAGE = 200
_FOLDERS = "0123456789abcdef"
_CHUNK = 1 << 20
# Live processes finish writing a file much sooner.
_STALE_SECONDS = 3600.0

Kind = Literal["missing", "damaged", "waiting", "orphan", "leftover", "unindexed", "unreadable"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An inconsistency in the library.

    An image's file is "missing" or "damaged", or it is only on this machine and
    "waiting" for the object store. A file is an "orphan" without an
    image, or the "leftover" of an interrupted write. An image is "unindexed" if
    the full-text index lacks it, and "unreadable" if its row is damaged.
    `repaired` describes the repair.
    """

    kind: Kind
    image_id: str | None = None
    path: Path | None = None
    repaired: str | None = None


class LibraryCheck:
    """Check of all rows and files. It reads every file, so the disk sets its
    duration.
    """

    def __init__(
        self,
        database: Database,
        files: ImageFiles,
        deletion: Deletion,
        workers: Workers,
        uploads: Uploads | None = None,
    ) -> None:
        self._uploads = uploads
        self._database = database
        self._files = files
        self._deletion = deletion
        self._workers = workers

    async def run(
        self, *, repair: bool, on_progress: Callable[[int], None] = lambda checked: None
    ) -> Sequence[Finding]:
        """Return all findings, repaired if `repair` is set; `on_progress`
        receives the number of images checked.

        An image with a missing or damaged file goes to the trash, a damaged
        file to the folder `damaged`. An orphan is listed again, with the tag
        `recovered` and the data in its header. Only leftovers and files already
        queued for removal are deleted.

        With an object store, a missing or damaged object trashes no image:
        another machine may still have it. What this machine has is put there.

        Raises:
            StorageError: every file is missing, so this is the wrong folder; or
                a repair failed.
        """
        if repair:
            await self._deletion.sweep()
        found = [finding async for finding in self._check_images(on_progress)]
        if repair and self._files.remote is None:
            await self._check_folder(sum(finding.kind == "missing" for finding in found))
        found += await self._check_rows()
        found += await self._check_index()
        found += await self._check_files()
        return [await self._repair(finding) for finding in found] if repair else found

    async def _check_folder(self, missing: int) -> None:
        """Refuse to trash every image because the folder is wrong or its disk
        is not mounted.
        """
        ((kept,),) = await self._database.read("SELECT images FROM library_size WHERE trashed = 0")
        if missing > 1 and kept == missing:
            raise StorageError(
                f"The files of all {missing:,} images are missing in {self._files.folder}: check"
                " that its disk is mounted. Nothing was changed."
            )

    async def _check_images(self, on_progress: Callable[[int], None]) -> AsyncIterator[Finding]:
        checked, number = 0, -1
        while rows := await self._database.read(
            "SELECT number, id, sha256, media_type, trashed_at, size_bytes FROM images WHERE"
            " number > ? ORDER"
            f" BY number LIMIT {_PAGE}",
            (number,),
        ):
            for row_number, image_id, sha256, media_type, trashed_at, size_bytes in rows:
                number = int(str(row_number))
                if media_type not in SUFFIXES:
                    # The check of the rows finds it.
                    continue
                path = self._files.path(str(sha256), str(media_type))
                if self._files.remote is None:
                    kind: Kind | None = await self._workers.run(
                        partial(_inspect, path, str(sha256))
                    )
                else:
                    kind = await self._workers.run_remote(
                        partial(_inspect_object, self._files.remote, path, int(str(size_bytes)))
                    )
                # An earlier check has already trashed it.
                is_handled = kind == "missing" and trashed_at is not None
                if kind is not None and not is_handled and await self._is_listed(str(image_id)):
                    yield Finding(kind=kind, image_id=str(image_id), path=path)
                checked += 1
            on_progress(checked)

    async def _is_listed(self, image_id: str) -> bool:
        """Return whether the image still exists: it may have been deleted
        during the check.
        """
        return bool(await self._database.read("SELECT 1 FROM images WHERE id = ?", (image_id,)))

    async def _check_index(self) -> Sequence[Finding]:
        rows = await self._database.read(
            "SELECT id FROM images WHERE NOT EXISTS (SELECT 1 FROM image_search_docsize WHERE"
            " image_search_docsize.id = number)"
        )
        return [Finding(kind="unindexed", image_id=str(image_id)) for (image_id,) in rows]

    async def _check_rows(self) -> Sequence[Finding]:
        found: list[Finding] = []
        number: Value = -1
        while rows := await self._database.read(
            f"SELECT images.number, {COLUMNS} FROM images WHERE images.number > ? ORDER BY"
            f" images.number LIMIT {_PAGE}",
            (number,),
        ):
            found += [
                Finding(kind="unreadable", image_id=str(image_id))
                for _, image_id, *rest in rows
                if not _is_readable([image_id, *rest])
            ]
            number = rows[-1][0]
        return found

    async def _check_files(self) -> Sequence[Finding]:
        found: list[Finding] = []
        for path in await self._workers.run(lambda: list(_files_below(self._files.folder))):
            if path.name.endswith(PART):
                if await self._workers.run(partial(_is_stale, path)):
                    found.append(Finding(kind="leftover", path=path))
            elif path.parent.name in _FOLDERS and await self._is_orphan(path):
                found.append(Finding(kind="orphan", path=path))
        if self._files.remote is not None:
            for path in await self._workers.run(self._files.remote.copies):
                if await self._is_useless(path):
                    found.append(Finding(kind="leftover", path=path))
        return found

    async def _is_useless(self, path: Path) -> bool:
        """Return whether a copy is damaged, of no image, or half written."""
        if path.name.endswith(PART):
            return await self._workers.run(partial(_is_stale, path))
        is_damaged = await self._workers.run(partial(_inspect, path, path.stem)) == "damaged"
        return is_damaged or await self._is_orphan(path)

    async def _is_orphan(self, path: Path) -> bool:
        rows = await self._database.read(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM images WHERE sha256 = ?1) OR EXISTS (SELECT 1"
            " FROM removals WHERE sha256 = ?1) OR EXISTS (SELECT 1 FROM attempts WHERE state IN"
            " ('reserved', 'sent', 'accepted') AND instr(receipt, ?1))",
            (path.stem,),
        )
        # The file may have been deleted with its image since the folder was
        # listed.
        return not rows and await self._workers.run(path.is_file)

    # --- repairs --------------------------------------------------------------

    async def _repair(self, finding: Finding) -> Finding:
        match finding.kind:
            case "leftover":
                assert finding.path is not None
                await self._workers.run(partial(_remove, finding.path))
                return _done(finding, "removed")
            case "unindexed":
                await self._database.write(
                    [("UPDATE images SET notes = notes WHERE id = ?", (finding.image_id,))]
                )
                return _done(finding, "indexed")
            case "orphan":
                return await self._list_again(finding)
            case "unreadable":
                return await self._rebuild(finding)
            case "waiting" | "missing" | "damaged" if self._files.remote is not None:
                return await self._put_again(finding, self._files.remote)
            case _:
                return await self._set_aside(finding)

    async def _put_again(self, finding: Finding, store: ImageStore) -> Finding:
        assert finding.path is not None
        home = await self._workers.run(partial(store.home_of, finding.path))
        path = home or finding.path
        if await self._workers.run(partial(_inspect, path, path.stem)) is not None:
            alone = msgspec.structs.replace(finding, path=path)
            return finding if home is None else await self._set_aside(alone)
        assert self._uploads is not None
        await self._uploads.put_now(path)
        return _done(finding, "put into the store")

    async def _set_aside(self, finding: Finding) -> Finding:
        path = finding.path
        assert path is not None
        aside = self._files.folder / "damaged" / path.name
        result = await self._database.transact(
            partial(_set_aside, image_id=str(finding.image_id), path=path, aside=aside)
        )
        if isinstance(result, StorageError):
            raise result
        return _done(finding, "its image is in the trash" if result else "it is whole again")

    async def _rebuild(self, finding: Finding) -> Finding:
        """Put the values of the record in the file, or neutral ones, in place
        of those that cannot be read.
        """
        ((row_number, *values),) = await self._database.read(
            f"SELECT images.number, {COLUMNS} FROM images WHERE id = ?", (finding.image_id,)
        )
        row = dict(zip(ImageRow.__struct_fields__, values, strict=True))
        paths = [path for path in self._files_of(str(row["sha256"])) if path.is_file()]
        record = None if not paths else await self._workers.run(partial(_record_of, paths[0]))
        media_type = _SUFFIX_TYPES[paths[0].suffix] if paths else "image/png"
        neutral = _replacements(record, int(str(row_number)), media_type)
        for column, value in neutral.items():
            if not _is_readable(list({**_SOUND, "id": row["id"], column: row[column]}.values())):
                row[column] = value
        if not _is_readable(list(row.values())):
            return finding
        changed = {name: row[name] for name in neutral}
        columns = ", ".join(f"{name} = ?" for name in changed)
        await self._database.write(
            [(f"UPDATE images SET {columns} WHERE number = ?", (*changed.values(), row_number))]
        )
        return _done(finding, "rebuilt from its file" if record else "rebuilt as far as it is read")

    def _files_of(self, sha256: str) -> Sequence[Path]:
        return [self._files.path(sha256, media_type) for media_type in SUFFIXES]

    async def _list_again(self, finding: Finding) -> Finding:
        path = finding.path
        assert path is not None
        kind = await self._workers.run(partial(_inspect, path, path.stem))
        if kind == "damaged":
            aside = self._files.folder / "damaged" / path.name
            await self._workers.run(partial(_move, path, aside))
            return _done(finding, f"it is damaged, and moved to {aside}")
        row = None if kind == "missing" else await self._workers.run(partial(_unknown_row, path))
        if row is None:
            return _done(finding, "it is gone") if kind == "missing" else finding
        await self._database.write([insert_image(row)])
        return _done(finding, "listed again")


def _set_aside(
    transaction: Transaction, image_id: str, path: Path, aside: Path
) -> bool | StorageError:
    """Trash an image whose file is still missing or damaged, and return whether
    it was.

    Checked again inside the write transaction: the file may have been
    rewritten, or moved for another image with the same bytes.
    """
    kind = _inspect(path, path.stem)
    if kind is None:
        return False
    try:
        if kind == "damaged":
            _move(path, aside)
    except StorageError as error:
        return error
    transaction.change(
        "UPDATE images SET trashed_at = coalesce(trashed_at, ?) WHERE id = ?",
        (time.time(), image_id),
    )
    return True


def _done(finding: Finding, what: str) -> Finding:
    return msgspec.structs.replace(finding, repaired=what)


class _NoFiles:
    remote = None

    def path(self, sha256: str, media_type: str) -> Path:
        return Path(SUFFIXES[media_type])


def _is_readable(values: Sequence[object]) -> bool:
    try:
        read_image(values, _NoFiles())
    except StorageError:
        return False
    return True


def _record_of(path: Path) -> Record | None:
    try:
        return _record_in(path.read_bytes())
    except OSError:
        return None


def _record_in(data: bytes) -> Record | None:
    try:
        return read_record(data)
    except (ImagenError, ValueError):
        return None


def _replacements(record: Record | None, number: int, media_type: str) -> dict[str, Value]:
    request = encode_request(Generate(prompt="" if record is None else record.prompt))
    return {
        "request": request,
        "media_type": media_type,
        "adjustments": "[]",
        "tags": "[]",
        "cost_source": "unknown",
        "created_at": number / 1_000_000,
        "seconds": 0.0,
    }


def _inspect(path: Path, sha256: str) -> Literal["missing", "damaged"] | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"
    return None if digest.hexdigest() == sha256 else "damaged"


def _inspect_object(store: ImageStore, path: Path, size_bytes: int) -> Kind | None:
    size = store.size_of(path.stem)
    if size == size_bytes:
        return None
    home = store.home_of(path)
    if home is not None:
        return _inspect(home, home.stem) or "waiting"
    return "missing" if size is None else "damaged"


def _files_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and (inner.name in _FOLDERS or inner.name in ("inputs", "unreadable")):
            yield from sorted(path for path in inner.iterdir() if path.is_file())


def _is_stale(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > _STALE_SECONDS
    except OSError:
        return False


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be removed: {error.strerror or error}.") from error


def _move(path: Path, target: Path) -> None:
    try:
        make_private_folder(target.parent)
        with suppress(FileNotFoundError):
            # Another process has moved it.
            path.replace(target)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be moved to {target}: {error.strerror or error}."
        ) from error


# A row that can be read, to try one value of another in.
_SOUND: Mapping[str, Value] = dict(
    zip(
        ImageRow.__struct_fields__,
        ("", None, 0, "", "image/png", 1, 1, 1, "", "", encode_request(Generate(prompt="")), None,
         None, None, "unknown", "[]", 0.0, 0.0, None, None, None, "[]", 0, "", None),
        strict=True,
    )
)  # fmt: skip
_SUFFIX_TYPES: Mapping[str, str] = {suffix: media_type for media_type, suffix in SUFFIXES.items()}


def _unknown_row(path: Path) -> ImageRow | None:
    """Return the row of an image known only by its bytes, and by its record if
    they hold one; None if they are not an image.
    """
    data = path.read_bytes()
    try:
        found = read_image_header(data)
    except ProviderError:
        return None
    if _SUFFIX_TYPES.get(path.suffix) != found.media_type:
        return None
    record = _record_in(data)
    return ImageRow(
        id=path.stem[:16],
        attempt_id=None,
        batch_index=0,
        sha256=path.stem,
        media_type=found.media_type,
        width=found.width,
        height=found.height,
        size_bytes=len(data),
        provider="unknown" if record is None else record.provider,
        model="unknown" if record is None else record.model,
        request=encode_request(Generate(prompt="" if record is None else record.prompt)),
        revised_prompt=None,
        seed=None,
        cost_nanousd=None,
        cost_source="unknown",
        adjustments="[]",
        seconds=0.0,
        created_at=path.stat().st_mtime,
        parent_id=None,
        provider_id=None,
        tags='["recovered"]',
    )
