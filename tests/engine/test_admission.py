"""Standing budgets and rates: counted in the ledger, so that they hold across
clients, processes and restarts.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen import StandingBudget
from imagen.testing.simulator import RateLimited, open_simulator
from tests.support.scripted_client import (
    MODEL,
    PRICE,
    FakeProvider,
    images_reply,
    make_settings,
    open_test_client,
)


def limited(home: Path, **limit: int) -> dict[str, object]:
    """The test model with a rate of its own."""
    models = make_settings(home).models
    return {"models": {MODEL: {**models[MODEL], "rate_limit": limit}}}


async def outcomes_of(client: imagen.Client, n: int, **options: object) -> list[imagen.Outcome]:
    async with client.open_batch("x", n=n, **options) as batch:
        return [outcome async for outcome in batch]


# --- budgets ------------------------------------------------------------------


async def test_a_budget_of_the_settings_refuses_and_outlives_the_client(autojump_clock, tmp_path):
    budgets = (StandingBudget(per="day", usd=Decimal("0.10")),)
    provider = FakeProvider()
    for expected in (2, 0):
        async with open_test_client(provider, home=tmp_path, budgets=budgets) as (client, _):
            outcomes = await outcomes_of(client, 5)
        assert sum(isinstance(outcome, imagen.Image) for outcome in outcomes) == expected
        refused = [outcome.error for outcome in outcomes if isinstance(outcome, imagen.Failure)]
        assert {type(error) for error in refused} == {imagen.BudgetExceededError}
        assert "$0.10 per day has $0.02 left today" in refused[0].message
    assert provider.billed_usd == 2 * PRICE


async def test_a_new_day_is_a_new_budget(autojump_clock, tmp_path):
    budgets = (StandingBudget(per="day", images=3), StandingBudget(per="month", images=5))
    async with open_test_client(FakeProvider(), home=tmp_path, budgets=budgets) as (client, _):
        made = []
        for _ in range(3):
            outcomes = await outcomes_of(client, 4)
            made.append(sum(isinstance(outcome, imagen.Image) for outcome in outcomes))
            await trio.sleep(24 * 3600)
    assert made == [3, 2, 0]


async def test_a_budget_binds_its_model_provider_or_tag_only(autojump_clock, tmp_path):
    budgets = (
        StandingBudget(per="ever", images=0, provider="bfl"),
        StandingBudget(per="ever", images=0, model="another"),
        StandingBudget(per="ever", images=1, tag="poster"),
    )
    async with open_test_client(FakeProvider(), home=tmp_path, budgets=budgets) as (client, _):
        await client.generate("x")
        await client.generate("x", tag="leaflet")
        await client.generate("x", tag="poster")
        with pytest.raises(
            imagen.BudgetExceededError, match="1 images in all for tag poster has 0 left in all"
        ):
            await client.generate("x", tag="poster")


async def test_what_failed_for_nothing_is_no_part_of_a_budget(autojump_clock, tmp_path):
    budgets = (StandingBudget(per="day", usd=3 * PRICE), StandingBudget(per="day", images=3))
    provider = FakeProvider(5, faults=("refusal", "down", "busy"))
    async with open_test_client(provider, home=tmp_path, budgets=budgets) as (client, _):
        outcomes = await outcomes_of(client, 60, max_at_once=7)
    # A budget that counted reservations as spent would have refused some of the
    # three.
    assert sum(isinstance(outcome, imagen.Image) for outcome in outcomes) == 3
    assert provider.billed_usd == 3 * PRICE


async def test_alarms_come_at_50_80_and_100_percent(autojump_clock, tmp_path):
    events: list[imagen.Event] = []
    budgets = (StandingBudget(per="day", images=10),)
    async with open_test_client(
        FakeProvider(), home=tmp_path, budgets=budgets, on_event=events.append
    ) as (client, _):
        with imagen.move_on_after_spending("0.20"):
            await outcomes_of(client, 10, max_at_once=1)
        await outcomes_of(client, 5, max_at_once=1)
    alarms = [
        (event.budget, event.share) for event in events if isinstance(event, imagen.BudgetAlarm)
    ]
    assert [share for budget, share in alarms if "images" in budget] == [0.5, 0.8, 1.0]
    assert [share for budget, share in alarms if "$0.2" in budget] == [0.5, 0.8, 1.0]


def test_a_budget_that_says_nothing_is_refused(tmp_path):
    (tmp_path / "imagen.toml").write_text('[[budgets]]\nper = "day"\n')
    with pytest.raises(imagen.ConfigurationError, match="either usd or images"):
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})


async def test_under_a_budget_an_unknown_price_needs_a_ceiling(autojump_clock, tmp_path):
    models = make_settings(tmp_path).models
    unpriced = {
        "models": {MODEL: {**models[MODEL], "price": {}}},
        "budgets": (StandingBudget(per="day", usd=Decimal(1)),),
    }
    async with open_test_client(FakeProvider(), home=tmp_path, **unpriced) as (client, _):
        with pytest.raises(imagen.BudgetExceededError, match="assume_usd"):
            await client.generate("x")
        await client.generate("x", assume_usd=Decimal("0.5"))
        # Its cost is unknown, so it counts with what was assumed.
        await client.generate("x", assume_usd=Decimal("0.5"))
        with pytest.raises(imagen.BudgetExceededError):
            await client.generate("x", assume_usd=Decimal("0.5"))


# --- asking first -------------------------------------------------------------


async def test_much_money_needs_a_yes_before_the_first_request(autojump_clock, tmp_path):
    asked: list[tuple[Decimal | None, int]] = []

    async def confirm(quote: imagen.Quote, images: int) -> bool:
        asked.append((quote.high_usd, images))
        return images < 10

    async with open_test_client(
        FakeProvider(), home=tmp_path, confirm=confirm, confirm_above_usd=Decimal("0.10")
    ) as (
        client,
        transport,
    ):
        await outcomes_of(client, 2)
        assert asked == []
        await outcomes_of(client, 5)
        with pytest.raises(imagen.BudgetExceededError, match="not confirmed"):
            await outcomes_of(client, 10)
        with pytest.raises(imagen.BudgetExceededError, match="not confirmed"):
            async with client.open_batch(["a", "b"] * 5) as batch:
                await anext(batch)
        assert asked == [(Decimal("0.20"), 5), (Decimal("0.40"), 10), (Decimal("0.40"), 10)]
        assert len(transport.requests) == 7


async def test_without_confirm_the_answer_is_no(autojump_clock, tmp_path):
    async with open_test_client(
        FakeProvider(), home=tmp_path, confirm_above_usd=Decimal("0.01")
    ) as (
        client,
        transport,
    ):
        with pytest.raises(imagen.BudgetExceededError, match="the user must confirm"):
            await client.generate("x")
        assert not transport.requests


# --- rates --------------------------------------------------------------------


async def test_so_many_images_in_a_window_that_slides(autojump_clock, tmp_path):
    times: list[float] = []

    def answer(request: imagen.providers.HttpRequest):
        times.append(trio.current_time())
        return images_reply()

    async with open_test_client(
        answer, home=tmp_path, **limited(tmp_path, images=5, period_seconds=100)
    ) as (
        client,
        _,
    ):
        outcomes = await outcomes_of(client, 20, max_at_once=20)
    assert len(outcomes) == 20
    assert all(isinstance(outcome, imagen.Image) for outcome in outcomes)
    for first, sixth in zip(times, times[5:], strict=False):
        assert sixth - first >= 100
    # And no slower than that.
    assert times[-1] < 320


async def test_who_does_not_wait_hears_when_a_slot_is_due(autojump_clock, tmp_path):
    async with open_test_client(
        FakeProvider(), home=tmp_path, **limited(tmp_path, images=2, period_seconds=10800)
    ) as (
        client,
        transport,
    ):
        await outcomes_of(client, 2)
        with pytest.raises(
            imagen.RateLimitError, match="takes 2 images in 10,800 seconds; a slot is due in"
        ) as caught:
            await client.generate("x", wait=False)
        assert caught.value.retry_after_seconds == pytest.approx(10800, abs=10)
        assert len(transport.requests) == 2


async def test_a_rate_holds_across_clients(autojump_clock, tmp_path):
    options = limited(tmp_path, images=3, period_seconds=600)
    for made in (3, 0):
        async with open_test_client(FakeProvider(), home=tmp_path, **options) as (client, _):
            outcomes = await outcomes_of(client, 3, wait=False)
            assert sum(isinstance(outcome, imagen.Image) for outcome in outcomes) == made


async def test_so_many_at_once(autojump_clock, tmp_path):
    async with open_test_client(
        FakeProvider(), home=tmp_path, **limited(tmp_path, max_at_once=3)
    ) as (
        client,
        transport,
    ):
        assert len(await outcomes_of(client, 30, max_at_once=12)) == 30
        assert transport.most_at_once == 3


async def test_a_rate_of_a_provider_is_shared_by_its_models(autojump_clock, tmp_path):
    config = "[providers.openai]\nrate_limit = { requests_per_minute = 4 }\n"
    (tmp_path / "imagen.toml").write_text(config)
    async with open_test_client(FakeProvider(), home=tmp_path) as (client, _):
        outcomes = await outcomes_of(client, 4, wait=False)
        outcomes += await outcomes_of(client, 2, wait=False)
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 4 + [imagen.Failure] * 2


async def test_waiting_for_a_slot_is_told(autojump_clock, tmp_path):
    events: list[imagen.Event] = []
    async with open_test_client(
        FakeProvider(),
        home=tmp_path,
        on_event=events.append,
        **limited(tmp_path, images=1, period_seconds=60),
    ) as (client, _):
        await outcomes_of(client, 2)
    notes = [event.note for event in events if isinstance(event, imagen.ProgressReported)]
    assert any("for a slot: test-model takes 1 images in 60 seconds" in note for note in notes)


@given(
    limit=st.integers(1, 4),
    period=st.integers(10, 200),
    clients=st.integers(1, 3),
    n=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_no_window_ever_holds_more_than_its_limit(limit, period, clients, n, seed):
    times: list[float] = []
    provider = FakeProvider(seed, faults=("down", "refusal"))

    def answer(request: imagen.providers.HttpRequest):
        times.append(trio.current_time())
        return provider(request)

    async def run_one(home: Path) -> None:
        async with open_test_client(
            answer, home=home, **limited(home, images=limit, period_seconds=period)
        ) as (
            client,
            _,
        ):
            await outcomes_of(client, n, max_at_once=3)

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with trio.open_nursery() as nursery:
                for _ in range(clients):
                    nursery.start_soon(run_one, Path(folder))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    for first, beyond in zip(times, times[limit:], strict=False):
        assert beyond - first >= period - 0.01


# --- processes ----------------------------------------------------------------

_RACER = """
import sys, trio, imagen

