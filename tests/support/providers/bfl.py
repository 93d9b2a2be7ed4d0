"""Clients of the simulated Black Forest Labs, and images for them."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image as PillowImage

import imagen
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._providers.bfl.server import BlackForestLabs
from tests.support.drivers import RETRY
from tests.support.exchanges import (
    IMAGE,
    reply,
)

RED, GREEN, WHITE = (200, 20, 20), (20, 160, 20), (255, 255, 255)


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
    decoded = PillowImage.open(io.BytesIO(image.data)).convert("RGB")
    decoded.load()
    return decoded


def near(one: object, other: tuple[int, int, int]) -> bool:
    """Whether two colours look the same, after a JPEG say."""
    assert isinstance(one, tuple)
    return all(abs(a - b) <= 6 for a, b in zip(one, other, strict=True))


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
    """Each value that the catalog offers, one at a time, and all together."""
    can = model.capabilities
    free = ("1024x768", "512x512") if can.free_size else ()
    values: dict[str, tuple[Any, ...]] = {
        "size": (*can.sizes, *free),
        "aspect_ratio": can.aspect_ratios,
        "resolution": can.resolutions,
        "quality": can.qualities,
        "style": can.styles,
        "background": can.backgrounds,
        "output_format": can.output_formats,
        "safety": can.safety,
        "seed": (0, 2**31 - 1) if can.seed else (),
        "negative_prompt": ("dogs",) if can.negative_prompt else (),
        "guidance": () if can.guidance is None else (can.guidance.low, can.guidance.high),
        "steps": () if can.steps is None else (int(can.steps.low), int(can.steps.high)),
    }
    yield {}
    for field, offered in values.items():
        yield from ({field: value} for value in offered)
    shaped = "size" if values["size"] else "aspect_ratio"
    unshaped = {"size", "aspect_ratio", "resolution"} - {
        shaped,
        "resolution" if shaped == "aspect_ratio" else shaped,
    }
    yield {
        field: offered[-1] for field, offered in values.items() if offered and field not in unshaped
    }
    if can.prompt_required:
        yield {"prompt": "x" * can.max_prompt_characters}
