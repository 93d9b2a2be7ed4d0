"""The words that providers speak: an operation is a generator of these steps.

An exchange yields a step and is sent what the step gave::

    HttpRequest              -> HttpResponse        the whole body, bounded
    HttpRequest(stream=True) -> HttpResponse        the body is empty; ReadChunk gives it piece by piece
    ReadChunk                -> bytes | None        b"" at the end of the body
    Wait                     -> None
    Compute                  -> bytes               what the call returned, run in a worker thread
    Render                   -> bytes               the same on a device, with progress
    Partial                  -> None                a preview to show
    Progress                 -> None                how far the work is
    Accepted                 -> None                the provider took the job; it can be picked up by this id
    Cancellable              -> None                how to stop the job from now on
    Delivered                -> None                the result of one of many requests that were sent together

and returns the images it got, or raises an ImagenError. It does no I/O, knows
no clock and never sees the key.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Protocol

import msgspec

from .._errors import ImagenError
from .._requests.translation import Adjustment

__all__ = [
    "BatchExchange",
    "Cancellable",
    "Compute",
    "Exchange",
    "GeneratedImage",
    "GeneratedImages",
    "HttpRequest",
    "HttpResponse",
    "JobAccepted",
    "LostImage",
    "Meanwhile",
    "PartialImage",
    "Progress",
    "ReadChunk",
    "Render",
    "Reporter",
    "ResultDelivered",
    "Step",
    "StreamedReply",
    "Transport",
    "Usage",
    "Wait",
    "WithheldImage",
]


class _Word(msgspec.Struct, frozen=True, kw_only=True):
    pass


class HttpRequest(_Word, frozen=True, kw_only=True):
    """A request to send.

    A `url` without a scheme is a path below the provider's base URL, and only
    such a request, or one to that very origin or to the provider's own domains,
    carries the key. `repeatable` marks steps that are safe to send twice:
    polls, lists, downloads. `collects` marks the fetching of a finished image,
    which is paid by then and may lie with a stranger: the key goes along on the
    very origin of the base URL only. The answer to a request with
    `cache_seconds` may be an earlier one, no older than that. `idempotent`
    marks a creating step that carries a key of its own by which the provider
    makes it once, however often it comes. While the answer is waited for,
    `meanwhile` is asked how far the work is.

    A streamed GET with the headers of a WebSocket handshake gives the bytes of
    the socket, from the server's side only.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    repeatable: bool = False
    idempotent: bool = False
    stream: bool = False
    collects: bool = False
    cache_seconds: float = 0.0
    meanwhile: Meanwhile | None = None

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.url}, {len(self.body)} bytes)"


