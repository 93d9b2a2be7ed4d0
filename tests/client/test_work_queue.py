"""Workers that take sessions from a queue in Redis, in real time."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen._client import worker as worker_module
from imagen._system.secret import Secret
from imagen.testing import ScriptedReply, ScriptedTransport
from tests.support.images import PNG
from tests.support.job_provider import Works
from tests.support.redis_server import RedisServer, is_installed

# streaq leaves streams in memory open when its server is gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Nothing of streaq is left to the tests of another file."""
    yield
    gc.collect()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    if not is_installed():
        pytest.skip("redis-server or streaq is not installed.")
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()


class Place:
    """Clients and workers of one home with a queue."""

    def __init__(self, home: Path, url: str) -> None:
        self.orders = 0
        self.said: list[str] = []
        self._settings = msgspec.structs.replace(Works().settings(home), queue_url=Secret(url))

    def answer(self, request: imagen.providers.HttpRequest) -> ScriptedReply:
        self.orders += 1
        return ScriptedReply(chunks=(PNG,), after_seconds=0.1)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[imagen.Client]:
        async with imagen.open_client(
            self._settings, transport=lambda access: ScriptedTransport(self.answer)
        ) as client:
            yield client

    @asynccontextmanager
    async def worker(self, **options: object) -> AsyncIterator[imagen.Client]:
        async with self.client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(partial(imagen.run_worker, client, say=self.said.append, **options))
            yield client
            nursery.cancel_scope.cancel()


@pytest.fixture
def place(tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(worker_module, "_AGAIN_SECONDS", 0.1)
    return Place(tmp_path / "home", redis.url)


async def finish(sessions: list[imagen.Session]) -> None:
    with trio.fail_after(20):
        for session in sessions:
            await session.wait_finished()
            assert session.state == "COMPLETED"


async def test_two_workers_make_each_session_once(place):
    async with place.client() as client, place.worker(), place.worker():
        await finish([await client.submit("x", n=2, model="sync-1") for _ in range(10)])
    assert place.orders == 20
    assert place.said == []


async def test_a_queue_that_was_lost_whole_is_filled_again(place, redis):
    async with place.client() as client, place.worker(concurrency=2):
        sessions = [await client.submit("x", model="sync-1") for _ in range(8)]
        await sessions[0].wait_finished()
        redis.command("FLUSHALL")
        await finish(sessions)
    assert place.orders == 8


async def test_workers_outlive_their_queue(place, redis):
    async with place.client() as client, place.worker(concurrency=2):
        sessions = [await client.submit("x", n=6, max_at_once=1, model="sync-1") for _ in range(3)]
        await sessions[0].wait_image()
        redis.kill()
        # What has begun goes on.
        with trio.fail_after(10):
            await sessions[0].wait_finished()
        redis.start()
        await finish(sessions)
    assert place.orders == 18
    (said,) = place.said
    assert "IMAGEN_QUEUE_URL is away" in said


async def test_a_worker_may_begin_before_its_queue(place, redis):
    redis.kill()
    async with place.client() as client, place.worker():
        session = await client.submit("x", model="sync-1")
        await trio.sleep(0.5)
        assert (place.orders, len(place.said)) == (0, 1)
        redis.start()
        await finish([session])


async def test_the_password_is_not_said(tmp_path, monkeypatch):
    if not is_installed():
        pytest.skip("redis-server or streaq is not installed.")
    place = Place(tmp_path / "home", "redis://u:s3cret@127.0.0.1:1")
    async with place.worker():
        with trio.fail_after(10):
            while not place.said:
                await trio.sleep(0.05)
    assert "s3cret" not in place.said[0]


async def test_without_streaq_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagen._client.work_queue", None)
    place = Place(tmp_path / "home", "redis://127.0.0.1:1")
    async with place.client() as client:
        with pytest.raises(imagen.ConfigurationError, match=r"imagen-trio\[cluster\]"):
            await imagen.run_worker(client)


@pytest.mark.parametrize("url", ["http://u:s3cret@h", "u:s3cret@h", "memcached://s3cret"])
def test_the_address_of_something_else_is_refused(url, tmp_path):
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_QUEUE_URL") as raised:
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path), "IMAGEN_QUEUE_URL": url})
    assert "s3cret" not in str(raised.value)
