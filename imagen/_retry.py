"""What is sent again, and when: never what may have been billed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import msgspec

from ._errors import ImagenError, OutcomeUnknownError, ProviderError

__all__ = ["RetryPolicy", "retry_attempts", "retry_steps"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long; waits grow from `wait_initial_seconds` by half again and again, with jitter."""

    attempts: int = 4
    total_seconds: float = 120.0
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 20.0


def retry_attempts(policy: RetryPolicy) -> AsyncIterator[AbstractContextManager[None]]:
    """Tries a whole attempt again where the error proves that nothing was accepted and a later try may do."""

    def wait(error: Exception) -> bool | float:
        if not isinstance(error, ImagenError) or not error.retryable or error.billed != "no":
            return False
        return _asked_wait(error, policy)

    return _contexts(policy, wait)


def retry_steps(policy: RetryPolicy) -> AsyncIterator[AbstractContextManager[None]]:
    """Tries a repeatable step again after any fault on the way."""

    def wait(error: Exception) -> bool | float:
        lost = isinstance(error, OutcomeUnknownError) or (isinstance(error, ProviderError) and error.retryable)
        return _asked_wait(error, policy) if lost and isinstance(error, ImagenError) else False

    return _contexts(policy, wait)


def _asked_wait(error: ImagenError, policy: RetryPolicy) -> bool | float:
    asked = error.retry_after_seconds
    if asked is None:
        return True
    return asked if asked <= policy.total_seconds else False


def _contexts(policy: RetryPolicy, wait: object) -> AsyncIterator[AbstractContextManager[None]]:
    # Imported when used: it is not needed to import imagen.
    import stamina

    return stamina.retry_context(
        on=wait,  # type: ignore[arg-type]
        attempts=policy.attempts,
        timeout=policy.total_seconds,
        wait_initial=policy.wait_initial_seconds,
        wait_max=policy.wait_max_seconds,
        wait_jitter=policy.wait_initial_seconds,
    ).__aiter__()
