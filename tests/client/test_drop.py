"""One request of a batch is dropped; the others go on."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from tests.client.test_batch import faults, run_virtually, seeds
from tests.support.scripted_client import (
    PRICE,
    FakeProvider,
    books_balance,
    images_reply,
    open_test_client,
)


@given(
    seed=seeds,
    faults=faults,
    at_once=st.integers(1, 5),
    drops=st.lists(st.tuples(st.floats(0, 4), st.integers(-1, 9)), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_every_request_has_one_outcome_whatever_is_dropped(seed, faults, at_once, drops):
    async def main():
        provider = FakeProvider(seed, faults=faults)
        async with open_test_client(provider) as (client, _), trio.open_nursery() as nursery:
            dropped, outcomes = set(), []
            async with client.open_batch("a cat", n=8, max_at_once=at_once) as batch:

                async def drop(seconds, index):
                    await trio.sleep(seconds)
                    if batch.drop(index):
                        dropped.add(index)

                for seconds, index in drops:
                    nursery.start_soon(drop, seconds, index)
                async for outcome in batch:
                    outcomes.append(outcome)
            assert sorted(outcome.index for outcome in outcomes) == list(range(8))
            failed = {
                outcome.index
                for outcome in outcomes
                if isinstance(outcome, imagen.Failure) and outcome.error.code == "DROPPED"
            }
            assert failed <= dropped
            while client.in_flight:
                await trio.sleep(0.1)
            books_balance(await client.spending(), provider)

    run_virtually(main)


async def test_what_waits_is_never_sent(autojump_clock):
    async with open_test_client(lambda request: images_reply(after_seconds=5)) as (
        client,
        transport,
    ):
        async with client.open_batch("a cat", n=3, max_at_once=1) as batch:
            assert batch.drop(1)
            outcomes = {outcome.index: outcome async for outcome in batch}
        assert len(transport.requests) == 2
        error = outcomes[1].error
        assert (error.code, error.billed) == ("DROPPED", "no")
        assert outcomes[1].cost.usd == 0
        assert "before it was sent" in str(error)


async def test_what_was_sent_is_salvaged(autojump_clock):
    async with open_test_client(lambda request: images_reply(after_seconds=5)) as (
        client,
        _,
    ):
        async with (
            client.open_batch("a cat", n=2, max_at_once=2) as batch,
            trio.open_nursery() as nursery,
        ):

            async def drop():
                await trio.sleep(1)
                assert batch.drop(0)

            nursery.start_soon(drop)
            first = await anext(batch)
            assert trio.current_time() == 1
            assert (first.index, first.error.code, first.error.billed) == (0, "DROPPED", "unknown")
            assert first.cost.usd is None
            second = await anext(batch)
            assert isinstance(second, imagen.Image)
            assert not batch.drop(1)
        while client.in_flight:
            await trio.sleep(0.1)
        assert len(await client.library.list()) == 2
        assert (await client.spending()).settled_usd == 2 * PRICE


async def test_the_slot_of_a_dropped_request_goes_to_the_next(autojump_clock):
    seconds = iter([100.0, 1.0])
    async with open_test_client(lambda request: images_reply(after_seconds=next(seconds))) as (
        client,
        _,
    ):
        async with client.open_batch("a cat", n=2, max_at_once=1) as batch:
            with trio.move_on_after(1):
                await anext(batch)
            assert batch.drop(0)
            assert [outcome.index async for outcome in batch] == [0, 1]
            assert trio.current_time() == 2


@pytest.mark.parametrize("index", [-1, 3, 100])
async def test_there_is_nothing_to_drop(index, autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch("a cat", n=3) as batch:
            _ = [outcome async for outcome in batch]
            assert not batch.drop(index)
            assert not batch.drop(0)


async def test_requests_that_go_together_are_not_dropped_alone(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch("a cat", n=3, together=True) as batch:
            with trio.move_on_after(0.001):
                await anext(batch)
            assert not batch.drop(1)
            assert len([outcome async for outcome in batch]) == 3
