"""Workflows of a user's own, filled and run by the simulated ComfyUI."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

import imagen
from imagen.providers.comfyui import _graphs as _comfyui_graphs
from tests.support.images import GREEN, RED, large_png, left_mask, opened_rgb
from tests.support.providers.comfyui import TEXT, books_are_balanced, kinds, open_comfyui, posted


def workflow(tmp_path: Any, graph: object, **more: Any) -> dict[str, Any]:
    path = tmp_path / "flow.json"
    path.write_bytes(msgspec.json.encode(graph))
    return {"mine": {"like": "comfyui", "wire": {"workflow": str(path)}, **more}}


async def test_a_workflow_is_filled_and_run(tmp_path):
    async with open_comfyui(tmp_path, models=workflow(tmp_path, TEXT)) as (client, simulator):
        image = await client.generate(
            "a {{seed}} cat", model="mine", size="128x64", seed=9, steps=5, options={"mood": "calm"}
        )
        assert opened_rgb(image).size == (128, 64)
        assert image.seed == 9
        assert not image.adjustments
        # What is only shown is no image where one was saved.
        assert len(await client.library.list()) == 1
        (body,) = posted(simulator)
        assert body["prompt"]["b"]["inputs"]["text"] == "best, a {{seed}} cat, calm"
        assert (
            body["prompt"]["e"]["inputs"] | {"seed": 9, "steps": 5, "denoise": 1.0}
            == body["prompt"]["e"]["inputs"]
        )
        await books_are_balanced(client, simulator)


async def test_what_a_workflow_has_no_slot_for_is_left_out_and_told(tmp_path):
    graph = {
        **TEXT,
        "b": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog", "clip": ["a", 1]}},
    }
    graph["d"] = {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1},
    }
    async with open_comfyui(tmp_path, models=workflow(tmp_path, graph)) as (client, simulator):
        image = await client.generate("a cat", model="mine", size="512x512", guidance=3.0)
        assert {(made.field, made.sent) for made in image.adjustments} == {
            ("prompt", None),
            ("size", None),
            ("guidance", None),
        }
        with pytest.raises(imagen.InvalidRequestError, match="drop strict"):
            await client.generate("a cat", model="mine", strict=True)
        assert len(posted(simulator)) == 1


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (imagen.Generate(prompt="x", model="mine"), "slot {{mood}}"),
        (
            imagen.Generate(prompt="x", model="mine", options={"mood": 1, "hue": 2}),
            "no slot {{hue}}",
        ),
        (
            imagen.Generate(
                prompt="x", model="mine", options={"mood": 1}, references=(large_png(),)
            ),
            "no slot {{image}}",
        ),
        (
            imagen.Edit(prompt="x", model="mine", options={"mood": 1}, images=(large_png(),)),
            "no slot {{image}}",
        ),
    ],
)
async def test_what_cannot_be_filled_is_refused_before_anything_is_sent(
    tmp_path, request_, sentence
):
    async with open_comfyui(tmp_path, models=workflow(tmp_path, TEXT)) as (client, simulator):
        with pytest.raises(imagen.InvalidRequestError) as caught:
            await client.generate(request_)
        assert sentence in str(caught.value)
        assert not simulator.received


IMAGES: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}},
    "2": {"class_type": "LoadImage", "inputs": {"image": "{{image_2}}"}},
    "3": {"class_type": "LoadImageMask", "inputs": {"image": "{{mask}}", "channel": "red"}},
    "4": {
        "class_type": "ImageCompositeMasked",
        "inputs": {
            "destination": ["1", 0],
            "source": ["2", 0],
            "x": 0,
            "y": 0,
            "resize_source": False,
            "mask": ["3", 0],
        },
    },
    "5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}},
}


@pytest.mark.parametrize("has_slot", [True, False])
async def test_a_workflow_gets_its_images_and_its_mask(tmp_path, has_slot):
    graph = json.loads(json.dumps(IMAGES))
    if not has_slot:
        # The mask is the transparent area of the first image then.
        del graph["3"]
        graph["4"]["inputs"]["mask"] = ["1", 1]
    async with open_comfyui(tmp_path, models=workflow(tmp_path, graph)) as (client, simulator):
        image = await client.edit(
            "x", large_png(RED), large_png(GREEN), mask=left_mask(), model="mine"
        )
        decoded = opened_rgb(image)
        assert decoded.getpixel((50, 100)) == GREEN
        assert decoded.getpixel((200, 100)) == RED
        assert image.seed is None
        assert kinds(simulator).count("upload") == (3 if has_slot else 2)
        await books_are_balanced(client, simulator)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"{", "no JSON"),
        (b"{}", "no nodes"),
        (b'{"nodes": [], "links": []}', "Export"),
        (b'{"1": {"inputs": {}}}', "Export"),
    ],
)
async def test_a_file_that_is_no_workflow_says_so(tmp_path, content, sentence):
    path = tmp_path / "flow.json"
    if content is not None:
        path.write_bytes(content)
    models = {"mine": {"like": "comfyui", "wire": {"workflow": str(path)}}}
    async with open_comfyui(tmp_path, models=models) as (client, simulator):
        with pytest.raises(imagen.ConfigurationError, match=sentence):
            await client.generate("x", model="mine")
        assert not simulator.received


async def test_a_workflow_may_enlarge(tmp_path):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}},
        "2": {"class_type": "UpscaleModelLoader", "inputs": {"model_name": "{{upscaler}}"}},
        "3": {
            "class_type": "ImageUpscaleWithModel",
            "inputs": {"upscale_model": ["2", 0], "image": ["1", 0]},
        },
        "4": {
            "class_type": "SaveImage",
            "inputs": {"images": ["3", 0], "filename_prefix": "{{scale}} times"},
        },
    }
    async with open_comfyui(tmp_path, models=workflow(tmp_path, graph)) as (client, simulator):
        options = {"upscaler": "4x-UltraSharp.pth"}
        image = await client.enhance(
            large_png(RED, (64, 64)), model="mine", scale=4, options=options
        )
        assert opened_rgb(image).size == (256, 256)
        assert posted(simulator)[0]["prompt"]["4"]["inputs"]["filename_prefix"] == "4 times"
        await books_are_balanced(client, simulator)


async def test_a_workflow_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(_comfyui_graphs, "_LARGEST_WORKFLOW", 100)
    async with open_comfyui(tmp_path, models=workflow(tmp_path, TEXT)) as (client, _):
        with pytest.raises(imagen.ConfigurationError, match="larger than 100 bytes"):
            await client.generate("x", model="mine")


async def test_several_images_need_a_slot_for_their_number(tmp_path):
    models = workflow(tmp_path, TEXT)
    graph = json.loads(json.dumps(TEXT))
    graph["d"]["inputs"]["batch_size"] = "{{count}}"
    async with open_comfyui(tmp_path, models=models) as (client, simulator):
        request = imagen.Generate(prompt="x", model="mine", size="64x64", options={"mood": "calm"})
        async with client.open_batch(request, n=2, together=True) as batch:
            assert [
                str(outcome.error)
                for outcome in [one async for one in batch]
                if "{{count}}" in str(outcome.error)
            ]
        assert not simulator.received
        workflow(tmp_path, graph)
        async with client.open_batch(request, n=2, together=True) as batch:
            assert all([isinstance(outcome, imagen.Image) async for outcome in batch])
        await books_are_balanced(client, simulator)
