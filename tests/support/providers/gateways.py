"""Every value that the catalog offers for a model, and a client to ask for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import imagen
from imagen.testing.simulator import Simulator, open_simulator
from imagen.testing.simulator._core.images import MEDIA_TYPES
from tests.support.exchanges import CATALOG, input_image
from tests.support.offers import offered_values, one_at_a_time
from tests.support.simulated_client import open_simulated

CAT = input_image(512, 512).data


@asynccontextmanager
async def opened(home: Path, **simulated: Any) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client whose every provider is the simulator's."""
    async with (
        open_simulator(latency=0.02, **simulated) as simulator,
        open_simulated(home, simulator) as client,
    ):
        yield client, simulator


def models_of(*providers: str) -> list[str]:
    return [
        model.id
        for model in CATALOG
        if model.provider in providers and model.lifecycle.retired_on is None
    ]


async def takes_everything_offered(
    home: Path, name: str, *, free_sizes: tuple[str, str] = ("1024x768", "512x512")
) -> None:
    """Ask for each value of each field; what comes is what was asked for."""
    model = CATALOG.find(name)
    async with opened(home) as (client, simulator):
        for fields in one_at_a_time(offered_values(model, free_sizes=free_sizes)):
            await _takes(client, model, fields)
        if "edit" in model.capabilities.operations and not model.capabilities.mask_required:
            most = model.capabilities.inputs.max_images
            for count in {1, most}:
                await client.edit("a hat", *(CAT,) * count, model=name, assume_usd=Decimal(1))
        spending = await client.spending()
        assert spending.settled_usd == simulator.billed_usd
        assert not simulator.leaks


async def _takes(client: imagen.Client, model: imagen.Model, fields: dict[str, Any]) -> None:
    if "generate" not in model.capabilities.operations:
        return
    image = await client.generate("a cat", model=model.id, assume_usd=Decimal(1), **fields)
    assert not image.adjustments
    if fields.get("size", "auto") != "auto":
        assert f"{image.width}x{image.height}" == fields["size"]
    if "output_format" in fields:
        assert image.media_type == MEDIA_TYPES[fields["output_format"]]
    # To some of them 0 is any seed.
    if fields.get("seed"):
        assert image.seed == fields["seed"]
    if fields.get("aspect_ratio", "auto") != "auto":
        wide, _, high = fields["aspect_ratio"].partition(":")
        assert abs(image.width / image.height / (float(wide) / float(high)) - 1) < 0.05
