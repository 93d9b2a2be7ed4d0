"""Traces, metrics and the ledger agree after whatever comes."""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.testing import ScriptedReply
from tests.support.lengths import length
from tests.support.scripted_client import ALL_FAULTS, FakeProvider, open_test_client
from tests.support.telemetry import Watch
from tests.support.three_providers import BROKEN, BUSY, DOWN, Town, image_reply, open_town


async def one_run(
    client: imagen.Client, chance: random.Random, requests: int, deadline: float
) -> None:
    budget = imagen.Budget("1.50") if chance.random() < 0.3 else None
    with trio.move_on_after(deadline), suppress(imagen.ImagenError):
        async with client.open_batch(
            [f"p{number % 5}" for number in range(requests)],
            max_at_once=chance.randint(1, 12),
            budget=budget,
            cache=chance.random() < 0.3,
        ) as batch:
            async for _ in batch:
                if chance.random() < 0.01:
                    return


def run_in_new_home(check: Callable[[Path, int], Awaitable[None]], seed: int) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    with tempfile.TemporaryDirectory() as home:
        trio.run(check, Path(home), seed, clock=clock)


@given(st.integers(0, 2**32))
@settings(max_examples=length(40, short=6), deadline=None)
def test_all_agree_after_faults_cancellations_and_restarts(seed):
    run_in_new_home(check_run, seed)


async def check_run(home: Path, seed: int) -> None:
    chance, watch = random.Random(seed), Watch()
    provider = FakeProvider(seed, faults=ALL_FAULTS)
    for _ in range(3):
        async with open_test_client(provider, home=home, on_event=watch.handlers) as (client, _):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(one_run, client, chance, 6, chance.uniform(1, 200))
            session = client.start_session("x", n=3)
            if chance.random() < 0.5:
                await session.wait_finished()
    async with open_test_client(provider, home=home, on_event=watch.handlers) as (client, _):
        watch.check_agrees(spending := await client.spending())
    sent = int(watch.scraped("imagen_sent_total"))
    assert len(watch.spans) == sent == watch.scraped("imagen_attempt_seconds_count")
    watch.check_at_rest()
    assert len({span.attributes["imagen.attempt.id"] for span in watch.spans}) == sent
    assert spending.attempts.in_flight == 0


async def test_what_a_dead_process_left_counts_once(autojump_clock, tmp_path: Path):
    watch = Watch()
    async with open_test_client(FakeProvider(), home=tmp_path, on_event=watch.handlers) as (
        client,
        _,
    ):
        await client.generate("a")
        database = client._services.runtime.database
        for state, number in (("reserved", 1), ("sent", 2)):
            await database.write(
                [
                    (
                        "INSERT INTO attempts (id, provider, model, operation, images, request,"
                        " state, owner, created_at, sent_at) SELECT ?, provider, model, operation,"
                        " images, request, ?, 'gone', created_at, NULL FROM attempts LIMIT 1",
                        (f"{number:016x}", state),
                    )
                ]
            )
    async with open_test_client(FakeProvider(), home=tmp_path, on_event=watch.handlers) as (
        client,
        _,
    ):
        spending = await client.spending()
        assert (spending.attempts.failed, spending.attempts.unknown) == (1, 1)
        watch.check_agrees(spending)


async def test_each_span_is_below_its_own_caller(autojump_clock, watch):
    tracer = watch.tracers.get_tracer("caller")

    async def call(client: imagen.Client, name: str) -> None:
        with tracer.start_as_current_span(name):
            async with client.open_batch(name, n=5, max_at_once=3) as batch:
                async for _ in batch:
                    await trio.sleep(0.1)

    async with open_test_client(
        FakeProvider(faults=("down",)), on_event=watch.handlers, library=None
    ) as (client, _):
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(call, client, f"caller {number}")
    callers = {span.context.span_id: span.name for span in watch.spans if span.parent is None}
    attempts = [span for span in watch.spans if span.parent is not None]
    assert len(callers) == 40
    assert len(attempts) >= 200
    batches: dict[object, set[str]] = {}
    for span in attempts:
        caller = callers[span.parent.span_id]
        batches.setdefault(span.attributes["imagen.batch.id"], set()).add(caller)
    assert len(batches) == 40
    assert all(len(names) == 1 for names in batches.values())


