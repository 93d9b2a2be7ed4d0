"""The server over standard input and output, as hosts run it."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

import imagen
from imagen_mcp.__main__ import main
from imagen_mcp._stdio import _Lines
from tests.support.mcp_client import ERAS, MODEL, open_shown, settings
from tests.support.mcp_process import SERVER, Wire, process, silent_provider, stdio_client

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")

# Prints where protocol belongs, from Python and from a child, while an image is
# being made.
NOISY = """
import os, sys, warnings
import imagen_mcp._tools.sessions as server
from imagen_mcp.__main__ import main
from imagen_mcp._stdio import _Lines
start = server.start
def noisy(*arguments, **named):
    print("noise")
    sys.stdout.flush()
    os.system("echo noise of a child; cat")
    warnings.warn("noise of a warning")
    return start(*arguments, **named)
server.start = noisy
sys.exit(main([]))
"""
# A bug in a task of the lifespan, soon after the start.
CRASHING = """
import sys, trio, imagen
import imagen_mcp.server as server
from imagen_mcp.__main__ import main
from imagen_mcp._stdio import _Lines
from contextlib import asynccontextmanager
@asynccontextmanager
async def open_client(settings, opened=imagen.open_client):
    async def crash():
        await trio.sleep(0.2)
        raise AssertionError("a bug")
    async with opened(settings) as client, trio.open_nursery() as nursery:
        nursery.start_soon(crash)
        yield client
