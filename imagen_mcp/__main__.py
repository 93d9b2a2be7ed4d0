"""`imagen-mcp`: an MCP server over standard input and output, or over HTTP."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

import imagen

from ._end import End, watch_end
from ._front import Front, serve_behind

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from ._context import ServerState
    from ._http import MountedApps

__all__ = ["main"]

# So long an end may take before the host's process ends without the server.
# Hosts wait 2 seconds, and replies that come meanwhile are the host's.
_STDIO_LEAVE_SECONDS = 0.8
_HTTP_LEAVE_SECONDS = 2.0
_HTTP_FRONT_SECONDS = 2.9
# Where there is no front, what is in flight gets this long.
_CLOSE_SECONDS = 0.8
# An image of the best quality takes up to two minutes. The library's own
# default is meant for programs with a user who waits.
_LIBRARY_SALVAGE_SECONDS = 30.0
_SALVAGE_SECONDS = 180.0

# For these the SDK refuses requests that name another host: a page in a browser
# must not reach the server by DNS rebinding.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_NO_LIMIT = (
    "imagen-mcp: there is no spending limit. Set [[budgets]] or confirm_above_usd in imagen.toml,"
    " or usd_per_day of each token."
)

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
    if options.http is None:
        return serve_behind(partial(_serve, options))
    return serve_behind(partial(_serve, options), seconds=_HTTP_FRONT_SECONDS)


def _serve(options: argparse.Namespace, front: Front) -> int:
    # Replies carry these as notes.
    warnings.simplefilter("ignore", imagen.providers.ModelRetiringWarning)
    try:
        serve = _prepare(options.http, front, read_only=options.read_only)
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
    if host not in _LOOPBACK and not os.environ.get("IMAGEN_MCP_TOKENS", "").strip():
        raise argparse.ArgumentTypeError(
            f"{host} may be reached from other machines, and this server has no login: give people"
            " tokens (IMAGEN_MCP_TOKENS), or use 127.0.0.1"
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


def _prepare(
    http: tuple[str, int] | None, front: Front, *, read_only: bool
) -> Callable[[], Awaitable[None]]:
    from .server import make_server

    settings = imagen.load_settings()
    seconds = _seconds_left(settings, front)
    # A cancelled batch is salvaged for as long as a reply may take: the process
    # stays, and the images are paid. Only its own end is bounded, by
    # `close_seconds`, and by `End` if a thread hangs.
    salvage_seconds = max(settings.salvage_seconds, settings.bounds.reply_seconds)
    settings = msgspec.structs.replace(settings, salvage_seconds=salvage_seconds)
    if http is None:
        server = make_server(settings, close_seconds=seconds, read_only=read_only)
        return partial(_serve_stdio, server, End(front, _STDIO_LEAVE_SECONDS, seconds))
    # Here, as a missing hypercorn is better reported before anything is opened.
    from ._http import MountedApps, auth_settings, read_replica_key
    from ._people import read_people

    people, key = read_people(), read_replica_key()
    doors = MountedApps(settings)
    server = make_server(
        settings,
        open_client=doors.open_client,
        close_seconds=seconds,
        local_files=False,
        read_only=read_only,
        people=people,
        auth=auth_settings(http) if people else None,
        replica_key=key,
    )
    end = End(front, _HTTP_LEAVE_SECONDS, seconds)
    return partial(_serve_http, server, doors, settings, http, end, is_replica=key is not None)


def _seconds_left(settings: imagen.Settings, front: Front) -> float:
    """Return how long what is in flight may take once the server ends."""
    if not front.is_there:
        return _CLOSE_SECONDS
    if settings.salvage_seconds == _LIBRARY_SALVAGE_SECONDS:
        return _SALVAGE_SECONDS
    return settings.salvage_seconds


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


async def _serve_stdio(server: MCPServer[ServerState], end: End) -> None:
    from ._stdio import claim_wire, serve_stdio

    async with claim_wire() as wire, trio.open_nursery() as outside:
        outside.start_soon(end.leave_in_time, wire)
        async with trio.open_nursery() as nursery:

            def stop() -> None:
                end.begin()
                nursery.cancel_scope.cancel("the host ends the server")

            # Outside, as a second signal must not kill what finishes.
            await outside.start(watch_end, end.front, stop)
            await serve_stdio(server, wire, on_end=end.begin)
            nursery.cancel_scope.cancel("the client has left")
        outside.cancel_scope.cancel("the server has ended")


async def _serve_http(
    server: MCPServer[ServerState],
    doors: MountedApps,
    settings: imagen.Settings,
    address: tuple[str, int],
    end: End,
    *,
    is_replica: bool,
) -> None:
    from ._http import serve_http

    # hypercorn would hide the sentence that tells why a client cannot be
    # opened.
    async with imagen.open_client(settings):
        pass
    stopping = trio.Event()

    def stop() -> None:
        end.begin()
        stopping.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(end.leave_in_time)
        await nursery.start(watch_end, end.front, stop)
        await serve_http(
            server,
            address,
            doors=doors,
            is_replica=is_replica,
            stop=stopping.wait,
            on_listening=partial(_say_where, settings),
            end_seconds=end.longest_seconds,
        )
        nursery.cancel_scope.cancel("the server has stopped")


def _is_limited(settings: imagen.Settings) -> bool:
    """Return True if spending has a limit, or there is nothing to pay for."""
    from ._models import is_available

    paid = (
        model
        for model in settings.load_catalog()
        if is_available(model, settings) and model.price_range[1] != 0
    )
    return bool(settings.budgets) or settings.confirm_above_usd is not None or not any(paid)


def _say_where(settings: imagen.Settings, url: str) -> None:
    from ._people import read_people

    people = read_people()
    has_own_limits = bool(people) and all(one.usd_per_day is not None for one in people)
    lines = [f"imagen-mcp listens at {url}"]
    if not has_own_limits and not _is_limited(settings):
        lines.insert(0, _NO_LIMIT)
    # The last line has the URL.
    print("\n".join(lines), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
