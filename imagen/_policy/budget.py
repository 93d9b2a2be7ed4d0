"""Money as a scope: reserve before sending, settle after, and never let the two
together pass a limit.

A scope cancels only code that asks for money it cannot have. A request that
does not fit waits while reservations in flight may still release some. If even
their settlement cannot help, the scope is exhausted: nothing new starts, what
is in flight finishes and is delivered, and the scope is cancelled when its
consumer asks for more.
"""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation

import trio

from .._errors import BudgetExceededError, ConfigurationError
from .._results.events import ALARM_SHARES, BudgetAlarm
from .._results.prices import Quote
from .._system.signal import Signal

__all__ = [
    "Budget",
    "BudgetScope",
    "BudgetStack",
    "Reservation",
    "current_scopes",
    "fail_after_spending",
    "inside_scope",
    "move_on_after_spending",
    "read_usd",
]


def read_usd(usd: Decimal | str | int) -> Decimal:
    """An amount of US dollars, 0 or more.

    Raises:
        ConfigurationError: invalid amount.
    """
    if isinstance(usd, float):
        raise ConfigurationError(
            f"Give a budget as text or Decimal, not as the float {usd!r}: usd={str(usd)!r}."
        )
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ConfigurationError(
            f'{usd!r} is not an amount of US dollars: write it like "0.50".'
        ) from None
    if not amount.is_finite() or not 0 <= amount < 1_000_000_000:
        raise ConfigurationError(
            f"{amount} is not an amount of US dollars from 0 to below 1,000,000,000."
        )
    return amount


class Budget:
    """A limit in US dollars: `spent_usd + reserved_usd` never passes
    `limit_usd`.

    Pass it to `open_batch(budget=...)`: requests that do not fit come out as
    failures. `usd` is text or a Decimal.
    """

    def __init__(self, usd: Decimal | str | int) -> None:
        self.limit_usd = read_usd(usd)
        self.spent_usd = Decimal(0)
        self.reserved_usd = Decimal(0)
        self._changed = Signal()
        self._alarms = list(ALARM_SHARES)

    @property
    def left_usd(self) -> Decimal:
        """Amount that can still be reserved."""
        return self.limit_usd - self.spent_usd - self.reserved_usd

    def _fits(self, usd: Decimal) -> bool:
        return usd <= self.left_usd

    def _can_never_fit(self, usd: Decimal) -> bool:
        return self.spent_usd + usd > self.limit_usd

    def _take_alarms(self) -> Iterator[BudgetAlarm]:
        taken = self.spent_usd + self.reserved_usd
        while self._alarms and self.limit_usd and taken >= self.limit_usd * self._alarms[0]:
            yield BudgetAlarm(
                budget=f"${self.limit_usd:f}", share=float(self._alarms.pop(0)), taken=taken
            )

    def _wake(self) -> None:
        self._changed.send()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.spent_usd} spent + {self.reserved_usd} reserved of"
            f" {self.limit_usd} USD>"
        )


class BudgetScope(Budget, ABC):
    """Budget of a block: the value of `move_on_after_spending` and
    `fail_after_spending`.
    """

    def __init__(self, usd: Decimal | str | int) -> None:
        super().__init__(usd)
        self._exhausted_by: BudgetExceededError | None = None

    @property
    @abstractmethod
    def cancelled_caught(self) -> bool:
        """True if the block was left because the money ran out."""

    @property
    def exhausted_by(self) -> BudgetExceededError | None:
        """Error of the first refused request; nothing new starts in the scope
        after it.
        """
        return self._exhausted_by

    def _exhaust(self, error: BudgetExceededError) -> None:
        self._exhausted_by = self._exhausted_by or error
        self._wake()

    async def wait_settled(self) -> None:
        """Waits until nothing is in flight in this scope."""
        while self.reserved_usd:
            await self._changed.wait()

    def raise_if_left(self) -> None:
        """Raise the error of the first refused request, if the block was left
        because of it.
        """
        if self.cancelled_caught and self._exhausted_by is not None:
            raise self._exhausted_by

    @abstractmethod
    async def leave(self) -> None:
        """Cancel the block; called by the code that asked for money it cannot
        have.
        """


class _TrioScope(BudgetScope):
    """Budget scope around code in a Trio run."""

    def __init__(self, usd: Decimal | str | int) -> None:
        super().__init__(usd)
        self.cancel_scope = trio.CancelScope()

    @property
    def cancelled_caught(self) -> bool:
        return self.cancel_scope.cancelled_caught

    async def leave(self) -> None:
        self.cancel_scope.cancel("the budget is spent")
        await trio.lowlevel.checkpoint()


