"""Recraft: what is sent, what its answers mean, and that it takes what is
offered.
"""

from __future__ import annotations

import io
from decimal import Decimal

import msgspec
import pytest
from PIL import Image

from imagen import (
    AuthenticationError,
    ConfigurationError,
    Edit,
    InvalidRequestError,
    ProviderError,
    RateLimitError,
    Vary,
)
from imagen.providers import PROVIDERS
from imagen.testing.simulator._core.forms import FilePart, parse_form
from tests.support.exchanges import CATALOG, Walk, call, images, input_image, mask_image, reply
from tests.support.providers.gateways import models_of, opened, takes_everything_offered
from tests.support.svg import PLAIN, needs_renderer, no_renderer

__all__ = ["no_renderer"]

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


def test_models_of_vectors_offer_svg_and_nothing_else():
    models = [model for model in CATALOG if model.provider == "recraft"]
    vectors = {model.id for model in models if model.wire_name.endswith("_vector")}
    of_svg = {model.id for model in models if model.capabilities.output_formats == ("svg",)}
    assert of_svg == vectors | {"recraft/vectorize"}
    assert len(vectors) == 5


@pytest.mark.parametrize(
    ("asked", "adjusted"), [(None, []), ("svg", []), ("png", ["output_format"])]
)
async def test_a_vector_model_answers_with_svg_that_is_kept(tmp_path, asked, adjusted):
    async with opened(tmp_path) as (client, simulator):
        image = await client.generate(
            "a fox", model="recraft-v4.1-vector", output_format=asked, size="1280x832"
        )
        assert (image.media_type, image.width, image.height) == ("image/svg+xml", 1280, 832)
        assert image.path.suffix == ".svg"
        assert image.data.startswith(b"<svg")
        assert [change.field for change in image.adjustments] == adjusted
        assert (await client.spending()).settled_usd == simulator.billed_usd == Decimal("0.08")


async def test_a_raster_model_has_no_svg(tmp_path):
    async with opened(tmp_path) as (client, _):
        image = await client.generate("a fox", model="recraft-v4.1", output_format="svg")
    assert [change.field for change in image.adjustments] == ["output_format"]
    assert image.media_type == "image/webp"


@pytest.mark.parametrize(
    ("model", "path", "usd"),
    [
        ("recraft/vectorize", "images/vectorize", "0.01"),
        ("recraft/remove-background", "images/removeBackground", "0.01"),
    ],
)
async def test_an_operation_without_words_answers_with_one_image(tmp_path, model, path, usd):
    request = Edit(prompt="", images=("x",))
    asked = call(model, request=request, images=(input_image(300, 300),))
    walked = Walk(
        PROVIDERS["recraft"].operations["edit"](asked),
        reply({"created": 1, "credits": 10, "image": images()["data"][0]}),
    )
    result = walked.run()
    texts, files = form(walked)
    assert walked.requests[0].url == path
    assert texts == {"response_format": ["b64_json"]}
    assert files.keys() == {"image"}
    assert result.reported_cost_usd == Decimal("0.01")
    assert len(result.images) == 1
    async with opened(tmp_path) as (client, simulator):
        image = await client.edit("", input_image(512, 512).data, model=model)
        assert (image.media_type == "image/svg+xml") == (model == "recraft/vectorize")
        assert (await client.spending()).settled_usd == simulator.billed_usd == Decimal(usd)


@needs_renderer
@pytest.mark.parametrize("by", ["image", "id", "bytes"])
async def test_an_svg_is_worked_on_as_pixels(tmp_path, by):
    async with opened(tmp_path) as (client, _):
        drawing = await client.generate("a fox", model="recraft-v4.1-vector", size="1280x832")
        source = {"image": drawing, "id": drawing.id, "bytes": drawing.data}[by]
        image = await client.vary(source, prompt="a wolf", model="recraft-v4.1")
        assert (image.width, image.height) == (1280, 832)
        assert image.media_type == "image/webp"
        assert image.parent_id == (None if by == "bytes" else drawing.id)
        # The request can be made again, as the library has its input.
        assert await client.generate(msgspec.structs.replace(image.request, seed=4))


async def test_without_the_extra_an_svg_is_refused_as_an_input_for_nothing(tmp_path, no_renderer):
    async with opened(tmp_path) as (client, simulator):
        with pytest.raises(ConfigurationError, match=r"imagen-trio\[svg\]"):
            await client.vary(PLAIN, prompt="a wolf", model="recraft-v4.1")
        assert not simulator.bills


async def test_words_for_an_operation_without_words_are_left_out_and_said(tmp_path):
    async with opened(tmp_path) as (client, _):
        image = await client.edit(
            "a logo", input_image(512, 512).data, model="recraft/vectorize", output_format="svg"
        )
    assert [(change.field, change.sent) for change in image.adjustments] == [("prompt", None)]


