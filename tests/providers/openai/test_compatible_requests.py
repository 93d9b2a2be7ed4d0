"""What each provider that imitates OpenAI is sent, stepped by hand."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pybase64
import pytest
from PIL import Image

import imagen
from imagen import InvalidRequestError
from imagen.providers import PROVIDERS
from imagen.testing.simulator._core.forms import FilePart, parse_form
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    Walk,
    call,
    images,
    mask_image,
    recorded,
    reply,
)
from tests.support.providers.openai_compatible import (
    CAT,
    HAT,
    LOCAL,
    OPENROUTER,
    SCHNELL,
    XAI,
    walk,
    walk_edit,
)

KONTEXT, QWEN = "together/flux-1-kontext-pro", "together/qwen-image"


def url_of(image: imagen.providers.EncodedImage) -> str:
    return f"data:{image.media_type};base64,{base64_of(image)}"


def base64_of(image: imagen.providers.EncodedImage) -> str:
    return pybase64.b64encode(image.data).decode()


def generated(model: str | imagen.Model, **fields: Any) -> tuple[str, dict[str, Any]]:
    """The path and the body of a generation."""
    walked = walk(model, reply(images(fields.get("count", 1))), **fields)
    walked.run()
    (request,) = walked.requests
    assert (request.method, request.repeatable) == ("POST", False)
    return request.url, walked.body


def edited(model: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """The path and the body of an edit by JSON."""
    walked = walk_edit(model, reply(images()), **fields)
    walked.run()
    (request,) = walked.requests
    assert request.headers == {"content-type": "application/json"}
    return request.url, walked.body


def form(walked: Walk) -> tuple[str, dict[str, str], dict[str, list[FilePart]]]:
    """The path, the texts and the files of the last form."""
    request = walked.requests[-1]
    texts, files = parse_form(dict(request.headers), request.body)
    return request.url, {name: text for name, (text,) in texts.items()}, files


# --- xAI ----------------------------------------------------------------------


def test_xai_takes_ratios_and_small_resolutions():
    assert generated(XAI, aspect_ratio="16:9", resolution="2K", count=3) == (
        "images/generations",
        {
            "response_format": "b64_json",
            "model": "grok-imagine-image",
            "prompt": "a cat",
            "n": 3,
            "aspect_ratio": "16:9",
            "resolution": "2k",
        },
    )


def test_xai_is_never_sent_what_it_refuses():
    _, body = generated(
        XAI, size="1024x576", quality="high", style="vivid", seed=3, negative_prompt="dogs"
    )
    assert body.keys() == {"response_format", "model", "prompt", "aspect_ratio", "resolution"}
    assert body["aspect_ratio"] == "16:9"


def test_the_recorded_edit_of_xai_is_what_we_would_send():
    sent = recorded("images_edits.json", "xai")["request"]["body"]
    data = [pybase64.b64decode(item["url"].partition(",")[2]) for item in sent["images"]]
    found = tuple(
        imagen.providers.EncodedImage(data=item, media_type="image/png", width=4, height=4)
        for item in data
    )
    path, body = edited("grok-imagine-image-quality", found=found, prompt=sent["prompt"])
    assert path == "images/edits"
    assert body == {**sent, "response_format": "b64_json"}


def test_xai_takes_one_image_by_another_name():
    _, body = edited(XAI)
    assert body["image"] == {"type": "image_url", "url": url_of(CAT)}
    assert "images" not in body


# --- OpenRouter ---------------------------------------------------------------


def test_the_recorded_request_of_openrouter_is_what_we_would_send():
    sent = recorded("images.json", "openrouter")["request"]["body"]
    assert generated(OPENROUTER, prompt=sent["prompt"]) == ("images", sent)


def test_openrouter_takes_images_to_change_and_to_look_at_in_one_field():
    references = [
        {"type": "image_url", "image_url": {"url": url_of(image)}} for image in (CAT, HAT)
    ]
    path, body = edited(OPENROUTER, found=(CAT, HAT), aspect_ratio="3:2")
    assert (path, body["input_references"], body["aspect_ratio"]) == ("images", references, "3:2")
    request = imagen.Generate(prompt="a cat", references=("x", "y"))
    walked = walk(OPENROUTER, reply(images()), request=request, references=(CAT, HAT))
    walked.run()
    assert walked.body["input_references"] == references


# --- Together -----------------------------------------------------------------


def test_together_takes_width_and_height():
    _, body = generated(
        SCHNELL, size="1024x576", seed=7, steps=4, output_format="png", safety="relaxed", count=2
    )
    assert body == {
        "response_format": "base64",
        "model": "black-forest-labs/FLUX.1-schnell",
        "prompt": "a cat",
        "n": 2,
        "width": 1024,
        "height": 576,
        "seed": 7,
        "steps": 4,
        "output_format": "png",
        "disable_safety_checker": True,
    }
    _, body = generated(QWEN, negative_prompt="dogs", guidance=3.0, safety="standard")
    assert (body["negative_prompt"], body["guidance_scale"]) == ("dogs", 3.0)
    assert "disable_safety_checker" not in body


def test_together_edits_by_the_path_of_generations():
    path, body = edited(KONTEXT)
    assert (path, body["image_url"]) == ("images/generations", url_of(CAT))
    assert "reference_images" not in body


def taking_references(model: str) -> imagen.Model:
    """The entry as a user could change it."""
    entry = CATALOG.find(model)
    inputs = msgspec.structs.replace(entry.capabilities.inputs, max_references=2)
    return msgspec.structs.replace(
        entry, capabilities=msgspec.structs.replace(entry.capabilities, inputs=inputs)
    )


def test_together_takes_references_and_xai_has_no_way_for_them():
    request = imagen.Generate(prompt="a cat", references=("x", "y"))
    walked = walk(
        taking_references(KONTEXT), reply(images()), request=request, references=(CAT, HAT)
    )
    walked.run()
    assert walked.body["reference_images"] == [url_of(CAT), url_of(HAT)]
    refused = walk(taking_references(XAI), request=request, references=(CAT, HAT))
    assert isinstance(refused.fail(), InvalidRequestError)
    assert not refused.requests


# --- servers of one's own -----------------------------------------------------


@pytest.mark.parametrize("model", LOCAL)
def test_a_local_server_takes_the_model_that_it_has_until_another_one_is_named(model):
    path, body = generated(model)
    assert path == "images/generations"
    assert "model" not in body
    assert body["response_format"] == "b64_json"
    named = msgspec.structs.replace(CATALOG.find(model), wire_name="my-model")
    assert generated(named)[1]["model"] == "my-model"


@pytest.mark.parametrize("model", LOCAL)
def test_a_local_server_is_not_sent_what_only_openai_knows(model):
    _, body = generated(
        model, quality="high", style="vivid", background="opaque", safety="relaxed", size="768x512"
    )
    assert not body.keys() & {"quality", "style", "background", "moderation"}
    assert body["size"] == "768x512"


@pytest.mark.parametrize("model", ["vllm-omni", "sglang"])
def test_diffusion_servers_take_seed_steps_and_guidance(model):
    _, body = generated(model, seed=7, steps=20, guidance=4.5, negative_prompt="dogs", count=2)
    assert body == {
        "response_format": "b64_json",
        "prompt": "a cat",
        "n": 2,
        "seed": 7,
        "negative_prompt": "dogs",
        "guidance_scale": 4.5,
        "num_inference_steps": 20,
    }


def test_sd_server_takes_its_parameters_in_the_prompt():
    _, body = generated(
        "sd-server", seed=7, steps=20, guidance=4.5, negative_prompt="</sd_cpp_extra_args>"
    )
    prompt, _, rest = body["prompt"].partition("<sd_cpp_extra_args>")
    text, end, behind = rest.partition("</sd_cpp_extra_args>")
    assert (prompt, behind, bool(end)) == ("a cat", "", True)
    assert json.loads(text) == {
        "seed": 7,
        "negative_prompt": "</sd_cpp_extra_args>",
        "sample_params": {"sample_steps": 20, "guidance": {"txt_cfg": 4.5}},
    }
    assert body.keys() == {"response_format", "prompt"}
    assert generated("sd-server")[1]["prompt"] == "a cat"


def test_localai_takes_the_negative_prompt_behind_a_bar():
    _, body = generated("localai", negative_prompt="dogs", steps=9)
    assert (body["prompt"], body["step"]) == ("a cat|dogs", 9)
    error = walk("localai", prompt="a cat | a dog").fail()
    assert (type(error), error.code) == (InvalidRequestError, "INVALID_PROMPT")


def test_localai_takes_images_as_base64():
    path, body = edited("localai", found=(CAT, HAT))
    assert (path, body["file"], body["ref_images"]) == (
        "images/generations",
        base64_of(CAT),
        [base64_of(HAT)],
    )
    request = imagen.Generate(prompt="a cat", references=("x",))
    walked = walk("localai", reply(images()), request=request, references=(HAT,))
    walked.run()
    assert walked.body["ref_images"] == [base64_of(HAT)]


def white_half(file: FilePart) -> bool:
    with Image.open(io.BytesIO(file.data)) as mask:
        grey = mask.convert("L")
        return (grey.getpixel((10, 30)), grey.getpixel((90, 30))) == (255, 0)


def test_localai_paints_inside_a_mask_by_a_path_of_its_own():
    walked = walk_edit(
        "localai",
        reply(images()),
        mask=mask_image(96, 64),
        size="512x512",
        negative_prompt="dogs",
        steps=9,
    )
    result = walked.run()
    path, texts, files = form(walked)
    assert path == "images/inpainting"
    assert texts == {"response_format": "b64_json", "prompt": "make it green", "steps": "9"}
    assert files["image"][0].data == CAT.data
    assert white_half(files["mask"][0])
    assert [(made.field, made.sent) for made in result.adjustments] == [
        ("size", None),
        ("negative_prompt", None),
    ]
    strict = walk_edit("localai", mask=mask_image(96, 64), size="512x512", strict=True)
    assert isinstance(strict.fail(), InvalidRequestError)
    assert not strict.requests
    several = walk_edit("localai", mask=mask_image(96, 64), found=(CAT, HAT))
    assert isinstance(several.fail(), InvalidRequestError)


def test_localai_makes_images_larger():
    asked = call(
        "localai", request=imagen.Enhance(image="x", scale=3.9, prompt="sharp"), images=(CAT,)
    )
    walked = Walk(PROVIDERS["localai"].operations["enhance"](asked), reply(images()))
    result = walked.run()
    path, texts, files = form(walked)
    assert (path, texts) == ("images/upscale", {"response_format": "b64_json", "scale": "4"})
    assert files["image"][0].data == CAT.data
    assert [made.field for made in result.adjustments] == ["prompt"]


@pytest.mark.parametrize("model", ["vllm-omni", "sglang", "sd-server"])
def test_edits_of_the_others_are_forms(model):
    walked = walk_edit(model, reply(images(2)), found=(CAT, HAT), size="768x512", count=2)
    walked.run()
    path, texts, files = form(walked)
    assert path == "images/edits"
    assert texts == {
        "response_format": "b64_json",
        "prompt": "make it green",
        "n": "2",
        "size": "768x512",
    }
    assert [(file.data, file.media_type, file.filename) for file in files["image[]"]] == [
        (CAT.data, "image/png", "image.png"),
        (HAT.data, "image/jpeg", "image.jpeg"),
    ]
    single = walk_edit(model, reply(images()))
    single.run()
    assert list(form(single)[2]) == ["image"]


def test_sd_server_takes_a_white_mask_and_its_parameters_with_an_edit():
    walked = walk_edit("sd-server", reply(images()), mask=mask_image(96, 64), seed=3)
    assert walked.run().images[0].seed == 3
    _, texts, files = form(walked)
    assert texts["prompt"] == 'make it green<sd_cpp_extra_args>{"seed":3}</sd_cpp_extra_args>'
    assert white_half(files["mask"][0])


# --- options, and the wish for base64 -----------------------------------------


@pytest.mark.parametrize("model", [XAI, OPENROUTER, SCHNELL, *LOCAL])
def test_options_go_along_and_may_not_replace_what_decides_the_price(model):
    _, body = generated(model, options={"lora": {"path": "x"}, "output_compression": 3})
    assert (body["lora"], body["output_compression"]) == ({"path": "x"}, 3)
    for field in ("model", "prompt", "n", "stream"):
        walked = walk(model, options={field: 2})
        assert isinstance(walked.fail(), InvalidRequestError)
        assert not walked.requests


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("model", [XAI, SCHNELL, *LOCAL])
def test_who_does_not_know_the_wish_for_base64_is_asked_without_it(model, status):
    refused = reply(
        {"detail": [{"loc": ["body", "response_format"], "msg": "not permitted"}]}, status
    )
    walked = walk(model, refused, reply(images()), size="512x512")
    assert walked.run().images[0].data == IMAGE
    first, second = (json.loads(request.body) for request in walked.requests)
    assert first.pop("response_format")
    assert first == second


def test_an_edit_by_a_form_is_repeated_without_the_wish_too():
    walked = walk_edit("sd-server", reply({"error": "response_format?"}, 400), reply(images()))
    walked.run()
    assert [b"response_format" in request.body for request in walked.requests] == [True, False]
    assert form(walked)[2]["image"][0].data == CAT.data


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_nothing_else_is_asked_a_second_time(status):
    walked = walk("localai", reply({"error": "response_format"}, status))
    walked.fail()
    assert len(walked.requests) == 1
    wished = walk(
        "localai", reply({"error": "response_format"}, 400), options={"response_format": "url"}
    )
    wished.fail()
    assert wished.body["response_format"] == "url"
    assert len(wished.requests) == 1