@given(st.integers(0, 2**32))
@settings(max_examples=length(25, short=4), deadline=None)
def test_all_agree_with_fallbacks_and_hedges(seed):
    run_in_new_home(check_ways, seed)


async def check_ways(home: Path, seed: int) -> None:
    """Run 90 requests by three clients, one after the other, of which the first
    two are left amid their work.
    """
    chance, watch = random.Random(seed), Watch()

    def answer(number: int) -> ScriptedReply:
        after = chance.uniform(0.5, 30)
        return chance.choice([image_reply(after), image_reply(after), DOWN, BUSY, BROKEN])

    async def call(client: imagen.Client) -> None:
        with trio.move_on_after(chance.uniform(1, 200)), suppress(imagen.ImagenError):
            await client.generate(
                "x",
                fallback=["right-1", "third-1"],
                hedge_after_seconds=chance.choice([1.0, 5.0]),
            )

    town = Town(left=answer, right=answer, third=answer)
    routes = imagen.RoutingPolicy(fallback_on=("outage", "rate_limit", "outcome_unknown"))
    for is_last in (False, False, True):
        async with open_town(town, home, events=watch, routes=routes) as client:
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(call, client)
                    await trio.sleep(chance.uniform(0, 3))
                if not is_last:
                    nursery.cancel_scope.cancel()
            if is_last:
                while client.in_flight:
                    await trio.sleep(1)
                watch.check_agrees(await client.spending())
    watch.check_at_rest()
    assert sum(watch.by("imagen_sent_total", "why").values()) == len(watch.spans)


async def test_each_way_is_counted(autojump_clock, tmp_path):
    watch = Watch()
    town = Town(left=DOWN, right=image_reply(after_seconds=25), third=image_reply())
    async with open_town(town, tmp_path, events=watch) as client:
        await client.generate("x", fallback=["right-1", "third-1"], hedge_after_seconds=10)
    ways = watch.by("imagen_sent_total", "why")
    assert ways == {"first": 1, "fallback": 1, "hedge": 1}


def test_spans_are_below_their_callers_on_asyncio_too(tmp_path, watch, monkeypatch):
    monkeypatch.setenv("IMAGEN_HOME", str(tmp_path))
    tracer = watch.tracers.get_tracer("caller")
    heard: list[int] = []

    async def call(client: imagen.aio.Client, name: str) -> None:
        with tracer.start_as_current_span(name):
            await client.generate(name, model="sketch", size="16x16")

    async def main() -> None:
        handlers = (*watch.handlers, lambda event: heard.append(threading.get_ident()))
        async with imagen.aio.open_client(on_event=handlers) as client:
            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(call(client, f"caller {number}"))

    asyncio.run(main())
    callers = {span.context.span_id: span.name for span in watch.spans if span.parent is None}
    attempts = [span for span in watch.spans if span.parent is not None]
    assert len(attempts) == len({callers[span.parent.span_id] for span in attempts}) == 40
    assert set(heard) == {threading.get_ident()}
    assert watch.by("imagen_attempts_total", "state") == {"succeeded": 40}


def test_the_blocking_client_has_several_subscribers_too(tmp_path, watch, monkeypatch):
    monkeypatch.setenv("IMAGEN_HOME", str(tmp_path))
    heard: list[imagen.Event] = []
    tracer = watch.tracers.get_tracer("caller")
    with imagen.blocking.open_client(on_event=(watch.otel, heard.append)) as client:
        with tracer.start_as_current_span("caller"):
            client.generate("a fox", model="sketch", size="16x16")
    attempt, caller = watch.spans
    assert attempt.parent.span_id == caller.context.span_id
    assert type(heard[-1]) is imagen.AttemptEnded
