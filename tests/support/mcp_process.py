"""The server as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from mcp import Client, StdioServerParameters

from tests.support.paths import ROOT

SERVER = ("-m", "imagen_mcp")


def environment(home: Path, **more: str) -> dict[str, str]:
    # A coverage measurement or a proxy of the caller's must not leak in.
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "IMAGEN_HOME": str(home), **more}


@asynccontextmanager
async def stdio_client(
    home: Path, *, mode: str = "auto", command: Sequence[str] = SERVER
) -> AsyncIterator[Client]:
    parameters = StdioServerParameters(
        command=sys.executable, args=["-W", "error", *command], env=environment(home), cwd=home
    )
    async with Client(parameters, mode=mode) as client:
        yield client


@asynccontextmanager
async def process(
    home: Path, command: Sequence[str] = SERVER, more: Mapping[str, str] | None = None
) -> AsyncIterator[trio.Process]:
    """A server whose pipes are in the test's hands; killed at the end if it
    still runs.
    """
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            capture_stdout=False,
            capture_stderr=False,
            check=False,
            env=environment(home, **(more or {})),
            cwd=home,
        )
        child: trio.Process = await nursery.start(run)
        try:
            yield child
        finally:
            if child.returncode is None:
                child.kill()


class Wire:
    """Speaks JSON-RPC by hand, and keeps everything that came."""

    def __init__(self, child: trio.Process) -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._stdin, self._stdout = child.stdin, child.stdout
        self._ids = 0
        self._rest = b""
        self.lines: list[bytes] = []

    async def send(self, method: str, params: object, *, notify: bool = False) -> None:
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
        if not notify:
            self._ids += 1
            message["id"] = self._ids
        await self._stdin.send_all(json.dumps(message).encode() + b"\n")

    async def answer(self) -> dict[str, object]:
        """The answer to the last request."""
        while True:
            message = json.loads(await self._line())
            if message.get("id") == self._ids:
                return message

    async def ask(self, method: str, params: object) -> dict[str, object]:
        await self.send(method, params)
        return (await self.answer())["result"]  # type: ignore[return-value]

    async def hello(self) -> None:
        client = {"name": "test", "version": "0"}
        await self.ask(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client},
        )
        await self.send("notifications/initialized", {}, notify=True)

    async def read_to_end(self) -> None:
        async for chunk in self._stdout:
            self._rest += chunk
        self.lines += [line for line in self._rest.split(b"\n") if line]

    async def _line(self) -> bytes:
        while b"\n" not in self._rest:
            chunk = await self._stdout.receive_some()
            assert chunk, "the server closed its output"
            self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        self.lines.append(line)
        return line


async def read_url(child: trio.Process) -> str:
    said = b""
    while b"\n" not in said:
        said += await child.stderr.receive_some()
    return said.decode().split()[-1]


@asynccontextmanager
async def silent_provider() -> AsyncIterator[tuple[str, Callable[[int], Awaitable[None]]]]:
    """A server that takes connections and never answers; gives its URL, and a
    wait for so many connections.
    """
    listener = trio.socket.socket()
    connections: list[trio.socket.SocketType] = []
    try:
        await listener.bind(("127.0.0.1", 0))
        listener.listen()

        async def wait_connections(count: int) -> None:
            while len(connections) < count:
                connections.append((await listener.accept())[0])

        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", wait_connections
    finally:
        for item in (listener, *connections):
            item.close()
