"""The usual way to do n things, so many at once, with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ._run import Run

__all__ = ["measure"]


async def measure(run: Run, make_one: Callable[[int], Awaitable[None]]) -> None:
    """Make the images of the warm-up, and then those that count."""
    await _repeat(make_one, run.warm_up, run.at_once)
    with run.measured():
        await _repeat(make_one, run.images, run.at_once)


async def _repeat(make_one: Callable[[int], Awaitable[None]], n: int, at_once: int) -> None:
    """Calls `make_one` with 0 to n - 1 from `at_once` tasks."""
    numbers = iter(range(n))

    async def work() -> None:
        for number in numbers:
            await make_one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
