"""The usual way to do n things, so many at once, with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["repeat"]


async def repeat(make_one: Callable[[int], Awaitable[None]], n: int, at_once: int) -> None:
    """Calls `make_one` with 0 to n - 1 from `at_once` tasks."""
    numbers = iter(range(n))

    async def work() -> None:
        for number in numbers:
            await make_one(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
