"""Retries: only what cannot have been billed is sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import msgspec

from .._errors import ImagenError, OutcomeUnknownError, ProviderError, RateLimitError

__all__ = ["RetryAllowance", "RetryPolicy", "retry_attempts", "retry_steps"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of retries; waits grow from `wait_initial_seconds`, with jitter."""

    attempts: int = 4
    total_seconds: float = 120.0
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 20.0


class RetryAllowance:
    """Retries that all requests to one provider share.

    A token bucket, full at first; in the long run one request in ten is
    retried, so that many failures do not become many more requests. The figures
    are those of gRPC's retry throttling (gRFC A6).

    Args:
        most: Capacity in retries.
        per_request: Part of a retry that each first attempt adds.
    """

    def __init__(self, most: float = 10.0, per_request: float = 0.1) -> None:
        self._most = most
        self._per_request = per_request
        self._level = most

    def deposit(self) -> None:
        """Add the part of a retry that a first attempt earns."""
        # Ten times 0.1 is less than 1 in binary.
        self._level = min(self._most, round(self._level + self._per_request, 9))

    def withdraw(self) -> bool:
        """Take one retry; return False if there is none."""
        if self._level < 1:
            return False
        self._level -= 1
        return True


def retry_attempts(
    policy: RetryPolicy, allowance: RetryAllowance | None = None
) -> AsyncIterator[AbstractContextManager[object]]:
    """Retry a whole attempt if the error proves that nothing was accepted.

    An error whose retry the allowance refuses is raised at once.
    """
    failed = 0
    if allowance is not None:
        allowance.deposit()

    def wait(error: Exception) -> bool | float:
        nonlocal failed
        if not isinstance(error, ImagenError) or not error.retryable or error.billed != "no":
            return False
        failed += 1
        seconds = _wait_seconds(error, policy)
        # The last attempt has no retry to pay for, and a busy provider sets the
        # pace itself.
        free = failed >= policy.attempts or isinstance(error, RateLimitError)
        if seconds is False or free or allowance is None or allowance.withdraw():
            return seconds
        return False

    return _retry(policy, wait)


def retry_steps(policy: RetryPolicy) -> AsyncIterator[AbstractContextManager[object]]:
    """Retry a repeatable step after any fault of the network or the provider."""

    def wait(error: Exception) -> bool | float:
        if isinstance(error, OutcomeUnknownError) or (
            isinstance(error, ProviderError) and error.retryable
        ):
            return _wait_seconds(error, policy)
        return False

    return _retry(policy, wait)


def _wait_seconds(error: ImagenError, policy: RetryPolicy) -> bool | float:
    """Return the wait that the provider asks for, True for the backoff, False for none."""
    seconds = error.retry_after_seconds
    if seconds is None:
        return True
    return seconds if seconds <= policy.total_seconds else False


def _retry(
    policy: RetryPolicy, wait: Callable[[Exception], bool | float]
) -> AsyncIterator[AbstractContextManager[object]]:
    # Imported when used: it takes 40 ms.
    import stamina

    return aiter(
        stamina.retry_context(
            on=wait,
            attempts=policy.attempts,
            timeout=policy.total_seconds,
            wait_initial=policy.wait_initial_seconds,
            wait_max=policy.wait_max_seconds,
            wait_jitter=policy.wait_initial_seconds,
        )
    )
