"""Whole exchanges with the simulated Ideogram over real sockets: what comes
back, and what both sides book.
"""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from PIL import Image as PillowImage

import imagen
from imagen.testing.simulator import (
    ExpiredLink,
    Overloaded,
    RateLimited,
    Refused,
    Reset,
    WrongMedia,
)
from imagen.testing.simulator._core.faults import JobFails, Withheld
from imagen.testing.simulator._providers.ideogram.server import Ideogram
from tests.support.exchanges import CATALOG
from tests.support.images import GREEN, RED, large_png, left_mask, near, opened_rgb
from tests.support.providers.ideogram import books_are_balanced, open_ideogram


@pytest.mark.parametrize(
    ("model", "fields", "size"),
    [
        ("ideogram-4", {}, (2048, 2048)),
        ("ideogram-4", {"size": "1280x720", "quality": "turbo", "seed": 7}, (1280, 720)),
        ("ideogram-4-5", {"size": "1024x1024", "quality": "low"}, (1024, 1024)),
        ("ideogram-4-6", {"size": "auto"}, (2048, 2048)),
        (
            "ideogram-3",
            {"aspect_ratio": "16:9", "style": "watercolor", "negative_prompt": "dogs"},
            (1360, 768),
        ),
        ("ideogram-3", {"size": "1536x512", "style": "realistic", "quality": "flash"}, (1536, 512)),
        (
            "ideogram-3-transparent",
            {"aspect_ratio": "1:1", "background": "transparent"},
            (1024, 1024),
        ),
        ("ideogram-4-transparent", {"aspect_ratio": "1:1", "resolution": "2K"}, (2048, 2048)),
        (
            "ideogram-3-custom-model",
            {"options": {"custom_model_uri": "model/mine/version/1"}},
            (1024, 1024),
        ),
        ("ideogram/z-image", {"options": {"aspect_ratio": "1x1"}}, (1024, 1024)),
    ],
)
async def test_a_generation_goes_all_the_way(tmp_path, model, fields, size):
    async with open_ideogram(tmp_path, latency=0.02) as (client, simulator):
        image = await client.generate("a cat", model=model, **fields)
        assert opened_rgb(image).size == (image.width, image.height) == size
        assert not image.adjustments
        assert image.cost == imagen.Cost(usd=simulator.billed_usd, source="reported")
        kinds = [received.kind for received in simulator.received]
        assert kinds[0] == "create"
        assert set(kinds[1:-1]) == {"poll"}
        assert kinds[-1] == "download"
        assert [bill.delivered for bill in simulator.bills] == [True]
        await books_are_balanced(client, simulator)


PRICED = [model.id for model in CATALOG if model.provider == "ideogram" and model.price is not None]


@pytest.mark.parametrize("model", PRICED)
def test_what_the_catalog_says_of_a_price_is_what_is_billed(model):
    """Held against the list of the simulator, which was written from the price
    page by itself.
    """
    from imagen._results.prices import quote_request
    from imagen.testing.simulator._providers.ideogram.models import ENDPOINTS

    entry = CATALOG.find(model)
    (path,) = set(list(entry.wire["paths"].values())[:1])
    endpoint = ENDPOINTS[path.removeprefix("image/")]
    for quality in (*entry.capabilities.qualities, None):
        expected = quote_request(entry, imagen.Generate(prompt="x", quality=quality)).expected_usd
        default = "medium" if model == "ideogram/edit" else None
        if expected is not None:
            assert expected == endpoint.price_usd(quality or default)


async def test_several_images_come_from_one_generation(tmp_path):
    async with open_ideogram(tmp_path) as (client, simulator):
        async with client.open_batch(
            "a cat", n=3, model="ideogram-4", quality="turbo", together=True
        ) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
        assert len({outcome.sha256 for outcome in outcomes}) == 3
        assert [received.kind for received in simulator.received].count("create") == 1
        assert (
            sum(outcome.cost.usd for outcome in outcomes) == simulator.billed_usd == Decimal("0.09")
        )
        await books_are_balanced(client, simulator)


