"""Puts images into an object store and takes them away again, whatever happens
to the process or the network meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

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
from ..._results.images import SUFFIXES, Image
from ..._storage.database import Database, Statement
from ..._storage.outbox import OutboxLoop
from ..._system.nursery import open_bare_nursery
from ..._system.threads import Workers
from . import rows as _rows
from .object_store import TIMEOUT_SECONDS, ObjectStore
from .rows import Claim, Publication, PublicationState

__all__ = ["Publisher", "PublishingStatus"]

PublishProgress = Callable[[int, int], None]

# From the failure of each try to the next, in seconds: a hiccup first, ten
# hours in all for an outage.
_WAITS = (0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 28800.0)
# What is to be taken away is never given up: somebody wants it gone.
_LAST_WAIT = _WAITS[-1]
# Whoever waits for that does not wait for longer than this until the next try.
_REFUSED_SECONDS = 3600.0
# Longer than a request and a write to the database may take together.
_LEASE_SECONDS = TIMEOUT_SECONDS + 60.0
# Other processes put things in line too, and so do triggers.
_LOOK_SECONDS = 60.0
_LOOK_ALWAYS_SECONDS = 2.0
_CLOSE_SECONDS = 10.0
# Another process may be the one that ends what is waited for.
_LOOK_WAITING_SECONDS = 5.0
# Whoever waits looks no more often than this, as each look reads a row for each
# image that is left.
_PAUSE_SECONDS = 0.05
# In one statement or transaction.
_AT_ONCE = 500


class PublishingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How many images are how far."""

    store: str
    queued: int = 0
    published: int = 0
    failed: int = 0
    removing: int = 0
    removed: int = 0


