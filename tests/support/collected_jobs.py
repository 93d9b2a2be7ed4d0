"""Jobs that one process submits and another collects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio

import imagen
from imagen._requests.request import operation_of
from imagen._transport.driver import ExchangeObserver
from imagen.metadata._image_header import read_image_header
from imagen.providers import PROVIDERS, Call, JobAccepted
from imagen.testing.simulator import Simulator
from tests.support import exchanges as stepping
from tests.support.drivers import open_driver
from tests.support.every_model import request_for

# ComfyUI is told the id of a job, so it is known before the job is; an editor
# asks for the mask first.
ORDERED_AT = {"comfyui": 2, "midjourney edit": 2, "midjourney_gateway edit": 2}


class Killed(Exception):
    """What becomes of a process whose job was taken."""


class Memory(ExchangeObserver):
    """Keeps what a ledger keeps, and dies when the provider has told of the job
    so many times.
    """

    def __init__(self, *, dies_at: int | None = None) -> None:
        self.accepted_jobs: list[JobAccepted] = []
        self._dies_at = dies_at

    async def accepted(self, job: JobAccepted) -> None:
        await trio.lowlevel.checkpoint()
        self.accepted_jobs.append(job)
        if len(self.accepted_jobs) == self._dies_at:
            raise Killed


def call_for(model: imagen.Model, operation: str) -> Call:
    """A plain call, as the engine would make it."""
    request = request_for(model, operation)
    if model.capabilities.seed:
        request = msgspec.structs.replace(request, seed=7)
    images = {
        name: tuple(map(encoded_image, getattr(request, name, ())))
        for name in ("images", "references")
    }
    if (image := getattr(request, "image", None)) is not None:
        images["images"] = (encoded_image(image),)
    if (reference := getattr(request, "reference", None)) is not None:
        images["references"] = (encoded_image(reference),)
    mask = getattr(request, "mask", None)
    return stepping.call(
        model,
        request=request,
        mask=None if mask is None else encoded_image(mask),
        settings=(
            {"poll_seconds": 0.01} if "poll_seconds" in PROVIDERS[model.provider].settings else {}
        ),
        **images,
    )


def encoded_image(data: object) -> imagen.providers.EncodedImage:
    assert isinstance(data, bytes)
    found = read_image_header(data)
    return imagen.providers.EncodedImage(
        data=data, media_type=found.media_type, width=found.width, height=found.height
    )


@asynccontextmanager
async def open_process(simulator: Simulator, name: str) -> AsyncIterator[imagen.providers.Provider]:
    """What one process has: a driver of its own."""
    provider = PROVIDERS[name]
    async with open_driver(
        simulator.base_url(name), provider=provider, key=simulator.key
    ) as driver:
        yield driver


async def order_and_die(simulator: Simulator, call: Call) -> JobAccepted:
    """What is known of a job of a process that was killed as soon as the job
    was taken.
    """
    provider = PROVIDERS[call.model.provider]
    operation = operation_of(call.request)
    dies_at = ORDERED_AT.get(f"{provider.name} {operation}") or ORDERED_AT.get(provider.name, 1)
    memory = Memory(dies_at=dies_at)
    async with open_process(simulator, provider.name) as driver:
        with pytest.raises(Killed):
            await driver.run(provider.operations[operation](call), memory)
    return memory.accepted_jobs[-1]
