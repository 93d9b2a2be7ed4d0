"""A second try elsewhere, where the first is slow: whichever gives images first
counts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from .._errors import ImagenError
from .._system.nursery import open_bare_nursery

__all__ = ["hedge", "quantile"]

Result = TypeVar("Result")


def quantile(ascending: list[float], share: float) -> float | None:
    """The value that a share of them does not pass; None where there are none."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else None


async def hedge(
    first: Callable[[], Awaitable[Result]],
    second: Callable[[], Awaitable[Result]],
    after_seconds: float,
) -> Result:
    """The result of whichever call succeeds first; `second` starts when `first`
    has not ended after so long.

    The other one is cancelled then.

    Raises:
        ImagenError: both failed, or the first did before the second began; it
            is the error of the first, unless only the other one may have been
            billed: then nothing more must be sent.
    """
    results: list[Result] = []
    errors: dict[str, ImagenError] = {}
    second_began = trio.Event()

    async def run(
        name: str, call: Callable[[], Awaitable[Result]], scope: trio.CancelScope
    ) -> None:
        try:
            results.append(await call())
        except ImagenError as error:
            errors[name] = error
            if name == "second" or second_began.is_set():
                return
        scope.cancel("the race is over")

    async def run_later(scope: trio.CancelScope) -> None:
        await trio.sleep(after_seconds)
        second_began.set()
        await run("second", second, scope)

    async with open_bare_nursery() as nursery:
        nursery.start_soon(run, "first", first, nursery.cancel_scope)
        nursery.start_soon(run_later, nursery.cancel_scope)
    if results:
        return results[0]
    raise next((error for error in errors.values() if error.billed != "no"), errors["first"])