async def test_options_of_vectorizing_are_sent(tmp_path):
    async with opened(tmp_path) as (client, _):
        options = {"svg_compression": "on", "max_num_shapes": 100, "limit_num_shapes": "on"}
        image = await client.edit(
            "", input_image(512, 512).data, model="recraft/vectorize", options=options
        )
    assert image.media_type == "image/svg+xml"


async def test_a_region_is_erased_by_its_mask(tmp_path):
    async with opened(tmp_path) as (client, simulator):
        before, mask = input_image(512, 512).data, mask_image(512, 512).data
        with pytest.raises(InvalidRequestError, match="needs a mask"):
            await client.edit("", before, model="recraft/erase")
        image = await client.edit("", before, mask=mask, model="recraft/erase")
        assert (image.width, image.height) == (512, 512)
        assert simulator.billed_usd == Decimal("0.002")


@pytest.mark.parametrize(
    ("model", "mode", "usd"),
    [
        ("recraft/crisp-upscale", "fast", "0.004"),
        ("recraft/creative-upscale", "creative", "0.25"),
    ],
)
async def test_an_image_is_enlarged(tmp_path, model, mode, usd):
    async with opened(tmp_path) as (client, simulator):
        image = await client.enhance(
            input_image(300, 400).data, model=model, mode=mode, output_format="png"
        )
        assert (image.width, image.height, image.media_type) == (600, 800, "image/png")
        assert not image.adjustments
        assert (await client.spending()).settled_usd == simulator.billed_usd == Decimal(usd)


def test_a_background_is_replaced_by_a_prompt_with_the_fields_of_v3():
    request = Edit(prompt="a beach", images=("x",), style="realistic_image", seed=4)
    asked = call("recraft/replace-background", request=request, images=(input_image(300, 300),))
    walked = Walk(PROVIDERS["recraft"].operations["edit"](asked), reply(images()))
    assert not walked.run().adjustments
    texts, _ = form(walked)
    assert walked.requests[0].url == "images/replaceBackground"
    assert texts == {
        "response_format": ["b64_json"],
        "model": ["recraftv3"],
        "prompt": ["a beach"],
        "style": ["realistic_image"],
        "random_seed": ["4"],
    }


async def test_a_background_is_drawn_in_the_white_area(tmp_path):
    before, mask = input_image(512, 512).data, mask_image(512, 512).data
    async with opened(tmp_path) as (client, simulator):
        image = await client.edit(
            "a beach", before, mask=mask, model="recraft/generate-background", output_format="png"
        )
        assert simulator.billed_usd == Decimal("0.04")
        with Image.open(io.BytesIO(image.data)) as drawn:
            assert drawn.convert("RGB").getpixel((500, 256)) == (0, 128, 128)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"size": "1536x1024"}, (1536, 1024)),
        ({"options": {"expand_left": 100, "expand_top": 8}}, (612, 520)),
        ({"options": {"zoom_out_percentage": 50}}, (512, 512)),
    ],
)
async def test_more_is_drawn_around_an_image(tmp_path, asked, size):
    async with opened(tmp_path) as (client, _):
        image = await client.edit(
            "a beach", input_image(512, 512).data, model="recraft/outpaint", **asked
        )
    assert (image.width, image.height) == size


async def test_what_would_only_be_refused_is_not_sent(tmp_path):
    before = input_image(512, 512).data
    async with opened(tmp_path) as (client, simulator):
        with pytest.raises(InvalidRequestError, match="needs a size, or one of expand_left"):
            await client.edit("a beach", before, model="recraft/outpaint")
        for model in ("recraft/outpaint", "recraft/replace-background"):
            with pytest.raises(InvalidRequestError, match="The prompt is empty"):
                await client.edit("", before, model=model, size="1536x1024")
        assert not simulator.bills


@pytest.mark.parametrize("image", [None, 7, "x", [], {}, {"url": 5}, {"b64_json": None}])
def test_a_single_image_of_another_form_is_no_crash(image):
    asked = call(
        "recraft/vectorize",
        request=Edit(prompt="", images=("x",)),
        images=(input_image(300, 300),),
    )
    exchange = PROVIDERS["recraft"].operations["edit"](asked)
    error = Walk(exchange, reply({"created": 1, "credits": 10, "image": image})).fail()
    assert type(error) is ProviderError
    assert error.billed in ("yes", "unknown")


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


# An outpainting needs to know how far it goes.
@pytest.mark.parametrize("model", sorted({*models_of("recraft")} - {"recraft/outpaint"}))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model)
