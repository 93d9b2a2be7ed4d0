"""ComfyUI's WebSocket, read with wsproto: progress, previews, start and end of
a job.

wsproto is an extra (`imagen-trio[comfyui]`); without it there is no socket, and
the caller polls.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import msgspec
import pybase64

from .._replies.decoding import MALFORMED
from .._steps import HttpRequest, Progress

if TYPE_CHECKING:
    from wsproto.connection import Connection

__all__ = ["Preview", "SocketReader", "Stage", "open_connection", "socket_request"]

_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
_LARGEST_MESSAGE = 64 << 20
_ENDS = ("execution_success", "execution_error", "execution_interrupted")

Stage = Literal["begun", "ended"]


class Preview(msgspec.Struct, frozen=True):
    """An unfinished image."""

    data: bytes


class _Message(msgspec.Struct):
    type: object = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Data(msgspec.Struct):
    prompt_id: object = None
    # None when a job has ended; a missing node is another message.
    node: object = ""
    value: object = None
    max: object = None
    status: object = None


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_data = msgspec.json.Decoder(_Data).decode


def open_connection() -> Connection | None:
    """A parser for the client's side of a WebSocket; None where wsproto is not
    installed.
    """
    try:
        from wsproto.connection import CLIENT, Connection
    except ImportError:
        return None
    return Connection(CLIENT)


def socket_request(client_id: str) -> HttpRequest:
    """The handshake (RFC 6455, section 4.1). Nothing is ordered by it."""
    return HttpRequest(
        method="GET",
        url=f"ws?clientId={client_id}",
        headers={
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": pybase64.b64encode_as_string(secrets.token_bytes(16)),
        },
        stream=True,
        repeatable=True,
    )


class SocketReader:
    """Reader of a socket's messages about one job. `is_open` is False after its
    end.
    """

    def __init__(self, connection: Connection, job_id: str) -> None:
        self.is_open = True
        self._connection = connection
        self._job_id = job_id
        self._runs = False
        self._pieces: list[bytes] = []
        self._size = 0

    def of(self, job_id: str) -> SocketReader:
        """Return a reader of the same socket for another job id."""
        self._job_id = job_id
        return self

    def read(self, data: bytes) -> Iterator[Progress | Preview | Stage]:
        """Return the messages in the next bytes."""
        from wsproto.events import BytesMessage, CloseConnection, TextMessage

        if not data:
            self.is_open = False
            return
        self._connection.receive_data(data)
        for event in self._connection.events():
            match event:
                case TextMessage():
                    yield from self._collect(
                        event.data.encode(), event.message_finished, self._read_text
                    )
                case BytesMessage():
                    yield from self._collect(
                        bytes(event.data), event.message_finished, self._read_binary
                    )
                case CloseConnection():
                    # Also what breaks the protocol comes out as this.
                    self.is_open = False
                    return
                case _:
                    # A ping cannot be answered on a socket that is only read;
                    # ComfyUI sends none.
                    pass

    def _collect(
        self, piece: bytes, finished: bool, read: _Reader
    ) -> Iterator[Progress | Preview | Stage]:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > _LARGEST_MESSAGE:
            self.is_open = False
        elif finished:
            whole = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            yield from read(whole)

    def _read_text(self, text: bytes) -> Iterator[Progress | Preview | Stage]:
        try:
            message = _decode_message(text)
            data = _decode_data(message.data)
        except MALFORMED:
            return
        if message.type == "status" and not self._runs:
            yield from _read_queue(data.status)
        if data.prompt_id != self._job_id:
            return
        if message.type in _ENDS or (message.type == "executing" and data.node is None):
            yield "ended"
        elif message.type in ("execution_start", "executing", "progress") and not self._runs:
            self._runs = True
            yield "begun"
        if message.type == "progress":
            yield _read_progress(data)

    def _read_binary(self, data: bytes) -> Iterator[Progress | Preview | Stage]:
        """Previews go to the socket of their job only, so they name none."""
        if len(data) < 8:
            return
        event, more = struct.unpack_from(">II", data)
        start = 8 if event == _PREVIEW else 8 + more
        if event in (_PREVIEW, _PREVIEW_WITH_METADATA) and len(data) > start:
            yield Preview(data[start:])


def _read_progress(data: _Data) -> Progress:
    value, most = data.value, data.max
    if (
        not isinstance(value, int)
        or not isinstance(most, int)
        or not 0 <= value <= most
        or not most
    ):
        return Progress()
    return Progress(fraction=value / most, note=f"step {value} of {most}")


def _read_queue(status: object) -> Iterator[Progress]:
    told = status.get("exec_info") if isinstance(status, dict) else None
    remaining = told.get("queue_remaining") if isinstance(told, dict) else None
    if isinstance(remaining, int) and not isinstance(remaining, bool) and remaining > 0:
        yield Progress(note=f"queue of {remaining}")


if TYPE_CHECKING:
    from collections.abc import Callable

    _Reader = Callable[[bytes], Iterator[Progress | Preview | Stage]]
