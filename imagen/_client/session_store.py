"""Background batches on the disk, so that a later process knows them by the
same id.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from .. import _errors
from .._engine.recovery import failures_of
from .._engine.runtime import Runtime
from .._errors import Billed, ErrorCode, ImagenError
from .._requests.options import RoutingOptions
from .._requests.request import Request, decode_request, encode_request
from .._results.images import Cost, Failure, Image, Outcome, as_hit
from .._storage.database import from_nanousd, to_nanousd
from ..library._library import Library

__all__ = ["SessionStore", "StoredSession"]


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
        """Remembers the outcome that callers know by this number."""
        image_id = outcome.id if isinstance(outcome, Image) else None
        failure = (
            None
            if isinstance(outcome, Image)
            else msgspec.json.encode(_store_failure(outcome)).decode()
        )
        values = (session_id, number, outcome.index, image_id, failure)
        await self._database.write(
            [
                ("INSERT OR IGNORE INTO session_outcomes VALUES (?, ?, ?, ?, ?)", values),
                ("UPDATE sessions SET touched_at = ? WHERE id = ?", (self._now(), session_id)),
            ]
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

    async def take_over(self, session: StoredSession) -> bool:
        """Take over the session of a closed client; return False if it still
        runs elsewhere.
        """
        if session.owner != self._owner and await self._runtime.is_open(session.owner):
            return False
        sql = "UPDATE sessions SET owner = ? WHERE id = ? AND owner = ?"
        values = (self._owner, session.id, session.owner)
        return await self._database.transact(
            lambda transaction: transaction.change(sql, values) == 1
        )

    async def outcomes(self, session: StoredSession) -> Sequence[Outcome]:
        """Return the outcomes of a session by their numbers; images without a
        number come last.
        """
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
        told = {outcome.index for outcome in found}
        for image in images.values():
            # Images that were sold together or lost a hedging race are in the
            # library too.
            if image.index not in told:
                told.add(image.index)
                found.append(image)
        return found

    async def spent_usd(self, session: StoredSession) -> Decimal:
        """Return the cost of a session so far; an unknown cost counts with all
        that was reserved.
        """
        rows = await self._ledger.of_batch(session.id)
        costs = (row.reserved_usd if row.settled_usd is None else row.settled_usd for row in rows)
        return sum((usd for usd in costs if usd is not None), Decimal(0))

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
