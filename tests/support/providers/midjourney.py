"""Clients of the simulated Midjourney servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.providers import HttpResponse
from imagen.providers.midjourney import _adapter as midjourney
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.midjourney import MidjourneyProxy
from tests.support.drivers import RETRY
from tests.support.exchanges import IMAGE, Walk, call, input_image, reply

KEY_VARIABLES = {
    "midjourney": "MIDJOURNEY_API_SECRET",
    "midjourney_gateway": "MIDJOURNEY_GATEWAY_API_KEY",
}


@asynccontextmanager
async def open_midjourney(
    home: Path,
    *,
    name: str = "midjourney",
    settings: dict[str, Any] | None = None,
    on_event: imagen.EventHandler | None = None,
    service: dict[str, Any] | None = None,
    **simulated: Any,
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every 5 ms whether its task has ended, of a server
    whose images are small.
    """
    own = {"name": name, "cell": 64, "bearer": name != "midjourney", **(service or {})}
    async with open_simulator(MidjourneyProxy(**own), **simulated) as simulator:
        loaded = imagen.load_settings(
            {
                f"{name.upper()}_BASE_URL": simulator.base_url(name),
                KEY_VARIABLES[name]: simulator.key,
                "IMAGEN_HOME": str(home),
            }
        )
        access = loaded.access[name]
        changed = msgspec.structs.replace(
            access, settings={**access.settings, "poll_seconds": 0.005, **(settings or {})}
        )
        loaded = msgspec.structs.replace(
            loaded, retry=RETRY, access={**loaded.access, name: changed}
        )
        async with imagen.open_client(loaded, on_event=on_event) as client:
            yield client, simulator


TASK = "1700000000000001"


TAKEN = reply({"code": 1, "description": "Submit success", "result": TASK, "properties": {}})


DONE = reply(
    {
        "id": TASK,
        "status": "SUCCESS",
        "progress": "100%",
        "prompt": "x",
        "imageUrl": "https://cdn.example/a.png",
    }
)


FILE = reply(IMAGE)


IMAGE_INPUT = input_image()


BUTTONS = [
    None,
    {"label": "U1"},
    {"customId": 5, "label": "V2"},
    {"customId": "MJ::JOB::variation::2::uuid", "label": "V2"},
    {"customId": "MJ::JOB::upsample::2::uuid", "label": "U2"},
]


# As a server of the older kind answers.
WORKING: dict[str, Any] = {
    "id": TASK,
    "action": "IMAGINE",
    "status": "IN_PROGRESS",
    "prompt": "cat --ar 1:1",
    "promptEn": "cat --ar 1:1",
    "description": "/imagine cat",
    "submitTime": 1700000000000,
    "startTime": 1700000001000,
    "finishTime": None,
    "progress": "45%",
    "imageUrl": "https://x.example/p.webp",
    "failReason": None,
    "state": "",
    "buttons": [],
    "properties": {"finalPrompt": "**cat --ar 1:1**"},
}


def walk(*responses: HttpResponse, **more: Any) -> Walk:
    return Walk(midjourney.generate(call("midjourney", **more)), *responses)


def polled(*responses: HttpResponse, **more: Any) -> Walk:
    return walk(TAKEN, *responses, **more)


SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(TAKEN.body),
    WORKING,
    json.loads(DONE.body),
    {"status": "SUCCESS", "imageUrls": [{"url": "https://a"}] * 4, "buttons": BUTTONS},
    {"status": "FAILURE", "failReason": "x"},
    {"status": "MODAL"},
    {"code": 24, "description": "no"},
)
