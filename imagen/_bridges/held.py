"""An async context manager that a task of its own holds open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

import trio

from .._system.nursery import open_bare_nursery
from .trio_thread import BridgeClosedError, TrioThread

__all__ = ["Held", "abandon_held"]

Value = TypeVar("Value")


class Held(Generic[Value]):
    """A context manager that is entered and left from outside the Trio run.

    `nursery` runs the calls that need it open; leaving cancels them first.
    `on_over` is called once it has been left, or cannot be entered.
    """

    nursery: trio.Nursery
    value: Value

    def __init__(
        self,
        manager: AbstractAsyncContextManager[Value],
        on_over: Callable[[], object] = lambda: None,
    ) -> None:
        self._manager = manager
        self._on_over = on_over
        self._left = trio.Event()
        self._over = trio.Event()
        self._error: Exception | None = None

    async def enter(self, nursery: trio.Nursery) -> Value:
        """Enter the context manager in a task of that nursery."""
        self.value = await nursery.start(self._hold, name=f"imagen {type(self._manager).__name__}")
        return self.value

    async def _hold(self, task_status: trio.TaskStatus[Value] = trio.TASK_STATUS_IGNORED) -> None:
        entered = False
        try:
            async with self._manager as value, open_bare_nursery() as self.nursery:
                entered = True
                task_status.started(value)
                await self._left.wait()
                self.nursery.cancel_scope.cancel("the client is closed")
        except Exception as error:
            if not entered:
                raise
            self._error = error
        finally:
            self._over.set()
            self._on_over()

    def let_go(self) -> None:
        """Let the task leave the context manager, without waiting for it."""
        self._left.set()

    async def leave(self) -> None:
        """Leave the context manager, and wait for its end.

        Raises:
            Exception: that of the context manager's own end.
        """
        self.let_go()
        # The end of a client or a batch is bounded by itself.
        with trio.CancelScope(shield=True):
            await self._over.wait()
        if self._error is not None:
            raise self._error


def abandon_held(thread: TrioThread, held: Held[Any]) -> None:
    """Leave a context manager from anywhere, as a finalizer does: nothing waits."""
    with suppress(BridgeClosedError):
        thread.soon(held.let_go)
