"""Whole exchanges with the simulated fal.ai over real sockets: what comes back,
and what both sides book.
"""

from __future__ import annotations

import json
from decimal import Decimal

import httpx2
import pytest
import trio

import imagen
from imagen.testing.simulator import (
    ExpiredLink,
    JobFails,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    Reset,
    Withheld,
    WrongMedia,
)
from imagen.testing.simulator._providers.fal.server import Fal
from tests.support.images import GREEN, RED, large_png, left_mask, near, opened
from tests.support.providers.fal import open_fal

SCHNELL = "fal/flux-schnell"


async def books_are_balanced(client, simulator):
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd > 0
    assert spending.unknown_usd == spending.reserved_usd == 0
    assert not simulator.leaks


def sent(simulator):
    """The input of the last job."""
    return json.loads(
        [received.body for received in simulator.received if received.kind == "create"][-1]
    )


@pytest.mark.parametrize(
    ("model", "fields", "size", "media_type"),
    [
        (SCHNELL, {"size": "1024x1024", "output_format": "png"}, (1024, 1024), "image/png"),
        (
            SCHNELL,
            {"size": "1280x1024", "steps": 4, "safety": "standard"},
            (1280, 1024),
            "image/jpeg",
        ),
        ("fal/flux-dev", {"size": "1024x576", "guidance": 3.5}, (1024, 576), "image/jpeg"),
        (
            "fal/flux-kontext",
            {"aspect_ratio": "1:1", "safety": "strict"},
            (1024, 1024),
            "image/jpeg",
        ),
        ("fal/flux-2-pro", {"size": "1536x1024", "safety": "relaxed"}, (1536, 1024), "image/jpeg"),
        ("fal/flux-3", {"aspect_ratio": "1:1", "resolution": "1K"}, (1024, 1024), "image/png"),
        (
            "fal/nano-banana-2",
            {"aspect_ratio": "1:1", "resolution": "1K"},
            (1024, 1024),
            "image/png",
        ),
    ],
)
async def test_a_generation_goes_all_the_way(tmp_path, model, fields, size, media_type):
    async with open_fal(tmp_path, latency=0.02) as (client, simulator):
        image = await client.generate("a cat", model=model, **fields)
        assert (image.width, image.height, image.media_type) == (*size, media_type)
        assert opened(image).size == size
        assert not image.adjustments
        assert [bill.delivered for bill in simulator.bills] == [True]
        kinds = [received.kind for received in simulator.received]
        assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == ("create", {"poll"}, "download")
        await books_are_balanced(client, simulator)


