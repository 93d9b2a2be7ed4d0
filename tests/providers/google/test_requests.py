"""What Google is asked for, byte by byte, and what its recorded answers give."""

from __future__ import annotations

import json
from typing import Any

import pybase64
import pytest

import imagen
from imagen._results.prices import cost_of
from imagen.providers import GeneratedImages, HttpRequest, HttpResponse, Usage
from imagen.providers.google import _adapter as google
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    Walk,
    call,
    input_image,
    recorded,
    reply,
)
from tests.support.providers.google_replies import CHEAP, IMAGEN, ITEM, drawn, listed, predicted

LARGE = "gemini-nano-banana-2.1"
LOOK = "Redraw the first image in the style of the second one. Keep what the first one shows."


def sent(model: str = CHEAP, **fields: Any) -> dict[str, Any]:
    walked = Walk(
        google.generate(call(model, **fields)),
        reply(predicted(ITEM) if "imagen" in model else drawn()),
    )
    walked.run()
    return walked.body


# --- generateContent ----------------------------------------------------------


def test_a_generation_is_one_post_that_may_not_be_sent_twice():
    walked = Walk(google.generate(call(CHEAP)), reply(drawn()))
    assert walked.run() == GeneratedImages(images=(imagen.providers.GeneratedImage(data=IMAGE),))
    body = (
        b'{"contents":[{"role":"user","parts":[{"text":"a'
        b' cat"}]}],"generationConfig":{"responseModalities":["IMAGE"]}}'
    )
    url = "models/gemini-3.1-flash-lite-image:generateContent"
    headers = {"content-type": "application/json"}
    assert walked.steps == [HttpRequest(method="POST", url=url, headers=headers, body=body)]


def test_shape_and_seed_are_part_of_the_configuration():
    config = sent(LARGE, aspect_ratio="1:8", resolution="4K", seed=7)["generationConfig"]
    assert config == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "1:8", "imageSize": "4K"},
        "seed": 7,
    }


def test_a_model_of_one_resolution_is_told_none():
    assert sent(CHEAP, size="1024x1024")["generationConfig"]["imageConfig"] == {
        "aspectRatio": "1:1"
    }


def test_only_vertex_is_told_a_file_format():
    assert "imageConfig" not in sent(CHEAP, output_format="png")["generationConfig"]
    image = sent(f"vertex/{CHEAP}", output_format="png")["generationConfig"]["imageConfig"]
    assert image == {"imageOutputOptions": {"mimeType": "image/png"}}


@pytest.mark.parametrize(
    ("safety", "threshold"),
    [
        ("strict", "BLOCK_LOW_AND_ABOVE"),
        ("standard", "BLOCK_MEDIUM_AND_ABOVE"),
        ("relaxed", "BLOCK_ONLY_HIGH"),
    ],
)
def test_safety_is_a_threshold_for_each_category(safety, threshold):
    settings = sent(safety=safety)["safetySettings"]
    assert {setting["threshold"] for setting in settings} == {threshold}
    assert [setting["category"].removeprefix("HARM_CATEGORY_") for setting in settings] == [
        "HATE_SPEECH",
        "HARASSMENT",
        "SEXUALLY_EXPLICIT",
        "DANGEROUS_CONTENT",
    ]


def part_of(image: imagen.providers.EncodedImage) -> dict[str, object]:
    return {
        "inlineData": {
            "mimeType": image.media_type,
            "data": pybase64.b64encode(image.data).decode(),
        }
    }


def test_an_edit_sends_its_images_in_their_order_and_then_the_prompt():
    images = tuple(
        input_image(color=color, format=form) for color, form in (("red", "PNG"), ("blue", "JPEG"))
    )
    request = imagen.Edit(prompt="a hat", images=(b"", b""), aspect_ratio="4:5")
    walked = Walk(google.edit(call(CHEAP, request=request, images=images)), reply(drawn()))
    walked.run()
    assert walked.body["contents"] == [
        {"role": "user", "parts": [part_of(images[0]), part_of(images[1]), {"text": "a hat"}]}
    ]
    assert walked.body["generationConfig"]["imageConfig"] == {"aspectRatio": "4:5"}


@pytest.mark.parametrize(("prompt", "said"), [("", LOOK), ("in oil", f"{LOOK} in oil")])
def test_a_restyle_sends_the_image_before_its_look_and_says_which_is_which(prompt, said):
    image, look = input_image(color="red"), input_image(color="blue")
    request = imagen.Restyle(image=b"", reference=b"", prompt=prompt, strength=0.4)
    sent_call = call(CHEAP, request=request, images=(image,), references=(look,))
    walked = Walk(google.restyle(sent_call), reply(drawn()))
    walked.run()
    assert walked.body["contents"][0]["parts"] == [part_of(image), part_of(look), {"text": said}]


def test_references_stand_before_the_prompt_of_a_generation():
    looks = (input_image(color="red"), input_image(color="blue"))
    request = imagen.Generate(prompt="a cat", references=(b"", b""))
    walked = Walk(google.generate(call(CHEAP, request=request, references=looks)), reply(drawn()))
    walked.run()
    assert walked.body["contents"][0]["parts"] == [*map(part_of, looks), {"text": "a cat"}]


