"""Clients of the simulated Ideogram."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import imagen
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.ideogram.server import Ideogram
from tests.support.drivers import RETRY
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    call,
    input_image,
    mask_image,
    reply,
)


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
