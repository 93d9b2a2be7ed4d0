"""Money that nothing may lose: what is stopped for free, two ways at once,
alarms, clocks, rates beside batch APIs.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

import imagen
from tests.support.cancellable_jobs import answering, job, open_works
from tests.support.images import PNG
from tests.support.scripted_client import images_reply, open_test_client, virtual_time
from tests.support.three_providers import BROKEN, DOWN, Town, image_reply, open_town


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
    town = Town(left=image_reply(25))
    models = {"free-1": {"provider": "right"}}
    async with open_town(town, tmp_path, models=models) as client:
        with imagen.move_on_after_spending("1") as scope:
            async with client.open_batch(
                "x", n=3, max_at_once=1, fallback=["free-1"], hedge_after_seconds=10
            ) as batch:
                outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
        assert not scope.exhausted_by


async def test_each_share_of_a_budget_is_told_when_it_is_reached(autojump_clock, tmp_path):
    events: list[imagen.Event] = []
    standing = imagen.StandingBudget(per="ever", images=5)
    async with open_town(Town(), tmp_path, events=events, budgets=(standing,)) as client:
        async with client.open_batch(
            "x", n=4, max_at_once=1, budget=imagen.Budget("0.25")
        ) as batch:
            async for _ in batch:
                pass
    told = [(event.share, event.taken) for event in events if isinstance(event, imagen.BudgetAlarm)]
    assert sorted(told) == [(0.5, Decimal("0.15")), (0.5, 3), (0.8, Decimal("0.20")), (0.8, 4)]


async def test_who_does_not_wait_does_not_stand_in_line_either(autojump_clock, tmp_path):
    models = {
        "left-1": {
            "provider": "left",
            "price": {"usd_per_image": "0.05"},
            "rate_limit": {"requests_per_minute": 1},
        }
    }
    async with open_town(Town(), tmp_path, models=models) as client:
        await client.generate("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.generate, "x")
            await trio.sleep(1)
            began = trio.current_time()
            with pytest.raises(imagen.RateLimitError):
                await client.generate("x", wait=False)
            assert trio.current_time() - began < 1


async def test_a_clock_set_back_blocks_no_request_for_hours(autojump_clock, tmp_path, monkeypatch):
    put_back = 0.0
    monkeypatch.setattr(
        "tests.support.three_providers.virtual_time", lambda: virtual_time() - put_back
    )
    models = {
        "left-1": {
            "provider": "left",
            "price": {"usd_per_image": "0.05"},
            "rate_limit": {"requests_per_minute": 1},
        }
    }
    async with open_town(Town(), tmp_path, models=models) as client:
        await client.generate("x")
        put_back = 7200.0
        began = trio.current_time()
        await client.generate("x")
        assert trio.current_time() - began < 200


async def test_a_database_that_fails_in_between_is_a_failure_like_any_other(
    autojump_clock, tmp_path, monkeypatch
):
    async def fail(self: object, model: str) -> list[float]:
        raise imagen.StorageError("The database cannot be read.")

    monkeypatch.setattr("imagen._storage.statistics.StatisticsBy.recent", fail)
    async with open_town(Town(), tmp_path) as client:
        async with client.open_batch("x", n=2, fallback=["right-1"], routing="fastest") as batch:
            outcomes = [outcome async for outcome in batch]
        assert {type(outcome.error) for outcome in outcomes} == {imagen.StorageError}


async def test_a_client_that_closes_sends_nothing_of_what_still_waits(autojump_clock, tmp_path):
    models = {
        "left-1": {
            "provider": "left",
            "price": {"usd_per_image": "0.05"},
            "rate_limit": {"requests_per_minute": 1},
        }
    }
    town = Town(left=image_reply(100))
    async with trio.open_nursery() as outer:
        async with open_town(town, tmp_path, models=models, salvage_seconds=500.0) as client:

            async def ask() -> None:
                with pytest.raises(imagen.ImagenError):
                    await client.generate("x")

            outer.start_soon(client.generate, "x")
            await trio.sleep(1)
            outer.start_soon(ask)
            await trio.sleep(1)
        assert town.sent("left") == 1


async def test_of_several_jobs_for_one_image_no_callback_is_waited_for_afterwards(
    autojump_clock, tmp_path
):
    def work(call: imagen.providers.Call) -> imagen.providers.Exchange:
        yield imagen.providers.HttpRequest(method="POST", url="jobs")
        for job_id in ("first", "second"):
            yield imagen.providers.JobAccepted(job_id=job_id, poll_url=f"jobs/{job_id}")
            yield imagen.providers.Wait(seconds=1, job_id=job_id)
        return imagen.providers.GeneratedImages(images=(imagen.providers.GeneratedImage(data=PNG),))

    async with open_works(tmp_path, work, answering()) as (client, _, _):
        await client.generate("x")
        assert not any(
            client._services.runtime.job_waiters.wake("works", job_id)
            for job_id in ("first", "second")
        )


async def test_images_of_one_request_go_one_by_one_to_a_model_that_makes_one(
    autojump_clock, tmp_path
):
    models = {
        "four-1": {
            "provider": "left",
            "price": {"usd_per_image": "0.05"},
            "capabilities": {"max_images_per_request": 4},
        }
    }
    town = Town(left=DOWN)
    async with open_town(town, tmp_path, models=models) as client:
        async with client.open_batch(
            "x", n=4, model="four-1", together=True, fallback=["right-1"]
        ) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2, 3]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 4
        assert town.sent("right") == 4


# --- usage that lies -----------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"input_tokens": 0, "output_tokens": 0},
        {"prompt_tokens": 12, "completion_tokens": 4160},
        {"output_tokens": -1},
        {"input_tokens": 10, "output_tokens": 1},
        {"output_tokens": "NaN"},
        {"output_tokens": 10**300},
    ],
    ids=lambda usage: str(usage)[:40],
)
async def test_no_usage_lets_more_images_pass_a_budget(autojump_clock, usage):
    asked = {"model": "gpt-image-2", "size": "1024x1024", "quality": "low"}
    async with open_test_client(lambda request: images_reply(usage=usage)) as (client, _):
        one = client.quote("x", **asked).expected_usd
        assert one
        budget = imagen.Budget("0.02")
        async with client.open_batch("x", n=8, max_at_once=2, budget=budget, **asked) as batch:
            outcomes = [outcome async for outcome in batch]
        made = [outcome for outcome in outcomes if isinstance(outcome, imagen.Image)]
        spending = await client.spending()
    assert 0 < len(made) <= Decimal("0.02") / one
    assert sum(image.cost.usd for image in made) == spending.settled_usd <= Decimal("0.02")


# --- events --------------------------------------------------------------------


async def test_a_handler_that_fails_silences_no_other_and_is_named_once(autojump_clock):
    heard: list[imagen.Event] = []

    def broken(event: imagen.Event) -> None:
        raise ZeroDivisionError("a fault of the handler")

    with pytest.raises(ZeroDivisionError):
        async with open_test_client(lambda request: images_reply(), on_event=broken) as (client, _):
            async with client.open_batch("x", n=3, on_event=heard.append) as batch:
                outcomes = [outcome async for outcome in batch]
            assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
    sent = [event.attempt_id for event in heard if isinstance(event, imagen.AttemptSent)]
    ended = [event.attempt_id for event in heard if isinstance(event, imagen.AttemptEnded)]
    assert len(sent) == 3
    assert sorted(sent) == sorted(ended)


async def test_every_start_has_its_end_where_the_salvage_ends(autojump_clock):
    heard: list[imagen.Event] = []
    async with open_test_client(
        lambda request: images_reply(after_seconds=500), on_event=heard.append
    ) as (client, _):
        with trio.move_on_after(1):
            async with client.open_batch("x", n=3) as batch:
                await anext(batch)
    sent = [event.attempt_id for event in heard if isinstance(event, imagen.AttemptSent)]
    ended = [event for event in heard if isinstance(event, imagen.AttemptEnded)]
    assert len(sent) == 3
    assert sorted(sent) == sorted(event.attempt_id for event in ended)
    assert all(event.outcomes[0].error.billed == "unknown" for event in ended)
