"""The errors of OpenAI's Images API and of those that imitate it: what their
words and numbers mean to a caller.
"""

from __future__ import annotations

import re

import msgspec

from ..._errors import (
    AuthenticationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from ..._system.retry_after import read_wait_seconds
from .._steps import HttpResponse
from .._wire.http import MALFORMED, one_line, outage, trace

__all__ = ["refusal", "refusal_in_stream"]


class _RawError(msgspec.Struct):
    # Servers that imitate the format differ in these; a field of another form
    # must not hide the code.
    message: object = None
    type: object = None
    param: object = None
    code: object = None
    moderation_details: object = None
    metadata: object = None


class _ErrorReply(msgspec.Struct):
    """The forms of an error: OpenAI's object, a bare text with or without a
    code beside it, FastAPI's `detail`.
    """

    error: _RawError | str | None = None
    code: object = None
    message: object = None
    detail: object = None


class _Error(msgspec.Struct):
    message: str = ""
    type: str = ""
    param: str = ""
    code: str = ""
    moderation_stage: str = ""
    moderation_categories: str = ""


_decode_error = msgspec.json.Decoder(_ErrorReply).decode

_REFUSALS = {"moderation_blocked", "content_policy_violation"}
_OUT_OF_MONEY = {
    "billing_hard_limit_reached",
    "credit_balance_exhausted",
    "insufficient_quota",
    "organization_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "project_spend_limit_exceeded",
}
_BAD_INPUT_IMAGE = {
    "image_too_large",
    "invalid_image_file",
    "invalid_image_format",
    "unsupported_file_mimetype",
}
_NO_ALLOWANCE = re.compile(r"\bLimit 0\b(?!\.[0-9])")
# An error text may repeat the key that was sent ("Incorrect API key provided:
# sk-...").
_KEY = re.compile(r"(?i)(key provided: )\S+")
# Status of a code inside a stream. The billing of an outage there is unknown.
_STATUS_IN_STREAM = {
    "invalid_api_key": 401,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "slow_down": 429,
}
_CALLERS_FAULT = {"image_generation_user_error", "invalid_request_error"}


def refusal(response: HttpResponse, provider: str) -> ImagenError:
    """Return the error of a reply of 300 and up. The code decides first, then
    the status.
    """
    error = _read_error(response.body)
    code = error.code
    said = (
        f"{provider} says: {error.message}"
        if error.message
        else f"{provider} answered {response.status}."
    )
    details = {**trace(response), **_details(error)}
    if code in _REFUSALS or (error.moderation_categories and response.status == 403):
        return ContentFilterError(
            f"{said} Change the prompt; sending it again costs the same refusal.", details=details
        )
    if _is_out_of_money(response.status, error):
        return QuotaExceededError(
            f"{said} Top up or raise the limit of the account.", details=details
        )
    match response.status:
        case 401:
            return AuthenticationError(
                f"{provider} does not accept the key. {said}", details=details
            )
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
            return ProviderError(
                f"{provider} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, provider, said, details)


def refusal_in_stream(event: bytes, provider: str) -> ImagenError:
    """Return the error of an event in a stream that began with 200."""
    error = _read_error(event)
    status = _STATUS_IN_STREAM.get(error.code, 400 if error.type in _CALLERS_FAULT else 500)
    return refusal(HttpResponse(status=status, body=event), provider)


def _is_out_of_money(status: int, error: _Error) -> bool:
    if status == 429 and (
        error.type == "insufficient_quota" or _NO_ALLOWANCE.search(error.message)
    ):
        return True
    return status == 402 or error.code in _OUT_OF_MONEY


def _bad_request(error: _Error, code: str, said: str, details: dict[str, str]) -> ImagenError:
    if error.param == "model":
        return ModelNotFoundError(said, code="API_ERROR", details=details)
    about_input = (
        error.param in ("prompt", "url")
        or code in _BAD_INPUT_IMAGE
        or code == "string_above_max_length"
    )
    return InvalidRequestError(
        said, code="INVALID_PROMPT" if about_input else "API_ERROR", details=details
    )


def _read_error(body: bytes) -> _Error:
    try:
        reply = _decode_error(body)
    except MALFORMED:
        return _Error()
    match reply.error:
        case _RawError() as raw:
            pass
        case str() as text:
            raw = _RawError(
                message=reply.message or text, code=reply.code or (text if reply.message else None)
            )
        case _:
            raw = _read_detail(reply)
    moderation = raw.moderation_details if isinstance(raw.moderation_details, dict) else {}
    reasons = raw.metadata.get("reasons") if isinstance(raw.metadata, dict) else None
    categories = moderation.get("categories") or reasons
    return _Error(
        message=_KEY.sub(r"\1[hidden]", one_line(raw.message)),
        type=one_line(raw.type),
        param=one_line(raw.param),
        code=one_line(raw.code),
        moderation_stage=one_line(moderation.get("moderation_stage")),
        moderation_categories=(
            ", ".join(map(one_line, categories)) if isinstance(categories, list) else ""
        ),
    )


def _read_detail(reply: _ErrorReply) -> _RawError:
    """Read FastAPI's form: a text, or place and fault of each wrong field."""
    if not isinstance(reply.detail, list):
        return _RawError(message=reply.detail or reply.message, code=reply.code)
    wrong = [item for item in reply.detail if isinstance(item, dict)]
    places = [
        item["loc"][-1] for item in wrong if isinstance(item.get("loc"), list) and item["loc"]
    ]
    said = [
        ": ".join(filter(None, map(one_line, (place, item.get("msg")))))
        for place, item in zip(places, wrong, strict=False)
    ]
    return _RawError(message="; ".join(said), param=places[0] if places else None)


def _details(error: _Error) -> dict[str, str]:
    found: dict[str, str] = msgspec.structs.asdict(error)
    return {name: value for name, value in found.items() if value and name != "message"}
