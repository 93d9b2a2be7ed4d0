"""Batches that run, as files of the home: what the server had begun when it was
killed is there when it starts again.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from ..._errors import StorageError
from ..._requests.request import Request
from ..._system.atomic_files import write_atomically
from ..._system.threads import Workers

__all__ = ["BatchFiles", "BegunBatch"]


class BegunBatch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch with all its requests, one for each image."""

    id: str
    requests: list[Request]
    started_at: datetime.datetime
    key: str | None = None


_decode = msgspec.json.Decoder(BegunBatch).decode


class BatchFiles:
    """Folder of the batches that are not over."""

    def __init__(self, folder: Path, workers: Workers) -> None:
        self._folder = folder
        self._workers = workers

    async def keep(self, batch: BegunBatch) -> None:
        """Write a batch, before anything is sent.

        Raises:
            StorageError: it cannot be written.
        """
        data = msgspec.json.encode(batch)
        try:
            await self._workers.run(partial(write_atomically, self._path(batch.id), data))
        except OSError as error:
            raise StorageError(
                f"The batch cannot be kept in {self._folder}: {error.strerror or error}; nothing"
                " was sent."
            ) from error

    async def forget(self, batch_id: str) -> None:
        """Remove a batch that is over."""
        with suppress(OSError):
            await self._workers.run(partial(self._path(batch_id).unlink, missing_ok=True))

    async def read(self) -> Sequence[BegunBatch]:
        """Return the batches that an earlier server has left, oldest first."""
        found = await self._workers.run(self._read)
        return sorted(found, key=lambda batch: batch.started_at)

    def _read(self) -> list[BegunBatch]:
        found = []
        for path in self._folder.glob("*.json"):
            # A damaged file says nothing of use: the images are in the library.
            with suppress(OSError, msgspec.DecodeError):
                found.append(_decode(path.read_bytes()))
        return found

    def _path(self, batch_id: str) -> Path:
        return self._folder / f"{batch_id}.json"
