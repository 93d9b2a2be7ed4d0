"""Money as a scope: the arithmetic, and who is let in."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import imagen
from imagen._policy.budget import BudgetStack, current_scopes

cents = st.integers(0, 40).map(lambda value: Decimal(value) / 100)


def quote(usd: Decimal | None) -> imagen.Quote:
    return imagen.Quote(low_usd=usd, expected_usd=usd, high_usd=usd)


class BudgetMachine(RuleBasedStateMachine):
    """Holds come and go in any order over two nested budgets; neither limit is
    ever passed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.outer, self.inner = imagen.Budget("1.00"), imagen.Budget("0.60")
        self.holds: list[tuple[object, Decimal]] = []

    @rule(usd=cents, both=st.booleans())
    def admit(self, usd, both):
        budgets = (self.outer, self.inner) if both else (self.outer,)

        async def ask():
            purse = BudgetStack()
            purse._budgets = budgets
            with trio.move_on_after(1):
                return await purse.admit(quote(usd))
            return None

        try:
            hold = trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))
        except imagen.BudgetExceededError:
            assert any(budget.spent_usd + usd > budget.limit_usd for budget in budgets)
            return
        if hold is None:
            assert any(usd > budget.left_usd for budget in budgets)
        else:
            self.holds.append((hold, usd))

    @precondition(lambda self: self.holds)
    @rule(
        which=st.integers(0, 100),
        share=st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1), None]),
    )
    def settle(self, which, share):
        hold, usd = self.holds.pop(which % len(self.holds))
        hold.settle(None if share is None else usd * share)
        hold.settle(Decimal(1000))

    @invariant()
    def the_limits_hold(self):
        for budget in (self.outer, self.inner):
            assert budget.reserved_usd >= 0
            assert budget.spent_usd + budget.reserved_usd <= budget.limit_usd
        if not self.holds:
            assert self.outer.reserved_usd == self.inner.reserved_usd == 0


TestBudgetMachine = BudgetMachine.TestCase


@pytest.mark.parametrize("usd", ["-1", "much", "NaN", "Infinity", 0.5])
def test_an_amount_that_is_none_is_refused(usd):
    with pytest.raises(imagen.ConfigurationError):
        imagen.Budget(usd)


async def test_an_unknown_price_is_refused_under_any_budget():
    with pytest.raises(imagen.BudgetExceededError, match="assume_usd"):
        await BudgetStack(budget=imagen.Budget("100")).admit(quote(None))


async def test_without_a_budget_nothing_is_asked():
    (await BudgetStack().admit(quote(None))).settle(None)


async def test_a_request_waits_for_what_is_in_flight(autojump_clock):
    purse = BudgetStack(budget=imagen.Budget("0.10"))
    first = await purse.admit(quote(Decimal("0.08")))

    async def settle_later():
        await trio.sleep(5)
        first.settle(Decimal("0.01"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(settle_later)
        (await purse.admit(quote(Decimal("0.09")))).settle(Decimal("0.09"))
        assert trio.current_time() == 5


async def test_those_who_wait_in_a_scope_that_runs_dry_are_turned_away(autojump_clock):
    refused = 0
    with imagen.move_on_after_spending("0.10") as scope:
        purse = BudgetStack(current_scopes())
        hold = await purse.admit(quote(Decimal("0.06")))

        async def wait():
            nonlocal refused
            try:
                await purse.admit(quote(Decimal("0.05")))
            except imagen.BudgetExceededError:
                refused += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(imagen.BudgetExceededError):
                await purse.admit(quote(Decimal("0.11")))
        hold.settle(Decimal("0.06"))
        assert refused == 1
    assert not scope.cancelled_caught
    assert scope.exhausted_by is not None


async def test_scopes_nest_and_end():
    assert current_scopes() == ()
    with imagen.move_on_after_spending(1) as outer:
        with imagen.move_on_after_spending("0.5") as inner:
            assert current_scopes() == (outer, inner)
        assert current_scopes() == (outer,)
    assert current_scopes() == ()


@given(cents)
def test_a_budget_says_what_it_holds(usd):
    budget = imagen.Budget(usd)
    assert str(usd) in repr(budget)
    assert budget.left_usd == usd
