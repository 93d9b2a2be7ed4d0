"""Whole exchanges with the simulated Gemini API and Vertex AI, over real
sockets.
"""

from __future__ import annotations

import datetime
import json
from decimal import Decimal

import pytest

import imagen
from imagen.testing.simulator import (
    BrokenBase64,
    FewerImages,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    Reset,
    ServerError,
    Simulator,
    WrongMedia,
    open_simulator,
)
from imagen.testing.simulator._core.faults import Withheld
from tests.support.exchanges import CATALOG
from tests.support.images import near, opened, png
from tests.support.providers.google import CHEAP, open_client

# Some of the models that are looked at have a last day, and a warning that
# names it.
pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")

TODAY = datetime.datetime.now(datetime.UTC).date()
LIVE = [
    model
    for model in CATALOG
    if model.provider in ("google", "vertex") and model.lifecycle.state(TODAY) != "retired"
]
GEMINI = [model.id for model in LIVE if model.price.per_million_tokens is not None]
EDITORS = [model.id for model in LIVE if "edit" in model.capabilities.operations]
IMAGEN = [model.id for model in LIVE if model.wire]


async def books_agree(client: imagen.Client, simulator: Simulator) -> None:
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd
    assert spending.unknown_usd == spending.reserved_usd == 0
    assert not simulator.leaks


@pytest.mark.parametrize("model", GEMINI)
async def test_an_image_has_the_shape_that_was_asked_for_and_the_cost_that_was_billed(
    tmp_path, model
):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.generate("a cat", model=model, aspect_ratio="16:9")
        assert (image.width, image.height) == opened(image).size == (1376, 768)
        assert image.media_type == ("image/png" if "2.5" in model else "image/jpeg")
        assert image.cost == imagen.Cost(usd=simulator.billed_usd, source="computed")
        assert simulator.billed_usd > 0
        assert not image.adjustments
        await books_agree(client, simulator)


@pytest.mark.parametrize("model", ["gemini-nano-banana-2.1", "gemini-3-pro-image"])
async def test_resolutions_double_the_sides_and_their_estimates_hold_the_bill(tmp_path, model):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        for resolution, side in (("1K", 1024), ("2K", 2048), ("4K", 4096)):
            before = simulator.billed_usd
            shape = {"aspect_ratio": "1:1", "resolution": resolution}
            quote = client.quote("a cat", model=model, **shape)
            image = await client.generate("a cat", model=model, **shape)
            assert (image.width, image.height) == (side, side)
            assert quote.low_usd <= simulator.billed_usd - before <= quote.high_usd
        await books_agree(client, simulator)


