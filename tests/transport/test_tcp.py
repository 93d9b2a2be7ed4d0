"""The network backend: TLS, bulk reads, and every way in which a connection can
fail to come about or to last.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpcore2
import httpx2
import msgspec
import pytest
import trio
import trustme

import imagen
from imagen import Bounds, OutcomeUnknownError, ProviderError
from imagen._transport.tcp import BulkBackend, as_httpx2
from tests.support.drivers import (
    Server,
    answering,
    exceptions_of,
    failure,
    http_reply,
    made,
    open_driver,
    open_server,
    outcome,
    read_request,
    run_openai,
)
from tests.support.exchanges import images

UNREACHABLE = (ProviderError, "API_ERROR", True, "no")
LOST = (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown")
LARGE = Bounds(connect_seconds=10.0, reply_seconds=10.0, idle_seconds=10.0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process trust the authority, in the way that users do for a
    company's own certificates.
    """
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        yield


Handler = Callable[[trio.abc.Stream, bytes], Awaitable[object]]


@asynccontextmanager
async def open_tls_server(
    handler: Handler, tls: ssl.SSLContext, **more: Any
) -> AsyncIterator[Server]:
    async with open_server(handler, tls=tls, **more) as server:
        server.url = f"https://localhost:{server.port}/v1"
        yield server


# --- TLS ----------------------------------------------------------------------


async def test_a_body_of_megabytes_arrives_intact(trusted, server_tls):
    image = bytes(range(256)) * 12_000
    link = http_reply(image)

    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        url = f"{server.url}/files/1.png"
        await stream.send_all(
            http_reply({"data": [{"url": url}]}) if request.startswith(b"POST") else link
        )

    async with (
        open_tls_server(handler, server_tls) as server,
        open_driver(server.url, bounds=LARGE) as driver,
    ):
        for _ in range(2):
            assert (await run_openai(driver)).images[0].data == image
        assert server.connections == 1


async def test_a_large_request_is_sent_whole(trusted, server_tls):
    async with open_tls_server(answering(http_reply(images())), server_tls) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            await run_openai(driver, options={"user": "🐞" * 100_000})
    assert len(server.requests[0]) > 400_000
    assert server.requests[0].endswith("🐞".encode() + b'"}')


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_every_current_version_of_tls_keeps_its_connection(trusted, server_tls, newest):
    server_tls.maximum_version = newest
    async with open_tls_server(answering(http_reply(images())), server_tls) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            for _ in range(4):
                await run_openai(driver)
        assert server.connections == 1


async def read_all(stream: httpcore2.AsyncNetworkStream) -> list[bytes]:
    pieces = []
    while piece := await stream.read(65536, timeout=10):
        pieces.append(piece)
    return pieces


async def test_what_has_arrived_is_read_at_once_and_not_record_by_record(authority, server_tls):
    body = b"x" * 600_000
    sent = trio.Event()

    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(body)
        sent.set()

    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with open_tls_server(handler, server_tls, once=True) as server:
        plain = await BulkBackend().connect_tcp("127.0.0.1", server.port, timeout=10)
        tls = await plain.start_tls(context, "localhost", timeout=10)
        assert tls.get_extra_info("ssl_object").version().startswith("TLS")
        await tls.write(b"")
        await tls.write(b"GET / HTTP/1.1\r\n\r\n", timeout=10)
        pieces = await read_all(tls)
        await tls.aclose()
    assert b"".join(pieces) == body
    # A record holds 16 KiB, so one at a time would be 37 reads or more.
    assert len(pieces) < 30
    assert max(map(len, pieces)) > 1 << 14


async def test_an_untrusted_certificate_is_an_error_and_nothing_is_sent(server_tls):
    async with open_tls_server(answering(http_reply(images())), server_tls) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == UNREACHABLE
    assert "certificate" in error.message.lower()
    assert not server.requests


