"""The sessions of a client: started, found again, followed, and resumed.

With a library, sessions and the numbers of their outcomes are on the disk too,
and a later process continues them.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from .._engine.recovery import Recovery
from .._engine.runtime import Runtime
from .._errors import (
    ConfigurationError,
    SessionError,
    SessionExpiredError,
    SessionNotFoundError,
    StorageError,
)
from .._policy.budget import Budget, BudgetStack
from .._storage.webhooks import BatchCompleted
from .._system.ids import new_id
from .batch import BatchSetup, RepeatedRequest
from .session import Announce, Session
from .session_news import SessionNews
from .session_store import SessionStore, SessionSummary, StoredSession
from .submissions import Submission

__all__ = ["Sessions"]

_HEED_SECONDS = 1.0
# Ids of expired sessions, to tell them from unknown ids.
_REMEMBERED = 10_000


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
        session = Session(source.n, trio.current_time, request=source.request, emit=self._emit)
        work = partial(self._begin, session, source, parts, budget)
        return self._add(session, work, self._announce, self._store)

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
        session = Session(
            stored.requested,
            trio.current_time,
            stored.id,
            request=stored.request,
            makes_missing=parts is not None,
            stored=stored,
            emit=self._emit,
        )
        work = partial(session._restore, stored, self._store, self._recovery, parts)
        return self._add(session, work, self._announce, self._store)

    def _read_along(self, stored: StoredSession) -> Session:
        """Start following a session of another process."""
        assert self._store is not None
        session = Session(
            stored.requested,
            trio.current_time,
            stored.id,
            request=stored.request,
            makes_missing=False,
            is_followed=True,
            stored=stored,
            ask_to_stop=partial(self._ask_to_stop, stored.id) if stored.submitted else None,
        )
        work = partial(session._follow, stored, self._store, self._news)
        return self._add(session, work, _say_nothing, None)

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

    def _add(
        self,
        session: Session,
        work: Callable[[], Awaitable[None]],
        announce: Announce,
        store: SessionStore | None,
    ) -> Session:
        """Keep a session, and run it in the client's nursery."""
        self._sessions[session.id] = session
        self._nursery.start_soon(
            session._run, work, announce, store, name=f"imagen session {session.id}"
        )
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
