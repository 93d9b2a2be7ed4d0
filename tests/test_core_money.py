"""Money that nothing may lose: what is stopped for free, two ways at once, alarms, clocks, rates beside batch APIs."""

from __future__ import annotations

import pytest
import trio

import imagen
from tests.test_jobs import answering, job, open_works
from tests.test_routes import BROKEN, Town, open_town, picture


async def test_a_job_that_was_stopped_for_nothing_gives_its_money_back(autojump_clock, tmp_path):
    async with open_works(tmp_path, job(stops_bill=True), answering()) as (client, _, _):
        budget = imagen.Budget("0.05")
        async with client.open_batch("x", budget=budget) as batch:
            with trio.move_on_after(3.5):
                await anext(batch)
        while client.in_flight:
            await trio.sleep(0.1)
        assert (await client.spending()).settled_usd == 0
        assert (budget.reserved_usd, budget.spent_usd) == (0, 0)


async def test_a_second_way_that_may_have_been_billed_is_not_asked_again(autojump_clock, tmp_path):
    town = Town(left=imagen.testing.ScriptedReply(status=503, after_seconds=25), right=BROKEN)
    async with open_town(town, tmp_path) as client:
        with pytest.raises(imagen.ImagenError) as caught:
            await client.generate("x", fallback=["right-1", "third-1"], hedge_after_seconds=10)
        assert caught.value.billed == "unknown"
        assert (town.sent("left"), town.sent("right"), town.sent("third")) == (1, 1, 0)


async def test_a_second_way_without_a_price_leaves_the_scope_alone(autojump_clock, tmp_path):
    town = Town(left=picture(25))
    models = {"free-1": {"provider": "right"}}
    async with open_town(town, tmp_path, models=models) as client:
        with imagen.move_on_after_spending("1") as scope:
            async with client.open_batch("x", n=3, max_at_once=1, fallback=["free-1"], hedge_after_seconds=10) as batch:
                outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
        assert not scope.exhausted_by
