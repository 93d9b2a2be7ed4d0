"""Every model of the catalog, every operation it offers: over real sockets to
the simulated provider and back.

The simulator is written from the providers' documents, the adapters too, each
on its own: here they have to agree.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import msgspec
import pytest
import trio
from PIL import Image as PillowImage

import imagen
from imagen.providers import PROVIDERS
from imagen.testing.simulator import open_simulator
from tests.support.every_model import MODELS, SIMULATED, TODAY, request_for, works_on_its_own
from tests.support.simulated_client import open_simulated

CASES = [(model, operation) for model in SIMULATED for operation in model.capabilities.operations]


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
