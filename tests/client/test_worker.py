"""Sessions that one client submits and a worker in another one makes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen._client.worker import run_worker
from imagen._system.secret import Secret
from imagen.testing import InlineWorkers, ScriptedTransport
from tests.support.job_provider import Works
from tests.support.scripted_client import virtual_time


class Machines:
    """Clients on one database, each with a worker or without."""

    def __init__(self, tmp_path: Path, url: str | None) -> None:
        self.works = Works()
        self._folder = tmp_path
        self._url = None if url is None else Secret(url)
        self._homes = 0

    @asynccontextmanager
    async def client(self, **changes: object) -> AsyncIterator[imagen.Client]:
        self._homes += self._url is not None
        settings = self.works.settings(self._folder / f"home-{self._homes}")
        async with imagen.open_client(
            msgspec.structs.replace(settings, database_url=self._url, **changes),
            library=self._folder / "images",
            transport=lambda access: ScriptedTransport(self.works.answer),
            workers=InlineWorkers(),
            clock=virtual_time,
        ) as client:
            yield client

    @asynccontextmanager
    async def worker(self, **options: object) -> AsyncIterator[imagen.Client]:
        async with self.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(run_worker, client, **options))
            yield client
            nursery.cancel_scope.cancel()


@pytest.fixture(params=["sqlite", "postgresql"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> Machines:
    if request.param == "sqlite":
        return Machines(tmp_path, None)
    return Machines(tmp_path, request.getfixturevalue("postgresql").new_database())


async def test_a_submitted_session_is_made_by_a_worker_and_followed(autojump_clock, machines):
    async with machines.client() as client, machines.worker() as worker:
        session = await client.submit("x", n=3, max_at_once=1, model="sync-1")
        found, cursor = [], None
        while (item := await session.wait_image(cursor)) is not None:
            cursor, image = item
            found.append((cursor, image.index))
        assert found == [(0, 0), (1, 1), (2, 2)]
        assert session.state == "COMPLETED"
        assert session.status().succeeded == 3
        assert (await client.sessions.get(session.id)) is not None
        async for image in worker.library.find():
            assert image.path.exists()
    assert machines.works.orders == 3


async def test_nothing_is_sent_before_a_worker_comes(autojump_clock, machines):
    async with machines.client() as client:
        session = await client.submit("x", n=2, model="sync-1")
        # Longer than a session is kept.
        await trio.sleep(3700)
        assert (session.state, machines.works.orders) == ("CREATED", 0)
        async with machines.worker():
            await session.wait_finished()
    assert (session.state, machines.works.orders) == ("COMPLETED", 2)


async def test_one_that_waits_is_listed(autojump_clock, machines):
    async with machines.client() as client, machines.client() as other:
        session = await client.submit("x", n=2, model="sync-1")
        for one in (client, other):
            (listed,) = await one.sessions.list()
            assert (listed.id, listed.state, listed.running) == (session.id, "CREATED", True)


async def test_it_outlives_the_client_that_submitted_it(autojump_clock, machines):
    async with machines.client() as client:
        session_id = (await client.submit("x", n=2, model="sync-1")).id
    async with machines.worker(), machines.client() as other:
        session = await other.sessions.get(session_id)
        await session.wait_finished()
        assert len(session.images) == 2
    assert machines.works.orders == 2


@pytest.mark.parametrize("way", ["cancel", "stop"])
async def test_one_that_waits_is_cancelled_and_never_sent(autojump_clock, machines, way):
    async with machines.client() as client, machines.client() as other:
        session = await client.submit("x", n=2, model="sync-1")
        if way == "cancel":
            session.cancel()
            assert session.finished
        else:
            await other.sessions.stop(session.id)
        await session.wait_finished()
        assert session.state == "CANCELLED"
        async with machines.worker():
            await trio.sleep(10)
        again = await other.sessions.get(session.id)
        await again.wait_finished()
        assert again.state == "CANCELLED"
    assert machines.works.orders == 0


@pytest.mark.parametrize("way", ["cancel", "stop"])
async def test_one_that_runs_is_cancelled_from_elsewhere(autojump_clock, machines, way):
    async with machines.client() as client, machines.worker():
        session = await client.submit("x", n=20, max_at_once=1, model="sync-1")
        await session.wait_image()
        if way == "cancel":
            session.cancel()
        else:
            await client.sessions.stop(session.id)
        await session.wait_finished()
        assert session.state == "CANCELLED"
        await trio.sleep(5)
        orders = machines.works.orders
        await trio.sleep(60)
        assert machines.works.orders == orders < 5


async def test_a_client_that_closes_cancels_nothing(autojump_clock, machines):
    async with machines.worker():
        async with machines.client() as client:
            session_id = (await client.submit("x", n=4, max_at_once=1, model="sync-1")).id
            await trio.sleep(2)
        async with machines.client() as other:
            session = await other.sessions.get(session_id)
            await session.wait_finished()
            assert session.state == "COMPLETED"


async def test_a_worker_that_ends_gives_its_sessions_to_the_next(autojump_clock, machines):
    async with machines.client() as client:
        session = await client.submit("x", n=6, max_at_once=2, model="sync-1")
        async with machines.worker():
            await session.wait_image()
        assert not session.finished
        async with machines.worker():
            await session.wait_finished()
        assert session.state == "COMPLETED"
        assert sorted(image.index for _, image in session.images) == [0, 1, 2, 3, 4, 5]
    assert machines.works.orders == 6


async def test_two_workers_make_each_session_once(autojump_clock, machines):
    async with machines.client() as client, machines.worker(), machines.worker():
        sessions = [await client.submit("x", n=2, model="sync-1") for _ in range(20)]
        for session in sessions:
            await session.wait_finished()
            assert session.state == "COMPLETED"
    assert machines.works.orders == 40


async def test_a_worker_runs_no_more_than_it_may(autojump_clock, machines):
    async with machines.client() as client, machines.worker(concurrency=2) as worker:
        sessions = [await client.submit("x", model="sync-1") for _ in range(6)]
        most = 0
        while not all(session.finished for session in sessions):
            most = max(most, len(worker.sessions))
            await trio.sleep(0.1)
        assert most == 2


async def first_three(machines: Machines, sessions: dict[str, imagen.Session]) -> list[str]:
    """Return the names of the sessions that are begun first, one by one."""
    async with machines.worker(concurrency=1):
        order: list[str] = []
        while len(order) < 3:
            await trio.sleep(0.05)
            order += [n for n, one in sessions.items() if one.state != "CREATED" and n not in order]
    return order


async def test_tags_take_turns(autojump_clock, machines):
    async with machines.client() as client:
        sessions: dict[str, imagen.Session] = {}
        for name in ("a1", "a2", "a3", "b1"):
            sessions[name] = await client.submit("x", model="sync-1", tag=name[0])
            await trio.sleep(0.1)
        assert await first_three(machines, sessions) == ["a1", "b1", "a2"]


async def test_a_higher_priority_is_first(autojump_clock, machines):
    async with machines.client() as client:
        priorities = {"low": -1, "middle": 0, "high": 5}
        sessions = {
            name: await client.submit("x", model="sync-1", priority=priority)
            for name, priority in priorities.items()
        }
        assert await first_three(machines, sessions) == ["high", "middle", "low"]


async def test_a_tag_has_at_most_its_share(autojump_clock, machines):
    async with (
        machines.client() as client,
        machines.worker(most_per_tag=1) as worker,
        machines.worker(most_per_tag=1) as other,
    ):
        sessions = [await client.submit("x", model="sync-1", tag="a") for _ in range(3)]
        sessions.append(await client.submit("x", model="sync-1", tag="b"))
        most = 0
        while not all(session.finished for session in sessions):
            most = max(most, len(worker.sessions) + len(other.sessions))
            await trio.sleep(0.05)
        assert most == 2


async def test_the_user_is_asked_where_it_is_submitted(autojump_clock, machines):
    async with machines.client(confirm_above_usd=0) as client, machines.worker():
        with pytest.raises(imagen.BudgetExceededError):
            await client.submit("x", n=2, model="sync-1")
        assert not await client.sessions.list()


async def test_a_budget_binds_it(autojump_clock, machines):
    async with machines.client() as client, machines.worker():
        session = await client.submit("x", n=4, model="sync-1", budget=imagen.Budget("0.10"))
        await session.wait_finished()
        assert (len(session.images), len(session.failures)) == (2, 2)


async def test_a_session_that_workers_die_of_is_given_up(autojump_clock, machines):
    async with machines.client() as client:
        session = await client.submit("x", model="sync-1")
        database = client._services.runtime.database
        for number in range(10):
            assert not session.finished
            await database.write([("UPDATE sessions SET owner = ?", (f"dead{number}",))])
            await client._services.submissions.put_back()
        await session.wait_finished()
        assert session.state == "FAILED"
        assert "10 workers" in str(session.error)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"most_per_tag": 0}])
async def test_numbers_below_one_are_refused(autojump_clock, tmp_path, options):
    async with Machines(tmp_path, None).client() as client:
        with pytest.raises(imagen.InvalidRequestError, match="1 or more"):
            await run_worker(client, **options)


async def test_without_a_library_nothing_is_submitted(autojump_clock, tmp_path):
    works = Works()
    async with imagen.open_client(
        works.settings(tmp_path), library=None, workers=InlineWorkers(), clock=virtual_time
    ) as client:
        with pytest.raises(imagen.ConfigurationError, match="library"):
            await client.submit("x", model="sync-1")
        with pytest.raises(imagen.ConfigurationError, match="library"):
            await run_worker(client)


async def test_one_that_still_runs_here_is_not_taken_again(autojump_clock, machines):
    async with machines.client() as client:
        session = await client.submit("x", model="sync-1")
        other = await client.submit("x", model="sync-1")
        submissions = client._services.submissions
        assert await submissions.claim(1, 9, {session.id}) == [other.id]
        assert await submissions.claim(1, 9, {session.id}) == []
        assert await submissions.claim(1, 9, set()) == [session.id]


async def test_an_outcome_never_takes_the_number_of_another(autojump_clock, machines):
    async with machines.client() as client:
        session = client.start_session("x", n=2, max_at_once=1, model="sync-1")
        await session.wait_finished()
        store = client.sessions._store
        first, second = session.outcomes
        await store.add_outcome(session.id, 0, first)
        with pytest.raises(imagen.SessionError, match="taken over"):
            await store.add_outcome(session.id, 0, second)
