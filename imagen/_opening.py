"""Puts a client together, and takes it apart again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import trio

from ._admittance import Admittance
from ._callbacks import Callbacks
from ._client import Client, Parts
from ._confirm import Confirm, Confirmation
from ._database import Database
from ._dispatch import Dispatcher
from ._economy import EconomyDesk
from ._engine import Engine
from ._event_relay import EventRelay
from ._events import EventHandler
from ._exchange import Transport
from ._keeping import Keeper
from ._ledger import Ledger
from ._library import Library
from ._nurseries import open_bare_nursery
from ._orders import Planner
from ._owners import Owner
from ._recovery import Recovery
from ._routes import Routes
from ._routing import choose_model
from ._session_store import SessionStore
from ._sessions import Sessions
from ._settings import ProviderAccess, Settings, load_settings
from ._settling import Settler
from ._sources import SourceReader
from ._spending import SpendingBy
from ._tickets import new_id
from ._ways import ProviderWays, open_http
from ._webhooks import BatchCompleted, Webhooks
from ._workers import ThreadWorkers, Workers

if TYPE_CHECKING:
    import httpx2

__all__ = ["open_client"]

_CLOSE_SECONDS = 5.0


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
        settings: By default what the environment and imagen.toml say, by `load_settings`.
        library: The folder for pictures; "home" is the one in IMAGEN_HOME, None keeps the bytes in memory only. The ledger
            is always there.
        on_event: Is told of everything that this client sends and gets.
        confirm: Is asked, with a quote and the number of pictures, where `confirm_above_usd` of the settings is passed.
        http: An `httpx2.AsyncClient` of the caller's, with proxies and certificates to taste; it stays the caller's to close.
        transport: Makes the way to each provider, in place of HTTP: `imagen.testing.ScriptedTransport` for tests.
        workers: Runs blocking work; `imagen.testing.InlineWorkers` for tests under virtual time.
        clock: Gives the Unix time, for the ledger; another one for tests under virtual time.

    Raises:
        ConfigurationError: a setting is wrong.
        StorageError: the home folder cannot be used.

    What earlier processes left in flight is resolved: jobs that the provider still knows are collected in the background,
    the rest is `unknown` in the ledger. Leaving the block, also by an exception or a cancellation, cancels the sessions and
    waits for the salvage of what has been sent: at most `salvage_seconds`.
    """
    settings = load_settings() if settings is None else settings
    catalog = settings.load_catalog()
    workers = ThreadWorkers() if workers is None else workers
    events = EventRelay(on_event)
    ways = ProviderWays(settings, transport or partial(open_http, settings, http), workers)
    database = await Database.open(settings.home / "imagen.sqlite3", workers)
    owners = settings.home / "owners"
    owner: Owner | None = None
    try:
        owner = await workers.run(partial(Owner, owners, new_id()))
        ledger = Ledger(database)
        shelf = _open_library(settings, library, database, workers)
        planner = Planner(
            catalog=catalog,
            providers={name: access.provider for name, access in settings.access.items()},
            check_access=ways.driver,
            choose_model=partial(choose_model, settings, catalog),
            sources=SourceReader(library=shelf, workers=workers, fetch=ways.fetch, bounds=settings.bounds),
        )
        keeper = Keeper(ledger=ledger, library=shelf, workers=workers, max_pixels=settings.bounds.max_pixels, now=clock)
        settler = Settler(ledger=ledger, keeper=keeper, hide_secrets=ways.hide_secrets, now=clock)
        callbacks = Callbacks()
        webhooks = _open_webhooks(settings, database, ways, clock)
        async with open_bare_nursery() as nursery:
            admittance = Admittance(
                ledger=ledger,
                owner=owner.id,
                budgets=settings.budgets,
                provider_limits={
                    name: access.rate_limit for name, access in settings.access.items() if access.rate_limit is not None
                },
                check_room=_room_check(shelf),
                resolve_dead=lambda: recovery.resolve_dead(),
                now=clock,
            )
            engine = Engine(
                planner=planner,
                admittance=admittance,
                driver_of=ways.driver,
                settings_of=lambda provider: settings.access[provider].settings,
                callback_of=partial(_callback, settings),
                ledger=ledger,
                settler=settler,
                routes=Routes(settings.routes),
                callbacks=callbacks,
                nursery=nursery,
                retry=settings.retry,
                salvage_seconds=settings.salvage_seconds,
                now=clock,
            )
            economy = EconomyDesk(
                planner=planner,
                admit=engine.admit,
                driver_of=ways.driver,
                settings_of=lambda provider: settings.access[provider].settings,
                settler=settler,
                ledger=ledger,
                nursery=nursery,
                now=clock,
                salvage_seconds=settings.salvage_seconds,
            )
            recovery = Recovery(
                ledger=ledger,
                library=shelf,
                keeper=keeper,
                planner=planner,
                collector=engine,
                together=economy,
                callbacks=callbacks,
                owner=owner.id,
                owners=owners,
                workers=workers,
                emit=events,
                now=clock,
            )
            sessions = Sessions(
                nursery,
                ttl_seconds=settings.session_ttl_seconds,
                max_concurrent=settings.max_concurrent_sessions,
                store=None if shelf is None else SessionStore(database, ledger, shelf, owners, owner.id, workers),
                recovery=recovery,
                announce=partial(_announce, webhooks),
                now=clock,
            )
            parts = Parts(
                settings=settings,
                catalog=catalog,
                planner=planner,
                engine=engine,
                economy=economy,
                dispatcher=Dispatcher(planner=planner, engine=engine, ledger=ledger, policy=settings.routes),
                recovery=recovery,
                ledger=ledger,
                spending=SpendingBy(database),
                library=shelf,
                sessions=sessions,
                callbacks=callbacks,
                confirmation=_confirmation(settings, confirm),
                events=events,
                ways=ways,
                webhooks=webhooks,
                now=clock,
            )
            if webhooks is not None:
                nursery.start_soon(webhooks.run, name="imagen webhooks")
            try:
                await recovery.resolve_dead()
                yield Client(parts)
            finally:
                sessions.cancel_all()
                engine.close()
                economy.close()
                if webhooks is not None:
                    webhooks.close()
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await ways.aclose()
            await database.aclose()
            if owner is not None:
                await workers.run(owner.release)
    events.raise_error()


def _open_library(
    settings: Settings, library: str | Path | None, database: Database, workers: Workers
) -> Library | None:
    if library is None:
        return None
    folder = settings.home / "images" if library == "home" else Path(library).absolute()
    return Library(folder, database, workers)


def _open_webhooks(
    settings: Settings, database: Database, ways: ProviderWays, now: Callable[[], float]
) -> Webhooks | None:
    url, secret = settings.webhook_url, settings.webhook_secret
    if url is None or secret is None:
        return None
    return Webhooks(database, ways.post_webhook, secret=secret, url=url.reveal(), now=now)


async def _announce(webhooks: Webhooks | None, completed: BatchCompleted) -> None:
    if webhooks is not None:
        await webhooks.enqueue(completed)


def _confirmation(settings: Settings, confirm: Confirm | None) -> Confirmation | None:
    above = settings.confirm_above_usd
    return None if above is None else Confirmation(above, confirm)


def _room_check(library: Library | None) -> Callable[[], Awaitable[None]]:
    return trio.lowlevel.checkpoint if library is None else library.check_room


def _callback(settings: Settings, provider: str) -> tuple[str | None, str | None]:
    if settings.callback_url is None or settings.access[provider].provider.read_callback is None:
        return None, None
    secret = settings.callback_secret
    return f"{settings.callback_url}/{provider}", None if secret is None else secret.reveal()
