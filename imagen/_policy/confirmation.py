"""Asks before much money is spent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

from .._errors import BudgetExceededError
from .._results.prices import Quote

__all__ = ["Confirm", "Confirmation"]

Confirm = Callable[[Quote, int], Awaitable[bool]]
"""Called with the quote and the number of images; returns whether they may be
made.
"""


class Confirmation:
    """Consent of the user above a cost."""

    def __init__(self, above_usd: Decimal, confirm: Confirm | None) -> None:
        self._above_usd = above_usd
        self._confirm = confirm

    async def ask(self, quote: Quote, images: int) -> None:
        """Returns when the money may be spent.

        Raises:
            BudgetExceededError: the user refused, or no `confirm` is set.
        """
        if quote.high_usd is not None and quote.high_usd <= self._above_usd:
            return
        cost = (
            "have an unknown price"
            if quote.high_usd is None
            else f"cost up to ${quote.high_usd.normalize():f}"
        )
        if self._confirm is None:
            raise BudgetExceededError(
                f"{images} images may {cost}, and above ${self._above_usd:f} (confirm_above_usd)"
                " the user must confirm it; nothing was sent."
            )
        if not await self._confirm(quote, images):
            raise BudgetExceededError(
                f"{images} images may {cost}, and that was not confirmed; nothing was sent."
            )