async def main():
    async with imagen.open_client() as client:
        async with client.open_batch("x", n=50, max_at_once=50, model="flux-dev") as batch:
            async for outcome in batch:
                pass

trio.run(main)
"""


@pytest.mark.parametrize(
    ("budget", "fault"),
    [("images = 100", None), ('usd = "2.50"', RateLimited(wait_seconds=0.2))],
)
async def test_eight_processes_with_fifty_tasks_each_spend_exactly_one_budget(
    budget, fault, tmp_path
):
    await race([tmp_path] * 8, budget, fault)


async def test_processes_of_two_machines_spend_exactly_one_budget(postgresql, tmp_path):
    url = postgresql.new_database()
    homes = [tmp_path / name for name in ("one", "other")]
    await race(homes * 2, "images = 100", None, IMAGEN_DATABASE_URL=url)


async def race(homes: list[Path], budget: str, fault: object, **more: str) -> None:
    """Let one process for each home ask for fifty images at once, where there is
    a budget for a hundred.
    """
    for home in homes:
        home.mkdir(exist_ok=True)
        (home / "imagen.toml").write_text(f'[[budgets]]\nper = "day"\n{budget}\n')
    chance = random.Random(1)

    def plan(received: object) -> object:
        return fault if chance.random() < 0.1 else None

    async with open_simulator(latency=(0.01, 0.3), faults=plan) as simulator:
        environ = {
            **os.environ,
            **more,
            "BFL_BASE_URL": simulator.base_url("bfl"),
            "BFL_API_KEY": simulator.key,
        }
        async with trio.open_nursery() as nursery:
            for home in homes:
                own = {**environ, "IMAGEN_HOME": str(home)}
                nursery.start_soon(
                    partial(trio.run_process, [sys.executable, "-c", _RACER], env=own)
                )
        assert sum(bill.images for bill in simulator.bills) == 100
        assert simulator.billed_usd == Decimal("2.50")
    settings = imagen.load_settings({"IMAGEN_HOME": str(homes[0]), **more})
    async with imagen.open_client(settings) as client:
        spending = await client.spending()
        assert spending.settled_usd == Decimal("2.50")
        assert spending.attempts.in_flight == 0
