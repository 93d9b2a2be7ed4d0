"""Outbox loop: work that waits in a table is leased, done, and retried.

The rows are the truth: what one process leaves, the next does after the lease.
The loop sleeps until something is due, until `wake`, or until `close`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .._system.signal import Signal

__all__ = ["OutboxLoop"]


class OutboxLoop:
    """Loop over the due rows of one outbox, to be run inside its `scope`.

    Args:
        close_seconds: Most seconds that the loop goes on after `close`.
    """

    def __init__(self, close_seconds: float) -> None:
        self.changed = Signal()
        self._close_seconds = close_seconds
        self.scope = trio.CancelScope()
        self._closing = False

    async def run(
        self, work: Callable[[], Awaitable[float]], is_idle: Callable[[], bool] = lambda: True
    ) -> None:
        """Call `work` until `close`, and then until nothing is due.

        A cancellation leaves the rows to be worked on after their lease.

        Args:
            work: Does what is due; returns the seconds until more may be.
            is_idle: Returns True if nothing that `work` started is running.
        """
        while True:
            # Taken before the work: a change meanwhile must not be missed.
            changed = self.changed.next()
            wait_seconds = await work()
            if self._closing and wait_seconds > 0 and is_idle():
                return
            with trio.move_on_after(wait_seconds):
                await changed.wait()

    def wake(self) -> None:
        """Look for work at once."""
        self.changed.send()

    def close(self) -> None:
        """End `run` when nothing is due, at the latest after `close_seconds`."""
        self._closing = True
        self.scope.deadline = trio.current_time() + self._close_seconds
        self.wake()
