"""Sessions that several ask for at once, and what a restart makes of them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio

import imagen
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG
from tests.support.job_provider import PRICE, Works
from tests.support.scripted_client import FakeProvider, open_test_client, virtual_time
from tests.support.three_providers import DOWN, Town, image_reply, open_town


async def interrupted(
    works: Works, home: Path, n: int = 6, *, made: int = 2, **options: object
) -> str:
    """A session whose process ended in the middle."""
    async with works.open(home, salvage_seconds=100.0) as client:
        session = client.start_session("x", n=n, max_at_once=1, model="sync-1", **options)
        while len(session.images) < made:
            await trio.sleep(0.1)
    return session.id


async def test_two_tasks_that_resume_a_session_pay_once(autojump_clock, tmp_path):
    works = Works()
    session_id = await interrupted(works, tmp_path)
    sessions: list[imagen.Session] = []
    async with works.open(tmp_path) as client:

        async def resume() -> None:
            sessions.append(await client.resume_session(session_id))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(resume)
        assert len(set(map(id, sessions))) == 1
        await sessions[0].wait_finished()
        assert sorted(outcome.index for outcome in sessions[0].outcomes) == list(range(6))
    assert works.orders == 6


@pytest.mark.parametrize("delay", [None, *range(12)])
async def test_a_session_that_is_just_being_looked_up_is_resumed_all_the_same(
    delay, autojump_clock, tmp_path
):
    works = Works()
    session_id = await interrupted(works, tmp_path)
    async with works.open(tmp_path) as client, trio.open_nursery() as nursery:
        if delay is None:
            await client.sessions.get(session_id)
        else:
            nursery.start_soon(client.sessions.get, session_id)
            for _ in range(delay):
                await trio.lowlevel.checkpoint()
        session = await client.resume_session(session_id)
        await session.wait_finished()
        assert session.state == "COMPLETED"
        assert sorted(outcome.index for outcome in session.outcomes) == list(range(6))
    assert works.orders == 6


async def test_a_session_that_was_just_cancelled_is_resumed_when_it_has_ended(
    autojump_clock, tmp_path
):
    works = Works()
    async with works.open(tmp_path, salvage_seconds=100.0) as client:
        session = client.start_session("x", n=4, max_at_once=2, model="sync-1")
        await trio.sleep(1.5)
        session.cancel()
        again = await client.resume_session(session.id)
        await again.wait_finished()
        assert again.state == "COMPLETED"
        assert sorted(image.index for _, image in again.images) == list(range(4))
    assert works.orders == 4


async def test_a_deleted_image_is_not_made_again(autojump_clock, tmp_path):
    works = Works()
    session_id = await interrupted(works, tmp_path, made=3)
    async with works.open(tmp_path) as client:
        images = [image for image in await client.library.list() if image.index == 1]
        await client.library.delete(images[0].id)
        session = await client.resume_session(session_id)
        await session.wait_finished()
        assert sorted(outcome.index for outcome in session.outcomes) == list(range(6))
        assert [
            outcome.index for outcome in session.outcomes if isinstance(outcome, imagen.Failure)
        ] == [1]
    assert works.orders == 6


async def test_what_may_have_been_billed_counts_in_the_budget_of_a_session_after_a_restart(
    autojump_clock, tmp_path
):
    works = Works()
    async with works.open(tmp_path, salvage_seconds=0.01) as client:
        session = client.start_session(
            "x", n=6, max_at_once=1, model="sync-1", budget=imagen.Budget("0.15")
        )
        await trio.sleep(1.5)
    async with works.open(tmp_path) as client:
        assert (await client.spending()).unknown_usd == PRICE
        session = await client.resume_session(session.id)
        await session.wait_finished()
        spending = await client.spending()
        assert spending.settled_usd + spending.unknown_usd == Decimal("0.15")
    assert works.orders == 3


async def test_what_is_sold_together_gives_as_many_outcomes_after_a_restart_as_before(
    autojump_clock, tmp_path
):
    def draw(call: imagen.providers.Call) -> imagen.providers.Exchange:
        yield imagen.providers.HttpRequest(method="POST", url="draw")
        return imagen.providers.GeneratedImages(
            images=(imagen.providers.GeneratedImage(data=PNG),) * 4
        )

    table = {
        "provider": "mid",
        "price": {"usd_per_image": "0.05"},
        "capabilities": {"max_images_per_request": 4, "sold_together": True},
    }
    provider = imagen.providers.Provider(
        name="mid",
        operations={"generate": draw},
        base_url="https://mid.example",
        key_required=False,
        models={"mid-1": table},
    )
    environ = {"IMAGEN_HOME": str(tmp_path), "IMAGEN_DEFAULT_MODEL": "mid-1"}
    settings = imagen.load_settings(environ, providers=[provider])
    transport = ScriptedTransport(lambda request: ScriptedReply())

    def opening() -> object:
        return imagen.open_client(
            settings,
            transport=lambda access: transport,
            workers=InlineWorkers(),
            clock=virtual_time,
        )

    async with opening() as client:
        session = client.start_session("x", n=2)
        await session.wait_finished()
        assert len(session.outcomes) == 2
        async with client.open_batch("x", n=2) as batch:
            assert len([outcome async for outcome in batch]) == 2
    async with opening() as client:
        again = await client.sessions.get(session.id)
        await again.wait_finished()
        assert [image.id for _, image in again.images] == [image.id for _, image in session.images]
        async with client.reopen_batch(batch.id) as reopened:
            assert sorted([outcome.index async for outcome in reopened]) == [0, 1]
    assert len(transport.requests) == 2


async def test_what_the_cache_answered_is_there_after_a_restart(engine, autojump_clock, tmp_path):
    if engine == "postgresql":
        pytest.skip("The cache is not on PostgreSQL yet.")
    async with open_test_client(FakeProvider(), home=tmp_path) as (client, _):
        made = await client.generate("a cat")
        session = client.start_session("a cat", n=2, max_at_once=1, cache=True)
        await session.wait_finished()
        before = session.outcomes
    async with open_test_client(FakeProvider(), home=tmp_path) as (client, transport):
        again = await client.resume_session(session.id)
        await again.wait_finished()
        assert [(one.id, one.index, one.cached, one.cost) for one in again.outcomes] == [
            (one.id, one.index, one.cached, one.cost) for one in before
        ]
        assert (again.outcomes[0].id, again.outcomes[0].cached) == (made.id, True)
        assert not transport.requests


async def test_a_session_that_is_resumed_goes_the_way_it_was_started_with(autojump_clock, tmp_path):
    town = Town(left=DOWN, right=image_reply(5))
    async with open_town(town, tmp_path) as client:
        session = client.start_session(
            "a cat", n=3, max_at_once=1, model="left-1", fallback=["right-1"]
        )
        await session.wait_image()
    async with open_town(town, tmp_path) as client:
        again = await client.resume_session(session.id)
        await again.wait_finished()
        assert [getattr(outcome, "model", None) for outcome in again.outcomes] == ["right-1"] * 3


async def test_a_session_that_is_resumed_takes_from_the_library_what_is_there_by_now(
    engine, autojump_clock, tmp_path
):
    if engine == "postgresql":
        pytest.skip("The cache is not on PostgreSQL yet.")
    async with open_test_client(FakeProvider(), home=tmp_path) as (client, _):
        session = client.start_session("a cat", n=3, max_at_once=1, cache=True)
        await session.wait_image()
    async with open_test_client(FakeProvider(), home=tmp_path) as (client, transport):
        for _ in range(3):
            await client.generate("a cat")
        sent = len(transport.requests)
        again = await client.resume_session(session.id)
        await again.wait_finished()
        assert len({outcome.id for outcome in again.outcomes}) == 3
        assert len(transport.requests) == sent
