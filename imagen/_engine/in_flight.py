"""In-flight work of a client, in the client's nursery."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import trio

from .attempt import RunningAttempt
from .runtime import Runtime

__all__ = ["InFlight"]


class _Run(Protocol):
    @property
    def open_attempts(self) -> Sequence[RunningAttempt]: ...

    def abandon(self, salvage_seconds: float, *, closing: bool) -> None: ...


Run = TypeVar("Run", bound=_Run)


class InFlight(Generic[Run]):
    """Base of the engine and of the batch jobs: runs that end together.

    Each run is a task in the client's nursery from the start, and callers only
    wait for it. So a caller who leaves never tears down a request that may be
    billed.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._salvage_seconds = runtime.settings.salvage_seconds
        self._runs: set[Run] = set()
        self._closed = False

    @property
    def attempts(self) -> Sequence[RunningAttempt]:
        """Attempts in flight that have no outcome yet."""
        return [attempt for run in self._runs for attempt in run.open_attempts]

    @property
    def in_flight(self) -> int:
        """Number of attempts in flight."""
        return len(self.attempts)

    def close(self) -> None:
        """Give every run its last deadline: the client closes."""
        self._closed = True
        self.bound_salvage(self._salvage_seconds)

    def bound_salvage(self, seconds: float) -> None:
        """Give everything in flight at most `seconds` to finish."""
        for run in list(self._runs):
            run.abandon(seconds, closing=True)

    def _start(self, run: Run, work: Callable[[Run], Awaitable[None]], name: str) -> Run:
        self._runs.add(run)
        self._runtime.nursery.start_soon(self._work, run, work, name=name)
        if self._closed:
            # The run was admitted while the client closed.
            run.abandon(self._salvage_seconds, closing=True)
        return run

    @trio.lowlevel.enable_ki_protection
    async def _work(self, run: Run, work: Callable[[Run], Awaitable[None]]) -> None:
        try:
            await work(run)
        finally:
            self._runs.discard(run)
