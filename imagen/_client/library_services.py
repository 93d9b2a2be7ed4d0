"""Services that need a library: sharing, publishing, similarity, housekeeping."""

from __future__ import annotations

import msgspec
import trio

from .._engine.runtime import Runtime
from ..library._housekeeping import Housekeeping
from ..library._imaging.renditions import Renditions
from ..library._imaging.similar import Similar
from ..library._library import Library
from ..sharing._archive.archives import Archives
from ..sharing._links.shares import Shares
from ..sharing._publishing.publisher import Publisher

__all__ = ["LibraryServices", "open_library_services"]


class LibraryServices(msgspec.Struct, frozen=True, kw_only=True):
    """The library and its services; `publisher` is None if no store is set."""

    library: Library
    similar: Similar
    archives: Archives
    shares: Shares
    publisher: Publisher | None
    housekeeping: Housekeeping

    async def start(self, nursery: trio.Nursery) -> None:
        """Start the background tasks in the caller's nursery."""
        if self.publisher is not None:
            await nursery.start(self.publisher.run, name="imagen publisher")
        nursery.start_soon(self.housekeeping.run, name="imagen housekeeping")
        if self.library.uploads is not None:
            nursery.start_soon(self.library.uploads.run, name="imagen uploads")

    def close(self) -> None:
        """Stop the background tasks; what is half done is finished or undone."""
        if self.publisher is not None:
            self.publisher.close()
        self.housekeeping.close()
        if self.library.uploads is not None:
            self.library.uploads.close()


def open_library_services(
    runtime: Runtime, library: Library, renditions: Renditions
) -> LibraryServices:
    """Build the services of a library."""
    settings, workers, now = runtime.settings, runtime.workers, runtime.now
    database, read = runtime.database, library.files.find_input
    on = (database, library, renditions, workers)
    publisher = None
    if settings.store is not None:
        publisher = Publisher(
            database, workers, settings.store, read=read, now=now, emit=runtime.emit
        )
    return LibraryServices(
        library=library,
        similar=Similar(database, workers, read=read),
        archives=Archives(*on, max_pixels=settings.bounds.max_pixels, now=now),
        shares=Shares(*on, secret=settings.share_secret, url=settings.share_url, now=now),
        publisher=publisher,
        housekeeping=Housekeeping(library, renditions, settings.cleanup),
    )
