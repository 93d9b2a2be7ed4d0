"""Groups of items that are processed together, such as rows of one commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import trio

__all__ = ["Groups"]

Item = TypeVar("Item")


class Groups(Generic[Item]):
    """Groups of items, each of at most `most`; `process` gets one group at a
    time.

    The first item of a group leads. Its task waits until the group before has
    ended, processes all items that joined meanwhile, and wakes their tasks
    together. So a group costs one hand-over, not one for each item.
    """

    def __init__(
        self,
        process: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        seconds: float,
        most: int | None = None,
    ) -> None:
        self._process = process
        self._seconds = seconds
        self._most = most
        self._joining: _Group[Item] = _Group()
        self._processing = trio.Lock()

    async def join(self, item: Item) -> bool:
        """Return True once the group of the item has been processed, and False
        if its turn did not come within `seconds`: then it never will be.

        A cancellation does not interrupt it. An exception of `process` is
        raised in the leading task, and the others get False.
        """
        if len(self._joining.items) == self._most:
            self._joining = _Group()
        group = self._joining
        group.items.append(item)
        if len(group.items) == 1:
            await self._lead(group)
        else:
            group.waiting.append(trio.lowlevel.current_task())
            # No cancel scope: the bound of the leading task holds for all.
            await trio.lowlevel.wait_task_rescheduled(_stay)
        return group.processed

    async def _lead(self, group: _Group[Item]) -> None:
        try:
            with trio.move_on_after(self._seconds, shield=True):
                async with self._processing:
                    self._close(group)
                    await self._process(group.items)
                    group.processed = True
        finally:
            # Its turn may not have come.
            self._close(group)
            for task in group.waiting:
                trio.lowlevel.reschedule(task)

    def _close(self, group: _Group[Item]) -> None:
        """Have the next item lead a new group."""
        if self._joining is group:
            self._joining = _Group()


class _Group(Generic[Item]):
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.waiting: list[trio.lowlevel.Task] = []
        self.processed = False


def _stay(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED
