"""Ends an attempt in the ledger: with images, or with an error and what it
cost.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import trio

from .._errors import ContentFilterError, ImagenError, StorageError
from .._results.images import Cost
from .._results.prices import cost_of, tidy_usd
from .._storage.ledger import Ledger, State
from ..providers._steps import GeneratedImage, GeneratedImages
from .attempt import RunningAttempt
from .keeping import Keeper

__all__ = ["FREE", "Settler"]

FREE = Cost(usd=Decimal(0), source="reported")
_CLEANUP_SECONDS = 35.0


class Settler:
    """Settles attempts. `hide_secrets` blots the key of a provider out of a
    text.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        keeper: Keeper,
        hide_secrets: Callable[[str, str], str],
        now: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._hide_secrets = hide_secrets
        self._now = now

    async def succeed(self, attempt: RunningAttempt, result: GeneratedImages) -> None:
        """Keeps the images, and settles what they cost.

        Raises:
            StorageError: the disk does not answer.
        """
        planned = attempt.planned
        # Paid: from here nothing may cut it short but the bound on cleanup.
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True) as bound:
            cost = cost_of(planned.model, planned.sent, result, economy=planned.economy)
            attempt.reservation.settle(cost.usd)
            attempt.outcomes = await self._keeper.keep(attempt, result, cost)
            attempt.emit_ended()
        if bound.cancelled_caught:
            raise StorageError(
                f"The disk did not answer for {_CLEANUP_SECONDS:g} seconds; the image is paid.",
                billed="yes",
            )

    async def fail(self, attempt: RunningAttempt, error: ImagenError) -> None:
        """Settles what an error cost, and leaves it in the ticket."""
        planned = attempt.planned
        error = self._clean(error, planned.provider.name)
        billed = error.billed if attempt.sent else "no"
        if billed == "yes" and error.cost_usd is None:
            billed_images = GeneratedImages(
                images=(GeneratedImage(data=b""),) * len(planned.indexes)
            )
            error.cost_usd = cost_of(
                planned.model, planned.sent, billed_images, economy=planned.economy
            ).usd
            error.cost_source = "estimated"
        cost = FREE if billed == "no" else Cost()
        if error.cost_usd is not None:
            cost = Cost(usd=tidy_usd(error.cost_usd), source=error.cost_source)
        refused = isinstance(error, ContentFilterError)
        state: State = "unknown" if billed == "unknown" else "refused" if refused else "failed"
        await self.end(attempt, state, cost, error)
        attempt.fail(error)
        attempt.emit_ended()

    async def end(
        self, attempt: RunningAttempt, state: State, cost: Cost, error: ImagenError
    ) -> None:
        """Gives the money back that it did not cost, and writes its end; where
        that fails its row stays as it is, in flight.
        """
        attempt.reservation.settle(cost.usd)
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
            try:
                await self._ledger.settle(
                    attempt.id,
                    state,
                    cost,
                    now=self._now(),
                    error_code=error.code,
                    error_message=error.message,
                )
            except StorageError:
                # The caller gets the first error.
                return

    def _clean(self, error: ImagenError, provider: str) -> ImagenError:
        """A provider may repeat the key in its error text."""
        error.message = self._hide_secrets(provider, error.message)
        error.args = (error.message,)
        error.details = {
            name: self._hide_secrets(provider, value) for name, value in error.details.items()
        }
        return error
