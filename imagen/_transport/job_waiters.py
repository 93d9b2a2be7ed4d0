"""Whom a callback of a provider wakes: an exchange that waits until it asks
again how far its job is.

What a callback says is not taken for true: it only ends the wait, and the poll
that follows finds out. So a callback that is lost costs time and nothing else.
"""

from __future__ import annotations

import trio

__all__ = ["JobWaiters"]


class JobWaiters:
    """The jobs of a client that are waited for."""

    def __init__(self) -> None:
        self._bells: dict[tuple[str, str], trio.Event] = {}

    def expect(self, provider: str, job_id: str) -> None:
        """From now on a callback for this job counts, also one that comes
        between two waits.
        """
        self._bells.setdefault((provider, job_id), trio.Event())

    def forget(self, provider: str, job_id: str) -> None:
        """The job has ended."""
        self._bells.pop((provider, job_id), None)

    def wake(self, provider: str, job_id: str) -> bool:
        """A callback came; False where nobody here waits for that job."""
        bell = self._bells.get((provider, job_id))
        if bell is None:
            return False
        bell.set()
        return True

    async def wait(self, provider: str, job_id: str, seconds: float) -> None:
        """Waits so long, or until the job's callback comes; each callback ends
        one wait.
        """
        bell = self._bells.setdefault((provider, job_id), trio.Event())
        with trio.move_on_after(seconds):
            await bell.wait()
            self._bells[provider, job_id] = trio.Event()
