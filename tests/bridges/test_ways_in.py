"""A call from the wrong place is one sentence; the right place works."""

from __future__ import annotations

import asyncio
import threading

import pytest
import trio

import imagen
from tests.support.bridged_client import open_bridged, run_bridged
from tests.support.scripted_client import FakeProvider


def test_without_a_loop_the_blocking_client_is_named():
    with pytest.raises(RuntimeError, match=r"no event loop .* imagen\.blocking\.open_client"):
        imagen.open_client()


def test_on_asyncio_the_client_for_asyncio_is_named():
    async def main():
        with pytest.raises(RuntimeError, match=r"runs on asyncio: use imagen\.aio\.open_client"):
            imagen.open_client()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        (lambda: imagen.blocking.open_client(), "use imagen.open_client"),
        (lambda: imagen.generate("a cat"), "use generate of a client"),
    ],
)
async def test_what_blocks_is_refused_in_a_trio_run(call, instead):
    with pytest.raises(RuntimeError, match=instead):
        call()


async def test_the_client_for_asyncio_is_refused_under_trio():
    with pytest.raises(RuntimeError, match=r"works on asyncio.*use imagen\.open_client"):
        async with imagen.aio.open_client():
            pass


def test_a_client_of_another_loop_is_refused():
    async def main():
        async with open_bridged("aio", FakeProvider()) as (client, _):

            def elsewhere():
                with pytest.raises(RuntimeError, match=r"another event loop.*imagen\.blocking"):
                    asyncio.run(client.generate("a cat"))

            await asyncio.to_thread(elsewhere)

    run_bridged(main)


def test_a_closed_client_is_named_as_closed():
    async def main():
        for kind in ("aio", "blocking"):
            async with open_bridged(kind, FakeProvider()) as (client, _):
                pass
            with pytest.raises(RuntimeError, match="This client is closed"):
                await client.generate("a cat")

    run_bridged(main)


def test_the_trio_run_ends_with_its_last_client():
    async def main():
        async with open_bridged("aio", FakeProvider()) as (first, _):
            async with open_bridged("blocking", FakeProvider()) as (second, _):
                assert _runs() == 1
                await second.generate("a cat")
            assert _runs() == 1
            await first.generate("a cat")

    for _ in range(2):
        run_bridged(main)
        assert _runs() == 0


def _runs() -> int:
    return sum(thread.name == "imagen" for thread in threading.enumerate())


def test_a_bad_setting_leaves_no_thread(tmp_path):
    (tmp_path / "file").write_text("")
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path / "file" / "home")})

    async def main():
        with pytest.raises(imagen.StorageError):
            async with imagen.aio.open_client(settings):
                pass

    asyncio.run(main())
    with pytest.raises(imagen.StorageError):
        imagen.blocking.open_client(settings)
    assert _runs() == 0


def test_a_trio_run_of_the_callers_own_goes_beside_a_blocking_client():
    async def main():
        async with open_bridged("blocking", FakeProvider()) as (client, _):

            async def trio_main() -> str:
                await trio.lowlevel.checkpoint()
                return "trio"

            assert trio.run(trio_main) == "trio"
            await client.generate("a cat")

    run_bridged(main)
