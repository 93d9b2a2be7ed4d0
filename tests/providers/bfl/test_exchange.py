"""Whole exchanges with the simulated Black Forest Labs over real sockets: what
comes back, and what both sides book.
"""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

import imagen
from imagen.testing.simulator import ExpiredLink, Overloaded, Refused, Reset, WrongMedia
from imagen.testing.simulator._core.faults import JobFails, Withheld
from imagen.testing.simulator._providers.bfl.server import BlackForestLabs
from tests.support.images import GREEN, RED, large_png, left_mask, near, opened_rgb
from tests.support.providers.bfl import open_bfl


async def books_are_balanced(client, simulator):
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd > 0
    assert spending.unknown_usd == spending.reserved_usd == 0
    assert not simulator.leaks


@pytest.mark.parametrize(
    ("model", "fields", "size", "media_type"),
    [
        (
            "flux-2-klein-4b",
            {"size": "2048x1024", "output_format": "webp"},
            (2048, 1024),
            "image/webp",
        ),
        ("flux-2-pro", {}, (1024, 1024), "image/jpeg"),
        (
            "flux-2-flex",
            {"steps": 20, "guidance": 3.5, "safety": "relaxed"},
            (1024, 1024),
            "image/jpeg",
        ),
        (
            "flux-3-image",
            {"aspect_ratio": "16:9", "resolution": "2K", "safety": "strict"},
            (2736, 1536),
            "image/png",
        ),
        ("flux-3-image", {"resolution": "768"}, (768, 768), "image/png"),
        ("flux-3-image", {"size": "1536x1024", "seed": 3}, (1536, 1024), "image/png"),
        ("flux-3-image-klein", {"size": "2048x2048"}, (2048, 2048), "image/png"),
        ("flux-kontext-pro", {"aspect_ratio": "1:1"}, (1024, 1024), "image/png"),
        ("flux-pro-1.1", {"size": "1024x768", "output_format": "png"}, (1024, 768), "image/png"),
        (
            "flux-pro-1.1-ultra",
            {"aspect_ratio": "1:1", "options": {"raw": True}},
            (2048, 2048),
            "image/jpeg",
        ),
        ("flux-dev", {"steps": 10, "size": "512x512"}, (512, 512), "image/jpeg"),
    ],
)
async def test_a_generation_goes_all_the_way(tmp_path, model, fields, size, media_type):
    async with open_bfl(tmp_path, latency=0.02) as (client, simulator):
        image = await client.generate("a cat", model=model, **fields)
        assert (image.width, image.height, image.media_type) == (*size, media_type)
        assert opened_rgb(image).size == size
        assert not image.adjustments
        assert image.cost == imagen.Cost(usd=simulator.billed_usd, source="reported")
        assert [bill.delivered for bill in simulator.bills] == [True]
        kinds = [received.kind for received in simulator.received]
        assert kinds[0] == "create"
        assert set(kinds[1:-1]) == {"poll"}
        assert kinds[-1] == "download"
        await books_are_balanced(client, simulator)


async def test_a_seed_goes_and_comes_back(tmp_path):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.generate("a cat", model="flux-2-klein-4b", seed=7)
        assert image.seed == 7
        assert json.loads(simulator.received[0].body)["seed"] == 7


async def test_the_prompt_that_was_drawn_is_told(tmp_path):
    async with open_bfl(tmp_path) as (client, _):
        image = await client.generate(
            "a cat", model="flux-2-flex", options={"prompt_upsampling": True}
        )
        assert image.revised_prompt == "A detailed image of a cat"
        plain = await client.generate("a cat", model="flux-2-flex")
        assert plain.revised_prompt is None


