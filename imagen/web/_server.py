"""The page on this machine, on hypercorn's Trio worker."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import hypercorn.config
import hypercorn.trio
import msgspec
from starlette.types import ASGIApp

from .._client.assembly import open_client
from .._client.client import Client
from .._errors import ConfigurationError
from .._policy.settings import Settings, load_settings
from .._system.nursery import open_bare_nursery
from ._app import open_page
from ._home import PageKey, check_free, read_key, write_key, write_opener

__all__ = ["serve"]

# Streams end by themselves; replies in flight get this long.
_GRACE_SECONDS = 2.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    settings: Settings | None = None,
    stop: Callable[[], Awaitable[None]],
    on_listening: Callable[[str, Path], object],
) -> None:
    """Serve the page on this machine until `stop` returns. It is called once
    more then, and what was sent is not waited for once it returns again.

    Args:
        port: None for the one of the home, which is chosen at its first time.
        on_listening: Gets the address, and the file that leads a browser there.

    The end leaves the batches and closes the client, which waits for what was
    sent for at most `salvage_seconds` of the settings.

    Raises:
        ConfigurationError: the host is not this machine, the port is in use, or
            another server has the page of this home.
    """
    if host not in _LOOPBACK:
        raise ConfigurationError(
            f"{host} may be reached from other machines, and the page has no login: serve it on"
            " 127.0.0.1, or mount imagen.web.open_app in a service that has one."
        )
    settings = load_settings() if settings is None else settings
    # The page asks the user itself.
    asking = msgspec.structs.replace(settings, confirm_above_usd=None)
    async with open_bare_nursery() as outside:
        async with open_client(asking) as client:
            key, listener = await _prepare(client, host, port)
            origin = f"http://{_host_port(host, listener.getsockname()[1])}"
            url = f"{origin}/{key.secret}/"
            opener = await client._services.runtime.workers.run(
                partial(write_opener, settings.home, url)
            )
            hosts = _hosts(listener.getsockname()[1])
            async with open_page(client, key.secret, hosts, settings.confirm_above_usd) as page:
                app, events = page

                async def stop_streams() -> None:
                    await stop()
                    events.close()
                    outside.start_soon(_hasten, client, stop)

                async with open_bare_nursery() as nursery:
                    await nursery.start(_runner(app, listener, stop_streams))
                    on_listening(url, opener)
        outside.cancel_scope.cancel("the page has ended")


async def _prepare(client: Client, host: str, port: int | None) -> tuple[PageKey, socket.socket]:
    home, work = client.settings.home, client._services.runtime.workers.run
    await work(partial(check_free, home))
    key = await work(partial(read_key, home))
    listener = _listen(host, key.port if port is None else port)
    if port is None:
        key = msgspec.structs.replace(key, port=listener.getsockname()[1])
    await work(partial(write_key, home, key))
    return key, listener


async def _hasten(client: Client, stop: Callable[[], Awaitable[None]]) -> None:
    await stop()
    client.bound_salvage(0)


def _runner(
    app: ASGIApp, listener: socket.socket, stop: Callable[[], Awaitable[None]]
) -> Callable[..., Awaitable[None]]:
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = _GRACE_SECONDS
    config.loglevel = "WARNING"
    # Starlette's type of an application, which hypercorn's spells out
    # differently.
    return partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop)  # type: ignore[arg-type]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(
            f"Port {port} of {host} cannot be used: {error.strerror or error}. Choose another with"
            " --port; what the browser keeps for this home stays with the old one."
        ) from error


def _hosts(port: int) -> list[str]:
    """Return the names by which this machine may be addressed."""
    named = [_host_port(name, port) for name in _LOOPBACK]
    # Browsers leave out the usual port.
    return [*named, *(name.removesuffix(":80") for name in named)] if port == 80 else named


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