async def test_the_prompt_that_was_drawn_is_told(tmp_path):
    async with open_ideogram(tmp_path) as (client, _):
        image = await client.generate("a cat", model="ideogram-4", size="512x1536", seed=9)
        assert (image.revised_prompt, image.seed) == ("A detailed image of a cat", 9)
        plain = await client.generate(
            "a cat", model="ideogram-4", size="512x1536", options={"magic_prompt": "off"}
        )
        assert plain.revised_prompt is None


async def test_references_lend_their_style(tmp_path):
    async with open_ideogram(tmp_path) as (client, simulator):
        request = imagen.Generate(
            prompt="a cat", model="ideogram-3", references=(large_png(RED), large_png(GREEN))
        )
        decoded = opened_rgb(await client.generate(request))
        assert decoded.getpixel((decoded.width - 25, 5)) == RED
        assert decoded.getpixel((decoded.width - 5, 5)) == GREEN
        await books_are_balanced(client, simulator)


async def test_a_character_comes_from_one_reference(tmp_path):
    async with open_ideogram(tmp_path) as (client, simulator):
        with pytest.raises(imagen.InvalidRequestError, match="reference"):
            await client.generate("a king", model="ideogram-3-character")
        request = imagen.Generate(
            prompt="a king", model="ideogram-3-character", references=(large_png(RED),)
        )
        assert opened_rgb(await client.generate(request)).getpixel((1020, 5)) == RED
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("model", "size"), [("ideogram/edit", None), ("ideogram/edit", "512x256")])
async def test_an_edit_sends_its_images_in_their_order(tmp_path, model, size):
    async with open_ideogram(tmp_path) as (client, simulator):
        image = await client.edit(
            "together", large_png(RED), large_png(GREEN), model=model, size=size
        )
        assert image.cost.usd == Decimal("0.06")
        decoded = opened_rgb(image)
        assert decoded.size == ((256, 256) if size is None else (512, 256))
        assert decoded.getpixel((decoded.width // 4, 50)) == RED
        assert decoded.getpixel((decoded.width * 3 // 4, 50)) == GREEN
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("ideogram/edit", "a hat"),
        ("ideogram/precise-edit", "a hat"),
        ("ideogram/inpaint", "a hat"),
        ("ideogram/remove-object", ""),
    ],
)
async def test_the_white_area_of_a_mask_changes_and_no_other(tmp_path, model, prompt):
    async with open_ideogram(tmp_path) as (client, simulator):
        decoded = opened_rgb(
            await client.edit(prompt, large_png(RED), mask=left_mask(), model=model)
        )
        assert decoded.size == (256, 256)
        assert decoded.getpixel((200, 100)) == RED
        assert decoded.getpixel((50, 100)) != RED
        await books_are_balanced(client, simulator)


async def test_a_second_image_lends_its_look_to_a_precise_edit_and_its_face_to_an_inpainting(
    tmp_path,
):
    async with open_ideogram(tmp_path) as (client, simulator):
        decoded = opened_rgb(
            await client.edit("so", large_png(RED), large_png(GREEN), model="ideogram/precise-edit")
        )
        assert (decoded.getpixel((5, 5)), decoded.getpixel((250, 5))) == (RED, GREEN)
        image = await client.edit(
            "a king",
            large_png(RED),
            large_png(GREEN),
            mask=left_mask(),
            model="ideogram/inpaint-character",
        )
        assert (opened_rgb(image).getpixel((5, 5)), opened_rgb(image).getpixel((200, 5))) == (
            GREEN,
            RED,
        )
        await books_are_balanced(client, simulator)


async def test_a_size_beside_a_mask_is_dropped_and_told(tmp_path):
    async with open_ideogram(tmp_path) as (client, simulator):
        image = await client.edit(
            "a hat", large_png(RED), mask=left_mask(), model="ideogram/edit", size="512x512"
        )
        assert (image.width, image.height) == (256, 256)
        assert [(made.field, made.asked, made.sent) for made in image.adjustments] == [
            ("size", "512x512", None)
        ]
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("model", "prompt", "fields", "size"),
    [
        ("ideogram/reframe", "", {"size": "1536x512", "style": "bauhaus"}, (1536, 512)),
        ("ideogram/reframe-nano-banana-2", "", {"aspect_ratio": "2:1"}, (1456, 720)),
        ("ideogram/replace-background", "a beach", {"quality": "quality"}, (256, 256)),
        ("ideogram/replace-background-gpt-image-2", "a beach", {}, (256, 256)),
    ],
)
async def test_the_tools_keep_the_image_in_the_middle(tmp_path, model, prompt, fields, size):
    async with open_ideogram(tmp_path) as (client, simulator):
        decoded = opened_rgb(await client.edit(prompt, large_png(RED), model=model, **fields))
        assert decoded.size == size
        assert decoded.getpixel((size[0] // 2, size[1] // 2)) == RED
        assert decoded.getpixel((2, 2)) != RED
        await books_are_balanced(client, simulator)


async def test_a_background_is_removed(tmp_path):
    async with open_ideogram(tmp_path) as (client, simulator):
        image = await client.edit("", large_png(RED), model="ideogram/remove-background")
        assert PillowImage.open(io.BytesIO(image.data)).mode == "RGBA"
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("strength", "red"), [(0.0, True), (1.0, False)])
@pytest.mark.parametrize("model", ["ideogram-3", "ideogram/remix-4"])
async def test_a_variation_is_the_nearer_the_less_strength_it_has(tmp_path, model, strength, red):
    async with open_ideogram(tmp_path) as (client, simulator):
        image = await client.vary(large_png(RED), strength=strength, model=model, size="1024x1024")
        assert near(opened_rgb(image).getpixel((100, 100)), RED) is red
        await books_are_balanced(client, simulator)


async def test_a_restyling_has_the_image_and_the_style(tmp_path):
    async with open_ideogram(tmp_path) as (client, simulator):
        decoded = opened_rgb(
            await client.restyle(large_png(RED), large_png(GREEN), strength=0.0, model="ideogram-3")
        )
        assert near(decoded.getpixel((5, 5)), RED)
        assert near(decoded.getpixel((decoded.width - 5, 5)), GREEN)
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("model", "scale", "side"),
    [
        ("ideogram/topaz-standard-2", None, 128),
        ("ideogram/upscale", 4, 256),
        ("ideogram/topaz-bloom-2", 8, 512),
    ],
)
async def test_an_enhancement_is_larger_by_its_factor(tmp_path, model, scale, side):
    async with open_ideogram(tmp_path) as (client, simulator):
        image = await client.enhance(large_png(RED, (64, 64)), scale=scale, model=model)
        assert opened_rgb(image).size == (side, side)
        assert opened_rgb(image).getpixel((5, 5)) == RED
        assert not image.adjustments
        await books_are_balanced(client, simulator)


async def test_a_prompt_for_a_tool_without_one_is_dropped_and_told(tmp_path):
    async with open_ideogram(tmp_path) as (client, _):
        image = await client.enhance(
            large_png(RED, (64, 64)), prompt="sharper!", model="ideogram/upscale"
        )
        assert [(made.field, made.sent) for made in image.adjustments] == [("prompt", None)]


async def test_progress_is_told_while_the_generation_runs(tmp_path):
    events: list[imagen.Event] = []
    async with open_ideogram(tmp_path, latency=0.03, on_event=events.append) as (client, _):
        await client.generate("a cat", model="ideogram-4", size="512x1536")
    assert {event.note for event in events if isinstance(event, imagen.ProgressReported)} == {
        "pending"
    }


async def test_the_price_list_stands_in_where_no_cost_is_told(tmp_path):
    async with open_ideogram(tmp_path, service=Ideogram(tells_cost=False)) as (client, simulator):
        image = await client.generate(
            "a cat", model="ideogram-4-5", quality="medium", size="1024x1024"
        )
        assert image.cost == imagen.Cost(usd=Decimal("0.06"), source="estimated")
        await books_are_balanced(client, simulator)


# --- what goes wrong ----------------------------------------------------------


async def test_an_image_that_is_withheld_is_billed_and_the_others_are_there(tmp_path):
    async with open_ideogram(tmp_path, faults=Withheld()) as (client, simulator):
        async with client.open_batch(
            "a cat", n=3, model="ideogram-4", size="512x1536", together=True
        ) as batch:
            outcomes = [outcome async for outcome in batch]
        failure, *images = sorted(outcomes, key=lambda outcome: outcome.index)
        assert isinstance(failure, imagen.Failure)
        assert isinstance(failure.error, imagen.ContentFilterError)
        assert (failure.error.billed, failure.cost.usd) == ("yes", Decimal("0.06"))
        assert [type(image) for image in images] == [imagen.Image] * 2
        await books_are_balanced(client, simulator)


async def test_the_only_image_that_is_withheld_is_billed(tmp_path):
    async with open_ideogram(tmp_path, faults=Withheld()) as (client, simulator):
        with pytest.raises(imagen.ContentFilterError) as caught:
            await client.generate("a cat", model="ideogram-4", size="512x1536")
        assert caught.value.billed == "yes"
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Internal error.", imagen.ProviderError),
        ("Prompt failed safety check", imagen.ContentFilterError),
    ],
)
async def test_a_generation_that_fails_costs_nothing(tmp_path, text, kind):
    async with open_ideogram(tmp_path, faults=JobFails(text=text)) as (client, simulator):
        with pytest.raises(kind) as caught:
            await client.generate("a cat", model="ideogram-4", size="512x1536")
        assert caught.value.billed == "no"
        assert (await client.spending()).settled_usd == simulator.billed_usd == 0