_scopes: contextvars.ContextVar[tuple[BudgetScope, ...]] = contextvars.ContextVar(
    "imagen_budget_scopes", default=()
)


def current_scopes() -> tuple[BudgetScope, ...]:
    """The budget scopes around this code, outermost first."""
    return _scopes.get()


@contextmanager
def inside_scope(scope: BudgetScope) -> Iterator[None]:
    """Put a budget scope around the code of the block."""
    token = _scopes.set((*_scopes.get(), scope))
    try:
        yield
    finally:
        _scopes.reset(token)


@contextmanager
def move_on_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]:
    """Leaves the block once it asks for money beyond `usd` US dollars, as
    `trio.move_on_after` does for time.

    Scopes nest, and the tightest decides. What is in flight finishes and is
    delivered first; the caller's own work is never interrupted.
    `.cancelled_caught` and `.spent_usd` tell the result.
    """
    scope = _TrioScope(usd)
    with inside_scope(scope), scope.cancel_scope:
        yield scope


@contextmanager
def fail_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]:
    """Like `move_on_after_spending`, but raise at the end of the block.

    Raises:
        BudgetExceededError: the block was left because the money ran out.
    """
    with move_on_after_spending(usd) as scope:
        yield scope
    scope.raise_if_left()


class Reservation:
    """Money reserved in several budgets until it is settled."""

    def __init__(self, budgets: Sequence[Budget], usd: Decimal) -> None:
        self._budgets = budgets
        self._usd = usd
        self._open = True
        for budget in budgets:
            budget.reserved_usd += usd

    def settle(self, spent_usd: Decimal | None) -> None:
        """Replace the reservation by the cost; None (unknown) counts as all of
        it. A second call does nothing.
        """
        if not self._open:
            return
        self._open = False
        for budget in self._budgets:
            budget.reserved_usd -= self._usd
            budget.spent_usd += self._usd if spent_usd is None else spent_usd
            budget._wake()


class BudgetStack:
    """Budgets that a request must fit: the scopes around it, and the budget of
    its batch.
    """

    def __init__(self, scopes: Sequence[BudgetScope] = (), budget: Budget | None = None) -> None:
        self.scopes = tuple(scopes)
        self._budgets: tuple[Budget, ...] = (
            self.scopes if budget is None else (*self.scopes, budget)
        )

    @property
    def exhausted_scope(self) -> BudgetScope | None:
        """The outermost scope that ran dry, if any."""
        return next((scope for scope in self.scopes if scope.exhausted_by), None)

    async def admit(self, quote: Quote, *, wait: bool = True) -> Reservation:
        """Reserve the high end of a quote, waiting while settlements may still
        release enough.

        Nothing is reserved when this raises or is cancelled. Without `wait`,
        what does not fit now is refused, and no scope is exhausted by that.

        Raises:
            BudgetExceededError: it can never fit, or the price is unknown. A
                scope that refuses is exhausted from now on.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._budgets:
            return Reservation((), Decimal(0))
        usd = quote.high_usd
        if usd is None:
            raise self._refuse(
                self._budgets[0],
                "The price of this request is unknown, and a budget is set: set with assume_usd"
                " (--assume on the command line) the most that one image may cost.",
                exhaust=wait,
            )
        while True:
            for scope in self.scopes:
                if scope.exhausted_by is not None:
                    raise scope.exhausted_by
            tight = next((budget for budget in self._budgets if not budget._fits(usd)), None)
            if tight is None:
                return Reservation(self._budgets, usd)
            hopeless = next(
                (budget for budget in self._budgets if budget._can_never_fit(usd)), None
            )
            if hopeless is not None:
                raise self._refuse(
                    hopeless,
                    f"The request may cost up to ${usd.normalize():f}, and of the budget of"
                    f" ${hopeless.limit_usd:f} only"
                    f" ${(hopeless.limit_usd - hopeless.spent_usd).normalize():f} is left, so it"
                    " was not sent. Raise the budget, or ask for a lower quality or a smaller"
                    " size.",
                    exhaust=wait,
                )
            if not wait:
                raise BudgetExceededError("The budget has no room for it now.")
            await tight._changed.wait()

    def take_alarms(self) -> Iterator[BudgetAlarm]:
        """Return an alarm for each budget of which another 50, 80 or 100 % is
        taken; once per share.
        """
        for budget in self._budgets:
            yield from budget._take_alarms()

    def _refuse(self, budget: Budget, message: str, *, exhaust: bool) -> BudgetExceededError:
        error = BudgetExceededError(message)
        if exhaust and isinstance(budget, BudgetScope):
            budget._exhaust(error)
        return error
