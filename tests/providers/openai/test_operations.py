"""OpenAI's edits, styles and list of models, stepped by hand."""

from __future__ import annotations

import datetime
import io
import json
from decimal import Decimal
from typing import Any

import jsonschema
import msgspec
import pybase64
import pytest
from hypothesis import given, settings
from PIL import Image

import imagen
from imagen._results.prices import cost_of
from imagen.providers import HttpRequest, HttpResponse
from imagen.providers.openai import _adapter as openai
from imagen.testing.simulator._core.forms import parse_form
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    IMAGE_BASE64,
    STREAM,
    Walk,
    call,
    images,
    input_image,
    mask_image,
    outcome,
    recorded,
    reply,
    schema,
    sse,
)
from tests.support.lengths import examples
from tests.support.providers.openai import RECORDED_ERRORS, ends_well
from tests.support.reply_strategies import bodies, mutated, statuses, wrong_fields

MODELS = [
    model.id
    for model in CATALOG
    if model.provider == "openai" and model.lifecycle.retired_on is None
]
CAT, HAT = input_image(96, 64), input_image(32, 32, color="red", format="JPEG")


def url_of(image: imagen.providers.EncodedImage) -> str:
    return f"data:{image.media_type};base64,{pybase64.b64encode(image.data).decode()}"


def walk_edit(
    *responses: HttpResponse,
    chunks: Any = (),
    model: str = "gpt-image-2",
    found: tuple[imagen.providers.EncodedImage, ...] = (CAT,),
    mask: imagen.providers.EncodedImage | None = None,
    count: int = 1,
    **fields: Any,
) -> Walk:
    request = imagen.Edit(
        images=("x",) * len(found),
        mask=None if mask is None else "x",
        prompt="make it green",
        **fields,
    )
    return Walk(
        openai.edit(call(model, request=request, images=found, mask=mask, count=count)),
        *responses,
        chunks=chunks,
    )


# --- edits --------------------------------------------------------------------


def test_an_edit_is_one_post_of_json_with_the_images_in_it():
    walked = walk_edit(reply(images()), found=(CAT, HAT), size="1536x864", quality="low")
    assert walked.run().images == (imagen.providers.GeneratedImage(data=IMAGE),)
    (request,) = walked.requests
    assert (request.method, request.url, request.repeatable, request.stream) == (
        "POST",
        "images/edits",
        False,
        False,
    )
    assert request.headers == {"content-type": "application/json"}
    assert walked.body == {
        "model": "gpt-image-2",
        "prompt": "make it green",
        "n": 1,
        "size": "1536x864",
        "quality": "low",
        "images": [{"image_url": url_of(CAT)}, {"image_url": url_of(HAT)}],
    }


def test_a_mask_becomes_transparent_where_the_image_is_to_change():
    walked = walk_edit(reply(images()), mask=mask_image(96, 64))
    walked.run()
    url = walked.body["mask"]["image_url"]
    assert url.startswith("data:image/png;base64,")
    with Image.open(io.BytesIO(pybase64.b64decode(url.partition(",")[2]))) as mask:
        assert (mask.format, mask.size) == ("PNG", (96, 64))
        alpha = mask.getchannel("A")
    assert (alpha.getpixel((10, 30)), alpha.getpixel((90, 30))) == (0, 255)


@pytest.mark.parametrize("masked", [False, True])
def test_an_image_that_is_too_long_for_a_url_goes_into_a_form(masked):
    large = msgspec.structs.replace(CAT, data=CAT.data + bytes(16_000_000))
    mask = mask_image(96, 64) if masked else None
    walked = walk_edit(reply(images()), found=(large, HAT), mask=mask, quality="low", count=2)
    walked.run()
    (request,) = walked.requests
    texts, files = parse_form(dict(request.headers), request.body)
    assert request.url == "images/edits"
    assert texts == {
        "model": ["gpt-image-2"],
        "prompt": ["make it green"],
        "n": ["2"],
        "quality": ["low"],
    }
    assert [file.data for file in files["image[]"]] == [large.data, HAT.data]
    assert [file.filename for file in files["image[]"]] == ["image.png", "image.jpeg"]
    assert ("mask" in files) == masked


