"""Whole exchanges with simulated Midjourney servers over real sockets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio

import imagen
from imagen.testing.simulator import (
    ExpiredLink,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
    Simulator,
    Withheld,
    WrongMedia,
)
from tests.support.images import GREEN, RED, large_png, left_mask, near, opened_rgb
from tests.support.providers.midjourney import open_midjourney


def posted(simulator: Simulator, route: str) -> list[dict[str, Any]]:
    path = f"/mj/submit/{route}"
    return [
        json.loads(received.body) for received in simulator.received if received.path.endswith(path)
    ]


def task_ids(simulator: Simulator) -> list[str]:
    """The tasks that were asked for, in their order."""
    paths = [
        received.path.split("/")
        for received in simulator.received
        if received.path.endswith("/fetch")
    ]
    return list(dict.fromkeys(path[-2] for path in paths))


async def kept(client: imagen.Client) -> list[imagen.Image]:
    return list(await client.library.list())


async def books_are_balanced(client: imagen.Client, simulator: Simulator) -> None:
    """Its cost is unknown, so nothing is booked, and nothing is left
    open.
    """
    spending = await client.spending()
    assert spending.settled_usd == simulator.billed_usd == spending.reserved_usd == 0
    assert all(bill.delivered for bill in simulator.bills)
    assert not simulator.leaks


async def test_one_order_makes_four_images_and_all_of_them_are_kept(tmp_path):
    async with open_midjourney(tmp_path, latency=0.02) as (client, simulator):
        image = await client.generate(
            "a cat", aspect_ratio="16:9", seed=7, negative_prompt="dogs", quality="high"
        )
        assert posted(simulator, "imagine") == [
            {"prompt": "a cat --seed 7 --ar 16:9 --q 2 --no dogs"}
        ]
        assert opened_rgb(image).size == (85, 48)
        assert (image.seed, image.provider, image.model) == (7, "midjourney", "midjourney")
        assert not image.adjustments
        assert image.cost == imagen.Cost()
        assert len(await kept(client)) == 4
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("cuts", [False, True])
async def test_four_images_are_one_order(tmp_path, cuts):
    async with open_midjourney(tmp_path, service={"cuts": cuts}) as (client, simulator):
        async with client.open_batch("a cat", n=4, together=True) as batch:
            images = [outcome async for outcome in batch]
        assert all(isinstance(image, imagen.Image) for image in images)
        assert {opened_rgb(image).size for image in images} == {(64, 64)}
        assert len(posted(simulator, "imagine")) == 1
        assert [received.kind for received in simulator.received].count("download") == (
            4 if cuts else 1
        )
        await books_are_balanced(client, simulator)


async def test_the_quarters_are_cut_as_a_page_is_read(tmp_path):
    async with open_midjourney(tmp_path, service={"cuts": True}) as (client, _):
        async with client.open_batch("a cat", n=4, together=True) as batch:
            linked = [opened_rgb(outcome).getpixel((5, 5)) async for outcome in batch]
    async with open_midjourney(tmp_path / "2") as (client, _):
        async with client.open_batch("a cat", n=4, together=True) as batch:
            cut = {outcome.index: opened_rgb(outcome).getpixel((5, 5)) async for outcome in batch}
    # The same seed of the simulator draws the same colours.
    assert [cut[index] for index in range(4)] == linked
    assert len(set(linked)) > 1


async def test_a_grid_can_be_had_whole(tmp_path):
    async with open_midjourney(tmp_path, service={"cuts": True}) as (client, simulator):
        image = await client.generate("a cat", model="midjourney-grid")
        assert opened_rgb(image).size == (128, 128)
        assert len(await kept(client)) == 1
        await books_are_balanced(client, simulator)


async def test_a_gateway_takes_a_bearer_token(tmp_path):
    async with open_midjourney(tmp_path, name="midjourney_gateway") as (client, simulator):
        image = await client.generate("a cat", model="midjourney-gateway")
        assert image.provider == "midjourney_gateway"
        assert simulator.received[0].headers["authorization"] == f"Bearer {simulator.key}"
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("model", "options", "body"),
    [
        (
            "midjourney-v7",
            {"stylize": 250, "raw": True, "tile": False},
            {"prompt": "x --seed 1 --stylize 250 --raw --v 7"},
        ),
        (
            "midjourney-niji",
            {"state": "mine"},
            {"prompt": "x --seed 1", "botType": "NIJI_JOURNEY", "state": "mine"},
        ),
        ("midjourney-v7", {"version": "6.1"}, {"prompt": "x --seed 1 --version 6.1"}),
    ],
)
async def test_models_and_options_are_words_of_the_prompt(tmp_path, model, options, body):
    async with open_midjourney(tmp_path) as (client, simulator):
        await client.generate("x", model=model, seed=1, options=options)
        assert posted(simulator, "imagine") == [body]


async def test_references_are_image_prompts(tmp_path):
    async with open_midjourney(tmp_path) as (client, simulator):
        request = imagen.Generate(
            prompt="a cat --iw 3", references=(large_png(RED), large_png(GREEN))
        )
        async with client.open_batch(request, n=4, together=True) as batch:
            cells = {outcome.index: opened_rgb(outcome).getpixel((5, 5)) async for outcome in batch}
        # With all the weight on them, the images of the prompt are what comes
        # out, in turn.
        assert [near(cells[index], RED) for index in range(4)] == [True, False, True, False]
        assert near(cells[1], GREEN)
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("strength", "weight", "red"), [(0.0, "3", True), (0.5, "1.5", False), (1.0, "0", False)]
)
async def test_any_image_can_be_varied(tmp_path, strength, weight, red):
    async with open_midjourney(tmp_path) as (client, simulator):
        image = await client.vary(large_png(RED), strength=strength, seed=3)
        assert near(opened_rgb(image).getpixel((5, 5)), RED) is red
        (body,) = posted(simulator, "imagine")
        assert body["prompt"] == f"another image like this one --seed 3 --iw {weight}"
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("has_buttons", [True, False])
async def test_an_image_of_a_grid_is_varied_by_its_button(tmp_path, has_buttons):
    async with open_midjourney(tmp_path, service={"has_buttons": has_buttons}) as (
        client,
        simulator,
    ):
        await client.generate("a cat")
        (task_id,) = task_ids(simulator)
        image = await client.vary(
            large_png(), prompt="bluer", options={"task_id": task_id, "index": 2}
        )
        (body,) = posted(simulator, "action" if has_buttons else "change")
        if has_buttons:
            assert body["customId"].startswith("MJ::JOB::variation::2::")
        else:
            assert body == {"taskId": task_id, "action": "VARIATION", "index": 2}
        assert [(made.field, made.sent) for made in image.adjustments] == [("prompt", None)]
        assert len(await kept(client)) == 8
        await books_are_balanced(client, simulator)


async def test_a_server_in_remix_mode_is_told_the_words(tmp_path):
    async with open_midjourney(tmp_path, service={"remixes": True}) as (client, simulator):
        await client.generate("a cat")
        (task_id,) = task_ids(simulator)
        image = await client.vary(
            large_png(), prompt="bluer", options={"task_id": task_id, "index": 4}
        )
        assert [body["prompt"] for body in posted(simulator, "modal")] == ["bluer"]
        assert not image.adjustments
        assert len(await kept(client)) == 8


@pytest.mark.parametrize(
    ("has_buttons", "mode", "size", "kept_mode"),
    [
        (True, None, 64, True),
        (True, "creative", 128, True),
        (False, None, 64, True),
        (False, "creative", 64, False),
    ],
)
async def test_an_image_of_a_grid_is_taken_out_and_enlarged(
    tmp_path, has_buttons, mode, size, kept_mode
):
    async with open_midjourney(tmp_path, service={"has_buttons": has_buttons}) as (
        client,
        simulator,
    ):
        async with client.open_batch("a cat", n=4, together=True) as batch:
            cells = {outcome.index: opened_rgb(outcome).getpixel((5, 5)) async for outcome in batch}
        (task_id,) = task_ids(simulator)
        image = await client.enhance(
            large_png(), mode=mode, options={"task_id": task_id, "index": 3}
        )
        assert opened_rgb(image).size == (size, size)
        assert opened_rgb(image).getpixel((5, 5)) == cells[2]
        assert [made.field for made in image.adjustments] == ([] if kept_mode else ["mode"])
        # Every image of it is one that was asked for.
        assert len(await kept(client)) == 5


async def test_an_enhancement_of_a_single_image(tmp_path):
    async with open_midjourney(tmp_path) as (client, simulator):
        await client.generate("a cat")
        (task_id,) = task_ids(simulator)
        await client.enhance(large_png(), options={"task_id": task_id, "index": 1})
        single_id = task_ids(simulator)[-1]
        image = await client.enhance(
            large_png(), mode="conservative", options={"task_id": single_id}
        )
        assert opened_rgb(image).size == (128, 128)
        assert "subtle" in posted(simulator, "action")[-1]["customId"]
        with pytest.raises(imagen.InvalidRequestError, match="offers no enlargement") as caught:
            await client.enhance(large_png(), mode="creative", options={"task_id": task_id})
        assert caught.value.billed == "no"
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("polarity", ["white", "black"])
async def test_the_editor_changes_what_the_mask_says(tmp_path, polarity):
    async with open_midjourney(tmp_path, settings={"mask": polarity}) as (client, simulator):
        image = await client.edit("a hat", large_png(RED), mask=left_mask())
        decoded = opened_rgb(image)
        assert decoded.size == (256, 256)
        # The simulated server changes what is white.
        assert (decoded.getpixel((50, 100)) != RED) is (polarity == "white")
        assert (decoded.getpixel((200, 100)) != RED) is (polarity == "black")
        assert not image.adjustments
        assert len(await kept(client)) == 1
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("way", ["imagine", "retexture"])
async def test_a_style_is_lent_by_its_address(tmp_path, way):
    async with open_midjourney(tmp_path, settings={"restyle": way}) as (client, simulator):
        image = await client.restyle(large_png(RED), large_png(GREEN), prompt="softly")
        assert posted(simulator, "upload-discord-images")[0]["base64Array"][0].startswith(
            "data:image/png;base64,"
        )
        (body,) = posted(simulator, way)
        assert body["prompt"].startswith("softly --seed")
        assert " --sref http://127.0.0.1" in body["prompt"]
        assert opened_rgb(image).size == ((64, 64) if way == "imagine" else (256, 256))
        await books_are_balanced(client, simulator)


async def test_progress_and_previews_are_told(tmp_path):
    events: list[imagen.Event] = []
    async with open_midjourney(tmp_path, latency=1.0, on_event=events.append) as (
        client,
        simulator,
    ):
        await client.generate("a cat", previews=2)
        await books_are_balanced(client, simulator)
    told = [event for event in events if isinstance(event, imagen.ProgressReported)]
    shares = [event.fraction for event in told]
    assert shares == sorted(shares)
    assert shares[-1] > 0.5
    assert {event.note for event in told} == {"submitted", "in progress"}
    previews = [event for event in events if isinstance(event, imagen.PreviewReceived)]
    assert [event.number for event in previews] == [0, 1]
    assert all(event.data.startswith(b"RIFF") for event in previews)


# --- what goes wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "billed"),
    [
        (JobFails(text="Invalid parameter: `--zz`"), imagen.InvalidRequestError, "no"),
        (JobFails(text="任务超时"), imagen.ProviderError, "unknown"),
        (Withheld(), imagen.ContentFilterError, "unknown"),
        (Refused(), imagen.ContentFilterError, "no"),
        (QuotaExhausted(), imagen.QuotaExceededError, "no"),
        (NotAllowed(), imagen.AuthenticationError, "no"),
        (RateLimited(wait_seconds=100), imagen.RateLimitError, "no"),
        (RateLimited(wait_seconds=100, told="text"), imagen.RateLimitError, "no"),
        (Overloaded(), imagen.ProviderError, "no"),
        (ServerError(), imagen.ProviderError, "unknown"),
        (ExpiredLink(), imagen.ProviderError, "yes"),
        (WrongMedia(), imagen.ProviderError, "yes"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else None,
)
async def test_faults(tmp_path, fault, kind, billed):
    async with open_midjourney(tmp_path, faults=fault) as (client, simulator):
        with pytest.raises(kind) as caught:
            await client.generate("a cat")
        assert type(caught.value) is kind
        assert caught.value.billed == billed
        assert simulator.key not in str(caught.value)
        assert not simulator.leaks
        if billed != "no":
            assert len(posted(simulator, "imagine")) == 1


async def test_a_link_of_a_quarter_that_fails_is_made_up_for_by_the_grid(tmp_path):
    async with open_midjourney(
        tmp_path, service={"cuts": True}, download_faults=[None, NotAllowed()]
    ) as (client, _):
        async with client.open_batch("a cat", n=4, together=True) as batch:
            assert all([isinstance(outcome, imagen.Image) async for outcome in batch])


async def test_an_old_unknown_task_costs_nothing(tmp_path):
    async with open_midjourney(tmp_path) as (client, simulator):
        with pytest.raises(imagen.InvalidRequestError, match="knows no task 17") as caught:
            await client.vary(large_png(), options={"task_id": "17", "index": 1})
        assert caught.value.billed == "no"
        assert {received.kind for received in simulator.received} == {"poll"}


async def test_an_abandoned_task_is_left_to_the_next_process(tmp_path):
    async with open_midjourney(tmp_path, latency=30.0) as (client, simulator):
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.generate, "a cat")
                # The order, and a question how far it is.
                await simulator.wait_received(2)
                nursery.cancel_scope.cancel("its caller has gone")
            client.bound_salvage(0.05)
            while client.in_flight:
                await trio.sleep(0.01)
        # Its time may count when it is stopped, too.
        assert not [received for received in simulator.received if received.kind == "cancel"]
        spending = await client.spending()
    assert (spending.attempts.unknown, spending.attempts.failed) == (0, 0)


async def test_nothing_is_set_up_without_an_address(tmp_path):
    settings = imagen.load_settings({"MIDJOURNEY_API_SECRET": "x", "IMAGEN_HOME": str(tmp_path)})
    assert not settings.access["midjourney"].configured
    assert not settings.access["midjourney_gateway"].configured
