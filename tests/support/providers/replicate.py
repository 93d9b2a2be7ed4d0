"""Clients of the simulated Replicate, and images for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.providers import HttpResponse, replicate
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.replicate.server import Replicate
from tests.support.drivers import RETRY
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, reply


@asynccontextmanager
async def open_replicate(
    home: Path,
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
    service: Replicate | None = None,
    settings: dict[str, Any] | None = None,
    on_event: imagen.EventHandler | None = None,
    salvage_seconds: float = 30.0,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every 5 ms whether its prediction has ended; `models`
    are tables as in imagen.toml.
    """
    providers = () if service is None else (service,)
    async with open_simulator(*providers, **simulated) as simulator:
        loaded = imagen.load_settings(
            {
                "REPLICATE_BASE_URL": simulator.base_url("replicate"),
                "REPLICATE_API_TOKEN": simulator.key,
                "IMAGEN_HOME": str(home),
            }
        )
        access = loaded.access["replicate"]
        changed = msgspec.structs.replace(
            access, settings={**access.settings, "poll_seconds": 0.005, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded,
            retry=RETRY,
            models={**loaded.models, **(models or {})},
            access={**loaded.access, "replicate": changed},
            salvage_seconds=salvage_seconds,
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator


LINK = "https://replicate.delivery/x/out-0.webp"


RECORD: dict[str, Any] = {
    "id": "p1",
    "model": "black-forest-labs/flux-schnell",
    "version": "hidden",
    "input": {"prompt": "a cat"},
    "output": None,
    "error": None,
    "status": "starting",
    "logs": "",
    "data_removed": False,
    "urls": {
        "get": "https://api.replicate.com/v1/predictions/p1",
        "cancel": "https://api.replicate.com/v1/predictions/p1/cancel",
    },
}


METRICS = {"predict_time": 1.5, "total_time": 1.6}


CREATED = reply(RECORD, 201)


SUCCEEDED = reply({**RECORD, "status": "succeeded", "output": [LINK], "metrics": METRICS})


FILE = reply(IMAGE)


SCHNELL = CATALOG.find("replicate/flux-schnell")


def walk(*responses: HttpResponse, model: imagen.Model = SCHNELL, **more: Any) -> Walk:
    return Walk(replicate.run(call(model, **more)), *responses)


THROTTLED = {
    "title": "Too many requests",
    "detail": "Request was throttled. Your rate limit resets in ~30s.",
}


INVALID = {
    "title": "Input validation failed",
    "detail": "- input.seed: Invalid type",
    "invalid_fields": [
        {"type": "invalid_type", "field": "input.seed", "description": "Expected: integer"}
    ],
}


SAMPLES: tuple[dict[str, Any], ...] = (
    RECORD,
    json.loads(SUCCEEDED.body),
    {**RECORD, "status": "processing", "logs": "  42%|###"},
    {**RECORD, "status": "failed", "error": "NSFW content detected"},
    INVALID,
    THROTTLED,
)
