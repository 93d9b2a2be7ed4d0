"""A Trio run in a thread of its own, for callers on asyncio and for code
without an event loop.

All clients of a process that come through a bridge share one run, so that a
budget scope may be around several of them. The run ends with its last client.

The thread is no daemon: at the end of the interpreter, Python waits for it. The
run notices that the main thread has ended and cancels its clients, which
salvage what is paid. A second Ctrl-C at that point leaves the rest to the next
client of the home.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

import outcome
import trio

__all__ = ["BridgeClosedError", "Call", "Report", "TrioThread"]

# The most that the end of the interpreter waits for an idle client.
_LISTEN_SECONDS = 0.2

Report = Callable[[outcome.Maybe[Any]], object]
"""Receives the result of a call, in the Trio thread; neither blocks nor raises."""


class BridgeClosedError(RuntimeError):
    """The client is closed, or belongs to another process."""


class Call:
    """A call in the Trio run. `cancel` may be called from any thread, and
    repeatedly.

    `result` is there before it is reported.
    """

    def __init__(self, thread: TrioThread, report: Report) -> None:
        self._thread = thread
        self._report_to = report
        self._scope = trio.CancelScope()
        self._started = False
        self.cancelled_caught = False
        self.result: outcome.Maybe[Any] | None = None

    def cancel(self) -> None:
        """Cancel the call; its end is reported once it has unwound, or at once
        if it was never started.
        """
        self._thread.soon(self._cancel)

    def _cancel(self) -> None:
        self._scope.cancel()
        # Calls into the run keep their order: a start that was asked for has come.
        if not self._started and self.result is None:
            self.fail("The call was not started.")

    def _report(self, result: outcome.Maybe[Any]) -> None:
        self.result = result
        self._report_to(result)

    def start(self, nursery: trio.Nursery, function: Callable[[], Awaitable[Any]]) -> None:
        """Start the call as a task of the Trio run, in a copy of the caller's
        context, without blocking.
        """
        self._thread.soon(contextvars.copy_context().run, self._spawn, nursery, function)

    def _spawn(self, nursery: trio.Nursery, function: Callable[[], Awaitable[Any]]) -> None:
        self._started = True
        try:
            nursery.start_soon(self.run, function)
        except RuntimeError:
            self.fail("This client is closed: open another one.")

    async def run(self, function: Callable[[], Awaitable[Any]]) -> None:
        """Run the function as a task of the Trio run, and report its end."""
        result: outcome.Maybe[Any] = outcome.Value(None)
        try:
            with self._scope:
                result = outcome.Value(await function())
            self.cancelled_caught = self._scope.cancelled_caught
        except trio.Cancelled:
            self.cancelled_caught = True
            self.fail("The client was closed while this call was in progress.")
            raise
        except BaseException as error:
            result = outcome.Error(error)
        self._report(result)
        await trio.lowlevel.checkpoint_if_cancelled()

    def fail(self, message: str) -> None:
        """Report that the call cannot be carried out."""
        self._report(outcome.Error(BridgeClosedError(message)))


class TrioThread:
    """The Trio run; `TrioThread.share()` returns the one of this process."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _shared: ClassVar[TrioThread | None] = None

    def __init__(self) -> None:
        self._pid: Final = os.getpid()
        self._users = 0
        self._ending = self._ended = False
        self._ready = threading.Event()
        self._at_end: list[Callable[[], object]] = []
        self._thread: Final = threading.Thread(target=self._run, name="imagen", daemon=False)
        self._thread.start()
        self._ready.wait()

    @staticmethod
    def clock() -> trio.abc.Clock | None:
        """Return the clock of the run; tests put a virtual one in its place."""
        return None

    @classmethod
    def share(cls) -> TrioThread:
        """Return the run of this process, started if there is none; each share
        is given back with `release`.
        """
        with cls._lock:
            thread = cls._shared
            if thread is None or thread._ending:
                thread = cls._shared = cls()
            thread._users += 1
            return thread

    @classmethod
    def forget(cls) -> None:
        """Start anew in the child of a fork, which has no thread of its parent."""
        cls._lock, cls._shared = threading.Lock(), None

    def release(self) -> None:
        """Give a share back; the run ends with the last one."""
        with self._lock:
            self._users -= 1
            self._ending = self._ending or self._users == 0
        if self._ending:
            self.soon(self._nursery.cancel_scope.cancel)

    def join_ended(self) -> None:
        """Wait for the last moment of the thread, if the run is over."""
        if self._ended:
            self._thread.join()

    def wait_ended(self, done: Callable[[], object]) -> None:
        """Call `done` at the end of the run, or at once if other clients go on."""
        with self._lock:
            if self._ending and self._thread.is_alive():
                self._at_end.append(done)
                return
        done()

    def _run(self) -> None:
        try:
            trio.run(self._main, clock=self.clock())
        finally:
            with self._lock:
                self._ending = True
                self._ended = True
                waiting, self._at_end = self._at_end, []
            self._ready.set()
            for done in waiting:
                done()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._end_with_main_thread)
            self._ready.set()

    async def _end_with_main_thread(self) -> None:
        # A thread that waits for it could not be ended with the run. Python
        # marks the main thread as ended before it waits for this one.
        while threading.main_thread().is_alive():  # noqa: ASYNC110, it notifies nothing
            await trio.sleep(_LISTEN_SECONDS)
        self._ending = True
        self._nursery.cancel_scope.cancel("the main thread has ended")

    @property
    def nursery(self) -> trio.Nursery:
        """Nursery of the clients."""
        return self._nursery

    def soon(self, function: Callable[..., object], *args: object) -> None:
        """Call a function in the Trio run soon.

        Raises:
            BridgeClosedError: the run is over, or belongs to the process that
                forked this one.
        """
        if os.getpid() != self._pid:
            raise BridgeClosedError(
                "This client belongs to the process that forked this one: open another one here."
            )
        try:
            self._token.run_sync_soon(function, *args)
        except trio.RunFinishedError:
            raise BridgeClosedError("This client is closed: open another one.") from None

    def run_sync(self, report: Report, function: Callable[[], object]) -> None:
        """Call a synchronous function in the Trio run, in a copy of the caller's
        context.
        """
        context = contextvars.copy_context()
        self.soon(lambda: report(outcome.capture(context.run, function)))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TrioThread.forget)
