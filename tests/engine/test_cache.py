"""The same request is answered out of the library for nothing, and requests
that are alike share one attempt.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import chain, repeat

import pytest
import trio

import imagen
from imagen.testing import ScriptedReply
from tests.support.custom_provider import Atelier, open_atelier
from tests.support.images import png
from tests.support.scripted_client import (
    PRICE,
    FakeProvider,
    error_reply,
    images_reply,
    open_test_client,
)
from tests.support.three_providers import DOWN, Town, image_reply, open_town


def another_each_time(*seconds: float) -> Callable[[imagen.providers.HttpRequest], ScriptedReply]:
    """Answers with a new image after so many seconds, each time the next, and
    then always after one.
    """
    shades, waits = iter(range(256)), chain(seconds, repeat(1.0))
    return lambda request: images_reply(data=png((next(shades), 0, 0)), after_seconds=next(waits))


async def test_the_same_request_costs_nothing_the_second_time(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        first = await client.generate("a cat", cache=True)
        again = await client.generate("a cat", cache=True, tag="other", previews=1)
        assert (first.cached, again.cached) == (False, True)
        assert (again.id, again.cost) == (first.id, imagen.Cost(usd=Decimal(0), source="reported"))
        assert len(transport.requests) == 1
        assert (await client.spending()).settled_usd == PRICE
        assert await client.cache_hits() == imagen.CacheHits(images=1, saved_usd=PRICE)


@pytest.mark.parametrize(
    "change", [{"prompt": "a dog"}, {"size": "auto"}, {"options": {"user": "x"}}]
)
async def test_another_request_is_made(autojump_clock, change):
    async with open_test_client(FakeProvider()) as (client, transport):
        await client.generate("a cat", cache=True)
        fields = {"prompt": "a cat", **change}
        assert not (await client.generate(fields.pop("prompt"), cache=True, **fields)).cached
        assert len(transport.requests) == 2


async def test_without_being_asked_nothing_is_taken_from_the_library(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        await client.generate("a cat")
        await client.generate("a cat")
        assert len(transport.requests) == 2


async def test_a_seed_is_answered_by_that_seed_only(autojump_clock):
    async with open_atelier(Atelier()) as client:
        one = await client.generate("a cat", model="sketch", seed=1, size="64x64", cache=True)
        two = await client.generate("a cat", model="sketch", seed=2, size="64x64", cache=True)
        assert not two.cached
        assert (
            await client.generate("a cat", model="sketch", seed=1, size="64x64", cache=True)
        ).id == one.id
        anything = await client.generate("a cat", model="sketch", size="64x64", cache=True)
        assert anything.cached
        assert anything.id == one.id


async def test_the_second_of_several_is_the_second_that_there_is(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        async with client.open_batch("a cat", n=2) as batch:
            made = {outcome.id async for outcome in batch}
        async with client.open_batch("a cat", n=3, cache=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert {outcome.id for outcome in outcomes if outcome.cached} == made
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2]
        assert len(transport.requests) == 3
        async with client.open_batch("a cat", n=3, cache=True) as batch:
            assert len({outcome.id async for outcome in batch if outcome.cached}) == 3


async def test_an_edit_of_the_same_bytes_is_the_same_request(autojump_clock, tmp_path):
    atelier = Atelier()
    (tmp_path / "a.png").write_bytes(png())
    async with open_atelier(atelier) as client:
        first = await client.edit("blue", tmp_path / "a.png", cache=True)
        again = await client.edit("blue", png(), cache=True)
        other = await client.edit("blue", png((1, 2, 3)), cache=True)
        assert (again.id, again.cached, other.cached) == (first.id, True, False)
        assert len(atelier.calls) == 2


async def test_requests_that_are_alike_share_one_attempt(autojump_clock):
    images: list[imagen.Image] = []
    async with open_test_client(lambda request: images_reply(after_seconds=5)) as (
        client,
        transport,
    ):

        async def ask() -> None:
            images.append(await client.generate("a cat", cache=True))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert len({image.id for image in images}) == 1
        assert sum(image.cached for image in images) == 4
        assert len(transport.requests) == 1
        async with client.open_batch(["a dog"] * 4, cache=True) as batch:
            assert len({outcome.id async for outcome in batch}) == 1
        assert len(transport.requests) == 2


async def test_who_waits_makes_it_himself_where_the_other_fails(autojump_clock):
    replies = iter([error_reply(400, {"error": {"message": "No."}}), images_reply()])
    async with open_test_client(lambda request: next(replies)) as (client, transport):
        results: list[object] = []

        async def ask() -> None:
            try:
                results.append((await client.generate("a cat", cache=True)).cached)
            except imagen.ImagenError as error:
                results.append(error.code)

        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ask)
        assert sorted(map(str, results)) == ["API_ERROR", "False"]
        assert len(transport.requests) == 2


async def test_what_a_cancelled_caller_sent_is_waited_for_and_not_paid_again(autojump_clock):
    async with open_test_client(lambda request: images_reply(after_seconds=5)) as (
        client,
        transport,
    ):
        with trio.move_on_after(2):
            await client.generate("a cat", cache=True)
        image = await client.generate("a cat", cache=True)
        assert image.cached
        assert len(transport.requests) == 1
        assert (await client.spending()).settled_usd == PRICE


async def test_what_is_in_the_trash_or_has_no_file_is_made_again(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        image = await client.generate("a cat", cache=True)
        await client.library.trash(image)
        other = await client.generate("a cat", cache=True)
        assert other.id != image.id
        other.path.unlink(missing_ok=True)
        assert not (await client.generate("a cat", cache=True)).cached
        assert len(transport.requests) == 3


async def test_a_hit_needs_no_money_and_no_slot(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        await client.generate("a cat", cache=True)
        with imagen.fail_after_spending("0.01"):
            assert (await client.generate("a cat", cache=True)).cached


async def test_without_a_library_there_is_nothing_to_look_into(autojump_clock):
    async with open_test_client(FakeProvider(), library=None) as (client, transport):
        with pytest.raises(imagen.ConfigurationError, match="no library"):
            await client.generate("a cat", cache=True)
        assert not transport.requests


async def test_an_image_without_its_file_is_made_again_once_and_no_more(autojump_clock):
    async with open_test_client(another_each_time()) as (client, transport):
        lost = await client.generate("a cat", cache=True)
        lost.path.unlink()
        again = await client.generate("a cat", cache=True)
        assert (await client.generate("a cat", cache=True)).id == again.id
        assert len(transport.requests) == 2


async def test_a_batch_that_waits_for_what_another_makes_is_not_given_its_own_image_twice(
    autojump_clock,
):
    async with open_test_client(another_each_time(10.0, 1.0)) as (client, transport):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: client.generate("a cat", cache=True))
            await trio.sleep(0.5)
            async with client.open_batch("a cat", n=2, cache=True) as batch:
                assert len({outcome.id async for outcome in batch}) == 2
        assert len(transport.requests) == 2


async def test_images_that_others_make_meanwhile_are_not_mistaken_for_those_of_the_batch(
    autojump_clock,
):
    async with open_test_client(another_each_time(10.0)) as (client, _):
        async with trio.open_nursery() as nursery:

            async def make_some_more() -> None:
                await trio.sleep(0.5)
                for _ in range(3):
                    await client.generate("a cat")

            nursery.start_soon(make_some_more)
            async with client.open_batch("a cat", n=4, max_at_once=1, cache=True) as batch:
                outcomes = [outcome async for outcome in batch]
        assert len({outcome.id for outcome in outcomes}) == 4
        assert [outcome.cached for outcome in outcomes] == [False, True, True, True]


async def test_what_a_cancelled_caller_sent_to_a_model_to_fall_back_on_is_not_paid_again(
    autojump_clock, tmp_path
):
    town = Town(left=DOWN, right=image_reply(20))
    # Each order of a model that takes a seed has one of its own.
    models = {
        f"{name}-2": {
            "provider": name,
            "price": {"usd_per_image": "0.05"},
            "capabilities": {"seed": True},
        }
        for name in ("left", "right")
    }
    async with open_town(town, tmp_path, models=models) as client:
        with trio.move_on_after(10):
            await client.generate("a cat", model="left-2", fallback=["right-2"], cache=True)
        image = await client.generate("a cat", model="left-2", fallback=["right-2"], cache=True)
        assert image.cached
        assert town.sent("right") == 1


async def test_an_image_that_the_model_takes_needs_not_suit_those_to_fall_back_on(autojump_clock):
    toml = """
        [models.fussy]
        provider = "atelier"
        price = { usd_per_image = "0.05" }
        capabilities = { operations = ["edit"], inputs = { max_images = 1, min_side = 500 } }
    """
    async with open_atelier(Atelier(), toml=toml) as client:
        first = await client.edit("blue", png(), model="atelier-1", fallback=["fussy"], cache=True)
        again = await client.edit("blue", png(), model="atelier-1", fallback=["fussy"], cache=True)
        assert (first.model, again.id, again.cached) == ("atelier-1", first.id, True)


async def test_a_hit_needs_no_consent_to_its_cost(autojump_clock):
    asked: list[int] = []

    async def confirm(quote: imagen.Quote, images: int) -> bool:
        asked.append(images)
        return len(asked) == 1

    settings = {"confirm_above_usd": Decimal("0.01"), "confirm": confirm}
    async with open_test_client(FakeProvider(), **settings) as (client, transport):
        first = await client.generate("a cat", cache=True)
        assert (await client.generate("a cat", cache=True)).id == first.id
        with pytest.raises(imagen.BudgetExceededError):
            await client.generate("a dog", cache=True)
        assert (asked, len(transport.requests)) == ([1, 1], 1)
