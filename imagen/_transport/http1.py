"""HTTP/1.1 on Trio, with heads by h11, for requests to a provider's own origin.

httpx2 and the pool of httpcore2 cost a request half a millisecond more, and one
whose body has 1.5 MB twice as much (docs/design.md). They stay for all else:
links, proxies, sockets, and a caller's own client.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache

import h11
import httpcore2
import httpx2
import trio

from .http1_body import BodyReader, body_reader
from .tcp import READ_BYTES, BulkBackend, PlainStream, as_httpx2

__all__ = ["Http1Client", "Http1Reply"]

_KEEPALIVE_SECONDS = 30.0
# httpcore2's bound.
_MOST_HEAD_BYTES = 100 << 10
_SMALL_REQUEST = 16 << 10
_WITH_BODY = ("POST", "PUT", "PATCH")
# Checking a head takes 40 us; those of a batch are the same.
_MOST_HEADS = 16
_END_OF_HEAD = b"\r\n\r\n"
_END_OF_BODY = h11.EndOfMessage()


class Http1Client:
    """Connections to one origin, as many as there are requests at once.

    The one that was used last is used first. Every method raises the exceptions
    of httpx2.
    """

    def __init__(self, origin: httpx2.URL, *, connect_seconds: float, write_seconds: float) -> None:
        self._origin = origin
        self._host = origin.raw_host.decode("ascii")
        self._headers = {"host": origin.netloc.decode("ascii"), "accept": "*/*"}
        self._connect_seconds = connect_seconds
        self._write_seconds = write_seconds
        self._backend = BulkBackend()
        self._tls: ssl.SSLContext | None = None
        self._idle: deque[_Connection] = deque()
        # Of the client, not of the module: a head holds the key.
        self._request = lru_cache(_MOST_HEADS)(h11.Request)

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Mapping[str, str],
        content: bytes,
        on_leave: Callable[[], None],
    ) -> Http1Reply:
        """Send a request and return its reply once the head is there.

        `on_leave` is called before the first byte leaves. An error or a
        cancellation closes the connection.
        """
        all_headers = {**self._headers, **headers}
        if content or method in _WITH_BODY:
            all_headers["content-length"] = str(len(content))
        try:
            request = self._request(
                method=method, target=target, headers=tuple(all_headers.items())
            )
        except (h11.LocalProtocolError, UnicodeEncodeError):
            # Their texts quote the value, which may be the key.
            text = "a header has a letter that HTTP does not allow"
            raise httpx2.LocalProtocolError(text) from None
        with as_httpx2():
            connection = await self._take()
            try:
                head = await connection.exchange(request, content, on_leave)
            except BaseException:
                connection.close()
                # When a client is left, all connections close before their
                # tasks go on.
                await trio.lowlevel.cancel_shielded_checkpoint()
                raise
        return Http1Reply(method, head, connection, self._give_back)

    async def aclose(self) -> None:
        """Close the connections that no request uses."""
        while self._idle:
            self._idle.pop().close()

    async def _take(self) -> _Connection:
        now = trio.current_time()
        while self._idle:
            connection = self._idle.pop()
            if connection.expires_at > now and connection.is_open():
                return connection
            connection.close()
        return await self._connect()

    async def _connect(self) -> _Connection:
        secure = self._origin.scheme == "https"
        stream = await self._backend.connect_tcp(
            self._host, self._origin.port or (443 if secure else 80), self._connect_seconds
        )
        if secure:
            stream = await stream.start_tls(self._tls_context(), self._host, self._connect_seconds)
        return _Connection(stream, self._write_seconds)

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            # Reading the certificates takes 20 ms and some megabytes.
            self._tls = httpx2.create_ssl_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls

    def _give_back(self, connection: _Connection) -> None:
        now = trio.current_time()
        connection.expires_at = now + _KEEPALIVE_SECONDS
        self._idle.append(connection)
        while self._idle[0].expires_at <= now:
            self._idle.popleft().close()


class Http1Reply:
    """Reply whose body is still coming."""

    def __init__(
        self,
        method: str,
        head: h11.Response,
        connection: _Connection,
        give_back: Callable[[_Connection], None],
    ) -> None:
        self.status = head.status_code
        self.headers = _read_headers(head)
        self._body = body_reader(method, self.status, self.headers)
        self._connection: _Connection | None = connection
        self._give_back = give_back
        self._at_end = False

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        assert self._connection is not None, "the reply is closed"
        with as_httpx2():
            data = await self._connection.receive_body(self._body)
        self._at_end = not data
        return data

    async def aclose(self) -> None:
        """Keep the connection for the next request, or close it if the body was
        not read to its end.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._at_end and self._body.is_clean and connection.may_go_on:
            self._give_back(connection)
        else:
            connection.close()