@pytest.mark.parametrize("model", ["flux-2-klein-4b", "flux-kontext-pro", "flux-3-image"])
async def test_an_edit_sends_its_images_in_their_order(tmp_path, model):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.edit(
            "put them together", large_png(RED), large_png(GREEN), model=model, safety="standard"
        )
        decoded = opened_rgb(image)
        assert near(decoded.getpixel((decoded.width // 4, 50)), RED)
        assert near(decoded.getpixel((decoded.width * 3 // 4, 50)), GREEN)
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("model", ["flux-2-pro", "flux-kontext-max", "flux-3-image"])
async def test_a_restyling_names_the_two_images(tmp_path, model):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.restyle(
            large_png(RED), large_png(GREEN), prompt="Softly.", model=model
        )
        decoded = opened_rgb(image)
        assert near(decoded.getpixel((5, 50)), RED)
        assert near(decoded.getpixel((decoded.width - 5, 50)), GREEN)
        prompt = json.loads(simulator.received[0].body)["prompt"]
        assert prompt == "Redraw image 1 in the style of image 2. Keep what image 1 shows. Softly."
        await books_are_balanced(client, simulator)


async def test_a_generation_with_references_sends_them(tmp_path):
    async with open_bfl(tmp_path) as (client, simulator):
        request = imagen.Generate(
            prompt="a cat",
            model="flux-2-pro",
            size="1024x1024",
            references=(large_png(RED), large_png(GREEN)),
        )
        image = await client.generate(request)
        assert near(opened_rgb(image).getpixel((900, 50)), GREEN)
        # 0.03, and 0.015 for each of the two small images.
        assert image.cost.usd == Decimal("0.06")
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("model", ["flux-pro-1.0-fill", "bfl/erase"])
async def test_the_white_area_of_a_mask_changes_and_no_other(tmp_path, model):
    async with open_bfl(tmp_path) as (client, simulator):
        prompt = "" if model == "bfl/erase" else "a hat"
        image = await client.edit(
            prompt, large_png(RED), mask=left_mask(), model=model, output_format="png"
        )
        decoded = opened_rgb(image)
        assert decoded.size == (256, 256)
        assert decoded.getpixel((200, 100)) == RED
        assert decoded.getpixel((50, 100)) != RED
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("strength", "red"), [(0.0, True), (1.0, False)])
async def test_a_variation_is_the_nearer_the_less_strength_it_has(tmp_path, strength, red):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.vary(
            large_png(RED), strength=strength, model="flux-pro-1.1-ultra", output_format="png"
        )
        assert near(opened_rgb(image).getpixel((100, 100)), RED) is red
        await books_are_balanced(client, simulator)


async def test_a_variation_without_a_strength_to_set_says_so(tmp_path):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.vary(large_png(RED), strength=0.5, model="flux-pro-1.1")
        assert [(made.field, made.sent) for made in image.adjustments] == [("strength", None)]
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("model", "fields", "size", "place"),
    [
        ("bfl/outpainting", {"size": "512x384"}, (512, 384), (128, 64)),
        ("flux-pro-1.0-expand", {"options": {"left": 64, "top": 32}}, (320, 288), (64, 32)),
        ("bfl/deblur", {}, (256, 256), (0, 0)),
    ],
)
async def test_the_tools_without_a_mask(tmp_path, model, fields, size, place):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.edit("", large_png(RED), model=model, output_format="png", **fields)
        decoded = opened_rgb(image)
        assert decoded.size == size
        assert decoded.getpixel((place[0] + 5, place[1] + 5)) == RED
        if place != (0, 0):
            assert decoded.getpixel((place[0] - 5, place[1] - 5)) != RED
        await books_are_balanced(client, simulator)


async def test_a_person_and_a_garment(tmp_path):
    async with open_bfl(tmp_path) as (client, simulator):
        image = await client.edit("", large_png(RED), large_png(GREEN), model="bfl/try-on")
        assert near(opened_rgb(image).getpixel((5, 5)), RED)
        await books_are_balanced(client, simulator)


async def test_a_prompt_for_a_tool_without_one_is_dropped_and_told(tmp_path):
    async with open_bfl(tmp_path) as (client, _):
        image = await client.edit("sharper!", large_png(RED), model="bfl/deblur")
        (made,) = image.adjustments
        assert (made.field, made.asked, made.sent) == ("prompt", "sharper!", None)


async def test_progress_is_told_while_the_job_runs(tmp_path):
    events: list[imagen.Event] = []
    async with open_bfl(tmp_path, latency=0.05, on_event=events.append) as (client, _):
        await client.generate("a cat", model="flux-2-klein-4b")
    told = [event for event in events if isinstance(event, imagen.ProgressReported)]
    assert told
    assert {event.note for event in told} == {"Pending"}
    assert all(event.fraction is not None and 0 <= event.fraction < 1 for event in told)


async def test_a_job_with_a_webhook_is_asked_for_all_the_same(tmp_path):
    async with open_bfl(tmp_path) as (client, simulator):
        options = {"webhook_url": "https://example.com/hook", "webhook_secret": "s"}
        await client.generate("a cat", model="flux-2-klein-4b", options=options)
        await books_are_balanced(client, simulator)


async def test_the_price_list_stands_in_where_no_cost_is_told(tmp_path):
    service = BlackForestLabs(tells_cost=False)
    async with open_bfl(tmp_path, service=service) as (client, simulator):
        image = await client.generate("a cat", model="flux-2-pro", size="2048x2048")
        assert image.cost == imagen.Cost(usd=Decimal("0.075"), source="estimated")
        await books_are_balanced(client, simulator)


# --- what goes wrong ----------------------------------------------------------


@pytest.mark.parametrize("charges", [True, False])
async def test_an_image_that_is_withheld_has_its_cost(tmp_path, charges):
    service = BlackForestLabs(charges_for_moderated=charges)
    settings = {"charges_for_moderated": charges}
    async with open_bfl(tmp_path, service=service, settings=settings, faults=Withheld()) as (
        client,
        simulator,
    ):
        with pytest.raises(imagen.ContentFilterError, match="Content Policy") as caught:
            await client.generate("a cat", model="flux-2-klein-4b")
        assert caught.value.billed == ("yes" if charges else "no")
        spending = await client.spending()
        assert spending.settled_usd == simulator.billed_usd == (Decimal("0.014") if charges else 0)
        assert spending.attempts.refused == 1


async def test_a_job_that_fails_is_unknown_and_not_ordered_again(tmp_path):
    async with open_bfl(tmp_path, faults=JobFails(text="GPU on fire.")) as (client, simulator):
        with pytest.raises(imagen.ProviderError, match="GPU on fire") as caught:
            await client.generate("a cat", model="flux-2-klein-4b", size="1024x1024")
        assert caught.value.billed == "unknown"
        assert [received.kind for received in simulator.received].count("create") == 1
        assert (await client.spending()).unknown_usd >= simulator.billed_usd > 0


async def test_a_link_that_expired_is_signed_anew(tmp_path):
    async with open_bfl(tmp_path, faults=ExpiredLink(status=403)) as (client, simulator):
        image = await client.generate("a cat", model="flux-2-klein-4b", size="1024x1024")
        assert opened_rgb(image).size == (1024, 1024)
        assert [received.kind for received in simulator.received][-4:] == [
            "poll",
            "download",
            "poll",
            "download",
        ]
        await books_are_balanced(client, simulator)


async def test_a_link_that_stays_expired_is_billed(tmp_path):
    service = BlackForestLabs(resigns=False)
    async with open_bfl(tmp_path, service=service, faults=ExpiredLink(status=404)) as (
        client,
        simulator,
    ):
        with pytest.raises(imagen.ProviderError, match="404") as caught:
            await client.generate("a cat", model="flux-2-klein-4b", size="1024x1024")
        assert caught.value.billed == "yes"
        await books_are_balanced(client, simulator)


async def test_a_refused_poll_is_repeated(tmp_path):
    polls = [Overloaded(), Reset(), None]
    async with open_bfl(tmp_path, poll_faults=polls) as (client, simulator):
        await client.generate("a cat", model="flux-2-klein-4b")
        await books_are_balanced(client, simulator)


async def test_a_refusal_at_the_door_is_not_sent_again(tmp_path):
    settings = {"charges_for_moderated": False}
    async with open_bfl(tmp_path, settings=settings, faults=Refused()) as (client, simulator):
        with pytest.raises(imagen.ContentFilterError, match="Derivative Works Filter") as caught:
            await client.generate("a cat", model="flux-2-klein-4b")
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1
        assert (await client.spending()).settled_usd == simulator.billed_usd == 0


async def test_a_web_page_in_place_of_an_image_is_billed(tmp_path):
    async with open_bfl(tmp_path, faults=WrongMedia()) as (client, simulator):
        with pytest.raises(imagen.ProviderError):
            await client.edit("a cat", large_png(RED), model="flux-2-klein-4b")
        await books_are_balanced(client, simulator)


async def test_the_key_is_probed_for_nothing(tmp_path):
    async with open_bfl(tmp_path) as (client, simulator):
        status = await client.probe("bfl")
        assert status.usable
        assert [received.path for received in simulator.received] == ["/bfl/v1/credits"]
