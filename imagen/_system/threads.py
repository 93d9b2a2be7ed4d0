"""Threads for blocking work: SQLite, disk, Pillow, hashing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import trio

__all__ = ["ThreadWorkers", "Workers", "run_side_by_side"]

Result = TypeVar("Result")

# These threads only wait.
_MOST_REMOTE = 16


class Workers(Protocol):
    """Runs blocking calls. `imagen.testing.InlineWorkers` is the other one, for
    tests under virtual time.
    """

    async def run(self, call: Callable[[], Result]) -> Result:
        """Runs one of several calls that may run side by side. A cancellation
        waits for the call to end.
        """
        ...

    async def run_serially(self, call: Callable[[], Result]) -> Result:
        """Runs a call that no other call of this kind may overlap, such as one
        on the database.
        """
        ...

    async def run_on(self, device: str, call: Callable[[], Result]) -> Result:
        """Run a call that has a device for itself; it can check for
        cancellation (`trio.from_thread`).
        """
        ...

    async def run_remote(self, call: Callable[[], Result]) -> Result:
        """Run a call that waits for a server. A cancellation does not wait for
        it: the call goes on to its end.
        """
        ...


class ThreadWorkers:
    """The real thing: worker threads, at most `images` side by side for images
    and one for the database.
    """

    def __init__(self, *, images: int | None = None) -> None:
        # Half of this work waits for the disk, so twice the cores keeps them
        # busy.
        self._images = trio.CapacityLimiter(images or 2 * (os.cpu_count() or 1))
        self._database = trio.CapacityLimiter(1)
        self._devices: dict[str, trio.CapacityLimiter] = {}
        self._remote = trio.CapacityLimiter(_MOST_REMOTE)

    async def run(self, call: Callable[[], Result]) -> Result:
        return await _run_in_thread(call, self._images)

    async def run_serially(self, call: Callable[[], Result]) -> Result:
        return await _run_in_thread(call, self._database)

    async def run_on(self, device: str, call: Callable[[], Result]) -> Result:
        limiter = self._devices.setdefault(device, trio.CapacityLimiter(1))
        return await _run_in_thread(call, limiter)

    async def run_remote(self, call: Callable[[], Result]) -> Result:
        return await _run_in_thread(call, self._remote, abandon=True)


async def run_side_by_side(workers: Workers, calls: Iterable[Callable[[], object]]) -> None:
    """Run several calls; return when all have ended. A cancellation waits for
    them.
    """
    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(workers.run, call)


async def _run_in_thread(
    call: Callable[[], Result], limiter: trio.CapacityLimiter, *, abandon: bool = False
) -> Result:
    """Run a call in a thread, or here if Python starts no thread any more.

    From version 3.12 on, it refuses them while the interpreter ends; what is
    paid is still to be settled and kept then.
    """
    started = False

    def run() -> Result:
        nonlocal started
        started = True
        return call()

    try:
        return await trio.to_thread.run_sync(run, limiter=limiter, abandon_on_cancel=abandon)
    except RuntimeError:
        if started or threading.main_thread().is_alive():
            raise
    async with limiter:
        return call()