async def test_what_was_counted_is_what_is_booked(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        async with client.open_batch(
            "a cat", n=3, model=SCHNELL, size="2048x1024", together=True
        ) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [outcome.cost for outcome in outcomes] == [
            imagen.Cost(usd=Decimal("0.006"), source="computed")
        ] * 3
        await books_are_balanced(client, simulator)
    async with open_fal(tmp_path / "plain", service=Fal(tells_units=False)) as (client, simulator):
        image = await client.generate("a cat", model=SCHNELL, size="2048x1024")
        assert image.cost == imagen.Cost(usd=Decimal("0.006"), source="estimated")
        await books_are_balanced(client, simulator)


async def test_a_seed_goes_and_comes_back(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.generate("a cat", model=SCHNELL, seed=7)
        assert image.seed == sent(simulator)["seed"] == 7
        assert image.revised_prompt is None


@pytest.mark.parametrize(
    ("model", "shape"),
    [("fal/flux-2-pro", {"size": "1024x1024"}), ("fal/nano-banana-2", {"aspect_ratio": "1:1"})],
)
async def test_an_edit_sends_its_images_in_their_order_to_an_endpoint_of_its_own(
    tmp_path, model, shape
):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.edit(
            "together", large_png(RED), large_png(GREEN), model=model, output_format="png", **shape
        )
        decoded = opened(image)
        side = min(decoded.size) // 16
        assert near(decoded.getpixel((side // 2, side // 2)), RED)
        assert near(decoded.getpixel((side + side // 2, side // 2)), GREEN)
        assert simulator.received[0].path.endswith("/edit")
        await books_are_balanced(client, simulator)


async def test_references_go_to_the_endpoint_of_edits(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        request = imagen.Generate(
            prompt="a cat", model="fal/flux-2-max", size="1024x1024", references=(large_png(GREEN),)
        )
        image = await client.generate(request)
        assert near(opened(image).getpixel((10, 10)), GREEN)
        assert image.cost.usd == Decimal("0.10")
        await books_are_balanced(client, simulator)


async def test_style_references_have_a_field_of_their_own(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        await client.generate(
            imagen.Generate(
                prompt="a cat", model="fal/ideogram-v3", references=(large_png(), large_png(GREEN))
            )
        )
        assert len(sent(simulator)["image_urls"]) == 2


async def test_a_restyling_names_the_two_images(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.restyle(
            large_png(RED),
            large_png(GREEN),
            prompt="Softly.",
            model="fal/flux-2-pro",
            size="1024x1024",
            output_format="png",
        )
        decoded = opened(image)
        side = min(decoded.size) // 16
        assert near(decoded.getpixel((side + side // 2, side // 2)), GREEN)
        assert (
            sent(simulator)["prompt"]
            == "Redraw image 1 in the style of image 2. Keep what image 1 shows. Softly."
        )
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("model", ["fal/flux-fill", "fal/gpt-image-2"], ids=["white", "alpha"])
async def test_the_white_area_of_a_mask_changes_and_no_other(tmp_path, model):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.edit(
            "a hat", large_png(RED), mask=left_mask(), model=model, output_format="png"
        )
        decoded = opened(image)
        width, height = decoded.size
        assert near(decoded.getpixel((width - 20, height // 2)), RED)
        assert not near(decoded.getpixel((20, height // 2)), RED)
        assert sent(simulator)["mask_url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(("strength", "red"), [(0.0, True), (1.0, False)])
async def test_a_variation_is_the_nearer_the_less_strength_it_has(tmp_path, strength, red):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.vary(
            large_png(RED),
            strength=strength,
            model="fal/flux-dev-image-to-image",
            output_format="png",
        )
        assert near(opened(image).getpixel((100, 100)), RED) is red
        # The endpoint takes no 0, which is told.
        assert [made.sent for made in image.adjustments] == (["0.01"] if red else [])
        assert sent(simulator)["prompt"] == "The same subject and style, with other details."
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("scale", [1.5, 2, 4])
async def test_an_enhancement_has_its_scale_and_costs_what_came_out(tmp_path, scale):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.enhance(
            large_png(RED, (1024, 512)), scale=scale, model="fal/clarity-upscaler"
        )
        assert (image.width, image.height) == (1024 * scale, 512 * scale)
        assert near(opened(image).getpixel((100, 100)), RED)
        assert image.cost.source == "computed"
        await books_are_balanced(client, simulator)


async def test_what_is_behind_is_taken_away_without_a_prompt(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        image = await client.edit("the cat", large_png(RED), model="fal/birefnet")
        assert opened(image).mode == "RGBA"
        assert [(made.field, made.asked, made.sent) for made in image.adjustments] == [
            ("prompt", "the cat", None)
        ]
        assert sent(simulator).keys() == {"image_url"}


async def test_progress_is_told_from_the_queue_to_the_end(tmp_path):
    events: list[imagen.Event] = []
    async with open_fal(tmp_path, latency=0.5, on_event=events.append) as (client, _):
        await client.generate("a cat", model=SCHNELL)
    told = [event for event in events if isinstance(event, imagen.ProgressReported)]
    assert told[0].note == "in the queue behind 2"
    running = [event.fraction for event in told if event.note == "running"]
    assert running
    assert running == sorted(running)
    # A log rounds to whole percents, so the first and the last of them may be 0
    # and 1.
    assert all(fraction is not None and 0 <= fraction <= 1 for fraction in running)
    assert any(0 < fraction < 1 for fraction in running)


async def test_a_model_of_a_table_of_the_user_needs_no_code(tmp_path):
    """A workflow, whose addresses have three parts."""
    (tmp_path / "home").mkdir()
    table = {
        "provider": "fal",
        "wire_name": "workflows/acme/drawing",
        "capabilities": {"free_size": {"max_side": 2048, "max_pixels": 4194304}},
        "wire": {"size": {"field": "image_size", "words": {"512x512": "square"}}},
        "price": {"usd_per_image": "0.05"},
    }
    async with open_fal(tmp_path / "home", models={"fal/mine": table}) as (client, simulator):
        for size, said in (("512x512", "square"), ("640x512", {"width": 640, "height": 512})):
            image = await client.generate("a cat", model="fal/mine", size=size)
            assert f"{image.width}x{image.height}" == size
            assert sent(simulator)["image_size"] == said
        assert {
            received.path.split("/requests/")[0]
            for received in simulator.received
            if received.kind == "poll"
        } == {"/fal/workflows/acme/drawing"}
        await books_are_balanced(client, simulator)


async def test_addresses_of_another_host_are_not_followed(tmp_path):
    """As behind a proxy: the answers name the gateway itself, and the key is
    for the proxy.
    """
    async with open_fal(tmp_path, service=Fal(origin="https://queue.example")) as (
        client,
        simulator,
    ):
        await client.generate("a cat", model="fal/flux-dev")
        assert {received.provider for received in simulator.received} == {"fal", "files"}
        await books_are_balanced(client, simulator)


# --- leaving ------------------------------------------------------------------


async def leave_when(client, simulator, kind, count, *, salvage_seconds=None):
    """Begins a batch, leaves it when so many requests of a kind have come, and
    waits for what is in flight.
    """
    async with client.open_batch("a cat", model=SCHNELL, size="1024x1024") as batch:
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async for _ in batch:
                    pass

            nursery.start_soon(read)
            while [received.kind for received in simulator.received].count(kind) < count:
                await trio.sleep(0.002)
            nursery.cancel_scope.cancel()
    if salvage_seconds is not None:
        client.bound_salvage(salvage_seconds)
    with trio.fail_after(5):
        while client.in_flight:
            await trio.sleep(0.002)


async def test_leaving_while_a_job_is_queued_stops_it_for_nothing(tmp_path):
    service = Fal(queued_share=1.0)
    async with open_fal(tmp_path, service=service, latency=30.0) as (client, simulator):
        with trio.fail_after(5):
            await leave_when(client, simulator, "poll", 2)
        spending = await client.spending()
        assert spending.settled_usd == spending.unknown_usd == spending.reserved_usd == 0
        assert spending.attempts.failed == 1
        last = simulator.received[-1]
        assert (last.kind, last.method) == ("cancel", "PUT")
        # The gateway says so too: the job has ended, and made nothing.
        job = last.path.removesuffix("/cancel")
        async with httpx2.AsyncClient(headers={"authorization": f"Key {simulator.key}"}) as http:
            result = await http.get(f"{simulator.url}{job}")
        assert (result.status_code, result.json()["error_type"]) == (499, "client_cancelled")
        assert not any(bill.delivered for bill in simulator.bills)


async def test_leaving_while_a_job_runs_waits_for_it_and_keeps_its_image(tmp_path):
    service = Fal(queued_share=0.0)
    async with open_fal(tmp_path, service=service, latency=0.2) as (client, simulator):
        await leave_when(client, simulator, "poll", 3)
        assert "cancel" not in [received.kind for received in simulator.received]
        assert len(await client.library.list(limit=10)) == 1
        await books_are_balanced(client, simulator)


async def test_a_job_that_runs_for_too_long_is_left_to_the_next_process(tmp_path):
    service = Fal(queued_share=0.0)
    async with open_fal(tmp_path, service=service, latency=30.0) as (client, simulator):
        await leave_when(client, simulator, "poll", 3, salvage_seconds=0.05)
        # It may be billed when it is stopped, too.
        assert "cancel" not in [received.kind for received in simulator.received]
        spending = await client.spending()
    assert (spending.settled_usd, spending.unknown_usd) == (0, 0)
    assert spending.reserved_usd == simulator.billed_usd


# --- what goes wrong ----------------------------------------------------------


async def test_a_blackened_image_is_withheld_and_has_its_cost(tmp_path):
    async with open_fal(tmp_path, faults=Withheld()) as (client, simulator):
        with pytest.raises(imagen.ContentFilterError, match="unsafe") as caught:
            await client.generate("a cat", model=SCHNELL)
        assert caught.value.billed == "yes"
        assert (await client.spending()).attempts.refused == 1
        assert "download" not in [received.kind for received in simulator.received]
        await books_are_balanced(client, simulator)


async def test_a_job_that_fails_by_the_service_is_not_charged_and_sent_again(tmp_path):
    faults = [JobFails(text="The runner died."), None]
    async with open_fal(tmp_path, faults=faults) as (client, simulator):
        await client.generate("a cat", model=SCHNELL)
        assert simulator.bills[0].usd == 0
        assert len(simulator.bills) == 2
        await books_are_balanced(client, simulator)


async def test_a_wrong_field_is_refused_for_nothing(tmp_path):
    async with open_fal(tmp_path) as (client, simulator):
        with pytest.raises(
            imagen.InvalidRequestError, match="acceleration: Input should be one of"
        ) as caught:
            await client.generate("a cat", model=SCHNELL, options={"acceleration": "warp"})
        assert (caught.value.code, caught.value.billed) == ("INVALID_PROMPT", "no")
        assert (await client.spending()).settled_usd == simulator.billed_usd == 0
        assert len(simulator.bills) == 1


@pytest.mark.parametrize("status", [403, 404])
async def test_a_link_that_does_not_answer_was_billed(tmp_path, status):
    async with open_fal(tmp_path, faults=ExpiredLink(status=status)) as (client, simulator):
        with pytest.raises(imagen.ProviderError, match=str(status)) as caught:
            await client.generate("a cat", model=SCHNELL, size="1024x1024")
        assert caught.value.billed == "yes"
        await books_are_balanced(client, simulator)


async def test_a_refused_poll_is_repeated(tmp_path):
    polls = [Overloaded(), Reset(), None]
    async with open_fal(tmp_path, poll_faults=polls) as (client, simulator):
        await client.generate("a cat", model=SCHNELL)
        await books_are_balanced(client, simulator)


async def test_what_was_refused_for_now_is_sent_again_and_paid_once(tmp_path):
    faults = [Overloaded(), RateLimited(wait_seconds=0.001, told="text"), None]
    async with open_fal(tmp_path, faults=faults) as (client, simulator):
        await client.generate("a cat", model=SCHNELL)
        assert len(simulator.bills) == 1
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Refused(), imagen.ContentFilterError), (QuotaExhausted(), imagen.QuotaExceededError)],
    ids=repr,
)
async def test_a_refusal_at_the_door_is_not_sent_again(tmp_path, fault, kind):
    async with open_fal(tmp_path, faults=fault) as (client, simulator):
        with pytest.raises(kind) as caught:
            await client.generate("a cat", model=SCHNELL)
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1
        assert (await client.spending()).settled_usd == simulator.billed_usd == 0


async def test_a_web_page_in_place_of_an_image_is_billed(tmp_path):
    async with open_fal(tmp_path, faults=WrongMedia()) as (client, simulator):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat", model=SCHNELL, size="1024x1024")
        await books_are_balanced(client, simulator)


async def test_a_lost_answer_is_unknown_and_is_not_ordered_again(tmp_path):
    async with open_fal(tmp_path, faults=Reset(after_billing=True)) as (client, simulator):
        with pytest.raises(imagen.OutcomeUnknownError):
            await client.generate("a cat", model=SCHNELL, size="1024x1024")
        assert len(simulator.received) == 1
        spending = await client.spending()
        assert (spending.settled_usd, spending.unknown_usd) == (0, simulator.billed_usd)
