"""Messages between the parts of the simulator: requests, replies, bills.

A provider module is pure: it gets a `Job` (a request and the means to draw) and
returns a `Reply`, or a `Drawing` if the reply costs time and money. Only the
server knows sockets, clocks and faults.
"""

from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from .faults import Decline
    from .jobs import Job

Kind = Literal["create", "poll", "list", "download", "cancel", "upload", "other"]
"""Kind of a request. Latency applies to "create"; each of the first five has
faults of its kind.
"""

KEY_HEADERS = (
    "authorization",
    "x-api-key",
    "x-nexos-key",
    "x-goog-api-key",
    "api-key",
    "x-key",
    "mj-api-secret",
)
"""Headers in which the providers expect a key; none of them may reach an origin
that did not issue it.
"""


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """Request as it arrived. `number` is its index in `Simulator.received`."""

    number: int
    provider: str
    kind: Kind
    method: str
    path: str
    query: str
    headers: dict[str, str]  # names in lower case; a repeated header is joined with ", "
    body: bytes
    at_seconds: float  # since the simulator was opened

    @property
    def carries_key(self) -> bool:
        return any(name in self.headers for name in KEY_HEADERS)


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of one request. Booked when the drawing starts: a provider does not
    stop half way.

    `delivered` turns True once the whole reply, with readable images, has been
    handed to the network (in advance while its last part is being sent; False
    again if the client goes before that is done).
    """

    number: int  # of the request, see Received
    provider: str
    model: str
    images: int
    usd: Decimal
    delivered: bool = False


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """End of one request. `status` is None if no status line was sent."""

    received: Received
    status: int | None
    fault: str | None
    bill: Bill | None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply as the provider means it. More than one piece is a stream: each
    piece is sent on its own.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    chunked: bool = False


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """Reply that takes the latency and is billed.

    `paint` makes the reply after the latency, so that a thousand requests in
    flight do not hold a thousand images. A stream is painted at once and its
    pieces are spread over the latency. A `stopped` drawing is painted early.
    """

    model: str
    images: int
    usd: Decimal
    paint: Callable[[], Reply]
    streamed: bool = False
    stopped: Callable[[], bool] | None = None


Signed = tuple[dict[str, str], bytes]
"""The headers of a callback, with names in small letters, and its body."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """Message to `url` when a job has ended. `sign` makes it then, from the
    Unix time.
    """

    url: str
    sign: Callable[[int], Signed]


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """Reply that accepts a job: billed and sent at once; the job, made by
    `Jobs.submit`, takes the latency.
    """

    model: str
    images: int
    usd: Decimal
    reply: Reply
    callback: Callback | None = None


class Socket(msgspec.Struct, frozen=True, kw_only=True):
    """Reply that upgrades to a WebSocket. `pull` returns the next message at a
    time, None at the end.
    """

    headers: tuple[tuple[str, str], ...]
    pull: Callable[[float], bytes | None]


class Ending(Enum):
    WHOLE = "whole"
    CLOSED = "closed"  # the connection ends in good order, though the reply is not complete
    RESET = "reset"  # the connection ends with an RST


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Form of a reply on the wire: `reply` has headers and promised length,
    `pieces` the bytes.
    """

    reply: Reply
    pieces: tuple[bytes, ...]
    head: bool = True
    pause_seconds: float = 0.0  # before each piece
    stall_seconds: float = 0.0  # after the last piece, with the connection open
    ending: Ending = Ending.WHOLE


class Provider(Protocol):
    """One simulated API. `name` is its first path segment, `base_path` the end
    of its base URL.
    """

    @property
    def name(self) -> str: ...

    @property
    def base_path(self) -> str: ...

    def kind(self, method: str, path: str) -> Kind:
        """Return the kind of a request; `path` starts after the base path."""
        ...

    def answer(self, job: "Job") -> Reply | Drawing | Submission | Socket: ...

    def decline(self, job: "Job", fault: "Decline") -> Reply:
        """Return this provider's own error reply, e.g. for overload or lack of
        credit.
        """
        ...


_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(payload: object) -> bytes:
    """JSON in which a Decimal is a number, as the providers write it."""
    return _encoder.encode(payload)


def json_reply(
    payload: object,
    *,
    status: int = 200,
    headers: tuple[tuple[str, str], ...] = (),
    chunked: bool = False,
) -> Reply:
    return Reply(
        status=status,
        headers=(("content-type", "application/json"), *headers),
        pieces=(encode(payload),),
        chunked=chunked,
    )


def text_reply(text: str, *, status: int, media_type: str = "text/plain") -> Reply:
    return Reply(
        status=status,
        headers=(("content-type", f"{media_type}; charset=utf-8"),),
        pieces=(text.encode(),),
    )
