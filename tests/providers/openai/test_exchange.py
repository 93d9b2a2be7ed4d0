"""OpenAI's edits over real sockets: what the provider makes of them, what it
bills, and what the ledger says.
"""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

import imagen
from imagen.testing.simulator import (
    BrokenBase64,
    FewerImages,
    OpenAI,
    RateLimited,
    Refused,
    Reset,
    ServerError,
    open_simulator,
)
from tests.support.exchanges import input_image, mask_image
from tests.support.images import near, opened_rgb
from tests.support.providers.openai import books_balance, open_client

pytestmark = pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")

TEAL = (0, 128, 128)
RED = (255, 0, 0)
CAT, HAT = input_image(128, 128).data, input_image(64, 64, color="red").data
FIELDS = {"quality": "low", "size": "1024x1024"}


async def test_a_mask_changes_its_white_half_and_nothing_else(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        image = await client.edit(
            "a hat", CAT, mask=mask_image(128, 128).data, model="gpt-image-2", **FIELDS
        )
        decoded = opened_rgb(image)
        assert decoded.size == (1024, 1024)
        assert near(decoded.getpixel((900, 500)), TEAL)
        assert not near(decoded.getpixel((100, 500)), TEAL)
        assert image.cost == imagen.Cost(usd=simulator.billed_usd, source="computed")
        assert simulator.billed_usd > 0
        await books_balance(client, simulator)


@pytest.mark.parametrize("model", ["gpt-image-2", "gpt-image-1.5", "openai/gpt-image-1-mini"])
async def test_several_images_keep_their_order_and_their_tokens_are_paid(tmp_path, model):
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        image = await client.edit("both", CAT, HAT, model=model, **FIELDS)
        decoded = opened_rgb(image)
        assert near(decoded.getpixel((30, 30)), TEAL)
        assert near(decoded.getpixel((64 + 30, 30)), RED)
        assert image.cost.usd == simulator.billed_usd
        async with client.open_batch(
            imagen.Edit(images=(HAT, CAT), prompt="both", model=model, **FIELDS), n=3, together=True
        ) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
        assert near(opened_rgb(outcomes[0]).getpixel((30, 30)), RED)
        await books_balance(client, simulator)


async def test_a_style_comes_from_the_second_image(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        request = imagen.Restyle(
            image=CAT, reference=HAT, prompt="More blue.", model="gpt-image-2", **FIELDS
        )
        image = await client.generate(request)
        assert near(opened_rgb(image).getpixel((64 + 30, 30)), RED)
        assert not image.adjustments
        assert json.loads(simulator.received[0].body)["prompt"].endswith("More blue.")
        await books_balance(client, simulator)


@pytest.mark.parametrize("operation", ["vary", "enhance"])
async def test_what_it_has_no_way_for_is_done_by_an_edit_where_the_caller_allows_it(
    tmp_path, operation
):
    kind = {"vary": imagen.Vary, "enhance": imagen.Enhance}[operation]
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        with pytest.raises(imagen.InvalidRequestError, match="emulate=True"):
            await client.generate(kind(image=CAT, model="gpt-image-2"))
        image = await client.generate(kind(image=CAT, model="gpt-image-2", emulate=True))
        assert image.adjustments[0].field == "operation"
        assert [received.path for received in simulator.received] == ["/openai/v1/images/edits"]


async def test_previews_of_an_edit_come_before_it(tmp_path):
    events: list[imagen.Event] = []
    async with (
        open_simulator() as simulator,
        open_client(tmp_path, simulator, "openai", on_event=events.append) as client,
    ):
        await client.edit("a hat", CAT, model="gpt-image-2", previews=2, **FIELDS)
        assert [event.number for event in events if isinstance(event, imagen.PreviewReceived)] == [
            0,
            1,
        ]
        await books_balance(client, simulator)


async def test_an_image_of_many_megabytes_goes_along_too(tmp_path):
    large = CAT + bytes(16_000_000)
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        await client.edit("a hat", large, model="gpt-image-2", **FIELDS)
        assert simulator.received[0].headers["content-type"].startswith("multipart/form-data")
        with pytest.raises(imagen.InvalidRequestError, match="at most 50,000,000"):
            await client.edit("a hat", CAT + bytes(50_000_000), model="gpt-image-2", **FIELDS)
        await books_balance(client, simulator)


async def test_safety_and_formats_are_taken(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        for safety in ("standard", "relaxed"):
            image = await client.edit(
                "a hat",
                CAT,
                model="gpt-image-2.6-flare",
                safety=safety,
                output_format="webp",
                background="transparent",
                options={"complexity": "low"},
                assume_usd=Decimal("0.5"),
                **FIELDS,
            )
            assert image.media_type == "image/webp"
            assert not image.adjustments
        await books_balance(client, simulator)


async def test_the_list_names_the_models_and_their_last_day(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator, "openai") as client:
        found = {
            model.wire_name: model.retires_on
            for model in (await client.discover()).models
            if model.listed
        }
        assert found["gpt-image-2"] is None
        assert str(found["gpt-image-1.5"]) == "2026-12-01"
        assert "gpt-4.1" not in found


# --- faults -------------------------------------------------------------------


async def edit(client: imagen.Client) -> imagen.Image:
    return await client.edit("a hat", CAT, model="gpt-image-2", **FIELDS)


async def test_a_limit_is_waited_for_and_the_edit_paid_once(tmp_path):
    faults = [RateLimited(wait_seconds=0.001, told="text")]
    async with (
        open_simulator(faults=faults) as simulator,
        open_client(tmp_path, simulator, "openai") as client,
    ):
        await edit(client)
        assert len(simulator.bills) == 1
        await books_balance(client, simulator)


async def test_a_refusal_costs_nothing(tmp_path):
    async with (
        open_simulator(faults=Refused()) as simulator,
        open_client(tmp_path, simulator, "openai") as client,
    ):
        with pytest.raises(imagen.ContentFilterError):
            await edit(client)
        await books_balance(client, simulator)


@pytest.mark.parametrize("fault", [Reset(after_billing=True), ServerError()], ids=repr)
async def test_what_may_have_been_billed_is_not_sent_again(tmp_path, fault):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator, "openai") as client,
    ):
        with pytest.raises(imagen.ProviderError) as caught:
            await edit(client)
        assert caught.value.billed == "unknown"
        assert len(simulator.received) == 1
        assert (await client.spending()).unknown_usd >= simulator.billed_usd


async def test_a_broken_image_is_paid(tmp_path):
    async with (
        open_simulator(faults=BrokenBase64()) as simulator,
        open_client(tmp_path, simulator, "openai") as client,
    ):
        with pytest.raises(imagen.ProviderError) as caught:
            await edit(client)
        assert caught.value.billed == "yes"
        assert (await client.spending()).settled_usd > 0


async def test_fewer_images_than_asked_for_are_paid_as_they_came(tmp_path):
    async with (
        open_simulator(faults=FewerImages()) as simulator,
        open_client(tmp_path, simulator, "openai") as client,
    ):
        request = imagen.Edit(images=(CAT,), prompt="a hat", model="gpt-image-2", **FIELDS)
        async with client.open_batch(request, n=3, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [
            imagen.Image,
            imagen.Image,
            imagen.Failure,
        ]
        await books_balance(client, simulator)


async def test_a_retired_model_cannot_edit(tmp_path):
    simulated = OpenAI(retired=("gpt-image-2",))
    async with (
        open_simulator(simulated) as simulator,
        open_client(tmp_path, simulator, "openai") as client,
    ):
        with pytest.raises(imagen.ModelNotFoundError):
            await edit(client)
        await books_balance(client, simulator)
