"""The life of a background batch: the pure machine, and the running thing,
driven by Hypothesis alike.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._client.session_state import TERMINAL, SessionProgress, advance
from tests.support.scripted_client import ALL_FAULTS, FakeProvider, books_balance, open_test_client

pytestmark = pytest.mark.usefixtures("engine")

ARROWS = {
    "CREATED": {"GENERATING", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"},
    "GENERATING": {"PARTIAL", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"},
    "PARTIAL": {"GENERATING", "COMPLETED", "FAILED", "CANCELLED", "EXPIRED"},
    "COMPLETED": {"EXPIRED"},
    "FAILED": {"EXPIRED"},
    "CANCELLED": {"EXPIRED"},
    "EXPIRED": set(),
}
EVENTS = ("started", "image", "failure", "pulled", "ended", "broke", "cancelled", "expired")


@given(
    st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 9)), max_size=40), st.integers(1, 8)
)
def test_the_state_moves_only_along_the_arrows(events, requested):
    progress = SessionProgress(requested=requested)
    for event, pulled in events:
        after = advance(progress, event, pulled=pulled)
        assert after.state == progress.state or after.state in ARROWS[progress.state]
        assert after.outcomes >= progress.outcomes
        assert progress.pulled <= after.pulled <= after.outcomes
        if after.state == "PARTIAL":
            assert after.outcomes > after.pulled
        if after.state == "GENERATING":
            assert after.outcomes == after.pulled
        if progress.state in TERMINAL:
            assert after.outcomes == progress.outcomes
        progress = after


actions = st.lists(
    st.one_of(
        st.tuples(st.just("pull"), st.floats(0, 2)),
        st.tuples(st.just("repeat"), st.floats(0, 2)),
        st.tuples(st.just("wait"), st.floats(0, 5)),
        st.tuples(st.just("cancel"), st.just(0.0)),
    ),
    max_size=12,
)


@pytest.mark.long_on_postgresql
@given(
    seed=st.integers(0, 2**32),
    faults=st.lists(st.sampled_from(ALL_FAULTS), max_size=4, unique=True),
    actions=actions,
)
@settings(max_examples=60, deadline=None)
def test_pulls_by_cursor_lose_nothing_whatever_happens_between(seed, faults, actions):
    async def main():
        provider = FakeProvider(seed, faults=tuple(faults))
        async with open_test_client(provider) as (client, _):
            session = client.start_session("a cat", n=6, max_at_once=2)
            cursor: int | None = None
            got: list[int] = []
            states = [session.state]
            for action, seconds in actions:
                if action == "cancel":
                    session.cancel()
                elif action == "wait":
                    await trio.sleep(seconds)
                else:
                    with trio.move_on_after(seconds):
                        pulled = await session.wait_image(cursor)
                        if pulled is not None and action == "pull":
                            got.append(pulled[0])
                            cursor = pulled[0]
                states.append(session.state)
            while (pulled := await session.wait_image(cursor)) is not None:
                got.append(pulled[0])
                cursor = pulled[0]
            await session.wait_finished()
            states.append(session.state)
            assert got == [number for number, _ in session.images]
            assert len(session.images) + len(session.failures) == len(session.outcomes) <= 6
            if session.state != "CANCELLED":
                assert len(session.outcomes) == 6
                assert session.state == ("COMPLETED" if got else "FAILED")
            while client.in_flight:
                await trio.sleep(0.1)
            books_balance(await client.spending(), provider)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_limit_counts_running_sessions_only(autojump_clock):
    async with open_test_client(FakeProvider(), max_concurrent_sessions=2) as (client, _):
        first, _ = client.start_session("one"), client.start_session("two")
        with pytest.raises(imagen.SessionError, match="IMAGEN_MAX_CONCURRENT_SESSIONS"):
            client.start_session("three")
        await first.wait_finished()
        client.start_session("three")


async def test_an_unused_session_expires(autojump_clock):
    async with open_test_client(FakeProvider(), session_ttl_seconds=100.0) as (client, _):
        session = client.start_session("a cat")
        await session.wait_finished()
        await trio.sleep(90)
        assert await client.sessions.get(session.id) is session
        await trio.sleep(90)
        assert await client.sessions.get(session.id) is session
        await trio.sleep(110)
        with pytest.raises(imagen.SessionExpiredError, match="imagen history"):
            await client.sessions.get(session.id)
        assert session.state == "EXPIRED"
        assert len(client.sessions) == 0
        assert len(await client.library.list()) == 1


async def test_an_unknown_session_is_not_an_expired_one(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        with pytest.raises(imagen.SessionNotFoundError):
            await client.sessions.get("0123456789abcdef")


async def test_a_request_that_cannot_be_sent_starts_no_session(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        with pytest.raises(imagen.InvalidRequestError):
            client.start_session("")
        assert len(client.sessions) == 0


async def test_a_count_out_of_range_starts_no_session(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        with pytest.raises(imagen.InvalidRequestError, match="n must be"):
            client.start_session("a cat", n=0)


async def test_a_session_is_not_bound_by_the_scope_that_it_was_started_in(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        with imagen.move_on_after_spending("0.05") as scope:
            session = client.start_session("a cat", n=5)
            await session.wait_finished()
        assert not scope.cancelled_caught
        assert len(session.images) == 5
        budgeted = client.start_session("a cat", n=5, budget=imagen.Budget("0.10"))
        await budgeted.wait_finished()
        assert len(budgeted.images) == 2
        assert {failure.error.code for _, failure in budgeted.failures} == {"BUDGET"}


async def test_two_readers_of_one_session_get_the_same(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        session = client.start_session("a cat", n=5)
        readings: list[list[int]] = [[], []]

        async def read(numbers: list[int]) -> None:
            while (
                pulled := await session.wait_image(numbers[-1] if numbers else None)
            ) is not None:
                numbers.append(pulled[0])

        async with trio.open_nursery() as nursery:
            for numbers in readings:
                nursery.start_soon(read, numbers)
        assert readings == [[0, 1, 2, 3, 4]] * 2


async def test_sessions_end_with_the_client_and_what_is_paid_is_kept(autojump_clock, tmp_path):
    provider = FakeProvider(max_seconds=10)
    async with open_test_client(provider, home=tmp_path) as (client, _):
        session = client.start_session("a cat", n=50, max_at_once=4)
        await session.wait_image()
    assert session.state == "CANCELLED"
    async with open_test_client(provider, home=tmp_path) as (client, _):
        books_balance(await client.spending(), provider)
        assert len(await client.library.list(limit=100)) == provider.arrived
