"""The way over real sockets: every fault has its error, is bounded in time and memory, and leaves nothing open."""

from __future__ import annotations

import gzip
import logging
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
import trio

import imagen
from imagen import (
    AuthenticationError,
    Bounds,
    ConfigurationError,
    ContentFilterError,
    HttpRequest,
    HttpResponse,
    OutcomeUnknownError,
    Pictures,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
    RetryPolicy,
    Secret,
)
from imagen._driver import ExchangeDriver, Watch
from imagen._transport import HttpTransport, check_base_url, is_loopback
from imagen.providers import nexos, openai
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from imagen.testing.simulator import (
    BrokenBase64,
    Drip,
    ExpiredLink,
    Fault,
    FewerImages,
    Garbage,
    GzipBomb,
    HtmlError,
    Nexos,
    NotAllowed,
    OpenAI,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Redirect,
    Refused,
    Reset,
    ServerError,
    Stall,
    Truncated,
    WrongMedia,
    open_simulator,
)
from tests.providers.stepping import CATALOG, call, images, sse

KEY = "sk-a-key-that-nobody-may-see"
CALM = Bounds(connect_seconds=5.0, reply_seconds=5.0, idle_seconds=5.0, max_body_bytes=1 << 20)
# For what has to run into a time limit; everything else may take as long as a busy machine needs.
QUICK = Bounds(connect_seconds=0.4, reply_seconds=0.4, idle_seconds=0.25, max_body_bytes=1 << 20)
RETRY = RetryPolicy(attempts=3, total_seconds=2.0, wait_initial_seconds=0.001, wait_max_seconds=0.002)
DALLE = msgspec.structs.replace(CATALOG.find("openai/dall-e-3"), wire_name="dall-e-3")
IMAGEN = CATALOG.find("imagen-4")
UNKNOWN = (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown")


@pytest.fixture(autouse=True)
def no_proxy_around_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def open_transport(
    base_url: str,
    *,
    provider: imagen.Provider = openai.PROVIDER,
    key: str | None = KEY,
    bounds: Bounds = CALM,
    http: httpx2.AsyncClient | None = None,
) -> AsyncIterator[HttpTransport]:
    secret = None if key is None else Secret(key)
    transport = HttpTransport(
        provider, base_url=base_url, key=secret, bounds=bounds, user_agent="imagen-test/1", http=http
    )
    try:
        yield transport
    finally:
        await transport.aclose()


@asynccontextmanager
async def open_driver(base_url: str, *, bounds: Bounds = CALM, **more: Any) -> AsyncIterator[ExchangeDriver]:
    async with open_transport(base_url, bounds=bounds, **more) as transport:
        yield ExchangeDriver(transport, bounds=bounds, retry=RETRY, workers=InlineWorkers())


class Previews(Watch):
    """Counts what the driver tells."""

    def __init__(self) -> None:
        self.sent = 0
        self.numbers: list[int] = []

    async def before_sending(self) -> None:
        await trio.lowlevel.checkpoint()
        self.sent += 1

    def preview(self, partial: imagen.Partial) -> None:
        self.numbers.append(partial.number)


async def run_openai(driver: ExchangeDriver, model: str | imagen.Model = "gpt-image-2", **fields: Any) -> Pictures:
    return await driver.run(openai.generate(call(model, **fields)), Watch())


async def failure(running: Awaitable[object]) -> imagen.ImagenError:
    """The error of something that has to fail, and soon."""
    with trio.fail_after(10), pytest.raises(imagen.ImagenError) as caught:
        await running
    return caught.value


def bounds_for(fault: Fault) -> Bounds:
    return QUICK if isinstance(fault, Stall) else CALM


def outcome(error: imagen.ImagenError) -> tuple[type, str, bool, str]:
    return type(error), error.code, error.retryable, error.billed


# --- a server of a few lines ----------------------------------------------------------------------------------------

Handler = Callable[[trio.abc.Stream, bytes], Awaitable[object]]


class Server:
    """What `open_server` gives: where it listens, and what arrived, head and body together."""

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
    lengths = [line for line in bytes(head).lower().split(b"\r\n") if line.startswith(b"content-length:")]
    missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
    while missing > 0:
        part = await stream.receive_some(65536)
        data += part
        missing -= len(part)
    return bytes(data)


@asynccontextmanager
async def open_server(handler: Handler, *, once: bool = False, tls: Any = None) -> AsyncIterator[Server]:
    """Serves each request by a function that writes to the connection; with `once`, one request a connection."""
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


# --- every fault of the simulator -----------------------------------------------------------------------------------

FAULTS: list[tuple[Fault, tuple[type, str, bool, str]]] = [
    (RateLimited(), (RateLimitError, "RATE_LIMIT", True, "no")),
    (RateLimited(told="text"), (RateLimitError, "RATE_LIMIT", True, "no")),
    (QuotaExhausted(), (QuotaExceededError, "QUOTA", False, "no")),
    (ServerError(), (ProviderError, "API_ERROR", True, "unknown")),
    (Overloaded(), (ProviderError, "API_ERROR", True, "no")),
    (Refused(), (ContentFilterError, "CONTENT_FILTER", False, "no")),
    (NotAllowed(), (AuthenticationError, "AUTHENTICATION", False, "no")),
    (FewerImages(), (ProviderError, "API_ERROR", False, "unknown")),
    (BrokenBase64(), (ProviderError, "API_ERROR", False, "yes")),
    (Reset(), UNKNOWN),
    (Reset(after_billing=True), UNKNOWN),
    (Stall(sent="nothing"), UNKNOWN),
    (Stall(sent="headers"), UNKNOWN),
    (Stall(sent="half"), UNKNOWN),
    (Truncated(), UNKNOWN),
    (Truncated(chunked=True), UNKNOWN),
    (Truncated(share=0.0), UNKNOWN),
    (Garbage(), (ProviderError, "API_ERROR", False, "unknown")),
    (HtmlError(), (ProviderError, "API_ERROR", True, "unknown")),
    (HtmlError(status=503), (ProviderError, "API_ERROR", True, "no")),
    (HtmlError(status=413), (imagen.InvalidRequestError, "API_ERROR", False, "no")),
    (GzipBomb(expands_to_bytes=4 << 20), (ProviderError, "API_ERROR", False, "unknown")),
    (Redirect(), (ProviderError, "API_ERROR", False, "no")),
]


@pytest.mark.parametrize(
    ("fault", "expected"), FAULTS, ids=lambda value: repr(value) if isinstance(value, Fault) else ""
)
@pytest.mark.parametrize("previews", [0, 2])
async def test_each_fault_has_its_error_is_met_once_and_leaves_nothing_open(fault, expected, previews):
    if isinstance(fault, FewerImages) and previews:
        expected = (ProviderError, "API_ERROR", False, "unknown")
    async with open_simulator(faults=fault, key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=bounds_for(fault)) as driver:
            error = await failure(run_openai(driver, previews=previews))
            assert outcome(error) == expected
        with trio.fail_after(10):
            await simulator.wait_closed()
        assert len(simulator.received) == 1
        assert not simulator.leaks


@pytest.mark.parametrize("fault", [None, Drip(piece_bytes=200, pause_seconds=0.001), WrongMedia(), ExpiredLink()])
@pytest.mark.parametrize("previews", [0, 2])
async def test_what_arrives_whole_is_given_as_it_is(fault, previews):
    async with open_simulator(faults=fault, key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai")) as driver:
            result = await run_openai(driver, previews=previews)
        await simulator.wait_closed()
        assert len(result.pictures) == 1
        assert len(simulator.received) == 1
        (bill,) = simulator.bills
        assert bill.delivered == (not isinstance(fault, WrongMedia))


async def test_previews_are_told_as_they_come():
    watch = Previews()
    async with open_simulator(key=KEY) as simulator, open_driver(simulator.base_url("openai")) as driver:
        result = await driver.run(openai.generate(call(previews=3)), watch)
    assert watch.numbers == [0, 1, 2]
    assert watch.sent == 1
    assert len(result.pictures) == 1


async def test_a_cancellation_closes_the_connection():
    async with open_simulator(latency=60, key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=Bounds()) as driver:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run_openai, driver)
                await simulator.wait_received(1)
                nursery.cancel_scope.cancel()
            with trio.fail_after(10):
                await simulator.wait_closed()


async def test_connections_are_used_again():
    async with open_simulator(key=KEY) as simulator, open_driver(simulator.base_url("openai")) as driver:
        for _ in range(5):
            await run_openai(driver)
            assert simulator.open_sockets == 1


async def test_an_idle_connection_that_the_server_closed_costs_nothing():
    async with open_server(answering(http_reply(images())), once=True) as server, open_driver(server.url) as driver:
        for number in range(1, 4):
            assert len((await run_openai(driver)).pictures) == 1
            await server.wait_closed(number)
        assert server.connections == 3


# --- what is sent twice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Reset(), Stall(), Truncated(), Truncated(chunked=True), Overloaded(), ServerError(), HtmlError(status=502)],
    ids=repr,
)
async def test_the_model_list_is_asked_again_and_the_creation_is_not(fault):
    async with open_simulator(list_faults=[fault, fault], key=KEY) as simulator:
        async with open_driver(
            simulator.base_url("nexos"), provider=nexos.PROVIDER, bounds=bounds_for(fault)
        ) as driver:
            assert len((await driver.run(nexos.generate(call(IMAGEN)), Watch())).pictures) == 1
            # The second picture needs no list.
            await driver.run(nexos.generate(call(IMAGEN)), Watch())
        assert [received.kind for received in simulator.received] == ["list"] * 3 + ["create"] * 2


