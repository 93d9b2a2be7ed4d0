"""Job waiters: a provider's callback ends the wait before the next poll.

The content of a callback is not trusted: it only ends the wait, and the poll
that follows reads the state. A lost callback costs time only.
"""

from __future__ import annotations

import trio

__all__ = ["JobWaiters"]


class JobWaiters:
    """The jobs of a client that are waited for."""

    def __init__(self) -> None:
        self._bells: dict[tuple[str, str], trio.Event] = {}

    def expect(self, provider: str, job_id: str) -> None:
        """Count callbacks for a job from now on, also between two waits."""
        self._bells.setdefault((provider, job_id), trio.Event())

    def forget(self, provider: str, job_id: str) -> None:
        """The job has ended."""
        self._bells.pop((provider, job_id), None)

    def wake(self, provider: str, job_id: str) -> bool:
        """Note a callback; return False if no exchange waits for the job."""
        bell = self._bells.get((provider, job_id))
        if bell is None:
            return False
        bell.set()
        return True

    async def wait(self, provider: str, job_id: str, seconds: float) -> None:
        """Wait for `seconds`, or until a callback of the job comes; each
        callback ends one wait.
        """
        bell = self._bells.setdefault((provider, job_id), trio.Event())
        with trio.move_on_after(seconds):
            await bell.wait()
            self._bells[provider, job_id] = trio.Event()
