"""imagen for asyncio: the same objects, driven by a Trio run in a thread.

    async with imagen.aio.open_client() as client:
        async with client.open_batch("a lighthouse at dusk", n=8) as batch:
            async for outcome in batch: ...

Names, arguments, types and errors are those of `imagen`. A cancellation of the
asyncio task is passed on: it ends when the call has ended there, and what is
paid is salvaged.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from decimal import Decimal
from functools import partial
from typing import Any, Self

import trio

from ._bridges.aio_bridge import AioBridge, AioScope
from ._bridges.budget_scopes import ScopeLeft
from ._bridges.held import Held, abandon_held
from ._bridges.mirror import Mirrored, bound, define_mirrors, returned
from ._bridges.trio_thread import BridgeClosedError, TrioThread
from ._client.assembly import open_client as open_trio_client
from ._client.batch import Batch as TrioBatch
from ._client.client import Client as TrioClient
from ._client.event_relay import EventHandlers, EventRelay, split_handlers
from ._policy.budget import inside_scope
from ._policy.confirmation import Confirm
from ._policy.settings import Settings
from ._results.events import EventHandler
from ._results.images import Outcome

__all__ = ["fail_after_spending", "move_on_after_spending", "open_client"]


def _method(member: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(member)
    async def method(self: Mirrored, *args: Any, **kwargs: Any) -> Any:
        return returned(self._bridge, await self._bridge.call(bound(self, member, args, kwargs)))

    return method


class _Batch(Mirrored):
    _target: TrioBatch
    _bridge: AioBridge

    def __init__(self, bridge: AioBridge, target: TrioBatch) -> None:
        super().__init__(bridge, target)
        self._kept: list[Outcome] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        if self._kept:
            return self._kept.pop()
        # An outcome that comes in the moment of a cancellation is the next one.
        outcome: Outcome = await self._bridge.call(self._target.__anext__, keep=self._kept.append)
        return outcome


class _Client(Mirrored):
    _target: TrioClient
    _bridge: AioBridge
    _events: EventRelay

    def open_batch(
        self, requests: Any, *, on_event: EventHandler | None = None, **parameters: Any
    ) -> AbstractAsyncContextManager[Any]:
        handler = None
        if on_event is not None:
            handler = self._bridge.lend_callback(partial(self._events.tell, on_event))
        return self._opening(
            partial(
                self._target.open_batch,
                self._bridge.lend_source(requests),
                on_event=handler,
                **{name: self._bridge.lend(value) for name, value in parameters.items()},
            )
        )

    def reopen_batch(self, batch_id: str) -> AbstractAsyncContextManager[Any]:
        return self._opening(partial(self._target.reopen_batch, batch_id))

    @asynccontextmanager
    async def _opening(
        self, open_batch: Callable[[], AbstractAsyncContextManager[TrioBatch]]
    ) -> AsyncIterator[Any]:
        held = Held(self._bridge.call_sync(open_batch))
        await self._bridge.call(
            partial(held.enter, self._bridge.nursery),
            keep=lambda _: self._bridge.thread.soon(held.let_go),
        )
        try:
            yield returned(self._bridge, held.value)
        finally:
            # The bridge waits until it has ended, whatever cancels this task.
            await self._bridge.call(held.leave)  # noqa: ASYNC102


@asynccontextmanager
async def open_client(
    settings: Settings | None = None,
    *,
    on_event: EventHandlers = None,
    confirm: Confirm | None = None,
    **parts: Any,
) -> AsyncIterator[Any]:
    """Open a client for as long as the block lasts; see `imagen.open_client`.

    `on_event` and `confirm` run on the loop of the caller. One client serves
    all tasks of one loop.
    """
    _check_asyncio()
    thread = TrioThread.share()
    bridge = AioBridge(thread, thread.nursery)
    lent, inside_run = split_handlers(on_event)
    events = EventRelay(*lent)
    open_held = partial(
        open_trio_client,
        settings,
        on_event=(*((bridge.lend_callback(events),) if lent else ()), *inside_run),
        confirm=None if confirm is None else bridge.lend_coroutine(confirm),
        **parts,
    )
    held = Held(bridge.call_sync(open_held), on_over=thread.release)
    try:
        await bridge.call(
            partial(held.enter, thread.nursery), keep=lambda _: thread.soon(held.let_go)
        )
        inside = AioBridge(thread, held.nursery)
        # If the block is never left: a generator that is dropped, a loop that ends.
        abandon = weakref.finalize(inside, abandon_held, thread, held)
        abandon.atexit = False
        client = AioBridge.mirrors[TrioClient](inside, held.value)
        client._events = events
        try:
            yield client
        finally:
            abandon.detach()
            with suppress(BridgeClosedError):
                # Waits until it has ended, whatever cancels this task.
                await bridge.call(held.leave)  # noqa: ASYNC102
    except BaseException as error:
        events.name_in(error)
        raise
    finally:
        await bridge.wait_ended()  # noqa: ASYNC102
    events.raise_error()


def _check_asyncio() -> None:
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            "imagen.aio.open_client works on asyncio, and this code runs under Trio: use"
            " imagen.open_client."
        )


@contextmanager
def move_on_after_spending(usd: Decimal | str | int) -> Iterator[AioScope]:
    """Leave the block once it asks for money beyond `usd` US dollars; see
    `imagen.move_on_after_spending`. The task that opens the scope is cancelled,
    as by `asyncio.timeout`.
    """
    scope = AioScope(usd)
    try:
        with inside_scope(scope):
            yield scope
    except asyncio.CancelledError:  # noqa: ASYNC103, taken back by `catch`
        if not scope.catch():
            raise
    except ScopeLeft as left:
        # From a blocking call inside.
        if left.scope is not scope:
            raise
        scope.catch_here()


@contextmanager
def fail_after_spending(usd: Decimal | str | int) -> Iterator[AioScope]:
    """Like `move_on_after_spending`, but raise at the end of the block.

    Raises:
        BudgetExceededError: the block was left because the money ran out.
    """
    with move_on_after_spending(usd) as scope:
        yield scope
    scope.raise_if_left()


AioBridge.mirrors = define_mirrors(__name__, {TrioBatch: _Batch, TrioClient: _Client}, _method)
globals().update({mirror.__name__: mirror for mirror in AioBridge.mirrors.values()})
