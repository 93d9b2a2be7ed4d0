"""The simulated fal.ai takes every value that the catalog offers for its
models, and gives what was asked for.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

import imagen
from imagen._results.prices import quote_request
from imagen.testing.simulator._providers.fal.models import MODELS as SERVED
from tests.support.exchanges import CATALOG
from tests.support.providers.fal import GREEN, RED, left_mask, open_fal, png, requests

MODELS = [model for model in CATALOG if model.provider == "fal" and model.lifecycle.live]
OPERATIONS = ("generate", "edit", "vary", "enhance", "restyle")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    images, mask = (png(RED, (64, 64)), png(GREEN, (64, 64))), left_mask((64, 64))
    async with open_fal(tmp_path) as (client, simulator):
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
    can = model.capabilities
    more: dict[str, Any] = {"model": model.id, "prompt": "a cat"}
    match can.operations[0]:
        case "vary":
            request: imagen.Request = imagen.Vary(image=png(), **more)
        case "edit":
            request = imagen.Edit(images=(png(),), mask=left_mask() if can.mask else None, **more)
        case _:
            request = imagen.Generate(**more)
    async with open_fal(tmp_path) as (client, simulator):
        async with client.open_batch(request, n=can.max_images_per_request, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [
            imagen.Image
        ] * can.max_images_per_request
        assert len(simulator.bills) == 1


def test_no_price_of_the_catalog_is_for_less_than_what_is_billed():
    """Held against the list of the simulator, which was written from the price
    pages by itself.
    """
    for model in MODELS:
        if model.price is None:
            continue
        endpoints = model.wire.get("endpoints", {})
        for operation in model.capabilities.operations:
            served = SERVED[endpoints.get(operation, model.wire_name)]
            fields: dict[str, Any] = {"prompt": "x"}
            if model.capabilities.free_size and operation in ("generate", "edit"):
                for size, megapixels in (("1024x1024", 1), ("1040x1040", 2), ("2048x2048", 4)):
                    quote = quote_request(model, imagen.Generate(size=size, **fields))
                    assert quote.expected_usd == served.usd(megapixels, 0)
            if operation == "edit":
                edit = imagen.Edit(images=("a",), **fields)
                assert quote_request(model, edit).low_usd == served.usd(1, 1)
            if operation in ("vary", "enhance"):
                quote = quote_request(model, imagen.Generate(**fields))
                assert quote.high_usd is not None
                # Enlarged to 16 megapixels, or four drawn anew.
                assert quote.high_usd >= served.usd(16 if operation == "enhance" else 4, 1)
            if operation == "generate" and model.capabilities.resolutions:
                quote = quote_request(model, imagen.Generate(resolution="1K", **fields))
                assert quote.expected_usd == served.usd(1, 0) > Decimal(0)
