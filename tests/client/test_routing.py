"""Which way a request goes: fallback, breaker, lockout, hedging, routing,
waiting.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

import imagen
from imagen.testing import ScriptedReply
from tests.support.images import PNG
from tests.support.scripted_client import error_reply
from tests.support.three_providers import BROKEN, BUSY, DOWN, PRICES, Town, image_reply, open_town

NO_KEY = error_reply(401, {"error": "no"})
REFUSED = error_reply(400, {"error": "refused"})
NO_MONEY = error_reply(402, {"error": "no money"})


# --- falling back -------------------------------------------------------------


@pytest.mark.parametrize("answer", [DOWN, BUSY, NO_KEY, NO_MONEY, ScriptedReply(fault="refused")])
async def test_what_proves_that_nothing_was_accepted_leads_to_the_next_model(
    answer, autojump_clock, tmp_path
):
    town = Town(left=answer)
    async with open_town(town, tmp_path) as client:
        image = await client.generate("x", fallback=["right-1", "third-1"])
        assert (image.model, image.provider) == ("right-1", "right")
        assert (town.sent("left"), town.sent("right"), town.sent("third")) == (1, 1, 0)
        assert (await client.spending()).settled_usd == Decimal("0.04")


@pytest.mark.parametrize(
    ("answer", "kind"), [(REFUSED, imagen.ContentFilterError), (BROKEN, imagen.OutcomeUnknownError)]
)
async def test_a_refusal_and_an_unknown_outcome_go_nowhere_else(
    answer, kind, autojump_clock, tmp_path
):
    town = Town(left=answer)
    async with open_town(town, tmp_path) as client:
        with pytest.raises(kind):
            await client.generate("x", fallback=["right-1"])
        assert town.sent("right") == 0


async def test_unless_the_settings_ask_for_it(autojump_clock, tmp_path):
    policy = imagen.RoutingPolicy(
        fallback=("right-1",), fallback_on=("content_filter", "outcome_unknown")
    )
    async with open_town(Town(left=REFUSED), tmp_path, routes=policy) as client:
        assert (await client.generate("x")).model == "right-1"


async def test_the_fallback_of_the_settings_is_for_those_who_name_no_model(
    autojump_clock, tmp_path
):
    policy = imagen.RoutingPolicy(fallback=("right-1",))
    async with open_town(Town(left=DOWN), tmp_path, routes=policy) as client:
        assert (await client.generate("x")).model == "right-1"
        with pytest.raises(imagen.ProviderError, match="down"):
            await client.generate("x", model="left-1")


async def test_when_every_model_fails_every_reason_is_told(autojump_clock, tmp_path):
    async with open_town(Town(left=DOWN, right=NO_KEY), tmp_path) as client:
        with pytest.raises(imagen.AllProvidersFailedError) as caught:
            await client.generate("x", fallback=["right-1", "no-such-model"])
        kinds = [type(error).__name__ for error in caught.value.failures]
        assert kinds == ["ProviderError", "AuthenticationError", "ModelNotFoundError"]
        assert "It is down." in caught.value.message
        assert "The key is wrong." in caught.value.message
        assert (await client.spending()).settled_usd == 0


async def test_a_request_that_is_wrong_is_wrong_everywhere(autojump_clock, tmp_path):
    town = Town()
    async with open_town(town, tmp_path) as client:
        with pytest.raises(imagen.InvalidRequestError):
            await client.generate("", fallback=["right-1"])
        assert not town.transports


# --- an account that is locked out --------------------------------------------


@pytest.mark.parametrize("answer", [NO_KEY, NO_MONEY])
async def test_a_lockout_stops_the_whole_batch(answer, autojump_clock, tmp_path):
    town = Town(left=answer)
    async with open_town(town, tmp_path) as client:
        async with client.open_batch("x", n=50, max_at_once=1) as batch:
            outcomes = [outcome async for outcome in batch]
        assert len(outcomes) == 50
        assert len({(type(outcome.error), outcome.error.message) for outcome in outcomes}) == 1
        assert town.sent("left") == 1


async def test_a_lockout_of_one_provider_leaves_the_others(autojump_clock, tmp_path):
    town = Town(left=NO_MONEY)
    async with open_town(town, tmp_path) as client:
        async with client.open_batch("x", n=20, max_at_once=1, fallback=["right-1"]) as batch:
            assert {outcome.model async for outcome in batch} == {"right-1"}
        assert (town.sent("left"), town.sent("right")) == (1, 20)
        # Another batch tries again: the account may have been topped up.
        async with client.open_batch("x", n=2, max_at_once=1, fallback=["right-1"]) as batch:
            assert [outcome.model async for outcome in batch] == ["right-1", "right-1"]
        assert town.sent("left") == 2


# --- the breaker --------------------------------------------------------------


async def test_a_provider_that_goes_down_in_the_middle_is_left_alone_until_it_is_back(
    autojump_clock, tmp_path
):
    def left(number: int) -> ScriptedReply:
        return DOWN if 50 < trio.current_time() < 200 else image_reply()

    town = Town(left=left)
    async with open_town(town, tmp_path) as client:
        while_down = 0
        async with client.open_batch("x", n=1200, max_at_once=4, fallback=["right-1"]) as batch:
            models = [outcome.model async for outcome in batch]
        sent = town.transports["left"].requests
        assert len(models) == 1200
        assert set(models) == {"left-1", "right-1"}
        # It came back, and got work again.
        assert models[-1] == "left-1"
        while_down = len(sent) - models.count("left-1")
        assert while_down < 10


async def test_the_only_way_is_waited_for(autojump_clock, tmp_path):
    town = Town(left=lambda number: DOWN if trio.current_time() < 40 else image_reply())
    async with open_town(town, tmp_path) as client:
        async with client.open_batch("x", n=20, max_at_once=4) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sum(isinstance(outcome, imagen.Image) for outcome in outcomes) == 20
        assert town.sent("left") - 20 < 10


# --- too many requests --------------------------------------------------------


async def test_a_provider_that_asks_for_a_pause_gets_it_from_everybody(autojump_clock, tmp_path):
    times: list[float] = []

    def left(number: int) -> ScriptedReply:
        times.append(trio.current_time())
        return BUSY if number == 0 else image_reply()

    async with open_town(Town(left=left), tmp_path) as client:
        async with client.open_batch("x", n=10, max_at_once=1) as batch:
            assert [type(outcome) async for outcome in batch] == [imagen.Image] * 10
        assert times[1] - times[0] >= 20


async def test_a_header_that_says_that_nothing_is_left_is_obeyed(autojump_clock, tmp_path):
    times: list[float] = []

    def left(number: int) -> ScriptedReply:
        times.append(trio.current_time())
        headers = {"ratelimit-remaining": "0", "ratelimit-reset": "30"} if number == 4 else {}
        return ScriptedReply(chunks=(PNG,), headers=headers)

    async with open_town(Town(left=left), tmp_path) as client:
        async with client.open_batch("x", n=10, max_at_once=1) as batch:
            assert [type(outcome) async for outcome in batch] == [imagen.Image] * 10
        assert times[5] - times[4] >= 30


async def test_fewer_at_once_after_a_429_and_more_again_later(autojump_clock, tmp_path):
    town = Town()
    most_after: list[int] = []

    def left(number: int) -> ScriptedReply:
        open_now = town.transports["left"].open_replies
        if number < 40:
            return error_reply(429, {}, **{"retry-after": "1"}) if open_now > 4 else image_reply()
        most_after.append(open_now)
        return image_reply()

    town = Town(left=left)
    async with open_town(town, tmp_path) as client:
        async with client.open_batch("x", n=300, max_at_once=16) as batch:
            assert [type(outcome) async for outcome in batch] == [imagen.Image] * 300
    assert min(most_after) < 8
    assert max(most_after) > 10


# --- asking two ---------------------------------------------------------------


async def test_a_slow_model_is_overtaken_and_both_are_in_the_ledger(autojump_clock, tmp_path):
    town = Town(left=image_reply(25))
    async with open_town(town, tmp_path) as client:
        image = await client.generate("x", fallback=["right-1"], hedge_after_seconds=10)
        assert image.model == "right-1"
        assert trio.current_time() == pytest.approx(11, abs=0.1)
        while client.in_flight:
            await trio.sleep(1)
        spending = await client.spending()
        assert spending.settled_usd == Decimal("0.09")
        assert len(await client.library.list()) == 2


async def test_a_quick_model_is_asked_alone(autojump_clock, tmp_path):
    town = Town()
    async with open_town(town, tmp_path) as client:
        assert (
            await client.generate("x", fallback=["right-1"], hedge_after_seconds=10)
        ).model == "left-1"
        assert town.sent("right") == 0


async def test_the_second_is_asked_only_if_the_budget_has_room_for_both(autojump_clock, tmp_path):
    town = Town(left=image_reply(25))
    async with open_town(town, tmp_path) as client:
        with imagen.move_on_after_spending("0.08") as budget:
            image = await client.generate("x", fallback=["right-1"], hedge_after_seconds=10)
        assert image.model == "left-1"
        assert (town.sent("right"), budget.spent_usd, budget.cancelled_caught) == (
            0,
            Decimal("0.05"),
            False,
        )


async def test_by_experience_the_slow_twentieth_is_overtaken(autojump_clock, tmp_path):
    town = Town(left=lambda number: image_reply(60 if number == 20 else 2))
    async with open_town(town, tmp_path) as client:
        for _ in range(20):
            await client.generate("x")
        begun = trio.current_time()
        image = await client.generate("x", fallback=["right-1"], hedge_after_seconds="p95")
        assert image.model == "right-1"
        assert trio.current_time() - begun < 4


# --- which one first ----------------------------------------------------------


async def test_the_cheapest_and_the_fastest_go_first_where_that_is_asked_for(
    autojump_clock, tmp_path
):
    town = Town(left=image_reply(9), right=image_reply(1), third=image_reply(5))
    everybody = ["right-1", "third-1"]
    async with open_town(town, tmp_path) as client:
        assert (await client.generate("x", fallback=everybody)).model == "left-1"
        assert (
            await client.generate("x", fallback=everybody, routing="cheapest")
        ).model == "third-1"
        await client.generate("x", model="right-1")
        assert (
            await client.generate("x", fallback=everybody, routing="fastest")
        ).model == "right-1"


async def test_one_failure_after_the_other_pays_nothing_twice(autojump_clock, tmp_path):
    town = Town(left=lambda number: [DOWN, BUSY, image_reply(), BROKEN][number % 4])
    async with open_town(town, tmp_path) as client:
        async with client.open_batch("x", n=60, max_at_once=3, fallback=["right-1"]) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == list(range(60))
        images = [outcome for outcome in outcomes if isinstance(outcome, imagen.Image)]
        spending = await client.spending()
        assert spending.settled_usd == sum(Decimal(PRICES[image.provider]) for image in images)
        assert spending.attempts.unknown == 60 - len(images)
