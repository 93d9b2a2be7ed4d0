"""Many images as one archive: a call makes it, then the browser saves it."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

from ..._client.client import Client
from ..._results.images import Image
from .._wire.errors import ApiError

__all__ = ["Zips", "file_name"]

_KEPT_SECONDS = 600.0


class Zips:
    """Archives that wait to be saved, for ten minutes each."""

    def __init__(self, client: Client, folder: Path, nursery: trio.Nursery) -> None:
        self._client = client
        self._folder = folder
        self._nursery = nursery
        self._work = client._services.runtime.workers.run
        self._paths: dict[str, Path] = {}

    async def clear(self) -> None:
        """Remove what a server that was killed has left."""
        await self._work(self._clear)

    def _clear(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.glob("*.zip"):
            _remove(path)

    async def make(self, images: Iterable[Image] | AsyncIterable[Image]) -> tuple[str, int]:
        """Write an archive; return its token and the number of images.

        Raises:
            StorageError: it cannot be written.
        """
        token = secrets.token_hex(16)
        path = self._folder / f"{token}.zip"
        result = await self._client.archives.export_to(path, images)
        self._paths[token] = path
        self._nursery.start_soon(self._forget_later, token, name="imagen web zip")
        return token, result.images

    def path(self, token: str) -> Path:
        """Return the file of an archive.

        Raises:
            ApiError: there is none, or its time is over.
        """
        if (path := self._paths.get(token)) is None:
            raise ApiError(404, "NOT_FOUND", "This archive is gone: ask for it again.")
        return path

    async def _forget_later(self, token: str) -> None:
        try:
            await trio.sleep(_KEPT_SECONDS)
        finally:
            with trio.CancelScope(shield=True):
                await self._work(partial(_remove, self._paths.pop(token)))


def file_name(moment: datetime.datetime) -> str:
    """Return the name under which a browser saves an archive."""
    return f"images-{moment:%Y-%m-%d-%H%M%S}.zip"


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
