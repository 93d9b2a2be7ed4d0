"""A worker: makes the sessions that clients have submitted, several at once.

It takes them from the database, or with a queue from there; what is to be made,
and in which order, is decided by the rows of the database either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from .._errors import (
    ConfigurationError,
    ImagenError,
    InvalidRequestError,
    SessionError,
    StorageError,
)
from .._system.secret import Secret
from .client import Client
from .session_news import WORK

if TYPE_CHECKING:
    from .work_queue import WorkQueue

__all__ = ["Worker", "run_worker"]

_SWEEP_SECONDS = 2.0
_AGAIN_SECONDS = 1.0
# No limit for a tag: more sessions than any worker makes.
_ANY = 2**31 - 1

Begin = Callable[[str], trio.Event]
QueueErrors = tuple[type[Exception], ...]


async def run_worker(
    client: Client,
    *,
    concurrency: int = 8,
    most_per_tag: int | None = None,
    say: Callable[[str], object] = lambda sentence: None,
) -> None:
    """Make submitted sessions until cancelled; `imagen worker` runs this.

    Args:
        concurrency: How many sessions run here side by side; each sends up to
            `max_at_once` requests.
        most_per_tag: How many sessions of one tag all workers make at once, at
            most.
        say: Is called with a sentence when the queue or the database is away.

    Leaving the client's block then gives the sessions up to other workers, and
    waits at most `salvage_seconds` for what has been sent.

    Raises:
        ConfigurationError: the client was opened with `library=None`, or the
            queue is set and the extra for it is missing.
        InvalidRequestError: a number is below 1.
    """
    if min(concurrency, most_per_tag or 1) < 1 or most_per_tag == 0:
        raise InvalidRequestError("concurrency and most_per_tag must be 1 or more.")
    if client._services.library_services is None:
        raise ConfigurationError(
            "A worker needs a library, in which it leaves the images: leave out library=None."
        )
    await Worker(client, concurrency, _ANY if most_per_tag is None else most_per_tag, say).run()


class Worker:
    """Sessions that one client makes for others."""

    def __init__(
        self,
        client: Client,
        concurrency: int,
        most_per_tag: int,
        say: Callable[[str], object],
    ) -> None:
        self._concurrency = concurrency
        self._most_per_tag = most_per_tag
        self._say = say
        self._submissions = client._services.submissions
        self._client = client
        self._news = client._services.news
        self._running: dict[str, trio.Event] = {}
        self._is_away = False

    async def run(self) -> None:
        """Work until cancelled."""
        url = self._client.settings.queue_url
        queue = None if url is None else (url, *_load_queue())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._client.sessions.heed_stops)
            nursery.start_soon(self._sweep)
            begin = partial(self._begin, nursery)
            if queue is None:
                await self._take(begin)
            else:
                await self._take_from_queue(*queue, begin)

    async def _take(self, begin: Begin) -> None:
        """Take sessions from the database, as many as there are places."""
        while True:
            told = self._news.next(WORK)
            with self._patience():
                for session_id in await self._claim():
                    begin(session_id)
            await self._news.wait(told)

    async def _claim(self) -> Sequence[str]:
        free = self._concurrency - len(self._running)
        if not free:
            return ()
        return await self._submissions.claim(free, self._most_per_tag, frozenset(self._running))

    async def _take_from_queue(
        self, url: Secret, errors: QueueErrors, queue_of: type[WorkQueue], begin: Begin
    ) -> None:
        """Take sessions from the queue, also after its server was away; what
        has begun goes on meanwhile.
        """
        is_away = False
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    queue = queue_of(url, self._concurrency, begin)
                    await nursery.start(queue.run)
                    is_away = False
                    await self._fill(queue)
            except* errors as group:
                if not is_away:
                    self._say(_queue_is_away(group))
                is_away = True
            await trio.sleep(_AGAIN_SECONDS)

    async def _fill(self, queue: WorkQueue) -> None:
        """Put into the queue what belongs there, so that it may lose it."""
        while True:
            told = self._news.next(WORK)
            with self._patience():
                waiting = await self._submissions.enqueue(self._concurrency, self._most_per_tag)
                if waiting:
                    await queue.put(waiting)
            await self._news.wait(told)

    def _begin(self, nursery: trio.Nursery, session_id: str) -> trio.Event:
        """Begin a session, and return the event of its end."""
        if session_id not in self._running:
            self._running[session_id] = trio.Event()
            nursery.start_soon(self._make_one, session_id, name=f"imagen {session_id}")
        return self._running[session_id]

    async def _make_one(self, session_id: str) -> None:
        try:
            await self._make(session_id)
        finally:
            self._running.pop(session_id).set()
            self._news.tell(WORK)

    async def _make(self, session_id: str) -> None:
        """Make a session, to its end or until another worker has it."""
        try:
            session = await self._client._resume_submitted(session_id)
        except (ImagenError, msgspec.MsgspecError) as error:
            await self._leave(session_id, error)
        else:
            await session._over.wait()
            self._client.sessions.forget(session)

    async def _leave(self, session_id: str, error: Exception) -> None:
        # Another worker has it, or it was cancelled: a queue may deliver twice.
        if not isinstance(error, SessionError):
            self._say(f"The session {session_id} cannot be made now: {error}")
        with self._patience():
            await self._submissions.give_up(session_id, failed=True)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Go on where the database is away, and say so once."""
        try:
            yield
        except StorageError as error:
            if not self._is_away:
                self._say(f"{error} The worker goes on when it is back.")
            self._is_away = True
        else:
            self._is_away = False

    async def _sweep(self) -> None:
        while True:
            with self._patience():
                await self._submissions.put_back()
            await trio.sleep(_SWEEP_SECONDS)


def _load_queue() -> tuple[QueueErrors, type[WorkQueue]]:
    try:
        # Imported when used: a worker on the database alone needs no queue.
        from .work_queue import QUEUE_ERRORS, WorkQueue
    except ImportError as error:
        raise ConfigurationError(
            'IMAGEN_QUEUE_URL needs the extra "cluster": pip install "imagen-trio[cluster]".'
        ) from error
    return QUEUE_ERRORS, WorkQueue


def _queue_is_away(group: BaseExceptionGroup[Exception]) -> str:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    # Its text may hold the password.
    return (
        f"The queue of IMAGEN_QUEUE_URL is away ({type(first).__name__}): check that its server"
        " runs. What has begun goes on, and the worker comes back when it is there."
    )
