"""Whole exchanges with the simulated Replicate over real sockets: what comes
back, and what both sides book.
"""

from __future__ import annotations

import json
import random
from decimal import Decimal
from io import BytesIO

import httpx2
import pytest
import trio
from PIL import Image as PillowImage

import imagen
from imagen.testing.simulator import (
    ExpiredLink,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Reset,
    Withheld,
    WrongMedia,
)
from imagen.testing.simulator._providers.replicate.server import Replicate
from tests.support.images import GREEN, RED, large_png, left_mask, near, opened
from tests.support.providers.replicate import open_replicate

SCHNELL = "replicate/flux-schnell"


async def books_are_balanced(client, simulator):
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd > 0
    assert spending.unknown_usd == spending.reserved_usd == 0
    assert not simulator.leaks


def sent(simulator):
    """The input of the last prediction."""
    return json.loads(
        [received.body for received in simulator.received if received.kind == "create"][-1]
    )["input"]


@pytest.mark.parametrize(
    ("model", "fields", "size", "media_type"),
    [
        (SCHNELL, {"aspect_ratio": "1:1", "output_format": "png"}, (1024, 1024), "image/png"),
        (
            SCHNELL,
            {"aspect_ratio": "1:1", "resolution": "512", "safety": "standard"},
            (512, 512),
            "image/webp",
        ),
        (
            "replicate/flux-dev",
            {"aspect_ratio": "1:1", "guidance": 3.5, "steps": 28},
            (1024, 1024),
            "image/webp",
        ),
        (
            "replicate/flux-1.1-pro",
            {"size": "1024x768", "safety": "strict"},
            (1024, 768),
            "image/webp",
        ),
        ("replicate/flux-1.1-pro-ultra", {"aspect_ratio": "1:1"}, (2048, 2048), "image/jpeg"),
        ("replicate/flux-kontext-max", {"aspect_ratio": "1:1"}, (1024, 1024), "image/png"),
        (
            "replicate/flux-3",
            {"aspect_ratio": "1:1", "resolution": "1K"},
            (1024, 1024),
            "image/webp",
        ),
    ],
)
async def test_a_generation_goes_all_the_way(tmp_path, model, fields, size, media_type):
    async with open_replicate(tmp_path, latency=0.02) as (client, simulator):
        image = await client.generate("a cat", model=model, **fields)
        assert (image.width, image.height, image.media_type) == (*size, media_type)
        assert opened(image).size == size
        assert not image.adjustments
        assert image.cost == imagen.Cost(usd=simulator.billed_usd, source="estimated")
        assert [bill.delivered for bill in simulator.bills] == [True]
        kinds = [received.kind for received in simulator.received]
        assert (kinds[0], set(kinds[1:-1]), kinds[-1]) == ("create", {"poll"}, "download")
        await books_are_balanced(client, simulator)


async def test_several_images_come_from_one_prediction(tmp_path):
    async with open_replicate(tmp_path) as (client, simulator):
        async with client.open_batch("a cat", n=3, model=SCHNELL, together=True, seed=7) as batch:
            outcomes = [outcome async for outcome in batch]
        assert len({outcome.sha256 for outcome in outcomes}) == 3
        assert {outcome.seed for outcome in outcomes} == {7}
        assert (sent(simulator)["num_outputs"], sent(simulator)["seed"]) == (3, 7)
        await books_are_balanced(client, simulator)


async def test_seconds_of_hardware_are_booked_at_the_price_of_the_user(tmp_path):
    """A model of a community has no price in the catalog; a table in
    imagen.toml says what a second costs.
    """
    price = {
        "usd_per_unit": "0.000975",
        "typical_units": "5",
        "as_of": "2026",
        "source": "replicate.com/pricing",
    }
    models = {"replicate/sdxl": {"price": price}}
    async with open_replicate(tmp_path, models=models) as (client, simulator):
        image = await client.generate("a cat", model="replicate/sdxl", size="768x768")
        assert image.cost == imagen.Cost(usd=Decimal("0.0039"), source="computed")
        await books_are_balanced(client, simulator)


