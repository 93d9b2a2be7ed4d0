"""What is done for the library while a client is open, and nobody waits for it."""

from __future__ import annotations

from contextlib import suppress

import trio

from .._errors import StorageError
from .._policy.cleanup import CleanupRules
from ._imaging.renditions import Renditions
from ._library import Library

__all__ = ["Housekeeping"]

# Short programs are left alone: `imagen clean` does the same.
_FIRST_SECONDS = 60.0
_EVERY_SECONDS = 3600.0


class Housekeeping:
    """Applies the rules of the cleanup, an hour after an hour, until it is
    closed.
    """

    def __init__(self, library: Library, renditions: Renditions, rules: CleanupRules) -> None:
        self._library = library
        self._renditions = renditions
        self._rules = rules
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Cleans up now and then. What cannot be done now is done the next
        time.
        """
        with self._scope:
            await trio.sleep(_FIRST_SECONDS)
            while True:
                with suppress(StorageError):
                    await self._library.clean(self._rules)
                    await self._renditions.trim(self._rules.max_rendition_bytes)
                await trio.sleep(_EVERY_SECONDS)

    def close(self) -> None:
        """Begins nothing more. An image is deleted whole, or not at all."""
        self._scope.cancel("the client closes")
