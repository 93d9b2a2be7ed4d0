"""Calls from code without an event loop into the Trio run."""

from __future__ import annotations

import contextvars
import queue
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import outcome
import trio

from .._requests.request import Request
from .._results.events import Event, EventHandler
from .mirror import Mirrored
from .trio_thread import BridgeClosedError, Call, TrioThread

__all__ = ["BlockingBridge", "Callbacks", "Listeners"]

# On Windows, a thread that waits for a lock does not notice Ctrl-C.
_LISTEN_SECONDS = 0.1 if sys.platform == "win32" else None
# How often a thread that was interrupted looks whether its call has ended.
_INTERRUPTED_SECONDS = 0.05
_END = object()

# Between the Trio run and one waiting thread: a result, or a callback to run.
_Message = outcome.Maybe[Any] | Callable[[], object]
_Queue = queue.SimpleQueue[_Message]
_caller: contextvars.ContextVar[_Queue] = contextvars.ContextVar("imagen_caller")


class BlockingBridge:
    """Way from any thread to one object that the Trio run holds open."""

    mirrors: ClassVar[dict[type, Any]] = {}

    def __init__(self, thread: TrioThread, nursery: trio.Nursery) -> None:
        self.thread = thread
        self.nursery = nursery

    def call(
        self,
        function: Callable[[], Awaitable[Any]],
        *,
        keep: Callable[[Any], object] = lambda value: None,
        on_interrupt: Callable[[], object] = lambda: None,
    ) -> Any:
        """Return the result of an asynchronous function of the Trio run.

        Ctrl-C cancels it there, and is raised here once the call has unwound; a
        second one at once. `keep` receives a result that came in the same
        moment.
        """
        messages = _Queue()
        call = Call(self.thread, messages.put)
        # Ctrl-C may come between any two steps of this.
        try:
            # A copy of this context goes with the call.
            token = _caller.set(messages)
            call.start(self.nursery, function)
            _caller.reset(token)
            result = _wait(messages)
        except BridgeClosedError:
            raise
        except BaseException:
            call.cancel()
            on_interrupt()
            late = _wait_ended(call, messages)
            if isinstance(late, outcome.Value) and not call.cancelled_caught:
                keep(late.value)
            raise
        return result.unwrap()

    def wait_ended(self) -> None:
        """Wait for the end of the Trio run, unless other clients go on."""
        ended = threading.Event()
        self.thread.wait_ended(ended.set)
        while not ended.wait(_LISTEN_SECONDS):
            continue
        self.thread.join_ended()

    def call_sync(self, function: Callable[[], Any]) -> Any:
        """Return the result of a synchronous function of the Trio run."""
        messages = _Queue()
        self.thread.run_sync(messages.put, function)
        return _wait(messages).unwrap()

    def iterate(self, source: AsyncIterator[Any]) -> Iterator[Any]:
        """Yield the items of an iterator of the Trio run."""
        while (item := self.call(partial(anext, source, _END))) is not _END:
            yield item

    def lend(self, value: object) -> Any:
        """Return an argument as the Trio run may use it."""
        if isinstance(value, Mirrored):
            return value._target
        if isinstance(value, Iterator):
            return list(value)
        if callable(value) and not isinstance(value, type):
            return partial(_call_back, value)
        return value

    def lend_source(self, source: Any) -> Any:
        """Return requests as the Trio run may read them: iterators run in a
        thread, one request at a time.
        """
        return source if isinstance(source, (str, Sequence, Request)) else _pull(source)


class Callbacks:
    """Thread that runs the handlers of a client's events, in order."""

    def __init__(self) -> None:
        self._queue = queue.SimpleQueue[Callable[[], object] | None]()
        self._thread: threading.Thread | None = None

    def lend(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return a function of the Trio run that calls one in this thread, soon."""
        if self._thread is None:
            # A program that ends without closing its client waits for no handler.
            self._thread = threading.Thread(target=self._run, name="imagen events", daemon=True)
            self._thread.start()
        queue = self._queue
        return lambda *args: queue.put(partial(function, *args))

    def close(self) -> None:
        """Run what has come so far, and end the thread."""
        self._queue.put(None)
        if self._thread not in (None, threading.current_thread()):
            self._thread.join()

    def _run(self) -> None:
        while (callback := self._queue.get()) is not None:
            callback()


class Listeners:
    """Handlers of the events of one batch, which may come later than the batch."""

    def __init__(self) -> None:
        self._handlers: tuple[EventHandler, ...] = ()

    def add(self, handler: EventHandler) -> None:
        """Notify one more handler."""
        self._handlers = (*self._handlers, handler)

    def __call__(self, event: Event) -> None:
        for handler in self._handlers:
            handler(event)


def _wait(messages: _Queue) -> outcome.Maybe[Any]:
    """Run callbacks until the result comes."""
    while True:
        try:
            message = messages.get(timeout=_LISTEN_SECONDS)
        except queue.Empty:
            continue
        if isinstance(message, (outcome.Value, outcome.Error)):
            return message
        message()


def _call_back(function: Callable[..., object], *args: object) -> None:
    """Let the thread that waits for this call run a function."""
    _caller.get().put(partial(function, *args))


def _wait_ended(call: Call, messages: _Queue) -> outcome.Maybe[Any]:
    """Wait for the end of a call whose result may have been taken already."""
    while call.result is None:
        with suppress(queue.Empty):
            messages.get(timeout=_INTERRUPTED_SECONDS)
    return call.result


async def _pull(source: Iterable[Any]) -> AsyncIterator[Any]:
    # A thread that still waits for the source when the batch is left is left too.
    run = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
    iterator = await run(iter, source)
    while (item := await run(next, iterator, _END)) is not _END:
        yield item
