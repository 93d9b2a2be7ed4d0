"""Clients of the simulated fal.ai, and images for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.providers import HttpResponse, fal
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.fal.server import Fal
from tests.support.drivers import RETRY
from tests.support.exchanges import IMAGE, Walk, call, reply
from tests.support.offers import last_of_each, offered_values, one_at_a_time


@asynccontextmanager
async def open_fal(
    home: Path,
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    service: Fal | None = None,
    settings: dict[str, Any] | None = None,
    on_event: imagen.EventHandler | None = None,
    salvage_seconds: float = 30.0,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every 5 ms whether its job has ended; `models` are
    tables as in imagen.toml.
    """
    providers = () if service is None else (service,)
    async with open_simulator(*providers, **simulated) as simulator:
        loaded = imagen.load_settings(
            {
                "FAL_BASE_URL": simulator.base_url("fal"),
                "FAL_KEY": simulator.key,
                "IMAGEN_HOME": str(home),
            }
        )
        access = loaded.access["fal"]
        changed = msgspec.structs.replace(
            access, settings={**access.settings, "poll_seconds": 0.005, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded,
            retry=RETRY,
            models={**loaded.models, **(models or {})},
            access={**loaded.access, "fal": changed},
            salvage_seconds=salvage_seconds,
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator


def offers(model: imagen.Model) -> Iterator[dict[str, Any]]:
    """Yield each value that the catalog offers, one at a time, and all together."""
    values = offered_values(model, free_sizes=("1024x768", "1280x704"))
    yield from one_at_a_time(values)
    unshaped = {"aspect_ratio", "resolution"} if values["size"] else {"size"}
    yield last_of_each(values, without=unshaped)


def requests(
    model: imagen.Model, images: tuple[bytes, ...], mask: bytes
) -> Iterator[imagen.Request]:
    """Every operation with every offer, and with as many images as the model
    takes.
    """
    can = model.capabilities
    prompt = "a cat" if can.prompt_required else ""
    for fields in offers(model):
        more: dict[str, Any] = {"prompt": prompt, "model": model.id, **fields}
        if "generate" in can.operations:
            yield imagen.Generate(**more)
        if "edit" in can.operations:
            yield imagen.Edit(images=images[:1], mask=mask if can.mask else None, **more)
        if "vary" in can.operations:
            yield imagen.Vary(image=images[0], **more)
        if "enhance" in can.operations:
            yield imagen.Enhance(image=images[0], **more)
        if "restyle" in can.operations:
            yield imagen.Restyle(image=images[0], reference=images[1], **more)
    more = {"model": model.id, "prompt": prompt}
    if "generate" in can.operations and can.inputs.max_references:
        yield imagen.Generate(references=images[:1] * can.inputs.max_references, **more)
    if "edit" in can.operations and can.inputs.max_images > 1:
        yield imagen.Edit(images=images[:1] * can.inputs.max_images, **more)
    yield from (imagen.Enhance(image=images[0], scale=scale, **more) for scale in can.scales)
    if can.strength:
        yield from (
            imagen.Vary(image=images[0], strength=strength, **more) for strength in (0.1, 1.0)
        )


FAILED = reply({"status": "COMPLETED", "error": "It went wrong.", "error_type": "some_error"})


def walk(*responses: HttpResponse, **more: Any) -> Walk:
    return Walk(fal.run(call("fal/flux-schnell", **more)), *responses)


def model_error(kind: str, field: str = "prompt") -> dict[str, Any]:
    return {
        "detail": [
            {"loc": ["body", field], "msg": "Not so.", "type": kind, "url": "https://x", "ctx": {}}
        ]
    }


def platform_error(kind: str, text: str = "Not so.") -> dict[str, Any]:
    return {"detail": text, "error_type": kind}


APP = "https://queue.fal.run/fal-ai/flux"


SUBMITTED = reply(
    {
        "status": "IN_QUEUE",
        "request_id": "r1",
        "response_url": f"{APP}/requests/r1",
        "status_url": f"{APP}/requests/r1/status",
        "cancel_url": f"{APP}/requests/r1/cancel",
        "queue_position": 0,
        "logs": None,
        "metrics": {},
    }
)


COMPLETED = reply(
    {"status": "COMPLETED", "request_id": "r1", "logs": [], "metrics": {"inference_time": 1.2}}
)


LINK = "https://v3b.fal.media/files/a.png"


RESULT = reply(
    {
        "images": [{"url": LINK, "width": 8, "height": 8, "content_type": "image/png"}],
        "timings": {"inference": 1.2},
        "seed": 42,
        "has_nsfw_concepts": [False],
        "prompt": "a cat",
    },
    x_fal_billable_units="1.0",
)


FILE = reply(IMAGE)


GOOD = (SUBMITTED, COMPLETED, RESULT, FILE)


def mine(wire: dict[str, Any], **capabilities: Any) -> imagen.Model:
    """A model of a table of the user."""
    table = {
        "provider": "fal",
        "wire_name": "acme/app/sub",
        "wire": wire,
        "capabilities": capabilities,
    }
    return imagen.providers.load_catalog({"fal/mine": table}).find("fal/mine")


SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(SUBMITTED.body),
    {"status": "IN_PROGRESS", "logs": [{"message": "12%"}]},
    json.loads(FAILED.body),
    json.loads(RESULT.body),
    model_error("content_policy_violation"),
    platform_error("runner_server_error"),
)
