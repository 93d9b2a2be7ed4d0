"""Behaviour that is asked of every provider.

Every model and operation goes over real sockets to the simulated provider and back. The simulator
and the adapters are written from the providers' documents independently: here they have to agree.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage

import imagen
from imagen.providers import (
    PROVIDERS,
    GeneratedImage,
    GeneratedImages,
    HttpResponse,
    JobAccepted,
    LostImage,
    WithheldImage,
)
from imagen.testing.simulator import Simulator, open_simulator
from tests.support.every_model import MODELS, SIMULATED, TODAY, request_for, works_on_its_own
from tests.support.exchanges import Walk, call, input_image, reply
from tests.support.images import GREEN, RED, large_png, left_mask
from tests.support.lengths import examples
from tests.support.providers import bfl, comfyui, fal, ideogram, midjourney, replicate
from tests.support.reply_strategies import http_replies, json_bodies
from tests.support.simulated_client import open_simulated


def size_in(data: bytes) -> tuple[int, int]:
    """Return the size that the bytes of an image claim."""
    if data.startswith(b"<svg"):
        root = ElementTree.fromstring(data)
        return int(root.attrib["width"]), int(root.attrib["height"])
    return PillowImage.open(io.BytesIO(data)).size


CASES = [(model, operation) for model in SIMULATED for operation in model.capabilities.operations]


@pytest.mark.parametrize(
    ("model", "operation"), CASES, ids=[f"{model.id}-{operation}" for model, operation in CASES]
)
async def test_simulator_and_adapter_agree(tmp_path: Path, model: imagen.Model, operation: str):
    request = request_for(model, operation)
    async with (
        open_simulator(latency=0.02) as simulator,
        open_simulated(tmp_path, simulator, models=MODELS) as client,
    ):
        with trio.fail_after(20), warnings.catch_warnings():
            warnings.simplefilter("ignore", imagen.providers.ModelRetiringWarning)
            if works_on_its_own(model, operation):
                grid = await client.generate("a lighthouse", model=model.id)
                # The id of an image out of a grid says its place; a grid that
                # was not cut has four.
                place = {"index": 2} if model.id == "midjourney-grid" else {}
                origin = {"task_id": grid.provider_id, **place}
                request = msgspec.structs.replace(request, options=origin)
            image = await client.generate(request)
            spending = await client.spending()
        assert size_in(image.data) == (image.width, image.height)
        stored = await client.library.get(image.id)
        assert stored == image
        assert not simulator.leaks
        orders = 2 if works_on_its_own(model, operation) else 1
        assert len(simulator.bills) == orders
        assert all(bill.delivered for bill in simulator.bills)
    assert type(image.request) is type(request)
    assert image.model == model.id
    assert spending.attempts.succeeded == orders
    assert spending.unknown_usd == 0
    if image.cost.source in ("reported", "computed"):
        assert spending.settled_usd == simulator.billed_usd


def test_every_provider_is_simulated_and_has_models_and_tests():
    folders = {path.name for path in Path(__file__).parent.iterdir()}
    for provider in PROVIDERS.values():
        assert any(model.provider == provider.name for model in imagen.providers.load_catalog()), (
            provider.name
        )
    assert {model.provider for model in imagen.providers.load_catalog()} <= PROVIDERS.keys()
    assert len(SIMULATED) >= 60
    assert folders >= {"bfl", "google", "ideogram", "openai", "stability"}


def test_every_live_model_says_what_it_is_for_and_where_its_price_comes_from():
    for model in imagen.providers.load_catalog():
        if model.lifecycle.state(TODAY) == "retired":
            assert model.lifecycle.successor, model.id
            continue
        assert model.description, model.id
        assert model.strengths, model.id
        assert model.weaknesses, model.id
        price = model.price
        if price is not None and price.usd_per_image != 0:
            assert price.as_of, model.id
            assert price.source, model.id
        assert msgspec.json.decode(msgspec.json.encode(model), type=imagen.Model) == model


# --- offers -------------------------------------------------------------------


class Offering(msgspec.Struct, frozen=True):
    """Requests for all that the catalog offers, and the client that sends them."""

    open: Callable[..., AbstractAsyncContextManager[tuple[imagen.Client, Simulator]]]
    requests: Callable[[imagen.Model, tuple[bytes, ...], bytes], Iterator[imagen.Request]]
    side: int = 64


OFFERINGS = {
    "bfl": Offering(bfl.open_bfl, bfl.requests, side=256),
    "fal": Offering(fal.open_fal, fal.requests),
    "ideogram": Offering(ideogram.open_ideogram, ideogram.requests),
    "replicate": Offering(replicate.open_replicate, fal.requests),
}
# Retired models of Ideogram are asked too: its simulator still serves them.
OFFERED = [
    model
    for model in imagen.providers.load_catalog()
    if model.provider in OFFERINGS and (model.lifecycle.live or model.provider == "ideogram")
]


@pytest.mark.parametrize("model", OFFERED, ids=lambda model: model.id)
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    offering = OFFERINGS[model.provider]
    side = max(offering.side, model.capabilities.inputs.min_side)
    size = (side, side)
    images, mask = (large_png(RED, size), large_png(GREEN, size)), left_mask(size)
    asked = list(offering.requests(model, images, mask))
    lacks = model.wire.get("lacks", {})
    async with offering.open(tmp_path) as (client, simulator):
        async with client.open_batch(asked, max_at_once=4) as batch:
            async for outcome in batch:
                request = msgspec.structs.asdict(outcome.request)
                assert isinstance(outcome, imagen.Image), (outcome, request)
                operation = type(outcome.request).__name__.lower()
                assert all(made.field in lacks.get(operation, ()) for made in outcome.adjustments)
                if request["output_format"]:
                    assert outcome.media_type == f"image/{request['output_format']}"
                fixed = request["size"] not in (None, "auto", "source")
                if fixed and not outcome.adjustments:
                    assert f"{outcome.width}x{outcome.height}" == request["size"]
                if model.provider in ("fal", "replicate") and request.get("scale"):
                    assert outcome.width == round(side * request["scale"])
        spending = await client.spending()
        match model.provider:
            case "bfl":
                assert spending.settled_usd == simulator.billed_usd > 0
            case "ideogram":
                await ideogram.books_are_balanced(client, simulator)
            case _ if model.price is not None:
                assert spending.settled_usd > 0
        assert not simulator.leaks


TOGETHER = [
    model
    for model in OFFERED
    if model.provider in ("fal", "replicate") and model.capabilities.max_images_per_request > 1
]


@pytest.mark.parametrize("model", TOGETHER, ids=lambda model: model.id)
async def test_as_many_images_as_the_catalog_says_come_from_one_request(tmp_path, model):
    can = model.capabilities
    more: dict[str, Any] = {"model": model.id, "prompt": "a cat"}
    match can.operations[0]:
        case "vary":
            request: imagen.Request = imagen.Vary(image=large_png(), **more)
        case "edit":
            mask = left_mask() if can.mask else None
            request = imagen.Edit(images=(large_png(),), mask=mask, **more)
        case _:
            request = imagen.Generate(**more)
    most = can.max_images_per_request
    async with OFFERINGS[model.provider].open(tmp_path) as (client, simulator):
        async with client.open_batch(request, n=most, together=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * most
        assert len(simulator.bills) == 1


# --- any replies --------------------------------------------------------------

Ending = GeneratedImages | imagen.ImagenError


def check_bfl(walk: Walk, end: Ending) -> None:
    if isinstance(end, imagen.ImagenError):
        if any(isinstance(step, JobAccepted) for step in walk.steps):
            assert end.billed != "no"
        return
    (image,) = end.images
    assert not isinstance(image, LostImage)


def check_midjourney(walk: Walk, end: Ending) -> None:
    if not isinstance(end, imagen.ImagenError):
        assert all(isinstance(image, GeneratedImage) for image in end.images)


def check_comfyui(walk: Walk, end: Ending) -> None:
    if isinstance(end, imagen.ImagenError):
        assert end.billed == "no"
    else:
        assert any(isinstance(image, GeneratedImage) for image in end.images)


def check_taken(walk: Walk, end: Ending) -> None:
    """A job that was taken is free only if its end says so."""
    assert any(isinstance(step, JobAccepted) for step in walk.steps)
    if isinstance(end, imagen.ImagenError) and end.billed == "no":
        assert "job_id" in end.details


def check_nothing(walk: Walk, end: Ending) -> None:
    return


class Conversation(msgspec.Struct, frozen=True):
    """An exchange that gets any replies, the last of them again and again."""

    provider: str
    name: str
    run: Callable[..., Walk]
    replies: st.SearchStrategy[HttpResponse]
    repeats: int
    examples: int
    check: Callable[[Walk, Ending], None] = check_nothing


SLOW_POLLS = {"poll_seconds": 600.0}
units = st.text(max_size=10).map(lambda text: {"x-fal-billable-units": text})
BFL = http_replies(json_bodies(bfl.SAMPLES, nested="details"))
COMFYUI = http_replies(json_bodies(comfyui.SAMPLES))
FAL = http_replies(json_bodies(fal.SAMPLES, nested="detail"), units)
IDEOGRAM = http_replies(json_bodies(ideogram.SAMPLES, nested="data"))
MIDJOURNEY = http_replies(json_bodies(midjourney.SAMPLES))
REPLICATE = http_replies(json_bodies(replicate.SAMPLES, nested="output"))


DASHSCOPE_TAKEN = reply({"output": {"task_id": "t1", "task_status": "PENDING"}})
DASHSCOPE = http_replies(
    json_bodies(
        (
            {"output": {"task_id": "t1", "task_status": "RUNNING"}},
            {"output": {"task_status": "SUCCEEDED", "results": [{"url": "https://a.b/c.png"}]}},
            {
                "output": {
                    "task_status": "SUCCEEDED",
                    "choices": [{"message": {"content": [{"image": "https://a.b/c.png"}]}}],
                },
                "usage": {"image_count": 1},
            },
            {"output": {"task_status": "FAILED", "code": "InternalError", "message": "x"}},
            {"code": "InvalidParameter", "message": "x", "request_id": "r"},
        ),
        nested="output",
    )
)
FIREWORKS_TAKEN = reply({"request_id": "r1"})
FIREWORKS = http_replies(
    json_bodies(
        (
            {"id": "r1", "status": "Pending", "result": None, "progress": 0.5, "details": None},
            {"id": "r1", "status": "Ready", "result": {"sample": "https://a.b/c.png", "seed": 3}},
            {"base64": ["aGk="], "finishReason": "SUCCESS", "seed": 3},
            {"error": {"message": "x"}},
        ),
        nested="result",
    )
)
BEDROCK = http_replies(
    json_bodies(
        (
            {"images": ["aGk="], "seeds": [3], "finish_reasons": [None]},
            {"images": [""], "seeds": [3], "finish_reasons": ["Filter reason: prompt"]},
            {"message": "x"},
        ),
        nested="images",
    )
)


def run_model(model: str, *replies: HttpResponse, settings: dict[str, Any]) -> Walk:
    asked = call(model, settings=settings)
    return Walk(PROVIDERS[asked.model.provider].operations["generate"](asked), *replies)


def enhance_midjourney(*replies: HttpResponse, settings: dict[str, Any]) -> Walk:
    request = imagen.Enhance(image=b"", mode="creative", options={"task_id": "5", "index": 1})
    asked = call("midjourney", request=request, images=(midjourney.IMAGE_INPUT,), settings=settings)
    first = [reply({"status": "SUCCESS", "buttons": midjourney.BUTTONS}), midjourney.TAKEN]
    return Walk(PROVIDERS["midjourney"].operations["enhance"](asked), *first, *replies)


def enhance_comfyui(*replies: HttpResponse, settings: dict[str, Any]) -> Walk:
    asked = call(
        "comfyui", request=imagen.Enhance(image=b""), images=(input_image(),), settings=settings
    )
    return Walk(PROVIDERS["comfyui"].operations["enhance"](asked), *replies)


CONVERSATIONS = [
    Conversation("bfl", "generate", bfl.walk, BFL, 20, 600, check_bfl),
    Conversation("bfl", "job", bfl.polled, BFL, 20, 600, check_bfl),
    Conversation("comfyui", "generate", comfyui.walk, COMFYUI, 60, 400, check_comfyui),
    Conversation("comfyui", "job", comfyui.polled, COMFYUI, 60, 400, check_comfyui),
    Conversation("comfyui", "upload", enhance_comfyui, COMFYUI, 80, 200, check_comfyui),
    Conversation("fal", "generate", fal.walk, FAL, 40, 500),
    Conversation("fal", "job", partial(fal.walk, fal.SUBMITTED), FAL, 40, 500),
    Conversation("fal", "result", partial(fal.walk, fal.SUBMITTED, fal.COMPLETED), FAL, 40, 500),
    Conversation("ideogram", "generate", ideogram.walk, IDEOGRAM, 30, 600),
    Conversation("ideogram", "job", ideogram.polled, IDEOGRAM, 30, 600),
    Conversation("midjourney", "generate", midjourney.walk, MIDJOURNEY, 40, 400, check_midjourney),
    Conversation(
        "midjourney",
        "job",
        partial(midjourney.polled, previews=2),
        MIDJOURNEY,
        40,
        400,
        check_midjourney,
    ),
    Conversation(
        "midjourney", "enhance", enhance_midjourney, MIDJOURNEY, 60, 300, check_midjourney
    ),
    Conversation("bedrock", "generate", partial(run_model, "bedrock/sd3.5-large"), BEDROCK, 2, 400),
    Conversation("dashscope", "generate", partial(run_model, "wan2.7-image"), DASHSCOPE, 40, 400),
    Conversation(
        "dashscope",
        "job",
        partial(run_model, "qwen-image-plus", DASHSCOPE_TAKEN),
        DASHSCOPE,
        40,
        400,
        check_taken,
    ),
    Conversation(
        "fireworks", "generate", partial(run_model, "fireworks/flux-1-dev"), FIREWORKS, 2, 400
    ),
    Conversation(
        "fireworks",
        "job",
        partial(run_model, "fireworks/flux-kontext-pro", FIREWORKS_TAKEN),
        FIREWORKS,
        40,
        400,
        check_taken,
    ),
    Conversation("replicate", "generate", replicate.walk, REPLICATE, 40, 500),
    Conversation(
        "replicate", "job", partial(replicate.walk, replicate.CREATED), REPLICATE, 40, 500
    ),
]


def end_of(walk: Walk) -> Ending:
    """Run an exchange to its images or its ImagenError, which have to be whole."""
    try:
        result = walk.run()
    except imagen.ImagenError as error:
        assert error.message
        assert all(isinstance(value, str) for value in error.details.values())
        return error
    assert result.images
    assert all(
        isinstance(image, WithheldImage | LostImage) or isinstance(image.data, bytes)
        for image in result.images
    )
    assert result.units is None or 0 <= result.units <= 10**6
    assert result.reported_cost_usd is None or 0 <= result.reported_cost_usd <= 10**6
    return result


@pytest.mark.parametrize(
    "conversation", CONVERSATIONS, ids=[f"{each.provider}-{each.name}" for each in CONVERSATIONS]
)
def test_any_replies_end_in_images_or_an_error_of_ours(conversation):
    @settings(max_examples=examples(conversation.examples), deadline=None)
    @given(replies=st.lists(conversation.replies, min_size=1, max_size=6))
    def converse(replies: list[HttpResponse]) -> None:
        rest = [replies[-1]] * conversation.repeats
        changed = comfyui.QUICK if conversation.provider == "comfyui" else SLOW_POLLS
        walk = conversation.run(*replies, *rest, settings=changed)
        conversation.check(walk, end_of(walk))

    converse()


@given(chunks=comfyui.messages, replies=st.lists(COMFYUI, min_size=1, max_size=3))
@settings(max_examples=examples(400), deadline=None)
def test_any_socket_of_comfyui_ends_well_too(chunks, replies):
    walk = comfyui.polled(
        *replies,
        *[replies[-1]] * 60,
        chunks=chunks,
        socket=True,
        settings=comfyui.QUICK,
        previews=3,
    )
    check_comfyui(walk, end_of(walk))
