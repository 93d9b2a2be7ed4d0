"""What a client has because it has a library: all that finds images, looks
after them and hands them on.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import trio

from .._policy.settings import Settings
from .._storage.database import Database
from .._system.threads import Workers
from ..library._housekeeping import Housekeeping
from ..library._imaging.renditions import Renditions
from ..library._imaging.similar import Similar
from ..library._library import Library
from ..sharing._archive.archives import Archives
from ..sharing._links.shares import Shares
from ..sharing._publishing.publisher import Publisher

__all__ = ["LibraryServices", "open_library_services"]


class LibraryServices(msgspec.Struct, frozen=True, kw_only=True):
    """The library, and what stands on it; the publisher only where a store is
    set.
    """

    library: Library
    similar: Similar
    archives: Archives
    shares: Shares
    publisher: Publisher | None
    housekeeping: Housekeeping

    async def start(self, nursery: trio.Nursery) -> None:
        """Begins what goes on in the background, in a nursery of the caller's."""
        if self.publisher is not None:
            await nursery.start(self.publisher.run, name="imagen publisher")
        nursery.start_soon(self.housekeeping.run, name="imagen housekeeping")

    def close(self) -> None:
        """Ends it: nothing new is begun, and what is half done is finished or
        left as it was.
        """
        if self.publisher is not None:
            self.publisher.close()
        self.housekeeping.close()


def open_library_services(
    library: Library,
    renditions: Renditions,
    *,
    settings: Settings,
    database: Database,
    workers: Workers,
    now: Callable[[], float],
) -> LibraryServices:
    """Puts them together."""
    ground = (database, library, renditions, workers)
    return LibraryServices(
        library=library,
        similar=Similar(database, workers, read=library.files.find_input),
        archives=Archives(*ground, max_pixels=settings.bounds.max_pixels, now=now),
        shares=Shares(*ground, secret=settings.share_secret, url=settings.share_url, now=now),
        publisher=(
            None
            if settings.store is None
            else Publisher(
                database, workers, settings.store, read=library.files.find_input, now=now
            )
        ),
        housekeeping=Housekeeping(library, renditions, settings.cleanup),
    )