class HttpResponse(_Word, frozen=True, kw_only=True):
    """What came back; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpResponse({self.status}, {len(self.body)} bytes)"


class ReadChunk(_Word, frozen=True, kw_only=True):
    """Asks for the next piece of the body of the streamed request before it.

    On a WebSocket `wait_seconds` bounds the wait: the answer is None where
    nothing came for so long.
    """

    wait_seconds: float | None = None


class Wait(_Word, frozen=True, kw_only=True):
    """Asks for a pause, between two polls say. One before a poll of a job names
    it, and ends when the provider calls back.
    """

    seconds: float
    job_id: str | None = None


class Reporter(Protocol):
    """What a computation may say on its way; each call may raise `Cancelled`,
    which ends the computation at once.
    """

    def progress(self, fraction: float) -> None:
        """So much of the work is done, from 0 to 1."""
        ...

    def preview(self, data: bytes, number: int) -> None:
        """An unfinished image, as an encoded image."""
        ...


class Compute(_Word, frozen=True, kw_only=True):
    """Asks for work done on this machine, in a worker thread.

    `repeatable` marks work that makes no image, such as turning a mask round.
    """

    call: Callable[[], bytes]
    repeatable: bool = False


class Render(_Word, frozen=True, kw_only=True):
    """Asks for an image made on a device of this machine; of the calls for one
    device, one runs at a time.
    """

    call: Callable[[Reporter], bytes]
    device: str


class PartialImage(_Word, frozen=True, kw_only=True):
    """A preview of image number `image`: the `number`-th, counted from 0."""

    data: bytes
    number: int
    image: int = 0


class Progress(_Word, frozen=True, kw_only=True):
    """So much of the work is done, from 0 to 1; `note` says what is going on,
    such as a place in a queue.
    """

    fraction: float | None = None
    note: str = ""


class Meanwhile(_Word, frozen=True, kw_only=True):
    """A question asked again and again while another request is under way;
    `read` makes a step to show of each answer.
    """

    request: HttpRequest
    every_seconds: float
    read: Callable[[HttpResponse], PartialImage | Progress | None]


class JobAccepted(_Word, frozen=True, kw_only=True):
    """The provider took the job and will know it by this id, from another
    process too.

    `reported_cost_usd` is what the answer to the submission said that the job
    costs, where it did: it is stored, as whoever collects the job may not be
    told it again.
    """

    job_id: str
    poll_url: str
    reported_cost_usd: Decimal | None = None


class Cancellable(_Word, frozen=True, kw_only=True):
    """From now on `request` stops the job, if nobody waits for it any more;
    without one, letting go of it has to do.

    `stops_bill` says that a job which is stopped now costs nothing, so that it
    is stopped at once instead of waited for.
    """

    request: HttpRequest | None
    stops_bill: bool = False


class Usage(_Word, frozen=True, kw_only=True):
    """Tokens that a reply was billed for."""

    text_input_tokens: int = 0
    image_input_tokens: int = 0
    text_output_tokens: int = 0
    image_output_tokens: int = 0


class GeneratedImage(_Word, frozen=True, kw_only=True):
    """One image as the provider gave it; size and media type are read from the
    bytes later.
    """

    data: bytes
    revised_prompt: str | None = None
    seed: int | None = None
    provider_id: str | None = None

    def __repr__(self) -> str:
        return f"Image({len(self.data)} bytes)"


class WithheldImage(_Word, frozen=True, kw_only=True):
    """An image that was made, and refused by the provider's filter in a reply
    that looks like success.

    One that is not `billed` has no share in the cost of the reply.
    """

    reason: str
    billed: bool = True


class LostImage(_Word, frozen=True, kw_only=True):
    """An image that was made and billed, and could not be had: its link had
    expired, or its bytes were broken.
    """

    reason: str


class GeneratedImages(_Word, frozen=True, kw_only=True):
    """The end of an exchange: the images, and what the reply says of their cost
    for all of them together.

    `units` is how much the provider counted of what it charges for: megapixels,
    seconds. `adjustments` are those that only the exchange knew of.
    """

    images: tuple[GeneratedImage | WithheldImage | LostImage, ...]
    usage: Usage | None = None
    reported_cost_usd: Decimal | None = None
    units: Decimal | None = None
    adjustments: tuple[Adjustment, ...] = ()
    details: Mapping[str, str] = {}


class ResultDelivered(_Word, frozen=True, kw_only=True):
    """What became of one of the requests that a provider does together:
    `position` counts them from 0.
    """

    position: int
    result: GeneratedImages | ImagenError


class StreamedReply(Protocol):
    """An answer whose body is still coming; header names are lower-case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def receive_some(self) -> bytes:
        """The next piece of the body, decompressed; b"" at its end."""
        ...


class Transport(Protocol):
    """Sends requests to one provider. `imagen.testing.ScriptedTransport` is one
    without a network.
    """

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[StreamedReply]:
        """Sends a request and gives the answer as soon as its headers are
        there; leaving the block drops the rest.

        Raises:
            ProviderError: nothing was sent; the way to the provider is down.
            OutcomeUnknownError: it was sent, and the answer was lost.
        """
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


Step = (
    HttpRequest
    | ReadChunk
    | Wait
    | Compute
    | Render
    | PartialImage
    | Progress
    | JobAccepted
    | Cancellable
    | ResultDelivered
)
Exchange = Generator[Step, HttpResponse | bytes | None, GeneratedImages]
BatchExchange = Generator[Step, HttpResponse | bytes | None, None]
"""Requests that are done together: it yields a `ResultDelivered` for each as it
reads its result, so that few are in memory.
"""
