"""The way over real sockets: every fault has its error, is bounded in time and
memory, and leaves nothing open."""

from __future__ import annotations

import gzip
import logging
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable

import httpx2
import msgspec
import pytest
import trio

import imagen
from imagen import (
    AuthenticationError,
    Bounds,
    ContentFilterError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from imagen._transport.driver import ExchangeDriver, ExchangeObserver
from imagen.providers import GeneratedImages, HttpRequest, HttpResponse
from imagen.providers.openai import _adapter as openai
from imagen.providers.openai import _nexos as nexos
from imagen.testing import InlineWorkers
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
from tests.support.drivers import (
    CALM,
    KEY,
    QUICK,
    RETRY,
    UNKNOWN,
    Previews,
    answering,
    bounds_for,
    exceptions_of,
    failure,
    http_reply,
    made,
    open_driver,
    open_server,
    open_transport,
    outcome,
    read_request,
    run_openai,
)
from tests.support.exchanges import call, images, sse

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
async def test_each_fault_has_its_error_is_met_once_and_leaves_nothing_open(
    fault, expected, previews
):
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


@pytest.mark.parametrize(
    "fault", [None, Drip(piece_bytes=200, pause_seconds=0.001), WrongMedia(), ExpiredLink()]
)
@pytest.mark.parametrize("previews", [0, 2])
async def test_what_arrives_whole_is_given_as_it_is(fault, previews):
    async with open_simulator(faults=fault, key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai")) as driver:
            result = await run_openai(driver, previews=previews)
        await simulator.wait_closed()
        assert len(result.images) == 1
        assert len(simulator.received) == 1
        (bill,) = simulator.bills
        assert bill.delivered == (not isinstance(fault, WrongMedia))


async def test_previews_are_told_as_they_come():
    watch = Previews()
    async with (
        open_simulator(key=KEY) as simulator,
        open_driver(simulator.base_url("openai")) as driver,
    ):
        result = await driver.run(openai.generate(call(previews=3)), watch)
    assert watch.numbers == [0, 1, 2]
    assert watch.sent == 1
    assert len(result.images) == 1


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
    async with (
        open_simulator(key=KEY) as simulator,
        open_driver(simulator.base_url("openai")) as driver,
    ):
        for _ in range(5):
            await run_openai(driver)
            assert simulator.open_sockets == 1


async def test_an_idle_connection_that_the_server_closed_costs_nothing():
    async with (
        open_server(answering(http_reply(images())), once=True) as server,
        open_driver(server.url) as driver,
    ):
        for number in range(1, 4):
            assert len((await run_openai(driver)).images) == 1
            await server.wait_closed(number)
        assert server.connections == 3


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


async def test_previews_do_not_count_against_the_size_of_the_image():
    preview = {
        "type": "image_generation.partial_image",
        "b64_json": "QUFB" * 50_000,
        "partial_image_index": 0,
    }
    done = {"type": "image_generation.completed", "b64_json": "QUFB"}
    stream = sse(*[preview] * 8, done)
    assert len(stream) > CALM.max_body_bytes
    async with open_server(
        answering(http_reply(stream, content_type="text/event-stream"))
    ) as server:
        async with open_driver(server.url) as driver:
            assert (await run_openai(driver, previews=3)).images[0].data == b"AAA"


async def test_an_endless_tail_behind_compressed_data_is_dropped():
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + gzip.compress(
        msgspec.json.encode(images())
    )

    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        await pour(stream, head, bytes(1 << 20))

    async with open_server(handler) as server, open_driver(server.url) as driver:
        with trio.fail_after(10):
            assert len((await run_openai(driver)).images) == 1


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "deflate"])
async def test_unrequested_compression_is_unpacked(encoding):
    body = msgspec.json.encode(images(filler="x" * 3_000_000))
    packed = zlib.compress(body) if encoding == "deflate" else gzip.compress(body)
    bounds = msgspec.structs.replace(CALM, max_body_bytes=4 << 20)
    async with open_server(answering(http_reply(packed, content_encoding=encoding))) as server:
        async with open_driver(server.url, bounds=bounds) as driver:
            assert len((await run_openai(driver)).images) == 1
        assert b"accept-encoding: identity" in server.requests[0].lower()


async def test_compressed_answers_may_come_byte_by_byte():
    packed = gzip.compress(msgspec.json.encode(images()))
    chunks = b"".join(b"1\r\n" + packed[at : at + 1] + b"\r\n" for at in range(len(packed)))
    reply = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: gzip\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )
    async with open_server(answering(reply)) as server, open_driver(server.url) as driver:
        for _ in range(2):
            assert len((await run_openai(driver)).images) == 1
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
        assert error.billed == (
            "no" if b" 307 " in wire and b"[" not in wire and b"\xff" not in wire else error.billed
        )
        await server.wait_closed()


async def test_the_key_goes_to_the_providers_own_origin_and_to_no_other():
    sent: list[bytes] = []

    async def elsewhere_handler(stream: trio.abc.Stream, request: bytes) -> None:
        sent.append(request)
        await stream.send_all(http_reply(b"an image"))

    async with open_server(elsewhere_handler) as elsewhere:
        for link in (
            f"http://127.0.0.1:{elsewhere.port}/1.png",
            f"http://localhost:{elsewhere.port}/v1/1.png",
            f"http://user:password@127.0.0.1:{elsewhere.port}/v1/images/generations",
        ):
            async with open_server(answering(http_reply({"data": [{"url": link}]}))) as server:
                async with open_driver(server.url) as driver:
                    assert (await run_openai(driver)).images[0].data == b"an image"
                assert f"authorization: bearer {KEY}".encode() in server.requests[0].lower()
    assert len(sent) == 3
    assert not any(KEY.encode() in request for request in sent)


