"""The simulated Black Forest Labs takes every value that the catalog offers for
its models, and gives what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

import imagen
from imagen._results.prices import quote_request
from imagen.testing.simulator._providers.bfl.models import ENDPOINTS
from tests.support.exchanges import CATALOG
from tests.support.providers.bfl import GREEN, RED, left_mask, offers, open_bfl, png

MODELS = [model for model in CATALOG if model.provider == "bfl" and model.lifecycle.live]
NEEDED = {"flux-pro-1.0-expand": {"options": {"top": 8}}, "bfl/outpainting": {"size": "512x512"}}


def requests(
    model: imagen.Model, images: tuple[bytes, ...], mask: bytes
) -> Iterator[imagen.Request]:
    """Every operation with every offer, and with as many images as the model
    takes.
    """
    can = model.capabilities
    for fields in offers(model):
        more: dict[str, Any] = {
            "prompt": "a cat" if can.prompt_required else "",
            "model": model.id,
            **fields,
        }
        if can.required_options:
            more["options"] = dict.fromkeys(can.required_options, "mine")
        for name, value in NEEDED.get(model.id, {}).items():
            more.setdefault(name, value)
        if "generate" in can.operations:
            yield imagen.Generate(**more)
        if "edit" in can.operations:
            least = 2 if model.id == "bfl/try-on" else 1
            yield imagen.Edit(images=images[:least], mask=mask if can.mask else None, **more)
        if "vary" in can.operations:
            yield imagen.Vary(image=images[0], **more)
    more = {
        "model": model.id,
        **NEEDED.get(model.id, {}),
        "prompt": "a cat" if can.prompt_required else "",
    }
    if "generate" in can.operations and can.inputs.max_references:
        yield imagen.Generate(references=images[:1] * can.inputs.max_references, **more)
    if "edit" in can.operations and can.inputs.max_images > 1:
        yield imagen.Edit(images=images[:1] * can.inputs.max_images, **more)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    images, mask = (png(RED, (256, 256)), png(GREEN, (256, 256))), left_mask((256, 256))
    async with open_bfl(tmp_path) as (client, simulator):
        async with client.open_batch(list(requests(model, images, mask)), max_at_once=4) as batch:
            async for outcome in batch:
                asked = msgspec.structs.asdict(outcome.request)
                assert isinstance(outcome, imagen.Image), (outcome, asked["size"])
                assert not outcome.adjustments
                if asked["output_format"]:
                    assert outcome.media_type == f"image/{asked['output_format']}"
                if asked["size"]:
                    assert f"{outcome.width}x{outcome.height}" == asked["size"]
        spending = await client.spending()
        assert spending.settled_usd == simulator.billed_usd > 0
        assert not simulator.leaks


PRICED = [model for model in MODELS if model.price is not None]


@pytest.mark.parametrize("model", PRICED, ids=lambda model: model.id)
def test_what_the_catalog_says_of_a_price_is_what_is_billed(model):
    """Held against the list of the simulator, which was written from the price
    page by itself.
    """
    endpoint = ENDPOINTS[model.wire_name]
    if endpoint.usd_by_class:
        prices = {
            word.removesuffix("sq").upper(): Decimal(usd)
            for word, usd in endpoint.usd_by_class.items()
        }
        for resolution in (None, *model.capabilities.resolutions):
            request = imagen.Generate(prompt="x", resolution=resolution)
            # Nobody publishes that one.
            expected = None if resolution == "1.5K" else prices[resolution or "1K"]
            assert quote_request(model, request).expected_usd == expected
        return
    for size, megapixels in ((None, 1), ("1024x1024", 1), ("1040x1040", 2), ("2048x2048", 4)):
        if size is None or (model.capabilities.free_size and model.id != "flux-pro-1.1"):
            expected = quote_request(model, imagen.Generate(prompt="x", size=size)).expected_usd
            assert expected == endpoint.usd(megapixels, 0)
    edit = imagen.Edit(prompt="x", images=("a", "b"), size="1024x1024")
    if model.capabilities.inputs.max_images > 1:
        assert quote_request(model, edit).low_usd == endpoint.usd(1, 2)
