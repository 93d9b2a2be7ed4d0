"""Clients of the simulated Ideogram."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.providers import (
    HttpResponse,
    ideogram,
)
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.ideogram.server import Ideogram
from tests.support.drivers import RETRY
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    Walk,
    call,
    input_image,
    mask_image,
    reply,
)
from tests.support.lengths import length
from tests.support.providers.bfl import offers


@asynccontextmanager
async def open_ideogram(
    home: Path,
    *,
    service: Ideogram | None = None,
    on_event: imagen.EventHandler | None = None,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every 5 ms whether its generation has ended."""
    providers = () if service is None else (service,)
    async with open_simulator(*providers, **simulated) as simulator:
        loaded = imagen.load_settings(
            {
                "IDEOGRAM_BASE_URL": simulator.base_url("ideogram"),
                "IDEOGRAM_API_KEY": simulator.key,
                "IMAGEN_HOME": str(home),
            }
        )
        access = msgspec.structs.replace(
            loaded.access["ideogram"], settings={"poll_seconds": 0.005}
        )
        loaded = msgspec.structs.replace(
            loaded, retry=RETRY, access={**loaded.access, "ideogram": access}
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator


async def books_are_balanced(client: imagen.Client, simulator: Simulator) -> None:
    """The ledger says what the provider billed, and the key went nowhere else."""
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd > 0
    assert spending.unknown_usd == spending.reserved_usd == 0
    assert not simulator.leaks


MODELS = [model.id for model in CATALOG if model.provider == "ideogram"]


TAKEN = reply({"generation_id": "g1", "seed": 7})


LINK = "https://ideogram.ai/api/images/ephemeral/a.png?exp=1&sig=x"


ITEM = {
    "object_type": "image.generation",
    "url": LINK,
    "resolution": "1024x1024",
    "seed": 7,
    "is_image_safe": True,
}


COMPLETED = reply(
    {
        "generation_id": "g1",
        "status": "completed",
        "created": "2026-11-22T10:00:00Z",
        "response_type": "url",
        "usage_cost_usd_micros": 60000,
        "data": [ITEM],
    }
)


FILE = reply(IMAGE)


ONE, TWO, THREE = (input_image(64, 64, color=color) for color in ("teal", "red", "blue"))


def edited(
    model: str, *images: imagen.providers.EncodedImage, masked: bool = False, **fields: Any
) -> imagen.providers.Call:
    request = imagen.Edit(images=("x",) * len(images), mask="m" if masked else None, **fields)
    return call(model, request=request, images=images, mask=mask_image() if masked else None)


PENDING = reply({"generation_id": "g1", "status": "pending", "created": "2026-11-22T10:00:00Z"})


UNSAFE = {**ITEM, "url": None, "is_image_safe": False}


def walk(*responses: HttpResponse, count: int = 1, **more: Any) -> Walk:
    return Walk(ideogram.generate(call("ideogram-4", count=count, **more)), *responses)


def polled(*responses: HttpResponse, **more: Any) -> Walk:
    return walk(TAKEN, *responses, **more)


INFLIGHT = {
    "error": "Busy.",
    "reject_reason": "inflight_limit",
    "max_inflight_requests": 10,
    "task_completion_speed": "slow",
}


SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(TAKEN.body),
    json.loads(PENDING.body),
    json.loads(COMPLETED.body),
    {
        "generation_id": "g1",
        "status": "completed",
        "data": [UNSAFE, ITEM],
        "usage_cost_usd_micros": 1,
    },
    {"generation_id": "g1", "status": "failed", "failure_reason": "safety"},
    INFLIGHT,
)


NEEDED = {
    "ideogram/reframe": {"size": "1024x1024"},
    "ideogram/reframe-nano-banana-2": {"aspect_ratio": "1:1"},
}


FEW = length(4, short=2)


def few_offers(model: imagen.Model) -> Iterator[dict[str, Any]]:
    """Of a long list, some at its ends: the schema was held against all of
    them.
    """
    seen: dict[str, int] = {}
    found = list(offers(model))
    for fields in found:
        field = next(iter(fields), "")
        seen[field] = seen.get(field, 0) + 1
        if len(fields) != 1 or seen[field] <= FEW or field not in ("size", "style", "aspect_ratio"):
            yield fields


def requests(
    model: imagen.Model, images: tuple[bytes, ...], mask: bytes
) -> Iterator[imagen.Request]:
    """Every operation with every offer, and with as many images as the model
    takes.
    """
    can = model.capabilities
    for fields in few_offers(model):
        more: dict[str, Any] = {
            "prompt": "a cat" if can.prompt_required else "",
            "model": model.id,
            **fields,
        }
        if can.required_options:
            more["options"] = dict.fromkeys(can.required_options, "mine")
        if not {"size", "aspect_ratio"} & fields.keys():
            more |= NEEDED.get(model.id, {})
        references = images[:1] if model.id == "ideogram-3-character" else ()
        least = 2 if model.id == "ideogram/inpaint-character" else 1
        if "generate" in can.operations:
            yield imagen.Generate(references=references, **more)
        if "edit" in can.operations:
            yield imagen.Edit(
                images=images[:least], mask=mask if can.mask_required else None, **more
            )
        if "vary" in can.operations:
            yield imagen.Vary(image=images[0], **more)
        if "enhance" in can.operations:
            yield imagen.Enhance(image=images[0], **more)
    if "restyle" in can.operations:
        yield imagen.Restyle(model=model.id, image=images[0], reference=images[1])
    for scale in can.scales:
        yield imagen.Enhance(model=model.id, image=images[0], scale=scale, mode=can.modes[0])
    if "generate" in can.operations and can.inputs.max_references:
        references = images[:1] * can.inputs.max_references
        yield imagen.Generate(prompt="a cat", references=references, model=model.id)
    if "edit" in can.operations and can.inputs.max_images > 1 and not can.mask_required:
        yield imagen.Edit(prompt="a cat", images=images[:1] * can.inputs.max_images, model=model.id)
