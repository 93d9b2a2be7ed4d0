"""Publishing of images to an object store, and their removal, across crashes
and network failures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal

import msgspec
import trio

from ..._errors import (
    AuthenticationError,
    ConfigurationError,
    ImagenError,
    InvalidRequestError,
    StorageError,
)
from ..._policy.store_settings import StoreSettings
from ..._results.events import EventHandler, ImagePublished
from ..._results.images import SUFFIXES, Image
from ..._storage.database import Database, Statement
from ..._storage.object_store import TIMEOUT_SECONDS, ObjectStore
from ..._storage.outbox import OutboxLoop
from ..._system.nursery import open_bare_nursery
from ..._system.threads import Workers
from . import publications as _rows
from .publications import Lease, Publication, PublicationState

__all__ = ["Publisher", "PublishingStatus"]

PublishProgress = Callable[[int, int], None]

# Seconds from each failure to the next try: short for a glitch, ten hours in
# total for an outage.
_WAITS = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0)
# Removals are retried forever.
_LAST_WAIT = _WAITS[-1]
# Longest time until the next try for which a caller waits for a removal.
_REFUSED_SECONDS = 3600.0
# Longer than a request and a write to the database together.
_LEASE_SECONDS = TIMEOUT_SECONDS + 60.0
# Other processes and triggers also add rows.
_LOOK_SECONDS = 60.0
_LOOK_ALWAYS_SECONDS = 2.0
_CLOSE_SECONDS = 10.0
# Another process may finish the work that a caller waits for.
_LOOK_WAITING_SECONDS = 5.0
# Minimum interval of polling, as each poll reads a row per remaining image.
_PAUSE_SECONDS = 0.05
# Rows per statement or transaction.
_AT_ONCE = 500


class PublishingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Number of images by state."""

    store: str
    queued: int = 0
    published: int = 0
    failed: int = 0
    removing: int = 0
    removed: int = 0


