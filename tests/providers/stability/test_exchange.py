"""Whole exchanges with the simulated Stability AI, over real sockets."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import imagen
from imagen.testing.simulator import (
    HtmlError,
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
from imagen.testing.simulator._core.faults import JobFails, Withheld
from imagen.testing.simulator._core.forms import parse_form
from tests.support.exchanges import CATALOG
from tests.support.images import near, opened, png
from tests.support.providers.stability import BLUE, IMAGE, MASK, RED, TEAL, open_client

MODELS = [model for model in CATALOG if model.provider == "stability"]
OPTIONS = {
    "stability/outpaint": {"left": 64, "down": 32},
    "stability/search-and-replace": {"search_prompt": "the dog"},
    "stability/search-and-recolor": {"select_prompt": "the dog"},
}


async def books_agree(client: imagen.Client, simulator: Simulator) -> None:
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd
    assert spending.unknown_usd == spending.reserved_usd == 0
    assert not simulator.leaks


def request_for(model: imagen.Model, operation: imagen.Operation, **more: Any) -> imagen.Request:
    """Something that this model can do."""
    needs_prompt = model.capabilities.prompt_required
    fields = {
        "model": model.id,
        "prompt": "a cat" if needs_prompt else "",
        "options": OPTIONS.get(model.id, {}),
        **more,
    }
    match operation:
        case "generate":
            references = (IMAGE,) * model.capabilities.inputs.max_references
            return imagen.Generate(references=references, **fields)
        case "edit":
            return imagen.Edit(
                images=(IMAGE,), mask=MASK if model.capabilities.mask else None, **fields
            )
        case "vary":
            return imagen.Vary(image=IMAGE, **fields)
        case "enhance":
            return imagen.Enhance(image=IMAGE, **fields)
        case "restyle":
            return imagen.Restyle(image=IMAGE, reference=png(RED, (64, 64)), **fields)


CASES = [
    pytest.param(model, operation, id=f"{model.id} {operation}")
    for model in MODELS
    for operation in model.capabilities.operations
]


@pytest.mark.parametrize(("model", "operation"), CASES)
async def test_the_service_takes_everything_that_the_catalog_offers(tmp_path, model, operation):
    can = model.capabilities
    asks: list[dict[str, Any]] = [{}]
    if operation != "vary":
        asks += [{"aspect_ratio": ratio} for ratio in can.aspect_ratios[::4]]
    asks += [{"style": style} for style in can.styles[::8]]
    asks += [{"output_format": name} for name in can.output_formats]
    asks += [
        {"guidance": edge}
        for edge in ((can.guidance.low, can.guidance.high) if can.guidance else ())
    ]
    asks += [{"seed": 7}] if can.seed else []
    asks += [{"negative_prompt": "dogs"}] if can.negative_prompt else []
    asks += [{"strength": 0.25}] if can.strength and operation in ("vary", "restyle") else []
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        for ask in asks:
            image = await client.generate(request_for(model, operation, strict=True, **ask))
            assert not image.adjustments
            assert image.cost == imagen.Cost(usd=model.price.usd_per_image, source="estimated")
            assert opened(image).size == (image.width, image.height)
            if "output_format" in ask:
                assert image.media_type == f"image/{ask['output_format']}"
            if "seed" in ask:
                assert image.seed == 7
        assert len(simulator.bills) == len(asks)
        assert all(bill.delivered for bill in simulator.bills)
        await books_agree(client, simulator)


async def test_a_generation_has_the_nearest_ratio(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.generate("a cat", size="1536x864")
        assert image.model == "stable-image-core"
        assert image.width / image.height == pytest.approx(16 / 9, rel=0.05)
        assert [adjustment.sent for adjustment in image.adjustments] == ["16:9"]
        assert image.cost.usd == Decimal("0.03")


@pytest.mark.parametrize("model", ["stability/inpaint", "stability/erase"])
async def test_only_the_white_area_of_the_mask_changes(tmp_path, model):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        prompt = "a hat" if model.endswith("inpaint") else ""
        image = await client.edit(prompt, IMAGE, mask=MASK, model=model)
        drawn = opened(image)
        assert drawn.size == (128, 64)
        assert not near(drawn.getpixel((20, 30)), TEAL)
        assert near(drawn.getpixel((100, 30)), TEAL)


async def test_an_edit_with_a_mask_and_one_without_find_their_endpoints(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        assert (await client.edit("a hat", IMAGE, mask=MASK)).model == "stability/inpaint"
        assert (await client.edit("a house in winter", IMAGE)).model == "stability/structure"
        assert (await client.enhance(IMAGE)).model == "stability/upscale-fast"
        assert (await client.vary(IMAGE, prompt="a house")).model == "sd3.5-medium"
        assert (await client.restyle(IMAGE, png(RED, (64, 64)))).model == "stability/style-transfer"
        assert (await client.generate("a cat", references=(IMAGE,))).model == "stability/style"
        await books_agree(client, simulator)


async def test_outpainting_adds_what_was_asked_for(tmp_path):
    model = "stability/outpaint"
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.edit("", IMAGE, model=model, options={"left": 64, "down": 32})
        drawn = opened(image)
        assert drawn.size == (192, 96)
        assert near(drawn.getpixel((100, 10)), TEAL)
        assert not near(drawn.getpixel((10, 10)), TEAL)
        with pytest.raises(
            imagen.InvalidRequestError, match="at least one of left, right, up, down"
        ):
            await client.edit("", IMAGE, model=model, options={"creativity": 0.3})
        assert len(simulator.received) == 1


async def test_a_removed_background_is_transparent(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.edit("cut it out", IMAGE, model="stability/remove-background")
        assert opened(image).getpixel((0, 0))[3] == 0
        (adjustment,) = image.adjustments
        assert (adjustment.field, adjustment.asked, adjustment.sent) == (
            "prompt",
            "cut it out",
            None,
        )
        with pytest.raises(imagen.InvalidRequestError, match="takes no prompt"):
            await client.edit("cut it out", IMAGE, model="stability/remove-background", strict=True)
        assert len(simulator.received) == 1


async def test_a_fast_enhancement_has_four_times_the_sides(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.enhance(IMAGE, scale=2.0)
        assert (image.width, image.height) == (512, 256)
        assert [(change.field, change.sent) for change in image.adjustments] == [("scale", "4")]


@pytest.mark.parametrize(("strength", "changed"), [(0.0, False), (1.0, True)])
async def test_the_strength_of_a_variation_is_how_far_it_goes(tmp_path, strength, changed):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.vary(
            IMAGE, prompt="a lake", strength=strength, aspect_ratio="1:1", model="sd3.5-large"
        )
        assert near(opened(image).getpixel((50, 50)), TEAL) is not changed
        assert [change.field for change in image.adjustments] == ["aspect_ratio"]
        fields, files = parse_form(simulator.received[0].headers, simulator.received[0].body)
        assert (fields["mode"], fields["model"], list(files)) == (
            ["image-to-image"],
            ["sd3.5-large"],
            ["image"],
        )


async def test_a_restyle_takes_the_look_of_the_reference(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.restyle(IMAGE, png(RED, (64, 64)), strength=1.0)
        assert near(opened(image).getpixel((50, 50)), RED)
        assert image.width / image.height == pytest.approx(2, rel=0.1)


async def test_a_new_background_may_be_a_second_image(tmp_path):
    model = "stability/replace-background-and-relight"
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        image = await client.edit("a beach", IMAGE, png(BLUE, (128, 64)), model=model)
        drawn = opened(image)
        assert near(drawn.getpixel((2, 2)), BLUE)
        assert near(drawn.getpixel((64, 32)), TEAL)
        await books_agree(client, simulator)


# --- jobs ---------------------------------------------------------------------

CREATIVE = imagen.Enhance(image=IMAGE, prompt="a lake", model="stability/upscale-creative")


async def test_a_job_is_polled_until_it_is_there(tmp_path):
    async with (
        open_simulator(latency=0.05) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        image = await client.generate(CREATIVE)
        assert image.width > 1000
        kinds = [received.kind for received in simulator.received]
        assert kinds[0] == "create"
        assert kinds.count("poll") > 2
        assert all(bill.delivered for bill in simulator.bills)
        await books_agree(client, simulator)


async def test_trouble_while_polling_does_not_lose_the_image(tmp_path):
    trouble = [RateLimited(), Reset(), Overloaded(), HtmlError(), ServerError(), ServerError()]
    async with (
        open_simulator(poll_faults=trouble) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        await client.generate(CREATIVE)
        assert len(simulator.received) == 1 + len(trouble) + 1
        assert len(simulator.bills) == 1
        await books_agree(client, simulator)


async def test_a_job_that_fails_late_may_be_billed(tmp_path):
    async with (
        open_simulator(faults=JobFails()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ProviderError, match="took the job") as caught:
            await client.generate(CREATIVE)
        assert caught.value.billed == "unknown"
        assert [received.kind for received in simulator.received].count("create") == 1
        assert (await client.spending()).unknown_usd >= simulator.billed_usd


# --- faults -------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [imagen.Generate(prompt="a cat"), CREATIVE], ids=["at once", "job"]
)
@pytest.mark.parametrize("charges", [True, False])
async def test_a_blurred_image_is_withheld_with_its_cost(tmp_path, request_, charges):
    async with (
        open_simulator(faults=Withheld()) as simulator,
        open_client(tmp_path, simulator, charges_for_blurred=charges) as client,
    ):
        with pytest.raises(imagen.ContentFilterError, match="blurred") as caught:
            await client.generate(request_)
        assert caught.value.billed == ("yes" if charges else "no")
        assert (await client.spending()).settled_usd == (simulator.billed_usd if charges else 0)


@pytest.mark.parametrize("fault", [Overloaded(), ServerError()], ids=repr)
async def test_a_call_that_failed_is_not_charged_and_sent_again(tmp_path, fault):
    async with (
        open_simulator(faults=[fault]) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        await client.generate("a cat")
        assert len(simulator.received) == 2
        await books_agree(client, simulator)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (QuotaExhausted(), imagen.QuotaExceededError),
        (NotAllowed(), imagen.AuthenticationError),
        (Refused(), imagen.ContentFilterError),
        (RateLimited(), imagen.RateLimitError),
    ],
    ids=repr,
)
async def test_a_refusal_costs_nothing(tmp_path, fault, expected):
    async with (
        open_simulator(faults=fault) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(expected) as caught:
            await client.generate("a cat")
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1
        await books_agree(client, simulator)


async def test_a_lost_answer_is_unknown(tmp_path):
    async with (
        open_simulator(faults=Reset(after_billing=True)) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.OutcomeUnknownError):
            await client.generate("a cat")
        assert len(simulator.received) == 1
        assert (await client.spending()).unknown_usd >= simulator.billed_usd > 0


async def test_a_web_page_in_place_of_an_image_was_paid(tmp_path):
    async with (
        open_simulator(faults=WrongMedia()) as simulator,
        open_client(tmp_path, simulator) as client,
    ):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat")
        assert (await client.spending()).settled_usd == simulator.billed_usd > 0


async def test_other_languages_are_refused_by_the_service(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.InvalidRequestError, match="English") as caught:
            await client.generate("кошка")
        assert caught.value.code == "INVALID_PROMPT"
        assert simulator.billed_usd == 0


async def test_the_balance_is_what_the_doctor_asks(tmp_path):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        status = await client.probe("stability")
        assert simulator.received[0].path.endswith("/v1/user/balance")
        assert not simulator.bills
        assert status is not None
