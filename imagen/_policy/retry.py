"""What is sent again, and when: never what may have been billed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import msgspec

from .._errors import ImagenError, OutcomeUnknownError, ProviderError, RateLimitError

BackoffHook = Callable[[Exception], bool | float]

__all__ = ["RetryAllowance", "RetryPolicy", "retry_attempts", "retry_steps"]


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long; waits grow from `wait_initial_seconds` by half
    again and again, with jitter.
    """

    attempts: int = 4
    total_seconds: float = 120.0
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 20.0


class RetryAllowance:
    """How many retries all requests to one provider may make together, so that
    a storm of failures is no storm of retries.

    A token bucket, full at first; in the long run one request in ten is tried
    again. The figures are those of the example in gRFC A6, gRPC's retry
    throttling.

    Args:
        most: How many retries it holds.
        per_request: How much of a retry each first attempt adds.
    """

    def __init__(self, most: float = 10.0, per_request: float = 0.1) -> None:
        self._most = most
        self._per_request = per_request
        self._level = most

    def deposit(self) -> None:
        """A request begins with its first attempt."""
        # Rounded, as ten times 0.1 is a little less than 1 in binary.
        self._level = min(self._most, round(self._level + self._per_request, 9))

    def withdraw(self) -> bool:
        """Takes one retry; False if there is none."""
        if self._level < 1:
            return False
        self._level -= 1
        return True


def retry_attempts(
    policy: RetryPolicy, allowance: RetryAllowance | None = None
) -> AsyncIterator[AbstractContextManager[None]]:
    """Tries a whole attempt again where the error proves that nothing was
    accepted and a later try may do.

    A retry that the allowance refuses is not waited for: the error leaves at
    once.
    """
    failed = 0
    if allowance is not None:
        allowance.deposit()

    def wait(error: Exception) -> bool | float:
        nonlocal failed
        if not isinstance(error, ImagenError) or not error.retryable or error.billed != "no":
            return False
        failed += 1
        asked = _asked_wait(error, policy)
        # After the last attempt there is no retry to pay for, and a provider
        # that is busy says itself how fast to come.
        free = failed >= policy.attempts or isinstance(error, RateLimitError)
        if asked is False or free or allowance is None or allowance.withdraw():
            return asked
        return False

    return _Attempts(policy, wait)


def retry_steps(policy: RetryPolicy) -> AsyncIterator[AbstractContextManager[None]]:
    """Tries a repeatable step again after any fault on the way."""

    def wait(error: Exception) -> bool | float:
        lost = isinstance(error, OutcomeUnknownError) or (
            isinstance(error, ProviderError) and error.retryable
        )
        return _asked_wait(error, policy) if lost and isinstance(error, ImagenError) else False

    return _Attempts(policy, wait)


def _asked_wait(error: ImagenError, policy: RetryPolicy) -> bool | float:
    asked = error.retry_after_seconds
    if asked is None:
        return True
    return asked if asked <= policy.total_seconds else False


class _FirstTry:
    """Stands for stamina's first attempt: keeps an error that is worth another
    try, and lets any other one through.
    """

    def __init__(self, wait: BackoffHook) -> None:
        self._wait = wait
        self.error: Exception | None = None
        self.asked: bool | float = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, Exception):
            self.asked = self._wait(error)
            self.error = error
        return self.asked is not False


class _Attempts:
    """stamina's attempts, without stamina for the first: nearly every request
    has no other, and it costs 0.1 ms.
    """

    def __init__(self, policy: RetryPolicy, wait: BackoffHook) -> None:
        self._policy = policy
        self._wait = wait
        self._first: _FirstTry | None = None
        self._others: AsyncIterator[AbstractContextManager[None]] | None = None

    def __aiter__(self) -> _Attempts:
        return self

    async def __anext__(self) -> AbstractContextManager[None]:
        if self._first is None:
            self._first = _FirstTry(self._wait)
            return self._first
        if self._others is None:
            if self._first.error is None:
                raise StopAsyncIteration
            self._others = self._open_stamina(self._first.asked)
            with await anext(self._others):
                raise self._first.error
        return await anext(self._others)

    def _open_stamina(
        self, first_asked: bool | float
    ) -> AsyncIterator[AbstractContextManager[None]]:
        # Imported when used: it is not needed to import imagen.
        import stamina

        # stamina is told of the first error as well, and that one has been
        # decided on.
        decided = [first_asked]
        policy = self._policy
        return stamina.retry_context(
            on=lambda error: decided.pop() if decided else self._wait(error),
            attempts=policy.attempts,
            timeout=policy.total_seconds,
            wait_initial=policy.wait_initial_seconds,
            wait_max=policy.wait_max_seconds,
            wait_jitter=policy.wait_initial_seconds,
        ).__aiter__()
