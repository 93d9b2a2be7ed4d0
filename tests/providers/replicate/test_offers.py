"""The simulated Replicate takes every value that the catalog offers for its
models, and gives what was asked for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

import imagen
from imagen._results.prices import quote_request
from imagen.testing.simulator._providers.replicate.models import BY_THE_SECOND
from imagen.testing.simulator._providers.replicate.models import MODELS as SERVED
from tests.support.exchanges import CATALOG
from tests.support.providers.fal import requests
from tests.support.providers.replicate import GREEN, RED, left_mask, open_replicate, png

MODELS = [model for model in CATALOG if model.provider == "replicate" and model.lifecycle.live]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    images, mask = (png(RED, (64, 64)), png(GREEN, (64, 64))), left_mask((64, 64))
    async with open_replicate(tmp_path) as (client, simulator):
        lacks = model.wire.get("lacks", {})
        async with client.open_batch(list(requests(model, images, mask)), max_at_once=4) as batch:
            async for outcome in batch:
                asked = msgspec.structs.asdict(outcome.request)
                assert isinstance(outcome, imagen.Image), (outcome, asked)
                operation = type(outcome.request).__name__.lower()
                assert all(made.field in lacks.get(operation, ()) for made in outcome.adjustments)
                if asked["output_format"]:
                    assert outcome.media_type == f"image/{asked['output_format']}"
                if asked["size"] and not outcome.adjustments:
                    assert f"{outcome.width}x{outcome.height}" == asked["size"]
                if asked.get("scale"):
                    assert outcome.width == round(64 * asked["scale"])
        if model.price is not None:
            assert (await client.spending()).settled_usd > 0
        assert not simulator.leaks


@pytest.mark.parametrize(
    "model",
    [model for model in MODELS if model.capabilities.max_images_per_request > 1],
    ids=lambda model: model.id,
)
async def test_as_many_images_as_the_catalog_says_come_from_one_request(tmp_path, model):
    most = model.capabilities.max_images_per_request
    async with open_replicate(tmp_path) as (client, simulator):
        async with client.open_batch("a cat", model=model.id, n=most, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * most
        assert len(simulator.bills) == 1


def test_what_the_catalog_says_of_a_price_is_what_is_billed():
    """Held against the list of the simulator, which was written from the price
    pages by itself.
    """
    priced = [model for model in MODELS if model.price is not None]
    assert {model.id for model in priced} >= {
        "replicate/flux-schnell",
        "replicate/flux-kontext-max",
    }
    for model in priced:
        # What is billed by the second has no price that holds for everybody.
        assert model.wire_name not in BY_THE_SECOND
        fields: dict[str, Any] = {"resolution": "1K"} if model.capabilities.resolutions else {}
        quote = quote_request(model, imagen.Generate(prompt="x", **fields), 2)
        assert quote.expected_usd == 2 * SERVED[model.wire_name].usd(1, 0) > Decimal(0)
