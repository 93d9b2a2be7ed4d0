"""Whole exchanges with the simulated web UI over real sockets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio

import imagen
from imagen.testing.simulator import (
    BrokenBase64,
    FewerImages,
    NotAllowed,
    Overloaded,
    ServerError,
    Simulator,
    WrongMedia,
)
from tests.support.images import RED, large_png, left_mask, near, opened_rgb
from tests.support.providers.automatic1111 import open_web_ui

FREE = imagen.Cost(usd=0, source="estimated")


def posted(simulator: Simulator) -> list[dict[str, Any]]:
    return [
        json.loads(received.body) for received in simulator.received if received.kind == "create"
    ]


async def books_are_balanced(client: imagen.Client, simulator: Simulator) -> None:
    spending = await client.spending()
    assert (
        spending.settled_usd
        == simulator.billed_usd
        == spending.reserved_usd
        == spending.unknown_usd
        == 0
    )
    assert all(bill.delivered for bill in simulator.bills)
    assert not simulator.leaks


async def test_an_image_costs_nothing(tmp_path):
    async with open_web_ui(tmp_path) as (client, simulator):
        image = await client.generate(
            "a cat",
            size="512x768",
            seed=7,
            steps=12,
            guidance=5.5,
            negative_prompt="dogs",
            output_format="webp",
            options={"sampler_name": "Euler a"},
        )
        assert opened_rgb(image).size == (512, 768)
        assert (image.media_type, image.seed, image.cost) == ("image/webp", 7, FREE)
        assert not image.adjustments
        (body,) = posted(simulator)
        assert body.pop("force_task_id").startswith("task(")
        assert body == {
            "prompt": "a cat",
            "negative_prompt": "dogs",
            "seed": 7,
            "steps": 12,
            "cfg_scale": 5.5,
            "n_iter": 1,
            "send_images": True,
            "width": 512,
            "height": 768,
            "override_settings": {"samples_format": "webp"},
            "sampler_name": "Euler a",
        }
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("tells_first", [True, False])
async def test_several_images_come_without_their_grid(tmp_path, tells_first):
    async with open_web_ui(tmp_path, service={"tells_first": tells_first}) as (client, simulator):
        async with client.open_batch(
            "a cat", n=3, seed=100, size="128x128", together=True
        ) as batch:
            images = sorted([outcome async for outcome in batch], key=lambda image: image.index)
        assert [opened_rgb(image).size for image in images] == [(128, 128)] * 3
        assert [image.seed for image in images] == [100, 101, 102]
        assert [body["n_iter"] for body in posted(simulator)] == [3]
        await books_are_balanced(client, simulator)


async def test_a_checkpoint_is_named_where_it_is_set(tmp_path):
    models = {
        "dream": {"like": "automatic1111", "wire_name": "dreamshaper_8"},
        "other": {"like": "automatic1111", "wire": {"checkpoint": "missing"}},
    }
    async with open_web_ui(tmp_path, models=models) as (client, simulator):
        options = {"override_settings": {"CLIP_stop_at_last_layers": 2}}
        await client.generate("a cat", model="dream", size="64x64", options=options)
        settings = {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "dreamshaper_8"}
        assert posted(simulator)[0]["override_settings"] == settings
        with pytest.raises(imagen.ProviderError, match="Checkpoint not found") as caught:
            await client.generate("a cat", model="other")
        assert (caught.value.billed, caught.value.retryable) == ("no", False)
        await books_are_balanced(client, simulator)


async def test_the_white_area_of_a_mask_changes_and_no_other(tmp_path):
    async with open_web_ui(tmp_path) as (client, simulator):
        image = await client.edit("a hat", large_png(RED, (256, 250)), mask=left_mask((256, 250)))
        decoded = opened_rgb(image)
        assert decoded.size == (256, 248)
        assert decoded.getpixel((200, 100)) == RED
        assert decoded.getpixel((50, 100)) != RED
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("strength", "red"), [(0.0, True), (1.0, False)])
async def test_a_variation_is_the_nearer_the_less_strength_it_has(tmp_path, strength, red):
    async with open_web_ui(tmp_path) as (client, simulator):
        image = await client.vary(large_png(RED), strength=strength)
        assert opened_rgb(image).size == (256, 256)
        assert near(opened_rgb(image).getpixel((100, 100)), RED) is red
        await books_are_balanced(client, simulator)


async def test_an_edit_without_a_mask_draws_the_whole_image_again(tmp_path):
    async with open_web_ui(tmp_path) as (client, simulator):
        image = await client.edit("a hat", large_png(RED), options={"denoising_strength": 0.0})
        assert near(opened_rgb(image).getpixel((100, 100)), RED)
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("scale", "side"), [(None, 200), (1.5, 150), (4, 400)])
async def test_an_image_is_enlarged(tmp_path, scale, side):
    async with open_web_ui(tmp_path) as (client, simulator):
        image = await client.enhance(large_png(RED, (100, 100)), scale=scale, prompt="sharper")
        assert opened_rgb(image).size == (side, side)
        assert near(opened_rgb(image).getpixel((5, 5)), RED)
        assert [made.field for made in image.adjustments] == ["prompt"]
        assert posted(simulator)[0]["upscaler_1"] == "R-ESRGAN 4x+"
        with pytest.raises(imagen.InvalidRequestError, match="Invalid upscaler"):
            await client.enhance(large_png(RED), options={"upscaler_1": "Mine"})
        await books_are_balanced(client, simulator)


async def test_progress_and_previews_are_told_while_it_is_drawn(tmp_path):
    events: list[imagen.Event] = []
    async with open_web_ui(tmp_path, latency=0.4, on_event=events.append) as (client, simulator):
        await client.generate("a cat", size="64x64", previews=2)
        await books_are_balanced(client, simulator)
    shares = [event.fraction for event in events if isinstance(event, imagen.ProgressReported)]
    assert shares == sorted(shares)
    assert len(shares) > 3
    previews = [event for event in events if isinstance(event, imagen.PreviewReceived)]
    assert [event.number for event in previews] == [0, 1]
    assert all(event.data.startswith(b"\xff\xd8") for event in previews)


@pytest.mark.parametrize("tells_task", [True, False])
async def test_no_unrequested_preview_is_fetched(tmp_path, tells_task):
    events: list[imagen.Event] = []
    service = {"tells_task": tells_task}
    async with open_web_ui(tmp_path, latency=0.2, on_event=events.append, service=service) as (
        client,
        simulator,
    ):
        await client.generate("a cat", size="64x64")
        polls = [received.query for received in simulator.received if received.kind == "poll"]
        assert set(polls) == {"skip_current_image=true"}
    notes = {event.note for event in events if isinstance(event, imagen.ProgressReported)}
    assert any(note.startswith("step ") for note in notes)


async def test_an_image_that_waits_for_another_says_so(tmp_path):
    events: list[imagen.Event] = []
    async with open_web_ui(tmp_path, latency=0.15, on_event=events.append) as (client, simulator):
        async with client.open_batch("a cat", n=2, size="64x64") as batch:
            assert all([isinstance(outcome, imagen.Image) async for outcome in batch])
        await books_are_balanced(client, simulator)
    assert "waiting" in {
        event.note for event in events if isinstance(event, imagen.ProgressReported)
    }


@pytest.mark.parametrize("interrupts", [True, False])
async def test_who_leaves_interrupts_the_engine(tmp_path, interrupts):
    async with open_web_ui(tmp_path, latency=30.0, settings={"interrupts": interrupts}) as (
        client,
        simulator,
    ):
        with trio.move_on_after(0.1):
            await client.generate("a cat")
        with trio.fail_after(5):
            while client.in_flight:
                await trio.sleep(0.01)
        paths = [received.path for received in simulator.received if received.kind == "cancel"]
        assert paths == (["/automatic1111/sdapi/v1/interrupt"] if interrupts else [])
        spending = await client.spending()
        assert (spending.settled_usd, spending.unknown_usd) == (0, 0)
        assert (spending.attempts.failed, spending.attempts.unknown) == (1, 0)


async def test_the_checkpoints_are_listed(tmp_path):
    async with open_web_ui(tmp_path) as (client, _):
        found = await client.discover()
        listed = {
            model.wire_name
            for model in found.models
            if model.listed and model.provider == "automatic1111"
        }
        assert listed == {"v1-5-pruned-emaonly", "dreamshaper_8"}
        assert (await client.probe("automatic1111")).usable


# --- what goes wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        (ServerError(), imagen.ProviderError, "smaller size"),
        (NotAllowed(), imagen.AuthenticationError, "SD_WEBUI_AUTH"),
        (Overloaded(), imagen.ProviderError, "503"),
        (BrokenBase64(), imagen.ProviderError, "without an image"),
        (WrongMedia(), imagen.ProviderError, "not an image"),
        (FewerImages(), imagen.ProviderError, "without an image"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else None,
)
async def test_faults_cost_nothing(tmp_path, fault, kind, sentence):
    async with open_web_ui(tmp_path, faults=fault) as (client, simulator):
        with pytest.raises(kind, match=sentence) as caught:
            await client.generate("a cat", size="64x64")
        assert simulator.key not in str(caught.value)
        spending = await client.spending()
        assert spending.settled_usd == spending.unknown_usd == 0


async def test_an_engine_without_its_api_says_what_to_do(tmp_path):
    async with open_web_ui(tmp_path, service={"api": False}) as (client, _):
        with pytest.raises(imagen.ProviderError, match="--api") as caught:
            await client.generate("a cat")
        assert (caught.value.billed, caught.value.retryable) == ("no", False)


async def test_what_does_not_fit_into_memory_is_not_tried_again(tmp_path):
    async with open_web_ui(tmp_path, service={"longest_side": 512}) as (client, simulator):
        with pytest.raises(imagen.ProviderError, match="smaller size"):
            await client.generate("a cat", size="1024x512")
        assert len(posted(simulator)) == 1


async def test_it_is_no_default_before_it_is_configured(tmp_path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    assert settings.access["automatic1111"].configured
    assert not settings.access["automatic1111"].preferred
