"""MCP over Streamable HTTP, on hypercorn's Trio worker. For this machine only: there is no login, and pictures cost money."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import hypercorn.config
import hypercorn.trio
import trio
from mcp.server import MCPServer

from ._desk import Shop

__all__ = ["serve_http"]

# Streams of events stay open as long as the client likes; a stop waits this long for answers on their way.
_GRACE_SECONDS = 1.0


async def serve_http(
    server: MCPServer[Shop],
    address: tuple[str, int],
    *,
    stop: Callable[[], Awaitable[None]],
    on_listening: Callable[[str], None],
) -> None:
    """Serves until `stop` returns; `on_listening` is told the URL, with the port that the system chose for port 0."""
    host, port = address
    config = hypercorn.config.Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.graceful_timeout = _GRACE_SECONDS
    config.loglevel = "WARNING"
    app = server.streamable_http_app(host=host)
    # The SDK's type of an ASGI application is Starlette's, which hypercorn's spells out differently.
    serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve)
        on_listening(f"{binds[0]}/mcp")
