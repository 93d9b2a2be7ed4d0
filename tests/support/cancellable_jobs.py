"""Clients of a provider whose jobs can be cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import imagen
from imagen.providers import (
    Call,
    Cancellable,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    JobAccepted,
    Progress,
    Wait,
)
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from tests.support.images import PNG

MODEL = {"provider": "works", "price": {"usd_per_image": "0.05"}}


@asynccontextmanager
async def open_works(
    home: Path,
    work: Callable[[Call], Exchange],
    answer: Callable[[HttpRequest], ScriptedReply],
    **settings: object,
) -> AsyncIterator[tuple[imagen.Client, ScriptedTransport, list[imagen.Event]]]:
    """A client of one provider, whose generation is `work` and whose answers
    are `answer`'s.
    """
    provider = imagen.providers.Provider(
        name="works",
        operations={"generate": work},
        base_url="https://works.example",
        key_required=False,
        models={"works-1": MODEL},
    )
    loaded = imagen.load_settings(
        {"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": "works-1"}, providers=[provider]
    )
    transport = ScriptedTransport(answer)
    events: list[imagen.Event] = []
    async with imagen.open_client(
        msgspec.structs.replace(loaded, **settings),
        transport=lambda access: transport,
        workers=InlineWorkers(),
        on_event=events.append,
    ) as client:
        yield client, transport, events


def job(*, stops_bill: bool, waits: int = 1000) -> Callable[[Call], Exchange]:
    """A job that can be cancelled."""

    def work(call: Call) -> Exchange:
        yield HttpRequest(method="POST", url="jobs")
        yield JobAccepted(job_id="j1", poll_url="jobs/j1")
        yield Cancellable(
            request=HttpRequest(method="POST", url="jobs/j1/cancel"), stops_bill=stops_bill
        )
        for number in range(waits):
            yield Wait(seconds=1)
            yield Progress(fraction=number / waits, note="drawing")
        return GeneratedImages(images=(GeneratedImage(data=PNG),))

    return work


def answering(cancel_status: int = 200) -> Callable[[HttpRequest], ScriptedReply]:
    return lambda request: ScriptedReply(
        status=cancel_status if request.url.endswith("cancel") else 200
    )
