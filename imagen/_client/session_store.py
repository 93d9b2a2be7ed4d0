"""Background batches on the disk, so that a later process knows them by the
same id.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final

import msgspec

from .. import _errors
from .._engine.recovery import failures_of
from .._engine.runtime import Runtime
from .._errors import (
    Billed,
    ErrorCode,
    ImagenError,
    SessionError,
    SessionNotFoundError,
)
from .._requests.options import RoutingOptions
from .._requests.request import Request, decode_request, encode_request
from .._results.images import Cost, Failure, Image, Outcome, as_hit
from .._storage.database import (
    Row,
    Statement,
    Transaction,
    from_nanousd,
    to_int,
    to_nanousd,
)
from ..library._library import Library
from .session_state import TERMINAL, SessionState
from .submissions import Submission, Submissions

__all__ = ["SessionEnd", "SessionGlance", "SessionStore", "SessionSummary", "StoredSession"]


class StoredSession(msgspec.Struct, frozen=True, kw_only=True):
    """A background batch as it was started."""

    id: str
    request: Request
    requested: int
    together: bool
    max_at_once: int
    options: RoutingOptions
    budget_usd: Decimal | None
    owner: str
    touched_at: float
    # Any worker may make it.
    submitted: bool


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Where a background batch of this or another process stands.

    A `here` session runs in this client, or was read by it; one that is
    `running` and not `here` runs in another process.
    """

    id: str
    request: Request
    state: SessionState
    requested: int
    images: int
    failures: int
    touched_at: datetime.datetime
    here: bool = False

    @property
    def running(self) -> bool:
        """True if more outcomes will come."""
        return self.state not in TERMINAL


class SessionEnd(msgspec.Struct, frozen=True, array_like=True):
    """State of a session that no process works on, and what broke it."""

    state: SessionState
    message: str | None = None


class SessionGlance(msgspec.Struct, frozen=True):
    """How far a session of another process is."""

    is_taken: bool
    outcomes: int
    end: SessionEnd | None


class _RecentRow(msgspec.Struct, frozen=True, array_like=True):
    """Row of `_RECENT`."""

    id: str
    request: str
    requested: int
    owner: str
    touched_at: float
    state: SessionState | None
    images: int
    failures: int
    submitted: int


class _StoredFailure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stored part of a failure."""

    kind: str
    message: str
    code: ErrorCode
    retryable: bool
    billed: Billed
    model: str | None = None
    provider: str | None = None
    cost_nanousd: int | None = None
    cost_source: str = "unknown"


_RECENT = """
SELECT
    sessions.id, request, requested, owner, touched_at, session_ends.state,
    (
        SELECT count(*) FROM session_outcomes
        WHERE session_id = sessions.id AND image_id IS NOT NULL
    ),
    (
        SELECT count(*) FROM session_outcomes
        WHERE session_id = sessions.id AND image_id IS NULL
    ),
    (SELECT count(*) FROM submissions WHERE session_id = sessions.id)
FROM sessions LEFT JOIN session_ends ON session_ends.session_id = sessions.id
WHERE touched_at >= ? ORDER BY touched_at DESC LIMIT ?
"""

_FIND = """
SELECT sessions.*, (SELECT count(*) FROM submissions WHERE session_id = id)
FROM sessions WHERE id = ?
"""
_GLANCE = """
SELECT
    owner, (SELECT count(*) FROM session_outcomes WHERE session_id = id),
    session_ends.state, session_ends.message
FROM sessions LEFT JOIN session_ends ON session_ends.session_id = id WHERE id = ?
"""
# Its own images are told from those that the library had for it.
_OUTCOMES = """
SELECT
    batch_index, image_id, failure,
    (
        SELECT count(*) FROM images JOIN attempts ON attempts.id = images.attempt_id
        WHERE images.id = image_id AND attempts.batch_id = session_id
    )
