"""Puts a client together, and takes it apart again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import trio

from .._engine.admission import Admission
from .._engine.attempt import new_id
from .._engine.batch_jobs import BatchJobs
from .._engine.cache import ResultCache
from .._engine.engine import Engine
from .._engine.inputs import InputReader
from .._engine.keeping import Keeper
from .._engine.planning import Planner
from .._engine.recovery import Recovery
from .._engine.router import Router
from .._engine.settling import Settler
from .._policy.confirmation import Confirm, Confirmation
from .._policy.model_gate import ModelGates
from .._policy.settings import ProviderAccess, Settings, load_settings
from .._requests.catalog import Catalog
from .._results.events import EventHandler
from .._storage.database import Database
from .._storage.ledger import Ledger
from .._storage.spending import SpendingBy
from .._storage.webhooks import BatchCompleted, Webhooks
from .._system.nursery import open_bare_nursery
from .._system.process_locks import ProcessLock
from .._system.threads import ThreadWorkers, Workers
from .._transport.connections import ProviderConnections, open_http
from .._transport.job_waiters import JobWaiters
from ..library._imaging.renditions import Renditions, remove_renditions
from ..library._library import Library
from ..prompts._prompt_library import PromptLibrary
from ..providers._steps import Transport
from .client import Client, Parts
from .event_relay import EventRelay
from .library_services import LibraryServices, open_library_services
from .session_store import SessionStore
from .sessions import Sessions

if TYPE_CHECKING:
    import httpx2

__all__ = ["open_client"]

_CLOSE_SECONDS = 5.0
_RENDITIONS = "renditions"


@asynccontextmanager
async def open_client(
    settings: Settings | None = None,
    *,
    library: str | Path | Literal["home"] | None = "home",
    on_event: EventHandler | None = None,
    confirm: Confirm | None = None,
    http: httpx2.AsyncClient | None = None,
    transport: Callable[[ProviderAccess], Transport] | None = None,
    workers: Workers | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Client]:
    """Opens a client for as long as the block lasts.

    Args:
        settings: By default what the environment and imagen.toml say, by
            `load_settings`.
        library: The folder for images; "home" is the one in IMAGEN_HOME, None
            keeps the bytes in memory only. The ledger is always there.
        on_event: Is told of everything that this client sends and gets.
        confirm: Is asked, with a quote and the number of images, where
            `confirm_above_usd` of the settings is passed.
        http: An `httpx2.AsyncClient` of the caller's, with proxies and
            certificates to taste; it stays the caller's to close.
        transport: Makes the way to each provider, in place of HTTP:
            `imagen.testing.ScriptedTransport` for tests.
        workers: Runs blocking work; `imagen.testing.InlineWorkers` for tests
            under virtual time.
        clock: Gives the Unix time, for the ledger; another one for tests under
            virtual time.

    Raises:
        ConfigurationError: a setting is wrong.
        StorageError: the home folder cannot be used.

    What earlier processes left in flight is resolved: jobs that the provider
    still knows are collected in the background, the rest is `unknown` in the
    ledger. Leaving the block, also by an exception or a cancellation, cancels
    the sessions and waits for the salvage of what has been sent: at most
    `salvage_seconds`.
    """
    settings = load_settings() if settings is None else settings
    workers = ThreadWorkers() if workers is None else workers
    events = EventRelay(on_event)
    connections = ProviderConnections(
        settings, transport or partial(open_http, settings, http), workers
    )
    catalog = settings.load_catalog()
    database = await Database.open(settings.home / "imagen.sqlite3", workers)
    owner: ProcessLock | None = None
    try:
        owner = await workers.run(partial(ProcessLock, settings.home / "owners", new_id()))
        async with open_bare_nursery() as nursery:
            parts = _assemble(
                _Ground(
                    settings=settings,
                    catalog=catalog,
                    database=database,
                    owner=owner.id,
                    library=_open_library(settings, library, database, workers, clock),
                    workers=workers,
                    connections=connections,
                    events=events,
                    confirmation=_confirmation(settings, confirm),
                    now=clock,
                ),
                nursery,
            )
            if parts.library_services is not None:
                await parts.library_services.start(nursery)
            if parts.webhooks is not None:
                nursery.start_soon(parts.webhooks.run, name="imagen webhooks")
            try:
                await parts.recovery.resolve_dead()
                yield Client(parts)
            finally:
                parts.sessions.cancel_all()
                parts.engine.close()
                parts.economy.close()
                if parts.library_services is not None:
                    parts.library_services.close()
                if parts.webhooks is not None:
                    parts.webhooks.close()
    finally:
        # Each for itself: a connection that hangs must not keep the lock.
        with trio.move_on_after(3 * _CLOSE_SECONDS, shield=True):
            async with AsyncExitStack() as closing:
                if owner is not None:
                    closing.push_async_callback(_close, partial(workers.run, owner.release))
                closing.push_async_callback(_close, database.aclose)
                closing.push_async_callback(_close, connections.aclose)
    events.raise_error()


async def _close(call: Callable[[], Awaitable[None]]) -> None:
    with trio.move_on_after(_CLOSE_SECONDS):
        await call()


class _Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a client stands on."""

    settings: Settings
    catalog: Catalog
    database: Database
    owner: str
    library: Library | None
    workers: Workers
    connections: ProviderConnections
    events: EventRelay
    confirmation: Confirmation | None
    now: Callable[[], float]