class Publisher:
    """Publishing of library images to an object store, named by the hash of
    their bytes.

    The provider's bytes are published, without any metadata of ours.

    Args:
        read: Returns the bytes of an image by its SHA-256, or None if its file
            is missing. Blocking.
        now: Returns Unix time in seconds, consistent among all processes that
            share the database.
    """

    def __init__(
        self,
        database: Database,
        workers: Workers,
        settings: StoreSettings,
        *,
        read: Callable[[str], bytes | None],
        now: Callable[[], float],
        emit: EventHandler = lambda event: None,
    ) -> None:
        self._emit = emit
        self._database = database
        self._workers = workers
        self._settings = settings
        self._store = ObjectStore(settings, cache_control=settings.cache_control)
        self._name = settings.name
        self._read = read
        self._now = now
        self._free = settings.max_at_once
        self._loop = OutboxLoop(_CLOSE_SECONDS)

    def url_of(self, image: Image) -> str | None:
        """Return the public URL of an image; None without `store_public_url`."""
        base = self._settings.public_url
        return (
            None if base is None else f"{base.rstrip('/')}/{_key(image.sha256, image.media_type)}"
        )

    async def sign(self, image: Image, *, expires_seconds: int = 3600) -> str:
        """Return a public link to a published image, valid for at most seven
        days.

        Raises:
            InvalidRequestError: the image is not published, the lifetime is too
                long, or the store is a folder.
            ConfigurationError: the extra `store` is not installed.
            AuthenticationError: there are no keys to sign with.
        """
        found = await self.find([image])
        if not found or found[0].state != "published":
            raise InvalidRequestError(
                f"The image {image.id} is not published yet: imagen publish {image.id}"
            )
        key = _key(image.sha256, image.media_type)
        return await self._workers.run(partial(self._store.sign, key, expires_seconds))

    async def publish(
        self, images: Iterable[Image], *, wait: bool = True, progress: PublishProgress | None = None
    ) -> list[Publication]:
        """Queue images, and wait until each is published or has failed.

        Args:
            wait: False returns once they are queued; they are published in the
                background, if necessary by another process.
            progress: Receives the number of finished images, and the total.

        Published images are not uploaded again, and failed ones are retried.
        Network failures are retried for up to hours: limit it with
        `trio.move_on_after`. A cancellation leaves the images queued.

        Raises:
            ConfigurationError: the extra `store` is not installed, or the store
                cannot be opened.
            StorageError: the database cannot be written.
        """
        await self._workers.run(self._store.check)
        wanted = {image.sha256: image.media_type for image in images}
        await self._write(
            _rows.enqueue(sha256, media_type, store=self._name, now=self._now())
            for sha256, media_type in wanted.items()
        )
        if wait:
            await self._wait_ended(list(wanted), progress)
        return await self._find(list(wanted))

    async def unpublish(
        self, images: Iterable[Image], *, wait: bool = True, progress: PublishProgress | None = None
    ) -> list[Publication]:
        """Remove images from the store; otherwise like `publish`. Intermediate
        caches may keep them until they expire.

        If the store refuses, e.g. for wrong keys, the images are returned as
        `removing` with the `last_error`. They stay queued and are retried
        periodically, or at once by another call.

        Raises:
            ConfigurationError: the extra `store` is not installed, or the store
                cannot be opened.
            StorageError: the database cannot be written.
        """
        await self._workers.run(self._store.check)
        hashes = list(dict.fromkeys(image.sha256 for image in images))
        await self._write(
            _rows.remove(sha256, store=self._name, now=self._now()) for sha256 in hashes
        )
        if wait:
            await self._wait_ended(hashes, progress)
        return await self._find(hashes)

    async def find(self, images: Iterable[Image]) -> list[Publication]:
        """Return the publications of images; images that were never queued are
        left out.
        """
        return await self._find(list(dict.fromkeys(image.sha256 for image in images)))

    async def status(self) -> PublishingStatus:
        """Return the number of images of this store by state."""
        rows = await self._database.read(_rows.COUNTS, (self._name,))
        return msgspec.convert(
            {"store": self._settings.url, **{str(state): count for state, count in rows}},
            PublishingStatus,
        )

    async def of_state(self, state: PublicationState, *, limit: int = 100) -> Sequence[Publication]:
        """Return the images in a state, the most recently queued first."""
        rows = await self._database.read(_rows.LATEST, (self._name, state, limit))
        return [_rows.read_publication(row) for row in rows]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work on the queue until `close`. A cancellation leaves the rest
        queued.

        With `publish = "always"`, new images of this client are queued once it
        has started. Must be run only once.

        Raises:
            StorageError: the database cannot be written, at the start.
        """
        if self._settings.publish == "always":
            await self._database.prepare(_rows.publish_new_images(self._name))
        task_status.started()
        with self._loop.scope:
            async with open_bare_nursery() as nursery:
                await self._loop.run(
                    partial(self._start_due, nursery),
                    lambda: self._free == self._settings.max_at_once,
                )

    def close(self) -> None:
        """End `run` when nothing is due, at the latest after ten seconds plus
        the request in flight.
        """
        self._loop.close()

    # --- the work -------------------------------------------------------------

    async def _start_due(self, nursery: trio.Nursery) -> float:
        """Start as much due work as fits, and return the seconds until the next
        check.
        """
        look = _LOOK_ALWAYS_SECONDS if self._settings.publish == "always" else _LOOK_SECONDS
        now = self._now()
        try:
            due = (await self._database.read(_rows.NEXT, (self._name,)))[0][0]
            wait_seconds = max(due - now, 0.0) if isinstance(due, float) else look
            if wait_seconds > 0 or not self._free:
                # At capacity: the next finished task wakes the loop.
                return min(wait_seconds or look, look)
            lease = partial(
                _rows.lease, store=self._name, now=now, until=now + _LEASE_SECONDS, limit=self._free
            )
            leases = await self._database.transact(lease)
        except StorageError:
            # Uploads may be in flight, and nothing is lost: the rows remain
            # until the disk recovers.
            return look
        for leased in leases:
            self._free -= 1
            nursery.start_soon(self._work, leased)
        return 0.0

    async def _work(self, lease: Lease) -> None:
        error: ImagenError | None = None
        try:
            await self._workers.run(partial(self._carry_out, lease))
        except ImagenError as caught:
            error = caught
        with suppress(StorageError):
            await self._finish(lease, error)
        self._free += 1
        self._loop.wake()

    def _carry_out(self, lease: Lease) -> None:
        key = _key(lease.sha256, lease.media_type)
        if lease.state == "removing":
            return self._store.delete(key)
        data = self._read_file(lease.sha256)
        if data is None:
            raise InvalidRequestError("The file of the image is missing in the library.")
        if hashlib.sha256(data).hexdigest() != lease.sha256:
            raise InvalidRequestError("The file of the image is damaged, so it is not published.")
        self._store.put(key, data, lease.media_type)

    def _read_file(self, sha256: str) -> bytes | None:
        try:
            return self._read(sha256)
        except OSError as error:
            raise StorageError(
                f"The image cannot be read: {error.strerror or error}.", retryable=True
            ) from error

    async def _finish(self, lease: Lease, error: ImagenError | None) -> None:
        now = self._now()
        end = partial(_rows.finish, leased=lease, store=self._name, now=now)
        if error is None:
            done: Literal["published", "removed"] = (
                "published" if lease.state == "queued" else "removed"
            )
            await self._database.transact(partial(end, state=done))
            self._emit(ImagePublished(store=self._name, sha256=lease.sha256, state=done))
            return
        wait_seconds = _wait_after(lease, error)
        if wait_seconds is not None:
            again = now + wait_seconds
            await self._database.transact(
                partial(end, state=lease.state, next_try_at=again, error=error.message)
            )
            return
        await self._database.transact(partial(end, state="failed", error=error.message))
        self._emit(
            ImagePublished(
                store=self._name, sha256=lease.sha256, state="failed", error=error.message
            )
        )
        if isinstance(error, ConfigurationError | AuthenticationError):
            fail = partial(_rows.fail_all, store=self._name, error=error.message, limit=_AT_ONCE)
            while await self._database.transact(fail):
                pass

    # --- rows -----------------------------------------------------------------

    async def _write(self, statements: Iterable[Statement]) -> None:
        some: list[Statement] = []
        for statement in statements:
            some.append(statement)
            if len(some) == _AT_ONCE:
                await self._database.write(some)
                some = []
        await self._database.write(some)
        self._loop.wake()

    async def _find(self, hashes: Sequence[str]) -> list[Publication]:
        """Return the publications of these images, in their order."""
        found: dict[str, Publication] = {}
        for start in range(0, len(hashes), _AT_ONCE):
            some = hashes[start : start + _AT_ONCE]
            for row in await self._database.read(_rows.of_hashes(len(some)), (*some, self._name)):
                publication = _rows.read_publication(row)
                found[publication.sha256] = publication
        return [found[sha256] for sha256 in hashes if sha256 in found]

    async def _wait_ended(self, hashes: Sequence[str], progress: PublishProgress | None) -> None:
        total = len(hashes)
        while True:
            woken = self._loop.changed.next()
            left = [one.sha256 for one in await self._find(hashes) if not self._is_over(one)]
            if progress is not None:
                progress(total - len(left), total)
            if not left:
                return
            hashes = left
            with trio.move_on_after(_LOOK_WAITING_SECONDS):
                await woken.wait()
            await trio.sleep(_PAUSE_SECONDS)

    def _is_over(self, one: Publication) -> bool:
        """Return whether a caller should stop waiting: a store that refuses a
        removal does so for hours.
        """
        if one.state != "removing" or one.last_error is None or one.next_try_at is None:
            return one.state not in ("queued", "removing")
        return one.next_try_at.timestamp() - self._now() > _REFUSED_SECONDS


def _key(sha256: str, media_type: str) -> str:
    # Folders for file systems, which are slow with a million files in one;
    # object stores do not care.
    return f"{sha256[:2]}/{sha256}{SUFFIXES[media_type]}"


def _wait_after(lease: Lease, error: ImagenError) -> float | None:
    """Return the seconds until the next try; None if a retry is useless."""
    if lease.state == "removing":
        return (
            _WAITS[lease.tries - 1]
            if error.retryable and lease.tries <= len(_WAITS)
            else _LAST_WAIT
        )
    if not error.retryable or lease.tries > len(_WAITS):
        return None
    return _WAITS[lease.tries - 1]