@pytest.mark.parametrize(
    ("safety", "sent"), [("relaxed", "low"), ("standard", "auto"), ("strict", None), (None, None)]
)
def test_safety_is_called_moderation(safety, sent):
    walked = walk_edit(reply(images()), safety=safety)
    walked.run()
    assert walked.body.get("moderation") == sent
    generated = Walk(openai.generate(call(safety=safety)), reply(images()))
    generated.run()
    assert generated.body.get("moderation") == sent


def test_previews_of_an_edit_come_in_its_own_events():
    usage = {"input_tokens": 4, "output_tokens": 9}  # no details: the input may be images
    events = [
        {"type": "image_edit.partial_image", "b64_json": IMAGE_BASE64, "partial_image_index": 0},
        {"type": "image_edit.completed", "b64_json": IMAGE_BASE64, "usage": usage},
    ]
    walked = walk_edit(STREAM, chunks=[sse(*events)], previews=2)
    result = walked.run()
    assert [step.number for step in walked.partials] == [0]
    assert result.usage == imagen.providers.Usage(image_input_tokens=4, image_output_tokens=9)
    assert walked.requests[0].stream
    assert (walked.body["stream"], walked.body["partial_images"]) == (True, 2)


@pytest.mark.parametrize("field", openai.RESERVED)
def test_options_of_an_edit_may_not_replace_what_decides_the_price(field):
    error = walk_edit(options={field: 3}).fail()
    assert isinstance(error, imagen.InvalidRequestError)
    assert field in error.message


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("previews", [0, 2])
def test_edits_keep_the_published_schema(model, previews):
    validator = jsonschema.Draft202012Validator(schema("openai-images", "EditImageBodyJsonParam"))
    can = CATALOG.find(model).capabilities
    # The schema of 2026-08 is older than the qualities of the 2.5 models, and
    # than free sizes.
    for quality in [quality for quality in can.qualities if quality not in ("xhigh", "max")]:
        for size in (None, *can.sizes):
            fields = {
                "quality": quality,
                "size": size,
                "previews": previews,
                "safety": "relaxed",
                "background": "opaque",
            }
            walked = walk_edit(model=model, found=(CAT,) * 16, mask=mask_image(96, 64), **fields)
            with pytest.raises(AssertionError, match="there is no answer"):
                walked.run()
            validator.validate(walked.body)
            assert walked.body.keys() <= validator.schema["properties"].keys()


# --- restyle ------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", "More blue."])
def test_a_style_is_taken_by_an_edit_that_says_what_each_image_is(prompt):
    request = imagen.Restyle(
        image="x", reference="y", prompt=prompt, strength=0.4, size="1024x1024"
    )
    walked = Walk(
        openai.restyle(call(request=request, images=(CAT,), references=(HAT,))), reply(images())
    )
    walked.run()
    body = walked.body
    assert body["images"] == [{"image_url": url_of(CAT)}, {"image_url": url_of(HAT)}]
    assert body["prompt"].startswith("Redraw the first image in the style of the second one.")
    assert body["prompt"].endswith(prompt or "shows.")
    assert body["size"] == "1024x1024"
    assert "strength" not in body


# --- recorded answers ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tokens", "usd"),
    [
        ("edit-gpt-image-1.5-two-images.json", (43, 388, 308, 1056), "0.040191"),
        ("edit-gpt-image-2-free-size.json", (12, 64, 0, 120), "0.004172"),
    ],
)
def test_a_recorded_edit_is_what_we_would_send_and_its_answer_is_priced(name, tokens, usd):
    recording = recorded(name)
    sent = recording["request"]["body"]
    found = tuple(
        imagen.providers.EncodedImage(
            data=pybase64.b64decode(item["image_url"].partition(",")[2]),
            media_type="image/png",
            width=8,
            height=8,
        )
        for item in sent["images"]
    )
    fields = {field: sent.get(field) for field in ("size", "quality")}
    request = imagen.Edit(images=("x",) * len(found), prompt=sent["prompt"], **fields)
    asked = call(sent["model"], request=request, images=found)
    response = recording["response"]
    walked = Walk(openai.edit(asked), reply(response["body"], **response["headers"]))
    result = walked.run()
    assert walked.body == sent
    assert msgspec.structs.astuple(result.usage) == tokens
    assert cost_of(asked.model, asked.request, result) == imagen.Cost(
        usd=Decimal(usd), source="computed"
    )


