"""Errors in the form of OpenAI's Images API and of the many that imitate it:
class, code, and whether the request is billed.

The code decides first, then the status, then the words. A reply of status 200
can hold an error too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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
from .decoding import MALFORMED, decode_json, one_line, outage, trace
from .error_text import find_sentence, read_plain, wrong_fields

__all__ = ["refusal", "refusal_in_success"]

_REFUSALS = {"moderation_blocked", "content_policy_violation", "content_filter"}
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
# Words of servers whose codes say little (xAI, OpenRouter, gateways of the
# one-api family, 2026).
_MONEY_WORDS = re.compile(
    r"(?i)\b(?:insufficient|not enough|out of|run out of|used all(?: available)?)[a-z ]{0,12}"
    r"(?:credits?|quota|balance|funds)\b|\bspend(?:ing)? limit|\bpurchase more credits"
    r"|\bcredit balance|\bpayment required|\bbilling hard limit"
)
_MODEL_WORDS = re.compile(
    r"(?i)\bmodel\b[^.]{0,60}?(?:\bnot found|\bdoes not exist|\bdoesn't exist|\bis not available"
    r"|\bis deprecated|\bhas been (?:deprecated|retired|removed)|\bdecommissioned)"
    r"|\b(?:unknown|no such) model\b"
)
_POLICY_WORDS = re.compile(
    r"(?i)\b(?:content polic(?:y|ies)|policy violation|by policy|safety (?:system|filter|checker)"
    r"|moderation|usage guidelines|nsfw|prohibited content|sensitive content)\b"
)
_PROMPT_WORDS = re.compile(r"(?i)\bprompt\b[^.]{0,40}\b(?:empty|required|missing|too long)\b")
_KEY_WORDS = re.compile(
    r"(?i)\b(?:api key|unauthori[sz]ed|authentication|invalid token|access denied)\b"
)
_RATE_WORDS = re.compile(r"(?i)\brate limit|\btoo many requests|\bslow down\b")
_TROUBLE_WORDS = re.compile(
    r"(?i)\b(?:internal|upstream|overloaded|unavailable|time[d -]*out|server error|bad gateway"
    r"|rpc error|exception|out of memory|try again|went wrong|failed to generate)\b"
)
# Status of a code inside a stream or a success. The billing of an outage there
# is unknown.
_STATUS_OF_CODE = {
    "invalid_api_key": 401,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "slow_down": 429,
}
_CALLERS_FAULT = {"image_generation_user_error", "invalid_request_error"}
_WORDS = (
    (_MONEY_WORDS, 402),
    (_RATE_WORDS, 429),
    (_KEY_WORDS, 401),
    (_MODEL_WORDS, 404),
    (_TROUBLE_WORDS, 500),
)
# Fields that say that a reply is an error. In a reply without an image that can
# be the message alone.
_NAMES = ("error", "errors", "detail", "message", "msg")


class _Error(msgspec.Struct):
    message: str = ""
    type: str = ""
    param: str = ""
    code: str = ""
    moderation_stage: str = ""
    moderation_categories: str = ""


def refusal(response: HttpResponse, provider: str) -> ImagenError:
    """Return the error of a reply of 300 and up."""
    return _classify(response, _read_error(response.body), provider)


def refusal_in_success(
    response: HttpResponse, provider: str, *, otherwise: int = 400
) -> ImagenError | None:
    """Return the error inside a reply of status 200, or an event of a stream;
    None if there is none.

    It is read like the reply of the status that its code or words stand for,
    `otherwise` if they say nothing.
    """
    error = _read_error(response.body, only_named=True)
    if not (error.message or error.code):
        return None
    status = _status_of(error) or otherwise
    return _classify(msgspec.structs.replace(response, status=status), error, provider)


def _status_of(error: _Error) -> int | None:
    if error.code.isdigit() and 400 <= int(error.code) < 600:
        return int(error.code)
    if (status := _STATUS_OF_CODE.get(error.code)) is not None:
        return status
    if error.type in _CALLERS_FAULT or error.code in _REFUSALS:
        return 400
    if error.type == "server_error":
        return 500
    text = f"{error.message} {error.code.replace('_', ' ')}"
    return next((status for words, status in _WORDS if words.search(text)), None)


def _classify(response: HttpResponse, error: _Error, provider: str) -> ImagenError:
    status, code = response.status, error.code
    said = (
        f"{provider} says: {error.message}"
        if error.message
        else f"{provider} answered {response.status}."
    )
    details = {**trace(response), **_details(error)}
    if _is_refused(status, error):
        return ContentFilterError(
            f"{said} Change the prompt; sending it again costs the same refusal.", details=details
        )
    if _is_out_of_money(status, error):
        return QuotaExceededError(
            f"{said} Top up or raise the limit of the account.", details=details
        )
    match status:
        case 401:
            return AuthenticationError(
                f"{provider} does not accept the key. {said}", details=details
            )
        case 403:
            return AuthenticationError(f"{provider} does not allow this. {said}", details=details)
        case 429:
            wait = read_wait_seconds(response.headers, error.message, response.body)
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


def _is_refused(status: int, error: _Error) -> bool:
    if error.code in _REFUSALS or (error.moderation_categories and status == 403):
        return True
    return status in (400, 422) and _POLICY_WORDS.search(error.message) is not None


def _is_out_of_money(status: int, error: _Error) -> bool:
    if status == 429 and (
        error.type == "insufficient_quota" or _NO_ALLOWANCE.search(error.message)
    ):
        return True
    if status == 402 or error.code in _OUT_OF_MONEY:
        return True
    return 400 <= status < 500 and _MONEY_WORDS.search(error.message) is not None


def _bad_request(error: _Error, code: str, said: str, details: dict[str, str]) -> ImagenError:
    if error.param == "model" or _MODEL_WORDS.search(error.message):
        return ModelNotFoundError(said, code="API_ERROR", details=details)
    about_input = (
        error.param in ("prompt", "url")
        or code in _BAD_INPUT_IMAGE
        or code == "string_above_max_length"
        or _PROMPT_WORDS.search(error.message) is not None
    )
    return InvalidRequestError(
        said, code="INVALID_PROMPT" if about_input else "API_ERROR", details=details
    )


def _read_error(body: bytes, *, only_named: bool = False) -> _Error:
    """Read an error in any of the forms that are about: OpenAI's object, a bare
    text with or without a code beside it, FastAPI's `detail`, plain text, HTML.

    `only_named`: a field must say that it is an error.
    """
    try:
        value: object = decode_json(msgspec.json.decode, body)
    except MALFORMED:
        return _Error() if only_named else _Error(message=read_plain(body))
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return _Error(message=one_line(value))
    if only_named and not any(value.get(name) for name in _NAMES):
        return _Error()
    return _read_object(value)


def _read_object(reply: Mapping[str, object]) -> _Error:
    error = reply.get("error")
    raw = dict(error) if isinstance(error, dict) else {}
    if isinstance(raw.get("error"), dict):
        raw = {**raw, **raw["error"]}
    if not raw:
        places = wrong_fields(reply.get("detail"))
        named = error if isinstance(error, str) and find_sentence(reply) != error else None
        raw = {**reply, "code": reply.get("code") or named, "param": places[0] if places else None}
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    moderation = raw.get("moderation_details")
    moderation = moderation if isinstance(moderation, dict) else {}
    categories = moderation.get("categories") or metadata.get("reasons")
    sentence = find_sentence(raw)
    upstream = find_sentence(_as_object(metadata.get("raw")))
    if upstream and upstream not in sentence:
        sentence = f"{sentence.rstrip('.')}: {upstream}" if sentence else upstream
    return _Error(
        message=_KEY.sub(r"\1[hidden]", sentence),
        type=one_line(raw.get("type")),
        param=one_line(raw.get("param")),
        code=one_line(raw.get("code")),
        moderation_stage=one_line(moderation.get("moderation_stage")),
        moderation_categories=(
            ", ".join(map(one_line, categories)) if isinstance(categories, list) else ""
        ),
    )


def _as_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        read: object = decode_json(msgspec.json.decode, value.encode())
    except MALFORMED:
        return value
    return read


def _details(error: _Error) -> dict[str, str]:
    found: dict[str, str] = msgspec.structs.asdict(error)
    return {name: value for name, value in found.items() if value and name != "message"}
