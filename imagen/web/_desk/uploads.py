"""Images that the page uploads: kept with the inputs of the library, until
nothing has used them for a week.

Each has a mark, a file whose time is that of its last use. A draft in a tab
uses its uploads whenever it is quoted. What an image, a session or a batch of
the page refers to stays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from ..._client.client import Client
from ..._errors import StorageError
from ..._requests.request import InputImage, Request, sources_of
from ..._results.images import SUFFIXES
from ..._system.atomic_files import write_atomically
from ...metadata._embed import kind_of
from ...metadata._seen import as_seen

__all__ = ["InputView", "Uploads", "hashes_of"]

_LONGEST_NAME = 200
_KEPT_SECONDS = 7 * 86_400.0
_FIRST_SECONDS = 60.0
_EVERY_SECONDS = 3600.0
_KINDS = {suffix: kind for kind, suffix in SUFFIXES.items()}


class InputView(msgspec.Struct, frozen=True, kw_only=True):
    """Upload; `input` is its handle, made of the bytes."""

    input: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    name: str


def hashes_of(requests: Iterable[Request]) -> Set[str]:
    """Return the hashes of the images that requests work on."""
    sources = (source for request in requests for source in sources_of(request))
    return {source.sha256 for source in sources if isinstance(source, InputImage)}


class Uploads:
    """Uploads of the page, and the end of those that were not used.

    Args:
        folder: Of the marks.
        in_use: Returns the hashes that batches of the page refer to.
    """

    def __init__(self, client: Client, folder: Path, in_use: Callable[[], Set[str]]) -> None:
        self._client = client
        self._folder = folder
        self._in_use = in_use
        self._now = client._services.runtime.now
        self._workers = client._services.runtime.workers
        # What is uploaded again must not be removed at that moment.
        self._changing = trio.Lock()

    async def keep(self, data: bytes, name: str) -> InputView:
        """Keep an image that the page uploads.

        Raises:
            InvalidRequestError: it is not an image.
            StorageError: it cannot be written.
        """
        async with self._changing:
            kept, view = await self._workers.run(partial(self._look, data, name))
            # The mark comes first: a process that dies between leaves no file without.
            await self._workers.run(partial(self._mark, self._path(view.input, view.media_type)))
            await self._client.library.keep_input(
                kept, sha256=view.input, media_type=view.media_type
            )
            return view

    async def use(self, requests: Sequence[Request]) -> None:
        """Note that requests use their uploads now."""
        if hashes := hashes_of(requests):
            async with self._changing:
                await self._workers.run(partial(self._mark_used, hashes))

    async def run(self) -> None:
        """Remove what was not used, every hour. Failures are retried then."""
        await trio.sleep(_FIRST_SECONDS)
        while True:
            with suppress(StorageError):
                await self.tidy()
            await trio.sleep(_EVERY_SECONDS)

    async def tidy(self) -> None:
        """Remove uploads that nothing has used for a week, and nothing refers to.

        Raises:
            StorageError: the database cannot be written; they stay.
        """
        async with self._changing:
            in_use = self._in_use()
            old = [one for one in await self._workers.run(self._old) if one[0] not in in_use]
            if old:
                await self._client.library.remove_inputs(old)
                await self._workers.run(partial(self._forget, old))

    # --- in threads -----------------------------------------------------------

    def _look(self, data: bytes, name: str) -> tuple[bytes, InputView]:
        """Return the bytes to be kept, and what the page hears of them."""
        seen = as_seen(data, max_pixels=self._client.settings.bounds.max_pixels)
        kept = data if kind_of(data) else seen.data
        return kept, InputView(
            input=hashlib.sha256(kept).hexdigest(),
            media_type=kind_of(kept),
            width=seen.width,
            height=seen.height,
            size_bytes=len(kept),
            name=name[:_LONGEST_NAME],
        )

    def _mark(self, path: Path) -> None:
        try:
            write_atomically(path, b"")
            os.utime(path, (self._now(), self._now()))
        except OSError as error:
            raise StorageError(
                f"The upload cannot be kept in {self._folder}: {error.strerror or error}."
            ) from error

    def _mark_used(self, hashes: Set[str]) -> None:
        now = self._now()
        for path in self._marks():
            if path.stem in hashes:
                with suppress(OSError):
                    os.utime(path, (now, now))

    def _old(self) -> list[tuple[str, str]]:
        before = self._now() - _KEPT_SECONDS
        return [
            (path.stem, _KINDS[path.suffix])
            for path in self._marks()
            if path.stat().st_mtime < before
        ]

    def _forget(self, uploads: Sequence[tuple[str, str]]) -> None:
        for upload in uploads:
            with suppress(OSError):
                self._path(*upload).unlink()

    def _marks(self) -> list[Path]:
        return [path for path in self._folder.glob("*.*") if path.suffix in _KINDS]

    def _path(self, sha256: str, media_type: str) -> Path:
        return self._folder / (sha256 + SUFFIXES[media_type])
