"""The batches of the page: they run in the server, whatever its tabs do."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import AbstractAsyncContextManager

import trio

from ..._client.batch import Batch
from ..._client.client import Client
from ..._results.events import Event
from ...library._library import Library
from .._wire.errors import ApiError
from .batch_files import BatchFiles, BegunBatch
from .events import EventLog
from .places import BatchView
from .running import PageBatch
from .uploads import hashes_of

__all__ = ["Batches", "Opening"]

_MOST_KEPT = 100
Opening = Callable[[Callable[[Event], None]], AbstractAsyncContextManager[Batch]]


class Batches:
    """Batches that run, those of an earlier server that are not over, and the
    latest that are.
    """

    def __init__(
        self,
        client: Client,
        library: Library,
        events: EventLog,
        nursery: trio.Nursery,
        files: BatchFiles,
    ) -> None:
        self._client = client
        self._library = library
        self._events = events
        self._nursery = nursery
        self._files = files
        self._now = client._services.runtime.now
        self._batches: dict[str, PageBatch] = {}
        self._starting = trio.Lock()

    async def load(self) -> None:
        """Read what an earlier server has left."""
        for begun in await self._files.read():
            if begun.requests:
                batch = PageBatch(begun, self._events, self._now)
                for image in await self._library.of_batch(begun.id):
                    if image.index < len(batch.places):
                        batch.places[image.index].take(image, image.created_at)
                await self._list(batch)

    async def _list(self, batch: PageBatch) -> None:
        if batch.is_done:
            await self._files.forget(batch.begun.id)
        else:
            batch.interrupt()
            self._batches[batch.begun.id] = batch

    def all(self) -> Sequence[BatchView]:
        """Return the views of all batches, the latest first, without places."""
        return [batch.view for batch in reversed(self._batches.values())]

    def inputs(self) -> Set[str]:
        """Return the hashes of the images that their requests work on."""
        return {
            sha256 for batch in self._batches.values() for sha256 in hashes_of(batch.begun.requests)
        }

    def get(self, batch_id: str) -> PageBatch:
        """Return a batch.

        Raises:
            ApiError: there is none of that id.
        """
        if (batch := self._batches.get(batch_id)) is None:
            raise ApiError(404, "NOT_FOUND", f"There is no batch {batch_id[:80]!r} in the list.")
        return batch

    async def start(
        self, opening: Opening, begin: Callable[[str], BegunBatch], key: str | None
    ) -> PageBatch:
        """Start a batch; with a key that has started one, return that one.

        Raises:
            StorageError: it cannot be kept; nothing was sent.
        """
        async with self._starting:
            if key is not None and (known := self._of_key(key)) is not None:
                return known
            batch: PageBatch = await self._nursery.start(self._run, opening, begin)
            self._batches[batch.begun.id] = batch
            self._drop_old()
            return batch

    async def _run(
        self,
        opening: Opening,
        begin: Callable[[str], BegunBatch],
        task_status: trio.TaskStatus[PageBatch],
    ) -> None:
        batch: PageBatch | None = None

        def notice(event: Event) -> None:
            if batch is not None:
                batch.notice(event)

        async with opening(notice) as inner:
            begun = begin(inner.id)
            await self._files.keep(begun)
            batch = PageBatch(begun, self._events, self._now)
            task_status.started(batch)
            await batch.run(inner)
        await batch.wait_settled()
        await self._files.forget(batch.begun.id)

    def reopen(self, batch_id: str) -> PageBatch:
        """Collect what an interrupted batch had sent.

        Raises:
            ApiError: there is none of that id, or it was not interrupted.
        """
        batch = self.get(batch_id)
        if batch.view.state != "interrupted":
            raise ApiError(
                409,
                "SESSION",
                f"This batch is {batch.view.state}: only an interrupted one is reopened.",
            )
        batch.view.state = "running"
        self._nursery.start_soon(self._collect, batch)
        return batch

    async def _collect(self, batch: PageBatch) -> None:
        async with self._client.reopen_batch(batch.begun.id) as inner:
            await batch.run(inner)
        await batch.wait_settled()
        await self._files.forget(batch.begun.id)

    async def forget(self, batch_id: str) -> None:
        """Remove a batch from the list.

        Raises:
            ApiError: there is none of that id, or it runs.
        """
        batch = self.get(batch_id)
        if batch.is_running:
            raise ApiError(409, "SESSION", "This batch is running: cancel it first.")
        del self._batches[batch_id]
        await self._files.forget(batch_id)
        self._events.add("forgotten", {"batch_id": batch_id})

    def _drop_old(self) -> None:
        over = [one for one in self._batches.values() if not one.is_open]
        for batch in over[: max(0, len(self._batches) - _MOST_KEPT)]:
            del self._batches[batch.begun.id]
            self._events.add("forgotten", {"batch_id": batch.begun.id})

    def _of_key(self, key: str) -> PageBatch | None:
        return next((one for one in self._batches.values() if one.begun.key == key), None)
