"""Limits counted in the ledger, in the transaction that writes the row of an
attempt.

Several processes on one ledger cannot pass a limit together: no other writer
comes between count and row.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

from .._policy.quotas import Admitted, OverBudget, OverRate, Rate, StandingBudget
from .._results.events import ALARM_SHARES
from .database import Row, Transaction, from_nanousd

__all__ = ["check_budgets", "check_rates"]

_COMMITTED = """
SELECT
    coalesce(sum(settled_nanousd), 0),
    coalesce(sum(open_nanousd), 0),
    coalesce(sum(CASE WHEN state = 'in_flight' THEN open_nanousd END), 0),
    coalesce(sum(CASE WHEN state IN ('in_flight', 'succeeded', 'unknown') THEN images END), 0),
    coalesce(sum(CASE WHEN state = 'in_flight' THEN images END), 0)
FROM totals
"""
# Attempts dropped before they were sent do not count, nor those in the far
# future: the clock was set back.
_IN_WINDOW = """
FROM attempts
WHERE {column} = ? AND NOT economy AND created_at > ? AND created_at < ?
    AND (sent_at IS NOT NULL OR state = 'reserved')
"""
_IN_FLIGHT = (
    "SELECT count(*) FROM attempts WHERE {column} = ? AND NOT economy AND state IN ('reserved',"
    " 'sent', 'accepted')"
)
_MINUTE = 60.0


def check_budgets(
    transaction: Transaction,
    budgets: Sequence[StandingBudget],
    usd: Decimal | None,
    images: int,
    now: float,
) -> Admitted | OverBudget:
    """Return Admitted if every budget has room for `usd` and `images` more."""
    alarms: list[tuple[StandingBudget, float, Decimal]] = []
    for budget in budgets:
        settled, opened, flying, images_taken, images_in_flight = _committed(
            transaction, budget, now
        )
        if budget.usd is not None:
            limit, asked = budget.usd, usd or Decimal(0)
            taken, free_at_most = _usd(settled + opened), _usd(flying)
        else:
            limit, asked = Decimal(budget.images or 0), Decimal(images)
            taken, free_at_most = Decimal(images_taken), Decimal(images_in_flight)
        if taken + asked > limit:
            return OverBudget(
                budget=budget, left=limit - taken, hopeless=taken - free_at_most + asked > limit
            )
        crossed = [
            share for share in ALARM_SHARES if limit and taken < limit * share <= taken + asked
        ]
        if crossed:
            alarms.append((budget, float(crossed[-1]), taken + asked))
    return Admitted(alarms=tuple(alarms))


def check_rates(
    transaction: Transaction, rates: Sequence[Rate], images: int, now: float
) -> OverRate | None:
    """The rate that forbids `images` more in one more request now, if any does."""
    for rate in rates:
        limit = rate.limit
        if limit.max_at_once is not None:
            ((flying,),) = transaction.run(_IN_FLIGHT.format(column=rate.column), (rate.name,))
            if _whole(flying) >= limit.max_at_once:
                return OverRate(rate=rate, due_at=None)
        due = None
        if limit.requests_per_minute is not None:
            due = _due_at(transaction, rate, "1", 1, limit.requests_per_minute, _MINUTE, now)
        if due is None and limit.images is not None:
            due = _due_at(
                transaction, rate, "images", images, limit.images, float(limit.period_seconds), now
            )
        if due is not None:
            return OverRate(rate=rate, due_at=due)
    return None


def _due_at(
    transaction: Transaction,
    rate: Rate,
    what: str,
    asked: int,
    most: int,
    seconds: float,
    now: float,
) -> float | None:
    """Return when the sliding window has room for `asked` more; None if it has
    now.
    """
    window: Row = (rate.name, now - seconds, now + seconds)
    where = _IN_WINDOW.format(column=rate.column)
    ((taken,),) = transaction.run(f"SELECT coalesce(sum({what}), 0) {where}", window)
    # A request larger than the window is admitted when the window is empty.
    over = _whole(taken) + min(asked, most) - most
    if over <= 0:
        return None
    for created_at, count in transaction.run(
        f"SELECT created_at, {what} {where} ORDER BY created_at", window
    ):
        over -= _whole(count)
        if over <= 0:
            assert isinstance(created_at, float)
            return created_at + seconds
    return now + seconds


def _committed(transaction: Transaction, budget: StandingBudget, now: float) -> tuple[int, ...]:
    conditions = {
        name: value
        for name in ("provider", "model", "tag")
        if (value := getattr(budget, name)) is not None
    }
    where = " AND ".join(["day >= ?", *(f"{name} = ?" for name in conditions)])
    (row,) = transaction.run(
        f"{_COMMITTED} WHERE {where}", (_first_day(budget, now), *conditions.values())
    )
    return tuple(_whole(value) for value in row)


def _first_day(budget: StandingBudget, now: float) -> str:
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    match budget.per:
        case "day":
            return today.isoformat()
        case "month":
            return today.replace(day=1).isoformat()
        case "ever":
            return ""


def _usd(nanousd: int) -> Decimal:
    return from_nanousd(nanousd) or Decimal(0)


def _whole(value: object) -> int:
    assert isinstance(value, int)
    return value
