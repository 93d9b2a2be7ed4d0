"""imagen without an event loop: the same objects, driven by a Trio run in a
thread.

    with imagen.blocking.open_client() as client:
        with client.open_batch("a lighthouse at dusk", n=8) as batch:
            for outcome in batch: ...

Names, arguments, types and errors are those of `imagen`; every thread may call.
Clients and batches are open as soon as they are made: `with` or `close` closes
them. Ctrl-C cancels the call, salvages what is paid, and raises
KeyboardInterrupt.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import Any, Self

import trio

from ._bridges.blocking_bridge import BlockingBridge, Callbacks, Listeners
from ._bridges.budget_scopes import BridgeScope, ScopeLeft
from ._bridges.held import Held, abandon_held
from ._bridges.mirror import Mirrored, bound, define_mirrors, returned
from ._bridges.trio_thread import BridgeClosedError, TrioThread
from ._client.assembly import open_client as open_trio_client
from ._client.batch import Batch as TrioBatch
from ._client.client import Client as TrioClient
from ._client.event_relay import EventHandlers, EventRelay, split_handlers
from ._policy.budget import Budget, BudgetScope, inside_scope
from ._policy.settings import Settings
from ._results.events import EventHandler
from ._results.images import Image, Outcome
from ._results.prices import Quote
from .notebook import sheet

__all__ = [
    "edit",
    "enhance",
    "fail_after_spending",
    "generate",
    "move_on_after_spending",
    "open_client",
    "restyle",
    "vary",
]


def _method(member: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(member)
    def method(self: Mirrored, *args: Any, **kwargs: Any) -> Any:
        return returned(self._bridge, self._bridge.call(bound(self, member, args, kwargs)))

    return method


class _Opened(Mirrored):
    """Base of what is open as soon as it is made."""

    _bridge: BlockingBridge

    def __enter__(self) -> Self:
        return self


class _Batch(_Opened):
    _target: TrioBatch

    def __init__(
        self, client: _Client, held: Held[TrioBatch], listeners: Listeners, budget: Budget | None
    ) -> None:
        bridge = client._bridge
        super().__init__(bridge, held.value)
        self._held = held
        self._client = client
        self._listeners = listeners
        self._budget = budget
        self._kept: list[Outcome] = []
        self._abandon = weakref.finalize(self, abandon_held, bridge.thread, held)
        self._abandon.atexit = False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Outcome:
        if self._kept:
            return self._kept.pop()
        try:
            # An outcome that comes in the moment of a Ctrl-C is the next one.
            outcome: Outcome = self._bridge.call(self._target.__anext__, keep=self._kept.append)
        except StopAsyncIteration:
            raise StopIteration from None
        return outcome

    @property
    def client(self) -> Any:
        """The client that opened the batch."""
        return self._client

    @property
    def budget(self) -> Budget | None:
        """The budget that the batch was opened with."""
        return self._budget

    def listen(self, handler: EventHandler) -> None:
        """Notify one more handler of the events of this batch, in the thread of
        `on_event`.
        """
        self._listeners.add(self._client._lend_handler(handler))

    def _ipython_display_(self) -> None:
        # A batch that is the last line of a cell becomes a live sheet.
        sheet(self)

    def _display_(self) -> object:
        # As above, in marimo.
        return sheet(self)

    def close(self) -> None:
        """Leave the batch: drop what has not been sent, and salvage the rest in
        the background.
        """
        if self._abandon.detach() is not None:
            with suppress(BridgeClosedError):
                self._bridge.call(self._held.leave)


class _Client(_Opened):
    _target: TrioClient

    def __init__(
        self,
        bridge: BlockingBridge,
        held: Held[TrioClient],
        events: EventRelay,
        callbacks: Callbacks,
    ) -> None:
        super().__init__(bridge, held.value)
        self._held = held
        self._events = events
        self._callbacks = callbacks
        # On the bridge, as the library and the others are of use without the client.
        self._abandon = weakref.finalize(bridge, abandon_held, bridge.thread, held)
        self._abandon.atexit = False

    def open_batch(
        self, requests: Any, *, on_event: EventHandler | None = None, **parameters: Any
    ) -> Any:
        listeners = Listeners()
        if on_event is not None:
            listeners.add(self._lend_handler(on_event))
        open_batch = partial(
            self._target.open_batch,
            self._bridge.lend_source(requests),
            on_event=listeners,
            **{name: self._bridge.lend(value) for name, value in parameters.items()},
        )
        return self._open(open_batch, listeners, parameters.get("budget"))

    def reopen_batch(self, batch_id: str) -> Any:
        return self._open(partial(self._target.reopen_batch, batch_id), Listeners(), None)

    def _lend_handler(self, handler: EventHandler) -> EventHandler:
        return self._callbacks.lend(partial(self._events.tell, handler))

    def _open(
        self,
        open_batch: Callable[[], AbstractAsyncContextManager[TrioBatch]],
        listeners: Listeners,
        budget: Budget | None,
    ) -> Any:
        bridge = self._bridge
        held = Held(bridge.call_sync(open_batch))
        bridge.call(
            partial(held.enter, bridge.nursery), keep=lambda _: bridge.thread.soon(held.let_go)
        )
        return bridge.mirrors[TrioBatch](self, held, listeners, budget)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        if error is None:
            self._events.raise_error()
        else:
            self._events.name_in(error)

    def close(self) -> None:
        """Cancel the sessions and the calls of other threads, and wait at most
        `salvage_seconds` for what has been sent. Ctrl-C ends that wait.

        Raises:
            Exception: the first one of a handler of events.
        """
        self._leave()
        self._events.raise_error()

    def _leave(self) -> None:
        if self._abandon.detach() is None:
            return
        thread = self._bridge.thread
        outside = BlockingBridge(thread, thread.nursery)
        try:
            with suppress(BridgeClosedError):
                outside.call(
                    self._held.leave,
                    on_interrupt=lambda: thread.soon(self._target.bound_salvage, 0.0),
                )
        finally:
            outside.wait_ended()
            self._callbacks.close()


def open_client(
    settings: Settings | None = None,
    *,
    on_event: EventHandlers = None,
    confirm: Callable[[Quote, int], bool] | None = None,
    **parts: Any,
) -> Any:
    """Open a client; see `imagen.open_client`.

    `on_event` runs in a thread of its own, and `confirm` in another.

    Raises:
        RuntimeError: it is called in a Trio run, which it would block.
    """
    _check_no_trio("open_client", "imagen.open_client")
    thread = TrioThread.share()
    outside = BlockingBridge(thread, thread.nursery)
    lent, inside_run = split_handlers(on_event)
    callbacks, events = Callbacks(), EventRelay(*lent)
    open_held = partial(
        open_trio_client,
        settings,
        on_event=(*((callbacks.lend(events),) if lent else ()), *inside_run),
        confirm=None if confirm is None else _in_thread(confirm),
        **parts,
    )
    held = Held(outside.call_sync(open_held), on_over=thread.release)
    try:
        outside.call(partial(held.enter, thread.nursery), keep=lambda _: thread.soon(held.let_go))
    except BaseException:
        callbacks.close()
        outside.wait_ended()
        raise
    inside = BlockingBridge(thread, held.nursery)
    return BlockingBridge.mirrors[TrioClient](inside, held, events, callbacks)


def _in_thread(
    confirm: Callable[[Quote, int], bool],
) -> Callable[[Quote, int], Awaitable[bool]]:
    async def ask(quote: Quote, images: int) -> bool:
        return await trio.to_thread.run_sync(confirm, quote, images)

    return ask


def _check_no_trio(name: str, instead: str) -> None:
    if trio.lowlevel.in_trio_run():
        raise RuntimeError(
            f"imagen.blocking.{name} would block the Trio run that it is called in: use {instead}."
        )


@contextmanager
def move_on_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]:
    """Leave the block once it asks for money beyond `usd` US dollars; see
    `imagen.move_on_after_spending`.

    The call that asks for it raises an exception that only this block catches.
    """
    scope = BridgeScope(usd)
    try:
        with inside_scope(scope):
            yield scope
    except ScopeLeft as left:
        if left.scope is not scope:
            raise
        scope.catch_here()


@contextmanager
def fail_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]:
    """Like `move_on_after_spending`, but raise at the end of the block.

    Raises:
        BudgetExceededError: the block was left because the money ran out.
    """
    with move_on_after_spending(usd) as scope:
        yield scope
    scope.raise_if_left()


# --- for the impatient --------------------------------------------------------


class _Default:
    """Client of the functions below, opened by the first of them."""

    lock = threading.Lock()
    client: Any = None

    @classmethod
    def open(cls, name: str) -> Any:
        _check_no_trio(name, f"{name} of a client of imagen.open_client")
        with cls.lock:
            if cls.client is None:
                cls.client = open_client()
            return cls.client

    @classmethod
    def forget(cls) -> None:
        cls.lock, cls.client = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Default.forget)


def generate(request: Any, **parameters: Any) -> Image:
    """Make one image, with a client that stays open until the program ends; see
    `Client.generate`.
    """
    image: Image = _Default.open("generate").generate(request, **parameters)
    return image


def edit(prompt: str, *images: Any, **parameters: Any) -> Image:
    """Change an image as the prompt describes; see `generate` and `Client.edit`."""
    image: Image = _Default.open("edit").edit(prompt, *images, **parameters)
    return image


def vary(image: Any, **parameters: Any) -> Image:
    """Make another image like this one; see `generate` and `Client.vary`."""
    made: Image = _Default.open("vary").vary(image, **parameters)
    return made


def enhance(image: Any, **parameters: Any) -> Image:
    """Make the same image larger and finer; see `generate` and `Client.enhance`."""
    made: Image = _Default.open("enhance").enhance(image, **parameters)
    return made


def restyle(image: Any, reference: Any, **parameters: Any) -> Image:
    """Draw the content of one image in the look of another; see `generate` and
    `Client.restyle`.
    """
    made: Image = _Default.open("restyle").restyle(image, reference, **parameters)
    return made


BlockingBridge.mirrors = define_mirrors(__name__, {TrioBatch: _Batch, TrioClient: _Client}, _method)
globals().update({mirror.__name__: mirror for mirror in BlockingBridge.mirrors.values()})
