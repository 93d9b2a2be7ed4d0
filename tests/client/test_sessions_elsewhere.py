"""Sessions of other processes that share the home: listed, followed, cancelled,
read when they are finished, and resumed by one of them only.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import trio

import imagen
from tests.support.job_provider import Works


async def test_a_running_session_is_followed_with_the_same_numbers(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=4, max_at_once=1, model="sync-1")
        await trio.sleep(1.5)
        followed = await other.sessions.follow(session.id)
        assert not followed.finished
        await followed.wait_finished()
        assert followed.state == session.state == "COMPLETED"
        assert [(number, image.id) for number, image in followed.images] == [
            (number, image.id) for number, image in session.images
        ]
    assert works.orders == 4


async def test_a_session_that_was_followed_to_its_end_is_the_same_later(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=2, model="sync-1")
        await trio.sleep(0.5)
        await (await other.sessions.follow(session.id)).wait_finished()
        again = await other.sessions.follow(session.id)
        await again.wait_finished()
        assert len(again.images) == 2


async def test_a_finished_session_of_an_open_client_is_read(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=2, model="sync-1")
        await session.wait_finished()
        await trio.sleep(1)
        read = await other.sessions.get(session.id)
        await read.wait_finished()
        assert [image.id for _, image in read.images] == [image.id for _, image in session.images]
        # Reading has taken nothing away.
        assert await one.resume_session(session.id) is session


async def test_a_session_is_cancelled_from_elsewhere(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.sessions.heed_stops)
            session = one.start_session("x", n=6, max_at_once=1, model="sync-1")
            await trio.sleep(1.5)
            followed = await other.sessions.stop(session.id)
            await session.wait_finished()
            await followed.wait_finished()
            assert session.state == followed.state == "CANCELLED"
            nursery.cancel_scope.cancel()
    assert works.orders < 5


async def test_a_cancelled_session_of_an_open_client_is_resumed_by_one_only(
    autojump_clock, tmp_path
):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=4, max_at_once=1, model="sync-1")
        await trio.sleep(1.5)
        session.cancel()
        await trio.sleep(5)
        resumed = await other.resume_session(session.id)
        with pytest.raises(imagen.SessionError, match="another process"):
            await one.resume_session(session.id)
        await resumed.wait_finished()
        assert resumed.state == "COMPLETED"
        assert sorted(image.index for _, image in resumed.images) == list(range(4))
    assert works.orders == 4


async def test_a_session_that_is_followed_is_not_resumed(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=3, max_at_once=1, model="sync-1")
        await trio.sleep(0.5)
        await other.sessions.follow(session.id)
        for ask in (other.resume_session, other.sessions.get):
            with pytest.raises(imagen.SessionError, match="another process"):
                await ask(session.id)
        await session.wait_finished()
    assert works.orders == 3


async def test_a_follower_takes_over_when_the_other_process_has_died(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as other:
        async with works.open(tmp_path, salvage_seconds=0.01) as one:
            session = one.start_session("x", n=4, max_at_once=1, model="sync-1")
            await trio.sleep(1.5)
            followed = await other.sessions.follow(session.id)
            await trio.sleep(0.1)
            assert len(followed.images) == 1
        await followed.wait_finished()
        assert followed.state == "CANCELLED"
        resumed = await other.resume_session(session.id)
        await resumed.wait_finished()
        assert sorted(outcome.index for outcome in resumed.outcomes) == list(range(4))
    assert works.orders == 4


async def test_sessions_of_all_processes_are_listed_the_latest_first(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one:
        done = one.start_session("a boat", n=1, model="sync-1")
        await done.wait_finished()
        stopped = one.start_session("a bird", n=3, max_at_once=1, model="sync-1")
        await trio.sleep(1)
        stopped.cancel()
        await trio.sleep(10)
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        running = one.start_session("a bell", n=2, max_at_once=1, model="sync-1")
        # It is there at once, before it is on the disk.
        (first, *_) = await one.sessions.list()
        assert first.id == running.id
        await trio.sleep(1.5)
        listed = {item.request.prompt: item for item in await other.sessions.list()}
        assert list(listed) == ["a bell", "a bird", "a boat"]
        bell, bird, boat = listed.values()
        assert (bell.id, bell.running, bell.here, bell.images) == (running.id, True, False, 1)
        assert (bird.state, bird.requested, bird.running) == ("CANCELLED", 3, False)
        assert (boat.state, boat.images, boat.failures) == ("COMPLETED", 1, 0)
        (own, *_) = await one.sessions.list(limit=1)
        assert (own.id, own.here) == (running.id, True)


async def test_a_damaged_session_does_not_hide_the_others(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as client:
        for prompt in ("a boat", "a bird"):
            await client.start_session(prompt, n=1, model="sync-1").wait_finished()
    with closing(sqlite3.connect(tmp_path / "imagen.sqlite3")) as database, database:
        database.execute("UPDATE sessions SET request = '{' WHERE request LIKE '%boat%'")
    async with works.open(tmp_path) as client:
        assert [item.request.prompt for item in await client.sessions.list()] == ["a bird"]


async def test_what_broke_a_batch_is_told_elsewhere(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session(
            "x", n=3, max_at_once=1, model="sync-1", budget=imagen.Budget("0.05")
        )
        await session.wait_finished()
        await trio.sleep(1)
        followed = await other.sessions.follow(session.id)
        await followed.wait_finished()
        assert followed.state == session.state
        assert (followed.error is None) == (session.error is None)


async def test_a_session_is_resumed_while_another_process_finishes_what_it_had_sent(
    autojump_clock, tmp_path
):
    works = Works(seconds=5)
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=5, max_at_once=2, model="job-1")
        await trio.sleep(2)
        session.cancel()
        await trio.sleep(0.1)
        assert one.in_flight == 2
        resumed = await other.resume_session(session.id)
        await resumed.wait_finished()
        assert resumed.state == "COMPLETED"
        assert sorted(image.index for _, image in resumed.images) == list(range(5))
    assert works.orders == 5