@pytest.mark.parametrize(
    "fault",
    [Reset(), Stall(), Truncated(), Garbage(), Overloaded(), ServerError(), GzipBomb(expands_to_bytes=4 << 20)],
    ids=repr,
)
async def test_a_list_that_never_comes_costs_nothing_and_nothing_is_ordered(fault):
    watch = Previews()
    async with open_simulator(list_faults=fault, key=KEY) as simulator:
        async with open_driver(
            simulator.base_url("nexos"), provider=nexos.PROVIDER, bounds=bounds_for(fault)
        ) as driver:
            error = await failure(driver.run(nexos.generate(call(IMAGEN)), watch))
        assert error.billed == "no"
        assert type(error) is ProviderError
        assert watch.sent == 0
        assert {received.kind for received in simulator.received} == {"list"}
        assert len(simulator.received) == (1 if isinstance(fault, (Garbage, GzipBomb)) else RETRY.attempts)


@pytest.mark.parametrize("fault", [Reset(), Stall(), Truncated(), RateLimited(), Overloaded(), ServerError()], ids=repr)
async def test_a_finished_picture_is_fetched_again(fault):
    async with open_simulator(OpenAI(retired=()), download_faults=[fault, fault], key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=bounds_for(fault)) as driver:
            (picture,) = (await run_openai(driver, DALLE)).pictures
        await simulator.wait_closed()
        assert picture.data.startswith(b"\x89PNG")
        assert picture.revised_prompt is not None
        assert [received.kind for received in simulator.received] == ["create"] + ["download"] * 3
        assert not simulator.leaks