async def test_a_certificate_of_another_host_is_told_and_nothing_is_sent(trusted, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example").configure_cert(context)
    async with open_tls_server(answering(http_reply(images())), context) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == UNREACHABLE
    assert "certificate" in error.message.lower()
    assert not server.requests


async def test_a_server_that_speaks_no_tls_is_told(trusted):
    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        raise AssertionError("no request can be read from a TLS hello")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def serve(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        async with open_driver(
            f"https://localhost:{listener.socket.getsockname()[1]}/v1"
        ) as driver:
            error = await failure(run_openai(driver))
        nursery.cancel_scope.cancel()
    assert outcome(error) == UNREACHABLE


@pytest.mark.parametrize("previews", [0, 1])
async def test_a_server_that_hangs_up_without_a_goodbye_after_the_body_is_fine(
    trusted, server_tls, previews
):
    async with open_tls_server(answering(http_reply(images())), server_tls, once=True) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            for number in (1, 2):
                assert len((await run_openai(driver, previews=previews)).images) == 1
                await server.wait_closed(number)


async def test_a_body_that_ends_with_the_connection_is_whole_without_a_goodbye(trusted, server_tls):
    reply = http_reply(images()).replace(b"content-length", b"x-length")
    async with open_tls_server(answering(reply), server_tls, once=True) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            assert len((await run_openai(driver)).images) == 1


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_server_that_hangs_up_in_the_middle_loses_the_answer(trusted, server_tls, chunked):
    reply = http_reply({"data": [], "filler": "x" * 100_000})[:60_000]
    if chunked:
        reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n" + b"x" * 1000
    async with open_tls_server(answering(reply), server_tls, once=True) as server:
        async with open_driver(server.url, bounds=LARGE) as driver:
            error = await failure(run_openai(driver))
            assert outcome(error) == LOST
            await server.wait_closed()


async def test_a_stall_in_the_middle_of_a_tls_body_is_bounded(trusted, server_tls):
    async def handler(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(http_reply(images())[:-10])
        await trio.sleep_forever()

    async with (
        open_tls_server(handler, server_tls) as server,
        open_driver(server.url, bounds=msgspec.structs.replace(LARGE, idle_seconds=0.1)) as driver,
    ):
        error = await failure(run_openai(driver))
    assert outcome(error) == LOST


# --- connections that do not come about ---------------------------------------


async def test_a_handshake_that_stalls_times_out_and_nothing_was_sent(trusted):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with open_driver(
            f"https://localhost:{silent.getsockname()[1]}/v1", bounds=SHORT
        ) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == UNREACHABLE
    assert error.details == {"fault": "ConnectTimeout"}


SHORT = Bounds(connect_seconds=0.1, reply_seconds=3.0)


async def test_a_connection_that_never_comes_times_out_and_nothing_was_sent():
    with contextlib.ExitStack() as sockets:
        full = sockets.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        # Once no server accepts and the queue is full, the system drops what else
        # would connect.
        for _ in range(4):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        async with open_driver(
            f"http://127.0.0.1:{full.getsockname()[1]}/v1", bounds=SHORT
        ) as driver:
            error = await failure(run_openai(driver))
    if error.details == {"fault": "no answer"}:
        pytest.skip("this system takes connections beyond the queue")
    assert outcome(error) == UNREACHABLE
    assert error.details == {"fault": "ConnectTimeout"}


async def test_a_name_that_does_not_exist_is_told():
    async with open_driver("https://host.invalid/v1", bounds=LARGE) as driver:
        with trio.move_on_after(5) as scope, pytest.raises(imagen.ProviderError) as caught:
            await run_openai(driver)
    if scope.cancelled_caught:
        pytest.skip("names are resolved slowly here")
    assert outcome(caught.value) == UNREACHABLE


# --- the backend by itself ----------------------------------------------------


@asynccontextmanager
async def open_pair(
    serve: Callable[[trio.SocketStream], Awaitable[object]],
) -> AsyncIterator[httpcore2.AsyncNetworkStream]:
    """A connection of the backend to a function."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        stream = await BulkBackend().connect_tcp(
            "127.0.0.1", listener.socket.getsockname()[1], timeout=10
        )
        yield stream
        await stream.aclose()
        nursery.cancel_scope.cancel()


async def silent(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def test_reads_and_writes_time_out():
    async with open_pair(silent) as stream:
        with pytest.raises(httpcore2.ReadTimeout):
            await stream.read(100, timeout=0.01)
        with pytest.raises(httpcore2.WriteTimeout):
            await stream.write(b"x" * (64 << 20), timeout=0.05)


async def reset(stream: trio.SocketStream) -> None:
    await stream.receive_some(1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    await stream.aclose()


async def test_a_reset_is_an_error_of_reading_and_of_writing():
    async with open_pair(reset) as stream:
        await stream.write(b"x" * 10)
        with pytest.raises(httpcore2.ReadError):
            await stream.read(100, timeout=10)
        with pytest.raises(httpcore2.WriteError):
            for _ in range(10):
                await stream.write(b"x" * 1000, timeout=10)


async def test_a_closed_stream_says_so():
    async with open_pair(silent) as stream:
        await stream.aclose()
        with pytest.raises(httpcore2.ReadError):
            await stream.read(100)
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"x")


async def test_the_pool_can_ask_for_the_socket_and_whether_it_is_readable(monkeypatch):
    monkeypatch.setattr("imagen._transport.tcp._FRESH_SECONDS", 0.0)

    async def greet(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"hello")

    async with open_pair(greet) as stream:
        assert stream.get_extra_info("is_readable") is False
        assert stream.get_extra_info("socket").type == socket.SOCK_STREAM
        assert (
            stream.get_extra_info("client_addr")[0]
            == stream.get_extra_info("server_addr")[0]
            == "127.0.0.1"
        )
        assert stream.get_extra_info("ssl_object") is None
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(stream.get_extra_info("socket"))
        assert stream.get_extra_info("is_readable") is True
        assert await stream.read(1) == b"hello"


async def test_a_connection_that_was_open_a_moment_ago_is_not_asked_again(monkeypatch):
    monkeypatch.setattr("imagen._transport.tcp._FRESH_SECONDS", 1000.0)

    async def greet(stream: trio.SocketStream) -> None:
        await read_request(stream)
        await stream.send_all(b"hello")

    async with open_pair(greet) as stream:
        assert stream.get_extra_info("is_readable") is False
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        with trio.fail_after(10):
            await trio.lowlevel.wait_readable(stream.get_extra_info("socket"))
        assert stream.get_extra_info("is_readable") is False


async def test_garbage_in_place_of_tls_records_is_an_error_of_reading(authority, server_tls):
    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_tls, server_side=True)
        await tls.do_handshake()
        await tls.receive_some()
        await stream.send_all(b"\x17\x03\x03\x00\x20" + b"garbage!" * 4)
        await trio.sleep_forever()

    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with open_pair(serve) as plain:
        tls = await plain.start_tls(context, "localhost", timeout=10)
        await tls.write(b"hello", timeout=10)
        with pytest.raises(httpcore2.ReadError):
            await tls.read(100, timeout=10)


async def test_a_goodbye_in_tls_is_the_end_of_the_stream(authority, server_tls):
    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_tls, server_side=True)
        await tls.receive_some()
        await tls.send_all(b"hello")
        await tls.aclose()

    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with open_pair(serve) as plain:
        tls = await plain.start_tls(context, "localhost", timeout=10)
        await tls.write(b"hello", timeout=10)
        assert await read_all(tls) == [b"hello"]


async def test_hosts_and_ports_that_cannot_be_are_errors_of_connecting():
    for host, port in (("a" * 64 + ".example", 443), ("a..example", 443), ("127.0.0.1", 99_999)):
        with pytest.raises(httpcore2.ConnectError):
            await BulkBackend().connect_tcp(host, port, timeout=10)


async def test_the_backend_sleeps(autojump_clock):
    started = trio.current_time()
    await BulkBackend().sleep(5)
    assert trio.current_time() - started == 5


@pytest.mark.parametrize("kind", list(exceptions_of(httpcore2)), ids=lambda kind: kind.__name__)
def test_every_exception_of_httpcore2_comes_out_as_its_twin(kind):
    with pytest.raises(httpx2.TransportError) as caught, as_httpx2():
        raise made(kind)
    assert type(caught.value).__name__ == kind.__name__
    assert isinstance(caught.value.__cause__, kind)


def test_there_are_exceptions_of_httpcore2_to_look_at():
    assert len(list(exceptions_of(httpcore2))) > 10
