"""MCP over Streamable HTTP, on hypercorn's Trio worker. For this machine only: there is no login, and pictures cost money."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import hypercorn.config
import hypercorn.trio
import trio
from mcp.server import MCPServer
from starlette.types import Receive, Scope, Send

import imagen

from ._shop import Shop

__all__ = ["CallbackDoor", "serve_http"]

# Streams of events stay open as long as the client likes; a stop waits this long for answers on their way.
_GRACE_SECONDS = 1.0


class CallbackDoor:
    """The web application that takes callbacks for the client that the server opens, which is there before any request.

    They come in below the path of `url`, if there is one: a proxy of the user's passes them on.
    """

    def __init__(self, url: str | None) -> None:
        self.url = url
        self._client: imagen.Client | None = None

    @asynccontextmanager
    async def open_client(self, settings: imagen.Settings) -> AsyncIterator[imagen.Client]:
        async with imagen.open_client(settings) as self._client:
            yield self._client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._client is not None, "a request before the lifespan has begun"
        await imagen.callback_app(self._client)(scope, receive, send)


async def serve_http(
    server: MCPServer[Shop],
    address: tuple[str, int],
    *,
    callbacks: CallbackDoor,
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
    if callbacks.url is not None:
        # Behind the routes of MCP, and without its check of the host: who calls is proven by his signature.
        app.mount(urlsplit(callbacks.url).path, callbacks)
    # The SDK's type of an ASGI application is Starlette's, which hypercorn's spells out differently.
    serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve)
        on_listening(f"{binds[0]}/mcp")
