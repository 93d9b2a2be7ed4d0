"""The simulated Ideogram takes every value that the catalog offers for its
models, and gives what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import imagen
from tests.support.exchanges import CATALOG
from tests.support.providers.bfl import GREEN, RED, left_mask, offers, png
from tests.support.providers.ideogram import books_are_balanced, open_ideogram

MODELS = [model for model in CATALOG if model.provider == "ideogram"]
NEEDED = {
    "ideogram/reframe": {"size": "1024x1024"},
    "ideogram/reframe-nano-banana-2": {"aspect_ratio": "1:1"},
}
FEW = 4


def few_offers(model: imagen.Model) -> Iterator[dict[str, Any]]:
    """Of a long list, some at its ends: the schema was held against all of
    them.
    """
    seen: dict[str, int] = {}
    found = list(offers(model))
    for fields in found:
        field = next(iter(fields), "")
        seen[field] = seen.get(field, 0) + 1
        if len(fields) != 1 or seen[field] <= FEW or field not in ("size", "style", "aspect_ratio"):
            yield fields


def requests(
    model: imagen.Model, images: tuple[bytes, ...], mask: bytes
) -> Iterator[imagen.Request]:
    """Every operation with every offer, and with as many images as the model
    takes.
    """
    can = model.capabilities
    for fields in few_offers(model):
        more: dict[str, Any] = {
            "prompt": "a cat" if can.prompt_required else "",
            "model": model.id,
            **fields,
        }
        if can.required_options:
            more["options"] = dict.fromkeys(can.required_options, "mine")
        if not {"size", "aspect_ratio"} & fields.keys():
            more |= NEEDED.get(model.id, {})
        references = images[:1] if model.id == "ideogram-3-character" else ()
        least = 2 if model.id == "ideogram/inpaint-character" else 1
        if "generate" in can.operations:
            yield imagen.Generate(references=references, **more)
        if "edit" in can.operations:
            yield imagen.Edit(
                images=images[:least], mask=mask if can.mask_required else None, **more
            )
        if "vary" in can.operations:
            yield imagen.Vary(image=images[0], **more)
        if "enhance" in can.operations:
            yield imagen.Enhance(image=images[0], **more)
    if "restyle" in can.operations:
        yield imagen.Restyle(model=model.id, image=images[0], reference=images[1])
    for scale in can.scales:
        yield imagen.Enhance(model=model.id, image=images[0], scale=scale, mode=can.modes[0])
    if "generate" in can.operations and can.inputs.max_references:
        references = images[:1] * can.inputs.max_references
        yield imagen.Generate(prompt="a cat", references=references, model=model.id)
    if "edit" in can.operations and can.inputs.max_images > 1 and not can.mask_required:
        yield imagen.Edit(prompt="a cat", images=images[:1] * can.inputs.max_images, model=model.id)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    images, mask = (png(RED, (64, 64)), png(GREEN, (64, 64))), left_mask((64, 64))
    async with open_ideogram(tmp_path) as (client, simulator):
        async with client.open_batch(list(requests(model, images, mask)), max_at_once=4) as batch:
            async for outcome in batch:
                assert isinstance(outcome, imagen.Image), (outcome.error, outcome.request)
                assert not outcome.adjustments
                if (outcome.request.size or "auto") not in ("auto", "source"):
                    assert f"{outcome.width}x{outcome.height}" == outcome.request.size
        await books_are_balanced(client, simulator)
