"""A clear error for code that is called outside a Trio run."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import trio

__all__ = ["under_trio"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def under_trio(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function name the bridge to use if no Trio run is there."""

    @wraps(function)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not trio.lowlevel.in_trio_run():
            name = function.__name__
            raise RuntimeError(
                f"imagen.{name} works under Trio, and this code runs on asyncio: use"
                f" imagen.aio.{name}."
                if _is_asyncio()
                else f"imagen.{name} works under Trio, and no event loop runs here: use"
                f" imagen.blocking.{name}, or call it in a function that trio.run runs."
            )
        return function(*args, **kwargs)

    return checked


def _is_asyncio() -> bool:
    # Only where the name is needed: Trio does not import it.
    import asyncio

    return asyncio._get_running_loop() is not None
