"""The promises of a batch, under any faults, any slowness and any budget."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from tests.support.scripted_client import (
    ALL_FAULTS,
    PRICE,
    FakeProvider,
    books_balance,
    images_reply,
    open_test_client,
)

seeds = st.integers(0, 2**32)
faults = st.lists(st.sampled_from(ALL_FAULTS), max_size=6, unique=True).map(tuple)
quick = settings(max_examples=60, deadline=None)


def run_virtually(main, *args):
    return trio.run(main, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@given(
    seed=seeds,
    faults=faults,
    n=st.integers(1, 12),
    at_once=st.integers(1, 6),
    together=st.booleans(),
)
@quick
def test_every_request_has_exactly_one_outcome_and_the_books_balance(
    seed, faults, n, at_once, together
):
    async def main():
        provider = FakeProvider(seed, faults=faults)
        async with open_test_client(provider) as (client, transport):
            outcomes = []
            async with client.open_batch(
                "a cat", n=n, max_at_once=at_once, together=together
            ) as batch:
                async for outcome in batch:
                    outcomes.append(outcome)
                    await trio.sleep(seed % 3)
            assert sorted(outcome.index for outcome in outcomes) == list(range(n))
            assert transport.most_at_once <= at_once
            books_balance(await client.spending(), provider)
            for outcome in outcomes:
                if isinstance(outcome, imagen.Image):
                    assert outcome.path.read_bytes() == outcome.data
                    assert await client.library.get(outcome.id) == outcome

    run_virtually(main)


@given(
    seed=seeds,
    faults=faults,
    at_once=st.integers(1, 5),
    take=st.integers(0, 6),
    patience=st.floats(0, 4),
)
@quick
def test_leaving_early_salvages_what_was_sent_and_leaves_nothing_running(
    seed, faults, at_once, take, patience
):
    async def main():
        provider = FakeProvider(seed, faults=faults, max_seconds=3.0)
        delivered: set[str] = set()
        async with open_test_client(provider) as (client, transport):
            with trio.move_on_after(patience):
                async with client.open_batch("a cat", n=8, max_at_once=at_once) as batch:
                    async for outcome in batch:
                        if isinstance(outcome, imagen.Image):
                            delivered.add(outcome.id)
                        if len(delivered) >= take:
                            break
            left_at = trio.current_time()
            assert client.in_flight <= at_once
            while client.in_flight:
                await trio.sleep(0.1)
            assert trio.current_time() - left_at <= client.settings.salvage_seconds + 1
            assert transport.open_replies == 0
            spending = await client.spending()
            books_balance(spending, provider)
            kept = await client.library.list(limit=100)
            assert delivered <= {image.id for image in kept}
            # An image that is none is billed, and is no image in the library.
            assert len(kept) * PRICE <= spending.settled_usd

    run_virtually(main)


@given(
    seed=seeds,
    faults=faults,
    at_once=st.integers(1, 8),
    cents=st.integers(0, 60),
    slow=st.booleans(),
)
@quick
def test_a_budget_is_never_passed_and_refuses_without_cancelling(
    seed, faults, at_once, cents, slow
):
    limit = Decimal(cents) / 100

    async def main():
        provider = FakeProvider(seed, faults=faults)
        budget = imagen.Budget(limit)
        async with open_test_client(provider) as (client, _):
            refused = images = 0
            async with client.open_batch(
                "a cat", n=10, max_at_once=at_once, budget=budget
            ) as batch:
                async for outcome in batch:
                    assert budget.spent_usd + budget.reserved_usd <= limit
                    assert provider.billed_usd <= limit
                    await trio.sleep(1.0 if slow else 0.0)
                    if isinstance(outcome, imagen.Image):
                        images += 1
                    else:
                        refused += outcome.error.code == "BUDGET"
            assert budget.reserved_usd == 0
            assert batch.status().succeeded + batch.status().failed == 10
            books_balance(await client.spending(), provider)
            if not faults:
                assert images == min(10, limit // PRICE)
                assert refused == 10 - images

    run_virtually(main)


@given(
    seed=seeds, at_once=st.integers(1, 8), cents=st.integers(0, 60), inner_cents=st.integers(0, 60)
)
@quick
def test_nested_money_scopes_stop_at_the_tightest_and_never_cut_the_callers_work(
    seed, at_once, cents, inner_cents
):
    async def main():
        provider = FakeProvider(seed)
        got: list[imagen.Image] = []
        worked: list[imagen.Image] = []
        async with open_test_client(provider) as (client, _):
            with imagen.move_on_after_spending(Decimal(cents) / 100) as outer:
                with imagen.move_on_after_spending(Decimal(inner_cents) / 100) as inner:
                    async with client.open_batch("a cat", n=50, max_at_once=at_once) as batch:
                        async for outcome in batch:
                            got.append(outcome)
                            await trio.sleep(seed % 3)
                            worked.append(outcome)
            tightest = min(cents, inner_cents)
            assert got == worked
            assert len(got) == tightest // 4
            assert inner.cancelled_caught or outer.cancelled_caught
            assert provider.billed_usd == len(got) * PRICE == inner.spent_usd == outer.spent_usd
            books_balance(await client.spending(), provider)

    run_virtually(main)


@given(
    seed=seeds,
    faults=faults,
    n=st.integers(2, 8),
    pause=st.lists(st.floats(0, 3), min_size=8, max_size=8),
)
@quick
def test_a_pull_that_is_cancelled_loses_nothing(seed, faults, n, pause):
    async def main():
        provider = FakeProvider(seed, faults=faults)
        async with open_test_client(provider) as (client, _):
            indexes = []
            async with client.open_batch("a cat", n=n, max_at_once=3) as batch:
                for seconds in itertools.cycle([*pause, 1.0]):
                    with trio.move_on_after(seconds):
                        try:
                            indexes.append((await anext(batch)).index)
                        except StopAsyncIteration:
                            break
            assert sorted(indexes) == list(range(n))

    run_virtually(main)


async def test_outcomes_come_in_order_of_completion(autojump_clock):
    seconds = iter([3.0, 1.0, 2.0])
    async with open_test_client(lambda request: images_reply(after_seconds=next(seconds))) as (
        client,
        _,
    ):
        came = []
        async with client.open_batch("a cat", n=3) as batch:
            async for outcome in batch:
                came.append(trio.current_time())
                assert outcome.seconds == came[-1]
    assert came == [1.0, 2.0, 3.0]


async def test_opening_spends_nothing_until_the_first_outcome_is_asked_for(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        async with client.open_batch("a cat", n=3):
            await trio.sleep(100)
        assert not transport.requests


async def test_a_slow_reader_slows_the_spending(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        async with client.open_batch("a cat", n=50, max_at_once=3) as batch:
            for taken in range(1, 6):
                await anext(batch)
                await trio.sleep(60)
                assert len(transport.requests) <= taken + 3


async def test_an_endless_source_of_requests_streams_through(autojump_clock):
    closed = False
    read = 0

    async def requests() -> AsyncIterator[imagen.Request]:
        nonlocal closed, read
        try:
            for number in itertools.count():
                read += 1
                yield imagen.Generate(prompt=f"image {number}")
        finally:
            closed = True

    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch(requests(), max_at_once=2) as batch:
            prompts = {(await anext(batch)).prompt for _ in range(20)}
        assert closed
        assert len(prompts) == 20
        assert read <= 20 + 2 + 1


async def test_an_error_of_the_source_comes_out_bare_after_what_is_in_flight(autojump_clock):
    def requests():
        yield imagen.Generate(prompt="one")
        yield imagen.Generate(prompt="two")
        raise LookupError("the list ends here")

    async with open_test_client(FakeProvider()) as (client, _):
        outcomes = []
        with pytest.raises(LookupError, match="the list ends here"):
            async with client.open_batch(requests()) as batch:
                async for outcome in batch:
                    outcomes.append(outcome)
        assert len(outcomes) == 2


async def test_the_callers_own_exception_leaves_both_blocks_bare(autojump_clock):
    with pytest.raises(ZeroDivisionError):
        async with (
            open_test_client(FakeProvider()) as (client, _),
            client.open_batch("a cat", n=4) as batch,
        ):
            async for _ in batch:
                raise ZeroDivisionError


async def test_a_request_that_cannot_be_sent_is_a_failure_among_the_others(autojump_clock):
    requests = [
        imagen.Generate(prompt="fine"),
        imagen.Generate(prompt=""),
        imagen.Generate(prompt="fine", model="no-such-model"),
        imagen.Generate(prompt="fine", size="0x1"),
    ]
    async with open_test_client(FakeProvider()) as (client, transport):
        async with client.open_batch(requests) as batch:
            codes = {
                o.index: o.error.code if isinstance(o, imagen.Failure) else "" async for o in batch
            }
        assert codes == {0: "", 1: "INVALID_PROMPT", 2: "MODEL_NOT_FOUND", 3: "INVALID_REQUEST"}
        assert len(transport.requests) == 1


async def test_prompts_are_requests_too(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch(["a cat", imagen.Generate(prompt="a dog")]) as batch:
            prompts = {outcome.prompt async for outcome in batch}
        assert prompts == {"a cat", "a dog"}
        assert client.quote(["a cat", "a dog"]).high_usd == 2 * PRICE


async def test_what_is_no_request_is_refused_after_those_before_it(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        outcomes = []
        with pytest.raises(imagen.InvalidRequestError, match="not int"):
            async with client.open_batch(["a cat", 7]) as batch:
                async for outcome in batch:
                    outcomes.append(outcome)
        assert len(outcomes) == 1


async def test_together_asks_for_as_many_as_the_model_takes(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        async with client.open_batch("a cat", n=23, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == list(range(23))
        assert sorted(msg_n(request) for request in transport.requests) == [3, 10, 10]


async def test_bytes_that_are_no_image_are_paid_for_and_kept(autojump_clock):
    async with open_test_client(lambda request: images_reply(data=b"<html/>")) as (client, _):
        with pytest.raises(
            imagen.ProviderError, match="not an image: expected PNG, JPEG, WebP, GIF or SVG"
        ) as caught:
            await client.generate("a cat")
        assert caught.value.billed == "yes"
        (kept,) = (client.library.folder.parent / "set-aside").glob("*/image-*.bin")
        assert kept.read_bytes() == b"<html/>"
        assert str(kept) in str(caught.value)
        assert (await client.spending()).settled_usd == PRICE


async def test_fewer_images_than_asked_for_are_failures_that_cost_nothing(autojump_clock):
    async with open_test_client(lambda request: images_reply(1)) as (client, _):
        async with client.open_batch("a cat", n=2, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image, imagen.Failure]
        assert (await client.spending()).settled_usd == PRICE


async def test_without_a_library_the_bytes_are_in_memory(autojump_clock, tmp_path):
    async with open_test_client(FakeProvider(), library=None, home=tmp_path) as (client, _):
        image = await client.generate("a cat")
        assert image.path is None
        assert image.data.startswith(b"\x89PNG")
        with pytest.raises(imagen.ConfigurationError, match="without a library"):
            _ = client.library
    assert not (tmp_path / "images").exists()


async def test_fail_after_spending_raises_at_the_end_of_its_block(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        got = 0
        with (
            pytest.raises(imagen.BudgetExceededError, match=r"0\.10"),
            imagen.fail_after_spending("0.10"),
        ):
            async with client.open_batch("a cat", n=9) as batch:
                async for _ in batch:
                    got += 1
        assert got == 2


async def test_a_single_image_beyond_the_scope_ends_the_scope(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        with imagen.move_on_after_spending("0.05") as scope:
            await client.generate("one")
            await client.generate("two")
            raise AssertionError("not reached")
        assert scope.cancelled_caught
        assert scope.spent_usd == PRICE
        assert len(transport.requests) == 1


@pytest.mark.parametrize(("field", "value"), [("n", 0), ("max_at_once", 0)])
async def test_counts_out_of_range_are_refused(autojump_clock, field, value):
    async with open_test_client(FakeProvider()) as (client, _):
        with pytest.raises(imagen.InvalidRequestError, match=field):
            async with client.open_batch("a cat", **{field: value}):
                pass


def msg_n(request: imagen.providers.HttpRequest) -> int:
    import msgspec

    return msgspec.json.decode(request.body)["n"]