async def test_an_edit_sends_its_images_in_their_order(tmp_path):
    async with open_replicate(tmp_path) as (client, simulator):
        image = await client.edit(
            "together",
            large_png(RED),
            large_png(GREEN),
            model="replicate/flux-3",
            resolution="1K",
            output_format="png",
        )
        decoded = opened(image)
        side = min(decoded.size) // 16
        assert near(decoded.getpixel((side // 2, side // 2)), RED)
        assert near(decoded.getpixel((side + side // 2, side // 2)), GREEN)
        await books_are_balanced(client, simulator)


async def test_a_restyling_names_the_two_images(tmp_path):
    async with open_replicate(tmp_path) as (client, simulator):
        image = await client.restyle(
            large_png(RED), large_png(GREEN), model="replicate/nano-banana-2", output_format="png"
        )
        decoded = opened(image)
        side = min(decoded.size) // 16
        assert near(decoded.getpixel((side + side // 2, side // 2)), GREEN)
        assert (
            sent(simulator)["prompt"]
            == "Redraw image 1 in the style of image 2. Keep what image 1 shows."
        )


@pytest.mark.parametrize("model", ["replicate/flux-fill-pro", "replicate/sdxl"])
async def test_the_white_area_of_a_mask_changes_and_no_other(tmp_path, model):
    async with open_replicate(tmp_path) as (client, _):
        decoded = opened(
            await client.edit("a hat", large_png(RED), mask=left_mask(), model=model)
        ).convert("RGB")
        assert near(decoded.getpixel((200, 100)), RED)
        assert not near(decoded.getpixel((50, 100)), RED)


@pytest.mark.parametrize("model", ["replicate/flux-dev", "replicate/flux-1.1-pro-ultra"])
@pytest.mark.parametrize(("strength", "red"), [(0.0, True), (1.0, False)])
async def test_a_variation_is_the_nearer_the_less_strength_it_has(tmp_path, model, strength, red):
    """One of them counts the likeness, and the other the change."""
    async with open_replicate(tmp_path) as (client, simulator):
        image = await client.vary(
            large_png(RED), strength=strength, model=model, output_format="png"
        )
        assert near(opened(image).getpixel((100, 100)), RED) is red
        assert not image.adjustments
        await books_are_balanced(client, simulator)


async def test_a_variation_takes_the_shape_of_its_image_and_says_so(tmp_path):
    async with open_replicate(tmp_path) as (client, simulator):
        image = await client.vary(large_png(RED), aspect_ratio="16:9", model="replicate/flux-dev")
        assert [(made.field, made.asked, made.sent) for made in image.adjustments] == [
            ("aspect_ratio", "16:9", None)
        ]
        assert "aspect_ratio" not in sent(simulator)
        with pytest.raises(imagen.InvalidRequestError, match="leave out aspect_ratio"):
            await client.vary(
                large_png(RED), aspect_ratio="16:9", model="replicate/flux-dev", strict=True
            )
        assert len(simulator.bills) == 1


@pytest.mark.parametrize(
    ("model", "scale"),
    [
        ("replicate/real-esrgan", 3),
        ("replicate/topaz-upscale", 4),
        ("replicate/clarity-upscaler", 1.5),
    ],
)
async def test_an_enhancement_has_its_scale(tmp_path, model, scale):
    async with open_replicate(tmp_path) as (client, _):
        image = await client.enhance(large_png(RED, (128, 64)), scale=scale, model=model)
        assert (image.width, image.height) == (128 * scale, 64 * scale)
        assert near(opened(image).convert("RGB").getpixel((50, 50)), RED)


async def test_what_is_behind_is_taken_away(tmp_path):
    async with open_replicate(tmp_path) as (client, simulator):
        image = await client.edit("", large_png(RED), model="replicate/background-remover")
        assert opened(image).mode == "RGBA"
        assert sent(simulator).keys() == {"image"}


async def test_a_large_image_is_uploaded_and_a_small_one_is_not(tmp_path):
    large = BytesIO()
    noise = random.Random(1).randbytes(400 * 400 * 3)
    PillowImage.frombytes("RGB", (400, 400), noise).save(large, "PNG")
    async with open_replicate(tmp_path) as (client, simulator):
        image = await client.edit(
            "together",
            large_png(RED),
            large.getvalue(),
            model="replicate/flux-3",
            resolution="1K",
            output_format="png",
        )
        assert near(opened(image).getpixel((10, 10)), RED)
        small, link = sent(simulator)["images"]
        assert small.startswith("data:image/png;base64,")
        assert link.startswith(f"{simulator.base_url('replicate')}/files/")
        assert [received.kind for received in simulator.received][:2] == ["upload", "create"]
        await books_are_balanced(client, simulator)


async def test_progress_is_told_from_the_log(tmp_path):
    events: list[imagen.Event] = []
    async with open_replicate(tmp_path, latency=0.6, on_event=events.append) as (client, _):
        await client.generate("a cat", model=SCHNELL)
    told = [event for event in events if isinstance(event, imagen.ProgressReported)]
    assert (told[0].note, told[0].fraction) == ("starting", None)
    running = [event.fraction for event in told if event.note == "processing"]
    assert running
    assert running == sorted(running)
    assert all(fraction is not None and 0 < fraction <= 1 for fraction in running)


async def test_a_model_of_a_table_of_the_user_needs_no_code(tmp_path):
    """An entry of imagen.toml, for a model that the catalog does not know by
    this version.
    """
    (tmp_path / "home").mkdir()
    table = {
        "provider": "replicate",
        "wire_name": f"stability-ai/sdxl:{'0a' * 32}",
        "capabilities": {
            "operations": ["edit"],
            "mask": True,
            "mask_required": True,
            "output_formats": ["png"],
        },
        "wire": {
            "images": ["image"],
            "mask": {"field": "mask", "form": "white"},
            "output_format": {"field": "output_format"},
            "fixed": {"apply_watermark": False},
        },
    }
    async with open_replicate(tmp_path / "home", models={"my-own-fill": table}) as (
        client,
        simulator,
    ):
        decoded = opened(
            await client.edit("a hat", large_png(RED), mask=left_mask(), model="my-own-fill")
        ).convert("RGB")
        assert near(decoded.getpixel((200, 100)), RED)
        assert not near(decoded.getpixel((50, 100)), RED)
        assert sent(simulator)["apply_watermark"] is False
        # What the table says wrongly is refused by the model, for nothing.
        with pytest.raises(imagen.InvalidRequestError, match="output_format"):
            await client.edit(
                "a hat", large_png(RED), mask=left_mask(), model="my-own-fill", output_format="png"
            )
        assert len(simulator.bills) == 1


async def test_addresses_of_another_host_are_not_followed(tmp_path):
    service = Replicate(origin="https://api.replicate.example/v1")
    async with open_replicate(tmp_path, service=service) as (client, simulator):
        await client.generate("a cat", model=SCHNELL)
        assert {received.provider for received in simulator.received} == {"replicate", "files"}
        await books_are_balanced(client, simulator)


# --- leaving ------------------------------------------------------------------


async def leave_when(client, simulator, kind, count):
    """Begins a batch, leaves it when so many requests of a kind have come, and
    waits for what is in flight.
    """
    async with client.open_batch("a cat", model=SCHNELL) as batch:
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                async for _ in batch:
                    pass

            nursery.start_soon(read)
            while [received.kind for received in simulator.received].count(kind) < count:
                await trio.sleep(0.002)
            nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        while client.in_flight:
            await trio.sleep(0.002)


async def test_leaving_while_a_prediction_starts_stops_it_for_nothing(tmp_path):
    service = Replicate(starting_share=1.0)
    async with open_replicate(tmp_path, service=service, latency=30.0) as (client, simulator):
        with trio.fail_after(5):
            await leave_when(client, simulator, "poll", 2)
        spending = await client.spending()
        assert spending.settled_usd == spending.unknown_usd == spending.reserved_usd == 0
        assert spending.attempts.failed == 1
        last = simulator.received[-1]
        assert (last.kind, last.method) == ("cancel", "POST")
        # The gateway says so too: the prediction has ended, and made nothing.
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {simulator.key}"}) as http:
            result = await http.get(f"{simulator.url}{last.path.removesuffix('/cancel')}")
        assert (result.json()["status"], result.json()["output"]) == ("canceled", None)
        assert not any(bill.delivered for bill in simulator.bills)


async def test_where_a_start_may_be_billed_it_is_waited_for(tmp_path):
    service = Replicate(starting_share=1.0)
    async with open_replicate(
        tmp_path, service=service, latency=0.2, settings={"charges_for_starting": True}
    ) as (
        client,
        simulator,
    ):
        await leave_when(client, simulator, "poll", 2)
        assert "cancel" not in [received.kind for received in simulator.received]
        await books_are_balanced(client, simulator)


async def test_leaving_while_a_prediction_runs_waits_for_it_and_keeps_its_image(tmp_path):
    service = Replicate(starting_share=0.0)
    async with open_replicate(tmp_path, service=service, latency=0.2) as (client, simulator):
        await leave_when(client, simulator, "poll", 3)
        assert "cancel" not in [received.kind for received in simulator.received]
        assert len(await client.library.list(limit=10)) == 1
        await books_are_balanced(client, simulator)


# --- what goes wrong ----------------------------------------------------------


@pytest.mark.parametrize(("charges", "billed"), [(True, "unknown"), (False, "no")])
async def test_a_flagged_prediction_is_refused_and_may_be_billed(tmp_path, charges, billed):
    settings = {"charges_for_failed": charges}
    async with open_replicate(tmp_path, faults=Withheld(), settings=settings) as (
        client,
        simulator,
    ):
        with pytest.raises(imagen.ContentFilterError, match="NSFW") as caught:
            await client.generate("a cat", model=SCHNELL)
        assert caught.value.billed == billed
        attempts = (await client.spending()).attempts
        assert (attempts.refused, attempts.unknown) == ((0, 1) if billed == "unknown" else (1, 0))
        assert len(simulator.bills) == 1


async def test_a_prediction_that_fails_is_unknown_and_not_ordered_again(tmp_path):
    fault = JobFails(text="Prediction interrupted; please retry (code: PA)")
    async with open_replicate(tmp_path, faults=fault) as (client, simulator):
        with pytest.raises(imagen.ProviderError, match="interrupted") as caught:
            await client.generate("a cat", model=SCHNELL)
        assert (caught.value.billed, caught.value.retryable) == ("unknown", True)
        assert len(simulator.bills) == 1
        assert (await client.spending()).unknown_usd == simulator.billed_usd > 0


async def test_one_that_is_not_charged_when_it_fails_is_sent_again(tmp_path):
    faults = [JobFails(text="Prediction interrupted; please retry (code: PA)"), None]
    settings = {"charges_for_failed": False}
    async with open_replicate(tmp_path, faults=faults, settings=settings) as (client, simulator):
        await client.generate("a cat", model=SCHNELL)
        assert len(simulator.bills) == 2
        assert (await client.spending()).settled_usd == Decimal("0.003")


async def test_images_that_are_deleted_were_billed(tmp_path):
    async with open_replicate(tmp_path, service=Replicate(removes_data=True)) as (
        client,
        simulator,
    ):
        with pytest.raises(imagen.ProviderError, match="deleted") as caught:
            await client.generate("a cat", model=SCHNELL)
        assert caught.value.billed == "yes"
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("status", [403, 404])
async def test_a_link_that_does_not_answer_was_billed(tmp_path, status):
    async with open_replicate(tmp_path, faults=ExpiredLink(status=status)) as (client, simulator):
        with pytest.raises(imagen.ProviderError, match=str(status)) as caught:
            await client.generate("a cat", model=SCHNELL)
        assert caught.value.billed == "yes"
        await books_are_balanced(client, simulator)


async def test_a_refused_poll_is_repeated(tmp_path):
    async with open_replicate(tmp_path, poll_faults=[Overloaded(), Reset(), None]) as (
        client,
        simulator,
    ):
        await client.generate("a cat", model=SCHNELL)
        await books_are_balanced(client, simulator)


async def test_what_was_refused_for_now_is_sent_again_and_paid_once(tmp_path):
    faults = [Overloaded(), RateLimited(wait_seconds=0.001, told="header"), None]
    async with open_replicate(tmp_path, faults=faults) as (client, simulator):
        await client.generate("a cat", model=SCHNELL)
        assert len(simulator.bills) == 1
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(NotAllowed(), imagen.AuthenticationError), (QuotaExhausted(), imagen.QuotaExceededError)],
    ids=repr,
)
async def test_a_refusal_at_the_door_is_not_sent_again(tmp_path, fault, kind):
    async with open_replicate(tmp_path, faults=fault) as (client, simulator):
        with pytest.raises(kind) as caught:
            await client.generate("a cat", model=SCHNELL)
        assert caught.value.billed == "no"
        assert len(simulator.received) == 1


async def test_a_web_page_in_place_of_an_image_is_billed(tmp_path):
    async with open_replicate(tmp_path, faults=WrongMedia()) as (client, simulator):
        with pytest.raises(imagen.ProviderError):
            await client.generate("a cat", model=SCHNELL)
        await books_are_balanced(client, simulator)


async def test_a_lost_answer_is_unknown_and_is_not_ordered_again(tmp_path):
    async with open_replicate(tmp_path, faults=Reset(after_billing=True)) as (client, simulator):
        with pytest.raises(imagen.OutcomeUnknownError):
            await client.generate("a cat", model=SCHNELL)
        assert len(simulator.received) == 1
        spending = await client.spending()
        assert (spending.settled_usd, spending.unknown_usd) == (0, simulator.billed_usd)


async def test_the_key_is_probed_for_nothing(tmp_path):
    async with open_replicate(tmp_path) as (client, simulator):
        status = await client.probe("replicate")
        assert status.usable
        assert [received.path for received in simulator.received] == ["/replicate/v1/account"]
