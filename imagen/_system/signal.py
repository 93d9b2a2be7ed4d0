"""Signal that wakes all waiting tasks and can be sent again."""

from __future__ import annotations

import trio

__all__ = ["Signal"]


class Signal:
    """Notification of a change; a wait sees only what is sent after it began."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def send(self) -> None:
        """Wake every task that waits now."""
        event, self._event = self._event, trio.Event()
        event.set()

    def next(self) -> trio.Event:
        """Return the event that the next `send` sets."""
        return self._event

    async def wait(self) -> None:
        """Wait for the next `send`."""
        await self._event.wait()
