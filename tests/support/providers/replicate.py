"""Clients of the simulated Replicate, and images for them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image as PillowImage

import imagen
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.replicate.server import Replicate
from tests.support.drivers import RETRY
from tests.support.exchanges import IMAGE, reply

RED, GREEN = (200, 20, 20), (20, 160, 20)


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


def png(color: tuple[int, int, int] = RED, size: tuple[int, int] = (256, 256)) -> bytes:
    """An image in one colour."""
    file = io.BytesIO()
    PillowImage.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def left_mask(size: tuple[int, int] = (256, 256)) -> bytes:
    """A mask whose left half is white."""
    file = io.BytesIO()
    mask = PillowImage.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    mask.save(file, "PNG")
    return file.getvalue()


def opened(image: imagen.Image) -> PillowImage.Image:
    """The image, decoded."""
    decoded = PillowImage.open(io.BytesIO(image.data))
    decoded.load()
    return decoded


def near(one: object, other: tuple[int, int, int]) -> bool:
    """Whether two colours look the same, after a JPEG say."""
    assert isinstance(one, tuple)
    return all(abs(a - b) <= 8 for a, b in zip(one[:3], other, strict=True))


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
