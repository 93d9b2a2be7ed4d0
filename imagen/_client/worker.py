"""A worker: makes the sessions that clients have submitted, several at once.

What is to be made, and in which order, is decided by the rows of the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec
import trio

from .._errors import ConfigurationError, ImagenError, InvalidRequestError, StorageError
from .client import Client
from .session_news import WORK
from .submissions import Submissions

__all__ = ["Worker", "run_worker"]

_SWEEP_SECONDS = 2.0
# No limit for a tag: more sessions than any worker makes.
_ANY = 2**31 - 1


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
        say: Is called with a sentence when the database is away, or a
            session cannot be begun.

    Leaving the client's block then gives the sessions up to other workers, and
    waits at most `salvage_seconds` for what has been sent.

    Raises:
        ConfigurationError: the client was opened with `library=None`.
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
        self.concurrency: Final = concurrency
        self.most_per_tag: Final = most_per_tag
        self.say: Final = say
        self.submissions: Final[Submissions] = client._services.submissions
        self._client = client
        self._news = client._services.news
        self._running = 0
        self._is_away = False

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._client.sessions.heed_stops)
            nursery.start_soon(self._sweep)
            await self._take(nursery)

    async def _take(self, nursery: trio.Nursery) -> None:
        """Take sessions from the database, as many as there are places."""
        while True:
            told = self._news.next(WORK)
            with self.patience():
                for session_id in await self._claim():
                    self._running += 1
                    nursery.start_soon(self._make_one, session_id, name=f"imagen {session_id}")
            await self._news.wait(told)

    async def _claim(self) -> Sequence[str]:
        free = self.concurrency - self._running
        return await self.submissions.claim(free, self.most_per_tag) if free else ()

    async def _make_one(self, session_id: str) -> None:
        try:
            await self.make(session_id)
        finally:
            self._running -= 1
            self._news.tell(WORK)

    async def make(self, session_id: str) -> None:
        """Make a session, to its end or until another worker has it."""
        try:
            session = await self._client._resume_submitted(session_id)
        except (ImagenError, msgspec.MsgspecError) as error:
            await self._leave(session_id, error)
        else:
            await session._over.wait()
            self._client.sessions.forget(session)

    async def _leave(self, session_id: str, error: Exception) -> None:
        self.say(f"The session {session_id} cannot be made now: {error}")
        with self.patience():
            await self.submissions.give_up(session_id, failed=True)

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Go on where the database is away, and say so once."""
        try:
            yield
        except StorageError as error:
            if not self._is_away:
                self.say(f"{error} The worker goes on when it is back.")
            self._is_away = True
        else:
            self._is_away = False

    async def _sweep(self) -> None:
        while True:
            with self.patience():
                await self.submissions.put_back()
            await trio.sleep(_SWEEP_SECONDS)
