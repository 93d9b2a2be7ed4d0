"""Periodic cleanup of the library while a client is open."""

from __future__ import annotations

from contextlib import suppress

import trio

from .._errors import StorageError
from .._policy.cleanup import CleanupRules
from ._imaging.renditions import Renditions
from ._library import Library

__all__ = ["Housekeeping"]

# Skipped by short programs; `imagen clean` does the same on demand.
_FIRST_SECONDS = 60.0
_EVERY_SECONDS = 3600.0


class Housekeeping:
    """Cleanup every hour, until closed."""

    def __init__(self, library: Library, renditions: Renditions, rules: CleanupRules) -> None:
        self._library = library
        self._renditions = renditions
        self._rules = rules
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Clean up periodically. Failures are retried at the next run."""
        with self._scope:
            await trio.sleep(_FIRST_SECONDS)
            while True:
                with suppress(StorageError):
                    await self._library.clean(self._rules)
                    await self._renditions.trim(self._rules.max_rendition_bytes)
                    await self._library.trim_copies()
                await trio.sleep(_EVERY_SECONDS)

    def close(self) -> None:
        """Stop cleaning up. A deletion in progress is completed or rolled back."""
        self._scope.cancel("the client closes")
