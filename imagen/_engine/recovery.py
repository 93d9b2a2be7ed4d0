"""Recovery of attempts whose client died: collected, adopted, dropped, or
unknown.

A new client takes over the attempts of clients that are closed. It drops those
that were never sent, adopts those with a receipt, and collects jobs that the
provider still has, in the background. The rest is `unknown`, and counts as
spent until it is reconciled.
"""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import msgspec
import trio

from .._errors import (
    ConfigurationError,
    ImagenError,
    ModelNotFoundError,
    OutcomeUnknownError,
    ProviderError,
    StorageError,
)
from .._requests.request import Generate, Request, decode_request
from .._results.images import Cost, Failure, Outcome, failure_of
from .._storage.ledger import AttemptRecord, State
from .attempt import RunningAttempt
from .batch_jobs import BatchJobs
from .engine import Engine
from .planning import PlannedRequest, Planner
from .runtime import Runtime
from .settlement import FREE, Settlement, recovered_event

__all__ = ["Recovery", "failures_of"]

# What a decoder raises for a row whose text is damaged.
_DAMAGED = (msgspec.MsgspecError, ValueError)


class Recovery:
    """Recovery of what clients that died left in the ledger."""

    def __init__(
        self,
        runtime: Runtime,
        planner: Planner,
        settlement: Settlement,
        engine: Engine,
        batch_jobs: BatchJobs,
    ) -> None:
        self._runtime = runtime
        self._ledger = runtime.ledger
        self._library = runtime.library
        self._owner = runtime.owner
        self._now = runtime.now
        self._planner = planner
        self._settlement = settlement
        self._engine = engine
        self._batch_jobs = batch_jobs
        self._resolving = trio.Lock()
        self._collecting: dict[str, RunningAttempt] = {}

    async def resolve_dead(self) -> None:
        """Settle the attempts of closed clients, or start to collect them.

        Also those of this client whose settlement failed with the database.
        """
        async with self._resolving:
            for owner in await self._ledger.unresolved_owners():
                if owner != self._owner and await self._is_open(owner):
                    continue
                rows = await self._ledger.unresolved(owner)
                if owner == self._owner:
                    rows = self._given_up(rows)
                for row in rows:
                    await self._resolve_alone(row)

    async def collect_unknown(self) -> int:
        """Retry to collect jobs of unknown outcome, and read again what was set
        aside; return the number of attempts.
        """
        async with self._resolving:
            found = 0
            for row in await self._ledger.unknown():
                with suppress(ConfigurationError):
                    planned = self._rebuild(row) if row.settled_usd is None else None
                    if planned is not None:
                        found += await self._collect(row, planned)
                    else:
                        found += await self._read_again(row)
            return found

    def collecting(self) -> Sequence[RunningAttempt]:
        """Return the attempts that are being collected."""
        return list(self._collecting.values())

    async def wait_ended(self, batch_id: str) -> None:
        """Waits until nothing of a batch is under way here any more: neither
        collected nor salvaged.
        """
        for attempt in self._under_way(batch_id):
            await attempt.done.wait()

    async def outcomes_of(self, batch_id: str) -> AsyncGenerator[Outcome]:
        """Yield the outcomes of a batch: images, then attempts in flight, then
        failures for the rest.
        """
        await self.resolve_dead()
        told: set[int] = set()
        under_way = self._under_way(batch_id)
        for image in [] if self._library is None else await self._library.of_batch(batch_id):
            # Images that were sold together or lost a hedging race are in the
            # library too.
            if image.index not in told:
                told.add(image.index)
                yield image
        for attempt in under_way:
            await attempt.done.wait()
            for outcome in attempt.outcomes:
                # One that was kept while the library was read is there twice.
                if outcome.index not in told:
                    told.add(outcome.index)
                    yield outcome
        for row in await self._ledger.of_batch(batch_id):
            for failure in failures_of(row):
                if failure.index not in told:
                    told.add(failure.index)
                    yield failure

    def _under_way(self, batch_id: str) -> Sequence[RunningAttempt]:
        return [attempt for attempt in self._attempts() if attempt.planned.batch_id == batch_id]

    def _given_up(self, rows: Sequence[AttemptRecord]) -> Sequence[AttemptRecord]:
        """Return the rows of this client that were sent and have no running
        attempt.
        """
        under_way = {attempt.id for attempt in self._attempts()}
        return [row for row in rows if row.state != "reserved" and row.id not in under_way]

    def _attempts(self) -> Sequence[RunningAttempt]:
        return [*self._engine.attempts, *self._batch_jobs.attempts]

    async def _resolve_alone(self, row: AttemptRecord) -> None:
        """Resolve an attempt; one that cannot be settled stays in flight, and
        the others do not suffer from it.
        """
        try:
            await self._resolve(row)
        except StorageError as error:
            warnings.warn(
                f"The attempt {row.id} in the ledger was left as it is: {error.message}",
                RuntimeWarning,
                stacklevel=2,
            )

    async def _resolve(self, row: AttemptRecord) -> None:
        if row.state == "reserved":
            if await self._ledger.take_over(row, self._owner):
                await self._end(
                    row, "failed", FREE, "The program ended before the request was sent."
                )
            return
        row = await self._with_receipt(row)
        if row.receipt is not None:
            if not await self._ledger.take_over(row, self._owner) or await self._adopt(row):
                return
            row = msgspec.structs.replace(row, owner=self._owner)
        try:
            planned = self._rebuild(row)
        except ConfigurationError:
            # The provider is not set up here: another process may have the key.
            return
        if planned is not None:
            await self._collect(row, planned)
        elif await self._ledger.take_over(row, self._owner):
            await self._end(
                row,
                "unknown",
                Cost(),
                "The program ended before the answer came; the image may be billed.",
            )

    async def _with_receipt(self, row: AttemptRecord) -> AttemptRecord:
        """Add the receipt that was kept beside a database that did not take it."""
        if row.receipt is not None:
            return row
        receipt = await self._runtime.set_aside.read_receipt(row.id)
        return row if receipt is None else msgspec.structs.replace(row, receipt=receipt)

    async def _adopt(self, row: AttemptRecord) -> bool:
        try:
            is_adopted = await self._settlement.adopt(row)
            if is_adopted:
                await self._runtime.set_aside.drop_receipt(row.id)
            return is_adopted
        except _DAMAGED:
            # The receipt is damaged; the files are listed by a check of the
            # library.
            return False

    def _rebuild(self, row: AttemptRecord) -> PlannedRequest | None:
        """Return the planned request of a job that can be collected; None if it
        cannot.

        Raises:
            ConfigurationError: its provider is not set up here.
        """
        if row.remote_id is None:
            return None
        try:
            planned = self._planner.rebuild(row)
        except ImagenError as error:
            if isinstance(error, ConfigurationError) and not isinstance(error, ModelNotFoundError):
                raise
            return None
        except _DAMAGED:
            # Its request is damaged.
            return None
        provider = planned.provider
        return (
            planned
            if (provider.batch_api if row.economy else provider.collect) is not None
            else None
        )

    async def _collect(self, row: AttemptRecord, planned: PlannedRequest) -> bool:
        if not await self._ledger.take_over(row, self._owner):
            return False
        if row.economy:
            await self._collect_together(row)
        else:
            replies = await self._runtime.set_aside.read(row.id)
            self._note(self._engine.collect(planned, row, replies))
        return True

    async def _read_again(self, row: AttemptRecord) -> bool:
        """Read what an attempt set aside; return False if that is nothing."""
        replies = await self._runtime.set_aside.read(row.id)
        if not replies or row.economy:
            return False
        try:
            planned = await self._planner.rebuild_with_inputs(row)
        except ImagenError:
            return False
        if not await self._ledger.take_over(row, self._owner):
            return False
        self._note(self._engine.read_again(planned, row, replies))
        return True

    async def _collect_together(self, row: AttemptRecord) -> None:
        """Collect a whole job; attempts that have ended are there to keep the
        positions.
        """
        assert row.remote_id is not None
        attempts: list[RunningAttempt] = []
        rows = await self._ledger.of_job(row.provider, row.remote_id)
        # An unknown attempt whose client is open is left to that client.
        dead = {
            owner for owner in {other.owner for other in rows} if not await self._is_open(owner)
        }
        for other in rows:
            attempt = RunningAttempt.from_ledger(self._runtime, self._planner.rebuild(other), other)
            left = other.state == "unknown" or (other.state == "accepted" and other.owner in dead)
            mine = other.id == row.id or (left and await self._ledger.take_over(other, self._owner))
            if not mine:
                attempt.end()
            attempts.append(attempt)
        (job,) = {attempt.job for attempt in attempts}
        assert job is not None
        self._batch_jobs.collect(attempts, job)
        for attempt in attempts:
            if not attempt.done.is_set():
                self._note(attempt)

    async def _is_open(self, owner: str) -> bool:
        return await self._runtime.is_open(owner)

    def _note(self, attempt: RunningAttempt) -> None:
        self._collecting[attempt.id] = attempt
        attempt.on_end(lambda: self._collecting.pop(attempt.id, None))

    async def _end(self, row: AttemptRecord, state: State, cost: Cost, message: str) -> None:
        code = "OUTCOME_UNKNOWN" if state == "unknown" else "TIMEOUT"
        await self._ledger.settle(
            row.id, state, cost, now=self._now(), error_code=code, error_message=message
        )
        self._runtime.emit(recovered_event(row, state, cost))


def _request_of(row: AttemptRecord) -> Request:
    try:
        return decode_request(row.request_json)
    except _DAMAGED:
        return Generate(prompt="")


def failures_of(row: AttemptRecord) -> list[Failure]:
    """Return the outcomes of an attempt without images; a failure is unknown
    unless it was free.
    """
    request = _request_of(row)
    message = (
        row.error_message or "The program ended before the answer came; the image may be billed."
    )
    if row.state in ("reserved", "sent", "accepted"):
        message = (
            "Another process works on it, or its provider is not set up here; ask again later."
        )
    free = row.state == "failed" and not row.settled_usd
    error = ProviderError(message) if free else OutcomeUnknownError(message)
    indexes = range(row.first_index, row.first_index + row.images)
    return [
        failure_of(request, index, error, model=row.model, provider=row.provider)
        for index in indexes
    ]
