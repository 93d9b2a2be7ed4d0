"""The clients of both bridges behind one shape, so that the same tests drive
them, and a virtual clock for their Trio run.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import imagen
from imagen._bridges.trio_thread import TrioThread
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.scripted_client import make_settings, virtual_time

BRIDGES = ("aio", "blocking")


def _virtual_clock() -> trio.abc.Clock:
    return trio.testing.MockClock(autojump_threshold=0.001)


@contextmanager
def virtual_clock() -> Iterator[None]:
    """Let the Trio run of the bridges jump over every wait.

    It jumps while the caller thinks, too.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrioThread, "clock", staticmethod(_virtual_clock))
        yield


def run_bridged(main: Callable[[], Any]) -> None:
    """Run an asyncio program against a virtual Trio run."""
    with virtual_clock():
        asyncio.run(main())


class AsyncBlocking:
    """The blocking client in the shape of the one for asyncio."""

    def __init__(self, target: Any) -> None:
        self._target = target

    @asynccontextmanager
    async def open_batch(self, *args: Any, **kwargs: Any) -> AsyncIterator[AsyncBlocking]:
        with self._target.open_batch(*args, **kwargs) as batch:
            yield AsyncBlocking(batch)

    def __aiter__(self) -> AsyncBlocking:
        return self

    async def __anext__(self) -> Any:
        await asyncio.sleep(0)
        for outcome in self._target:
            return outcome
        raise StopAsyncIteration

    @property
    def library(self) -> AsyncBlocking:
        return AsyncBlocking(self._target.library)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name in ("status", "quote") or not callable(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return value(*args, **kwargs)

        return call


@asynccontextmanager
async def open_bridged(
    kind: str,
    answer: Callable[[imagen.providers.HttpRequest], ScriptedReply],
    *,
    home: Path | None = None,
    **changes: Any,
) -> AsyncIterator[tuple[Any, ScriptedTransport]]:
    """A client of that bridge, as `open_test_client` opens one under Trio."""
    transport = ScriptedTransport(answer)
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "transport": lambda access: transport,
            "workers": InlineWorkers(),
            "clock": virtual_time,
        }
        for name in ("on_event", "confirm"):
            if name in changes:
                parts[name] = changes.pop(name)
        open_client = partial(
            getattr(imagen, kind).open_client, make_settings(home or Path(folder), **changes)
        )
        if kind == "aio":
            async with open_client(**parts) as client:
                yield client, transport
        else:
            with open_client(**parts) as client:
                yield AsyncBlocking(client), transport
        assert transport.open_replies == 0


def scope_of(kind: str, usd: Any) -> Any:
    """The budget scope of that bridge."""
    return getattr(imagen, kind).move_on_after_spending(usd)
