"""Calls from asyncio into the Trio run."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

import anyio
import outcome
import trio

from .._requests.request import Request
from .budget_scopes import BridgeScope, ScopeLeft
from .mirror import Mirrored
from .trio_thread import BridgeClosedError, Call, TrioThread

__all__ = ["AioBridge", "AioScope"]

_END = object()


class AioScope(BridgeScope):
    """Budget scope around asyncio code. It cancels the task that opened it, as
    `asyncio.timeout` does.
    """

    def __init__(self, usd: Any) -> None:
        super().__init__(usd)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A budget scope of imagen.aio goes around the code of a task.")
        self._task = task
        self._cancelling = task.cancelling()
        self._asked = False

    def cancel_task(self) -> None:
        """Cancel the task, once: each cancellation must be taken back."""
        if not self._asked:
            self._asked = True
            self._task.cancel()

    def catch(self) -> bool:
        """Take the cancellation back, and return True if it was the only one."""
        self._caught = self._asked and self._task.uncancel() <= self._cancelling
        return self._caught


class AioBridge:
    """Way from one asyncio loop to one object that the Trio run holds open."""

    mirrors: ClassVar[dict[type, Any]] = {}

    def __init__(self, thread: TrioThread, nursery: trio.Nursery) -> None:
        self.thread = thread
        self.nursery = nursery
        self._loop = asyncio.get_running_loop()

    def check_loop(self) -> None:
        """Refuse a call from another loop, which could not wake this one."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "This client belongs to another event loop: open one here, or use"
                " imagen.blocking, which any thread may call."
            )

    async def call(
        self,
        function: Callable[[], Awaitable[Any]],
        *,
        keep: Callable[[Any], object] = lambda value: None,
    ) -> Any:
        """Return the result of an asynchronous function of the Trio run.

        A cancellation goes there first, and is raised here once the call has
        unwound. `keep` receives a result that came in the same moment.
        """
        self.check_loop()
        done: asyncio.Future[outcome.Maybe[Any]] = self._loop.create_future()
        report = partial(soon, self._loop, _finish, done)
        call = Call(self.thread, report)
        call.start(self.nursery, function)
        cancelled = await _wait(done, call.cancel)
        result = done.result()
        if cancelled is not None:
            if isinstance(result, outcome.Value) and not call.cancelled_caught:
                keep(result.value)
            raise cancelled
        try:
            return result.unwrap()
        except ScopeLeft as left:
            if not isinstance(left.scope, AioScope):
                raise
            left.scope.cancel_task()
            # Until that cancellation comes.
            await self._loop.create_future()  # noqa: ASYNC120
            raise AssertionError("the task of the scope was cancelled") from None

    async def wait_ended(self) -> None:
        """Wait for the end of the Trio run, unless other clients go on."""
        done: asyncio.Future[None] = self._loop.create_future()
        self.thread.wait_ended(partial(soon, self._loop, _finish, done, None))
        cancelled = await _wait(done, lambda: None)
        self.thread.join_ended()
        if cancelled is not None:
            raise cancelled

    def call_sync(self, function: Callable[[], Any]) -> Any:
        """Return the result of a synchronous function of the Trio run; it never
        waits there, and so the loop hardly does.
        """
        done: queue.SimpleQueue[outcome.Maybe[Any]] = queue.SimpleQueue()
        self.thread.run_sync(done.put, function)
        return done.get().unwrap()

    async def iterate(self, source: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Yield the items of an iterator of the Trio run."""
        while (item := await self.call(partial(_next, source))) is not _END:
            yield item

    def lend(self, value: object) -> Any:
        """Return an argument as the Trio run may use it: callbacks run on this
        loop, and so do asynchronous iterators.
        """
        if isinstance(value, Mirrored):
            return value._target
        if isinstance(value, AsyncIterable):
            return self._pull(value)
        if isinstance(value, Iterator):
            return list(value)
        if callable(value) and not isinstance(value, type):
            return self.lend_callback(value)
        return value

    def lend_source(self, source: Any) -> Any:
        """Return requests as the Trio run may read them: iterators run on this
        loop, one request at a time.
        """
        if isinstance(source, AsyncIterable):
            return self._pull(source)
        if isinstance(source, (str, Sequence, Request)):
            return source
        return self._pull(_each(source))

    def lend_callback(self, function: Callable[..., object]) -> Callable[..., None]:
        """Return a function of the Trio run that calls one on this loop, soon."""
        # Not a method of the bridge, which would then live as long as the client.
        return partial(soon, self._loop, function)

    def lend_coroutine(
        self, function: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        """Return a function of the Trio run that awaits one of this loop."""

        async def run(*args: object) -> Any:
            return await self._await_here(partial(function, *args))

        return run

    async def _pull(self, source: AsyncIterable[Any]) -> AsyncIterator[Any]:
        iterator = aiter(source)
        while (item := await self._await_here(partial(_next, iterator))) is not _END:
            yield item

    async def _await_here(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Await a function of this loop, in the Trio run."""
        token = trio.lowlevel.current_trio_token()
        came = trio.Event()
        result: outcome.Maybe[Any] = outcome.Error(
            BridgeClosedError("The event loop of the caller has ended.")
        )

        async def run() -> None:
            nonlocal result
            try:
                result = outcome.Value(await function())
            except Exception as error:
                result = outcome.Error(error)
            finally:
                token.run_sync_soon(came.set)

        running = run()
        try:
            future = asyncio.run_coroutine_threadsafe(running, self._loop)
        except RuntimeError:
            running.close()
            return result.unwrap()
        try:
            await came.wait()
        except trio.Cancelled:
            future.cancel()
            raise
        return result.unwrap()


def soon(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    """Call a function on a loop, if it is not closed: nothing waits there then."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *args)


async def _wait(
    done: asyncio.Future[Any], cancel: Callable[[], object]
) -> asyncio.CancelledError | None:
    """Wait for a future. A cancellation calls `cancel` and is returned at the end."""
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            if cancelled is None:
                await asyncio.wait((done,))
                continue
            # A cancel scope of anyio, which web frameworks use, cancels again
            # in each turn of the loop until it is left.
            with anyio.CancelScope(shield=True):
                await asyncio.wait((done,))
        except asyncio.CancelledError as error:  # noqa: ASYNC103, the caller raises it
            cancelled = error
            cancel()
    return cancelled


def _finish(done: asyncio.Future[Any], result: object) -> None:
    if not done.done():
        done.set_result(result)


async def _next(source: AsyncIterator[Any]) -> Any:
    return await anext(source, _END)


async def _each(source: Iterator[Any]) -> AsyncIterator[Any]:
    for item in source:
        yield item