async def test_a_link_that_expired_is_read_anew(tmp_path):
    async with open_ideogram(tmp_path, faults=ExpiredLink(status=403)) as (client, simulator):
        await client.generate("a cat", model="ideogram-4", size="512x1536")
        assert [received.kind for received in simulator.received][-4:] == [
            "poll",
            "download",
            "poll",
            "download",
        ]
        await books_are_balanced(client, simulator)


async def test_a_link_that_stays_expired_is_billed(tmp_path):
    service = Ideogram(resigns=False)
    async with open_ideogram(tmp_path, service=service, faults=ExpiredLink(status=404)) as (
        client,
        simulator,
    ):
        with pytest.raises(imagen.ProviderError, match="404") as caught:
            await client.generate("a cat", model="ideogram-4", size="512x1536")
        assert caught.value.billed == "yes"
        await books_are_balanced(client, simulator)


async def test_polls_are_asked_again_and_submissions_that_were_not_taken_too(tmp_path):
    polls = [Overloaded(), Reset(), RateLimited(wait_seconds=0.001), None]
    faults = [Overloaded(), RateLimited(wait_seconds=0.001), None]
    async with open_ideogram(tmp_path, faults=faults, poll_faults=polls) as (client, simulator):
        await client.generate("a cat", model="ideogram-4", size="512x1536")
        assert [received.kind for received in simulator.received].count("create") == 3
        await books_are_balanced(client, simulator)


async def test_a_lost_answer_to_a_submission_is_not_ordered_again(tmp_path):
    async with open_ideogram(tmp_path, faults=Reset(after_billing=True)) as (client, simulator):
        with pytest.raises(imagen.OutcomeUnknownError):
            await client.generate("a cat", model="ideogram-4", size="512x1536")
        assert len(simulator.received) == 1
        assert (await client.spending()).unknown_usd >= simulator.billed_usd > 0


async def test_a_refusal_costs_nothing_and_is_not_repeated(tmp_path):
    async with open_ideogram(tmp_path, faults=Refused()) as (client, simulator):
        with pytest.raises(imagen.ContentFilterError, match="safety check") as caught:
            await client.generate("a cat", model="ideogram-4")
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1
        assert simulator.billed_usd == 0


async def test_a_web_page_in_place_of_an_image_is_billed(tmp_path):
    async with open_ideogram(tmp_path, faults=WrongMedia()) as (client, simulator):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat", model="ideogram-4", size="512x1536")
        await books_are_balanced(client, simulator)