@pytest.mark.parametrize(
    "fault",
    [Reset(), Stall(), Truncated(), Overloaded(), NotAllowed(), GzipBomb(expands_to_bytes=4 << 20), Redirect()],
    ids=repr,
)
async def test_a_finished_picture_that_cannot_be_fetched_was_billed(fault):
    async with open_simulator(OpenAI(retired=()), download_faults=fault, key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=bounds_for(fault)) as driver:
            error = await failure(run_openai(driver, DALLE))
        assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")
        assert [received.kind for received in simulator.received].count("create") == 1
        assert not simulator.leaks


async def test_a_link_to_a_server_that_is_down_was_billed_and_is_not_ordered_again():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        link = f"http://127.0.0.1:{closed.getsockname()[1]}/1.png"
        async with open_server(answering(http_reply({"data": [{"url": link}]}))) as server:
            async with open_driver(server.url) as driver:
                error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")
    assert len(server.requests) == 1


async def test_an_expired_link_was_billed():
    async with open_simulator(OpenAI(retired=()), faults=ExpiredLink(), key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai")) as driver:
            error = await failure(run_openai(driver, DALLE))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")
    assert error.details["status"] == "403"


async def test_a_server_that_is_not_there_is_told_at_once_and_nothing_was_sent():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with open_driver(f"http://127.0.0.1:{port}/v1") as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")
    assert f"127.0.0.1:{port}" in error.message


# --- bounds ---------------------------------------------------------------------------------------------------------


async def peak_bytes(running: Awaitable[object]) -> int:
    tracemalloc.start()
    try:
        await running
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("previews", [0, 2])
async def test_a_gzip_bomb_goes_off_in_a_small_room(previews):
    bounds = msgspec.structs.replace(CALM, max_body_bytes=4 << 20)
    async with open_simulator(faults=GzipBomb(expands_to_bytes=64 << 20), key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=bounds) as driver:
            peak = await peak_bytes(failure(run_openai(driver, previews=previews)))
    assert peak < 24 << 20


async def pour(stream: trio.abc.Stream, head: bytes, piece: bytes) -> None:
    await stream.send_all(head)
    while True:
        await stream.send_all(piece)


@pytest.mark.parametrize(
    ("content_type", "piece"),
    [
        ("application/json", b" " * 65536),
        ("text/event-stream", b"data: " + b"x" * 65536),
        ("text/event-stream", b": a comment\n\n" * 5000),
    ],
)
@pytest.mark.parametrize("previews", [0, 2])
async def test_a_body_without_an_end_is_dropped_at_the_limit(content_type, piece, previews):
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\n\r\n".encode()
    poured = 0

    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        nonlocal poured
        await stream.send_all(head)
        while True:
            await stream.send_all(piece)
            poured += len(piece)

    async with open_server(handler) as server, open_driver(server.url) as driver:
        error = await failure(run_openai(driver, previews=previews))
        assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown")
        assert "larger" in error.message
        await server.wait_closed()
    # What the sockets hold comes on top.
    assert poured < CALM.max_body_bytes + (16 << 20)


async def test_previews_do_not_count_against_the_size_of_the_picture():
    preview = {"type": "image_generation.partial_image", "b64_json": "QUFB" * 50_000, "partial_image_index": 0}
    done = {"type": "image_generation.completed", "b64_json": "QUFB"}
    stream = sse(*[preview] * 8, done)
    assert len(stream) > CALM.max_body_bytes
    async with open_server(answering(http_reply(stream, content_type="text/event-stream"))) as server:
        async with open_driver(server.url) as driver:
            assert (await run_openai(driver, previews=3)).pictures[0].data == b"AAA"


async def test_an_endless_tail_behind_compressed_data_is_dropped():
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(msgspec.json.encode(images()))

    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        await pour(stream, head, bytes(1 << 20))

    async with open_server(handler) as server, open_driver(server.url) as driver:
        with trio.fail_after(10):
            assert len((await run_openai(driver)).pictures) == 1


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_compressed_answers_are_unpacked_though_nobody_asked(encoding):
    body = msgspec.json.encode(images(filler="x" * 3_000_000))
    packed = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
    bounds = msgspec.structs.replace(CALM, max_body_bytes=4 << 20)
    async with open_server(answering(http_reply(packed, content_encoding=encoding))) as server:
        async with open_driver(server.url, bounds=bounds) as driver:
            assert len((await run_openai(driver)).pictures) == 1
        assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_compressed_answers_may_come_byte_by_byte():
    packed = gzip.compress(msgspec.json.encode(images()))
    chunks = b"".join(b"1\r\n" + packed[at : at + 1] + b"\r\n" for at in range(len(packed)))
    reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with open_server(answering(reply)) as server, open_driver(server.url) as driver:
        for _ in range(2):
            assert len((await run_openai(driver)).pictures) == 1
        assert server.connections == 1


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "gzip"])
async def test_what_cannot_be_unpacked_is_an_error_that_leaves_no_connection(encoding):
    body = http_reply(b"\x00not compressed", content_encoding=encoding)
    async with open_server(answering(body)) as server, open_driver(server.url) as driver:
        error = await failure(run_openai(driver))
        assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown")
        await server.wait_closed()


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 307 Go\r\nlocation: http://[\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 307 Go\r\nlocation: http://\xff\xfe/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 307 Go\r\nlocation:\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 \xff\r\ncontent-type: \xff\xfe\r\ncontent-length: 2\r\n\r\n{}",
    ],
    ids=lambda wire: repr(wire[:50]),
)
async def test_no_bytes_on_the_wire_raise_anything_but_our_errors(wire):
    async with open_server(answering(wire), once=True) as server, open_driver(server.url) as driver:
        error = await failure(run_openai(driver))
        assert isinstance(error, ProviderError)
        assert error.billed == ("no" if b" 307 " in wire and b"[" not in wire and b"\xff" not in wire else error.billed)
        await server.wait_closed()


