"""What Python and Trio can do at all: a socket and hand-written HTTP for
exactly this server, nothing checked or kept.
"""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

import msgspec
import pybase64
import trio

from ..replies import MODEL
from ._run import Run

_READ_BYTES = 1 << 20
_BODY = msgspec.json.encode({"model": MODEL, "prompt": "x", "n": 1})


class _Item(msgspec.Struct):
    b64_json: msgspec.Raw


class _Reply(msgspec.Struct):
    data: list[_Item]


_decode = msgspec.json.Decoder(_Reply).decode


class _Connection:
    def __init__(
        self, stream: trio.SocketStream, host: str, context: ssl.SSLContext | None
    ) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None
        if context is not None:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def handshake(self) -> None:
        while self._tls is not None:
            try:
                self._tls.do_handshake()
                return await self._stream.send_all(self._outgoing.read())
            except ssl.SSLWantReadError:
                await self._stream.send_all(self._outgoing.read())
                self._incoming.write(await self._stream.receive_some(_READ_BYTES))

    async def send(self, data: bytes) -> None:
        if self._tls is not None:
            self._tls.write(data)
            data = self._outgoing.read()
        await self._stream.send_all(data)

    async def receive(self, into: bytearray) -> None:
        got = await self._stream.receive_some(_READ_BYTES)
        assert got, "the server closed the connection"
        if self._tls is None:
            into += got
            return
        self._incoming.write(got)
        try:
            while True:
                into += self._tls.read(_READ_BYTES)
        except ssl.SSLWantReadError:
            pass


async def _fetch(connection: _Connection, request: bytes) -> bytes:
    await connection.send(request)
    received = bytearray()
    while (start := received.find(b"\r\n\r\n")) < 0:
        await connection.receive(received)
    head, at = bytes(received[:start]).lower(), start + 4
    if b"transfer-encoding: chunked" in head:
        body = await _read_chunks(connection, received, at)
    else:
        length = int(head.split(b"content-length: ", 1)[1].split(b"\r\n", 1)[0])
        while len(received) < at + length:
            await connection.receive(received)
        body = bytes(memoryview(received)[at:])
    return pybase64.b64decode(memoryview(_decode(body).data[0].b64_json)[1:-1], validate=True)


async def _read_chunks(connection: _Connection, received: bytearray, at: int) -> bytes:
    pieces: list[bytes] = []
    while True:
        while (end := received.find(b"\r\n", at)) < 0:
            await connection.receive(received)
        length = int(received[at:end], 16)
        while len(received) < end + 2 + length + 2:
            await connection.receive(received)
        if length == 0:
            return b"".join(pieces)
        with memoryview(received) as view:
            pieces.append(bytes(view[end + 2 : end + 2 + length]))
        at = end + 2 + length + 2


async def main(run: Run) -> None:
    url = urlsplit(run.url)
    assert url.hostname
    assert url.port
    context = ssl.create_default_context() if url.scheme == "https" else None
    lines = [
        f"POST {url.path}/images/generations HTTP/1.1",
        f"Host: {url.netloc}",
        "Content-Type: application/json",
        f"Content-Length: {len(_BODY)}",
    ]
    request = "\r\n".join([*lines, "", ""]).encode() + _BODY

    async def work(connection: _Connection) -> None:
        for _ in numbers:
            run.image(len(await _fetch(connection, request)))

    async def repeat() -> None:
        async with trio.open_nursery() as nursery:
            for connection in connections:
                nursery.start_soon(work, connection)

    connections = []
    for _ in range(run.at_once):
        stream = await trio.open_tcp_stream(url.hostname, url.port)
        connections.append(_Connection(stream, url.hostname, context))
        await connections[-1].handshake()
    numbers = iter(range(run.warm_up))
    await repeat()
    with run.measured():
        numbers = iter(range(run.images))
        await repeat()


if __name__ == "__main__":
    trio.run(main, Run())
