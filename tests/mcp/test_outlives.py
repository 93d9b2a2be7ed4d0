"""What is paid outlives the server: however its host ends it, the images that
were in flight land in the library, and the next server goes on.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import pytest
import trio

import imagen
from tests.mcp.test_stdio import close_input, hang_up, silent_provider, terminate
from tests.support.mcp_client import MODEL, settings
from tests.support.mcp_process import SERVER, Wire, process, read_url
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

BATCH = {"prompt": "x", "model": MODEL, "count": 4, "timeout": 0}


async def kill(child: trio.Process) -> None:
    child.kill()


ENDS = (close_input, terminate, hang_up, kill)


@asynccontextmanager
async def slow_provider(seconds: str) -> AsyncIterator[dict[str, str]]:
    """A provider that takes so long for an image; gives the variables for it."""
    command = [sys.executable, "-m", "imagen.testing.simulator", "--port", "0", "--json"]
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            [*command, "--latency", seconds, "--image-bytes", "2000"],
            stdout=subprocess.PIPE,
            capture_stdout=False,
            check=False,
            cwd=ROOT,
        )
        simulator: trio.Process = await nursery.start(run)
        said = b""
        while b"\n" not in said:
            said += await simulator.stdout.receive_some()
        yield json.loads(said.partition(b"\n")[0])["env"]
        simulator.kill()


async def in_flight(home: Path) -> imagen.AttemptCounts:
    async with imagen.open_client(settings(home)) as client:
        return (await client.spending()).attempts


async def wait_sent(home: Path, count: int) -> None:
    """Wait until so many requests have been sent: what is only reserved is
    dropped at the end.
    """
    sql = "SELECT count(*) FROM attempts WHERE state = 'sent'"
    with closing(sqlite3.connect(home / "imagen.sqlite3")) as database:
        while database.execute(sql).fetchone()[0] < count:
            await trio.sleep(0.05)


async def end_with_four_in_flight(
    home: Path, end: Callable[[trio.Process], Awaitable[None]], env: dict[str, str]
) -> str:
    """The session of four images whose server was ended by its host."""
    async with process(home, more=env) as child:
        wire = Wire(child)
        await wire.hello()
        call = {"name": "start_image_batch", "arguments": BATCH}
        started = await wire.ask("tools/call", call)
        await wait_sent(home, 4)
        begun = trio.current_time()
        await end(child)
        # The host sees the end of its pipes, too.
        await wire.read_to_end()
        status = await child.wait()
        seconds = trio.current_time() - begun
    print(f"{end.__name__}: {seconds:.2f} s")
    assert seconds < 2
    assert status == (-signal.SIGKILL if end is kill else 0)
    return str(started["structuredContent"]["session_id"])  # type: ignore[index]


@pytest.mark.parametrize("end", ENDS)
async def test_images_in_flight_are_finished_after_the_end(
    tmp_path: Path, end: Callable[[trio.Process], Awaitable[None]]
) -> None:
    with trio.fail_after(40):
        async with slow_provider("2.5") as env:
            session_id = await end_with_four_in_flight(tmp_path, end, env)
            # The next server, at once: it waits for what the first one finishes.
            async with process(tmp_path, more=env) as child:
                wire = Wire(child)
                await wire.hello()
                asked = {"session_id": session_id}
                call = {"name": "resume_batch", "arguments": asked}
                assert not (await wire.ask("tools/call", call))["isError"]
                pulled: list[int] = []
                while True:
                    call = {"name": "get_next_image", "arguments": {**asked, "timeout": 10}}
                    reply = (await wire.ask("tools/call", call))["structuredContent"]
                    if reply["image"] is None:  # type: ignore[index]
                        break
                    pulled.append(reply["image"]["index"])  # type: ignore[index]
                    asked["after"] = pulled[-1]
                await child.stdin.aclose()
                assert await child.wait() == 0
            counts = await in_flight(tmp_path)
    assert pulled == [0, 1, 2, 3]
    assert (counts.succeeded, counts.unknown, counts.in_flight) == (4, 0, 0)


async def test_a_second_signal_does_not_cut_off_what_finishes(tmp_path: Path) -> None:
    async def terminate_twice(child: trio.Process) -> None:
        await terminate(child)
        await trio.sleep(0.2)
        await hang_up(child)

    with trio.fail_after(30):
        async with slow_provider("1.5") as env:
            await end_with_four_in_flight(tmp_path, terminate_twice, env)
            while (counts := await in_flight(tmp_path)).in_flight:
                await trio.sleep(0.2)
    assert (counts.succeeded, counts.unknown) == (4, 0)


async def test_it_ends_by_itself_when_the_provider_never_replies(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with silent_provider() as (url, _):
            env = {
                "OPENAI_BASE_URL": url,
                "OPENAI_API_KEY": "k",
                "IMAGEN_SALVAGE_SECONDS": "1.5",
            }
            await end_with_four_in_flight(tmp_path, terminate, env)
            begun = trio.current_time()
            while (counts := await in_flight(tmp_path)).in_flight:
                await trio.sleep(0.2)
            seconds = trio.current_time() - begun
            while list((tmp_path / "owners").iterdir()):
                await trio.sleep(0.1)
    assert counts.unknown == 4
    assert seconds < 6


async def test_images_of_a_server_over_http_are_finished_after_its_end(tmp_path: Path) -> None:
    import httpx2

    headers = {"accept": "application/json, text/event-stream"}
    info = {"name": "test", "version": "0"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}

    def rpc(method: str, params: dict[str, object]) -> dict[str, object]:
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}

    with trio.fail_after(40):
        async with slow_provider("4") as env:
            async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], env) as child:
                url = await read_url(child)
                async with httpx2.AsyncClient(headers=headers, timeout=10) as http:
                    greeted = await http.post(url, json=rpc("initialize", hello))
                    http.headers["mcp-session-id"] = greeted.headers["mcp-session-id"]
                    call = {"name": "start_image_batch", "arguments": BATCH}
                    await http.post(url, json=rpc("tools/call", call))
                await wait_sent(tmp_path, 4)
                begun = trio.current_time()
                await terminate(child)
                assert await child.wait() == 0
                assert trio.current_time() - begun < 3
            while (counts := await in_flight(tmp_path)).in_flight:
                await trio.sleep(0.2)
    assert (counts.succeeded, counts.unknown) == (4, 0)
