"""One connection: HTTP/1.1 by h11 over a Trio socket, and its broken endings."""

import socket
import struct
from collections.abc import Callable, Iterable
from email.utils import formatdate

import h11
import msgspec
import trio

from .messages import Delivery, Ending

_READ_BYTES = 65536
LOOK_SECONDS = 0.005
"""Interval in which the server polls for changes."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request as read from the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Line:
    """A client's connection, seen from the server."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)
        self._wants_body = True

    @property
    def local_port(self) -> int:
        return int(self._stream.socket.getsockname()[1])

    async def receive(self) -> Message | None:
        """Wait for the next request. None when the client has closed.

        Raises:
            h11.RemoteProtocolError: what arrived is not HTTP, or stops in the
                middle of a request.
            trio.BrokenResourceError: the connection was reset.
        """
        request: h11.Request | None = None
        body: list[bytes] = []
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive_some(_READ_BYTES))
            elif isinstance(event, h11.Request):
                request = event
                self._wants_body = event.method != b"HEAD"
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return Message(
                    method=request.method.decode("ascii"),
                    target=request.target.decode("ascii"),
                    headers=_joined(request.headers),
                    body=b"".join(body),
                )
            else:
                return None

    async def watch(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` when the client goes away. A request sent too early is
        kept for `receive`.
        """
        try:
            while data := await self._stream.receive_some(_READ_BYTES):
                self._http.receive_data(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async def deliver(
        self, delivery: Delivery, *, completing: Callable[[], None] | None = None
    ) -> bool:
        """Send a reply, or the part of it that the delivery contains.

        Returns True when the whole reply has been handed to the network. A
        cancellation leaves the reply cut off, and the line good only for
        closing.

        Args:
            completing: called before the last write of a whole reply. A client
                in the same event loop may read the reply and act on it before
                this call has returned.
        """
        try:
            waiting = self._http.send(_head(delivery)) or b"" if delivery.head else b""
            for piece in delivery.pieces if self._wants_body else ():
                if delivery.pause_seconds:
                    await self._stream.send_all(waiting)
                    waiting = b""
                    await trio.sleep(delivery.pause_seconds)
                waiting += self._http.send(h11.Data(data=piece)) or b""
            if delivery.ending is Ending.WHOLE:
                # In one write with the last piece: a client that closes as soon
                # as it has the length promised must not make a whole reply look
                # like a broken one.
                waiting += self._http.send(h11.EndOfMessage()) or b""
                if completing is not None:
                    completing()
            await self._stream.send_all(waiting)
            if delivery.stall_seconds:
                await trio.sleep(delivery.stall_seconds)
        except trio.BrokenResourceError:  # pragma: no cover (mostly, `watch` sees it first)
            return False
        if delivery.ending is Ending.RESET:
            # With no time to linger, close() discards what is unsent and sends
            # RST in place of FIN.
            self._stream.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        return delivery.ending is Ending.WHOLE

    async def switch(
        self, headers: Iterable[tuple[str, str]], pull: Callable[[], bytes | None]
    ) -> None:
        """Upgrade the connection to a WebSocket, and send what `pull` returns
        until it returns None.
        """
        head = h11.InformationalResponse(status_code=101, headers=list(headers))
        await self._stream.send_all(self._http.send(head) or b"")
        while (data := pull()) is not None:
            await self._stream.send_all(data)
            await trio.sleep(LOOK_SECONDS)

    def next_cycle(self) -> bool:
        """Prepare for another request on this connection; return False if it
        must be closed.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def close(self) -> None:
        self._stream.socket.close()


def _head(delivery: Delivery) -> h11.Response:
    reply = delivery.reply
    length = ("content-length", str(sum(map(len, reply.pieces))))
    framing = ("transfer-encoding", "chunked") if reply.chunked else length
    return h11.Response(
        status_code=reply.status,
        headers=[("date", formatdate(usegmt=True)), framing, *reply.headers],
    )


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
