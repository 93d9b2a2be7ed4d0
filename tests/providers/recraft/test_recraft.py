"""Recraft: what is sent, what its answers mean, and that it takes what is
offered.
"""

from __future__ import annotations

import io
from decimal import Decimal

import pytest
from PIL import Image

from imagen import (
    AuthenticationError,
    Edit,
    InvalidRequestError,
    RateLimitError,
    Vary,
)
from imagen.providers import PROVIDERS
from imagen.testing.simulator._core.forms import FilePart, parse_form
from tests.support.exchanges import CATALOG, Walk, call, images, input_image, mask_image, reply
from tests.support.providers.gateways import models_of, opened, takes_everything_offered

GENERATE = PROVIDERS["recraft"].operations["generate"]
MODEL = "recraft-v3"


def test_fields_have_their_names_here():
    asked = call(
        MODEL,
        size="1365x1024",
        seed=7,
        negative_prompt="dogs",
        output_format="png",
        style="realistic_image",
        count=2,
    )
    walk = Walk(GENERATE(asked), reply(images(2)))
    walk.run()
    assert walk.requests[0].url == "images/generations"
    assert walk.body == {
        "response_format": "b64_json",
        "model": "recraftv3",
        "prompt": "a cat",
        "n": 2,
        "size": "1365x1024",
        "style": "realistic_image",
        "random_seed": 7,
        "negative_prompt": "dogs",
        "image_format": "png",
    }


@pytest.mark.parametrize(
    ("credits", "usd"),
    [(35, "0.035"), (210, "0.21"), (40.0, "0.04"), (None, None), ("x", None), (-3, None)],
)
def test_the_credits_of_a_reply_are_its_cost(credits, usd):
    result = Walk(GENERATE(call(MODEL)), reply({**images(), "credits": credits})).run()
    assert result.reported_cost_usd == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_request", InvalidRequestError),
        (401, "unauthorized", AuthenticationError),
        (429, "rate_limit_exceeded", RateLimitError),
    ],
)
def test_errors_are_a_code_and_a_message(status, code, kind):
    body = {"code": code, "message": "Not so."}
    error = Walk(GENERATE(call(MODEL)), reply(body, status)).fail()
    assert type(error) is kind
    assert error.billed == "no"
    assert "Not so" in error.message


def test_no_model_that_answers_with_svg_is_offered():
    wire_names = [model.wire_name for model in CATALOG if model.provider == "recraft"]
    assert wire_names
    assert not [name for name in wire_names if name.endswith("_vector")]


def form(walked: Walk) -> tuple[dict[str, list[str]], dict[str, list[FilePart]]]:
    (request,) = walked.requests
    return parse_form(dict(request.headers), request.body)


@pytest.mark.parametrize(("strength", "sent"), [(None, "0.5"), (0.0, "0.0"), (1, "1")])
def test_a_variation_sends_its_image_and_how_far_it_goes(strength, sent):
    image = input_image(256, 256)
    asked = call(
        "recraft-v4.1",
        request=Vary(prompt="winter", image="x", strength=strength, seed=3),
        images=(image,),
        count=2,
    )
    walked = Walk(PROVIDERS["recraft"].operations["vary"](asked), reply(images(2)))
    result = walked.run()
    texts, files = form(walked)
    assert walked.requests[0].url == "images/imageToImage"
    assert texts == {
        "response_format": ["b64_json"],
        "model": ["recraftv4_1"],
        "prompt": ["winter"],
        "n": ["2"],
        "random_seed": ["3"],
        "strength": [sent],
    }
    assert [file.data for file in files["image"]] == [image.data]
    assert len(result.images) == 2


def test_a_mask_goes_to_inpainting_and_its_size_stays():
    request = Edit(prompt="a hat", images=("x",), mask="y", size="1024x1024", negative_prompt="red")
    asked = call(MODEL, request=request, images=(input_image(300, 300),), mask=mask_image(300, 300))
    walked = Walk(PROVIDERS["recraft"].operations["edit"](asked), reply(images()))
    result = walked.run()
    texts, files = form(walked)
    assert walked.requests[0].url == "images/inpaint"
    assert texts == {
        "response_format": ["b64_json"],
        "model": ["recraftv3"],
        "prompt": ["a hat"],
        "negative_prompt": ["red"],
    }
    assert files.keys() == {"image", "mask"}
    assert [adjustment.field for adjustment in result.adjustments] == ["size"]


async def test_an_edit_without_a_mask_is_refused_for_nothing(tmp_path):
    async with opened(tmp_path) as (client, simulator):
        with pytest.raises(InvalidRequestError, match="mask"):
            await client.edit("a hat", input_image(512, 512).data, model=MODEL)
        assert not simulator.bills


async def test_only_the_white_area_changes(tmp_path):
    before = input_image(512, 512)
    async with opened(tmp_path) as (client, simulator):
        image = await client.edit(
            "a hat", before.data, mask=mask_image(512, 512).data, model=MODEL, output_format="png"
        )
        spending = await client.spending()
        assert spending.settled_usd == simulator.billed_usd == Decimal("0.04")
        data = image.path.read_bytes()
    with Image.open(io.BytesIO(data)) as opened_image:
        drawn = opened_image.convert("RGB")
    assert drawn.getpixel((500, 256)) == (0, 128, 128)
    assert drawn.getpixel((10, 256)) != (0, 128, 128)


@pytest.mark.parametrize("model", ["recraft-v4.1", "recraft-v4.1-pro", MODEL])
async def test_a_variation_goes_all_the_way(tmp_path, model):
    async with opened(tmp_path) as (client, simulator):
        image = await client.vary(
            input_image(300, 400).data, prompt="winter", model=model, strength=0.2
        )
        assert (image.width, image.height) == (300, 400)
        assert (await client.spending()).settled_usd == simulator.billed_usd


async def test_a_key_is_looked_at_for_nothing(tmp_path):
    async with opened(tmp_path) as (client, simulator):
        assert (await client.probe("recraft")).usable
        assert not simulator.bills


@pytest.mark.parametrize("model", models_of("recraft"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model)
