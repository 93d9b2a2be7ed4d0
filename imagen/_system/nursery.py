"""A nursery whose body keeps its own exception."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

__all__ = ["open_bare_nursery"]


@asynccontextmanager
async def open_bare_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery that does not wrap an exception of its own body in a
    group.

    A failure of a task is a bug of ours, and still leaves as a group.
    """
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                raised = error
                raise
    except BaseExceptionGroup as group:
        if raised is None or isinstance(raised, trio.Cancelled) or group.exceptions != (raised,):
            raise
    if raised is not None:
        raise raised
