"""Threads for blocking work: SQLite, disk, Pillow, hashing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

__all__ = ["ThreadWorkers", "Workers"]

Result = TypeVar("Result")


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

    async def run(self, call: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(call, limiter=self._images)

    async def run_serially(self, call: Callable[[], Result]) -> Result:
        return await trio.to_thread.run_sync(call, limiter=self._database)

    async def run_on(self, device: str, call: Callable[[], Result]) -> Result:
        limiter = self._devices.setdefault(device, trio.CapacityLimiter(1))
        return await trio.to_thread.run_sync(call, limiter=limiter)
