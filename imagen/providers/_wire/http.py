"""Common wire formats: base64, links, forms, outages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import NamedTuple, TypeVar

import msgspec
import pybase64

from ..._errors import Billed, ImagenError, InvalidRequestError, ProviderError
from ..._requests.catalog import JsonValue
from ..._requests.request import Request
from ..._requests.translation import Adjustment
from ..._system.retry_after import read_wait_seconds
from .._provider import Call, EncodedImage
from .._steps import GeneratedImage, HttpRequest, HttpResponse, LostImage, Step, WithheldImage

__all__ = [
    "FormFile",
    "MALFORMED",
    "add_options",
    "as_base64",
    "as_data_url",
    "collect_each",
    "decode",
    "decode_base64",
    "download",
    "form_request",
    "json_request",
    "leave_out",
    "one_line",
    "outage",
    "send",
    "trace",
]

MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Exceptions of a msgspec decoder for untrusted bytes."""

Struct = TypeVar("Struct")

_LONGEST_TEXT = 400


# --- requests -----------------------------------------------------------------


def send(request: HttpRequest) -> Generator[Step, HttpResponse | bytes | None, HttpResponse]:
    """Send a request and return its reply: `response = yield from
    send(request)`.
    """
    response = yield request
    assert isinstance(response, HttpResponse)
    return response


def json_request(
    url: str, body: Mapping[str, JsonValue], *, method: str = "POST", repeatable: bool = False
) -> HttpRequest:
    """A request with a JSON body."""
    headers = {"content-type": "application/json"}
    return HttpRequest(
        method=method,
        url=url,
        headers=headers,
        body=msgspec.json.encode(body),
        repeatable=repeatable,
    )


class FormFile(NamedTuple):
    """A file in a form."""

    name: str
    data: bytes
    media_type: str
    filename: str

    @classmethod
    def of(cls, name: str, image: EncodedImage) -> FormFile:
        """An image as a file; some servers look at the ending of its name."""
        return cls(
            name, image.data, image.media_type, f"{name}.{image.media_type.rpartition('/')[2]}"
        )


def form_request(
    url: str,
    fields: Iterable[tuple[str, JsonValue]],
    files: Iterable[FormFile] = (),
    *,
    headers: Mapping[str, str] | None = None,
) -> HttpRequest:
    """A POST of multipart/form-data (RFC 7578), with or without files. A field
    that is None is left out.
    """
    parts: list[bytes] = []
    for name, value in fields:
        if value is not None:
            parts += [
                b'Content-Disposition: form-data; name="%b"\r\n\r\n' % name.encode(),
                _form_text(value),
            ]
    for file in files:
        head = f'Content-Disposition: form-data; name="{file.name}"; filename="{file.filename}"\r\n'
        parts += [f"{head}Content-Type: {file.media_type}\r\n\r\n".encode(), file.data]
    # From the content, so that the same form is the same bytes, and no part can
    # hold it by chance or by malice.
    boundary = hashlib.sha256(b"".join(parts)).hexdigest().encode()
    body = b"".join(
        b"--%b\r\n%b%b\r\n" % (boundary, *pair)
        for pair in zip(parts[::2], parts[1::2], strict=True)
    )
    content_type = f"multipart/form-data; boundary={boundary.decode()}"
    return HttpRequest(
        method="POST",
        url=url,
        headers={"content-type": content_type, **(headers or {})},
        body=body + b"--%b--\r\n" % boundary,
    )


def _form_text(value: JsonValue) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)


def add_options(
    body: Mapping[str, JsonValue], request: Request, *, reserved: Iterable[str] = ()
) -> dict[str, JsonValue]:
    """The body with the caller's own fields over it.

    Raises:
        InvalidRequestError: an option would replace a field that decides the
            cost.
    """
    if taken := set(reserved) & request.options.keys():
        raise InvalidRequestError(
            f"options may not hold {' and '.join(sorted(taken))}: these are parameters of their"
            " own."
        )
    return {**body, **request.options}


def leave_out(call: Call, *fields: str, reason: str) -> tuple[Call, tuple[Adjustment, ...]]:
    """Return the call without fields that this operation lacks, and an
    adjustment for each of them that was set.

    Raises:
        InvalidRequestError: the request is strict.
    """
    asked = {field: getattr(call.request, field, None) for field in fields}
    lost = {field: value for field, value in asked.items() if value not in (None, "")}
    if not lost:
        return call, ()
    if call.request.strict:
        raise InvalidRequestError(
            f"{call.model.id} would leave out {' and '.join(lost)}: {reason}. Leave it out"
            " yourself, or drop strict."
        )
    kept = {field: "" if field == "prompt" else None for field in lost}
    adjustments = tuple(
        Adjustment(field=field, asked=str(value), sent=None, reason=f"{call.model.id}: {reason}")
        for field, value in lost.items()
    )
    return (
        msgspec.structs.replace(call, request=msgspec.structs.replace(call.request, **kept)),
        adjustments,
    )


def as_base64(image: EncodedImage) -> str:
    """The bytes of an image as text."""
    return pybase64.b64encode_as_string(image.data)


def as_data_url(image: EncodedImage) -> str:
    """An image as a URL that holds it."""
    return f"data:{image.media_type};base64,{as_base64(image)}"


# --- answers ------------------------------------------------------------------


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
        return decoder(response.body)
    except MALFORMED as error:
        also = {"yes": "; it was billed", "no": "", "unknown": "; it may have been billed"}[billed]
        raise ProviderError(
            f"{provider} replied with {len(response.body)} bytes of unknown form{also}.",
            billed=billed,
            details=trace(response),
        ) from error


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
            pass
    try:
        # Some servers escape the slash; only a JSON decoder knows every escape.
        plain = msgspec.json.decode(text, type=str) if isinstance(text, msgspec.Raw) else text
        return pybase64.b64decode(
            plain.partition(",")[2] if plain.startswith("data:") else plain, validate=True
        )
    except (ValueError, *MALFORMED) as error:
        raise ProviderError(
            f"{provider} answered with broken base64 instead of an image.", billed="yes"
        ) from error


def download(url: str, provider: str) -> Generator[Step, HttpResponse | bytes | None, bytes]:
    """Fetches a finished image, which is paid by now, from a link or out of a
    data: URL.
    """
    if url.startswith("data:"):
        return decode_base64(url, provider)
    response = yield from send(HttpRequest(method="GET", url=url, repeatable=True, collects=True))
    if response.status != 200:
        raise ProviderError(
            f"{provider} made the image, but its link answers {response.status}; it was billed.",
            billed="yes",
            details={"status": str(response.status)},
        )
    return response.body


def collect_each(
    fetches: Iterable[
        Generator[Step, HttpResponse | bytes | None, GeneratedImage | WithheldImage | LostImage]
    ],
) -> Generator[
    Step, HttpResponse | bytes | None, tuple[GeneratedImage | WithheldImage | LostImage, ...]
]:
    """Fetch the images of one reply, each by a generator. A failed one does not
    lose the others, as they are paid too.

    Raises:
        ProviderError: all failed; it is the first error.
    """
    images: list[GeneratedImage | WithheldImage | LostImage] = []
    errors: list[ProviderError] = []
    for fetch in fetches:
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
        retry_after_seconds=read_wait_seconds(response.headers),
        details={**trace(response), **(details or {})},
    )
