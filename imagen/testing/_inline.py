"""Blocking work done on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

__all__ = ["InlineWorkers"]

Result = TypeVar("Result")


class InlineWorkers:
    """Workers without threads: trio's virtual clock jumps ahead while a thread
    works, and not while this does.
    """

    async def run(self, call: Callable[[], Result]) -> Result:
        await trio.lowlevel.checkpoint()
        return call()

    async def run_serially(self, call: Callable[[], Result]) -> Result:
        await trio.lowlevel.checkpoint()
        return call()

    async def run_remote(self, call: Callable[[], Result]) -> Result:
        return await self.run(call)

    async def run_on(self, device: str, call: Callable[[], Result]) -> Result:
        # Such a call reports from its thread, so it needs one.
        return await trio.to_thread.run_sync(call)
