"""The words that providers speak: an operation is a generator of these steps.

An exchange yields a step and is sent what the step gave::

    HttpRequest              -> HttpResponse        the whole body, bounded
    HttpRequest(stream=True) -> HttpResponse        the body is empty; ReadChunk gives it piece by piece
    ReadChunk                -> bytes               b"" at the end of the body
    Wait                     -> None
    Compute                  -> what the call returned, run in a worker thread
    Partial                  -> None                a preview to show
    Accepted                 -> None                the provider took the job; it can be picked up by this id

and returns the pictures it got, or raises an ImagenError. It does no I/O, knows no clock and never sees the key.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import Protocol

import msgspec

__all__ = [
    "Accepted",
    "Compute",
    "Exchange",
    "HttpRequest",
    "HttpResponse",
    "Partial",
    "Picture",
    "Pictures",
    "ReadChunk",
    "Reply",
    "Step",
    "Transport",
    "Usage",
    "Wait",
]


class _Word(msgspec.Struct, frozen=True, kw_only=True):
    pass


class HttpRequest(_Word, frozen=True, kw_only=True):
    """A request to send.

    A `url` without a scheme is a path below the provider's base URL, and only such a request, or one to that very
    origin, carries the key. `repeatable` marks steps that are safe to send twice: polls, lists, downloads. The answer to a
    request with `cache_seconds` may be an earlier one, no older than that.
    """

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes = b""
    repeatable: bool = False
    stream: bool = False
    cache_seconds: float = 0.0

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
    """Asks for the next piece of the body of the streamed request before it."""


class Wait(_Word, frozen=True, kw_only=True):
    """Asks for a pause, between two polls say."""

    seconds: float


class Compute(_Word, frozen=True, kw_only=True):
    """Asks for work done on this machine, in a worker thread."""

    call: Callable[[], bytes]


class Partial(_Word, frozen=True, kw_only=True):
    """A preview of picture number `picture`: the `number`-th, counted from 0."""

    data: bytes
    number: int
    picture: int = 0


class Accepted(_Word, frozen=True, kw_only=True):
    """The provider took the job and will know it by this id, from another process too."""

    job_id: str
    poll_url: str


class Usage(_Word, frozen=True, kw_only=True):
    """Tokens that a reply was billed for."""

    text_input_tokens: int = 0
    image_input_tokens: int = 0
    text_output_tokens: int = 0
    image_output_tokens: int = 0


class Picture(_Word, frozen=True, kw_only=True):
    """One picture as the provider gave it; size and media type are read from the bytes later."""

    data: bytes
    revised_prompt: str | None = None
    seed: int | None = None
    provider_id: str | None = None

    def __repr__(self) -> str:
        return f"Picture({len(self.data)} bytes)"


class Pictures(_Word, frozen=True, kw_only=True):
    """The end of an exchange: the pictures, and what the reply says of their cost for all of them together."""

    pictures: tuple[Picture, ...]
    usage: Usage | None = None
    reported_cost_usd: Decimal | None = None
    details: Mapping[str, str] = {}


class Reply(Protocol):
    """An answer whose body is still coming; header names are lower-case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def receive_some(self) -> bytes:
        """The next piece of the body, decompressed; b"" at its end."""
        ...


class Transport(Protocol):
    """Sends requests to one provider. `imagen.testing.ScriptedTransport` is one without a network."""

    def open(self, request: HttpRequest) -> AbstractAsyncContextManager[Reply]:
        """Sends a request and gives the answer as soon as its headers are there; leaving the block drops the rest.

        Raises:
            ProviderError: nothing was sent; the way to the provider is down.
            OutcomeUnknownError: it was sent, and the answer was lost.
        """
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


Step = HttpRequest | ReadChunk | Wait | Compute | Partial | Accepted
Exchange = Generator[Step, HttpResponse | bytes | None, Pictures]
