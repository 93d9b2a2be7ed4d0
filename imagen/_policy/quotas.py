"""Limits that hold across processes and restarts, because the ledger counts
them: standing budgets, and rates.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from .._requests.catalog import RateLimit
from .._results.prices import tidy_usd
from .._system.numbers import check_numbers

__all__ = [
    "MOST_USD",
    "Admitted",
    "BudgetStatus",
    "OverBudget",
    "OverRate",
    "Rate",
    "StandingBudget",
    "Verdict",
]

MOST_USD = 1_000_000_000
_PERIODS = {"day": "today", "month": "this month", "ever": "in all"}


class StandingBudget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Entry of `[[budgets]]` in imagen.toml: US dollars or images per day, per
    month (both in UTC), or ever.

    It counts requests of one provider, model or tag if these are named. Refused
    images, and failures that cost nothing, do not count.
    """

    per: Literal["day", "month", "ever"]
    usd: Decimal | None = None
    images: int | None = None
    provider: str | None = None
    model: str | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        if (self.usd is None) == (self.images is None):
            raise ValueError("a budget says either usd or images")
        check_numbers(self, most={"usd": MOST_USD})

    def binds(self, provider: str, model: str, tag: str) -> bool:
        """Return True if a request counts in the budget."""
        return (
            self.provider in (None, provider)
            and self.model in (None, model)
            and (self.tag is None or self.tag == tag)
        )

    def __str__(self) -> str:
        amount = f"${self.usd:f}" if self.usd is not None else f"{self.images} images"
        whom = [
            f"{name} {value}"
            for name in ("provider", "model", "tag")
            if (value := getattr(self, name)) is not None
        ]
        return f"{amount} per {self.per}{' for ' if whom else ''}{' and '.join(whom)}".replace(
            "per ever", "in all"
        )


class BudgetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Standing budget and what is taken of it in its period: dollars or images,
    spent, reserved, or of unknown outcome.
    """

    budget: StandingBudget
    taken_usd: Decimal | None
    taken_images: int | None

    @property
    def left_usd(self) -> Decimal | None:
        """Dollars that are left; None if the budget counts images."""
        if self.budget.usd is None or self.taken_usd is None:
            return None
        return max(Decimal(0), tidy_usd(self.budget.usd - self.taken_usd))

    @property
    def left_images(self) -> int | None:
        """Images that are left; None if the budget counts dollars."""
        if self.budget.images is None or self.taken_images is None:
            return None
        return max(0, self.budget.images - self.taken_images)


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """Rate limit of a provider or a model."""

    column: Literal["provider", "model"]
    name: str
    limit: RateLimit


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt is in the ledger; `alarms` are budgets of which 50, 80 or 100
    % are now taken, with that share.
    """

    alarms: tuple[tuple[StandingBudget, float, Decimal], ...] = ()


class OverBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Refusal by a standing budget: permanent if `hopeless`, else until a
    settlement releases money.
    """

    budget: StandingBudget
    left: Decimal
    hopeless: bool

    def __str__(self) -> str:
        left = (
            f"${tidy_usd(max(self.left, Decimal(0))):f}"
            if self.budget.usd is not None
            else f"{max(0, int(self.left))}"
        )
        return f"The budget of {self.budget} has {left} left {_PERIODS[self.budget.per]}"


class OverRate(msgspec.Struct, frozen=True, kw_only=True):
    """Refusal by a rate: until `due_at` (Unix time), or until an attempt ends
    if that is None.
    """

    rate: Rate
    due_at: float | None

    def __str__(self) -> str:
        limit = self.rate.limit
        return f"{self.rate.name} takes {limit}"


Verdict = Admitted | OverBudget | OverRate