class _Connection:
    def __init__(self, stream: PlainStream, write_seconds: float) -> None:
        self.expires_at = 0.0
        self._may_go_on = False
        self._stream = stream
        self._write_seconds = write_seconds
        # What has come; it is read up to there.
        self._received, self._at = b"", 0

    async def exchange(
        self, request: h11.Request, content: bytes, on_leave: Callable[[], None]
    ) -> h11.Response:
        """Send a request, and return the head of its reply."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
        events = (request, h11.Data(data=content), _END_OF_BODY)
        data = b"".join([http.send(event) or b"" for event in events])
        self._may_go_on = False
        on_leave()
        whole = False
        # The system takes a small request at once, and the bound of the caller
        # holds.
        seconds = self._write_seconds if len(data) > _SMALL_REQUEST else None
        # A server may refuse a large body before it has all of it, and its reply
        # says why.
        with suppress(httpcore2.WriteError):
            await self._stream.write(data, seconds)
            whole = True
        head = await self._receive_head(http)
        self._may_go_on = whole and http.our_state is h11.DONE
        return head

    async def _receive_head(self, http: h11.Connection) -> h11.Response:
        """Return the head. What came behind it goes past h11, which would copy
        it twice.
        """
        event: object = h11.NEED_DATA
        while not isinstance(event, h11.Response):
            if event is h11.NEED_DATA:
                block, at = await self._take_block()
                if not block:
                    text = "Server disconnected without sending a response."
                    raise httpx2.RemoteProtocolError(text)
                end = block.find(_END_OF_HEAD, at)
                end = len(block) if end < 0 else end + len(_END_OF_HEAD)
                http.receive_data(block[at:end])
                self._received, self._at = block, end
            try:
                event = http.next_event()
            except h11.RemoteProtocolError as error:
                raise httpx2.RemoteProtocolError(str(error)) from error
        if behind := http.trailing_data[0]:
            # The head had lines that end otherwise.
            self._received, self._at = behind + self._received[self._at :], 0
        return event

    async def receive_body(self, body: BodyReader) -> bytes:
        """Return the next data; b"" at its end."""
        while not body.ended:
            if body.fault:
                raise httpx2.RemoteProtocolError(body.fault)
            if data := body.feed(*await self._take_block()):
                return data
        return b""

    async def _take_block(self) -> tuple[bytes, int]:
        """Return what has come and was not read, or else what comes next, and
        where in it to read on.
        """
        block, at = self._received, self._at
        self._received, self._at = b"", 0
        return (block, at) if at < len(block) else (await self._stream.read(READ_BYTES), 0)

    @property
    def may_go_on(self) -> bool:
        """True if another request can follow, once the body was read."""
        return self._may_go_on and self._at == len(self._received)

    def is_open(self) -> bool:
        return not self._stream.get_extra_info("is_readable")

    def close(self) -> None:
        self._stream.close()


def _read_headers(head: h11.Response) -> dict[str, str]:
    """Return headers by their lower-case names; repeated ones are joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), _read_text(raw_value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
