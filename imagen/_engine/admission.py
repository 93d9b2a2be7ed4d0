"""Gets an attempt its row in the ledger: waits for a slot, or says when one is
due.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import trio

from .._errors import BudgetExceededError, RateLimitError
from .._policy.quotas import Admitted, OverBudget, OverRate, Rate, StandingBudget
from .._requests.catalog import Model, RateLimit
from .._requests.request import operation_of
from .._results.events import BudgetAlarm
from .._storage.ledger import Attempt, Ledger
from ..providers._steps import Progress
from .attempt import RunningAttempt
from .planning import PlannedRequest

__all__ = ["Admission"]

# Other processes do not tell when they have ended something, so one looks now
# and then.
_LOOK_SECONDS = 0.1
_LONGEST_LOOK_SECONDS = 2.0


class Admission:
    """The standing budgets and the rates, as the ledger counts them.

    `check_room` raises where the disk is full, `resolve_dead` frees what
    processes hold that have died.
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        owner: str,
        budgets: Sequence[StandingBudget],
        provider_limits: Mapping[str, RateLimit],
        check_room: Callable[[], Awaitable[None]],
        resolve_dead: Callable[[], Awaitable[object]],
        now: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._budgets = budgets
        self._provider_limits = provider_limits
        self._check_room = check_room
        self._resolve_dead = resolve_dead
        self._now = now
        self._lines: dict[str, trio.Lock] = {}
        self._settled = trio.Event()

    def settled(self) -> None:
        """Something in flight has ended: there may be room."""
        settled, self._settled = self._settled, trio.Event()
        settled.set()

    async def reserve(self, attempt: RunningAttempt, *, wait: bool) -> None:
        """Writes the row of an attempt. Nothing is written when this raises or
        is cancelled.

        Raises:
            BudgetExceededError: a standing budget forbids it.
            RateLimitError: there is no slot now, and the caller does not wait.
            StorageError: the disk is full.
        """
        await self._check_room()
        line = self._lines.setdefault(attempt.planned.model.id, trio.Lock())
        # Who does not wait goes in or away at once, whoever stands in the line.
        if (not wait or not line.locked()) and await self._try(attempt, wait=wait) is None:
            return
        # One after the other: whoever waits longer goes first, and one of them
        # alone asks the ledger again and again.
        async with line:
            look = _LOOK_SECONDS
            while (verdict := await self._try(attempt, wait=wait)) is not None:
                look = await self._wait(attempt, verdict, look)

    async def _try(self, attempt: RunningAttempt, *, wait: bool) -> OverBudget | OverRate | None:
        """One look; gives what is in the way where it is worth waiting."""
        planned, now = attempt.planned, self._now()
        tag = planned.request.tag or ""
        budgets = [
            one for one in self._budgets if one.binds(planned.provider.name, planned.model.id, tag)
        ]
        if planned.quote.high_usd is None and any(one.usd is not None for one in budgets):
            raise BudgetExceededError(
                "The price of this request is unknown, and a budget is set in imagen.toml: say with"
                " assume_usd (--assume on the command line) what one image may cost at the most."
            )
        verdict = await self._ledger.reserve(
            self._attempt(attempt, tag, now), budgets, self._rates(planned)
        )
        match verdict:
            case Admitted():
                for budget, share, taken in verdict.alarms:
                    attempt.emit(BudgetAlarm(budget=str(budget), share=share, taken=taken))
                return None
            case OverBudget() if verdict.hopeless or not wait:
                raise BudgetExceededError(
                    f"{verdict}, so the request was not sent. Raise it in imagen.toml, or wait."
                )
            case OverRate() if not wait:
                due = None if verdict.due_at is None else max(0.0, verdict.due_at - now)
                when = "when one has ended" if due is None else f"in {due:.0f} seconds"
                raise RateLimitError(f"{verdict}; a slot is due {when}.", retry_after_seconds=due)
        return verdict

    async def _wait(
        self, attempt: RunningAttempt, verdict: OverBudget | OverRate, look: float
    ) -> float:
        """Waits until it is worth another look, and gives how long to wait the
        next time.
        """
        if isinstance(verdict, OverRate) and verdict.due_at is not None:
            seconds = max(0.0, verdict.due_at - self._now())
            attempt.progress(Progress(note=f"waits {seconds:.0f} seconds for a slot: {verdict}"))
            await trio.sleep(seconds + 0.001)
            return _LOOK_SECONDS
        if look == _LONGEST_LOOK_SECONDS:
            attempt.progress(Progress(note=f"waits for what is in flight: {verdict}"))
        with trio.move_on_after(look) as looked:
            await self._settled.wait()
        if not looked.cancelled_caught:
            return _LOOK_SECONDS
        if look >= _LONGEST_LOOK_SECONDS:
            await self._resolve_dead()
        return min(2 * look, _LONGEST_LOOK_SECONDS)

    def _attempt(self, attempt: RunningAttempt, tag: str, now: float) -> Attempt:
        planned = attempt.planned
        return Attempt(
            id=attempt.id,
            batch_id=planned.batch_id,
            first_index=planned.indexes[0],
            provider=planned.provider.name,
            model=planned.model.id,
            operation=operation_of(planned.request),
            images=len(planned.indexes),
            tag=tag,
            request_json=planned.request_json,
            reserved_usd=planned.quote.high_usd,
            economy=planned.economy,
            owner=self._owner,
            created_at=now,
        )

    def _rates(self, planned: PlannedRequest) -> list[Rate]:
        rates: list[Rate] = []
        if planned.economy:
            # A batch API has limits of its own.
            return rates
        if (limit := self._provider_limits.get(planned.provider.name)) is not None:
            rates.append(Rate(column="provider", name=planned.provider.name, limit=limit))
        model: Model = planned.model
        if model.rate_limit is not None:
            rates.append(Rate(column="model", name=model.id, limit=model.rate_limit))
        return rates
