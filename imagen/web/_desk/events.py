"""The event stream: everything that changes, in order, to be read again from
any place in it.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import AsyncGenerator

import msgspec
import trio

from ..._system.signal import Signal

__all__ = ["EventLog"]

_MOST_KEPT = 4000
# A place has its whole prompt.
_MOST_BYTES = 16 << 20
_KEEPALIVE_SECONDS = 15.0


class _Entry(msgspec.Struct, frozen=True):
    number: int
    text: bytes


class EventLog:
    """Events of one run of the server. Readers that are too slow start anew,
    so nothing is kept for each.
    """

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        self._entries: deque[_Entry] = deque()
        self._size = 0
        self._number = 0
        self._changed = Signal()
        self._is_closed = False
        self._readers = 0

    @property
    def is_read(self) -> bool:
        """Whether a page looks at the moment."""
        return self._readers > 0

    @property
    def last_id(self) -> str:
        """Id of the latest event."""
        return f"{self.run}-{self._number}"

    def add(self, kind: str, data: object) -> None:
        """Append an event for all readers."""
        self._number += 1
        entry = _Entry(self._number, self._write(kind, data, self._number))
        self._entries.append(entry)
        self._size += len(entry.text)
        while len(self._entries) > _MOST_KEPT or self._size > _MOST_BYTES:
            self._size -= len(self._entries.popleft().text)
        self._changed.send()

    def close(self) -> None:
        """Say that the server ends, and end the streams."""
        if not self._is_closed:
            self.add("ending", {})
            self._is_closed = True
            self._changed.send()

    async def read(self, after: str | None) -> AsyncGenerator[bytes]:
        """Yield the events after an id, and those that come, until the log is
        closed.
        """
        self._readers += 1
        # Before the first part is sent, which may take a while.
        number = self._number if after is None else self._place_of(after)
        try:
            yield b"retry: 1000\n\n" + self._write("hello", {"run": self.run}, None)
            while not (self._is_closed and number == self._number):
                if number is None or self._is_lost(number):
                    number = self._number
                    yield self._write("reset", {}, number)
                elif fresh := [entry for entry in self._entries if entry.number > number]:
                    number = fresh[-1].number
                    yield b"".join(entry.text for entry in fresh)
                elif not await self._wait():
                    yield b": still here\n\n"
        finally:
            self._readers -= 1

    async def _wait(self) -> bool:
        """Wait for an event; return False if none comes for a while."""
        with trio.move_on_after(_KEEPALIVE_SECONDS) as scope:
            await self._changed.wait()
        return not scope.cancelled_caught

    def _place_of(self, event_id: str) -> int | None:
        run, _, number = event_id.rpartition("-")
        if run != self.run or not (number.isascii() and number.isdecimal() and len(number) < 19):
            return None
        return int(number) if int(number) <= self._number else None

    def _is_lost(self, number: int) -> bool:
        return number < self._number - len(self._entries)

    def _write(self, kind: str, data: object, number: int | None) -> bytes:
        head = b"" if number is None else f"id: {self.run}-{number}\n".encode()
        return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), msgspec.json.encode(data))
