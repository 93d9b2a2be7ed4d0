"""Exceptions of imagen, split by what the caller can do about them.

::

    ImagenError
    ├── ConfigurationError          a setting is missing or wrong: nothing was sent
    │   ├── ProviderNotFoundError   no such provider
    │   └── ModelNotFoundError      no such model, or it is retired
    ├── InvalidRequestError         the request itself is wrong: change it
    ├── AuthenticationError         the key is missing, wrong or not allowed to do this
    ├── ContentFilterError          the provider refuses the prompt or the image
    ├── RateLimitError              too many requests: wait `retry_after_seconds`
    ├── QuotaExceededError          the account has no money or allowance left
    ├── BudgetExceededError         one of the caller's own budgets forbids it: nothing was sent
    ├── ProviderError               the provider or the way to it failed
    │   ├── OutcomeUnknownError     sent, perhaps billed, and the reply was lost
    │   └── AllProvidersFailedError every route was tried
    ├── StorageError                the disk or the database failed
    └── SessionError                about a background batch
        ├── SessionNotFoundError
        ├── SessionExpiredError
        └── SessionCompletedError
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from decimal import Decimal
from typing import ClassVar, Literal, Self

__all__ = [
    "AllProvidersFailedError",
    "AuthenticationError",
    "Billed",
    "BudgetExceededError",
    "ConfigurationError",
    "ContentFilterError",
    "ErrorCode",
    "ImagenError",
    "InvalidRequestError",
    "ModelNotFoundError",
    "OutcomeUnknownError",
    "ProviderError",
    "ProviderNotFoundError",
    "QuotaExceededError",
    "RateLimitError",
    "SessionCompletedError",
    "SessionError",
    "SessionExpiredError",
    "SessionNotFoundError",
    "StorageError",
]

Billed = Literal["yes", "no", "unknown"]

ErrorCode = Literal[
    "INVALID_PROMPT",
    "INVALID_REQUEST",
    "API_ERROR",
    "RATE_LIMIT",
    "CONTENT_FILTER",
    "STORAGE_ERROR",
    "AUTHENTICATION",
    "QUOTA",
    "TIMEOUT",
    "OUTCOME_UNKNOWN",
    "DROPPED",
    "BUDGET",
    "CONFIGURATION",
    "MODEL_NOT_FOUND",
    "PROVIDER_NOT_FOUND",
    "SESSION",
]


class ImagenError(Exception):
    """The root: everything that imagen raises on purpose.

    Args:
        message: One sentence with the fault and what to do. Never holds a
            secret.
        code: Kind of failure, for programs; each class has its default.
        retryable: True if the same request may succeed later.
        billed: Whether the provider charged for it: "yes", "no" or "unknown".
        retry_after_seconds: Wait that the provider asks for, if it does.
        cost_usd: Cost of the failure, if known; `cost_source` is its source, as
            in `Cost.source`.
        details: More facts, as the provider named them (request id, parameter,
            moderation categories).
    """

    default_code: ClassVar[ErrorCode] = "API_ERROR"
    default_retryable: ClassVar[bool] = False
    default_billed: ClassVar[Billed] = "no"

    def __init__(
        self,
        message: str,
        *,
        code: ErrorCode | None = None,
        retryable: bool | None = None,
        billed: Billed | None = None,
        retry_after_seconds: float | None = None,
        cost_usd: Decimal | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code: ErrorCode = self.default_code if code is None else code
        self.retryable = self.default_retryable if retryable is None else retryable
        self.billed: Billed = self.default_billed if billed is None else billed
        self.retry_after_seconds = retry_after_seconds
        self.cost_usd = cost_usd
        self.cost_source: Literal["reported", "computed", "estimated"] = "reported"
        self.details: dict[str, str] = dict(details or {})

    def copy(self) -> Self:
        """Return the same error to raise once more."""
        copied = copy(self)
        copied.details = dict(self.details)
        return copied


class ConfigurationError(ImagenError):
    """A setting is missing or wrong; nothing was sent."""

    default_code: ClassVar[ErrorCode] = "CONFIGURATION"


class ProviderNotFoundError(ConfigurationError):
    """No provider of that name is known."""

    default_code: ClassVar[ErrorCode] = "PROVIDER_NOT_FOUND"


class ModelNotFoundError(ConfigurationError):
    """The model is unknown, retired, or not available to the account."""

    default_code: ClassVar[ErrorCode] = "MODEL_NOT_FOUND"


class InvalidRequestError(ImagenError):
    """Invalid request: `code` is INVALID_PROMPT for the prompt, else
    INVALID_REQUEST or API_ERROR.
    """

    default_code: ClassVar[ErrorCode] = "INVALID_REQUEST"


class AuthenticationError(ImagenError):
    """The key is missing, wrong, or may not do this."""

    default_code: ClassVar[ErrorCode] = "AUTHENTICATION"


class ContentFilterError(ImagenError):
    """The provider refuses the prompt, or made an image and withholds it."""

    default_code: ClassVar[ErrorCode] = "CONTENT_FILTER"


class RateLimitError(ImagenError):
    """Too many requests; `retry_after_seconds` is the provider's wait, if it
    names one.
    """

    default_code: ClassVar[ErrorCode] = "RATE_LIMIT"
    default_retryable: ClassVar[bool] = True


class QuotaExceededError(ImagenError):
    """The account with the provider has no money or no allowance left."""

    default_code: ClassVar[ErrorCode] = "QUOTA"


class BudgetExceededError(ImagenError):
    """A budget of the caller forbids the request; it was not sent."""

    default_code: ClassVar[ErrorCode] = "BUDGET"


class ProviderError(ImagenError):
    """The provider failed, or the way to it, or its reply makes no sense."""

    default_code: ClassVar[ErrorCode] = "API_ERROR"


class OutcomeUnknownError(ProviderError):
    """The request was sent and its reply was lost: it may have been billed, so
    it is not sent again.
    """

    default_code: ClassVar[ErrorCode] = "OUTCOME_UNKNOWN"
    default_billed: ClassVar[Billed] = "unknown"


class AllProvidersFailedError(ProviderError):
    """Every model failed; `failures` holds their errors."""

    def __init__(self, message: str, *, failures: tuple[ImagenError, ...] = ()) -> None:
        super().__init__(message)
        self.failures = failures


class StorageError(ImagenError):
    """The disk or the database failed."""

    default_code: ClassVar[ErrorCode] = "STORAGE_ERROR"


class SessionError(ImagenError):
    """A background batch cannot do the request."""

    default_code: ClassVar[ErrorCode] = "SESSION"


class SessionNotFoundError(SessionError):
    """No session has that id."""


class SessionExpiredError(SessionError):
    """The session was there and its time to live has passed; its images are in
    the library.
    """


class SessionCompletedError(SessionError):
    """The session is over and has no more images."""
