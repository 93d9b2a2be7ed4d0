"""Connections to a provider's own origin: when they are kept, and when not."""

from __future__ import annotations

from contextlib import asynccontextmanager

import h11
import httpx2
import pytest
import trio

from imagen._transport.http1 import Http1Client, _Connection
from imagen._transport.http1_body import body_reader
from tests.support.drivers import answering, open_server

REPLY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def open_http(url, *, connect_seconds=5.0):
    client = Http1Client(httpx2.URL(url), connect_seconds=connect_seconds, write_seconds=5.0)
    try:
        yield client
    finally:
        await client.aclose()


async def send(client, content=b"{}", method="POST"):
    """Status, headers and body of one exchange."""
    left = []
    reply = await client.send(method, b"/v1/x?y=1", {"a": "b"}, content, lambda: left.append(1))
    assert left == [1]
    body = b""
    while data := await reply.receive():
        body += data
    await reply.aclose()
    return reply.status, reply.headers, body


async def test_a_request_has_its_host_and_length():
    async with open_server(answering(REPLY)) as server, open_http(server.url) as client:
        assert await send(client) == (200, {"content-length": "2"}, b"ok")
        await send(client, b"", "GET")
        await send(client, b"", "POST")
    host = f"host: 127.0.0.1:{server.port}".encode()
    first, get, empty = (request.lower() for request in server.requests)
    assert first.startswith(b"post /v1/x?y=1 http/1.1\r\n" + host)
    assert first.endswith(b"content-length: 2\r\n\r\n{}")
    assert b"content-length" not in get
    assert b"content-length: 0" in empty
    assert server.connections == 1


async def test_a_connection_expires(monkeypatch):
    monkeypatch.setattr("imagen._transport.http1._KEEPALIVE_SECONDS", 0.01)
    async with open_server(answering(REPLY)) as server, open_http(server.url) as client:
        await send(client)
        await trio.sleep(0.02)
        await send(client)
        await server.wait_closed(1)
        assert server.connections == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        REPLY + b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
    ],
)
async def test_a_connection_that_may_not_go_on_is_closed(reply):
    async with open_server(answering(reply)) as server, open_http(server.url) as client:
        for _ in range(2):
            assert (await send(client))[2] == b"ok"
        await server.wait_closed(2)
        assert server.connections == 2


async def test_a_reply_that_is_not_read_to_its_end_closes_its_connection():
    async with open_server(answering(REPLY)) as server, open_http(server.url) as client:
        reply = await client.send("GET", b"/", {}, b"", lambda: None)
        await reply.aclose()
        await reply.aclose()
        await server.wait_closed(1)


async def test_a_cancellation_closes_the_connection():
    async def stall(stream, request):
        assert not await stream.receive_some()

    async with open_server(stall) as server, open_http(server.url) as client:
        with trio.move_on_after(0.2) as scope:
            await send(client)
        assert scope.cancelled_caught
        await server.wait_closed(1)


async def test_a_server_may_refuse_a_request_before_it_has_it():
    async def refuse(stream):
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        with trio.move_on_after(5):
            while await stream.receive_some():
                pass

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with open_http(url) as client:
            status, _, body = await send(client, b"x" * (4 << 20))
        nursery.cancel_scope.cancel("tested")
    assert (status, body) == (413, b"no")


async def test_headers_are_read_as_httpx2_reads_them():
    raw = b"A: 1\r\nx-Name: caf\xc3\xa9\r\nx-old: caf\xe9\r\na: 2\r\ncontent-length: 2"
    reply = b"HTTP/1.1 200 OK\r\n" + raw + b"\r\n\r\nok"
    async with open_server(answering(reply)) as server, open_http(server.url) as client:
        _, headers, _ = await send(client)
        async with httpx2.AsyncClient() as other:
            known = dict((await other.get(server.url)).headers)
    assert headers == {name.lower(): value for name, value in known.items()} | {"x-name": "café"}


class Blocks:
    """Stream that brings a reply in given blocks."""

    def __init__(self, *blocks):
        self._blocks = [*blocks, b""]

    async def read(self, max_bytes, timeout=None):
        return self._blocks.pop(0)

    async def write(self, buffer, timeout=None):
        pass


@pytest.mark.parametrize(
    "reply",
    [
        REPLY,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + REPLY,
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + REPLY,
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        b"HTTP/1.1 200 OK\ncontent-length: 12\n\nok\r\n\r\nokokok",
    ],
)
async def test_a_reply_is_read_however_it_is_cut(reply):
    request = h11.Request(method="GET", target="/", headers=[("host", "x")])
    for cut in range(1, len(reply) + 1):
        connection = _Connection(Blocks(*filter(None, [reply[:cut], reply[cut:]])), 5.0)
        head = await connection.exchange(request, b"", lambda: None)
        body = body_reader(
            "GET", head.status_code, {a.decode(): b.decode() for a, b in head.headers}
        )
        data = b""
        while piece := await connection.receive_body(body):
            data += piece
        assert data == (b"ok\r\n\r\nokokok" if b": 12" in reply else b"ok")
        assert body.is_clean
        assert connection.may_go_on


@pytest.mark.parametrize("value", ["secret\nb", "secret\r\nx: y", "secret\0", "secret é"])
async def test_a_header_that_cannot_be_sent_is_not_quoted(value):
    async with open_server(answering(REPLY)) as server, open_http(server.url) as client:
        with pytest.raises(httpx2.LocalProtocolError) as caught:
            await client.send("GET", b"/", {"a": value}, b"", lambda: None)
        assert not server.requests
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_no_connection_is_an_error_of_httpx2():
    async with open_server(answering(REPLY)) as server:
        url = server.url
    async with open_http(url) as client:
        with pytest.raises(httpx2.ConnectError):
            await client.send("GET", b"/", {}, b"", lambda: None)
