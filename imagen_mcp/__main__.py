"""`imagen-mcp`: an MCP server over standard input and output, or over HTTP."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

import imagen

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from ._context import ServerState
    from ._http import MountedApps

__all__ = ["main"]

# Hosts wait 2 seconds between closing standard input and killing (shutdown
# order of the MCP specification).
_CLOSE_SECONDS = 0.8
_STDIO_STOP_SECONDS = 1.6
_HTTP_STOP_SECONDS = 2.5

# For these the SDK refuses requests that name another host: a page in a browser
# must not reach the server by DNS rebinding.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_BY_HAND = """\
imagen-mcp speaks the Model Context Protocol: an assistant starts it, not a user.
Put this into the assistant's configuration:

  {"mcpServers": {"imagen": {"command": "imagen-mcp", "env": {"OPENAI_API_KEY": "..."}}}}

or serve it on this machine with: imagen-mcp --http 127.0.0.1:8765"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the client leaves or a signal comes; return the exit status."""
    options = _parser().parse_args(arguments)
    if options.version:
        print(f"imagen-mcp {imagen.version()}")
        return 0
    if options.http is None and sys.stdin.isatty():
        return _complain(_BY_HAND)
    # Replies carry these as notes.
    warnings.simplefilter("ignore", imagen.providers.ModelRetiringWarning)
    try:
        serve = _prepare(options.http, read_only=options.read_only)
    except ModuleNotFoundError as error:
        extra = _extra_of(error)
        return _complain(f'imagen-mcp needs {error.name}: pip install "imagen-trio[{extra}]"')
    except imagen.ImagenError as error:
        return _complain(f"imagen-mcp: {error}")
    return _run(serve)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imagen-mcp",
        description=(
            "An MCP server that makes images. Without options it speaks over standard input and"
            " output."
        ),
    )
    parser.add_argument(
        "--http",
        metavar="HOST:PORT",
        type=_read_address,
        help="serve Streamable HTTP at http://HOST:PORT/mcp instead, for this machine only",
    )
    parser.add_argument(
        "--read-only", action="store_true", help="offer no tool that spends or changes anything"
    )
    parser.add_argument("--version", action="store_true", help="say the version and end")
    return parser


def _read_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:8765")
    if host not in _LOOPBACK:
        raise argparse.ArgumentTypeError(
            f"{host} may be reached from other machines, and this server has no login: use"
            " 127.0.0.1, and put a proxy that asks for a password before it"
        )
    return host, int(port)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 2


def _extra_of(error: ModuleNotFoundError) -> str:
    """The extra that brings a missing module. A module that none brings is a
    bug, and shows.
    """
    match (error.name or "").partition(".")[0]:
        case "mcp" | "mcp_types" | "pydantic":
            return "mcp"
        case "hypercorn":
            return "http"
        case _:
            raise error


def _prepare(http: tuple[str, int] | None, *, read_only: bool) -> Callable[[], Awaitable[None]]:
    from .server import make_server

    settings = imagen.load_settings()
    # A cancelled batch is salvaged for as long as a reply may take: the process
    # stays, and the images are paid. Only its own end is bounded, by
    # `close_seconds`, and by `_leave_within` if a thread hangs.
    salvage_seconds = max(settings.salvage_seconds, settings.bounds.reply_seconds)
    settings = msgspec.structs.replace(settings, salvage_seconds=salvage_seconds)
    if http is None:
        return partial(
            _serve_stdio,
            make_server(settings, close_seconds=_CLOSE_SECONDS, read_only=read_only),
        )
    # Here, as a missing hypercorn is better reported before anything is opened.
    from ._http import MountedApps

    doors = MountedApps(settings)
    server = make_server(
        settings,
        open_client=doors.open_client,
        close_seconds=_CLOSE_SECONDS,
        local_files=False,
        read_only=read_only,
    )
    return partial(_serve_http, server, doors, settings, http)


def _run(serve: Callable[[], Awaitable[None]]) -> int:
    status = 0
    try:
        trio.run(serve)
    except* imagen.ImagenError as group:
        # The lifespan could not open its client.
        status = _complain(f"imagen-mcp: {_first(group)}")
    except* KeyboardInterrupt:
        status = 130
    return status


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _serve_stdio(server: MCPServer[ServerState]) -> None:
    from ._stdio import serve_stdio

    def leave() -> None:
        _leave_within(_STDIO_STOP_SECONDS)

    async with trio.open_nursery() as nursery:

        def stop() -> None:
            leave()
            nursery.cancel_scope.cancel("a signal came")

        await nursery.start(_watch_signals, stop)
        await serve_stdio(server, on_end=leave)
        nursery.cancel_scope.cancel("the client has left")


async def _serve_http(
    server: MCPServer[ServerState],
    doors: MountedApps,
    settings: imagen.Settings,
    address: tuple[str, int],
) -> None:
    from ._http import serve_http

    # hypercorn would hide the sentence that tells why a client cannot be
    # opened.
    async with imagen.open_client(settings):
        pass
    stopping = trio.Event()

    def stop() -> None:
        _leave_within(_HTTP_STOP_SECONDS)
        stopping.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(_watch_signals, stop)
        await serve_http(server, address, doors=doors, stop=stopping.wait, on_listening=_say_where)
        nursery.cancel_scope.cancel("the server has stopped")


def _say_where(url: str) -> None:
    print(f"imagen-mcp listens at {url}", file=sys.stderr, flush=True)


async def _watch_signals(stop: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(*_ending_signals()) as signals:
        task_status.started()
        async for _ in signals:
            stop()


def _ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end the server; the end of the terminal is one,
    unless nohup ignores it.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


def _leave_within(seconds: float) -> None:
    """End the process after a bound, e.g. if a drawing thread cannot be
    interrupted.
    """

    def leave() -> None:
        # The ledger is written before anything is sent: the attempts stay in it
        # as in flight.
        os._exit(0)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


if __name__ == "__main__":
    sys.exit(main())
