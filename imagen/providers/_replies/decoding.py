"""Replies in the common wire formats: JSON, base64, links, outages."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import msgspec
import pybase64

from ..._errors import Billed, ImagenError, ProviderError
from ..._system.base64_text import is_data_url, read_base64
from ..._system.retry_after import read_wait_seconds
from .._steps import (
    AnyImage,
    HttpRequest,
    HttpResponse,
    LostImage,
    Step,
    Wait,
)
from .._wire.http import send
from .lenient_json import repair_json

__all__ = [
    "MALFORMED",
    "collect_each",
    "decode",
    "decode_base64",
    "decode_json",
    "download",
    "one_line",
    "outage",
    "trace",
]

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of a msgspec decoder for untrusted bytes."""

Struct = TypeVar("Struct")

_LONGEST_TEXT = 400
# A reply has a few images; one with more entries would fill the memory when it
# is decoded. Smaller bodies need no check.
_MOST_ENTRIES = 50_000
_LARGE_BODY = 1 << 22
_MOST_IMAGES = 256
_NOT_THERE_YET = (403, 404, 409, 425)
_PAUSES = (1.0, 3.0)


def decode(
    decoder: Callable[[bytes], Struct],
    response: HttpResponse,
    provider: str,
    *,
    billed: Billed = "unknown",
) -> Struct:
    """Decode the body of a reply of known form.

    Raises:
        ProviderError: the body has another form; `billed` is passed on.
    """
    try:
        return decode_json(decoder, response.body)
    except MALFORMED as error:
        also = {"yes": "; it was billed", "no": "", "unknown": "; it may have been billed"}[billed]
        raise ProviderError(
            f"{provider} replied with {len(response.body)} bytes of unknown form{also}.",
            billed=billed,
            details=trace(response),
        ) from error


def decode_json(decoder: Callable[[bytes], Struct], body: bytes) -> Struct:
    """Decode JSON; if it is faulty, its repaired form.

    Raises:
        msgspec.DecodeError: there is no JSON, or it has another form.
    """
    if len(body) > _LARGE_BODY and body.count(b",") > _MOST_ENTRIES:
        raise msgspec.DecodeError("too many entries")
    try:
        return decoder(body)
    except msgspec.ValidationError:
        raise
    except MALFORMED:
        repaired = repair_json(body)
        if repaired is None:
            raise
        return decoder(repaired)


def decode_base64(text: msgspec.Raw | str, provider: str) -> bytes:
    """Decode base64: a string, with or without the head of a data: URL, or a
    raw JSON string.

    Raises:
        ProviderError: invalid base64.
    """
    if isinstance(text, msgspec.Raw):
        inner = memoryview(text)
        if len(inner) < 2 or inner[0] != ord('"') or inner[-1] != ord('"'):
            raise ProviderError(f"{provider} answered with an image that is no text.", billed="yes")
        try:
            return pybase64.b64decode(inner[1:-1], validate=True)
        except ValueError:
            text = _read_string(inner)
    data = read_base64(text)
    if not data:
        raise ProviderError(
            f"{provider} answered with broken base64 instead of an image.", billed="yes"
        )
    return data


def _read_string(literal: memoryview) -> str:
    try:
        return msgspec.json.decode(literal, type=str)
    except MALFORMED:
        return bytes(literal).decode("utf-8", "replace")


def download(
    url: str, provider: str, *, pauses: Sequence[float] = _PAUSES
) -> Generator[Step, HttpResponse | bytes | None, bytes]:
    """Fetches a finished image, which is paid by now, from a link or out of a
    data: URL.

    A store may know the file a moment after the link is given: it is asked
    again after each of the `pauses`, in seconds.
    """
    if is_data_url(url):
        return decode_base64(url, provider)
    request = HttpRequest(method="GET", url=url, repeatable=True, collects=True)
    response = yield from send(request)
    for seconds in pauses:
        if response.status not in _NOT_THERE_YET:
            break
        yield Wait(seconds=seconds)
        response = yield from send(request)
    if response.status != 200:
        raise ProviderError(
            f"{provider} made the image, but its link answers {response.status}; it was billed.",
            billed="yes",
            details={"status": str(response.status)},
        )
    return response.body


def collect_each(
    fetches: Iterable[Generator[Step, HttpResponse | bytes | None, AnyImage]],
) -> Generator[Step, HttpResponse | bytes | None, tuple[AnyImage, ...]]:
    """Fetch the images of one reply, each by a generator. A failed one does not
    lose the others, as they are paid too.

    Raises:
        ProviderError: all failed; it is the first error.
    """
    images: list[AnyImage] = []
    errors: list[ProviderError] = []
    for fetch in islice(fetches, _MOST_IMAGES):
        try:
            images.append((yield from fetch))
        except ProviderError as error:
            errors.append(error)
            images.append(LostImage(reason=error.message))
    if errors and len(errors) == len(images):
        raise errors[0]
    return tuple(images)


def one_line(value: object) -> str:
    """Return a provider's text for an error message: one line of bounded
    length; "" for anything else.
    """
    if not isinstance(value, (str, int)):
        return ""
    text = " ".join(str(value).split())
    if len(text) <= _LONGEST_TEXT:
        return text
    # Cut between words: a key in the text is whole, so that it can be found and
    # hidden, or absent.
    return text[: _LONGEST_TEXT + 1].rpartition(" ")[0] + " ..."


def trace(response: HttpResponse) -> dict[str, str]:
    """Return the facts that a provider's support needs."""
    names = ("x-request-id", "x-fal-request-id", "cf-ray")
    return {"status": str(response.status)} | {
        name: response.headers[name] for name in names if name in response.headers
    }


def outage(
    response: HttpResponse, provider: str, said: str, details: Mapping[str, str] | None = None
) -> ImagenError:
    """Return the error of a 5xx or 408. A 503 comes before any work; after the
    others the request may have been billed.
    """
    billed: Billed = "no" if response.status == 503 else "unknown"
    return ProviderError(
        f"{provider} has trouble ({response.status}). {said} Try again later.",
        retryable=True,
        billed=billed,
        retry_after_seconds=read_wait_seconds(response.headers, body=response.body),
        details={**trace(response), **(details or {})},
    )