# --- the key --------------------------------------------------------------------------------------------------------


async def test_the_key_goes_to_the_providers_own_origin_and_to_no_other():
    sent: list[bytes] = []

    async def elsewhere_handler(stream: trio.abc.Stream, request: bytes) -> None:
        sent.append(request)
        await stream.send_all(http_reply(b"a picture"))

    async with open_server(elsewhere_handler) as elsewhere:
        for link in (
            f"http://127.0.0.1:{elsewhere.port}/1.png",
            f"http://localhost:{elsewhere.port}/v1/1.png",
            f"http://user:password@127.0.0.1:{elsewhere.port}/v1/images/generations",
        ):
            async with open_server(answering(http_reply({"data": [{"url": link}]}))) as server:
                async with open_driver(server.url) as driver:
                    assert (await run_openai(driver)).pictures[0].data == b"a picture"
                assert f"authorization: bearer {KEY}".encode() in server.requests[0].lower()
    assert len(sent) == 3
    assert not any(KEY.encode() in request for request in sent)


async def test_links_on_the_providers_own_origin_need_the_key_and_get_it():
    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        link = {"data": [{"url": f"{server.url}/files/1.png"}]}
        await stream.send_all(http_reply(link if request.startswith(b"POST") else b"a picture"))

    async with open_server(handler) as server, open_driver(server.url) as driver:
        assert (await run_openai(driver)).pictures[0].data == b"a picture"
    assert len(server.requests) == 2
    assert all(KEY.encode() in request for request in server.requests)


