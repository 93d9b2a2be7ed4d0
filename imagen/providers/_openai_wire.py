"""The wire format that OpenAI's Images API has and others imitate: replies, streams and errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from .._errors import (
    AuthenticationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from .._exchange import HttpResponse, Usage
from ._wire import MALFORMED, one_line, outage, read_wait_seconds, trace

__all__ = [
    "EventStream",
    "ImageItem",
    "ImagesReply",
    "decode_reply",
    "is_null",
    "read_usage",
    "refusal",
    "refusal_in_stream",
]

# Raw leaves the base64 text where it is in the reply; a str field would copy 2 MB and scan it for escapes.
_Text = msgspec.Raw


class ImageItem(msgspec.Struct):
    b64_json: _Text = msgspec.Raw(b"null")
    url: str | None = None
    # Neither is worth a paid picture, so their types are looked at when they are read.
    revised_prompt: object = None
    generation_id: object = None


# No bill has a million million tokens; what lies beyond that breaks the arithmetic of money.
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class _TokenDetails(msgspec.Struct):
    text_tokens: _Tokens = 0
    image_tokens: _Tokens = 0


class TokenUsage(msgspec.Struct):
    input_tokens: _Tokens = 0
    output_tokens: _Tokens = 0
    input_tokens_details: _TokenDetails | None = None
    output_tokens_details: _TokenDetails | None = None


class ImagesReply(msgspec.Struct):
    data: list[ImageItem] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _RawError(msgspec.Struct):
    # Servers that imitate the format differ in these; a field of another form must not hide the code.
    message: object = None
    type: object = None
    param: object = None
    code: object = None
    moderation_details: object = None


class _ErrorReply(msgspec.Struct):
    error: _RawError | str


class _Error(msgspec.Struct):
    message: str = ""
    type: str = ""
    param: str = ""
    code: str = ""
    moderation_stage: str = ""
    moderation_categories: str = ""


_decode_images = msgspec.json.Decoder(ImagesReply).decode
_decode_usage = msgspec.json.Decoder(TokenUsage | None).decode
_decode_error = msgspec.json.Decoder(_ErrorReply).decode


def decode_reply(response: HttpResponse, provider: str) -> ImagesReply:
    """The body of a 200 answer.

    Raises:
        ProviderError: it is something else; whether it was billed is unknown.
    """
    try:
        reply = _decode_images(response.body)
    except MALFORMED as error:
        raise ProviderError(
            f"{provider} answered with {len(response.body)} bytes that are no image reply; it may have been billed.",
            billed="unknown",
            details=trace(response),
        ) from error
    if not reply.data:
        raise ProviderError(f"{provider} answered with no picture in it; it may have been billed.", billed="unknown")
    return reply


def is_null(raw: msgspec.Raw) -> bool:
    """Whether a field of a reply is missing or null."""
    return memoryview(raw).nbytes <= len(b"null")


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """The tokens of a reply; None where it names none, or in a form that nobody knows."""
    try:
        usage = _decode_usage(raw)
    except MALFORMED:
        return None
    if usage is None:
        return None
    # Where the details are missing, input is text and output is image: what a plain generation has.
    into = usage.input_tokens_details or _TokenDetails(text_tokens=usage.input_tokens)
    out = usage.output_tokens_details or _TokenDetails(image_tokens=usage.output_tokens)
    return Usage(
        text_input_tokens=into.text_tokens,
        image_input_tokens=into.image_tokens,
        text_output_tokens=out.text_tokens,
        image_output_tokens=out.image_tokens,
    )


class EventStream:
    """Server-sent events out of chunks of bytes: the `data` lines, joined, of each event.

    A partial picture is one line of megabytes, so chunks are collected and searched only where they are new.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that this chunk completes."""
        self._buffer += chunk
        while (end := self._find_end()) is not None:
            event = bytes(self._buffer[: end[0]])
            del self._buffer[: end[1]]
            self._searched = 0
            if data := _event_data(event):
                yield data
        self._searched = max(0, len(self._buffer) - 3)

    def finish(self) -> Iterator[bytes]:
        """The last event, where the stream ended without an empty line."""
        if data := _event_data(bytes(self._buffer)):
            yield data
        self._buffer.clear()

    def _find_end(self) -> tuple[int, int] | None:
        """Where the next empty line stands, and where it ends. Searches no byte twice, however many events there are."""
        at = self._searched
        while (at := self._buffer.find(b"\n", at) + 1) > 0:
            for empty_line in (b"\n", b"\r\n"):
                if self._buffer.startswith(empty_line, at):
                    return at, at + len(empty_line)
        return None


def _event_data(event: bytes) -> bytes:
    lines = [line[5:].strip(b" \r") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


# --- errors ---------------------------------------------------------------------------------------------------------

_REFUSALS = {"moderation_blocked", "content_policy_violation"}
_OUT_OF_MONEY = {
    "billing_hard_limit_reached",
    "credit_balance_exhausted",
    "insufficient_quota",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
}
_BAD_INPUT_PICTURE = {
    "image_too_large",
    "invalid_image_file",
    "invalid_image_format",
    "unsupported_file_mimetype",
}
_NO_ALLOWANCE = re.compile(r"\bLimit 0\b(?!\.[0-9])")
# An error text may repeat the key that was sent ("Incorrect API key provided: sk-...").
_KEY = re.compile(r"(?i)(key provided: )\S+")
# What a code inside a stream would have had as its status. Of an outage there, nobody knows whether it is billed.
_STATUS_IN_STREAM = {"invalid_api_key": 401, "model_not_found": 404, "rate_limit_exceeded": 429, "slow_down": 429}
_CALLERS_FAULT = {"image_generation_user_error", "invalid_request_error"}


def refusal(response: HttpResponse, provider: str) -> ImagenError:
    """The error that an answer of 300 and up stands for. The code decides first, then the status."""
    error = _read_error(response.body)
    code = error.code
    said = f"{provider} says: {error.message}" if error.message else f"{provider} answered {response.status}."
    details = {**trace(response), **_details(error)}
    if code in _REFUSALS:
        return ContentFilterError(
            f"{said} Change the prompt; sending it again costs the same refusal.", details=details
        )
    if _is_out_of_money(response.status, error):
        return QuotaExceededError(f"{said} Top up or raise the limit of the account.", details=details)
    match response.status:
        case 401:
            return AuthenticationError(f"{provider} does not accept the key. {said}", details=details)
        case 403:
            return AuthenticationError(f"{provider} does not allow this. {said}", details=details)
        case 429:
            wait = read_wait_seconds(response.headers, error.message)
            return RateLimitError(said, retry_after_seconds=wait, details=details)
        case 404:
            hint = "Check the model and the base URL."
            return ModelNotFoundError(f"{said} {hint}", code="API_ERROR", details=details)
        case status if 400 <= status < 500 and status != 408:
            return _bad_request(error, code, said, details)
        case status if 300 <= status < 400:
            return ProviderError(f"{provider} redirects to another address, which is not followed.", details=details)
        case _:
            return outage(response, provider, said, details)


def refusal_in_stream(event: bytes, provider: str) -> ImagenError:
    """The error that an event stands for, in a stream that began with 200."""
    error = _read_error(event)
    status = _STATUS_IN_STREAM.get(error.code, 400 if error.type in _CALLERS_FAULT else 500)
    return refusal(HttpResponse(status=status, body=event), provider)


def _is_out_of_money(status: int, error: _Error) -> bool:
    if status == 429 and (error.type == "insufficient_quota" or _NO_ALLOWANCE.search(error.message)):
        return True
    return status == 402 or error.code in _OUT_OF_MONEY


def _bad_request(error: _Error, code: str, said: str, details: dict[str, str]) -> ImagenError:
    if error.param == "model":
        return ModelNotFoundError(said, code="API_ERROR", details=details)
    about_input = error.param in ("prompt", "url") or code in _BAD_INPUT_PICTURE or code == "string_above_max_length"
    return InvalidRequestError(said, code="INVALID_PROMPT" if about_input else "API_ERROR", details=details)


def _read_error(body: bytes) -> _Error:
    try:
        raw = _decode_error(body).error
    except MALFORMED:
        return _Error()
    if isinstance(raw, str):
        raw = _RawError(message=raw)
    moderation = raw.moderation_details if isinstance(raw.moderation_details, dict) else {}
    categories = moderation.get("categories")
    return _Error(
        message=_KEY.sub(r"\1[hidden]", one_line(raw.message)),
        type=one_line(raw.type),
        param=one_line(raw.param),
        code=one_line(raw.code),
        moderation_stage=one_line(moderation.get("moderation_stage")),
        moderation_categories=", ".join(map(one_line, categories)) if isinstance(categories, list) else "",
    )


def _details(error: _Error) -> dict[str, str]:
    found: dict[str, str] = msgspec.structs.asdict(error)
    return {name: value for name, value in found.items() if value and name != "message"}
