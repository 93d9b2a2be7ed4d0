"""What is sent again, and when: never what may have been billed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager

import msgspec

from ._errors import ImagenError, OutcomeUnknownError, ProviderError

BackoffHook = Callable[[Exception], bool | float]

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

    return _Attempts(policy, wait)


def retry_steps(policy: RetryPolicy) -> AsyncIterator[AbstractContextManager[None]]:
    """Tries a repeatable step again after any fault on the way."""

    def wait(error: Exception) -> bool | float:
        lost = isinstance(error, OutcomeUnknownError) or (isinstance(error, ProviderError) and error.retryable)
        return _asked_wait(error, policy) if lost and isinstance(error, ImagenError) else False

    return _Attempts(policy, wait)


def _asked_wait(error: ImagenError, policy: RetryPolicy) -> bool | float:
    asked = error.retry_after_seconds
    if asked is None:
        return True
    return asked if asked <= policy.total_seconds else False


class _FirstTry:
    """Stands for stamina's first attempt: keeps an error that is worth another try, and lets any other one through."""

    def __init__(self, wait: BackoffHook) -> None:
        self._wait = wait
        self.error: Exception | None = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception) or self._wait(error) is False:
            return False
        self.error = error
        return True


class _Attempts:
    """stamina's attempts, without stamina for the first: nearly every request has no other, and it costs 0.1 ms."""

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
            self._others = self._open_stamina()
            with await anext(self._others):
                raise self._first.error
        return await anext(self._others)

    def _open_stamina(self) -> AsyncIterator[AbstractContextManager[None]]:
        # Imported when used: it is not needed to import imagen.
        import stamina

        policy = self._policy
        return stamina.retry_context(
            on=self._wait,
            attempts=policy.attempts,
            timeout=policy.total_seconds,
            wait_initial=policy.wait_initial_seconds,
            wait_max=policy.wait_max_seconds,
            wait_jitter=policy.wait_initial_seconds,
        ).__aiter__()
