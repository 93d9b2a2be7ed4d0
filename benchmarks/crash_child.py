"""The process that is killed: it makes images, or goes on with what another
left, and dies where IMAGEN_CRASH says.

`IMAGEN_CRASH` is "after SECONDS", or "STEP WHEN COUNT": at the COUNT-th time
that STEP is about to happen ("before"), is half done ("half", for writes only)
or has happened ("after"). The library itself knows nothing of it.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn

import msgspec
import trio

import imagen
from imagen._client.session_store import SessionStore
from imagen._storage.ledger import Ledger
from imagen.library._files import ImageFiles

__all__ = ["JOURNAL_STEPS", "Task", "finish"]

JOURNAL_STEPS = {
    "reserve": Ledger,
    "mark_sent": Ledger,
    "mark_accepted": Ledger,
    "mark_received": Ledger,
    "settle": Ledger,
    "take_over": Ledger,
    "add_outcome": SessionStore,
}


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is to do: requests as one batch, or sessions of
    `together` images each; nothing means: go on.
    """

    requests: tuple[imagen.Generate, ...] = ()
    sessions: tuple[imagen.Generate, ...] = ()
    n: int = 3
    together: bool = False


async def finish(client: imagen.Client, session_ids: Sequence[str]) -> None:
    """Takes up what others left: collects jobs, and makes what is missing of
    the sessions.
    """
    await client.collect()
    for session_id in session_ids:
        session = await client.resume_session(session_id)
        await session.wait_finished()


async def _work(task: Task, session_ids: Sequence[str]) -> None:
    async with imagen.open_client() as client:
        await finish(client, session_ids)
        if task.requests:
            async with client.open_batch(task.requests, max_at_once=5) as batch:
                async for _ in batch:
                    pass
        sessions = [
            client.start_session(request, n=task.n, max_at_once=2, together=task.together)
            for request in task.sessions
        ]
        for session in sessions:
            await session.wait_finished()


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("no process survives SIGKILL")


def _plan_death(plan: str) -> None:
    first, *rest = plan.split()
    if first == "after":
        timer = threading.Timer(float(rest[0]), _die)
        timer.daemon = True
        timer.start()
        return
    when, count = rest
    is_due = functools.partial(next, iter([False] * (int(count) - 1) + [True]), False)
    if first in JOURNAL_STEPS:
        owner = JOURNAL_STEPS[first]
        setattr(owner, first, _dying_method(getattr(owner, first), when, is_due))
    elif first == "store":
        setattr(ImageFiles, first, _dying_method(ImageFiles.store, when, is_due))
    elif when == "half":
        os.write = _half_a_write(os.write, is_due)
    else:
        setattr(os, first, _dying_call(getattr(os, first), when, is_due))


def _dying_method(
    method: Callable[..., Awaitable[object]], when: str, is_due: Callable[[], bool]
) -> Callable[..., Awaitable[object]]:
    async def call(*args: object, **kwargs: object) -> object:
        due = is_due()
        if due and when == "before":
            _die()
        result = await method(*args, **kwargs)
        if due:
            _die()
        return result

    return call


def _dying_call(
    function: Callable[..., object], when: str, is_due: Callable[[], bool]
) -> Callable[..., object]:
    def call(*args: object, **kwargs: object) -> object:
        due = is_due()
        if due and when == "before":
            _die()
        result = function(*args, **kwargs)
        if due:
            _die()
        return result

    return call


def _half_a_write(
    write: Callable[[int, memoryview], int], is_due: Callable[[], bool]
) -> Callable[..., int]:
    def call(descriptor: int, data: memoryview) -> int:
        if is_due():
            write(descriptor, data[: len(data) // 2])
            _die()
        return write(descriptor, data)

    return call


if __name__ == "__main__":
    if plan := os.environ.get("IMAGEN_CRASH"):
        _plan_death(plan)
    trio.run(_work, msgspec.json.decode(sys.argv[1], type=Task), sys.argv[2:])