class Publisher:
    """The images of a library in an object store. They are named by the hash of
    their bytes.

    Published are the bytes as the provider sent them, without anything of ours
    in them.

    Args:
        read: Gives the bytes of an image by its SHA-256, or None where its file
            is gone. Blocking.
        now: Unix time in seconds, as all processes that share the database
            agree on it.
    """

    def __init__(
        self,
        database: Database,
        workers: Workers,
        settings: StoreSettings,
        *,
        read: Callable[[str], bytes | None],
        now: Callable[[], float],
    ) -> None:
        self._database = database
        self._workers = workers
        self._settings = settings
        self._store = ObjectStore(settings)
        self._name = settings.name
        self._read = read
        self._now = now
        self._free = settings.max_at_once
        self._loop = OutboxLoop(_CLOSE_SECONDS)

    def url_of(self, image: Image) -> str | None:
        """What an image is fetched by, once it is published; None where no
        `store_public_url` is set.
        """
        base = self._settings.public_url
        return (
            None if base is None else f"{base.rstrip('/')}/{_key(image.sha256, image.media_type)}"
        )

    async def sign(self, image: Image, *, expires_seconds: int = 3600) -> str:
        """A link to a published image that anybody may use until it ends,
        within seven days.

        Raises:
            InvalidRequestError: the image is not published, the time is too
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
        """Puts images in line, and waits until each of them is in the store or
        has failed.

        Args:
            wait: False returns when they are in line; they are published in the
                background, by another process if need be.
            progress: Is told now and then how many are through, and how many
                there are.

        One that is published already is not put again, and one that had failed
        is tried again. Faults of the network are waited for, for hours if need
        be: bound it with `trio.move_on_after`. A cancellation leaves them in
        line.

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
        """Takes images out of the store; else like `publish`. A cache in
        between may have them until its time is over.

        Where the store refuses it, as with wrong keys, they come back as
        `removing` with the `last_error`. They stay in line, and are tried again
        now and then, or at once when this is called again.

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
        """How it stands with images; those that nobody wanted published are
        left out.
        """
        return await self._find(list(dict.fromkeys(image.sha256 for image in images)))

    async def status(self) -> PublishingStatus:
        """How many images of this store are how far."""
        rows = await self._database.read(_rows.COUNTS, (self._name,))
        return msgspec.convert(
            {"store": self._settings.url, **{str(state): count for state, count in rows}},
            PublishingStatus,
        )

    async def of_state(self, state: PublicationState, *, limit: int = 100) -> Sequence[Publication]:
        """The images in one state, those first that were asked for last."""
        rows = await self._database.read(_rows.LATEST, (self._name, state, limit))
        return [_rows.read_publication(row) for row in rows]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Does what is due, until `close`. A cancellation leaves the rest in
        line.

        With `publish = "always"` it has started when new images of this client
        go to the store. To be run once.

        Raises:
            StorageError: the database cannot be written, at the start.
        """
        if self._settings.publish == "always":
            await self._database.write(_rows.always(self._name))
        task_status.started()
        with self._loop.scope:
            async with open_bare_nursery() as nursery:
                await self._loop.run(
                    partial(self._start_due, nursery),
                    lambda: self._free == self._settings.max_at_once,
                )

    def close(self) -> None:
        """Lets `run` end as soon as nothing is due any more, and within ten
        seconds and the request that is on its way.
        """
        self._loop.close()

    # --- the work -------------------------------------------------------------

    async def _start_due(self, nursery: trio.Nursery) -> float:
        """Begins as much of what is due as there is room for, and gives the
        seconds until there may be more.
        """
        look = _LOOK_ALWAYS_SECONDS if self._settings.publish == "always" else _LOOK_SECONDS
        now = self._now()
        try:
            due = (await self._database.read(_rows.NEXT, (self._name,)))[0][0]
            wait_seconds = max(due - now, 0.0) if isinstance(due, float) else look
            if wait_seconds > 0 or not self._free:
                # Where there is no room, whoever ends first wakes us.
                return min(wait_seconds or look, look)
            claim = partial(
                _rows.claim, store=self._name, now=now, until=now + _LEASE_SECONDS, limit=self._free
            )
            claims = await self._database.transact(claim)
        except StorageError:
            # Images may be on their way, and nothing is lost: the rows are
            # still there when the disk is back.
            return look
        for claimed in claims:
            self._free -= 1
            nursery.start_soon(self._work, claimed)
        return 0.0

    async def _work(self, claim: Claim) -> None:
        error: ImagenError | None = None
        try:
            await self._workers.run(partial(self._carry_out, claim))
        except ImagenError as caught:
            error = caught
        with suppress(StorageError):
            await self._finish(claim, error)
        self._free += 1
        self._loop.wake()

    def _carry_out(self, claim: Claim) -> None:
        key = _key(claim.sha256, claim.media_type)
        if claim.state == "removing":
            return self._store.delete(key)
        data = self._read_file(claim.sha256)
        if data is None:
            raise InvalidRequestError("The file of the image is gone from the library.")
        if hashlib.sha256(data).hexdigest() != claim.sha256:
            raise InvalidRequestError("The file of the image is damaged, so it is not published.")
        self._store.put(key, data, claim.media_type)

    def _read_file(self, sha256: str) -> bytes | None:
        try:
            return self._read(sha256)
        except OSError as error:
            raise StorageError(
                f"The image cannot be read: {error.strerror or error}.", retryable=True
            ) from error

    async def _finish(self, claim: Claim, error: ImagenError | None) -> None:
        now = self._now()
        end = partial(_rows.finish, claimed=claim, store=self._name, now=now)
        if error is None:
            done: PublicationState = "published" if claim.state == "queued" else "removed"
            return await self._database.transact(partial(end, state=done))
        wait_seconds = _wait_after(claim, error)
        if wait_seconds is not None:
            again = now + wait_seconds
            return await self._database.transact(
                partial(end, state=claim.state, next_try_at=again, error=error.message)
            )
        await self._database.transact(partial(end, state="failed", error=error.message))
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
        """Of these images, in their order."""
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
        """Whether there is nothing to wait for now: a store that refuses to
        take something away does so for hours.
        """
        if one.state != "removing" or one.last_error is None or one.next_try_at is None:
            return one.state not in ("queued", "removing")
        return one.next_try_at.timestamp() - self._now() > _REFUSED_SECONDS


def _key(sha256: str, media_type: str) -> str:
    # Folders, as file systems mind a million files in one; an object store does
    # not care.
    return f"{sha256[:2]}/{sha256}{SUFFIXES[media_type]}"


def _wait_after(claim: Claim, error: ImagenError) -> float | None:
    """How long to wait after a try that failed, in seconds; None where no other
    would help.
    """
    if claim.state == "removing":
        return (
            _WAITS[claim.tries - 1]
            if error.retryable and claim.tries <= len(_WAITS)
            else _LAST_WAIT
        )
    if not error.retryable or claim.tries > len(_WAITS):
        return None
    return _WAITS[claim.tries - 1]
