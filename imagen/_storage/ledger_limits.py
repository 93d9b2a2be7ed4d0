"""Limits counted in the ledger, in the transaction that writes the row of an
attempt.

Several processes on one ledger cannot pass a limit together: no other writer
comes between count and row.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from .._policy.quotas import (
    Admitted,
    BudgetStatus,
    OverBudget,
    OverRate,
    Rate,
    StandingBudget,
)
from .._results.events import ALARM_SHARES
from .._results.prices import tidy_usd
from .database import Transaction, from_nanousd, to_int
from .rate_windows import RateWindow

__all__ = ["check_budgets", "check_rates", "read_budgets"]

_COMMITTED = """
SELECT
    coalesce(sum(settled_nanousd), 0),
    coalesce(sum(open_nanousd), 0),
    coalesce(sum(CASE WHEN state = 'in_flight' THEN open_nanousd END), 0),
    coalesce(sum(CASE WHEN state IN ('in_flight', 'succeeded', 'unknown') THEN images END), 0),
    coalesce(sum(CASE WHEN state = 'in_flight' THEN images END), 0)
"""
_UNRESOLVED_INDEX = {
    "provider": "attempts_unresolved",
    "model": "attempts_unresolved_by_model",
}
# SQLite would read the whole history of the model, which it takes to be short.
_IN_FLIGHT = (
    "SELECT count(*) FROM attempts INDEXED BY {index} WHERE {column} = ? AND economy = 0 AND"
    " state IN ('reserved', 'sent', 'accepted')"
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


def read_budgets(
    transaction: Transaction, budgets: Sequence[StandingBudget], now: float
) -> Sequence[BudgetStatus]:
    """Return what is taken of each budget: spent, reserved, or maybe spent."""
    found = []
    for budget in budgets:
        settled, opened, _, images, _ = _committed(transaction, budget, now)
        is_money = budget.usd is not None
        found.append(
            BudgetStatus(
                budget=budget,
                taken_usd=tidy_usd(_usd(settled + opened)) if is_money else None,
                taken_images=None if is_money else images,
            )
        )
    return found


def check_rates(
    transaction: Transaction, rates: Sequence[Rate], images: int, now: float
) -> OverRate | None:
    """The rate that forbids `images` more in one more request now, if any does."""
    for rate in rates:
        limit = rate.limit
        if limit.max_at_once is not None and _in_flight(transaction, rate) >= limit.max_at_once:
            return OverRate(rate=rate, due_at=None)
        due = None
        if limit.requests_per_minute is not None:
            due = _due_at(transaction, rate, "requests", 1, limit.requests_per_minute, _MINUTE, now)
        if due is None and limit.images is not None:
            due = _due_at(
                transaction, rate, "images", images, limit.images, float(limit.period_seconds), now
            )
        if due is not None:
            return OverRate(rate=rate, due_at=due)
    return None


def _in_flight(transaction: Transaction, rate: Rate) -> int:
    sql = _IN_FLIGHT.format(column=rate.column, index=_UNRESOLVED_INDEX[rate.column])
    ((count,),) = transaction.run(sql, (rate.name,))
    return to_int(count)


def _due_at(
    transaction: Transaction,
    rate: Rate,
    counted: Literal["requests", "images"],
    asked: int,
    most: int,
    seconds: float,
    now: float,
) -> float | None:
    """Return when the sliding window has room for `asked` more; None if it has
    now.
    """
    # Attempts in the far future do not count: the clock was set back.
    window = RateWindow(
        column=rate.column,
        name=rate.name,
        counted=counted,
        after=now - seconds,
        before=now + seconds,
    )
    # A request larger than the window is admitted when the window is empty.
    over = window.count(transaction) + min(asked, most) - most
    if over <= 0:
        return None
    last = window.time_of(transaction, over)
    return (now if last is None else last) + seconds


def _committed(transaction: Transaction, budget: StandingBudget, now: float) -> tuple[int, ...]:
    conditions = {
        name: value
        for name in ("provider", "model", "tag")
        if (value := getattr(budget, name)) is not None
    }
    if budget.per == "ever":
        table, values = "totals_ever", conditions
    else:
        table, values = "totals", {"day": _first_day(budget.per, now), **conditions}
    where = " AND ".join(f"{name} {'>=' if name == 'day' else '='} ?" for name in values)
    (row,) = transaction.run(
        f"{_COMMITTED} FROM {table} WHERE {where or 'true'}", tuple(values.values())
    )
    return tuple(to_int(value) for value in row)


def _first_day(period: Literal["day", "month"], now: float) -> str:
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    return (today if period == "day" else today.replace(day=1)).isoformat()


def _usd(nanousd: int) -> Decimal:
    return from_nanousd(nanousd) or Decimal(0)
