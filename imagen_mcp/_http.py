"""MCP over Streamable HTTP, on hypercorn's Trio worker. Without tokens it is for
this machine only, as images cost money.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import urlsplit

import hypercorn.config
import hypercorn.trio
import trio
from mcp.server import MCPServer
from mcp.server.auth.settings import AuthSettings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import imagen

from ._context import ServerState
from ._issuer import read_issuer
from ._metrics import metrics_route
from ._subscribers import open_metrics, open_watched_client

__all__ = ["MountedApps", "auth_settings", "read_replica_key", "serve_http"]

# Event streams stay open as long as the client likes; a stop waits this long
# for replies in flight.
_GRACE_SECONDS = 1.0
_PATH = "/mcp"
_LEAST_KEY = 32


class MountedApps:
    """The web applications for others than assistants, with the client that the
    server opens, which is there before any request: callbacks of providers, and
    links to images.

    Each is below the path of its URL, if there is one: the user's proxy passes
    its requests on.
    """

    def __init__(self, settings: imagen.Settings) -> None:
        self._urls = settings.callback_url, settings.share_url
        self._metrics = open_metrics()
        self._callbacks: ASGIApp | None = None
        self._links: ASGIApp | None = None

    @asynccontextmanager
    async def open_client(self, settings: imagen.Settings) -> AsyncIterator[imagen.Client]:
        more = () if self._metrics is None else (self._metrics,)
        async with open_watched_client(settings, more) as client:
            self._callbacks, self._links = (
                imagen.callback_app(client),
                imagen.sharing.share_app(client.shares),
            )
            yield client

    def mount(self, app: Starlette) -> None:
        """Mount the apps after the routes of MCP and without its check of the
        host: each checks its callers itself.
        """
        if self._metrics is not None:
            app.router.routes.append(metrics_route(self._metrics))
        callbacks, links = (
            None if url is None else urlsplit(url).path.rstrip("/") for url in self._urls
        )
        doors = [(callbacks, self._take_callback), (links, self._follow_link)]
        if callbacks == links:
            doors = [(links, self._take_either)]
        paths = [(path, door) for path, door in doors if path is not None]
        # The longest first, as an empty one takes everything.
        for path, door in sorted(paths, key=lambda one: -len(one[0])):
            app.mount(path, door)

    async def _take_either(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Callbacks are posted, and links never are.
        door = self._take_callback if scope.get("method") == "POST" else self._follow_link
        await door(scope, receive, send)

    async def _take_callback(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._callbacks is not None, "a request before the lifespan has begun"
        await self._callbacks(scope, receive, send)

    async def _follow_link(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._links is not None, "a request before the lifespan has begun"
        await self._links(scope, receive, send)


def auth_settings(address: tuple[str, int]) -> AuthSettings:
    """Return what clients without a token are told: the address of the server,
    and who issues tokens for it.

    Raises:
        ConfigurationError: an address is wrong.
    """
    url = os.environ.get("IMAGEN_MCP_URL", "").strip() or f"http://{_host_port(address)}{_PATH}"
    issuer = read_issuer() or url.removesuffix(_PATH)
    try:
        # Tokens of the file are for this server alone, and say no resource;
        # that of an issued one is checked with the token.
        return AuthSettings.model_validate(
            {"issuer_url": issuer, "resource_server_url": url, "validate_token_resource": False}
        )
    except ValueError:
        raise imagen.ConfigurationError(
            "IMAGEN_MCP_URL and IMAGEN_MCP_ISSUER are URLs such as https://images.example.com/mcp."
        ) from None


def read_replica_key() -> bytes | None:
    """Return the key that the replicas behind one load balancer share; None if
    this server is the only one.

    Raises:
        ConfigurationError: it is too short.
    """
    key = os.environ.get("IMAGEN_MCP_REPLICA_KEY", "").strip().encode()
    if key and len(key) < _LEAST_KEY:
        raise imagen.ConfigurationError(
            f"IMAGEN_MCP_REPLICA_KEY has fewer than {_LEAST_KEY} characters: set the same random"
            " text on each replica, e.g. what `openssl rand -hex 32` prints."
        )
    return key or None


def _host_port(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _say_health(_: Request) -> Response:
    return JSONResponse({"status": "ok", "version": imagen.version()})


class _ClosesOnRequest:
    """Application that closes the connection of a client that says so; hypercorn
    leaves that to applications.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        said = dict(scope.get("headers", ())).get(b"connection", b"").lower()
        if scope["type"] != "http" or b"close" not in said:
            await self._app(scope, receive, send)
            return

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        await self._app(scope, receive, send_closing)


async def serve_http(
    server: MCPServer[ServerState],
    address: tuple[str, int],
    *,
    doors: MountedApps,
    is_replica: bool = False,
    stop: Callable[[], Awaitable[None]],
    on_listening: Callable[[str], None],
    end_seconds: float = 60.0,
) -> None:
    """Serve until `stop` returns; `on_listening` gets the URL, with the port
    that the system chose for port 0. The client may take `end_seconds` to
    close. A replica keeps nothing between two requests, as the next one may
    reach another.
    """
    config = hypercorn.config.Config()
    config.bind = [_host_port(address)]
    config.graceful_timeout = _GRACE_SECONDS
    config.shutdown_timeout = end_seconds
    config.loglevel = "WARNING"
    app = server.streamable_http_app(
        host=address[0], streamable_http_path=_PATH, stateless_http=is_replica
    )
    app.add_route("/health", _say_health)
    doors.mount(app)
    # The SDK's type of an ASGI application is Starlette's, which hypercorn's
    # spells out differently.
    serve = partial(hypercorn.trio.serve, _ClosesOnRequest(app), config, shutdown_trigger=stop)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        binds = await nursery.start(serve)
        on_listening(f"{binds[0]}{_PATH}")