@pytest.mark.parametrize(
    "link",
    [
        "http://files.example/1.png",
        "http://127.0.0.1.files.example/1.png",
        "http://10.0.0.1/1.png",
        "ftp://files.example/1.png",
        "file:///etc/passwd",
        "http://[/1.png",
        "https://\u2028/",
        "://",
    ],
)
async def test_links_that_are_not_https_are_not_followed_and_were_billed(link):
    async with open_server(answering(http_reply({"data": [{"url": link}]}))) as server:
        async with open_driver(server.url) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", ".example", "127.0.0.1:99999"])
async def test_a_link_to_a_host_that_cannot_be_was_billed(host):
    async with open_server(answering(http_reply({"data": [{"url": f"https://{host}/1.png"}]}))) as server:
        async with open_driver(server.url) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "127.0.0.1:99999"])
async def test_a_base_url_with_a_host_that_cannot_be_is_told(host):
    async with open_driver(f"https://{host}/v1") as driver:
        error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")


async def test_a_provider_without_a_key_is_asked_without_one():
    async with open_server(answering(http_reply(images()))) as server, open_driver(server.url, key=None) as driver:
        await run_openai(driver)
    assert b"authorization" not in server.requests[0].lower()
    assert b"user-agent: imagen-test/1" in server.requests[0].lower()


async def test_the_key_shows_in_no_error_repr_or_log(caplog):
    caplog.set_level(logging.DEBUG)
    said = f"Incorrect API key provided: {KEY}. You can find your API key elsewhere."
    body = http_reply({"error": {"message": said, "code": "invalid_api_key"}}, status="401 Unauthorized")
    async with open_server(answering(body)) as server, open_transport(server.url) as transport:
        driver = ExchangeDriver(transport, bounds=QUICK, retry=RETRY, workers=InlineWorkers())
        error = await failure(run_openai(driver))
        shown = [repr(error), str(error), error.message, repr(error.details), repr(transport), repr(transport._key)]
    async with open_simulator(faults=[Reset(), Stall(), Truncated()], key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=QUICK) as driver:
            for _ in range(4):
                try:
                    await run_openai(driver)
                except imagen.ImagenError as lost:
                    chain: BaseException | None = lost
                    while chain is not None:
                        shown.append(repr(chain))
                        chain = chain.__cause__ or chain.__context__
    assert caplog.records
    assert not [text for text in (*shown, caplog.text) if KEY in text]


# --- the other steps, without a network -----------------------------------------------------------------------------


