"""The application: the page and its API, to be served or mounted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial

import trio
from starlette.routing import Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from .._client.client import Client
from .._system.nursery import open_bare_nursery
from ._calls.calls import Calls, reply_json, routes_of
from ._calls.curating import CALLS as CURATING
from ._calls.gallery import CALLS as GALLERY
from ._calls.making import CALLS as MAKING
from ._calls.models import CALLS as MODELS
from ._calls.money import CALLS as MONEY
from ._calls.openapi import describe_calls
from ._calls.sharing import CALLS as SHARING
from ._calls.state import CALLS as STATE
from ._calls.words import CALLS as WORDS
from ._desk.batch_files import BatchFiles
from ._desk.batches import Batches
from ._desk.changes import Changes
from ._desk.desk import Desk
from ._desk.events import EventLog
from ._desk.uploads import Uploads
from ._desk.watching import watch_library
from ._desk.zips import Zips
from ._home import claim_page, web_folder
from ._pages import Pages
from ._security import Door
from ._wire.errors import Problem

__all__ = ["ALL_CALLS", "open_app", "open_page"]

ALL_CALLS: tuple[Calls, ...] = (STATE, MODELS, MAKING, GALLERY, CURATING, WORDS, MONEY, SHARING)
API_PATH = "/api/1"
# It deletes one file.
_RELEASE_SECONDS = 5.0


@asynccontextmanager
async def open_app(
    client: Client,
    *,
    secret: str | None = None,
    hosts: Iterable[str] | None = None,
    confirm_above_usd: Decimal | None = None,
) -> AsyncIterator[ASGIApp]:
    """Open the page and its API as an ASGI 3 application, for as long as the
    block lasts.

    It runs in the client's Trio run, e.g. under hypercorn's Trio worker, at the
    root of a server or mounted below any path. Batches run in it, whatever the
    browsers do. Leaving the block ends the event streams and leaves the
    batches: what was not sent is dropped, and the client salvages the rest.

    Args:
        client: With a library.
        secret: First part of every path. Without one, the service that mounts
            the page must ask for a login.
        hosts: Names and ports, such as "127.0.0.1:8000", by which the server
            may be addressed; None leaves that to the service.
        confirm_above_usd: Cost above which the user must agree; by default that
            of the client's settings. Open the client with
            `confirm_above_usd=None` in its settings, as it would refuse what
            the user agrees to here.

    Raises:
        ConfigurationError: the client was opened with `library=None`, or another
            server has the page of this home.
    """
    above = client.settings.confirm_above_usd if confirm_above_usd is None else confirm_above_usd
    async with open_page(client, secret, hosts, above) as (app, _):
        yield app


@asynccontextmanager
async def open_page(
    client: Client, secret: str | None, hosts: Iterable[str] | None, above_usd: Decimal | None
) -> AsyncIterator[tuple[ASGIApp, EventLog]]:
    """Open the application, with the log to be closed before the server is."""
    library, events = client.library, EventLog()
    folder = web_folder(client.settings.home) / "batches"
    files = BatchFiles(folder, client._services.runtime.workers)
    async with _claimed(client), open_bare_nursery() as nursery:
        batches = Batches(client, library, events, nursery, files)
        await batches.load()
        zips = Zips(client, web_folder(client.settings.home) / "zips", nursery)
        await zips.clear()
        uploads = Uploads(client, web_folder(client.settings.home) / "uploads", batches.inputs)
        desk = Desk(
            client=client,
            events=events,
            batches=batches,
            changes=Changes(library, events),
            zips=zips,
            uploads=uploads,
            confirm_above_usd=above_usd,
        )
        nursery.start_soon(watch_library, library, events, name="imagen web library")
        nursery.start_soon(uploads.run, name="imagen web uploads")
        try:
            yield Door(_router(desk, await desk.work(Pages)), secret=secret, hosts=hosts), events
        finally:
            events.close()
            nursery.cancel_scope.cancel("the page is closed")


@asynccontextmanager
async def _claimed(client: Client) -> AsyncIterator[None]:
    work = client._services.runtime.workers.run
    lock = await work(partial(claim_page, client.settings.home))
    try:
        yield
    finally:
        with trio.move_on_after(_RELEASE_SECONDS, shield=True):
            await work(lock.release)


def _router(desk: Desk, pages: Pages) -> ASGIApp:
    calls = [call for subject in ALL_CALLS for call in subject.all]
    described = reply_json(describe_calls(calls))
    routes = [Route("/openapi.json", described), *routes_of(calls, desk)]
    api = Router(routes, redirect_slashes=False, default=_nothing)
    return Router(
        [
            Mount(API_PATH, app=api),
            Route("/", pages.index),
            Route("/{name}", pages.file),
        ],
        redirect_slashes=False,
        default=_nothing,
    )


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    problem = Problem(code="NOT_FOUND", sentence="There is no such call: see docs/web-api.md.")
    await reply_json(problem, 404)(scope, receive, send)
