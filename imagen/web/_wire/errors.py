"""The one form of every failure of the API."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ..._errors import ImagenError

__all__ = ["FAULT", "ApiError", "Problem", "problem_of", "status_of"]

_STATUS = {
    "INVALID_PROMPT": 400,
    "INVALID_REQUEST": 400,
    "BUDGET": 402,
    "QUOTA": 402,
    "SESSION": 409,
    "CONFIGURATION": 422,
    "MODEL_NOT_FOUND": 422,
    "PROVIDER_NOT_FOUND": 422,
    "AUTHENTICATION": 422,
    "CONTENT_FILTER": 422,
    "RATE_LIMIT": 429,
    "DROPPED": 409,
    "STORAGE_ERROR": 507,
}
_OTHER = 502


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Failure of a call, a place or a batch: its code and one sentence."""

    code: str
    sentence: str
    retryable: bool = False
    details: Mapping[str, str] = {}


FAULT = Problem(code="INTERNAL", sentence="The server has a fault; its log says more.")


class ApiError(Exception):
    """A call that cannot be answered."""

    def __init__(self, status: int, code: str, sentence: str, **details: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.problem = Problem(code=code, sentence=sentence, details=details)


def problem_of(error: ImagenError) -> Problem:
    """Return an error of the library in that form."""
    details = dict(error.details)
    if error.retry_after_seconds is not None:
        details["retry_after_seconds"] = f"{error.retry_after_seconds:g}"
    return Problem(
        code=error.code, sentence=error.message, retryable=error.retryable, details=details
    )


def status_of(error: ImagenError) -> int:
    """Return the HTTP status that fits."""
    return _STATUS.get(error.code, _OTHER)
