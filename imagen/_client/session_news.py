"""Wakes those that wait for a session of another process, or for work.

The database tells of a change as soon as it is committed, if its engine can.
Looking at it now and then is the net: for SQLite, and while a connection is
lost.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final

import trio

from .._engine.runtime import Runtime
from .._errors import StorageError
from .._storage.news import Ear
from .._system.signal import Signal

__all__ = ["WORK", "SessionNews"]

# Told in place of an id: there may be work for a worker.
WORK: Final = ""
_LOOK_SECONDS = 0.5
_LISTENING_LOOK_SECONDS = 5.0
_AGAIN_SECONDS = 1.0


class SessionNews:
    """News of the sessions of other processes; it listens once it is asked for
    the first time.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._database = runtime.database
        self._workers = runtime.workers
        self._nursery = runtime.nursery
        self._signals: defaultdict[str, Signal] = defaultdict(Signal)
        self._scope = trio.CancelScope()
        self._has_begun = self._listens = False

    def next(self, session_id: str) -> trio.Event:
        """Return the event of the next news of a session, or of `WORK`. Taken
        before one looks, it misses nothing.
        """
        if not self._has_begun:
            self._has_begun = True
            self._nursery.start_soon(self._listen, name="imagen session news")
        return self._signals[session_id].next()

    async def wait(self, event: trio.Event) -> None:
        """Wait for an event, or until it is time to look anyway."""
        with trio.move_on_after(_LISTENING_LOOK_SECONDS if self._listens else _LOOK_SECONDS):
            await event.wait()

    def tell(self, session_id: str) -> None:
        """Wake those that wait for news of a session, or for `WORK`."""
        if session_id in self._signals:
            self._signals[session_id].send()

    def forget(self, session_id: str) -> None:
        """Drop what is kept for a session that is not followed any more."""
        self._signals.pop(session_id, None)

    def close(self) -> None:
        """The client closes."""
        self._has_begun = True
        self._scope.cancel("the client closes")

    async def _listen(self) -> None:
        with self._scope:
            while self._database.tells_news:
                try:
                    await self._hear()
                except StorageError:
                    # Looking now and then goes on.
                    await trio.sleep(_AGAIN_SECONDS)

    async def _hear(self) -> None:
        ear = await self._workers.run(self._database.ear)
        try:
            self._listens = True
            # What was told while there was no connection is lost.
            for session_id in list(self._signals):
                self.tell(session_id)
            await self._hear_on(ear)
        finally:
            self._listens = False
            ear.close()

    async def _hear_on(self, ear: Ear) -> None:
        while True:
            await trio.lowlevel.wait_readable(ear.fileno())
            for session_id in ear.hear():
                self.tell(session_id)