class Told(Watch):
    """Keeps what the driver tells, and when."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def before_sending(self) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append("sending")

    async def accepted(self, job: imagen.Accepted) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append((job.job_id, trio.current_time()))

    def preview(self, partial: imagen.Partial) -> None:
        self.told.append(partial.number)


def scripted(*replies: ScriptedReply) -> tuple[ExchangeDriver, ScriptedTransport]:
    transport = ScriptedTransport(replies)
    return ExchangeDriver(transport, bounds=Bounds(), retry=RETRY, workers=InlineWorkers()), transport


def polled_job() -> imagen.Exchange:
    yield HttpRequest(method="POST", url="jobs", body=b"{}")
    yield imagen.Accepted(job_id="j1", poll_url="jobs/j1")
    poll = HttpRequest(method="GET", url="jobs/j1", repeatable=True)
    yield imagen.Wait(seconds=3)
    while (reply := (yield poll)).body != b"done":
        yield imagen.Wait(seconds=10)
    yield imagen.Partial(data=b"", number=7)
    return Pictures(pictures=(imagen.Picture(data=reply.body),))


async def test_a_job_is_waited_for_and_announced(autojump_clock):
    lost = ScriptedReply(fault="lost")
    driver, transport = scripted(
        *[ScriptedReply(chunks=(body,)) for body in (b"", b"wait")], lost, ScriptedReply(chunks=(b"done",))
    )
    watch, started = Told(), trio.current_time()
    result = await driver.run(polled_job(), watch)
    assert result.pictures[0].data == b"done"
    assert watch.told == ["sending", ("j1", started), 7]
    assert 13 <= trio.current_time() - started < 14
    assert [request.method for request in transport.requests] == ["POST", "GET", "GET", "GET"]
    assert transport.open_replies == 0


async def test_a_job_that_is_lost_was_billed(autojump_clock):
    driver, _ = scripted(ScriptedReply(), *[ScriptedReply(fault="refused")] * RETRY.attempts)
    with pytest.raises(ProviderError, match="could not be fetched") as caught:
        await driver.run(polled_job(), Told())
    assert outcome(caught.value) == (ProviderError, "API_ERROR", False, "yes")


async def test_work_on_this_machine_is_announced_and_done_by_the_workers():
    def exchange() -> imagen.Exchange:
        data = yield imagen.Compute(call=lambda: b"drawn")
        return Pictures(pictures=(imagen.Picture(data=data),))

    driver, transport = scripted()
    watch = Told()
    assert (await driver.run(exchange(), watch)).pictures[0].data == b"drawn"
    assert watch.told == ["sending"]
    assert not transport.requests


@pytest.mark.parametrize("step", [None, b"step", imagen.ReadChunk()])
async def test_what_is_no_step_or_comes_too_early_is_a_bug_that_shows(step):
    closed = False

    def exchange() -> imagen.Exchange:
        nonlocal closed
        try:
            yield step
        finally:
            closed = True

    driver, _ = scripted()
    with pytest.raises(AssertionError):
        await driver.run(exchange(), Watch())
    assert closed


async def test_a_watch_that_listens_to_nothing_is_fine(autojump_clock):
    driver, _ = scripted(ScriptedReply(), ScriptedReply(chunks=(b"done",)))
    assert len((await driver.run(polled_job(), Watch())).pictures) == 1


async def test_an_answer_is_kept_only_as_long_as_it_says_and_only_if_it_is_good(autojump_clock):
    def ask() -> imagen.Exchange:
        reply = yield HttpRequest(method="GET", url="models", repeatable=True, cache_seconds=60)
        return Pictures(pictures=(imagen.Picture(data=reply.body),))

    replies = [ScriptedReply(status=401), *[ScriptedReply(chunks=(body,)) for body in (b"one", b"two")]]
    driver, _ = scripted(*replies)
    got = []
    for seconds in (0, 0, 59, 2):
        await trio.sleep(seconds)
        got.append((await driver.run(ask(), Watch())).pictures[0].data)
    assert got == [b"", b"one", b"one", b"two"]


# --- exceptions of the HTTP client ----------------------------------------------------------------------------------


class Breaking(httpx2.AsyncBaseTransport):
    """Raises instead of sending, or in the middle of the body."""

    def __init__(self, error: Exception, *, in_body: bool) -> None:
        self._error = error
        self._in_body = in_body

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self._in_body:
            raise self._error
        return httpx2.Response(200, stream=_BreakingBody(self._error))


class _BreakingBody(httpx2.AsyncByteStream):
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"data": ['
        raise self._error


NOT_SENT = {"ConnectError", "ConnectTimeout", "LocalProtocolError", "PoolTimeout", "ProxyError", "UnsupportedProtocol"}
# Raised by parts that are not used: cookies and URLs are checked before, the pool keeps its own to itself.
NEVER_RAISED = {"CookieConflict", "InvalidURL", "ConnectionNotAvailable"}


def exceptions_of(module: Any) -> Iterable[type[Exception]]:
    for name in sorted(vars(module)):
        kind = getattr(module, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and name not in NEVER_RAISED:
            yield kind


def made(kind: type[Exception]) -> Exception:
    request = httpx2.Request("GET", "https://api.example")
    for arguments in (((), {}), (("it broke",), {}), (("it broke",), {"request": request, "response": None})):
        try:
            return kind(*arguments[0], **arguments[1])
        except TypeError:
            continue
    raise AssertionError(f"{kind} cannot be made")


@pytest.mark.parametrize("kind", list(exceptions_of(httpx2)), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("in_body", [False, True])
async def test_every_exception_of_the_http_client_has_a_home(kind, in_body):
    async with httpx2.AsyncClient(transport=Breaking(made(kind), in_body=in_body)) as http:
        async with open_driver("https://api.example/v1", http=http) as driver:
            error = await failure(run_openai(driver))
    if kind.__name__ in NOT_SENT:
        assert outcome(error) == (ProviderError, "API_ERROR", True, "no")
    else:
        assert outcome(error) == UNKNOWN
    assert isinstance(error.__cause__, kind)
    assert error.details == {"fault": kind.__name__}


def test_there_are_exceptions_to_look_at():
    assert len(list(exceptions_of(httpx2))) > 20


# --- base URLs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example/v1", "https://api.example/v1"),
        ("  https://api.example/v1/ \n", "https://api.example/v1"),
        ("https://api.example", "https://api.example"),
        ("https://api.example///", "https://api.example"),
        ("https://API.Example:443/v1", "https://api.example/v1"),
        ("https://10.0.0.1:8443/v1", "https://10.0.0.1:8443/v1"),
        ("http://localhost:8080/v1/", "http://localhost:8080/v1"),
        ("http://LOCALHOST/v1", "http://localhost/v1"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1"),
    ],
)
def test_a_base_url_is_https_or_on_this_machine(text, expected):
    assert check_base_url(text, variable="X_BASE_URL") == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://api.example/v1",
        "http://10.0.0.1/v1",
        "http://0.0.0.0/v1",
        "http://[2001:db8::1]/v1",
        "http://localhost.example/v1",
        "http://127.0.0.1.example/v1",
        "http://2130706433/v1",
        "ws://localhost/v1",
        "ftp://api.example",
        "file:///etc/passwd",
        "api.example/v1",
        "localhost:8080",
        "https://",
        "https:///v1",
        "",
        "https://[::1",
        "https://api.example:port/v1",
        "https://exa\u2028mple/v1",
        "https://user:pass@api.example/v1",
        "http://sk-secret@localhost/v1",
        "https://api.example/v1?key=sk-secret",
        "https://api.example/v1#sk-secret",
        "https://api..example/v1",
        "https://api.example:99999/v1",
        "https://" + "a" * 64 + ".example",
    ],
)
def test_any_other_base_url_is_refused_by_the_name_of_its_variable(text):
    with pytest.raises(ConfigurationError, match="X_BASE_URL") as caught:
        check_base_url(text, variable="X_BASE_URL")
    assert "pass" not in caught.value.message.replace("password", "")
    assert "sk-secret" not in caught.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://127.1.2.3:9", "http://localhost/x", "http://[::1]:8080"])
def test_loopback_is_known_by_its_text(url):
    assert is_loopback(httpx2.URL(url))
    assert not is_loopback(httpx2.URL(url.replace("127", "128").replace("localhost", "local").replace("::1", "::2")))


async def test_ipv6_works(monkeypatch):
    try:
        (listener,) = await trio.open_tcp_listeners(0, host="::1")
    except OSError:
        pytest.skip("there is no IPv6 here")

    async def serve(stream: trio.SocketStream) -> None:
        request = await read_request(stream)
        assert b"host: [::1]:" in request.lower()
        await stream.send_all(http_reply(images()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with open_driver(f"http://[::1]:{listener.socket.getsockname()[1]}/v1") as driver:
            assert len((await run_openai(driver)).pictures) == 1
        nursery.cancel_scope.cancel()


# --- proxies, and clients of the caller's ---------------------------------------------------------------------------


async def test_a_proxy_from_the_environment_is_used_for_this_machine_too(monkeypatch):
    async with open_server(answering(http_reply(images()))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with open_driver("http://127.0.0.1:9/v1") as driver:
            assert len((await run_openai(driver)).pictures) == 1
    assert proxy.requests[0].startswith(b"POST http://127.0.0.1:9/v1/images/generations HTTP/1.1\r\n")


async def test_no_proxy_is_honoured(monkeypatch):
    async with open_simulator(key=KEY) as simulator:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with open_driver(simulator.base_url("openai")) as driver:
            assert len((await run_openai(driver)).pictures) == 1


async def test_a_proxy_that_is_down_means_that_nothing_was_sent(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
        async with open_driver("https://api.example/v1") as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")


async def test_a_proxy_that_refuses_the_tunnel_never_sees_the_key(monkeypatch):
    async with open_server(answering(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with open_driver("https://api.example/v1") as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")
    assert proxy.requests[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert KEY.encode() not in proxy.requests[0]


async def test_a_client_of_the_callers_is_used_with_our_bounds_and_stays_open():
    async with open_simulator(latency=0.15, key=KEY) as simulator:
        # Its own 50 ms would lose a picture that is paid.
        async with httpx2.AsyncClient(timeout=0.05, headers={"x-mine": "yes"}) as http:
            async with open_driver(simulator.base_url("openai"), http=http) as driver:
                assert len((await run_openai(driver)).pictures) == 1
            assert not http.is_closed
            async with open_driver(simulator.base_url("openai"), http=http) as driver:
                assert len((await run_openai(driver)).pictures) == 1
        assert simulator.received[0].headers["x-mine"] == "yes"


async def test_a_client_of_the_callers_that_follows_redirects_is_told_not_to():
    async with open_simulator(faults=Redirect(), key=KEY) as simulator:
        async with httpx2.AsyncClient(follow_redirects=True) as http:
            async with open_driver(simulator.base_url("openai"), http=http) as driver:
                error = await failure(run_openai(driver))
        assert "not followed" in error.message
        assert len(simulator.received) == 1


async def test_a_transport_that_sent_nothing_has_nothing_to_close():
    async with open_transport("https://api.example/v1"):
        pass


async def test_many_requests_at_once_do_not_wait_for_each_other():
    arrived, all_there = 0, trio.Event()

    async def answer_when_all_are_there(stream: trio.abc.Stream, request: bytes) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == 120:
            all_there.set()
        await all_there.wait()
        await stream.send_all(http_reply(images()))

    async with open_server(answer_when_all_are_there) as server, open_driver(server.url, bounds=Bounds()) as driver:
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(120):
                    nursery.start_soon(run_openai, driver)
    assert server.connections == 120


async def test_a_response_that_is_cached_is_asked_for_once_by_many():
    request = HttpRequest(method="GET", url="models", repeatable=True, cache_seconds=60)
    got: list[HttpResponse] = []

    def exchange() -> imagen.Exchange:
        response = yield request
        assert isinstance(response, HttpResponse)
        got.append(response)
        return Pictures(pictures=())

    async with open_simulator(Nexos(), key=KEY) as simulator:
        async with open_driver(simulator.base_url("nexos"), provider=nexos.PROVIDER) as driver:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(driver.run, exchange(), Watch())
        assert len(simulator.received) == 1
    assert len(got) == 10


async def test_the_simulated_faults_are_all_looked_at():
    covered = {type(fault) for fault, _ in FAULTS} | {Drip, WrongMedia, ExpiredLink}
    abstract = {Fault, *Fault.__subclasses__()}
    everything = {kind for base in Fault.__subclasses__() for kind in base.__subclasses__()} - abstract
    assert everything == covered
