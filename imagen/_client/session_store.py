"""Background batches on the disk, so that a later process knows them by the
same id.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal

import msgspec

from .. import _errors
from .._engine.recovery import failures_of
from .._engine.runtime import Runtime
from .._errors import Billed, ErrorCode, ImagenError, SessionError
from .._requests.options import RoutingOptions
from .._requests.request import Request, decode_request, encode_request
from .._results.images import Cost, Failure, Image, Outcome, as_hit
from .._storage.database import Transaction, from_nanousd, to_nanousd
from ..library._library import Library
from .session_state import TERMINAL, SessionState

__all__ = ["SessionEnd", "SessionStore", "SessionSummary", "StoredSession"]


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
    )
FROM sessions LEFT JOIN session_ends ON session_ends.session_id = sessions.id
WHERE touched_at >= ? ORDER BY touched_at DESC LIMIT ?
"""

_TOUCH = "UPDATE sessions SET touched_at = ? WHERE id = ? AND owner = ?"
_ADD_OUTCOME = "INSERT OR IGNORE INTO session_outcomes VALUES (?, ?, ?, ?, ?)"
_END = """
INSERT INTO session_ends SELECT id, ?, ? FROM sessions WHERE id = ? AND owner = ?
ON CONFLICT (session_id) DO UPDATE SET state = excluded.state, message = excluded.message
"""

_decode_failure = msgspec.json.Decoder(_StoredFailure).decode


class _StoredOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Column `way`: `wait` is outside the other options."""

    ways: RoutingOptions = RoutingOptions()
    wait: bool = True


_decode_options = msgspec.json.Decoder(_StoredOptions).decode


class SessionStore:
    """Writes sessions and their outcomes, and reads those of earlier processes."""

    def __init__(self, runtime: Runtime, library: Library) -> None:
        self._runtime = runtime
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
    ) -> None:
        """Store a session; nothing of it has been sent before this returns."""
        values = (
            session_id,
            encode_request(request),
            requested,
            int(together),
            max_at_once,
            to_nanousd(budget_usd),
            self._owner,
            self._now(),
            _encode_options(options),
        )
        await self._database.write(
            [("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)]
        )

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
            return is_mine

        if not await self._database.transact(add):
            raise SessionError(
                f"The session {session_id} was taken over by another process: follow it, or ask"
                " that one.",
                retryable=True,
            )

    async def find(self, session_id: str) -> StoredSession | None:
        """A session of any process."""
        rows = await self._database.read("SELECT * FROM sessions WHERE id = ?", (session_id,))
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
            for table in ("session_ends", "session_stops"):
                transaction.change(f"DELETE FROM {table} WHERE session_id = ?", (session.id,))
            return True

        return await self._database.transact(take)

    async def is_elsewhere(self, session: StoredSession) -> bool:
        """Return True if the session belongs to another client that is open."""
        return session.owner != self._owner and await self._runtime.is_open(session.owner)

    async def end(self, session_id: str, end: SessionEnd) -> None:
        """Remember that this client does not work on a session of its own any
        more.
        """
        values = (end.state, end.message, session_id, self._owner)
        await self._database.write([(_END, values)])

    async def end_of(self, session_id: str) -> SessionEnd | None:
        """Return the end of a session; None if a process works on it, or died."""
        rows = await self._database.read(
            "SELECT state, message FROM session_ends WHERE session_id = ?", (session_id,)
        )
        return None if not rows else msgspec.convert(rows[0], SessionEnd)

    async def ask_to_stop(self, session_id: str) -> None:
        """Ask the process that works on a session to cancel it."""
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
        if state is None and await self._runtime.is_open(row.owner):
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

    async def numbered(self, session: StoredSession) -> Sequence[Outcome]:
        """Return the outcomes that have a number so far, in their order."""
        return (await self._outcomes(session))[0]

    async def _outcomes(self, session: StoredSession) -> tuple[list[Outcome], Sequence[Image]]:
        """Return the outcomes by their numbers, and images without a number."""
        images = {image.id: image for image in await self._library.of_batch(session.id)}
        rows = await self._database.read(
            "SELECT batch_index, image_id, failure FROM session_outcomes WHERE session_id = ? ORDER"
            " BY number",
            (session.id,),
        )
        found: list[Outcome] = []
        for index, image_id, failure in rows:
            assert isinstance(index, int)
            if (image := images.pop(str(image_id), None)) is not None:
                found.append(image)
            elif (
                image_id is not None and (hit := await self._library.get(str(image_id))) is not None
            ):
                found.append(as_hit(hit, index))
            elif failure is not None:
                found.append(_read_failure(str(failure), index, session.request))
            else:
                gone = ImagenError("The image was deleted from the library.", billed="yes")
                found.append(Failure(index=index, request=session.request, error=gone, cost=Cost()))
        return found, list(images.values())

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