async def test_links_on_the_providers_own_origin_need_the_key_and_get_it():
    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        link = {"data": [{"url": f"{server.url}/files/1.png"}]}
        await stream.send_all(http_reply(link if request.startswith(b"POST") else b"an image"))

    async with open_server(handler) as server, open_driver(server.url) as driver:
        assert (await run_openai(driver)).images[0].data == b"an image"
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


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".example", "a..example", ".example", "127.0.0.1:99999"]
)
async def test_a_link_to_a_host_that_cannot_be_was_billed(host):
    async with open_server(
        answering(http_reply({"data": [{"url": f"https://{host}/1.png"}]}))
    ) as server:
        async with open_driver(server.url) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example", "127.0.0.1:99999"])
async def test_a_base_url_with_a_host_that_cannot_be_is_told(host):
    async with open_driver(f"https://{host}/v1") as driver:
        error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")


async def test_a_provider_without_a_key_is_asked_without_one():
    async with (
        open_server(answering(http_reply(images()))) as server,
        open_driver(server.url, key=None) as driver,
    ):
        await run_openai(driver)
    assert b"authorization" not in server.requests[0].lower()
    assert b"user-agent: imagen-test/1" in server.requests[0].lower()


@pytest.mark.parametrize("own_client", [False, True])
async def test_the_key_shows_in_no_error_repr_or_log(caplog, own_client):
    caplog.set_level(logging.DEBUG)
    http = httpx2.AsyncClient() if own_client else None
    said = f"Incorrect API key provided: {KEY}. You can find your API key elsewhere."
    body = http_reply(
        {"error": {"message": said, "code": "invalid_api_key"}}, status="401 Unauthorized"
    )
    async with (
        open_server(answering(body)) as server,
        open_transport(server.url, http=http) as transport,
    ):
        driver = ExchangeDriver(transport, bounds=QUICK, retry=RETRY, workers=InlineWorkers())
        error = await failure(run_openai(driver))
        shown = [
            repr(error),
            str(error),
            error.message,
            repr(error.details),
            repr(transport),
            repr(transport._key),
        ]
    async with open_simulator(faults=[Reset(), Stall(), Truncated()], key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=QUICK, http=http) as driver:
            for _ in range(4):
                try:
                    await run_openai(driver)
                except imagen.ImagenError as lost:
                    chain: BaseException | None = lost
                    while chain is not None:
                        shown.append(repr(chain))
                        chain = chain.__cause__ or chain.__context__
    # httpx2 logs each request; the way without it has no log.
    assert bool(caplog.records) is own_client
    assert not [text for text in (*shown, caplog.text) if KEY in text]
    if http is not None:
        await http.aclose()


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


NOT_SENT = {
    "ConnectError",
    "ConnectTimeout",
    "LocalProtocolError",
    "PoolTimeout",
    "ProxyError",
    "UnsupportedProtocol",
}


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
            assert len((await run_openai(driver)).images) == 1
        nursery.cancel_scope.cancel()


async def test_no_proxy_is_honoured(monkeypatch):
    async with open_simulator(key=KEY) as simulator:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with open_driver(simulator.base_url("openai")) as driver:
            assert len((await run_openai(driver)).images) == 1


async def test_a_proxy_that_is_down_means_that_nothing_was_sent(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed.getsockname()[1]}")
        async with open_driver("https://api.example/v1") as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")


async def test_a_proxy_that_refuses_the_tunnel_never_sees_the_key(monkeypatch):
    async with open_server(
        answering(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
    ) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with open_driver("https://api.example/v1") as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")
    assert proxy.requests[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert KEY.encode() not in proxy.requests[0]


async def test_a_client_of_the_callers_is_used_with_our_bounds_and_stays_open():
    async with open_simulator(latency=0.15, key=KEY) as simulator:
        # Its own 50 ms would lose an image that is paid.
        async with httpx2.AsyncClient(timeout=0.05, headers={"x-mine": "yes"}) as http:
            async with open_driver(simulator.base_url("openai"), http=http) as driver:
                assert len((await run_openai(driver)).images) == 1
            assert not http.is_closed
            async with open_driver(simulator.base_url("openai"), http=http) as driver:
                assert len((await run_openai(driver)).images) == 1
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

    async with (
        open_server(answer_when_all_are_there) as server,
        open_driver(server.url, bounds=Bounds()) as driver,
    ):
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(120):
                    nursery.start_soon(run_openai, driver)
    assert server.connections == 120


async def test_a_response_that_is_cached_is_asked_for_once_by_many():
    request = HttpRequest(method="GET", url="models", repeatable=True, cache_seconds=60)
    got: list[HttpResponse] = []

    def exchange() -> imagen.providers.Exchange:
        response = yield request
        assert isinstance(response, HttpResponse)
        got.append(response)
        return GeneratedImages(images=())

    async with open_simulator(Nexos(), key=KEY) as simulator:
        async with open_driver(simulator.base_url("nexos"), provider=nexos.PROVIDER) as driver:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(driver.run, exchange(), ExchangeObserver())
        assert len(simulator.received) == 1
    assert len(got) == 10


async def test_the_simulated_faults_are_all_looked_at():
    covered = {type(fault) for fault, _ in FAULTS} | {Drip, WrongMedia, ExpiredLink}
    abstract = {Fault, *Fault.__subclasses__()}
    everything = {
        kind for base in Fault.__subclasses__() for kind in base.__subclasses__()
    } - abstract
    assert everything == covered