server.make_server.__kwdefaults__["open_client"] = open_client
sys.exit(main([]))
"""


@pytest.mark.parametrize("mode", ERAS)
async def test_the_batch_workflow(tmp_path: Path, mode: str) -> None:
    arguments = {"prompt": "a lighthouse", "model": "sketch", "size": "1024x640", "count": 3}
    with trio.fail_after(20):
        async with stdio_client(tmp_path, mode=mode) as client:
            result = await client.call_tool("start_image_batch", arguments)
            session_id, seen = result.structured_content["session_id"], []
            while (image := result.structured_content["image"]) is not None:
                seen.append(image["index"])
                assert max(open_shown(result).size) == 768
                assert Path(image["path"]).stat().st_size == image["size_bytes"]
                arguments = {"session_id": session_id, "after": image["index"]}
                result = await client.call_tool("get_next_image", arguments)
    assert seen == [0, 1, 2]
    assert result.structured_content["status"] == "completed"


async def test_nothing_but_protocol_reaches_the_output(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with process(tmp_path, ["-c", NOISY]) as child:
            wire = Wire(child)
            await wire.hello()
            await child.stdin.send_all(b"\nthis is no JSON\n")
            arguments = {"prompt": "x", "model": "sketch", "size": "64x64"}
            result = await wire.ask(
                "tools/call", {"name": "generate_image", "arguments": arguments}
            )
            await child.stdin.aclose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.read_to_end)
                errors = b"".join([chunk async for chunk in child.stderr])
            await child.wait()
    assert not result["isError"]
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in wire.lines)
    assert b"noise\n" in errors
    assert b"noise of a child\n" in errors
    assert b"noise of a warning" in errors


async def test_a_server_without_trouble_says_nothing(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with process(tmp_path) as child:
            wire = Wire(child)
            await wire.hello()
            arguments = {"prompt": "x", "model": "sketch", "size": "64x64"}
            await wire.ask("tools/call", {"name": "generate_image", "arguments": arguments})
            await child.stdin.aclose()
            errors = b"".join([chunk async for chunk in child.stderr])
            assert await child.wait() == 0
    assert errors == b""


# --- the end ------------------------------------------------------------------


async def close_input(child: trio.Process) -> None:
    await child.stdin.aclose()


async def terminate(child: trio.Process) -> None:
    child.send_signal(signal.SIGTERM)


async def interrupt(child: trio.Process) -> None:
    child.send_signal(signal.SIGINT)


async def hang_up(child: trio.Process) -> None:
    child.send_signal(signal.SIGHUP)


STOPS = (close_input, terminate, interrupt, *((hang_up,) if hasattr(signal, "SIGHUP") else ()))


async def stop_in_flight(home: Path, stop: Callable[[trio.Process], Awaitable[None]]) -> None:
    async with silent_provider() as (url, wait_connections):
        more = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"}
        async with process(home, more=more) as child:
            wire = Wire(child)
            await wire.hello()
            arguments = {"prompt": "x", "model": MODEL, "count": 4, "timeout": 0}
            await wire.ask("tools/call", {"name": "start_image_batch", "arguments": arguments})
            await wait_connections(4)
            begun = trio.current_time()
            await stop(child)
            status = await child.wait()
            seconds = trio.current_time() - begun
    print(f"{stop.__name__}: {seconds:.2f} s")
    assert status == 0
    assert seconds < 2
    # They may have been paid, so the ledger does not forget them.
    async with imagen.open_client(settings(home)) as client:
        counts = (await client.spending()).attempts
    assert counts.in_flight + counts.unknown == 4


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the platform has no SIGHUP")
async def test_a_hangup_that_nohup_ignores_changes_nothing(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with trio.fail_after(20):
            async with process(tmp_path) as child:
                wire = Wire(child)
                await wire.hello()
                await hang_up(child)
                arguments = {"prompt": "x", "model": "sketch", "size": "64x64"}
                call = {"name": "generate_image", "arguments": arguments}
                assert not (await wire.ask("tools/call", call))["isError"]
                await child.stdin.aclose()
                assert await child.wait() == 0
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_it_ends_within_two_seconds_with_images_in_flight(tmp_path: Path) -> None:
    with trio.fail_after(40):
        # One after the other: the start of another would take the cores away.
        for stop in STOPS:
            home = tmp_path / stop.__name__
            home.mkdir()
            await stop_in_flight(home, stop)


async def stop_idle(home: Path, stop: Callable[[trio.Process], Awaitable[None]]) -> None:
    async with process(home) as child:
        await Wire(child).hello()
        begun = trio.current_time()
        await stop(child)
        assert await child.wait() == 0
    seconds = trio.current_time() - begun
    print(f"{stop.__name__}: {seconds:.2f} s")
    assert seconds < 1


async def test_an_idle_server_ends_at_once(tmp_path: Path) -> None:
    with trio.fail_after(30):
        # One after the other: the start of another would take the cores away.
        for stop in STOPS:
            await stop_idle(tmp_path, stop)


async def test_a_client_that_reads_no_more_is_gone(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with process(tmp_path) as child:
            wire = Wire(child)
            await wire.hello()
            await child.stdout.aclose()
            await wire.send("tools/list", {})
            assert await child.wait() == 0


async def test_a_full_pipe_does_not_keep_it(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with process(tmp_path) as child:
            wire = Wire(child)
            await wire.hello()
            # Some 15 kB each, and they are not read.
            for _ in range(200):
                await wire.send("tools/list", {})
            begun = trio.current_time()
            await terminate(child)
            assert await child.wait() == 0
    assert trio.current_time() - begun < 2


async def test_a_bug_ends_the_server_and_is_heard_of(tmp_path: Path) -> None:
    with trio.fail_after(20):
        async with process(tmp_path, ["-c", CRASHING]) as child:
            wire = Wire(child)
            await wire.hello()
            await wire.read_to_end()
            errors = b"".join([chunk async for chunk in child.stderr])
            assert await child.wait() == 1
    assert b"AssertionError: a bug" in errors


# --- the command line ---------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "more", "says"),
    [
        ("sys.modules['mcp'] = None; sys.exit(main([]))", {}, b'pip install "imagen-trio[mcp]"'),
        (
            "sys.modules['hypercorn'] = None; sys.exit(main(['--http', '127.0.0.1:0']))",
            {},
            b'pip install "imagen-trio[http]"',
        ),
        (
            "sys.exit(main(['--http', '127.0.0.1:0']))",
            {"IMAGEN_HOME": "/dev/null/x"},
            b"Set IMAGEN_HOME to a folder",
        ),
        (
            "sys.exit(main([]))",
            {"IMAGEN_SESSION_TTL": "never"},
            b"IMAGEN_SESSION_TTL must be a number",
        ),
        ("sys.exit(main([]))", {"IMAGEN_HOME": "/dev/null/x"}, b"Set IMAGEN_HOME to a folder"),
    ],
)
async def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, code: str, more: dict[str, str], says: bytes
) -> None:
    with trio.fail_after(20):
        async with process(
            tmp_path, ["-c", f"import sys; from imagen_mcp.__main__ import main; {code}"], more
        ) as child:
            errors = b"".join([chunk async for chunk in child.stderr])
            assert await child.wait() == 2
    assert says in errors
    assert b"Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--version"], 0, "imagen-mcp "),
        (["--http", "0.0.0.0:1"], 2, "no login"),
        (["--http", "127.0.0.2:1"], 2, "no login"),
        (["--http", "127.0.0.1"], 2, "not HOST:PORT"),
        (["--http", "[::1]:65536"], 2, "not HOST:PORT"),
    ],
)
def test_the_options_are_checked(
    capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, says: str
) -> None:
    try:
        got = main(arguments)
    except SystemExit as stop:
        got = stop.code
    assert got == status
    assert says in "".join(capsys.readouterr())


async def test_a_person_at_a_terminal_is_told_what_it_is_for(tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, *SERVER]
    with trio.fail_after(20):
        done = await trio.run_process(
            command, stdin=theirs, capture_stdout=True, capture_stderr=True, check=False
        )
    for fd in (ours, theirs):
        socket.close(fd)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"mcpServers" in done.stderr


async def test_a_line_that_is_too_long_is_refused_and_the_server_goes_on(tmp_path: Path) -> None:
    code = "import sys, imagen_mcp._stdio as s; s._LONGEST_LINE = 100_000\n"
    code += "from imagen_mcp.__main__ import main; sys.exit(main([]))"
    with trio.fail_after(20):
        async with process(tmp_path, ("-c", code)) as child:
            wire = Wire(child)
            await wire.hello()
            await child.stdin.send_all(b"{" + b" " * 300_000 + b"}\n")
            assert "tools" in await wire.ask("tools/list", {})
            await close_input(child)
            assert await child.wait() == 0


@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
def test_lines_are_put_together_and_long_ones_left_out(cut: int, monkeypatch) -> None:
    monkeypatch.setattr("imagen_mcp._stdio._LONGEST_LINE", 8)
    sent = b"12345678\n\n123456789\n  \nab\n" + b"x" * 50 + b"\nlast\nunfinished"
    lines = _Lines()
    found = [one for at in range(0, len(sent), cut) for one in lines.feed(sent[at : at + cut])]
    assert [one if isinstance(one, bytes) else "long" for one in found] == [
        b"12345678",
        "long",
        b"ab",
        "long",
        b"last",
    ]
