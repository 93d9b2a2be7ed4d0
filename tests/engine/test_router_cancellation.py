"""Whatever is cancelled, and whenever: the books balance, and no slot of a way
is lost.
"""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest
import trio

import imagen
from imagen.testing import ScriptedReply, cancel_at_every_step
from tests.support.lengths import length
from tests.support.three_providers import BROKEN, BUSY, DOWN, PRICES, Town, image_reply, open_town

LIMITED = {
    name: {
        "provider": name.removesuffix("-1"),
        "price": {"usd_per_image": PRICES[name.removesuffix("-1")]},
        "rate_limit": {"max_at_once": 1},
    }
    for name in ("left-1", "right-1")
}


@pytest.mark.parametrize(
    "town",
    [
        lambda: Town(left=lambda number: [DOWN, BUSY, image_reply(), BROKEN][number % 4]),
        lambda: Town(
            left=lambda number: [DOWN, DOWN, DOWN, image_reply(), DOWN][number % 5],
            right=image_reply(3),
        ),
        lambda: Town(left=image_reply(25), right=image_reply(20)),
        lambda: Town(left=ScriptedReply(fault="refused"), right=ScriptedReply(fault="lost")),
    ],
)
def test_a_cancellation_at_any_step_balances_the_books_and_loses_no_slot(town, tmp_path):
    runs = itertools.count()

    async def work(scope: trio.CancelScope) -> None:
        asked = town()
        budget = imagen.Budget("0.50")
        async with open_town(asked, tmp_path / str(next(runs)), models=LIMITED) as client:
            with scope, imagen.move_on_after_spending("0.60") as spent:
                async with client.open_batch(
                    "x",
                    n=5,
                    max_at_once=2,
                    fallback=["right-1"],
                    hedge_after_seconds=5,
                    budget=budget,
                ) as batch:
                    async for _ in batch:
                        assert budget.spent_usd + budget.reserved_usd <= budget.limit_usd
            while client.in_flight:
                await trio.sleep(1)
            spending = await client.spending()
            assert (budget.reserved_usd, spent.reserved_usd, spending.attempts.in_flight) == (
                0,
                0,
                0,
            )
            assert (
                budget.spent_usd == spent.spent_usd == spending.settled_usd + spending.unknown_usd
            )
            routes = client._services.admission._gates._gates.values()
            assert [route._in_flight for route in routes] == [0] * len(routes)
            assert not any(route._breaker._probe_started for route in routes)
            paid = sum(asked.sent(name) * Decimal(PRICES[name]) for name in PRICES)
            assert spending.settled_usd + spending.unknown_usd <= paid

    assert cancel_at_every_step(work, every=length(7, short=21)) > length(10, short=3)


async def test_two_models_can_be_asked_at_once(autojump_clock, tmp_path):
    town = Town(left=image_reply(25))
    policy = imagen.RoutingPolicy(hedge_after_seconds=60)
    async with open_town(town, tmp_path, routes=policy) as client:
        image = await client.generate("x", fallback=["right-1"], hedge_after_seconds=0)
        assert image.model == "right-1"
        assert trio.current_time() < 5