async def test_pixels_become_a_ratio_and_a_resolution_and_the_image_says_so(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.generate("a cat", model="gemini-nano-banana-2.1", size="2048x2048")
        (adjustment,) = image.adjustments
        assert (adjustment.field, adjustment.sent) == ("size", "1:1 at 2K")
        assert (image.width, image.height) == (2048, 2048)


@pytest.mark.parametrize("model", EDITORS)
async def test_an_edit_starts_from_the_first_image_and_sees_the_others_in_their_order(
    tmp_path, model
):
    red, green, blue = (200, 30, 30), (30, 180, 30), (30, 30, 200)
    sources = [png(red, (320, 160)), png(green), png(blue)]
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.edit("make it brighter", *sources, model=model)
        # Without a ratio an edit keeps the one of its image.
        assert image.width / image.height == pytest.approx(2, abs=0.1)
        drawn = opened(image).convert("RGB")
        stripe = image.height // 20
        assert near(drawn.getpixel((100, image.height - 50)), red)
        assert near(drawn.getpixel((100, stripe // 2)), green)
        assert near(drawn.getpixel((100, stripe + stripe // 2)), blue)
        await books_agree(client, simulator)


async def test_a_restyle_names_the_image_and_the_look(tmp_path):
    red, green = (200, 30, 30), (30, 180, 30)
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.restyle(png(red, (100, 100)), png(green), prompt="in oil", model=CHEAP)
        drawn = opened(image).convert("RGB")
        assert near(drawn.getpixel((10, 10)), green)
        assert near(drawn.getpixel((10, 900)), red)
        body = json.loads(simulator.received[0].body)
        said = body["contents"][0]["parts"][2]["text"]
        assert "style of the second" in said
        assert said.endswith("in oil")
        await books_agree(client, simulator)


async def test_references_lend_their_look_to_a_generation(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.generate(
            "a cat like this", references=(png((30, 30, 200)),), model=CHEAP
        )
        assert near(opened(image).convert("RGB").getpixel((500, 500)), (30, 30, 200))
        await books_agree(client, simulator)


async def test_an_enhancement_is_an_edit_at_the_largest_size_where_that_is_allowed(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.enhance(
            png(size=(64, 64)), model="gemini-nano-banana-2.1", emulate=True
        )
        assert (image.width, image.height) == (4096, 4096)
        assert image.adjustments[0].field == "operation"
        await books_agree(client, simulator)


async def test_a_mask_is_refused_before_anything_is_sent(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.InvalidRequestError, match="no mask"):
            await client.edit("a hat", png(), mask=png(), model=CHEAP)
        assert not simulator.received


@pytest.mark.parametrize(
    "model", [model for model in LIVE if not model.wire], ids=lambda model: model.id
)
async def test_the_service_takes_everything_that_the_catalog_offers(tmp_path, model):
    can = model.capabilities
    asks = [{"aspect_ratio": ratio} for ratio in can.aspect_ratios]
    asks += [{"output_format": name} for name in can.output_formats]
    asks += [{"safety": level} for level in can.safety]
    asks += [{"prompt": "x" * can.max_prompt_characters}]
    async with (
        open_simulator(usd_per_image="0.01") as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        for ask in asks:
            image = await client.generate(
                imagen.Generate(**{"prompt": "a cat", "model": model.id, "strict": True, **ask})
            )
            if "output_format" in ask:
                assert image.media_type == f"image/{ask['output_format']}"


@pytest.mark.parametrize("model", IMAGEN)
async def test_imagen_takes_everything_that_the_catalog_offers(tmp_path, model):
    can = CATALOG.find(model).capabilities
    asks = [
        {"aspect_ratio": ratio, "resolution": size}
        for ratio in can.aspect_ratios
        for size in can.resolutions
    ]
    asks += [
        {"output_format": name, "safety": "relaxed", "negative_prompt": "dogs"}
        for name in can.output_formats
    ]
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        for ask in asks:
            await client.generate("a cat", model=model, strict=True, **ask)
        n = can.max_images_per_request
        async with client.open_batch("a cat", n=n, model=model, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * n
        assert simulator.bills[-1].images == n
        await books_agree(client, simulator)


# --- faults -------------------------------------------------------------------


async def test_what_was_refused_for_now_is_sent_again_and_paid_once(tmp_path):
    faults = [Overloaded(), RateLimited(wait_seconds=0.001)]
    async with (
        open_simulator(faults=faults) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        await client.generate("a cat", model=CHEAP)
        assert len(simulator.received) == 3
        await books_agree(client, simulator)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (QuotaExhausted(), imagen.QuotaExceededError),
        (NotAllowed(), imagen.AuthenticationError),
        (Refused(), imagen.ContentFilterError),
    ],
    ids=repr,
)
async def test_a_refusal_is_not_repeated_and_nothing_is_booked(tmp_path, fault, expected):
    quiet = {"charges_for_blocked_prompts": False}
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator, **quiet) as client,
    ):
        with pytest.raises(expected) as caught:
            await client.generate("a cat", model=CHEAP)
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1
        await books_agree(client, simulator)


async def test_a_withheld_image_has_its_cost(tmp_path):
    async with (
        open_simulator(faults=Withheld()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ContentFilterError, match="IMAGE_SAFETY") as caught:
            await client.generate("a cat", model=CHEAP)
        assert caught.value.billed == "yes"
        assert simulator.billed_usd > Decimal("0.03")
        await books_agree(client, simulator)


async def test_filtered_images_of_imagen_cost_nothing(tmp_path):
    model = "vertex/imagen-4.0-generate-001"
    async with (
        open_simulator(faults=Withheld()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        async with client.open_batch("a cat", n=3, model=model, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        costs = {type(outcome): outcome.cost.usd for outcome in outcomes}
        assert [type(outcome) for outcome in outcomes].count(imagen.Image) == 2
        assert costs == {imagen.Image: Decimal("0.04"), imagen.Failure: 0}
        with pytest.raises(imagen.ContentFilterError, match="withholds it") as caught:
            await client.generate("a cat", model=model)
        assert caught.value.billed == "no"
        await books_agree(client, simulator)


async def test_a_prompt_that_imagen_refuses_costs_nothing(tmp_path):
    async with (
        open_simulator(faults=Refused()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ContentFilterError) as caught:
            await client.generate("a cat", model="vertex/imagen-4.0-fast-generate-001")
        assert caught.value.billed == "no"
        await books_agree(client, simulator)


async def test_words_in_place_of_an_image_are_told(tmp_path):
    async with (
        open_simulator(faults=FewerImages()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.InvalidRequestError, match="A fine idea") as caught:
            await client.generate("a cat", model=CHEAP)
        assert (caught.value.code, caught.value.billed) == ("INVALID_PROMPT", "yes")
        assert (await client.spending()).settled_usd == simulator.billed_usd


@pytest.mark.parametrize("fault", [Reset(after_billing=True), ServerError()], ids=repr)
async def test_what_may_be_billed_is_unknown_and_not_ordered_again(tmp_path, fault):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ProviderError) as caught:
            await client.generate("a cat", model=CHEAP)
        assert caught.value.billed == "unknown"
        assert len(simulator.received) == 1
        spending = await client.spending()
        assert spending.settled_usd == 0
        assert spending.unknown_usd >= simulator.billed_usd


@pytest.mark.parametrize("references", [(), (png(),)], ids=["alone", "with a reference"])
@pytest.mark.parametrize("fault", [WrongMedia(), BrokenBase64()], ids=repr)
async def test_an_image_that_is_none_was_paid(tmp_path, fault, references):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat", model=CHEAP, references=references)
        assert (await client.spending()).settled_usd > 0


async def test_a_wrong_key_is_said_so(tmp_path):
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, key="another") as client,
    ):
        for model in (CHEAP, f"vertex/{CHEAP}"):
            with pytest.raises(imagen.AuthenticationError):
                await client.generate("a cat", model=model)
        assert simulator.billed_usd == 0


@pytest.mark.parametrize("model", ["gemini-3.1-flash-image", "google/imagen-4.0-generate-001"])
async def test_a_model_that_is_gone_names_the_one_after_it(tmp_path, model):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.ModelNotFoundError, match=r"gemini-nano-banana-2\.1"):
            await client.generate("a cat", model=model)
        assert not simulator.received
