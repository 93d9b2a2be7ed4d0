"""The journal of paid attempts: a row is on the disk before its request leaves,
and budgets, spending and history read it.

::

    reserved -> sent -> [accepted] -> succeeded | failed | refused | unknown

`refused` is a content refusal. `unknown` means sent without a known outcome: it
counts as spent until it is reconciled.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from .._errors import StorageError
from .._policy.quotas import OverBudget, Rate, StandingBudget, Verdict
from .._results.images import Cost
from ..providers._steps import JobAccepted
from .database import Database, Row, Statement, Transaction, Value, from_nanousd, to_nanousd
from .ledger_limits import check_budgets, check_rates

__all__ = ["Attempt", "AttemptRecord", "Ledger", "OverBill", "State"]

State = Literal["reserved", "sent", "accepted", "succeeded", "failed", "refused", "unknown"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Attempt before it is sent: `images` images of a batch, from `first_index`
    on.
    """

    id: str
    batch_id: str | None
    first_index: int = 0
    provider: str
    model: str
    operation: str
    images: int
    tag: str = ""
    request_json: str
    reserved_usd: Decimal | None
    economy: bool = False
    why: str = ""
    owner: str
    created_at: float


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Row of an attempt; times are Unix times.

    `remote_id` and `poll_url` locate the job at the provider; `error_message`
    tells why the outcome is unknown.
    """

    id: str
    batch_id: str | None
    first_index: int
    provider: str
    model: str
    operation: str
    images: int
    tag: str
    request_json: str
    state: State
    reserved_usd: Decimal | None
    settled_usd: Decimal | None
    accepted_usd: Decimal | None
    remote_id: str | None
    poll_url: str | None
    receipt: str | None
    economy: bool
    error_message: str | None
    owner: str
    created_at: float
    sent_at: float | None


class OverBill(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider reported for an image of a model, and what was reserved,
    which is the high end of its quote.
    """

    model: str
    provider: str
    settled_usd: Decimal
    reserved_usd: Decimal


_ROW = (
    "SELECT id, batch_id, first_index, provider, model, operation, images, tag, request, state,"
    " reserved_nanousd, settled_nanousd, accepted_nanousd, remote_id, poll_url, receipt, economy,"
    " error_message, owner, created_at, sent_at FROM attempts"
)
_UNRESOLVED = "state IN ('reserved', 'sent', 'accepted')"
_INSERT = """
INSERT INTO attempts (
    id, batch_id, first_index, provider, model, operation, images, tag, request, state,
    reserved_nanousd, economy, why, owner, created_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'reserved', ?, ?, ?, ?, ?)
"""
_OF_NO_STATE = (
    "state NOT IN ('reserved', 'sent', 'accepted', 'succeeded', 'failed', 'refused', 'unknown')"
)
# A session that another client has taken over is made by that one: what this
# one still wants to send for it would be paid twice.
_UNSENT = """
id = ? AND owner = ? AND state = ? AND sent_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM sessions
    WHERE sessions.id = attempts.batch_id AND sessions.owner <> attempts.owner
)
"""
_RESERVED = f"SELECT 1 FROM attempts WHERE {_UNSENT}"
_SEND = f"UPDATE attempts SET state = 'sent', sent_at = ? WHERE {_UNSENT}"
_SETTLE = """
UPDATE attempts
SET state = ?, settled_nanousd = ?, cost_source = ?, error_code = ?, error_message = ?,
    ended_at = ?, receipt = NULL
WHERE id = ?
"""
_BILLED_ABOVE = """
SELECT model, provider, images, settled_nanousd, reserved_nanousd
FROM (
    SELECT *, row_number() OVER (PARTITION BY model ORDER BY created_at DESC) AS place
    FROM attempts
    WHERE created_at > ? AND state = 'succeeded' AND cost_source = 'reported'
        AND settled_nanousd > reserved_nanousd AND images > 0
) AS newest
WHERE place = 1 ORDER BY model
"""


