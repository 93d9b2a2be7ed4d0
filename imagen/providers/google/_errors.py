"""Google's errors: an envelope with a status word and typed details, sometimes
in a list of one.
"""

from __future__ import annotations

import re

import msgspec

from ..._errors import (
    AuthenticationError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from ..._requests.catalog import Model
from ..._system.retry_after import read_wait_seconds
from .._replies.decoding import MALFORMED, decode_json, one_line, outage, trace
from .._replies.error_text import read_sentence
from .._steps import HttpResponse

__all__ = ["refusal"]

# Whole words: imageConfig and image_size are fields, not images.
_ABOUT_PROMPT = re.compile(r"(?i)\b(?:prompt|images?|contents?|inline_?data)\b")
_ABOUT_PLACE = re.compile(r"(?i)\blocation|\bregion|\bcountry")
_ABOUT_BILLING = re.compile(r"(?i)\bbilling\b")
_USED_UP = re.compile(
    r"(?i)\bprepa(?:id|yment)\b|\bcredits?\b|spend(?:ing)? (?:cap|limit)|\blimit: 0\b"
)
_DELAY = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)s")


class _Error:
    """Readable part of an error reply."""

    def __init__(self, body: bytes) -> None:
        try:
            value: object = decode_json(msgspec.json.decode, body)
        except MALFORMED:
            value = None
        if isinstance(value, list) and value:
            value = value[0]
        error = value.get("error") if isinstance(value, dict) else None
        fields = error if isinstance(error, dict) else {}
        self.message = one_line(fields.get("message")) or read_sentence(body)
        self.status = one_line(fields.get("status")) or one_line(fields.get("code"))
        details = fields.get("details")
        self._details = (
            [detail for detail in details if isinstance(detail, dict)]
            if isinstance(details, list)
            else []
        )

    def reasons(self) -> list[str]:
        """Reasons of `ErrorInfo`."""
        return [reason for detail in self._details if (reason := one_line(detail.get("reason")))]

    def violations(self, field: str) -> list[dict[str, object]]:
        """Violations of `QuotaFailure` ("violations") or of `BadRequest`
        ("fieldViolations").
        """
        lists = [detail.get(field) for detail in self._details]
        return [
            entry
            for found in lists
            if isinstance(found, list)
            for entry in found
            if isinstance(entry, dict)
        ]

    def wait_seconds(self) -> float | None:
        """Wait of `RetryInfo`; there are no headers for it."""
        delays = [
            delay for detail in self._details if isinstance(delay := detail.get("retryDelay"), str)
        ]
        found = [match for delay in delays if (match := _DELAY.fullmatch(delay))]
        return max((float(match[1]) for match in found), default=None)


def refusal(response: HttpResponse, provider: str, model: Model | None = None) -> ImagenError:
    """The error behind a status that is not 200."""
    error = _Error(response.body)
    said = (error.message or "It gives no reason").rstrip(".") + "."
    details = trace(response) | ({"code": error.status} if error.status else {})
    match response.status:
        case 400:
            return _bad_request(error, provider, said, details)
        case 401 | 403:
            hint = (
                " An access token lives for an hour: get a new one."
                if error.status == "UNAUTHENTICATED"
                else ""
            )
            return AuthenticationError(
                f"{provider} does not accept the key. {said}{hint}", details=details
            )
        case 404:
            successor = model.lifecycle.successor if model is not None else None
            hint = f" Its successor is {successor}." if successor else ""
            return ModelNotFoundError(
                f"{provider} has no such model. {said}{hint}",
                code="API_ERROR",
                details=details | ({"successor": successor} if successor else {}),
            )
        case 413:
            return InvalidRequestError(
                f"The request is too large for {provider}: give smaller images. {said}",
                code="INVALID_PROMPT",
                details=details,
            )
        case 429:
            return _too_many(error, response, provider, said, details)
        case status if status >= 500 or status == 408:
            return outage(response, provider, said, details)
        case status if status >= 400:
            return ProviderError(
                f"{provider} refuses the request ({status}). {said}", details=details
            )
        case status:
            return ProviderError(
                f"{provider} answered with an unexpected status {status}. {said}",
                billed="unknown",
                details=details,
            )


def _bad_request(error: _Error, provider: str, said: str, details: dict[str, str]) -> ImagenError:
    if (
        any(reason.startswith("API_KEY_") for reason in error.reasons())
        or "API key not valid" in said
    ):
        return AuthenticationError(f"{provider} does not accept the key. {said}", details=details)
    if error.status == "FAILED_PRECONDITION" and _ABOUT_BILLING.search(said):
        return QuotaExceededError(
            f"{provider} wants billing to be set up for this project. {said}", details=details
        )
    if error.status == "FAILED_PRECONDITION" and _ABOUT_PLACE.search(said):
        return AuthenticationError(
            f"{provider} cannot be used from this place with this key. {said}", details=details
        )
    fields = [one_line(violation.get("field")) for violation in error.violations("fieldViolations")]
    about_prompt = any(field.startswith("contents") for field in fields) or _ABOUT_PROMPT.search(
        said
    )
    return InvalidRequestError(
        f"{provider} does not take this request. {said}",
        code="INVALID_PROMPT" if about_prompt else "API_ERROR",
        details=details,
    )


def _too_many(
    error: _Error, response: HttpResponse, provider: str, said: str, details: dict[str, str]
) -> ImagenError:
    violations = error.violations("violations")
    used_up = any(
        "PerDay" in one_line(violation.get("quotaId"))
        or one_line(violation.get("quotaValue")) == "0"
        for violation in violations
    )
    if used_up or _USED_UP.search(error.message):
        return QuotaExceededError(
            f"The allowance of this project with {provider} is used up. {said}", details=details
        )
    wait_seconds = error.wait_seconds()
    if wait_seconds is None:
        wait_seconds = read_wait_seconds(response.headers, error.message, response.body)
    return RateLimitError(
        f"{provider} takes no more requests for now. {said}",
        retry_after_seconds=wait_seconds,
        details=details,
    )
