"""The journal of paid attempts: a row is on the disk before its request leaves, and budgets, spending and history read it.

::

    reserved -> sent -> [accepted] -> succeeded | failed | refused | unknown

`refused` is a content refusal. `unknown` means sent and never heard of again: it counts as spent.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Literal

import msgspec

from ._database import Database, Statement, Value, from_nanousd, to_nanousd
from ._exchange import Accepted
from ._images import Cost
from ._prices import tidy_usd

__all__ = ["Attempt", "AttemptCounts", "Ledger", "Spending", "State"]

State = Literal["reserved", "sent", "accepted", "succeeded", "failed", "refused", "unknown"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an attempt before it is sent."""

    id: str
    batch_id: str | None
    provider: str
    model: str
    operation: str
    images: int
    request_json: str
    reserved_usd: Decimal | None
    owner: str
    created_at: float


class AttemptCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many attempts ended how."""

    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    unknown: int = 0
    in_flight: int = 0


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What a period cost, in US dollars.

    `reserved_usd` belongs to attempts in flight, `unknown_usd` is the reserved amount of attempts whose outcome nobody
    knows. Attempts without a known price count in `attempts` only.
    """

    settled_usd: Decimal
    reserved_usd: Decimal
    unknown_usd: Decimal
    attempts: AttemptCounts


_INSERT = """
INSERT INTO attempts (id, batch_id, provider, model, operation, images, request, state, reserved_nanousd, owner, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, 'reserved', ?, ?, ?)
"""
_SPENDING = """
SELECT state, count(*), sum(settled_nanousd), sum(reserved_nanousd) FROM attempts WHERE created_at >= ? GROUP BY state
"""


class Ledger:
    """Writes and sums up attempts. Every write is durable when its method returns, and raises StorageError if it is not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, attempt: Attempt) -> None:
        """Writes the row, before anything is sent."""
        values: tuple[Value, ...] = (
            attempt.id,
            attempt.batch_id,
            attempt.provider,
            attempt.model,
            attempt.operation,
            attempt.images,
            attempt.request_json,
            to_nanousd(attempt.reserved_usd),
            attempt.owner,
            attempt.created_at,
        )
        await self._database.write([(_INSERT, values)])

    async def mark_sent(self, attempt_id: str, now: float) -> None:
        """The request leaves when this returns."""
        await self._database.write(
            [("UPDATE attempts SET state = 'sent', sent_at = ? WHERE id = ?", (now, attempt_id))]
        )

    async def mark_accepted(self, attempt_id: str, job: Accepted) -> None:
        """The provider knows the job by an id now; another process can collect it."""
        sql = "UPDATE attempts SET state = 'accepted', remote_id = ?, poll_url = ? WHERE id = ?"
        await self._database.write([(sql, (job.job_id, job.poll_url, attempt_id))])

    async def settle(
        self,
        attempt_id: str,
        state: State,
        cost: Cost,
        *,
        now: float,
        error_code: str | None = None,
        error_message: str | None = None,
        along: list[Statement] | None = None,
    ) -> None:
        """Ends an attempt; `along` is written in the same transaction."""
        sql = (
            "UPDATE attempts SET state = ?, settled_nanousd = ?, cost_source = ?, error_code = ?, error_message = ?, "
            "ended_at = ? WHERE id = ?"
        )
        values = (state, to_nanousd(cost.usd), cost.source, error_code, error_message, now, attempt_id)
        await self._database.write([(sql, values), *(along or [])])

    async def spending(self, since: datetime.datetime | None = None) -> Spending:
        """The sums over the attempts that began at or after `since`; None means all."""
        rows = await self._database.read(_SPENDING, (since.timestamp() if since else 0.0,))
        counts: dict[str, int] = {}
        settled = reserved = unknown = Decimal(0)
        for state, count, settled_nanousd, reserved_nanousd in rows:
            assert isinstance(count, int)
            settled += from_nanousd(settled_nanousd) or 0
            match state:
                case "reserved" | "sent" | "accepted":
                    counts["in_flight"] = counts.get("in_flight", 0) + count
                    reserved += from_nanousd(reserved_nanousd) or 0
                case "unknown":
                    counts["unknown"] = count
                    unknown += from_nanousd(reserved_nanousd) or 0
                case _:
                    counts[str(state)] = count
        return Spending(
            settled_usd=tidy_usd(settled),
            reserved_usd=tidy_usd(reserved),
            unknown_usd=tidy_usd(unknown),
            attempts=AttemptCounts(**counts),
        )