FROM session_outcomes WHERE session_id = ? AND number >= ? ORDER BY number
"""
_TOUCH = "UPDATE sessions SET touched_at = ? WHERE id = ? AND owner = ?"
_OUTCOME_OF = "SELECT batch_index FROM session_outcomes WHERE session_id = ? AND number = ?"
_ADD_OUTCOME = "INSERT OR IGNORE INTO session_outcomes VALUES (?, ?, ?, ?, ?)"
_END = """
INSERT INTO session_ends SELECT id, ?, ? FROM sessions WHERE id = ? AND owner = ?
ON CONFLICT (session_id) DO UPDATE SET state = excluded.state, message = excluded.message
"""

_OVER = """
DELETE FROM submissions WHERE session_id IN (SELECT id FROM sessions WHERE id = ? AND owner = ?)
"""
# A row that reads as one by one costs less than all images of the session.
_FEW = 8

_decode_failure = msgspec.json.Decoder(_StoredFailure).decode


class _StoredOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Column `way`: `wait` is outside the other options."""

    ways: RoutingOptions = RoutingOptions()
    wait: bool = True


_decode_options = msgspec.json.Decoder(_StoredOptions).decode


class SessionStore:
    """Writes sessions and their outcomes, and reads those of earlier processes."""

    def __init__(self, runtime: Runtime, library: Library, submissions: Submissions) -> None:
        self._runtime = runtime
        self.submissions: Final = submissions
        self._database = runtime.database
        self._ledger = runtime.ledger
        self._library = library
        self._owner = runtime.owner
        self._now = runtime.now

    async def add(
        self,
        session_id: str,
        request: Request,
        *,
        requested: int,
        together: bool,
        max_at_once: int,
        options: RoutingOptions,
        budget_usd: Decimal | None,
        submission: Submission | None = None,
    ) -> None:
        """Store a session; nothing of it has been sent before this returns. One
        that is submitted has no owner yet.
        """
        values = (
            session_id,
            encode_request(request),
            requested,
            int(together),
            max_at_once,
            to_nanousd(budget_usd),
            self._owner if submission is None else "",
            self._now(),
            _encode_options(options),
        )
        rows: list[Statement] = [
            ("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        ]
        if submission is not None:
            rows.append(submission.row(session_id, self._now()))
        await self._database.write(rows)

    async def add_outcome(self, session_id: str, number: int, outcome: Outcome) -> None:
        """Remembers the outcome that callers know by this number.

        Raises:
            SessionError: another client has taken the session over.
        """
        image_id = outcome.id if isinstance(outcome, Image) else None
        failure = (
            None
            if isinstance(outcome, Image)
            else msgspec.json.encode(_store_failure(outcome)).decode()
        )
        values = (session_id, number, outcome.index, image_id, failure)
        touched = (self._now(), session_id, self._owner)

        def add(transaction: Transaction) -> bool:
            is_mine = transaction.change(_TOUCH, touched) == 1
            if is_mine:
                transaction.change(_ADD_OUTCOME, values)
            known = transaction.run(_OUTCOME_OF, (session_id, number))
            return is_mine and known == [(outcome.index,)]

        if not await self._database.transact(add):
            raise SessionError(
                f"The session {session_id} was taken over by another process: follow it, or ask"
                " that one.",
                retryable=True,
            )

    async def find(self, session_id: str) -> StoredSession | None:
        """A session of any process."""
        rows = await self._database.read(_FIND, (session_id,))
        if not rows:
            return None
        (
            (
                found_id,
                request,
                requested,
                together,
                max_at_once,
                budget_nanousd,
                owner,
                touched_at,
                way,
                submitted,
            ),
            *_,
        ) = rows
        values = {
            "id": found_id,
            "requested": requested,
            "together": bool(together),
            "max_at_once": max_at_once,
            "owner": owner,
            "touched_at": touched_at,
            "submitted": bool(submitted),
        }
        return StoredSession(
            request=decode_request(str(request)),
            budget_usd=from_nanousd(budget_nanousd),
            options=_read_options(str(way)),
            **values,  # type: ignore[arg-type]
        )

    async def take_over(self, session: StoredSession, *, ended: bool = False) -> bool:
        """Take over the session of a closed client, or with `ended` one that no
        process works on; return False if it still runs elsewhere.
        """
        if await self.is_elsewhere(session) and not (ended and await self.end_of(session.id)):
            return False
        sql = "UPDATE sessions SET owner = ? WHERE id = ? AND owner = ?"
        values = (self._owner, session.id, session.owner)

        def take(transaction: Transaction) -> bool:
            if transaction.change(sql, values) != 1:
                return False
            # A wish that a submitted one be stopped is heeded by its worker.
            for table in ("session_ends", *(() if session.submitted else ("session_stops",))):
                transaction.change(f"DELETE FROM {table} WHERE session_id = ?", (session.id,))
            return True

        return await self._database.transact(take)

    async def is_elsewhere(self, session: StoredSession) -> bool:
        """Return True if the session belongs to another client that is open."""
        return session.owner != self._owner and await self._runtime.is_open(session.owner)

    async def end(self, session_id: str, end: SessionEnd) -> None:
        """Remember that this client does not work on a session of its own any
        more; a submitted one is over.
        """
        values = (end.state, end.message, session_id, self._owner)
        await self._database.write([(_END, values), (_OVER, (session_id, self._owner))])

    async def end_of(self, session_id: str) -> SessionEnd | None:
        """Return the end of a session; None if a process works on it, or died."""
        rows = await self._database.read(
            "SELECT state, message FROM session_ends WHERE session_id = ?", (session_id,)
        )
        return None if not rows else msgspec.convert(rows[0], SessionEnd)

    async def glance(self, session_id: str) -> SessionGlance:
        """Return how far a session is, all from one moment."""
        rows = await self._database.read(_GLANCE, (session_id,))
        for owner, outcomes, state, message in rows:
            end = None if state is None else msgspec.convert((state, message), SessionEnd)
            return SessionGlance(owner != "", to_int(outcomes), end)
        raise SessionNotFoundError(f"There is no session {session_id!r}: start one first.")

    async def ask_to_stop(self, session_id: str) -> None:
        """Ask the process that works on a session to cancel it; one that waits
        for a worker is over at once.
        """
        if await self.submissions.end_waiting(session_id):
            return
        await self._database.write(
            [
                (
                    "INSERT OR IGNORE INTO session_stops SELECT id FROM sessions WHERE id = ?",
                    (session_id,),
                )
            ]
        )

    async def asked_to_stop(self) -> frozenset[str]:
        """Return the sessions of this client that another one wants cancelled."""
        rows = await self._database.read(
            "SELECT session_id FROM session_stops JOIN sessions ON id = session_id WHERE owner = ?",
            (self._owner,),
        )
        return frozenset(str(row[0]) for row in rows)

    async def recent(self, since: float, limit: int) -> Sequence[SessionSummary]:
        """Return the sessions of all processes that were used since then, the
        latest first.
        """
        rows = await self._database.read(_RECENT, (since, limit))
        found: list[SessionSummary] = []
        for row in rows:
            # A row may be damaged.
            with suppress(msgspec.MsgspecError, ValueError):
                found.append(await self._summarize(msgspec.convert(row, _RecentRow)))
        return found

    async def _summarize(self, row: _RecentRow) -> SessionSummary:
        state = row.state
        if state is None and row.submitted and row.owner == "":
            state = "CREATED"
        elif state is None and await self._runtime.is_open(row.owner):
            state = "GENERATING"
        elif state is None and row.images + row.failures >= row.requested:
            state = "COMPLETED" if row.images else "FAILED"
        return SessionSummary(
            id=row.id,
            request=decode_request(row.request),
            state=state or "CANCELLED",
            requested=row.requested,
            images=row.images,
            failures=row.failures,
            touched_at=datetime.datetime.fromtimestamp(row.touched_at, datetime.UTC),
        )

    async def outcomes(self, session: StoredSession) -> Sequence[Outcome]:
        """Return the outcomes of a session by their numbers; images without a
        number come last.
        """
        found, unnumbered = await self._outcomes(session)
        told = {outcome.index for outcome in found}
        for image in unnumbered:
            # Images that were sold together or lost a hedging race are in the
            # library too.
            if image.index not in told:
                told.add(image.index)
                found.append(image)
        return found

    async def numbered(self, session: StoredSession, first: int = 0) -> Sequence[Outcome]:
        """Return the outcomes that have a number so far, from that one on."""
        rows = await self._database.read(_OUTCOMES, (session.id, first))
        known = (
            {image.id: image for image in await self._library.of_batch(session.id)}
            if len(rows) > _FEW
            else {}
        )
        return [await self._outcome(session, row, known) for row in rows]

    async def _outcomes(self, session: StoredSession) -> tuple[list[Outcome], Sequence[Image]]:
        """Return the outcomes by their numbers, and images without a number."""
        images = {image.id: image for image in await self._library.of_batch(session.id)}
        rows = await self._database.read(_OUTCOMES, (session.id, 0))
        found = [await self._outcome(session, row, images) for row in rows]
        for _, image_id, *_ in rows:
            images.pop(str(image_id), None)
        return found, list(images.values())

    async def _outcome(
        self, session: StoredSession, row: Row, known: Mapping[str, Image]
    ) -> Outcome:
        """Return the outcome of a row; `known` are images that are read
        already.
        """
        index, image_id, failure, is_own = row
        if image_id is not None:
            image = known.get(str(image_id)) or await self._library.get(str(image_id))
            if image is not None:
                return image if is_own else as_hit(image, to_int(index))
        if failure is not None:
            return _read_failure(str(failure), to_int(index), session.request)
        gone = ImagenError("The image was deleted from the library.", billed="yes")
        return Failure(index=to_int(index), request=session.request, error=gone, cost=Cost())

    async def spent_usd(self, session: StoredSession) -> Decimal:
        """Return the cost of a session so far; an unknown cost counts with all
        that was reserved.
        """
        rows = await self._ledger.of_batch(session.id)
        costs = (row.reserved_usd if row.settled_usd is None else row.settled_usd for row in rows)
        return sum((usd for usd in costs if usd is not None), Decimal(0))

    async def in_flight_elsewhere(self, session: StoredSession) -> bool:
        """Return True if another open client still works on images of a
        session, e.g. a server that outlives its host to finish them.
        """
        owners = {
            row.owner
            for row in await self._ledger.of_batch(session.id)
            if row.state in ("reserved", "sent", "accepted") and row.owner != self._owner
        }
        for owner in owners:
            if await self._runtime.is_open(owner):
                return True
        return False

    async def unsettled(self, session: StoredSession, told: frozenset[int]) -> Sequence[Failure]:
        """Return a failure for each image that may be paid and is missing;
        `told` are the indexes with an outcome.
        """
        lost: dict[int, Failure] = {}
        for row in await self._ledger.of_batch(session.id):
            # What failed for nothing is missing, not lost.
            if row.state != "failed" or row.settled_usd:
                lost.update({one.index: one for one in failures_of(row) if one.index not in told})
        return list(lost.values())


def _encode_options(options: RoutingOptions) -> str:
    stored = _StoredOptions(msgspec.structs.replace(options, wait=True), options.wait)
    return msgspec.json.encode(stored).decode()


def _read_options(text: str) -> RoutingOptions:
    stored = _decode_options(text)
    return msgspec.structs.replace(stored.ways, wait=stored.wait)


def _store_failure(failure: Failure) -> _StoredFailure:
    error = failure.error
    return _StoredFailure(
        kind=type(error).__name__,
        message=error.message,
        code=error.code,
        retryable=error.retryable,
        billed=error.billed,
        model=failure.model,
        provider=failure.provider,
        cost_nanousd=to_nanousd(failure.cost.usd),
        cost_source=failure.cost.source,
    )


def _read_failure(text: str, index: int, request: Request) -> Failure:
    stored = _decode_failure(text)
    kind = getattr(_errors, stored.kind, ImagenError)
    error = kind(stored.message)
    error.code, error.retryable, error.billed = stored.code, stored.retryable, stored.billed
    cost = msgspec.convert({"usd": None, "source": stored.cost_source}, Cost)
    return Failure(
        index=index,
        request=request,
        error=error,
        model=stored.model,
        provider=stored.provider,
        cost=msgspec.structs.replace(cost, usd=from_nanousd(stored.cost_nanousd)),
    )
