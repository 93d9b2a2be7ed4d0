"""Settings and edges of one client, shared by everything it is made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
import trio

from .._policy.settings import Settings
from .._requests.catalog import Catalog
from .._results.events import Event
from .._storage.database import Database
from .._storage.ledger import Ledger
from .._storage.owners import Owners
from .._storage.set_aside import SetAside
from .._system.threads import Workers
from .._transport.connections import ProviderConnections
from .._transport.job_waiters import JobWaiters
from ..library._library import Library

__all__ = ["Emit", "Runtime"]

Emit = Callable[[Event], None]


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """Settings and edges of one client.

    Args:
        owner: Id of the client, by which the ledger knows its attempts.
        owners: All open clients of the database.
        library: None if the client keeps no images on the disk.
        nursery: Runs everything that outlives the call that started it.
        emit: Notifies the subscriber of the client.
        now: Unix time; tests under virtual time pass another clock.
    """

    settings: Settings
    catalog: Catalog
    database: Database
    ledger: Ledger
    set_aside: SetAside
    owner: str
    owners: Owners
    library: Library | None
    workers: Workers
    connections: ProviderConnections
    job_waiters: JobWaiters
    nursery: trio.Nursery
    emit: Emit
    now: Callable[[], float]

    async def is_open(self, owner: str) -> bool:
        """Return True if the client of that id is open, in any process; no
        client has the id "".
        """
        return owner != "" and await self.workers.run(partial(self.owners.is_alive, owner))
