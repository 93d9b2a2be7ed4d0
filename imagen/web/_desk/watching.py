"""Changes of the library that other processes make: the page hears of them too."""

from __future__ import annotations

from contextlib import suppress

import trio

from ..._errors import StorageError
from ...library._library import Library
from .events import EventLog

__all__ = ["watch_library"]

_SECONDS = 2.0


async def watch_library(library: Library, events: EventLog) -> None:
    """Say how many images there are when that changes, while a page looks."""
    said = None
    while True:
        if events.is_read:
            # Where the database cannot be read, this look is missed.
            with suppress(StorageError):
                size = await library.size()
                if said is not None and size != said:
                    counts = {"images": size.images, "trashed": size.trashed_images}
                    events.add("library", counts)
                said = size
        await trio.sleep(_SECONDS)
