"""The words that providers speak: an operation is a generator of these steps.

An exchange yields a step and receives its result::

    HttpRequest              -> HttpResponse        the whole body, bounded
    HttpRequest(stream=True) -> HttpResponse        empty body; ReadChunk returns it in pieces
    ReadChunk                -> bytes | None        b"" at the end of the body
    Wait                     -> None
    Compute                  -> bytes               what the call returned, run in a worker thread
    Render                   -> bytes               the same on a device, with progress
    Partial                  -> None                a preview to show
    Progress                 -> None                how far the work is
    JobAccepted              -> None                the provider has the job; `collect` can fetch it
    Cancellable              -> None                how to stop the job from now on
    ResultDelivered          -> None                the result of one request of a batch job

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
    "AnyImage",
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
    "UnmadeImage",
    "Usage",
    "Wait",
    "WithheldImage",
]


class _Word(msgspec.Struct, frozen=True, kw_only=True):
    pass


class HttpRequest(_Word, frozen=True, kw_only=True):
    """A request to send.

    A `url` without a scheme is a path below the provider's base URL. Only such
    a request, or one to that origin or to the provider's own domains, carries
    the key. `repeatable` marks steps that are safe to send twice: polls, lists,
    downloads. `collects` marks the download of a finished, paid image, possibly
    from another host: the key goes only to the origin of the base URL. With
    `cache_seconds` an earlier reply of at most that age may be used.
    `idempotent` marks a creating step with a key by which the provider makes it
    once, however often it arrives. While the reply is awaited, `meanwhile`
    polls the progress.

    A streamed GET with the headers of a WebSocket handshake returns the bytes
    of the socket, from the server's side only.
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
    """Reply with its whole body; header names are lower-case."""

    status: int
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpResponse({self.status}, {len(self.body)} bytes)"


class ReadChunk(_Word, frozen=True, kw_only=True):
    """Asks for the next piece of the body of the streamed request before it.

    On a WebSocket `wait_seconds` bounds the wait; the result is None if nothing
    came.
    """

    wait_seconds: float | None = None


class Wait(_Word, frozen=True, kw_only=True):
    """Pause, e.g. between two polls. One before the poll of a job names the
    job, and ends when the provider calls back.
    """

    seconds: float
    job_id: str | None = None


class Reporter(Protocol):
    """Reports of a computation; each call may raise `Cancelled`, which ends the
    computation at once.
    """

    def progress(self, fraction: float) -> None:
        """Report the progress from 0 to 1."""
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
    """Progress from 0 to 1; `note` is a text, e.g. the place in a queue."""

    fraction: float | None = None
    note: str = ""


class Meanwhile(_Word, frozen=True, kw_only=True):
    """Poll that is repeated while another request is in flight; `read` makes a
    step to show of each reply.
    """

    request: HttpRequest
    every_seconds: float
    read: Callable[[HttpResponse], PartialImage | Progress | None]


class JobAccepted(_Word, frozen=True, kw_only=True):
    """The provider took the job and will know it by this id, from another
    process too.

    `reported_cost_usd` is the cost of the job in the reply to its submission,
    if given: it is stored, as a later process may not get it again.
    """

    job_id: str
    poll_url: str
    reported_cost_usd: Decimal | None = None


class Cancellable(_Word, frozen=True, kw_only=True):
    """Way to stop the job from now on, if its caller has gone: `request`, or
    nothing but dropping it.

    `stops_bill`: a job that is stopped now costs nothing, so it is stopped at
    once instead of salvaged.
    """

    request: HttpRequest | None
    stops_bill: bool = False


class Usage(_Word, frozen=True, kw_only=True):
    """Tokens that a reply was billed for; None for a count that is absent or
    impossible.
    """

    text_input_tokens: int | None = 0
    image_input_tokens: int | None = 0
    text_output_tokens: int | None = 0
    image_output_tokens: int | None = 0


class GeneratedImage(_Word, frozen=True, kw_only=True):
    """Image as the provider sent it; size and media type are read from the
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

    An image that is not `billed` has no share in the cost of the reply.
    """

    reason: str
    billed: bool = True


class LostImage(_Word, frozen=True, kw_only=True):
    """An image that was made and billed, and could not be had: its link had
    expired, or its bytes were broken.
    """

    reason: str


class UnmadeImage(_Word, frozen=True, kw_only=True):
    """No image: the model did something else, and its tokens are billed."""

    error: ImagenError


AnyImage = GeneratedImage | WithheldImage | LostImage | UnmadeImage


class GeneratedImages(_Word, frozen=True, kw_only=True):
    """End of an exchange: the images, and the cost of all of them in the reply.

    `units` is the amount that the provider charges for: megapixels, seconds.
    `adjustments` are those that only the exchange knows.
    """

    images: tuple[AnyImage, ...]
    usage: Usage | None = None
    reported_cost_usd: Decimal | None = None
    units: Decimal | None = None
    adjustments: tuple[Adjustment, ...] = ()
    details: Mapping[str, str] = {}


class ResultDelivered(_Word, frozen=True, kw_only=True):
    """Result of one request of a batch job; `position` counts from 0, `line` is
    what the provider wrote of it.
    """

    line: bytes = b""
    position: int
    result: GeneratedImages | ImagenError


class StreamedReply(Protocol):
    """Reply whose body is still coming; header names are lower-case."""

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
        """Send a request and return the reply once its headers are there;
        leaving the block drops the rest.

        Raises:
            ProviderError: nothing was sent; the way to the provider is down.
            OutcomeUnknownError: the request was sent, and its reply was lost.
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
