"""Batches that run in the background, for callers that come back later.

The session's own task is the only reader of its batch. It keeps every outcome, and callers pull by cursor: asking again for
the same cursor gives the same answer, so an answer that was lost on its way can be asked for once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import trio

from ._batch import Batch, BatchStatus
from ._engine import new_id
from ._errors import ImagenError, SessionError, SessionExpiredError, SessionNotFoundError
from ._images import Failure, Image, Outcome
from ._session_state import TERMINAL, SessionEvent, SessionProgress, SessionState, advance

__all__ = ["Session", "Sessions"]

# Ids of expired sessions that are remembered, so that they are told apart from ids that never were.
_REMEMBERED = 10_000


class Session:
    """One background batch. Outcomes are numbered in the order in which they finished, from 0."""

    def __init__(self, requested: int, now: Callable[[], float]) -> None:
        self.id = new_id()
        self._progress = SessionProgress(requested=requested)
        self._outcomes: list[Outcome] = []
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self._now = now
        self._touched = now()
        self._batch: Batch | None = None
        self._error: ImagenError | None = None

    @property
    def state(self) -> SessionState:
        """Where it stands."""
        return self._progress.state

    @property
    def requested(self) -> int:
        """How many pictures were asked for."""
        return self._progress.requested

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.state in TERMINAL

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """Everything so far, in order of completion."""
        return tuple(self._outcomes)

    @property
    def images(self) -> Sequence[tuple[int, Image]]:
        """The pictures so far, each with its number."""
        return [(number, outcome) for number, outcome in enumerate(self._outcomes) if isinstance(outcome, Image)]

    @property
    def failures(self) -> Sequence[tuple[int, Failure]]:
        """The failures so far, each with its number."""
        return [(number, outcome) for number, outcome in enumerate(self._outcomes) if isinstance(outcome, Failure)]

    @property
    def error(self) -> ImagenError | None:
        """What broke the batch itself, if something did."""
        return self._error

    def status(self) -> BatchStatus | None:
        """Counts and cost; None before the batch has begun."""
        return None if self._batch is None else self._batch.status()

    async def wait_image(self, after: int | None = None) -> tuple[int, Image] | None:
        """The first picture with a number above `after`, and that number; None when none will come any more.

        Changes nothing, so it can be repeated and cancelled freely.
        """
        await trio.lowlevel.checkpoint()
        cursor = -1 if after is None else after
        while True:
            self._touched = self._now()
            found = next((item for item in self.images if item[0] > cursor), None)
            self._step("pulled", pulled=len(self._outcomes) if found is None else found[0] + 1)
            if found is not None or self.finished:
                return found
            await self.wait_changed()

    async def wait_changed(self) -> None:
        """Waits until an outcome comes or the state changes."""
        await self._changed.wait()

    async def wait_finished(self) -> None:
        """Waits until nothing more will come."""
        await trio.lowlevel.checkpoint()
        while not self.finished:
            await self.wait_changed()

    def cancel(self) -> None:
        """Stops what has not been sent; what has been sent is salvaged into the library. Does nothing when it is over."""
        if not self.finished:
            self._step("cancelled")
            self._scope.cancel("the session is cancelled")

    # --- for the registry -------------------------------------------------------------------------------------------

    async def _run(self, open_batch: Callable[[], AbstractAsyncContextManager[Batch]]) -> None:
        """Reads the batch to its end. An error of a batch stays in its session: the others go on."""
        try:
            with self._scope:
                async with open_batch() as self._batch:
                    self._step("started")
                    async for outcome in self._batch:
                        self._outcomes.append(outcome)
                        self._step("image" if isinstance(outcome, Image) else "failure")
                self._step("ended")
        except ImagenError as error:
            self._error = error
            self._step("broke")
        finally:
            # Cancelled from outside, with the client.
            self._step("cancelled")

    def _step(self, event: SessionEvent, *, pulled: int = 0) -> None:
        before, self._progress = self._progress, advance(self._progress, event, pulled=pulled)
        if self._progress != before:
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    def _expire(self) -> None:
        self._step("expired")
        self._scope.cancel("the session has expired")


class Sessions:
    """The background batches of a client. They end with the client; their pictures stay in the library."""

    def __init__(self, nursery: trio.Nursery, *, ttl_seconds: float, max_concurrent: int) -> None:
        self._nursery = nursery
        self._ttl_seconds = ttl_seconds
        self._max_concurrent = max_concurrent
        self._sessions: dict[str, Session] = {}
        self._expired: dict[str, None] = {}

    def __len__(self) -> int:
        self._sweep()
        return len(self._sessions)

    def start(self, open_batch: Callable[[], AbstractAsyncContextManager[Batch]], requested: int) -> Session:
        """Starts reading a batch in the background. `Client.start_session` is the way to call it.

        Raises:
            SessionError: too many run at once.
        """
        self._sweep()
        running = [session for session in self._sessions.values() if not session.finished]
        if len(running) >= self._max_concurrent:
            raise SessionError(
                f"{len(running)} batches run already, which is the limit (IMAGEN_MAX_CONCURRENT_SESSIONS): "
                "wait for one or cancel one.",
                retryable=True,
            )
        session = Session(requested, trio.current_time)
        self._sessions[session.id] = session
        self._nursery.start_soon(session._run, open_batch, name=f"imagen session {session.id}")
        return session

    def get(self, session_id: str) -> Session:
        """The session of that id; asking keeps it alive for another time to live.

        Raises:
            SessionNotFoundError: there never was one.
            SessionExpiredError: nobody asked for it for too long.
        """
        self._sweep()
        if session_id in self._expired:
            raise SessionExpiredError(
                f"The session {session_id} has expired; its pictures are in the library (`imagen history`)."
            )
        if (session := self._sessions.get(session_id)) is None:
            raise SessionNotFoundError(f"There is no session {session_id!r}: start one first.")
        session._touched = trio.current_time()
        return session

    def cancel_all(self) -> None:
        """The client closes."""
        for session in self._sessions.values():
            session.cancel()

    def _sweep(self) -> None:
        """Forgets what nobody asked for during a whole time to live; a running batch is kept until it is over."""
        oldest = trio.current_time() - self._ttl_seconds
        for session_id, session in list(self._sessions.items()):
            if session.finished and session._touched < oldest:
                session._expire()
                del self._sessions[session_id]
                self._expired[session_id] = None
        while len(self._expired) > _REMEMBERED:
            del self._expired[next(iter(self._expired))]
