"""Retries: only what cannot have been billed is sent again."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import msgspec

from .._errors import ImagenError, OutcomeUnknownError, ProviderError, RateLimitError
from .._system.numbers import check_numbers

BackoffHook = Callable[[Exception], bool | float]

__all__ = ["RetryAllowance", "RetryPolicy", "retry_attempts", "retry_steps"]


_MOST_ATTEMPTS = 1000


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of retries; waits grow from `wait_initial_seconds`, with jitter."""

    attempts: int = 4
    total_seconds: float = 120.0
    wait_initial_seconds: float = 0.5
    wait_max_seconds: float = 20.0

    def __post_init__(self) -> None:
        check_numbers(self, above_zero=("attempts",), most={"attempts": _MOST_ATTEMPTS})


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
    policy: RetryPolicy,
    allowance: RetryAllowance | None = None,
    on_retry: Callable[[ImagenError, float], object] = lambda error, wait_seconds: None,
) -> AsyncIterator[AbstractContextManager[object]]:
    """Retry a whole attempt if the error proves that nothing was accepted.

    An error whose retry the allowance refuses is raised at once. `on_retry`
    gets each error that is retried, and the seconds until then.
    """
    failed = 0
    give_up_at = time.monotonic() + policy.total_seconds
    if allowance is not None:
        allowance.deposit()

    def wait(error: Exception) -> bool | float:
        nonlocal failed
        if not isinstance(error, ImagenError) or not error.retryable or error.billed != "no":
            return False
        failed += 1
        seconds = _wait_seconds(error, policy)
        if seconds is True:
            seconds = _backoff_seconds(failed, policy)
        # The last attempt has no retry to pay for, and a busy provider sets the
        # pace itself.
        free = failed >= policy.attempts or isinstance(error, RateLimitError)
        if seconds is False or not (free or allowance is None or allowance.withdraw()):
            return False
        if failed < policy.attempts and time.monotonic() < give_up_at:
            on_retry(error, seconds)
        return seconds

    return _Attempts(policy, wait)


def retry_steps(policy: RetryPolicy) -> AsyncIterator[AbstractContextManager[object]]:
    """Retry a repeatable step after any fault of the network or the provider."""

    def wait(error: Exception) -> bool | float:
        if isinstance(error, OutcomeUnknownError) or (
            isinstance(error, ProviderError) and error.retryable
        ):
            return _wait_seconds(error, policy)
        return False

    return _Attempts(policy, wait)


def _wait_seconds(error: ImagenError, policy: RetryPolicy) -> bool | float:
    """Return the wait that the provider asks for, True for the backoff, False for none."""
    seconds = error.retry_after_seconds
    if seconds is None:
        return True
    return seconds if seconds <= policy.total_seconds else False


def _backoff_seconds(failed: int, policy: RetryPolicy) -> float:
    """Return a wait that doubles with each failure, with jitter."""
    jitter = random.uniform(0.0, policy.wait_initial_seconds)
    # Later doublings would only overflow.
    doubled = policy.wait_initial_seconds * 2.0 ** min(failed - 1, 60)
    return min(policy.wait_max_seconds, doubled + jitter)


class _FirstTry:
    """First attempt: keeps an error that allows a retry, and passes on any other."""

    def __init__(self, wait: BackoffHook) -> None:
        self._wait = wait
        self.error: Exception | None = None
        self.verdict: bool | float = False

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if isinstance(error, Exception):
            self.verdict = self._wait(error)
            self.error = error
        return self.verdict is not False


class _Attempts:
    """stamina's attempts, without stamina for the first.

    Nearly every request has no second attempt, and stamina takes 0.25 ms of CPU
    for one, a fifth of a small image.
    """

    def __init__(self, policy: RetryPolicy, wait: BackoffHook) -> None:
        self._policy = policy
        self._wait = wait
        self._first: _FirstTry | None = None
        self._others: AsyncIterator[AbstractContextManager[object]] | None = None

    def __aiter__(self) -> _Attempts:
        return self

    async def __anext__(self) -> AbstractContextManager[object]:
        if self._first is None:
            self._first = _FirstTry(self._wait)
            return self._first
        if self._others is None:
            if self._first.error is None:
                raise StopAsyncIteration
            self._others = self._open_stamina(self._first.verdict)
            with await anext(self._others):
                raise self._first.error
        return await anext(self._others)

    def _open_stamina(
        self, first_verdict: bool | float
    ) -> AsyncIterator[AbstractContextManager[object]]:
        # Imported when used: `import imagen` does without it.
        import stamina

        # stamina gets the first error as well, and its verdict is known.
        verdicts = [first_verdict]
        return aiter(
            stamina.retry_context(
                on=lambda error: verdicts.pop() if verdicts else self._wait(error),
                attempts=self._policy.attempts,
                timeout=self._policy.total_seconds,
                wait_initial=self._policy.wait_initial_seconds,
                wait_max=self._policy.wait_max_seconds,
                wait_jitter=self._policy.wait_initial_seconds,
            )
        )