def test_options_go_along_and_into_the_configuration():
    options = {
        "tools": [{"googleSearch": {}}],
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "high"}},
    }
    body = sent(LARGE, options=options, seed=3)
    assert body["tools"] == [{"googleSearch": {}}]
    assert body["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "seed": 3,
        "thinkingConfig": {"thinkingLevel": "high"},
    }


@pytest.mark.parametrize(
    "options", [{"contents": []}, {"generationConfig": {"candidateCount": 4}}], ids=str
)
def test_options_may_not_replace_what_decides_the_price(options):
    walked = Walk(google.generate(call(CHEAP, options=options)))
    assert isinstance(walked.fail(), imagen.InvalidRequestError)
    assert not walked.requests


# --- predict ------------------------------------------------------------------


def test_imagen_is_asked_by_predict_with_everything_it_has():
    fields = {
        "aspect_ratio": "3:4",
        "resolution": "2K",
        "negative_prompt": "dogs",
        "seed": 5,
        "safety": "strict",
        "output_format": "jpeg",
    }
    walked = Walk(
        google.generate(call(IMAGEN, count=3, **fields)), reply(predicted(ITEM, ITEM, ITEM))
    )
    assert len(walked.run().images) == 3
    assert walked.requests[0].url == "models/imagen-4.0-generate-001:predict"
    assert walked.body == {
        "instances": [{"prompt": "a cat"}],
        "parameters": {
            "sampleCount": 3,
            "aspectRatio": "3:4",
            "sampleImageSize": "2K",
            "negativePrompt": "dogs",
            "seed": 5,
            "addWatermark": False,
            "safetySetting": "block_low_and_above",
            "outputOptions": {"mimeType": "image/jpeg"},
            "includeRaiReason": True,
        },
    }


def test_without_a_seed_the_watermark_is_left_alone():
    assert sent(IMAGEN)["parameters"] == {"sampleCount": 1, "includeRaiReason": True}


@pytest.mark.parametrize("name", ["sampleCount", "storageUri"])
def test_imagen_keeps_what_would_lose_the_images(name):
    assert isinstance(
        Walk(google.generate(call(IMAGEN, options={name: 1}))).fail(), imagen.InvalidRequestError
    )
    assert sent(IMAGEN, options={"enhancePrompt": False})["parameters"]["enhancePrompt"] is False


# --- the list of models -------------------------------------------------------


def test_the_list_has_the_image_models_of_every_page():
    pages = [
        listed("gemini-2.5-flash", CHEAP, token="a/b"),
        listed(LARGE, "imagen-4.0-generate-001", "veo-3"),
    ]
    walked = Walk(google.list_models(), *pages)
    found = walked.run()
    assert [model.wire_name for model in found] == [CHEAP, LARGE, "imagen-4.0-generate-001"]
    assert found[0].name == CHEAP.title()
    assert [request.url for request in walked.requests] == [
        "models?pageSize=1000",
        "models?pageSize=1000&pageToken=a%2Fb",
    ]
    assert all(request.repeatable for request in walked.requests)


def test_a_list_without_an_end_is_cut_off():
    assert len(Walk(google.list_models(), *[listed(CHEAP, token="x")] * 30).run()) == 10


def test_a_list_that_fails_costs_nothing():
    for response in (reply({}, 500), reply(b"<html>"), reply({"models": 7})):
        assert Walk(google.list_models(), response).fail().billed == "no"


# --- recorded answers ---------------------------------------------------------


def read(name: str, model: str) -> GeneratedImages:
    answer = recorded(name, "google")["response"]
    response = HttpResponse(
        status=answer["status"], headers=answer["headers"], body=json.dumps(answer["body"]).encode()
    )
    walked = Walk(google.generate(call(model, count=1)), response)
    return walked.run()


@pytest.mark.parametrize(
    ("name", "model", "usage", "usd", "start"),
    [
        (
            "generate-gemini-3.1-flash-lite-image.json",
            CHEAP,
            Usage(text_input_tokens=5, text_output_tokens=398, image_output_tokens=1120),
            "0.03419825",
            b"\xff\xd8",
        ),
        (
            "generate-gemini-3-pro-image-preview-text-and-image.json",
            "gemini-3-pro-image",
            # 163 tokens of words, and 174 of thoughts.
            Usage(text_input_tokens=14, text_output_tokens=337, image_output_tokens=1120),
            "0.138472",
            b"\xff\xd8",
        ),
        (
            "edit-gemini-2.5-flash-image.json",
            "gemini-2.5-flash-image",
            Usage(
                text_input_tokens=6,
                image_input_tokens=258,
                text_output_tokens=5,
                image_output_tokens=1290,
            ),
            "0.0387917",
            b"\x89PNG",
        ),
        (
            "vertex-gemini-2.5-flash-image-jpeg.json",
            "vertex/gemini-2.5-flash-image",
            Usage(text_input_tokens=9, image_output_tokens=1290),
            "0.0387027",
            b"\xff\xd8",
        ),
    ],
)
def test_recorded_answers_give_their_image_and_their_cost(name, model, usage, usd, start):
    result = read(name, model)
    (image,) = result.images
    assert image.data.startswith(start)
    assert result.usage == usage
    assert str(cost_of(CATALOG.find(model), imagen.Generate(prompt="x"), result).usd) == usd


def test_the_recorded_prediction_gives_both_images():
    result = read("imagen-4-two-images.json", IMAGEN)
    assert [image.data[:4] for image in result.images] == [b"\x89PNG"] * 2
