"""Scripted provider of jobs, and a client that dies at a given step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen._storage.database import Database
from imagen._storage.ledger import Ledger
from imagen.providers import (
    Call,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Wait,
)
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG
from tests.support.scripted_client import virtual_time

PRICE = Decimal("0.05")


def submit(call: Call) -> Exchange:
    response = yield HttpRequest(method="POST", url="jobs")
    assert isinstance(response, HttpResponse)
    job = JobAccepted(job_id="j1", poll_url="jobs/j1", reported_cost_usd=PRICE)
    yield job
    return (yield from collect(call, job))


def collect(call: Call, job: JobAccepted) -> Exchange:
    while True:
        response = yield HttpRequest(method="GET", url=job.poll_url, repeatable=True)
        assert isinstance(response, HttpResponse)
        if response.status == 404:
            raise imagen.ProviderError("The job is forgotten.", billed="unknown")
        if response.status == 200:
            images = tuple(GeneratedImage(data=response.body) for _ in range(call.count))
            return GeneratedImages(images=images, reported_cost_usd=job.reported_cost_usd)
        yield Wait(seconds=1, job_id=job.job_id)


def draw(call: Call) -> Exchange:
    response = yield HttpRequest(method="POST", url="draw")
    assert isinstance(response, HttpResponse)
    return GeneratedImages(images=(GeneratedImage(data=response.body),), reported_cost_usd=PRICE)


class Works:
    """A provider with jobs and one without, that note what is ordered, and a
    process that dies at a step of the journal.
    """

    def __init__(self, *, seconds: float = 5.0, forgets: bool = False) -> None:
        self.orders = 0
        self.forgets = forgets
        self.seconds = seconds
        self.model = "job-1"

    def answer(self, request: HttpRequest) -> ScriptedReply:
        if request.method == "POST":
            self.orders += 1
            self.ordered_at = trio.current_time()
            return ScriptedReply(
                chunks=(b"taken" if request.url == "jobs" else PNG,), after_seconds=1
            )
        if self.forgets:
            return ScriptedReply(status=404)
        ready = trio.current_time() >= self.ordered_at + self.seconds
        return ScriptedReply(status=200 if ready else 202, chunks=(PNG,) if ready else ())

    def settings(self, home: Path, *, key: bool = True) -> imagen.Settings:
        providers = [
            imagen.providers.Provider(
                name="jobs",
                operations={"generate": submit},
                collect=collect,
                base_url="https://jobs.example",
                key_variables=("JOBS_KEY",),
                models={self.model: {"provider": "jobs", "price": {"usd_per_image": "0.05"}}},
            ),
            imagen.providers.Provider(
                name="sync",
                operations={"generate": draw},
                base_url="https://sync.example",
                key_required=False,
                models={"sync-1": {"provider": "sync", "price": {"usd_per_image": "0.05"}}},
            ),
        ]
        environ = {"IMAGEN_HOME": str(home), **({"JOBS_KEY": "k"} if key else {})}
        return imagen.load_settings(environ, providers=providers)

    @asynccontextmanager
    async def open(
        self, home: Path, *, key: bool = True, **changes: object
    ) -> AsyncIterator[imagen.Client]:
        settings = msgspec.structs.replace(self.settings(home, key=key), **changes)
        async with imagen.open_client(
            settings,
            transport=lambda access: ScriptedTransport(self.answer),
            workers=InlineWorkers(),
            clock=virtual_time,
        ) as client:
            yield client


async def die_at(
    works: Works, home: Path, model: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opens a client whose process ends at the named step of the journal:
    nothing is written from there on.
    """
    dead = False
    write, transact = Database.write, Database.transact

    async def stop_writing(self: Database, statements: object) -> None:
        if dead:
            await trio.sleep_forever()
        await write(self, statements)

    async def stop_transacting(self: Database, work: object) -> object:
        if dead:
            await trio.sleep_forever()
        return await transact(self, work)

    name, _, when = step.partition(" ")
    method: Callable[..., Awaitable[object]] = getattr(Ledger, name)

    async def last_step(self: Ledger, *args: object, **kwargs: object) -> object:
        nonlocal dead
        result = await method(self, *args, **kwargs) if when == "after" else None
        dead = True
        scope.cancel()
        if when == "before":
            await trio.sleep_forever()
        return result

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", stop_writing)
        patched.setattr(Database, "transact", stop_transacting)
        patched.setattr(Ledger, name, last_step)
        # The writes of a shielded cleanup are bounded; in virtual time that
        # costs nothing.
        with trio.CancelScope() as scope:
            async with works.open(home, salvage_seconds=0.01) as client:
                async with client.open_batch("x", model=model) as batch:
                    async for _ in batch:
                        pass