@pytest.mark.parametrize(("name", "expected"), RECORDED_ERRORS.items())
def test_a_recorded_error_means_the_same_for_an_edit(name, expected):
    (case,) = (case for case in recorded("errors.json")["cases"] if case["name"] == name)
    error = walk_edit(reply(case["response"]["body"], case["response"]["status"])).fail()
    assert outcome(error) == (*expected, False, "no", None)


# --- several images in one reply ----------------------------------------------


def test_one_image_that_cannot_be_read_does_not_lose_the_others():
    broken = {"data": [{"b64_json": IMAGE_BASE64}, {"b64_json": "*!*"}, {"b64_json": IMAGE_BASE64}]}
    found = walk_edit(reply(broken), count=3).run().images
    assert [type(image) for image in found].count(imagen.providers.LostImage) == 1
    assert len(found) == 3
    links = {"data": [{"url": "https://files.example/1"}, {"url": "https://files.example/2"}]}
    refused = [HttpResponse(status=403)] * 3
    gone = walk_edit(reply(links), *refused, HttpResponse(status=200, body=IMAGE), count=2)
    first, second = gone.run().images
    assert isinstance(first, imagen.providers.LostImage)
    assert second == imagen.providers.GeneratedImage(data=IMAGE)
    error = walk_edit(reply(links), *refused, HttpResponse(status=410), count=2).fail()
    assert (error.billed, error.details) == ("yes", {"status": "403"})


# --- the list of models -------------------------------------------------------


def listed(*responses: HttpResponse) -> tuple[imagen.providers.ListedModel, ...]:
    walked = Walk(openai.list_models(), *responses)
    found = walked.run()
    assert walked.requests == [HttpRequest(method="GET", url="models", repeatable=True)]
    return found


def test_the_image_models_are_listed_with_their_last_day():
    names = {
        "gpt-image-2": None,
        "gpt-image-1.5": "2026-12-01",
        "gpt-4.1": None,
        "chatgpt-image-latest": "soon",
    }
    data = [{"id": name, "object": "model", "shutdown_date": day} for name, day in names.items()]
    assert listed(
        reply({"object": "list", "data": [*data, {"id": "dall-e-2", "shutdown_date": 7}]})
    ) == (
        imagen.providers.ListedModel(wire_name="gpt-image-2"),
        imagen.providers.ListedModel(
            wire_name="gpt-image-1.5", retires_on=datetime.date(2026, 12, 1)
        ),
        imagen.providers.ListedModel(wire_name="chatgpt-image-latest"),
        imagen.providers.ListedModel(wire_name="dall-e-2"),
    )


@given(
    body=bodies
    | wrong_fields(({"object": "list", "data": [{"id": "gpt-image-2", "shutdown_date": None}]},))
)
@settings(max_examples=examples(150), deadline=None)
def test_any_list_is_a_list_or_an_error_that_costs_nothing(body):
    for status in (200, 500):
        try:
            found = Walk(openai.list_models(), HttpResponse(status=status, body=body)).run()
        except imagen.ImagenError as error:
            assert error.billed == "no"
        else:
            assert all(isinstance(model.wire_name, str) for model in found)


EDITED = {"type": "image_edit.completed", "b64_json": IMAGE_BASE64, "usage": {"output_tokens": 9}}


@given(body=bodies | mutated((json.dumps(images()).encode(),)), status=statuses)
@settings(max_examples=examples(200), deadline=None)
def test_any_answer_to_an_edit_ends_in_images_or_an_error_of_ours(body, status):
    files = [HttpResponse(status=200, body=IMAGE)] * 20
    ends_well(walk_edit(HttpResponse(status=status, body=body), *files, found=(HAT,)))


@given(stream=mutated((sse(EDITED),)))
@settings(max_examples=100, deadline=None)
def test_any_stream_of_an_edit_ends_in_images_or_an_error_of_ours(stream):
    ends_well(walk_edit(STREAM, chunks=[stream], found=(HAT,), previews=1))
