"""Upload of images to the object store: before their rows while it answers, and
later whatever it did not take.

What is to be uploaded are the files that lie outside of the cache, so nothing
is written down and nothing is lost when a process dies.

An object is deleted by the process that claims its row in `removals`. A put of
the same bytes could come before that deletion and be undone by it. So the bytes
are announced first, by a receipt or a row, which no claim ignores; and nothing
is put while a claim is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import trio

from .._errors import ImagenError, StorageError
from .._policy.store_settings import ImageStoreSettings
from .._storage.database import Database
from .._system.ids import new_id
from .._system.nursery import open_bare_nursery
from .._system.threads import Workers
from ._annotations import in_groups
from ._image_store import INPUTS, MEDIA_TYPES, ImageStore

__all__ = ["CLAIM_SECONDS", "UploadProgress", "Uploads", "open_image_store"]

# Longer than the deletion of an object, from the claim to the last byte.
CLAIM_SECONDS = 180.0
# Below the bound on the settlement of an attempt, which waits for it.
_PUT_SECONDS = 20.0
# While the store is down, an image does not wait for it each time.
_PAUSE_SECONDS = 15.0
_FIRST_SECONDS = 5.0
_EVERY_SECONDS = 60.0
_AT_ONCE = 4
_MOST_KNOWN = 10_000
_FOLDER = "SELECT folder FROM image_store"
_NEW_FOLDER = "INSERT OR IGNORE INTO image_store (number, folder) VALUES (1, ?)"
# The image was deleted while it was put, perhaps after its object was.
_REMOVE_AGAIN = """
INSERT INTO removals (sha256, media_type, queued_at)
SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM images WHERE sha256 = ?1)
ON CONFLICT (sha256) DO UPDATE SET queued_at = excluded.queued_at
"""
_BEING_REMOVED = "SELECT 1 FROM removals WHERE sha256 = ? AND claimed_at > ?"

UploadProgress = Callable[[int, int], None]


async def open_image_store(
    settings: ImageStoreSettings,
    folder: Path,
    database: Database,
    workers: Workers,
    now: Callable[[], float],
) -> ImageStore:
    """Open the store of a library, without a request to it.

    Raises:
        ConfigurationError: the extra `store` is not installed, or the settings
            are wrong.
        StorageError: the database cannot be used.
    """
    # Each library has a folder of its own in the store, by its database: one
    # that shares the bucket knows nothing of the rows of another, and would
    # delete what only its own rows do not use.
    rows = await database.read(_FOLDER)
    if not rows:
        await database.write([(_NEW_FOLDER, (new_id(),))])
        rows = await database.read(_FOLDER)
    store = ImageStore(settings, folder, str(rows[0][0]), now=now)
    await workers.run(store.check)
    return store


class Uploads:
    """Upload of the files of one library. `run` takes care of those that the
    store did not take.
    """

    def __init__(
        self, database: Database, store: ImageStore, workers: Workers, now: Callable[[], float]
    ) -> None:
        self._database = database
        self._store = store
        self._workers = workers
        self._now = now
        self._paused_until = 0.0
        # Inputs that the store has; many requests have the same.
        self._known: set[str] = set()
        self._scope = trio.CancelScope()

    async def put(self, paths: Sequence[Path]) -> None:
        """Put files into the store, within 20 seconds. What it does not take
        until then stays on this machine, is readable, and is put later.

        A cancellation leaves it so too; the put goes on in its thread.
        """
        if self._now() >= self._paused_until:
            with trio.move_on_after(_PUT_SECONDS) as bound:
                async with open_bare_nursery() as nursery:
                    for path in paths:
                        nursery.start_soon(self._try, path)
            if bound.cancelled_caught:
                self._pause()
        await self._workers.run(partial(_link_left, self._store, paths))

    async def put_input(self, path: Path) -> None:
        """Put the file of an input image into the store, as `put` does. If it
        is a copy, make sure that the store has it still.
        """
        if path.stem in self._known or self._now() < self._paused_until:
            return
        with trio.move_on_after(_PUT_SECONDS) as bound:
            try:
                size = await self._workers.run_remote(partial(self._store.size_of, path.stem))
            except ImagenError:
                # The file is here: it is put later, or it is a copy.
                self._pause()
                return
            if size is not None and len(self._known) < _MOST_KNOWN:
                self._known.add(path.stem)
        if bound.cancelled_caught:
            self._pause()
        elif size is None:
            await self.put([path])

    async def upload_all(self, on_progress: UploadProgress = lambda done, total: None) -> int:
        """Put every file of the library into the store that is not there, and
        return their number. It can be repeated after it was interrupted.

        Raises:
            ImagenError: the store does not take a file; the rest is left.
            StorageError: a file is damaged, after all others were put, or the
                database cannot be read.
        """
        paths = await self._wanted()
        failed: list[ImagenError] = []
        on_progress(0, len(paths))
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            async with open_bare_nursery() as nursery:
                for path in some:
                    nursery.start_soon(self._put_or_note, path, failed)
            for error in failed:
                if not isinstance(error, StorageError):
                    raise error
            on_progress(start + len(some), len(paths))
        if failed:
            raise failed[0]
        return len(paths)

    async def run(self) -> None:
        """Put what is left, until closed. Failures are retried."""
        with self._scope:
            await trio.sleep(_FIRST_SECONDS)
            while True:
                try:
                    await self.upload_all()
                except ImagenError:
                    self._pause()
                await trio.sleep(_EVERY_SECONDS)

    def close(self) -> None:
        """End `run`. What it had begun is put again by the next client."""
        self._scope.cancel("the client closes")

    async def _try(self, path: Path) -> None:
        try:
            await self.put_now(path)
        except ImagenError:
            self._pause()

    async def _put_or_note(self, path: Path, failed: list[ImagenError]) -> None:
        try:
            await self.put_now(path)
            if path.parent.name != INPUTS:
                remove = (path.stem, MEDIA_TYPES[path.suffix], self._now())
                await self._database.write([(_REMOVE_AGAIN, remove)])
        except ImagenError as error:
            failed.append(error)

    async def put_now(self, path: Path) -> None:
        """Put one file into the store, unless its object is being deleted.

        Raises:
            ImagenError: the store does not take it.
        """
        since = self._now() - CLAIM_SECONDS
        if not await self._database.read(_BEING_REMOVED, (path.stem, since)):
            await self._workers.run_remote(partial(self._store.put, path))

    def _pause(self) -> None:
        self._paused_until = self._now() + _PAUSE_SECONDS

    async def _wanted(self) -> Sequence[Path]:
        """Return the files that are only here, but for orphans: those are
        listed again by a check of the library, or deleted.
        """
        found: list[Path] = []
        for paths in in_groups(await self._workers.run(self._store.only_here)):
            listed = await self._listed([path.stem for path in paths])
            found += [path for path in paths if path.parent.name == INPUTS or path.stem in listed]
        return found

    async def _listed(self, hashes: Sequence[str]) -> set[str]:
        rows = await self._database.read(
            "SELECT sha256 FROM images WHERE sha256 IN (SELECT value FROM json_each(?))",
            (msgspec.json.encode(hashes).decode(),),
        )
        return {str(sha256) for (sha256,) in rows}


def _link_left(store: ImageStore, paths: Sequence[Path]) -> None:
    for path in paths:
        store.link(path)
