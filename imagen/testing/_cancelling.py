"""Cancels a program at its k-th step, for every k."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

__all__ = ["cancel_at_every_step"]

# A program that takes more steps than this is too large to be run once for each
# of them.
_MOST_STEPS = 20_000


class _CancelAtStep(trio.abc.Instrument):
    """Cancels a scope when the k-th step of any task since its start is about
    to run.
    """

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step
        self.armed = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if not self.armed:
            return
        if self._left == 0:
            self._scope.cancel("the step of this run has come")
        self._left -= 1

    @property
    def fired(self) -> bool:
        return self._left < 0


def cancel_at_every_step(
    scenario: Callable[[trio.CancelScope], Awaitable[None]], *, every: int = 1
) -> int:
    """Run a scenario repeatedly under virtual time, cancelled one step later
    each time, until it ends uncancelled.

    Args:
        scenario: Called with a fresh cancel scope; it enters the scope around
            what may be cancelled, and checks its invariants afterwards. Its
            exceptions are raised with a note of the step.
        every: Tries only each `every`-th step, where all of them take too long.

    Returns:
        The number of runs; the last one was not cancelled.
    """
    for run, step in enumerate(range(0, _MOST_STEPS, every), start=1):
        try:
            if not trio.run(
                _run_once, scenario, step, clock=trio.testing.MockClock(autojump_threshold=0)
            ):
                return run
        except BaseException as error:
            error.add_note(f"cancelled at step {step}")
            raise
    raise AssertionError(f"the scenario takes more than {_MOST_STEPS} steps")


async def _run_once(scenario: Callable[[trio.CancelScope], Awaitable[None]], step: int) -> bool:
    scope = trio.CancelScope()
    instrument = _CancelAtStep(scope, step)
    trio.lowlevel.add_instrument(instrument)
    try:
        instrument.armed = True
        await scenario(scope)
    finally:
        instrument.armed = False
        trio.lowlevel.remove_instrument(instrument)
    return instrument.fired
