"""Ways to a provider for tests: drivers and transports, and a server of a few
lines that says anything at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
import trio

import imagen
from imagen import Bounds, OutcomeUnknownError, RetryPolicy, Secret
from imagen._transport.driver import ExchangeDriver, ExchangeObserver
from imagen._transport.http import HttpTransport
from imagen.providers import GeneratedImages
from imagen.providers.openai import _adapter as openai
from imagen.testing import InlineWorkers
from imagen.testing.simulator import Fault, Stall
from tests.support.exchanges import CATALOG, call

KEY = "sk-a-key-that-must-stay-secret"
CALM = Bounds(connect_seconds=5.0, reply_seconds=5.0, idle_seconds=5.0, max_body_bytes=1 << 20)
# For what has to run into a time limit; everything else may take as long as a
# busy machine needs.
QUICK = Bounds(connect_seconds=0.4, reply_seconds=0.4, idle_seconds=0.25, max_body_bytes=1 << 20)
RETRY = RetryPolicy(
    attempts=3, total_seconds=2.0, wait_initial_seconds=0.001, wait_max_seconds=0.002
)
DALLE = msgspec.structs.replace(CATALOG.find("openai/dall-e-3"), wire_name="dall-e-3")
IMAGEN = CATALOG.find("imagen-4")
UNKNOWN = (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown")


@asynccontextmanager
async def open_transport(
    base_url: str,
    *,
    provider: imagen.providers.Provider = openai.PROVIDER,
    key: str | None = KEY,
    bounds: Bounds = CALM,
    http: httpx2.AsyncClient | None = None,
) -> AsyncIterator[HttpTransport]:
    secret = None if key is None else Secret(key)
    transport = HttpTransport(
        provider,
        base_url=base_url,
        key=secret,
        bounds=bounds,
        user_agent="imagen-test/1",
        http=http,
    )
    try:
        yield transport
    finally:
        await transport.aclose()


@asynccontextmanager
async def open_driver(
    base_url: str, *, bounds: Bounds = CALM, **more: Any
) -> AsyncIterator[ExchangeDriver]:
    async with open_transport(base_url, bounds=bounds, **more) as transport:
        yield ExchangeDriver(transport, bounds=bounds, retry=RETRY, workers=InlineWorkers())


class Previews(ExchangeObserver):
    """Counts what the driver tells."""

    def __init__(self) -> None:
        self.sent = 0
        self.numbers: list[int] = []

    async def before_sending(self) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += 1

    def preview(self, partial: imagen.providers.PartialImage) -> None:
        self.numbers.append(partial.number)


async def run_openai(
    driver: ExchangeDriver, model: str | imagen.Model = "gpt-image-2", **fields: Any
) -> GeneratedImages:
    return await driver.run(openai.generate(call(model, **fields)), ExchangeObserver())


async def failure(running: Awaitable[object]) -> imagen.ImagenError:
    """The error of something that has to fail, and soon."""
    with trio.fail_after(10), pytest.raises(imagen.ImagenError) as caught:
        await running
    return caught.value


def bounds_for(fault: Fault) -> Bounds:
    return QUICK if isinstance(fault, Stall) else CALM


def outcome(error: imagen.ImagenError) -> tuple[type, str, bool, str]:
    return type(error), error.code, error.retryable, error.billed


# --- a server of a few lines --------------------------------------------------

Handler = Callable[[trio.abc.Stream, bytes], Awaitable[object]]


class Server:
    """What `open_server` gives: where it listens, and what arrived, head and
    body together.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.port = port
        self.requests: list[bytes] = []
        self.connections = 0
        self._closed = 0
        self._changed = trio.Event()

    def note_closed(self) -> None:
        self._closed += 1
        self._changed.set()
        self._changed = trio.Event()

    async def wait_closed(self, connections: int = 1) -> None:
        """Waits until so many connections have come and gone."""
        with trio.fail_after(10):
            while self._closed < connections:
                await self._changed.wait()


async def read_request(stream: trio.abc.Stream) -> bytes:
    """One request off the wire; empty when the client has gone."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        part = await stream.receive_some(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [
        line for line in bytes(head).lower().split(b"\r\n") if line.startswith(b"content-length:")
    ]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        part = await stream.receive_some(65536)
        data += part
        missing -= len(part)
    return bytes(data)


@asynccontextmanager
async def open_server(
    handler: Handler, *, once: bool = False, tls: Any = None
) -> AsyncIterator[Server]:
    """Serves each request by a function that writes to the connection; with
    `once`, one request a connection.
    """
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(listener.socket.getsockname()[1])

    async def serve(stream: trio.abc.Stream) -> None:
        server.connections += 1
        if tls is not None:
            stream = trio.SSLStream(stream, tls, server_side=True, https_compatible=True)
        try:
            while request := await read_request(stream):
                server.requests.append(request)
                await handler(stream, request)
                if once:
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)
            server.note_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


def answering(*pieces: bytes) -> Handler:
    async def answer(stream: trio.abc.Stream, request: bytes) -> None:
        for piece in pieces:
            await stream.send_all(piece)

    return answer


def http_reply(body: bytes | dict[str, Any], status: str = "200 OK", **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    named = {"content-length": str(len(content)), "content-type": "application/json"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + content


# Raised by parts that are not used: cookies and URLs are checked before, the
# pool keeps its own to itself.
NEVER_RAISED = {"CookieConflict", "InvalidURL", "ConnectionNotAvailable"}


def exceptions_of(module: Any) -> Iterable[type[Exception]]:
    for name in sorted(vars(module)):
        kind = getattr(module, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and name not in NEVER_RAISED:
            yield kind


def made(kind: type[Exception]) -> Exception:
    request = httpx2.Request("GET", "https://api.example")
    for arguments in (
        ((), {}),
        (("it broke",), {}),
        (("it broke",), {"request": request, "response": None}),
    ):
        try:
            return kind(*arguments[0], **arguments[1])
        except TypeError:
            continue
    raise AssertionError(f"{kind} cannot be made")
