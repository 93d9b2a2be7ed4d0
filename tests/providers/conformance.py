"""Every model of the catalog, every operation it offers: over real sockets to
the simulated provider and back.

The simulator is written from the providers' documents, the adapters too, each
on its own: here they have to agree.
"""

from __future__ import annotations

import datetime
import io
import warnings
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio
from PIL import Image as PillowImage

import imagen
from imagen.providers import PROVIDERS
from imagen.testing.simulator import open_simulator
from tests.support.simulated_client import open_simulated

TODAY = datetime.date(2026, 11, 22)
SIMULATED = [
    model
    for model in imagen.providers.load_catalog()
    if model.lifecycle.state(TODAY) != "retired"
    and PROVIDERS[model.provider].base_url_variable is not None
]
CASES = [(model, operation) for model in SIMULATED for operation in model.capabilities.operations]
# Options without which a provider refuses, and values that it takes.
OPTIONS = {
    "search_prompt": "the house",
    "select_prompt": "the roof",
    "finetune_id": "my-finetune",
    "custom_model_uri": "model/mine/version/1",
}
# What a model needs beside the plainest request, as it would do nothing else
# for money.
NEEDS: dict[str, dict[str, object]] = {
    "stability/outpaint": {"options": {"left": 64}},
    "flux-pro-1.0-expand": {"options": {"left": 64}},
    "bfl/outpainting": {"size": "640x640"},
    "ideogram/reframe": {"aspect_ratio": "16:9"},
    "ideogram/reframe-nano-banana-2": {"aspect_ratio": "16:9"},
}
TWO_IMAGES = {"bfl/try-on", "ideogram/inpaint-character"}
ONE_REFERENCE = {"stability/style", "ideogram-3-character"}
# The server at home takes masks and enlarges only with a model that has a name.
MODELS = {"localai": {"wire_name": "local-model"}}


def image(limits: imagen.providers.InputLimits, *, mask: bool = False) -> bytes:
    """An image within the limits of a model: a square of 512, or the nearest
    that is allowed.
    """
    side = max(512, limits.min_side, int(limits.min_pixels**0.5) + 1)
    side = min(side, limits.max_side or side)
    canvas = PillowImage.new("L" if mask else "RGB", (side, side), 0 if mask else (70, 130, 180))
    canvas.paste(255 if mask else (240, 200, 40), (0, 0, side // 2, side))
    file = io.BytesIO()
    canvas.save(file, "PNG" if "image/png" in limits.media_types else "JPEG")
    return file.getvalue()


def request_for(model: imagen.Model, operation: str) -> imagen.Request:
    """The plainest request that the model takes."""
    can = model.capabilities
    own = image(can.inputs)
    common: dict[str, object] = {
        "model": model.id,
        "options": {name: OPTIONS[name] for name in can.required_options},
        "assume_usd": Decimal(1),
        **NEEDS.get(model.id, {}),
    }
    match operation:
        case "generate":
            references = (own,) if model.id in ONE_REFERENCE else ()
            return imagen.Generate(prompt="a lighthouse", references=references, **common)
        case "edit":
            mask = image(can.inputs, mask=True) if can.mask else None
            images = (own, own) if model.id in TWO_IMAGES else (own,)
            return imagen.Edit(prompt="a lighthouse", images=images, mask=mask, **common)
        case "vary":
            return imagen.Vary(prompt="a lighthouse", image=own, **common)
        case "enhance":
            return imagen.Enhance(prompt="a lighthouse", image=own, **common)
        case _:
            return imagen.Restyle(prompt="a lighthouse", image=own, reference=own, **common)


def works_on_its_own(model: imagen.Model, operation: str) -> bool:
    """Whether a model does this only to what it has made itself."""
    return operation == "enhance" and model.provider.startswith("midjourney")


@pytest.mark.parametrize(
    ("model", "operation"), CASES, ids=[f"{model.id}-{operation}" for model, operation in CASES]
)
async def test_simulator_and_adapter_agree(tmp_path: Path, model: imagen.Model, operation: str):
    request = request_for(model, operation)
    async with (
        open_simulator(latency=0.02) as simulator,
        open_simulated(tmp_path, simulator, models=MODELS) as client,
    ):
        with trio.fail_after(20), warnings.catch_warnings():
            warnings.simplefilter("ignore", imagen.providers.ModelRetiringWarning)
            if works_on_its_own(model, operation):
                grid = await client.generate("a lighthouse", model=model.id)
                # The id of an image out of a grid says its place; a grid that
                # was not cut has four.
                place = {"index": 2} if model.id == "midjourney-grid" else {}
                origin = {"task_id": grid.provider_id, **place}
                request = msgspec.structs.replace(request, options=origin)
            image = await client.generate(request)
            spending = await client.spending()
        opened = PillowImage.open(io.BytesIO(image.data))
        assert opened.size == (image.width, image.height)
        stored = await client.library.get(image.id)
        assert stored == image
        assert not simulator.leaks
        orders = 2 if works_on_its_own(model, operation) else 1
        assert len(simulator.bills) == orders
        assert all(bill.delivered for bill in simulator.bills)
    assert type(image.request) is type(request)
    assert image.model == model.id
    assert spending.attempts.succeeded == orders
    assert spending.unknown_usd == 0
    if image.cost.source in ("reported", "computed"):
        assert spending.settled_usd == simulator.billed_usd


def test_every_provider_is_simulated_and_has_models_and_tests():
    folders = {path.name for path in Path(__file__).parent.iterdir()}
    for provider in PROVIDERS.values():
        assert any(model.provider == provider.name for model in imagen.providers.load_catalog()), (
            provider.name
        )
    assert {model.provider for model in imagen.providers.load_catalog()} <= PROVIDERS.keys()
    assert len(SIMULATED) >= 60
    assert folders >= {"bfl", "google", "ideogram", "openai", "stability"}


def test_every_live_model_says_what_it_is_for_and_where_its_price_comes_from():
    for model in imagen.providers.load_catalog():
        if model.lifecycle.state(TODAY) == "retired":
            assert model.lifecycle.successor, model.id
            continue
        assert model.description, model.id
        assert model.strengths, model.id
        assert model.weaknesses, model.id
        price = model.price
        if price is not None and price.usd_per_image != 0:
            assert price.as_of, model.id
            assert price.source, model.id
        assert msgspec.json.decode(msgspec.json.encode(model), type=imagen.Model) == model
