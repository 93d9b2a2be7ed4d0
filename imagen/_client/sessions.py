"""Batches that run in the background, for callers that come back later.

The session's own task is the only reader of its batch. It keeps every outcome,
and callers pull by cursor: the same cursor returns the same answer, so a lost
answer can be asked for again. With a library, sessions and the numbers of their
outcomes are on the disk too, and a later process continues them.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Final

import msgspec
import trio

from .._engine.recovery import Recovery
from .._engine.runtime import Runtime
from .._errors import (
    ConfigurationError,
    ImagenError,
    SessionError,
    SessionExpiredError,
    SessionNotFoundError,
    StorageError,
)
from .._policy.budget import Budget, BudgetStack
from .._requests.request import Request
from .._results.events import EventHandler, SessionEnded, SessionExpired, SessionStarted
from .._results.images import Failure, Image, Outcome
from .._storage.webhooks import BatchCompleted
from .._system.ids import new_id
from .._system.signal import Signal
from .batch import Batch, BatchSetup, BatchStatus, RepeatedRequest, open_batch
from .session_news import SessionNews
from .session_state import TERMINAL, SessionEvent, SessionProgress, SessionState, advance
from .session_store import SessionEnd, SessionStore, SessionSummary, StoredSession
from .submissions import Submission

__all__ = ["Session", "Sessions"]

# Half a second later than its own caller, the caller of another process sees an
# image.
_FOLLOW_SECONDS = 0.5
_HEED_SECONDS = 1.0
_END_SECONDS = 2.0
_LAST_EVENT: dict[SessionState, SessionEvent] = {
    "COMPLETED": "ended",
    "FAILED": "broke",
    "CANCELLED": "cancelled",
    "EXPIRED": "expired",
}
# Ids of expired sessions, to tell them from unknown ids.
_REMEMBERED = 10_000
Announce = Callable[[BatchCompleted], Awaitable[object]]


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


class Sessions:
    """Sessions of a client. They end with it; images stay in the library, and a
    later client continues.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        store: SessionStore | None,
        recovery: Recovery,
        announce: Announce,
        news: SessionNews,
    ) -> None:
        self._news = news
        self._nursery = runtime.nursery
        self._emit = runtime.emit
        self._ttl_seconds = runtime.settings.session_ttl_seconds
        self._max_concurrent = runtime.settings.max_concurrent_sessions
        self._now = runtime.now
        self._store = store
        self._recovery = recovery
        self._announce = announce
        self._sessions: dict[str, Session] = {}
        self._expired: dict[str, None] = {}
        # Two tasks that restore one session would both make the missing images,
        # and pay twice.
        self._restoring = trio.Lock()

    def __len__(self) -> int:
        self._sweep()
        return len(self._sessions)

    def start(self, source: RepeatedRequest, parts: BatchSetup, budget: Budget | None) -> Session:
        """Starts reading a batch in the background. `Client.start_session` is
        the way to call it.

        Raises:
            SessionError: too many run at once.
        """
        self._check_running()
        session = self._add(
            Session(source.n, trio.current_time, request=source.request, emit=self._emit)
        )
        work = partial(self._begin, session, source, parts, budget)
        self._nursery.start_soon(
            session._run, work, self._announce, self._store, name=f"imagen session {session.id}"
        )
        return session

    async def submit(
        self,
        source: RepeatedRequest,
        parts: BatchSetup,
        budget: Budget | None,
        submission: Submission,
    ) -> Session:
        """Store a session that a worker makes, and follow it. `Client.submit`
        is the way to call it.

        Raises:
            ConfigurationError: the client has no library.
        """
        if self._store is None:
            raise ConfigurationError(
                "This client was opened without a library, in which workers leave the images: leave"
                " out library=None."
            )
        session_id = new_id()
        await self._write(session_id, source, parts, budget, submission)
        return self._read_along(await self._stored(session_id))

    async def list(self, *, limit: int = 20) -> Sequence[SessionSummary]:
        """Return the sessions of all processes that share this home, the latest
        first: those that run, and those that can still be read.
        """
        self._sweep()
        found: dict[str, SessionSummary] = {}
        for session in reversed(self._sessions.values()):
            if not session._is_followed:
                found[session.id] = self._summarize(session)
        if self._store is not None:
            for one in await self._store.recent(self._now() - self._ttl_seconds, limit):
                found.setdefault(one.id, one)
        latest = sorted(found.values(), key=lambda one: one.touched_at, reverse=True)
        return latest[:limit]

    def _summarize(self, session: Session) -> SessionSummary:
        unused = trio.current_time() - session._touched
        return SessionSummary(
            id=session.id,
            request=session._request,
            state=session.state,
            requested=session.requested,
            images=len(session.images),
            failures=len(session.failures),
            touched_at=datetime.datetime.fromtimestamp(self._now() - unused, datetime.UTC),
            here=True,
        )

    async def follow(self, session_id: str) -> Session:
        """The session of that id like `get`, also while it runs in another
        process: what that process makes can be pulled here too.

        Raises:
            SessionNotFoundError: there never was one.
            SessionExpiredError: the session was not used for too long.
        """
        async with self._restoring:
            if (session := self._current(session_id)) is None:
                stored = await self._stored(session_id)
                assert self._store is not None
                session = (
                    self._read_along(stored)
                    if stored.submitted or await self._store.is_elsewhere(stored)
                    else await self._restore(stored, None)
                )
        session._touched = trio.current_time()
        return session

    async def stop(self, session_id: str) -> Session:
        """Cancel a session, and return it. One of another process ends when
        that process heeds it: see `heed_stops`.
        """
        session = await self.follow(session_id)
        if session._is_followed and not session.finished and self._store is not None:
            await self._store.ask_to_stop(session_id)
        else:
            session.cancel()
        return session

    async def heed_stops(self) -> None:
        """Cancel the sessions of this client that other processes want
        cancelled, until cancelled itself.
        """
        while self._store is not None:
            await trio.sleep(_HEED_SECONDS)
            running = {
                session.id: session
                for session in self._sessions.values()
                if not session.finished and not session._is_followed
            }
            # Where the database cannot be read, this look is missed.
            with suppress(StorageError):
                asked = await self._store.asked_to_stop() if running else frozenset()
                for session_id in running.keys() & asked:
                    running[session_id].cancel()

    async def get(self, session_id: str) -> Session:
        """The session of that id; asking keeps it alive for another time to
        live.

        A session of an earlier process is loaded with its outcomes;
        `Client.resume_session` makes the rest. One that was submitted is
        followed.

        Raises:
            SessionNotFoundError: there never was one.
            SessionExpiredError: the session was not used for too long.
            SessionError: it runs in another process.
        """
        async with self._restoring:
            if (session := self._current(session_id)) is None:
                stored = await self._stored(session_id)
                session = (
                    self._read_along(stored)
                    if stored.submitted
                    else await self._restore(stored, None)
                )
            elif session._is_followed and not (session.finished or session._is_submitted):
                raise _elsewhere(session_id)
        session._touched = trio.current_time()
        return session

    async def resume(
        self, session_id: str, parts: BatchSetup, *, submitted: bool = False
    ) -> Session:
        """Make the missing images of a session that an earlier process did not
        finish. Leaves a running one alone. With `submitted` only one that waits
        for a worker.
        """
        while True:
            async with self._restoring:
                session = self._current(session_id)
                if session is not None and session._is_followed:
                    raise _elsewhere(session_id)
                if session is None or (
                    session._over.is_set() and len(session.outcomes) < session.requested
                ):
                    return await self._go_on(session_id, parts, submitted=submitted)
            if session._over.is_set() or (session._makes_missing and not session.finished):
                return session
            # The session is only being loaded, or was cancelled a moment ago.
            await session._over.wait()

    async def _go_on(self, session_id: str, parts: BatchSetup, *, submitted: bool) -> Session:
        if not submitted:
            # A worker has a limit of its own.
            self._check_running()
        stored = await self._stored(session_id)
        if submitted and not stored.submitted:
            raise _elsewhere(session_id)
        parts = msgspec.structs.replace(
            parts,
            # Who submitted it was asked.
            confirmation=None if stored.submitted else parts.confirmation,
            max_at_once=stored.max_at_once,
            context=msgspec.structs.replace(parts.context, options=stored.options),
            batch_id=stored.id,
        )
        return await self._restore(stored, parts)

    def cancel_all(self) -> None:
        """The client closes."""
        for session in self._sessions.values():
            if not session.finished:
                session._leave()

    async def _begin(
        self, session: Session, source: RepeatedRequest, parts: BatchSetup, budget: Budget | None
    ) -> None:
        if self._store is not None:
            await self._write(session.id, source, parts, budget)
        await session._read(
            source, msgspec.structs.replace(parts, batch_id=session.id), self._store
        )

    async def _write(
        self,
        session_id: str,
        source: RepeatedRequest,
        parts: BatchSetup,
        budget: Budget | None,
        submission: Submission | None = None,
    ) -> None:
        assert self._store is not None
        # A later process finds the input images in the library.
        planned = await parts.planner.read_inputs(parts.planner.plan(source.request))
        await self._store.add(
            session_id,
            planned.inputs.request,
            requested=source.n,
            together=source.together,
            max_at_once=parts.max_at_once,
            options=parts.context.options,
            budget_usd=None if budget is None else budget.limit_usd,
            submission=submission,
        )

    async def _stored(self, session_id: str) -> StoredSession:
        found = None if self._store is None else await self._store.find(session_id)
        if found is None:
            raise SessionNotFoundError(f"There is no session {session_id!r}: start one first.")
        # One that waits for a worker may wait for long.
        if found.touched_at < self._now() - self._ttl_seconds and not found.submitted:
            raise _expired(session_id)
        return found

    async def _restore(self, stored: StoredSession, parts: BatchSetup | None) -> Session:
        assert self._store is not None
        if not await self._store.take_over(stored, ended=parts is not None):
            if parts is None and await self._store.end_of(stored.id) is not None:
                return self._read_along(stored)
            raise _elsewhere(stored.id)
        await self._recovery.resolve_dead()
        if parts is not None and stored.budget_usd is not None:
            budget = Budget(stored.budget_usd)
            budget.spent_usd = await self._store.spent_usd(stored)
            context = msgspec.structs.replace(
                parts.context, budget_stack=BudgetStack(budget=budget)
            )
            parts = msgspec.structs.replace(parts, context=context)
        session = self._add(
            Session(
                stored.requested,
                trio.current_time,
                stored.id,
                request=stored.request,
                makes_missing=parts is not None,
                stored=stored,
                emit=self._emit,
            )
        )
        work = partial(session._restore, stored, self._store, self._recovery, parts)
        self._nursery.start_soon(
            session._run, work, self._announce, self._store, name=f"imagen session {session.id}"
        )
        return session

    def _read_along(self, stored: StoredSession) -> Session:
        """Start following a session of another process."""
        assert self._store is not None
        session = self._add(
            Session(
                stored.requested,
                trio.current_time,
                stored.id,
                request=stored.request,
                makes_missing=False,
                is_followed=True,
                stored=stored,
                ask_to_stop=partial(self._ask_to_stop, stored.id) if stored.submitted else None,
            )
        )
        work = partial(session._follow, stored, self._store, self._news)
        self._nursery.start_soon(
            session._run, work, _say_nothing, None, name=f"imagen session {session.id}"
        )
        return session

    def _ask_to_stop(self, session_id: str) -> None:
        self._nursery.start_soon(
            self._write_stop, session_id, name=f"imagen stop of session {session_id}"
        )

    async def _write_stop(self, session_id: str) -> None:
        assert self._store is not None
        with trio.CancelScope(shield=True), suppress(StorageError):
            # Bounded by the database.
            await self._store.ask_to_stop(session_id)

    def forget(self, session: Session) -> None:
        """Keep a session that is over in the database only."""
        self._sessions.pop(session.id, None)

    def _check_running(self) -> None:
        self._sweep()
        running = [
            session
            for session in self._sessions.values()
            if not session.finished and not session._is_followed
        ]
        if len(running) >= self._max_concurrent:
            raise SessionError(
                f"{len(running)} batches run already, which is the limit"
                " (IMAGEN_MAX_CONCURRENT_SESSIONS): wait for one or cancel one.",
                retryable=True,
            )

    def _add(self, session: Session) -> Session:
        self._sessions[session.id] = session
        return session

    def _find(self, session_id: str) -> Session | None:
        self._sweep()
        if session_id in self._expired:
            raise _expired(session_id)
        return self._sessions.get(session_id)

    def _current(self, session_id: str) -> Session | None:
        """Return the session as it stands. One that was followed to its end may
        have been resumed since, by any process.
        """
        session = self._find(session_id)
        is_stale = session is not None and session._is_followed and session._over.is_set()
        return None if is_stale else session

    def _sweep(self) -> None:
        """Forget sessions that were not used for a whole time to live; a
        running one is kept until it ends.
        """
        oldest = trio.current_time() - self._ttl_seconds
        for session_id, session in list(self._sessions.items()):
            if session.finished and session._touched < oldest:
                session._expire()
                del self._sessions[session_id]
                self._expired[session_id] = None
        while len(self._expired) > _REMEMBERED:
            del self._expired[next(iter(self._expired))]


async def _say_nothing(_: BatchCompleted) -> None:
    """The process that makes a batch announces it."""


def _elsewhere(session_id: str) -> SessionError:
    return SessionError(
        f"The session {session_id} runs in another process: ask that one.", retryable=True
    )


def _expired(session_id: str) -> SessionExpiredError:
    return SessionExpiredError(
        f"The session {session_id} has expired; its images are in the library (`imagen history`)."
    )
