"""The queue of the workers in Redis or Valkey, by streaq.

It carries ids of sessions and nothing else. What belongs in it is read from the
database again and again, so it may be lost whole. The owner of a session decides
which worker has it, so the queue may deliver twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio
import msgspec
import streaq
import trio
from coredis.exceptions import RedisError

from .._system.secret import Secret

__all__ = ["QUEUE_ERRORS", "WorkQueue"]

# What is raised while the server is away.
QUEUE_ERRORS: Final = (RedisError, streaq.StreaqError, trio.BrokenResourceError, OSError)
# A worker that is silent for as long has left its tasks to others.
_IDLE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
# Longer than a read waits for a task.
_ANSWER_SECONDS = 2 * _IDLE_SECONDS


class _StreaqWorker(streaq.Worker[None]):
    """Worker that leaves signals to its process."""

    def __init__(self, url: Secret, concurrency: int) -> None:
        super().__init__(
            redis_url=url.reveal(),
            redis_kwargs={
                "connect_timeout": _CONNECT_SECONDS,
                "stream_timeout": _ANSWER_SECONDS,
                "socket_keepalive": True,
            },
            anyio_backend="trio",
            queue_name="imagen",
            concurrency=concurrency,
            prefetch=1,
            idle_timeout=_IDLE_SECONDS,
            serializer=partial(msgspec.json.encode, enc_hook=str),
            deserializer=msgspec.json.decode,
        )
        self.is_ending: Final = trio.Event()

    async def signal_handler(self, scope: anyio.CancelScope) -> None:
        """Tell the tasks, which streaq shields, when it is cancelled or has
        lost its server.
        """
        try:
            await trio.sleep_forever()
        finally:
            self.is_ending.set()


class WorkQueue:
    """The queue, for as long as its server is there."""

    def __init__(self, url: Secret, concurrency: int, begin: Callable[[str], trio.Event]) -> None:
        """`begin` begins a session, and returns the event of its end."""
        self._begin = begin
        self._worker = _StreaqWorker(url, concurrency)
        # A task without a result may be put in again under its id.
        register = self._worker.task(name="session", max_tries=None, ttl=0, silent=True)
        self._task = register(self._work)

    async def run(  # noqa: ASYNC128
        self, *, task_status: trio.TaskStatus[None]
    ) -> None:
        """Work on what the queue delivers.

        Raises:
            QUEUE_ERRORS: the server is away; alone or in groups.
        """
        await self._worker.run_async(task_status=task_status)

    async def put(self, session_ids: Sequence[str]) -> None:
        """Put sessions in; those that are there stay as they are.

        Raises:
            QUEUE_ERRORS: the server is away; alone or in groups.
        """
        tasks = [self._task.enqueue(session_id) for session_id in session_ids]
        for task, session_id in zip(tasks, session_ids, strict=True):
            task.id = session_id
        await self._worker.enqueue_many(tasks)

    async def _work(self, session_id: str) -> None:
        """Hold a place of the worker until the session is over. The session
        does not end with the queue.
        """
        over = self._begin(session_id)
        async with trio.open_nursery() as nursery:
            for event in (over, self._worker.is_ending):
                nursery.start_soon(_cancel_after, event, nursery.cancel_scope)


async def _cancel_after(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
