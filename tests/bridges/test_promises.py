"""The promises of a batch, through both bridges: those of
`tests/client/test_batch.py`.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from tests.support.bridged_client import BRIDGES, open_bridged, run_bridged, scope_of
from tests.support.lengths import length
from tests.support.scripted_client import (
    ALL_FAULTS,
    PRICE,
    FakeProvider,
    books_balance,
    images_reply,
)

seeds = st.integers(0, 2**32)
bridges = st.sampled_from(BRIDGES)
faults = st.lists(st.sampled_from(ALL_FAULTS), max_size=6, unique=True).map(tuple)
quick = settings(max_examples=length(40, short=15), deadline=None)


@given(
    kind=bridges,
    seed=seeds,
    faults=faults,
    n=st.integers(1, 12),
    at_once=st.integers(1, 6),
    together=st.booleans(),
)
@quick
def test_every_request_has_exactly_one_outcome_and_the_books_balance(
    kind, seed, faults, n, at_once, together
):
    async def main():
        provider = FakeProvider(seed, faults=faults)
        async with open_bridged(kind, provider) as (client, transport):
            async with client.open_batch(
                "a cat", n=n, max_at_once=at_once, together=together
            ) as batch:
                outcomes = [outcome async for outcome in batch]
                status = batch.status()
            assert sorted(outcome.index for outcome in outcomes) == list(range(n))
            assert status.succeeded + status.failed == n
            assert transport.most_at_once <= at_once
            books_balance(await client.spending(), provider)
            for outcome in outcomes:
                if isinstance(outcome, imagen.Image):
                    assert outcome.path.read_bytes() == outcome.data
                    assert await client.library.get(outcome.id) == outcome

    run_bridged(main)


@given(
    kind=bridges,
    seed=seeds,
    faults=faults,
    at_once=st.integers(1, 5),
    take=st.integers(0, 6),
)
@quick
def test_leaving_early_salvages_what_was_sent(kind, seed, faults, at_once, take):
    async def main():
        provider = FakeProvider(seed, faults=faults, max_seconds=3.0)
        delivered: set[str] = set()
        async with open_bridged(kind, provider) as (client, transport):
            async with client.open_batch("a cat", n=8, max_at_once=at_once) as batch:
                async for outcome in batch:
                    if isinstance(outcome, imagen.Image):
                        delivered.add(outcome.id)
                    if len(delivered) >= take:
                        break
            while client.in_flight:
                await asyncio.sleep(0.001)
            assert transport.open_replies == 0
            spending = await client.spending()
            books_balance(spending, provider)
            kept = await client.library.list(limit=100)
            assert delivered <= {image.id for image in kept}
            assert len(kept) * PRICE <= spending.settled_usd

    run_bridged(main)


@given(
    kind=bridges,
    seed=seeds,
    faults=faults,
    at_once=st.integers(1, 8),
    cents=st.integers(0, 60),
)
@quick
def test_a_budget_is_never_passed_and_refuses_without_cancelling(
    kind, seed, faults, at_once, cents
):
    limit = Decimal(cents) / 100

    async def main():
        provider = FakeProvider(seed, faults=faults)
        budget = imagen.Budget(limit)
        async with open_bridged(kind, provider) as (client, _):
            images = 0
            async with client.open_batch(
                "a cat", n=10, max_at_once=at_once, budget=budget
            ) as batch:
                async for outcome in batch:
                    assert provider.billed_usd <= limit
                    images += isinstance(outcome, imagen.Image)
                assert budget.reserved_usd == 0
                assert batch.status().succeeded + batch.status().failed == 10
            books_balance(await client.spending(), provider)
            if not faults:
                assert images == min(10, limit // PRICE)

    run_bridged(main)


@given(
    kind=bridges,
    seed=seeds,
    at_once=st.integers(1, 8),
    cents=st.integers(0, 60),
    inner_cents=st.integers(0, 60),
)
@quick
def test_nested_money_scopes_stop_at_the_tightest(kind, seed, at_once, cents, inner_cents):
    async def main():
        provider = FakeProvider(seed)
        got = []
        async with open_bridged(kind, provider) as (client, _):
            with scope_of(kind, Decimal(cents) / 100) as outer:
                with scope_of(kind, Decimal(inner_cents) / 100) as inner:
                    async with client.open_batch("a cat", n=50, max_at_once=at_once) as batch:
                        async for outcome in batch:
                            got.append(outcome)
            assert len(got) == min(cents, inner_cents) // 4
            assert inner.cancelled_caught or outer.cancelled_caught
            assert provider.billed_usd == len(got) * PRICE == inner.spent_usd == outer.spent_usd
            books_balance(await client.spending(), provider)
        if kind == "aio":
            assert not asyncio.current_task().cancelling()

    run_bridged(main)


@given(
    seed=seeds,
    faults=faults,
    n=st.integers(2, 8),
    pauses=st.lists(st.floats(0, 0.003), min_size=8, max_size=8),
)
@quick
def test_a_pull_that_is_cancelled_loses_nothing(seed, faults, n, pauses):
    async def main():
        provider = FakeProvider(seed, faults=faults)
        async with open_bridged("aio", provider) as (client, _):
            indexes = []
            async with client.open_batch("a cat", n=n, max_at_once=3) as batch:
                for seconds in itertools.cycle([*pauses, 0.5]):
                    try:
                        async with asyncio.timeout(seconds):
                            indexes.append((await anext(batch)).index)
                    except TimeoutError:
                        continue
                    except StopAsyncIteration:
                        break
            assert sorted(indexes) == list(range(n))

    run_bridged(main)


@given(seed=seeds, seconds=st.floats(0, 0.05))
@quick
def test_a_task_is_cancelled_at_any_moment_and_the_books_balance(seed, seconds):
    async def main(home):
        provider = FakeProvider(seed, faults=("refusal",))
        delivered = []

        async def read():
            async with open_bridged("aio", provider, home=home) as (client, _):
                async with client.open_batch("a cat", n=6, max_at_once=3) as batch:
                    async for outcome in batch:
                        delivered.append(outcome.index)

        task = asyncio.create_task(read())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.wait((task,))
        assert len(delivered) == len(set(delivered))
        async with open_bridged("aio", provider, home=home) as (client, _):
            books_balance(await client.spending(), provider)

    with tempfile.TemporaryDirectory() as folder:
        run_bridged(lambda: main(Path(folder)))


@pytest.mark.parametrize("kind", BRIDGES)
def test_a_slow_reader_slows_the_spending(kind):
    async def main():
        async with open_bridged(kind, FakeProvider()) as (client, transport):
            async with client.open_batch("a cat", n=50, max_at_once=3) as batch:
                for taken in range(1, 6):
                    await anext(batch)
                    await asyncio.sleep(0.02)
                    assert len(transport.requests) <= taken + 3

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_an_endless_source_streams_through_no_faster_than_it_is_read(kind):
    read = 0

    def requests():
        nonlocal read
        for number in itertools.count():
            read += 1
            yield imagen.Generate(prompt=f"image {number}")

    async def main():
        async with open_bridged(kind, FakeProvider()) as (client, _):
            async with client.open_batch(requests(), max_at_once=2) as batch:
                prompts = {(await anext(batch)).prompt for _ in range(20)}
            assert len(prompts) == 20
            assert read <= 20 + 2 + 1

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_an_error_of_the_source_comes_out_bare(kind):
    def requests():
        yield "one"
        yield "two"
        raise LookupError("the list ends here")

    async def main():
        outcomes = []
        async with open_bridged(kind, lambda request: images_reply()) as (client, _):
            with pytest.raises(LookupError, match="the list ends here"):
                async with client.open_batch(requests()) as batch:
                    async for outcome in batch:
                        outcomes.append(outcome)
        assert len(outcomes) == 2

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_the_callers_own_exception_leaves_both_blocks_bare(kind):
    async def main():
        async with (
            open_bridged(kind, FakeProvider()) as (client, _),
            client.open_batch("a cat", n=4) as batch,
        ):
            async for _ in batch:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_errors_keep_their_type(kind):
    async def main():
        async with open_bridged(kind, FakeProvider()) as (client, _):
            with pytest.raises(imagen.ModelNotFoundError):
                await client.generate("a cat", model="no-such-model")
            with pytest.raises(imagen.InvalidRequestError):
                async with client.open_batch("a cat", n=0):
                    pass

    run_bridged(main)
