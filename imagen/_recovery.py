"""What a process that died left behind: collected, adopted, or known to be unknown.

Whoever opens a home takes over the attempts of clients that are not open any more. What was never sent is dropped, what was
received is adopted, a job that the provider knows is collected in the background, and of the rest nobody can know: it is
`unknown`, and counts as spent until somebody reconciles it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from ._errors import ConfigurationError, ImagenError
from ._images import Cost
from ._keeping import Keeper
from ._ledger import AttemptRecord, Ledger, State
from ._orders import Order, Planner
from ._owners import is_alive
from ._tickets import Emit, Ticket
from ._workers import Workers

__all__ = ["Recovery"]

_FREE = Cost(usd=Decimal(0), source="reported")


class Collector(Protocol):
    """Fetches the pictures of jobs in the background."""

    def collect(self, order: Order, row: AttemptRecord, emit: Emit) -> Ticket: ...


class Recovery:
    """Resolves what others left; one per client."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        keeper: Keeper,
        planner: Planner,
        collector: Collector,
        owner: str,
        owners: Path,
        workers: Workers,
        emit: Emit,
        now: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._planner = planner
        self._collector = collector
        self._owner = owner
        self._owners = owners
        self._workers = workers
        self._emit = emit
        self._now = now
        self._resolving = trio.Lock()
        self._collecting: dict[str, Ticket] = {}

    async def resolve_dead(self) -> None:
        """Settles the attempts of clients that are not open any more, or starts to collect them."""
        async with self._resolving:
            for owner in await self._ledger.unresolved_owners():
                if owner == self._owner or await self._workers.run(partial(is_alive, self._owners, owner)):
                    continue
                for row in await self._ledger.unresolved(owner):
                    await self._resolve(row)

    async def collect_unknown(self) -> int:
        """Tries once more to collect the jobs that nobody could tell the end of, and says how many there are."""
        async with self._resolving:
            found = 0
            for row in await self._ledger.unknown():
                with suppress(ConfigurationError):
                    if row.settled_usd is None and (order := self._rebuild(row)) is not None:
                        found += await self._collect(row, order)
            return found

    def collecting(self, batch_id: str | None = None) -> Sequence[Ticket]:
        """What is being collected, all of it or for one batch."""
        return [ticket for ticket in self._collecting.values() if batch_id is None or ticket.order.batch_id == batch_id]

    async def wait_collected(self, batch_id: str | None = None) -> None:
        """Waits until nothing is being collected any more, for one batch or at all."""
        for ticket in self.collecting(batch_id):
            await ticket.done.wait()

    async def _resolve(self, row: AttemptRecord) -> None:
        if row.state == "reserved":
            if await self._ledger.take_over(row, self._owner):
                await self._end(row, "failed", _FREE, "The program ended before the request was sent.")
            return
        if row.receipt is not None:
            if not await self._ledger.take_over(row, self._owner) or await self._keeper.adopt(row) is not None:
                return
            row = msgspec.structs.replace(row, owner=self._owner)
        try:
            order = self._rebuild(row)
        except ConfigurationError:
            # Its provider is not set up here: somebody else may have the key.
            return
        if order is not None:
            await self._collect(row, order)
        elif await self._ledger.take_over(row, self._owner):
            await self._end(
                row, "unknown", Cost(), "The program ended before the answer came; the picture may be billed."
            )

    def _rebuild(self, row: AttemptRecord) -> Order | None:
        """The order of a job that can be collected; None where that is no job, or cannot be."""
        if row.remote_id is None or row.economy:
            return None
        try:
            order = self._planner.rebuild(row)
        except ConfigurationError:
            raise
        except ImagenError:
            return None
        return order if order.provider.collect is not None else None

    async def _collect(self, row: AttemptRecord, order: Order) -> bool:
        if not await self._ledger.take_over(row, self._owner):
            return False
        ticket = self._collector.collect(order, row, self._emit)
        self._collecting[row.id] = ticket
        ticket.on_end(lambda: self._collecting.pop(row.id, None))
        return True

    async def _end(self, row: AttemptRecord, state: State, cost: Cost, message: str) -> None:
        code = "OUTCOME_UNKNOWN" if state == "unknown" else "TIMEOUT"
        await self._ledger.settle(row.id, state, cost, now=self._now(), error_code=code, error_message=message)
