"""End of a server: within the time that its host gives it, and of what is paid
later.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

import trio

from ._front import Front, ending_signals

__all__ = ["End", "watch_end"]

# What the end of the client may take beside the salvage.
_GRACE_SECONDS = 5.0


class _Closable(Protocol):
    def close(self) -> None: ...


class End:
    """End of the server: it leaves its host after `leave_seconds`, and finishes
    what is in flight within `salvage_seconds`. Without a front it has the first
    time only.
    """

    def __init__(self, front: Front, leave_seconds: float, salvage_seconds: float) -> None:
        self.front = front
        self._leave_seconds = leave_seconds
        self._salvage_seconds = salvage_seconds
        self._begun = trio.Event()

    @property
    def longest_seconds(self) -> float:
        """Time after which the process is gone."""
        if self.front.is_there:
            return self._salvage_seconds + _GRACE_SECONDS
        return 2 * self._leave_seconds

    def begin(self) -> None:
        """Start the end, once. The process is gone in time, even if a drawing
        thread cannot be interrupted.
        """
        if self._begun.is_set():
            return
        self._begun.set()
        # The ledger is written before anything is sent: the attempts stay in it
        # as in flight.
        timer = threading.Timer(self.longest_seconds, os._exit, (0,))
        timer.daemon = True
        timer.start()

    async def leave_in_time(self, wire: _Closable | None = None) -> None:
        """Wait for the end, and leave the host if it takes long."""
        await self._begun.wait()
        await trio.sleep(self._leave_seconds)
        if wire is not None:
            wire.close()
        self.front.leave()


async def watch_end(
    front: Front, stop: Callable[[], None], *, task_status: trio.TaskStatus[None]
) -> None:
    """Call `stop` at a signal, and when the process in front has died."""
    async with trio.open_nursery() as nursery:
        if front.alive is not None:
            nursery.start_soon(_watch_front, front.alive, stop)
        with trio.open_signal_receiver(*ending_signals()) as signals:
            task_status.started()
            async for _ in signals:
                stop()


async def _watch_front(alive: int, stop: Callable[[], None]) -> None:
    await trio.lowlevel.wait_readable(alive)
    stop()
