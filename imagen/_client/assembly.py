"""Puts a client together, and takes it apart again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import trio

from .._engine.runtime import Runtime
from .._policy.confirmation import Confirm, Confirmation
from .._policy.settings import ProviderAccess, Settings, load_settings
from .._results.events import EventHandler
from .._storage.database import DATABASE_NAME, Database
from .._storage.engines import open_database
from .._storage.ledger import Ledger
from .._storage.owners import Owners
from .._storage.set_aside import SetAside
from .._system.ids import new_id
from .._system.memory import keep_freed_memory
from .._system.nursery import open_bare_nursery
from .._system.process_locks import OWNERS
from .._system.threads import ThreadWorkers, Workers
from .._transport.connections import ProviderConnections, open_http
from .._transport.job_waiters import JobWaiters
from ..library._imaging.renditions import remove_renditions
from ..library._library import Library
from ..library._uploads import open_image_store
from ..providers._steps import Transport
from .client import Client
from .event_relay import EventHandlers, EventRelay, handlers_of
from .services import RENDITIONS_FOLDER, Services
from .trio_only import under_trio

if TYPE_CHECKING:
    import httpx2

__all__ = ["open_client"]

_CLOSE_SECONDS = 5.0


@under_trio
@asynccontextmanager
async def open_client(
    settings: Settings | None = None,
    *,
    library: str | Path | Literal["home"] | None = "home",
    on_event: EventHandlers = None,
    confirm: Confirm | None = None,
    http: httpx2.AsyncClient | None = None,
    transport: Callable[[ProviderAccess], Transport] | None = None,
    workers: Workers | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Client]:
    """Opens a client for as long as the block lasts.

    Args:
        settings: By default those of the environment and imagen.toml, by
            `load_settings`.
        library: The folder for images; "home" is the one in IMAGEN_HOME, None
            keeps the bytes in memory only. The ledger is always there.
        on_event: Notified of every event of the client; several are notified
            in their order.
        confirm: Is asked, with a quote and the number of images, where
            `confirm_above_usd` of the settings is passed.
        http: An `httpx2.AsyncClient` of the caller's, with proxies and
            certificates to taste; it stays the caller's to close.
        transport: Makes the way to each provider, in place of HTTP:
            `imagen.testing.ScriptedTransport` for tests.
        workers: Runs blocking work; `imagen.testing.InlineWorkers` for tests
            under virtual time.
        clock: Unix time for the ledger; tests under virtual time pass another
            one.

    Raises:
        RuntimeError: it is called outside a Trio run.
        ConfigurationError: a setting is wrong.
        StorageError: the home folder cannot be used.

    Attempts that earlier processes left in flight are settled: jobs that the
    provider still has are collected in the background, the rest is `unknown` in
    the ledger. Leaving the block, also by an exception or a cancellation,
    cancels the sessions and waits at most `salvage_seconds` for what has been
    sent.
    """
    keep_freed_memory()
    settings = load_settings() if settings is None else settings
    workers = ThreadWorkers() if workers is None else workers
    events = EventRelay(*handlers_of(on_event))
    connections = ProviderConnections(
        settings, transport or partial(open_http, settings, http, workers=workers), workers
    )
    catalog = settings.load_catalog()
    database = await open_database(
        settings.home / DATABASE_NAME, settings.database_url, workers, settings.database_schema
    )
    owners, owner = database.owners(settings.home / OWNERS), new_id()
    try:
        await workers.run(partial(owners.hold, owner))
        async with _kept(owners, workers), open_bare_nursery() as nursery:
            runtime = Runtime(
                settings=settings,
                catalog=catalog,
                database=database,
                ledger=Ledger(database),
                set_aside=SetAside(settings.home / "set-aside", workers),
                owner=owner,
                owners=owners,
                library=await _open_library(settings, library, database, workers, clock, events),
                workers=workers,
                connections=connections,
                job_waiters=JobWaiters(),
                nursery=nursery,
                emit=events,
                now=clock,
            )
            services = Services(runtime, events, _confirmation(settings, confirm))
            await services.start()
            try:
                await services.recovery.resolve_dead()
                yield Client(services)
            finally:
                services.close()
    except BaseException as error:
        events.name_in(error)
        raise
    finally:
        # Each for itself: a connection that hangs must not keep the lock.
        with trio.move_on_after(3 * _CLOSE_SECONDS, shield=True):
            async with AsyncExitStack() as closing:
                closing.push_async_callback(_close, partial(workers.run, owners.release))
                closing.push_async_callback(_close, database.aclose)
                closing.push_async_callback(_close, connections.aclose)
    events.raise_error()


@asynccontextmanager
async def _kept(owners: Owners, workers: Workers) -> AsyncIterator[None]:
    """Keep the lock of this client, which may be lost, to the end of its work."""
    if owners.keep_seconds is None:
        yield
        return
    async with open_bare_nursery() as nursery:
        nursery.start_soon(_keep, owners, workers, owners.keep_seconds)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()


async def _keep(owners: Owners, workers: Workers, seconds: float) -> None:
    while True:
        await trio.sleep(seconds)
        await workers.run(owners.keep)


async def _close(call: Callable[[], Awaitable[None]]) -> None:
    with trio.move_on_after(_CLOSE_SECONDS):
        await call()


def _folder_of(library: str | Path, home: Path) -> Path:
    return home / "images" if library == "home" else Path(library).absolute()


async def _open_library(
    settings: Settings,
    library: str | Path | None,
    database: Database,
    workers: Workers,
    now: Callable[[], float],
    emit: EventHandler,
) -> Library | None:
    if library is None:
        return None
    folder = _folder_of(library, settings.home)
    forget = partial(remove_renditions, settings.home / RENDITIONS_FOLDER)
    store = None
    if settings.images is not None:
        store = await open_image_store(settings.images, folder, database, workers, now)
    return Library(folder, database, workers, now=now, on_removed=forget, emit=emit, store=store)


def _confirmation(settings: Settings, confirm: Confirm | None) -> Confirmation | None:
    above = settings.confirm_above_usd
    return None if above is None else Confirmation(above, confirm)
