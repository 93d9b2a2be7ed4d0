"""MCP over standard input and output, on Trio alone.

The SDK's own transport reads in a worker thread that cannot be interrupted: a
signal is noticed only with the next line of input, and a crash leaves a process
that does not reply. Here both ends are Trio streams, so everything can be
cancelled.

While it serves, descriptor 0 is empty and descriptor 1 leads to standard error:
nothing that prints can break the protocol.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import anyio
import trio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.lowlevel import NotificationOptions
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from ._context import ServerState

__all__ = ["Wire", "claim_wire", "serve_stdio"]

_LONGEST_LINE = 64 << 20
_PIPE_BYTES = 1 << 20


class Wire(NamedTuple):
    """Streams to and from the client."""

    reading: trio.lowlevel.FdStream
    writing: trio.lowlevel.FdStream

    def close(self) -> None:
        """Close both: the client sees the end at once."""
        self.reading.close()
        self.writing.close()


@asynccontextmanager
async def claim_wire() -> AsyncIterator[Wire | None]:
    """Take over the standard streams of the process, which are given up
    permanently. None on Windows, where the SDK has its own way.
    """
    if sys.platform == "win32":
        yield None
        return
    input_fd, output_fd = _claim_standard_streams()
    async with (
        trio.lowlevel.FdStream(input_fd) as reading,
        trio.lowlevel.FdStream(output_fd) as writing,
    ):
        yield Wire(reading, writing)


async def serve_stdio(
    server: MCPServer[ServerState],
    wire: Wire | None,
    *,
    on_end: Callable[[], None] = lambda: None,
) -> None:
    """Serves one client until it closes its end; `on_end` is called at that
    moment, before the lifespan is closed.
    """
    # The SDK has no public way to run a custom transport; its conformance
    # server takes this one too.
    low = server._lowlevel_server
    options = low.create_initialization_options(NotificationOptions(tools_changed=True))
    if wire is None:
        async with stdio_server() as (receive, send):
            await low.run(receive, send, options)
        return
    incoming_send, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, outgoing_receive = anyio.create_memory_object_stream[SessionMessage](0)

    def end() -> None:
        on_end()
        incoming_send.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_read, wire.reading, incoming_send, end)
        nursery.start_soon(_write, wire.writing, outgoing_receive, end)
        await low.run(incoming, outgoing, options)
        nursery.cancel_scope.cancel()


async def _read(
    stream: trio.abc.ReceiveStream,
    messages: MemoryObjectSendStream[SessionMessage | Exception],
    end: Callable[[], None],
) -> None:
    lines = _Lines()
    with messages:
        try:
            async for chunk in stream:
                for line in lines.feed(chunk):
                    await messages.send(_parse(line))
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, trio.ClosedResourceError):
            # The server ended first, or the writer found out that the client is
            # gone.
            return
        end()


class _Lines:
    """Puts lines together that arrive in pieces; of a line that is too long
    only an error is left.
    """

    def __init__(self) -> None:
        self._begun = bytearray()
        self._is_too_long = False

    def feed(self, chunk: bytes | bytearray) -> list[bytes | ValueError]:
        """The lines that this chunk completes, without blank ones."""
        *ends, rest = chunk.split(b"\n")
        lines: list[bytes | ValueError] = []
        for end in ends:
            self._add(end)
            lines += self._take()
        self._add(rest)
        return lines

    def _add(self, piece: bytes | bytearray) -> None:
        self._is_too_long = self._is_too_long or len(self._begun) + len(piece) > _LONGEST_LINE
        if self._is_too_long:
            self._begun.clear()
        else:
            self._begun += piece

    def _take(self) -> list[bytes | ValueError]:
        line, was_too_long = bytes(self._begun), self._is_too_long
        self._begun.clear()
        self._is_too_long = False
        if was_too_long:
            return [ValueError(f"The line is longer than {_LONGEST_LINE:,} bytes: send less.")]
        return [line] if line.strip() else []


def _parse(line: bytes | ValueError) -> SessionMessage | Exception:
    if isinstance(line, ValueError):
        return line
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        # The SDK replies with an error of the protocol.
        return error


async def _write(
    stream: trio.abc.SendStream,
    messages: MemoryObjectReceiveStream[SessionMessage],
    end: Callable[[], None],
) -> None:
    with messages:
        try:
            async for item in messages:
                text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
                await stream.send_all(text.encode() + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # The client has gone, or the server has left it: further output is
            # dropped, so that no task waits to write it.
            end()
            async for _ in messages:
                pass


def _claim_standard_streams() -> tuple[int, int]:
    """Return new descriptors for the client's input and output; the standard
    ones are redirected.
    """
    sys.stdout.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        return _claim(0, nothing), _claim(1, 2)
    finally:
        os.close(nothing)


def _claim(fd: int, diversion: int) -> int:
    if sys.platform == "win32":
        raise NotImplementedError
    import fcntl

    own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.dup2(diversion, fd)
    if sys.platform == "linux":
        # A pipe holds 64 KiB at first, and an image would take dozens of turns
        # through it. It may be no pipe, though, or the system may allow no
        # more.
        with suppress(OSError):
            fcntl.fcntl(own, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return own
