"""Whole exchanges with the simulated ComfyUI over real sockets, WebSockets
among them.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing

import msgspec
import pytest
import trio

import imagen
from imagen.testing.simulator import (
    ExpiredLink,
    FewerImages,
    JobFails,
    NotAllowed,
    Overloaded,
    Reset,
    ServerError,
    WrongMedia,
)
from tests.support.images import RED, large_png, left_mask, near, opened_rgb
from tests.support.providers.comfyui import books_are_balanced, kinds, open_comfyui, posted

FREE = imagen.Cost(usd=0, source="estimated")


@pytest.mark.parametrize("socket", [True, False])
async def test_an_image_costs_nothing(tmp_path, socket):
    async with open_comfyui(tmp_path, settings={"socket": socket}, latency=0.05) as (
        client,
        simulator,
    ):
        image = await client.generate(
            "a cat",
            size="512x768",
            seed=7,
            steps=12,
            guidance=5.5,
            negative_prompt="dogs",
            options={"sampler_name": "dpmpp_2m"},
        )
        assert opened_rgb(image).size == (512, 768)
        assert (image.media_type, image.seed, image.cost) == ("image/png", 7, FREE)
        (body,) = posted(simulator)
        graph = body["prompt"]
        sampler = graph["5"]["inputs"]
        assert (sampler["seed"], sampler["steps"], sampler["cfg"]) == (7, 12, 5.5)
        assert (sampler["sampler_name"], sampler["scheduler"], sampler["denoise"]) == (
            "dpmpp_2m",
            "normal",
            1.0,
        )
        assert [graph[id]["inputs"]["text"] for id in ("2", "3")] == ["a cat", "dogs"]
        # The first in the folder, where none is named.
        assert graph["1"]["inputs"]["ckpt_name"] == "sd15.safetensors"
        paths = [received.path for received in simulator.received]
        assert ("/comfyui/ws" in paths) is socket
        await books_are_balanced(client, simulator)


async def test_a_socket_spares_the_questions(tmp_path):
    events: list[imagen.Event] = []
    async with open_comfyui(tmp_path, latency=0.2, on_event=events.append) as (client, simulator):
        await client.generate("a cat", size="64x64", previews=2)
        # One look when it has ended, where the socket said everything before.
        assert kinds(simulator) == ["list", "other", "create", "poll", "download"]
        await books_are_balanced(client, simulator)
    told = [
        event
        for event in events
        if isinstance(event, imagen.ProgressReported) and event.fraction is not None
    ]
    assert [event.fraction for event in told] == sorted(event.fraction for event in told)
    assert len(told) > 5
    assert told[-1].note == f"step {round(told[-1].fraction * 20)} of 20"
    previews = [event for event in events if isinstance(event, imagen.PreviewReceived)]
    assert [event.number for event in previews] == [0, 1]
    assert all(event.data.startswith(b"\xff\xd8") for event in previews)


@pytest.mark.parametrize(
    "service",
    [
        {"sockets": False},
        {"breaks_socket": True},
        {"takes_ids": False},
        {"takes_ids": False, "sockets": False},
    ],
)
async def test_a_server_that_can_do_less_is_asked(tmp_path, service):
    async with open_comfyui(tmp_path, latency=0.05, service=service) as (client, simulator):
        await client.generate("a cat", size="64x64")
        await books_are_balanced(client, simulator)


async def test_without_wsproto_there_is_no_socket(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wsproto.connection", None)
    async with open_comfyui(tmp_path, latency=0.03) as (client, simulator):
        await client.generate("a cat", size="64x64")
        assert "/comfyui/ws" not in [received.path for received in simulator.received]
        await books_are_balanced(client, simulator)


async def test_several_images_are_one_job(tmp_path):
    async with open_comfyui(tmp_path) as (client, simulator):
        async with client.open_batch("a cat", n=3, size="64x64", together=True) as batch:
            images = [outcome async for outcome in batch]
        assert {image.index for image in images} == {0, 1, 2}
        assert len(posted(simulator)) == 1
        await books_are_balanced(client, simulator)


async def test_jobs_wait_for_one_another_and_say_so(tmp_path):
    events: list[imagen.Event] = []
    settings = {"socket": False}
    async with open_comfyui(tmp_path, latency=0.1, on_event=events.append, settings=settings) as (
        client,
        simulator,
    ):
        async with client.open_batch("a cat", n=3, size="64x64") as batch:
            assert all([isinstance(outcome, imagen.Image) async for outcome in batch])
        await books_are_balanced(client, simulator)
    notes = {event.note for event in events if isinstance(event, imagen.ProgressReported)}
    assert {"drawing", "number 1 in the queue", "number 2 in the queue"} <= notes


@pytest.mark.parametrize("count", [1, 2])
async def test_the_white_area_of_a_mask_changes_and_no_other(tmp_path, count):
    async with open_comfyui(tmp_path) as (client, simulator):
        request = imagen.Edit(
            prompt="a hat", images=(large_png(RED, (256, 248)),), mask=left_mask((256, 248))
        )
        async with client.open_batch(request, n=count, together=True) as batch:
            images = [outcome async for outcome in batch]
        for image in images:
            decoded = opened_rgb(image)
            assert decoded.size == (256, 248)
            assert decoded.getpixel((200, 100)) == RED
            assert decoded.getpixel((50, 100)) != RED
        assert len(images) == count
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("strength", "red"), [(0.0, True), (1.0, False)])
async def test_a_variation_is_the_nearer_the_less_strength_it_has(tmp_path, strength, red):
    async with open_comfyui(tmp_path) as (client, simulator):
        image = await client.vary(large_png(RED), strength=strength, size="128x64")
        assert opened_rgb(image).size == (128, 64)
        assert near(opened_rgb(image).getpixel((10, 10)), RED) is red
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(("scale", "side"), [(None, 400), (2, 200), (8, 800)])
async def test_an_image_is_enlarged(tmp_path, scale, side):
    async with open_comfyui(tmp_path) as (client, simulator):
        image = await client.enhance(large_png(RED, (100, 100)), scale=scale)
        assert opened_rgb(image).size == (side, side)
        assert near(opened_rgb(image).getpixel((5, 5)), RED)
        assert not image.adjustments
        await books_are_balanced(client, simulator)


async def test_a_checkpoint_and_its_ways_are_named_in_the_catalog(tmp_path):
    wire = {
        "checkpoint": "sdxl.safetensors",
        "steps": 4,
        "guidance": 1.0,
        "sampler": "euler_ancestral",
    }
    models = {
        "turbo": {"like": "comfyui", "wire": wire},
        "other": {"like": "comfyui", "wire_name": "missing.safetensors"},
    }
    async with open_comfyui(tmp_path, models=models) as (client, simulator):
        await client.generate("a cat", model="turbo", size="64x64")
        (body,) = posted(simulator)
        sampler = body["prompt"]["5"]["inputs"]
        assert (sampler["steps"], sampler["cfg"], sampler["sampler_name"]) == (
            4,
            1.0,
            "euler_ancestral",
        )
        assert body["prompt"]["1"]["inputs"]["ckpt_name"] == "sdxl.safetensors"
        with pytest.raises(
            imagen.InvalidRequestError, match="CheckpointLoaderSimple: Value not in list"
        ) as caught:
            await client.generate("a cat", model="other")
        assert (caught.value.code, caught.value.billed) == ("INVALID_PROMPT", "no")


async def test_an_empty_folder_says_what_to_do(tmp_path):
    async with open_comfyui(tmp_path, service={"checkpoints": ()}) as (client, simulator):
        with pytest.raises(imagen.ConfigurationError, match="models/checkpoints"):
            await client.generate("a cat")
        assert not posted(simulator)


async def test_the_checkpoints_are_listed(tmp_path):
    async with open_comfyui(tmp_path) as (client, _):
        found = await client.discover()
        listed = {
            model.wire_name
            for model in found.models
            if model.listed and model.provider == "comfyui"
        }
        assert listed == {"sd15.safetensors", "sdxl.safetensors"}
        assert (await client.probe("comfyui")).usable


# --- what goes wrong ----------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "sentence"),
    [
        (JobFails(text="CUDA ran out of memory"), imagen.ProviderError, "smaller size"),
        (JobFails(text="Boom"), imagen.ProviderError, "KSampler: RuntimeError: Boom"),
        (ServerError(), imagen.ProviderError, "failed at the request"),
        (NotAllowed(), imagen.AuthenticationError, "refuses access"),
        (Overloaded(), imagen.ProviderError, "503"),
        (ExpiredLink(status=404), imagen.ProviderError, "without an image"),
        (WrongMedia(), imagen.ProviderError, "not an image"),
        (FewerImages(), imagen.ProviderError, "without an image"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else None,
)
async def test_faults_cost_nothing(tmp_path, fault, kind, sentence):
    async with open_comfyui(tmp_path, faults=fault) as (client, _):
        with pytest.raises(kind, match=sentence):
            await client.generate("a cat", size="64x64")
        spending = await client.spending()
        assert spending.settled_usd == spending.unknown_usd == 0


async def test_a_job_that_the_server_forgot_is_given_up(tmp_path):
    settings = {"silence_seconds": 0.02}
    async with open_comfyui(tmp_path, service={"forgets": True}, settings=settings) as (client, _):
        with pytest.raises(imagen.ProviderError, match="does not know the job"):
            await client.generate("a cat", size="64x64")


async def test_polls_that_fail_are_asked_again(tmp_path):
    polls = [Overloaded(), Reset(), None, ServerError()]
    settings = {"socket": False}
    async with open_comfyui(tmp_path, poll_faults=polls, settings=settings, latency=0.05) as (
        client,
        simulator,
    ):
        await client.generate("a cat", size="64x64")
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize("socket", [True, False])
async def test_who_leaves_interrupts_what_runs_and_takes_out_what_waits(tmp_path, socket):
    async with open_comfyui(tmp_path, latency=30.0, settings={"socket": socket}) as (
        client,
        simulator,
    ):
        request = imagen.Generate(prompt="a cat", model="comfyui", size="64x64")
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = trio.current_time() + 10
            nursery.start_soon(client.generate, request)
            await simulator.wait_received(3 if socket else 2)
            nursery.start_soon(client.generate, request)
            while len(list(posted(simulator))) < 2:
                await trio.sleep(0.01)
            # Both leave together, when the first one has been told that it
            # runs.
            await trio.sleep(0.5)
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            while client.in_flight:
                await trio.sleep(0.01)
        first, second = (body["prompt_id"] for body in posted(simulator))
        stops = {
            received.path.rpartition("/")[2]: json.loads(received.body)
            for received in simulator.received
            if received.kind == "cancel"
        }
        assert stops == {"interrupt": {"prompt_id": first}, "queue": {"delete": [second]}}
        spending = await client.spending()
        assert (spending.attempts.failed, spending.attempts.unknown) == (2, 0)
        assert not simulator.leaks


async def test_the_id_of_a_job_is_written_down_before_it_is_sent(tmp_path):
    async with open_comfyui(tmp_path, faults=Reset(after_billing=True)) as (client, simulator):
        with pytest.raises(imagen.ImagenError):
            await client.generate("a cat", size="64x64")
    with closing(sqlite3.connect(tmp_path / "imagen.sqlite3")) as database:
        rows = database.execute("SELECT remote_id FROM attempts").fetchall()
    assert [row[0] for row in rows] == [body["prompt_id"] for body in posted(simulator)]


async def test_it_is_no_default_before_it_is_configured(tmp_path):
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
    assert settings.access["comfyui"].configured
    assert not settings.access["comfyui"].preferred
