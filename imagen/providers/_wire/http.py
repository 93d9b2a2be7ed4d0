"""Requests in the common wire formats: JSON, forms, images as text."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping
from typing import NamedTuple

import msgspec
import pybase64

from ..._errors import InvalidRequestError
from ..._requests.catalog import JsonValue
from ..._requests.request import Request
from ..._requests.translation import Adjustment
from .._provider import Call, EncodedImage
from .._steps import HttpRequest, HttpResponse, Step

__all__ = [
    "FormFile",
    "add_options",
    "as_base64",
    "as_data_url",
    "form_request",
    "json_request",
    "leave_out",
    "send",
]


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
