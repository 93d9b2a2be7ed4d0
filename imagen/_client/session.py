"""A batch that runs in the background, for callers that come back later.

The session's own task is the only reader of its batch. It keeps every outcome,
and callers pull by cursor: the same cursor returns the same answer, so a lost
answer can be asked for again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final

import trio

from .._engine.recovery import Recovery
from .._errors import (
    ImagenError,
    SessionError,
    StorageError,
)
from .._requests.request import Request
from .._results.events import EventHandler, SessionEnded, SessionExpired, SessionStarted
from .._results.images import Failure, Image, Outcome
from .._storage.webhooks import BatchCompleted
from .._system.ids import new_id
from .._system.signal import Signal
from .batch import Batch, BatchSetup, BatchStatus, RepeatedRequest, open_batch
from .session_news import SessionNews
from .session_state import TERMINAL, SessionEvent, SessionProgress, SessionState, advance
from .session_store import SessionEnd, SessionStore, StoredSession

__all__ = ["Announce", "Session"]

# Half a second later than its own caller, the caller of another process sees an
# image.
_FOLLOW_SECONDS = 0.5
_END_SECONDS = 2.0
_LAST_EVENT: dict[SessionState, SessionEvent] = {
    "COMPLETED": "ended",
    "FAILED": "broke",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}

Announce = Callable[[BatchCompleted], Awaitable[object]]
"""Tells receivers of a batch that is complete."""


class Session:
    """Background batch. Outcomes are numbered from 0 in order of completion."""

    def __init__(
        self,
        requested: int,
        now: Callable[[], float],
        session_id: str | None = None,
        *,
        request: Request,
        makes_missing: bool = True,
        is_followed: bool = False,
        stored: StoredSession | None = None,
        ask_to_stop: Callable[[], None] | None = None,
        emit: EventHandler = lambda event: None,
    ) -> None:
        self._emit = emit
        self._is_submitted = stored is not None and stored.submitted
        self._ask_to_stop = ask_to_stop
        # The caller's wish, which a client that closes is not.
        self._is_stopped = False
        self.id: Final[str] = session_id or new_id()
        self._is_stored = session_id is not None
        self._request = request
        self._makes_missing = makes_missing
        self._is_followed = is_followed
        self._over = trio.Event()
        self._progress = SessionProgress(requested=requested)
        self._outcomes: list[Outcome] = []
        self._changed = Signal()
        self._scope = trio.CancelScope()
        self._now = now
        self._touched = now()
        self._batch: Batch | None = None
        self._error: ImagenError | None = None

    @property
    def state(self) -> SessionState:
        """State of the session."""
        return self._progress.state

    @property
    def requested(self) -> int:
        """Number of images asked for."""
        return self._progress.requested

    @property
    def finished(self) -> bool:
        """True if no more outcomes will come."""
        return self.state in TERMINAL

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """Outcomes so far, in order of completion."""
        return tuple(self._outcomes)

    @property
    def images(self) -> Sequence[tuple[int, Image]]:
        """The images so far, each with its number."""
        return [
            (number, outcome)
            for number, outcome in enumerate(self._outcomes)
            if isinstance(outcome, Image)
        ]

    @property
    def failures(self) -> Sequence[tuple[int, Failure]]:
        """The failures so far, each with its number."""
        return [
            (number, outcome)
            for number, outcome in enumerate(self._outcomes)
            if isinstance(outcome, Failure)
        ]

    @property
    def error(self) -> ImagenError | None:
        """Error that broke the batch itself, if any."""
        return self._error

    def status(self) -> BatchStatus:
        """Counts and cost."""
        costs = [outcome.cost.usd for outcome in self._outcomes]
        return BatchStatus(
            requested=self.requested,
            in_flight=0 if self._batch is None else self._batch.status().in_flight,
            succeeded=len(self.images),
            failed=len(self.failures),
            cost_usd=sum((usd for usd in costs if usd is not None), Decimal(0)),
            unknown_costs=costs.count(None),
        )

    async def wait_image(self, after: int | None = None) -> tuple[int, Image] | None:
        """The first image with a number above `after`, and that number; None
        when none will come any more.

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
        """Stop what has not been sent, and salvage what has. Does nothing to a
        finished session.

        The worker of a submitted session heeds it within a second;
        `sessions.stop(id)` returns once the wish is on the disk.
        """
        if not self.finished:
            self._is_stopped = True
            if self._ask_to_stop is not None:
                self._ask_to_stop()
            self._leave()

    # --- for the registry -----------------------------------------------------

    def _leave(self) -> None:
        """Work on it or follow it no more."""
        self._step("cancelled")
        self._scope.cancel("the session is cancelled")

    async def _run(
        self,
        work: Callable[[], Awaitable[None]],
        announce: Announce,
        store: SessionStore | None,
    ) -> None:
        """Run the session. An error of its batch does not affect other
        sessions.
        """
        self._emit(
            SessionStarted(session_id=self.id, requested=self.requested, resumed=self._is_stored)
        )
        try:
            with self._scope:
                await work()
                # An incomplete session is not announced: a later process may
                # continue it.
                if self.finished:
                    image_ids = (image.id for _, image in self.images)
                    await announce(self.status().completed(self.id, image_ids))
        except ImagenError as error:
            self._error = error
            self._step("broke")
        finally:
            # Cancelled from outside, with the client, or left with something
            # missing.
            self._step("cancelled")
            # Shielded and bounded there.
            await self._note_end(store)  # noqa: ASYNC102
            self._over.set()
            status = self.status()
            self._emit(
                SessionEnded(
                    session_id=self.id,
                    state=self.state,
                    succeeded=status.succeeded,
                    failed=status.failed,
                    cost_usd=status.cost_usd,
                )
            )

    async def _note_end(self, store: SessionStore | None) -> None:
        """Tell other processes. Without a row they ask whether this one is
        open.
        """
        if store is None:
            return
        message = None if self._error is None else self._error.message
        scope = trio.CancelScope(shield=True, deadline=trio.current_time() + _END_SECONDS)
        with scope, suppress(StorageError):
            if self._is_submitted and not self._is_over:
                failed = self._error is not None
                await store.submissions.give_up(self.id, failed=failed)
            else:
                await store.end(self.id, SessionEnd(self.state, message))

    @property
    def _is_over(self) -> bool:
        """False if a worker is to go on with it."""
        if self._error is not None:
            return not (self._error.retryable or isinstance(self._error, StorageError))
        return self._is_stopped or self.state != "CANCELLED"

    async def _follow(self, stored: StoredSession, store: SessionStore, news: SessionNews) -> None:
        """Read what another process makes, until it ends the session or dies."""
        try:
            while not await self._look(stored, store, news):
                pass
        finally:
            news.forget(self.id)

    async def _look(self, stored: StoredSession, store: SessionStore, news: SessionNews) -> bool:
        """Read what is new, and wait for more; return True after the end."""
        told = news.next(self.id)
        try:
            # One that was submitted waits for the next worker.
            is_open = stored.submitted or await store.is_elsewhere(stored)
            glance = await store.glance(self.id)
            if glance.is_taken or glance.end is not None:
                self._step("started")
            if glance.outcomes > len(self._outcomes):
                for outcome in await store.numbered(stored, len(self._outcomes)):
                    await self._add(outcome, None)
        except StorageError:
            # The process that makes it may do well without this one's database.
            await news.wait(told)
            return False
        if (end := glance.end) is not None:
            self._error = None if end.message is None else SessionError(end.message)
            self._step(_LAST_EVENT[end.state])
        elif is_open:
            await news.wait(told)
        return end is not None or not is_open

    async def _read(
        self, source: RepeatedRequest, parts: BatchSetup, store: SessionStore | None
    ) -> None:
        """Reads the batch to its end."""
        async with open_batch(source, parts) as self._batch:
            self._step("started")
            async for outcome in self._batch:
                await self._add(outcome, store)
        self._step("ended")

    async def _restore(
        self,
        stored: StoredSession,
        store: SessionStore,
        recovery: Recovery,
        parts: BatchSetup | None,
    ) -> None:
        """Load the outcomes, wait for those being collected, and make the
        missing ones if `parts` is given.
        """
        self._step("started")
        await self._catch_up(await store.outcomes(stored), store)
        await recovery.wait_ended(self.id)
        while await store.in_flight_elsewhere(stored):
            await self._catch_up(await store.outcomes(stored), store)
            await trio.sleep(_FOLLOW_SECONDS)
            await recovery.resolve_dead()
            await recovery.wait_ended(self.id)
        await self._catch_up(await store.outcomes(stored), store)
        for failure in await store.unsettled(stored, self._told):
            await self._add(failure, store)
        if len(self._told) >= stored.requested:
            self._step("ended")
        elif parts is not None:
            source = RepeatedRequest(stored.request, stored.requested, stored.together, self._told)
            await self._read(source, parts, store)

    @property
    def _told(self) -> frozenset[int]:
        """The positions that have an outcome."""
        return frozenset(outcome.index for outcome in self._outcomes)

    async def _catch_up(self, outcomes: Sequence[Outcome], store: SessionStore | None) -> None:
        for outcome in outcomes[len(self._outcomes) :]:
            await self._add(outcome, store)

    async def _add(self, outcome: Outcome, store: SessionStore | None) -> None:
        if store is not None:
            # The number is on the disk before any caller sees it.
            await store.add_outcome(self.id, len(self._outcomes), outcome)
        self._outcomes.append(outcome)
        self._step("image" if isinstance(outcome, Image) else "failure")

    def _step(self, event: SessionEvent, *, pulled: int = 0) -> None:
        before, self._progress = self._progress, advance(self._progress, event, pulled=pulled)
        if self._progress != before:
            self._changed.send()

    def _expire(self) -> None:
        self._step("expired")
        self._emit(SessionExpired(session_id=self.id))
        self._scope.cancel("the session has expired")
