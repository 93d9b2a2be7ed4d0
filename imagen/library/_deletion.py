"""Permanent deletion of images: first rows, then files that no other row uses.

The transaction that deletes a row also queues its file in `removals`. If the
process dies in between, the next sweep removes the file.

An object in a store is deleted outside of any transaction, as that takes long.
The transaction that finds it unused claims its row in `removals`. While a claim
is there, no process puts the same bytes (`_uploads`), and none deletes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from .._errors import ImagenError
from .._requests.request import InputImage, decode_request, sources_of
from .._storage.database import Database, Transaction
from .._storage.full_text import facet
from .._system.nursery import open_bare_nursery
from .._system.threads import Workers
from ._annotations import ImageRef, ids_of, in_groups
from ._files import ImageFiles, is_file_name
from ._image_store import ImageStore
from ._uploads import CLAIM_SECONDS

__all__ = ["Deletion"]

# Files are removed inside a write transaction, so only a few at a time.
_AT_ONCE = 50
# A claim must outlast the request that it protects.
_BEGIN_SECONDS = CLAIM_SECONDS / 3
# What was queued again after the claim is to be deleted once more.
_GONE = "DELETE FROM removals WHERE sha256 = ? AND (claimed_at IS NULL OR queued_at <= claimed_at)"
_CLAIM = "UPDATE removals SET claimed_at = ? WHERE sha256 = ?"


class Deletion:
    """Permanent deletion of images.

    `on_removed` is called with each hash whose file was removed; it may block.
    """

    def __init__(
        self,
        database: Database,
        files: ImageFiles,
        workers: Workers,
        now: Callable[[], float],
        on_removed: Callable[[str], object],
    ) -> None:
        self._database = database
        self._files = files
        self._workers = workers
        self._now = now
        self._on_removed = on_removed

    async def delete(
        self, images: ImageRef | Iterable[ImageRef], *, only_trashed_before: float | None = None
    ) -> int:
        """Permanently delete images, and return their number. Their costs stay
        in the ledger.

        With `only_trashed_before`, images that were restored or trashed again
        since then are kept.
        """
        deleted = 0
        for group in in_groups(ids_of(images)):
            deleted += await self._database.transact(
                lambda transaction, group=group: self._delete_rows(
                    transaction, group, only_trashed_before
                )  # type: ignore[misc]
            )
        await self.sweep()
        return deleted

    async def remove_inputs(self, inputs: Iterable[tuple[str, str]]) -> None:
        """Remove input images, given by hash and media type, that no image,
        session or attempt in flight refers to.

        Raises:
            StorageError: the database cannot be written.
        """
        queue = "INSERT OR IGNORE INTO removals (sha256, media_type, queued_at) VALUES (?, ?, ?)"
        await self._database.write([(queue, (*names, self._now())) for names in inputs])
        await self.sweep()

    async def sweep(self) -> None:
        """Remove the queued files, and their objects. What cannot be removed
        stays queued.

        Raises:
            StorageError: the database cannot be written.
        """
        last = ""
        while True:
            rows = await self._database.read(
                "SELECT sha256, media_type FROM removals WHERE sha256 > ? ORDER BY sha256 LIMIT ?",
                (last, _AT_ONCE),
            )
            if not rows:
                return
            found = [(str(sha256), str(media_type)) for sha256, media_type in rows]
            begun = self._now()
            removed = await self._database.transact(
                partial(self._remove, found=found, claimed_at=begun)
            )
            unused = [sha256 for sha256, is_input in removed if not is_input]
            deleted = await self._delete_objects(unused, begun)
            gone = [sha256 for sha256, is_input in removed if is_input or sha256 in deleted]
            for sha256 in gone:
                await self._workers.run(partial(self._on_removed, sha256))
            # Only now: a process that dies before leaves the rest to the next
            # sweep.
            if gone:
                await self._database.write((_GONE, (sha256,)) for sha256 in gone)
            if not deleted.issuperset(unused):
                # The store is down: the next sweep goes on.
                return
            last = found[-1][0]

    def _delete_rows(
        self, transaction: Transaction, ids: Sequence[str], trashed_before: float | None
    ) -> int:
        deleted = 0
        for image_id in ids:
            rows = transaction.run(
                "DELETE FROM images WHERE id = ?1 AND (?2 IS NULL OR trashed_at < ?2) RETURNING"
                " sha256, media_type, request",
                (image_id, trashed_before),
            )
            for sha256, media_type, request in rows:
                deleted += 1
                sources = sources_of(decode_request(str(request)))
                inputs = [
                    (one.sha256, one.media_type) for one in sources if isinstance(one, InputImage)
                ]
                inputs = [names for names in inputs if is_file_name(*names)]
                for files in ((sha256, media_type), *inputs):
                    transaction.change(
                        "INSERT OR IGNORE INTO removals (sha256, media_type, queued_at)"
                        " SELECT ?1, ?2, ?3 "
                        "WHERE NOT EXISTS (SELECT 1 FROM images WHERE sha256 = ?1)",
                        (*files, self._now()),
                    )
        return deleted

    async def _delete_objects(self, hashes: Sequence[str], claimed_at: float) -> set[str]:
        """Delete objects that this process has claimed; return the hashes of
        those that are gone.
        """
        store = self._files.remote
        if store is None:
            return set(hashes)
        gone: set[str] = set()

        async def delete(store: ImageStore, sha256: str) -> None:
            def begin() -> None:
                # It may have waited for its turn until the claim is over.
                if self._now() <= claimed_at + _BEGIN_SECONDS:
                    store.delete(sha256)
                    gone.add(sha256)

            with suppress(ImagenError):
                await self._workers.run_remote(begin)

        async with open_bare_nursery() as nursery:
            for sha256 in hashes:
                nursery.start_soon(delete, store, sha256)
        return gone

    def _remove(
        self, transaction: Transaction, found: Sequence[tuple[str, str]], claimed_at: float
    ) -> list[tuple[str, bool]]:
        """Remove files inside the write transaction: an image with the same
        bytes is either listed, or announced by its receipt, or written later.

        Return the hashes, each with whether another image was made from it; the
        objects of the others are claimed.
        """
        gone: list[tuple[str, bool]] = []
        for sha256, media_type in found:
            if _is_in_flight(transaction, sha256) or _is_claimed(transaction, sha256, claimed_at):
                continue
            is_input = _is_input(transaction, sha256)
            if transaction.run("SELECT 1 FROM images WHERE sha256 = ? LIMIT 1", (sha256,)):
                transaction.change("DELETE FROM removals WHERE sha256 = ?", (sha256,))
            elif self._remove_files(sha256, media_type, is_input=is_input):
                gone.append((sha256, is_input))
                if not is_input and self._files.remote is not None:
                    transaction.change(_CLAIM, (claimed_at, sha256))
        return gone

    def _remove_files(self, sha256: str, media_type: str, *, is_input: bool) -> bool:
        """Remove the files of an image; an input of another image moves to
        `inputs` instead, so that the request can be repeated.
        """
        copy = self._files.path(sha256, media_type)
        path, kept = self._files.home_of(copy), self._files.input_path(sha256, media_type)
        try:
            if is_input:
                kept.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError):
                    path.replace(kept)
            else:
                for one in (path, kept, copy):
                    one.unlink(missing_ok=True)
        except OSError:
            return False
        return True


def _is_claimed(transaction: Transaction, sha256: str, now: float) -> bool:
    """Return whether another process deletes the object at this moment."""
    since = now - CLAIM_SECONDS
    return bool(
        transaction.run(
            "SELECT 1 FROM removals WHERE sha256 = ? AND claimed_at > ?", (sha256, since)
        )
    )


def _is_in_flight(transaction: Transaction, sha256: str) -> bool:
    """Return whether an attempt in flight delivers or uses the image."""
    return bool(
        transaction.run(
            "SELECT 1 FROM attempts WHERE state IN ('reserved', 'sent', 'accepted') "
            "AND (instr(receipt, ?1) OR instr(request, ?1)) LIMIT 1",
            (sha256,),
        )
    )


def _is_input(transaction: Transaction, sha256: str) -> bool:
    """Return whether the image is an input of another image, or of a session
    that can be resumed.
    """
    return bool(
        transaction.run(
            "SELECT 1 FROM image_search WHERE image_search MATCH ? LIMIT 1",
            (f"facets : {facet('i', sha256)}",),
        )
        or transaction.run("SELECT 1 FROM sessions WHERE instr(request, ?) LIMIT 1", (sha256,))
    )