class Ledger:
    """Ledger of attempts. Every write is durable when its method returns;
    StorageError if it is not.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(
        self, attempt: Attempt, budgets: Sequence[StandingBudget] = (), rates: Sequence[Rate] = ()
    ) -> Verdict:
        """Writes the row, before anything is sent, if every budget and rate
        lets it pass: all in one transaction.
        """

        def run(transaction: Transaction) -> Verdict:
            verdict: Verdict = check_budgets(
                transaction, budgets, attempt.reserved_usd, attempt.images, attempt.created_at
            )
            if isinstance(verdict, OverBudget):
                return verdict
            over_rate = check_rates(transaction, rates, attempt.images, attempt.created_at)
            if over_rate is not None:
                return over_rate
            transaction.change(_INSERT, _insert_values(attempt))
            return verdict

        return await self._database.transact(run)

    async def mark_sent(
        self,
        attempt_ids: Sequence[str],
        owner: str,
        now: float,
        *,
        state: Literal["reserved", "accepted"] = "reserved",
    ) -> None:
        """Mark attempts as sent: their one request leaves when this returns.

        `state` is "accepted" where the caller chose the id of the job, which is
        noted before it is sent.

        Raises:
            StorageError: one is not in that state of this owner any more,
                another client has its session, or nothing can be written; no
                row has changed.
        """

        def run(transaction: Transaction) -> bool:
            if len(attempt_ids) == 1:
                # The update itself checks the one row.
                return transaction.change(_SEND, (now, *attempt_ids, owner, state)) == 1
            reserved = [transaction.run(_RESERVED, (each, owner, state)) for each in attempt_ids]
            for each in attempt_ids if all(reserved) else ():
                transaction.change(_SEND, (now, each, owner, state))
            return all(reserved)

        if not await self._database.transact(run):
            raise StorageError(
                "The request was not sent: the ledger does not hold its attempt for this client any"
                " more. Another process may have taken it over; ask again."
            )

    async def mark_accepted(self, attempt_id: str, job: JobAccepted) -> None:
        """The provider knows the job by an id now; another process can collect
        it.
        """
        sql = (
            "UPDATE attempts SET state = 'accepted', remote_id = ?, poll_url = ?, "
            "accepted_nanousd = coalesce(?, accepted_nanousd) WHERE id = ?"
        )
        values = (job.job_id, job.poll_url, to_nanousd(job.reported_cost_usd), attempt_id)
        await self._database.write([(sql, values)])

    async def mark_accepted_together(self, attempt_ids: Sequence[str], job: JobAccepted) -> None:
        """The provider knows them all by one id."""
        sql = "UPDATE attempts SET state = 'accepted', remote_id = ?, poll_url = ? WHERE id = ?"
        await self._database.write(
            [(sql, (job.job_id, job.poll_url, attempt_id)) for attempt_id in attempt_ids]
        )

    async def of_job(self, provider: str, remote_id: str) -> Sequence[AttemptRecord]:
        """Return the attempts of one batch job, in their order."""
        return await self._rows(
            "economy AND remote_id = ? AND provider = ? ORDER BY rowid", (remote_id, provider)
        )

    async def mark_received(self, attempt_id: str, receipt: str) -> None:
        """The images are here, and their files are written when this returns."""
        await self._database.write(
            [("UPDATE attempts SET receipt = ? WHERE id = ?", (receipt, attempt_id))]
        )

    async def settle(
        self,
        attempt_id: str,
        state: State,
        cost: Cost,
        *,
        now: float,
        error_code: str | None = None,
        error_message: str | None = None,
        along: Sequence[Statement] = (),
    ) -> None:
        """Ends an attempt; `along` is written in the same transaction."""
        values = (
            state,
            to_nanousd(cost.usd),
            cost.source,
            error_code,
            error_message,
            now,
            attempt_id,
        )
        await self._database.write([(_SETTLE, values), *along])

    async def unresolved_owners(self) -> Sequence[str]:
        """Return the owners of attempts that have not ended."""
        rows = await self._database.read(f"SELECT DISTINCT owner FROM attempts WHERE {_UNRESOLVED}")
        return [str(owner) for (owner,) in rows]

    async def unresolved(self, owner: str) -> Sequence[AttemptRecord]:
        """The attempts of an owner that have not ended."""
        return await self._rows(f"{_UNRESOLVED} AND owner = ? ORDER BY created_at", (owner,))

    async def unknown(self) -> Sequence[AttemptRecord]:
        """The attempts that were sent and never heard of again, oldest first. One
        whose state is damaged is left out with a warning.
        """
        await self._rows(_OF_NO_STATE)
        return await self._rows("state = 'unknown' ORDER BY created_at")

    async def find(self, attempt_id: str) -> AttemptRecord | None:
        """Return an attempt; None if there is none of that id, or its row is
        damaged.
        """
        return next(iter(await self._rows("id = ?", (attempt_id,))), None)

    async def of_batch(self, batch_id: str) -> Sequence[AttemptRecord]:
        """The attempts of a batch."""
        return await self._rows("batch_id = ? ORDER BY created_at", (batch_id,))

    async def take_over(self, attempt: AttemptRecord, owner: str) -> bool:
        """Take an attempt over, in flight again; return False if another client
        was faster.
        """
        sql = (
            "UPDATE attempts SET owner = ?, state = CASE state WHEN 'unknown' THEN 'accepted' ELSE"
            " state END WHERE id = ? AND owner = ? AND state = ?"
        )
        values = (owner, attempt.id, attempt.owner, attempt.state)
        return await self._database.transact(
            lambda transaction: transaction.change(sql, values) == 1
        )

    async def reconcile(self, attempt_id: str, usd: Decimal, now: float) -> bool:
        """Record the cost of an attempt of unknown outcome; return False if
        there is none.
        """
        sql = (
            "UPDATE attempts SET state = 'failed', settled_nanousd = ?, cost_source = 'reported',"
            " ended_at = ? WHERE id = ? AND state = 'unknown'"
        )
        values = (to_nanousd(usd), now, attempt_id)
        return await self._database.transact(
            lambda transaction: transaction.change(sql, values) == 1
        )

    async def billed_above(self, since: float) -> Sequence[OverBill]:
        """For each model the newest attempt since then whose provider reported
        a cost above what was reserved for it.
        """
        rows = await self._database.read(_BILLED_ABOVE, (since,))
        return [
            OverBill(
                model=str(model),
                provider=str(provider),
                settled_usd=(from_nanousd(settled) or Decimal(0)) / int(str(images)),
                reserved_usd=(from_nanousd(reserved) or Decimal(0)) / int(str(images)),
            )
            for model, provider, images, settled, reserved in rows
        ]

    async def _rows(self, where: str, values: Row = ()) -> Sequence[AttemptRecord]:
        rows = await self._database.read(f"{_ROW} WHERE {where}", values)
        return [record for row in rows if (record := _read_row(row)) is not None]


def _insert_values(attempt: Attempt) -> Row:
    return (
        attempt.id,
        attempt.batch_id,
        attempt.first_index,
        attempt.provider,
        attempt.model,
        attempt.operation,
        attempt.images,
        attempt.tag,
        attempt.request_json,
        to_nanousd(attempt.reserved_usd),
        int(attempt.economy),
        attempt.why,
        attempt.owner,
        attempt.created_at,
    )


def _read_row(row: Row) -> AttemptRecord | None:
    """Return an attempt; None, with a warning, if its row is damaged: the
    others are not to suffer from it.
    """
    try:
        return _convert(row)
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        warnings.warn(
            f"The attempt {row[0]} in the ledger is damaged and was left out: {error}. Run:"
            " imagen library check --repair",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def _convert(row: Row) -> AttemptRecord:
    values: dict[str, Value | Decimal | bool] = dict(
        zip(AttemptRecord.__struct_fields__, row, strict=True)
    )
    for name in ("reserved_usd", "settled_usd", "accepted_usd"):
        amount = values[name]
        values[name] = from_nanousd(amount if isinstance(amount, int) else None)
    values["economy"] = bool(values["economy"])
    return msgspec.convert(values, AttemptRecord)
