"""HTTP/1.1 on Trio, by h11, for requests to a provider's own origin.

httpx2 and the pool of httpcore2 cost a request half a millisecond more, and one
whose body has 1.5 MB twice as much (docs/design.md). They stay for all else:
links, proxies, sockets, and a caller's own client.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import h11
import httpcore2
import httpx2
import trio

from .tcp import READ_BYTES, BulkBackend, as_httpx2

__all__ = ["Http1Client", "Http1Reply"]

_KEEPALIVE_SECONDS = 30.0
# httpcore2's bound.
_MOST_HEAD_BYTES = 100 << 10
_WITH_BODY = ("POST", "PUT", "PATCH")


class Http1Client:
    """Connections to one origin, as many as there are requests at once.

    The one that was used last is used first. Every method raises the exceptions
    of httpx2.
    """

    def __init__(self, origin: httpx2.URL, *, connect_seconds: float, write_seconds: float) -> None:
        self._origin = origin
        self._host = origin.raw_host.decode("ascii")
        self._connect_seconds = connect_seconds
        self._write_seconds = write_seconds
        self._backend = BulkBackend()
        self._tls: ssl.SSLContext | None = None
        self._idle: deque[_Connection] = deque()

    async def send(
        self,
        method: str,
        target: bytes,
        headers: Mapping[str, str],
        body: bytes,
        on_leave: Callable[[], None],
    ) -> Http1Reply:
        """Send a request and return its reply once the head is there.

        `on_leave` is called before the first byte leaves. An error or a
        cancellation closes the connection.
        """
        all_headers = {"host": self._origin.netloc.decode("ascii"), "accept": "*/*", **headers}
        if body or method in _WITH_BODY:
            all_headers["content-length"] = str(len(body))
        try:
            request = h11.Request(method=method, target=target, headers=list(all_headers.items()))
        except h11.LocalProtocolError as error:
            raise httpx2.LocalProtocolError(str(error)) from error
        with as_httpx2():
            connection = await self._take()
            try:
                await connection.send(request, body, on_leave)
                head = await connection.receive_head()
            except BaseException:
                await connection.aclose()
                raise
        return Http1Reply(head, connection, self._give_back)

    async def aclose(self) -> None:
        """Close the connections that no request uses."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _take(self) -> _Connection:
        now = trio.current_time()
        while self._idle:
            connection = self._idle.pop()
            if connection.expires_at > now and connection.is_open():
                return connection
            await connection.aclose()
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

    async def _give_back(self, connection: _Connection) -> None:
        now = trio.current_time()
        connection.expires_at = now + _KEEPALIVE_SECONDS
        self._idle.append(connection)
        while self._idle[0].expires_at <= now:
            await self._idle.popleft().aclose()


class Http1Reply:
    """Reply whose body is still coming."""

    def __init__(
        self,
        head: h11.Response,
        connection: _Connection,
        give_back: Callable[[_Connection], Awaitable[None]],
    ) -> None:
        self.status = head.status_code
        self.headers = dict(httpx2.Headers(list(head.headers)))
        self._connection: _Connection | None = connection
        self._give_back = give_back
        self._at_end = False

    async def receive(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        assert self._connection is not None, "the reply is closed"
        with as_httpx2():
            data = await self._connection.receive_body()
        self._at_end = not data
        return data

    async def aclose(self) -> None:
        """Keep the connection for the next request, or close it if the body was
        not read to its end.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._at_end and connection.start_next():
            await self._give_back(connection)
        else:
            await connection.aclose()


class _Connection:
    def __init__(self, stream: httpcore2.AsyncNetworkStream, write_seconds: float) -> None:
        self.expires_at = 0.0
        self._stream = stream
        self._write_seconds = write_seconds
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEAD_BYTES)
        self._ended = False
        self._broken: Exception | None = None

    async def send(self, request: h11.Request, body: bytes, on_leave: Callable[[], None]) -> None:
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        data = b"".join([self._http.send(event) or b"" for event in events])
        on_leave()
        # A server may refuse a large body before it has all of it, and its reply
        # says why.
        with suppress(httpcore2.WriteError):
            await self._stream.write(data, self._write_seconds)

    async def receive_head(self) -> h11.Response:
        while True:
            event = await self._receive_event()
            if isinstance(event, h11.Response):
                return event

    async def receive_body(self) -> bytes:
        """Return all pieces that are here, or wait for the next ones."""
        if self._broken is not None:
            raise self._broken
        pieces: list[bytes] = []
        while not self._ended:
            try:
                event = await self._receive_event() if not pieces else self._next_event()
            except httpx2.RemoteProtocolError as error:
                if not pieces:
                    raise
                # What came before the fault is handed over first.
                self._broken = error
                break
            if not isinstance(event, h11.Data):
                self._ended = isinstance(event, h11.EndOfMessage)
                break
            pieces.append(event.data)
        return b"".join(pieces)

    def is_open(self) -> bool:
        return not self._stream.get_extra_info("is_readable")

    def start_next(self) -> bool:
        """Return True if another request can follow."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            self._ended = False
            return True
        return False

    async def aclose(self) -> None:
        with trio.CancelScope(shield=True):
            await self._stream.aclose()

    async def _receive_event(self) -> h11.Event:
        while True:
            event = self._next_event()
            if isinstance(event, h11.Event):
                return event
            data = await self._stream.read(READ_BYTES)
            if not data and self._http.their_state is h11.SEND_RESPONSE:
                raise httpx2.RemoteProtocolError("Server disconnected without sending a response.")
            self._http.receive_data(data)

    def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise httpx2.RemoteProtocolError(str(error)) from error