def _assemble(on: _Ground, nursery: trio.Nursery) -> Parts:
    """Puts the parts together, from the ledger up."""
    settings, now = on.settings, on.now
    ledger = Ledger(on.database)
    planner = Planner(
        settings=settings,
        catalog=on.catalog,
        check_access=on.connections.driver,
        sources=InputReader(
            library=on.library,
            workers=on.workers,
            fetch=on.connections.fetch,
            bounds=settings.bounds,
        ),
        now=now,
    )
    keeper = Keeper(
        ledger=ledger,
        files=None if on.library is None else on.library.files,
        workers=on.workers,
        max_pixels=settings.bounds.max_pixels,
        now=now,
    )
    settler = Settler(
        ledger=ledger, keeper=keeper, hide_secrets=on.connections.hide_secrets, now=now
    )
    job_waiters = JobWaiters()
    admission = Admission(
        ledger=ledger,
        owner=on.owner,
        budgets=settings.budgets,
        provider_limits={
            name: access.rate_limit for name, access in settings.access.items() if access.rate_limit
        },
        check_room=trio.lowlevel.checkpoint if on.library is None else on.library.files.check_room,
        resolve_dead=lambda: recovery.resolve_dead(),
        now=now,
    )
    engine = Engine(
        planner=planner,
        admission=admission,
        driver_of=on.connections.driver,
        ledger=ledger,
        settler=settler,
        routes=ModelGates(settings.routes),
        job_waiters=job_waiters,
        nursery=nursery,
        retry=settings.retry,
        salvage_seconds=settings.salvage_seconds,
        now=now,
    )
    economy = BatchJobs(
        planner=planner,
        admit=engine.admit,
        driver_of=on.connections.driver,
        settler=settler,
        ledger=ledger,
        nursery=nursery,
        now=now,
        salvage_seconds=settings.salvage_seconds,
    )
    recovery = Recovery(
        ledger=ledger,
        library=on.library,
        keeper=keeper,
        planner=planner,
        collector=engine,
        together=economy,
        job_waiters=job_waiters,
        owner=on.owner,
        owners=settings.home / "owners",
        workers=on.workers,
        emit=on.events,
        now=now,
    )
    webhooks = _open_webhooks(on)
    renditions = Renditions(settings.home / _RENDITIONS, on.workers)
    cache = None if on.library is None else ResultCache(on.database, on.library, engine, now)
    sessions = Sessions(
        nursery,
        ttl_seconds=settings.session_ttl_seconds,
        max_concurrent=settings.max_concurrent_sessions,
        store=_open_store(on, ledger),
        recovery=recovery,
        announce=partial(_announce, webhooks),
        now=now,
    )
    return Parts(
        settings=settings,
        catalog=on.catalog,
        planner=planner,
        engine=engine,
        economy=economy,
        router=Router(
            planner=planner, engine=engine, ledger=ledger, policy=settings.routes, cache=cache
        ),
        recovery=recovery,
        ledger=ledger,
        spending=SpendingBy(on.database),
        sessions=sessions,
        job_waiters=job_waiters,
        confirmation=on.confirmation,
        events=on.events,
        connections=on.connections,
        webhooks=webhooks,
        renditions=renditions,
        library_services=_open_rooms(on, renditions),
        now=now,
        prompts=PromptLibrary(on.database, on.workers, now),
        workers=on.workers,
    )


def _open_library(
    settings: Settings,
    library: str | Path | None,
    database: Database,
    workers: Workers,
    now: Callable[[], float],
) -> Library | None:
    if library is None:
        return None
    folder = settings.home / "images" if library == "home" else Path(library).absolute()
    forget = partial(remove_renditions, settings.home / _RENDITIONS)
    return Library(folder, database, workers, now=now, on_removed=forget)


def _open_rooms(on: _Ground, renditions: Renditions) -> LibraryServices | None:
    if on.library is None:
        return None
    return open_library_services(
        on.library,
        renditions,
        settings=on.settings,
        database=on.database,
        workers=on.workers,
        now=on.now,
    )


def _open_webhooks(on: _Ground) -> Webhooks | None:
    url, secret = on.settings.webhook_url, on.settings.webhook_secret
    if url is None or secret is None:
        return None
    return Webhooks(
        on.database, on.connections.post_webhook, secret=secret, url=url.reveal(), now=on.now
    )


def _open_store(on: _Ground, ledger: Ledger) -> SessionStore | None:
    if on.library is None:
        return None
    return SessionStore(
        on.database,
        ledger=ledger,
        library=on.library,
        owners=on.settings.home / "owners",
        owner=on.owner,
        workers=on.workers,
        now=on.now,
    )


async def _announce(webhooks: Webhooks | None, completed: BatchCompleted) -> None:
    if webhooks is not None:
        await webhooks.enqueue(completed)


def _confirmation(settings: Settings, confirm: Confirm | None) -> Confirmation | None:
    above = settings.confirm_above_usd
    return None if above is None else Confirmation(above, confirm)
