"""Clients of the simulated Black Forest Labs, and images for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.providers import HttpResponse, bfl
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.bfl.server import BlackForestLabs
from tests.support.drivers import RETRY
from tests.support.exchanges import (
    IMAGE,
    Walk,
    call,
    reply,
)
from tests.support.offers import last_of_each, offered_values, one_at_a_time


@asynccontextmanager
async def open_bfl(
    home: Path,
    *,
    settings: dict[str, Any] | None = None,
    service: BlackForestLabs | None = None,
    on_event: imagen.EventHandler | None = None,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every 5 ms whether its job has ended."""
    providers = () if service is None else (service,)
    async with open_simulator(*providers, **simulated) as simulator:
        loaded = imagen.load_settings(
            {
                "BFL_BASE_URL": simulator.base_url("bfl"),
                "BFL_API_KEY": simulator.key,
                "IMAGEN_HOME": str(home),
            }
        )
        access = loaded.access["bfl"]
        changed = msgspec.structs.replace(
            access, settings={**access.settings, "poll_seconds": 0.005, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded, retry=RETRY, access={**loaded.access, "bfl": changed}
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator


POLL = "https://api.eu1.bfl.ai/v1/get_result?id=a1"


SUBMITTED = reply({"id": "a1", "polling_url": POLL, "cost": 3.0, "input_mp": 0.0, "output_mp": 1.0})


READY = reply(
    {
        "id": "a1",
        "status": "Ready",
        "result": {"sample": "https://delivery-eu1.bfl.ai/a.png", "seed": 42},
    }
)


FILE = reply(IMAGE)


def offers(model: imagen.Model) -> Iterator[dict[str, Any]]:
    """Yield each value that the catalog offers, one at a time, and all together."""
    can = model.capabilities
    values = offered_values(model, free_sizes=("1024x768", "512x512"))
    yield from one_at_a_time(values)
    unshaped = {"aspect_ratio", "resolution"} if values["size"] else {"size"}
    yield last_of_each(values, without=unshaped)
    if can.prompt_required:
        yield {"prompt": "x" * can.max_prompt_characters}


PENDING = reply(
    {
        "id": "a1",
        "status": "Pending",
        "result": None,
        "progress": 0.5,
        "details": None,
        "preview": None,
    }
)


def walk(*responses: HttpResponse, **more: Any) -> Walk:
    return Walk(bfl.generate(call("flux-2-klein-4b", **more)), *responses)


def polled(*responses: HttpResponse, **more: Any) -> Walk:
    return walk(SUBMITTED, *responses, **more)


DETAIL = {
    "detail": [
        {"loc": ["body", "width"], "msg": "Input should be a multiple of 32", "type": "value_error"}
    ]
}


SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(SUBMITTED.body),
    json.loads(PENDING.body),
    json.loads(READY.body),
    {
        "id": "a1",
        "status": "Content Moderated",
        "details": {"Moderation Reasons": ["x"]},
        "cost": 3,
    },
    {"id": "a1", "status": "Error", "details": {"error": "x"}},
    DETAIL,
)


NEEDED = {"flux-pro-1.0-expand": {"options": {"top": 8}}, "bfl/outpainting": {"size": "512x512"}}


def requests(
    model: imagen.Model, images: tuple[bytes, ...], mask: bytes
) -> Iterator[imagen.Request]:
    """Every operation with every offer, and with as many images as the model
    takes.
    """
    can = model.capabilities
    for fields in offers(model):
        more: dict[str, Any] = {
            "prompt": "a cat" if can.prompt_required else "",
            "model": model.id,
            **fields,
        }
        if can.required_options:
            more["options"] = dict.fromkeys(can.required_options, "mine")
        for name, value in NEEDED.get(model.id, {}).items():
            more.setdefault(name, value)
        if "generate" in can.operations:
            yield imagen.Generate(**more)
        if "edit" in can.operations:
            least = 2 if model.id == "bfl/try-on" else 1
            yield imagen.Edit(images=images[:least], mask=mask if can.mask else None, **more)
        if "vary" in can.operations:
            yield imagen.Vary(image=images[0], **more)
    more = {
        "model": model.id,
        **NEEDED.get(model.id, {}),
        "prompt": "a cat" if can.prompt_required else "",
    }
    if "generate" in can.operations and can.inputs.max_references:
        yield imagen.Generate(references=images[:1] * can.inputs.max_references, **more)
    if "edit" in can.operations and can.inputs.max_images > 1:
        yield imagen.Edit(images=images[:1] * can.inputs.max_images, **more)
