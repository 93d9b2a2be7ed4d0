"""What is sent to Black Forest Labs, stepped by hand and held against the
published schema.
"""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import jsonschema
import msgspec
import pybase64
import pytest
from PIL import Image as PillowImage

import imagen
from imagen import ConfigurationError, InvalidRequestError
from imagen.providers import HttpRequest, JobAccepted, Wait, bfl
from tests.support.exchanges import (
    CATALOG,
    Walk,
    call,
    input_image,
    mask_image,
    schema,
)
from tests.support.providers.bfl import FILE, POLL, READY, SUBMITTED

MODELS = [model.id for model in CATALOG if model.provider == "bfl" and model.lifecycle.live]
# The schemas of the endpoints; the tools and FLUX 3 are newer than the
# published description.
SCHEMAS = {
    "flux-2-klein-4b": "Flux2KleinInputs",
    "flux-2-klein-9b": "Flux2KleinInputs",
    "flux-2-klein-9b-preview": "Flux2KleinInputs",
    "flux-2-pro": "Flux2Inputs",
    "flux-2-pro-preview": "Flux2Inputs",
    "flux-2-max": "Flux2Inputs",
    "flux-2-flex": "Flux2FlexInputs",
    "flux-kontext-pro": "FluxKontextProInputs",
    "flux-kontext-max": "FluxKontextProInputs",
    "flux-pro-1.1": "FluxPro11Inputs",
    "flux-pro-1.1-ultra": "FluxUltraInput",
    "flux-pro-1.1-ultra-finetuned": "FinetuneFluxUltraInput",
    "flux-dev": "FluxDevInputs",
    "flux-pro-1.0-fill": "FluxProFillInputs",
    "flux-pro-1.0-fill-finetuned": "FinetuneFluxProFillInputs",
    "flux-pro-1.0-expand": "FluxProExpandInputs",
}
NEWER = {
    "flux-3-image",
    "flux-3-image-klein",
    "bfl/erase",
    "bfl/outpainting",
    "bfl/deblur",
    "bfl/try-on",
}
ONE, TWO = input_image(300, 300), input_image(300, 300, color="red")
BASE64_ONE, BASE64_TWO = (pybase64.b64encode(image.data).decode() for image in (ONE, TWO))


def walked(operation: Any, the_call: imagen.providers.Call) -> Walk:
    walk = Walk(operation(the_call), SUBMITTED, READY, FILE)
    walk.run()
    return walk


def full_request(model: imagen.Model, operation: str) -> imagen.providers.Call:
    """A request that sets everything that the model has."""
    can = model.capabilities
    fields: dict[str, Any] = {"prompt": "a cat" if can.prompt_required else ""}
    if can.free_size is not None and not can.aspect_ratios:
        fields["size"] = "1024x768"
    if can.aspect_ratios:
        fields["aspect_ratio"] = "16:9"
    if can.resolutions:
        fields["resolution"] = "2K"
    fields |= {"output_format": "webp"} if can.output_formats else {}
    fields |= {"seed": 7} if can.seed else {}
    fields |= {"safety": "relaxed"} if can.safety else {}
    fields |= {"steps": 30} if can.steps else {}
    fields |= {"guidance": 4.0} if can.guidance else {}
    fields["options"] = dict.fromkeys(can.required_options, "mine")
    if model.id == "flux-pro-1.0-expand":
        fields["options"] = {"top": 16, "left": 32}
    images = (ONE, TWO)[: can.inputs.max_images]
    match operation:
        case "generate":
            references = (ONE, TWO)[: can.inputs.max_references]
            request = imagen.Generate(references=("x",) * len(references), **fields)
            return call(model, request=request, references=references)
        case "edit":
            mask = mask_image(300, 300) if can.mask else None
            request = imagen.Edit(images=("x",) * len(images), mask="m" if mask else None, **fields)
            return call(model, request=request, images=images, mask=mask)
        case "vary":
            strength = 0.3 if can.strength else None
            return call(
                model, request=imagen.Vary(image="x", strength=strength, **fields), images=(ONE,)
            )
        case _:
            request = imagen.Restyle(image="x", reference="y", **fields)
            return call(model, request=request, images=(ONE,), references=(TWO,))


EVERYTHING = [
    (model, operation)
    for model in MODELS
    for operation in CATALOG.find(model).capabilities.operations
]


@pytest.mark.parametrize(("model", "operation"), EVERYTHING)
def test_bodies_keep_the_published_schema(model, operation):
    entry = CATALOG.find(model)
    walk = walked(bfl.PROVIDER.operations[operation], full_request(entry, operation))
    (submission,) = [request for request in walk.requests if request.method == "POST"]
    assert submission.url == f"v1/{entry.wire_name}"
    if model in NEWER:
        return
    published = schema("bfl", SCHEMAS[model])
    jsonschema.validate(walk.body, published)
    # The schema lets unknown fields pass, and the service passes over them:
    # none may be sent.
    assert walk.body.keys() <= published["properties"].keys()


def test_every_model_is_held_against_a_schema_or_known_to_be_newer():
    assert set(MODELS) == SCHEMAS.keys() | NEWER


@pytest.mark.parametrize("model", ["flux-3-image", "flux-3-image-klein"])
def test_flux_3_gets_no_field_beyond_its_own(model):
    for operation in ("generate", "edit", "restyle"):
        walk = walked(
            bfl.PROVIDER.operations[operation], full_request(CATALOG.find(model), operation)
        )
        assert walk.body.keys() == {
            "prompt",
            "images",
            "aspect_ratio",
            "resolution",
            "seed",
            "safety_tolerance",
        }
        assert walk.body["images"] == [BASE64_ONE, BASE64_TWO]
        assert walk.body["resolution"] == "2k"
        assert walk.body["safety_tolerance"] == 7


@pytest.mark.parametrize("model", ["flux-3-image", "flux-3-image-klein"])
def test_flux_3_takes_an_exact_size_in_place_of_a_ratio(model):
    asked = call(model, size="2048x1152", seed=7)
    assert walked(bfl.generate, asked).body == {
        "prompt": "a cat",
        "width": 2048,
        "height": 1152,
        "seed": 7,
    }


def test_a_job_is_submitted_asked_for_and_fetched():
    walk = walked(
        bfl.generate, call("flux-2-pro", prompt="a cat", size="1024x768", seed=7, safety="strict")
    )
    submission, poll, file = walk.requests
    assert (submission.method, submission.url, submission.repeatable) == (
        "POST",
        "v1/flux-2-pro",
        False,
    )
    assert submission.headers == {"content-type": "application/json"}
    assert json.loads(submission.body) == {
        "prompt": "a cat",
        "width": 1024,
        "height": 768,
        "seed": 7,
        "safety_tolerance": 0,
    }
    assert poll == HttpRequest(method="GET", url=POLL, repeatable=True)
    assert file == HttpRequest(
        method="GET", url="https://delivery-eu1.bfl.ai/a.png", repeatable=True, collects=True
    )
    assert walk.steps[1:3] == [
        JobAccepted(job_id="a1", poll_url=POLL, reported_cost_usd=Decimal("0.03")),
        Wait(seconds=1.0, job_id="a1"),
    ]


def test_the_time_between_polls_is_a_setting():
    walk = walked(bfl.generate, call("flux-2-pro", settings={"poll_seconds": 0.25}))
    assert Wait(seconds=0.25, job_id="a1") in walk.steps


@pytest.mark.parametrize(
    ("model", "safety", "tolerance"),
    [
        ("flux-kontext-pro", "relaxed", 6),
        ("flux-pro-1.1", "relaxed", 6),
        ("flux-2-klein-4b", "relaxed", 5),
        ("flux-3-image", "relaxed", 7),
        ("flux-3-image-klein", "relaxed", 7),
        ("flux-dev", "standard", 2),
        ("flux-2-max", "strict", 0),
    ],
)
def test_safety_is_on_the_scale_of_the_family(model, safety, tolerance):
    assert walked(bfl.generate, call(model, safety=safety)).body["safety_tolerance"] == tolerance


@pytest.mark.parametrize(
    ("resolution", "word"), [("768", "768sq"), ("1K", "1k"), ("1.5K", "1.5k"), ("4K", "4k")]
)
def test_resolutions_have_their_words(resolution, word):
    assert (
        walked(bfl.generate, call("flux-3-image", resolution=resolution)).body["resolution"] == word
    )


def test_images_are_numbered_in_their_order():
    request = imagen.Edit(prompt="both", images=("a", "b"))
    body = walked(bfl.edit, call("flux-2-klein-4b", request=request, images=(ONE, TWO))).body
    assert body == {"prompt": "both", "input_image": BASE64_ONE, "input_image_2": BASE64_TWO}


def test_a_mask_is_white_where_the_image_changes():
    request = imagen.Edit(prompt="a hat", images=("a",), mask="m", steps=15)
    body = walked(
        bfl.edit,
        call("flux-pro-1.0-fill", request=request, images=(ONE,), mask=mask_image(300, 300)),
    ).body
    assert body.keys() == {"prompt", "image", "mask", "steps"}
    mask = PillowImage.open(io.BytesIO(pybase64.b64decode(body["mask"])))
    assert (mask.mode, mask.size) == ("L", (300, 300))
    assert (mask.getpixel((10, 10)), mask.getpixel((290, 10))) == (255, 0)


def test_a_tool_without_a_prompt_gets_none():
    request = imagen.Edit(prompt="please", images=("a",), mask="m")
    walk = Walk(
        bfl.edit(call("bfl/erase", request=request, images=(ONE,), mask=mask_image(300, 300))),
        SUBMITTED,
        READY,
        FILE,
    )
    (adjustment,) = walk.run().adjustments
    assert (adjustment.field, adjustment.asked, adjustment.sent) == ("prompt", "please", None)
    assert walk.body.keys() == {"image", "mask"}
    strict = msgspec.structs.replace(request, strict=True)
    walk = Walk(
        bfl.edit(call("bfl/erase", request=strict, images=(ONE,), mask=mask_image(300, 300)))
    )
    assert isinstance(walk.fail(), InvalidRequestError)


@pytest.mark.parametrize(("strength", "likeness"), [(0.0, 1.0), (0.3, 0.7), (0.9, 0.1), (1.0, 0.0)])
def test_a_variation_of_little_strength_is_near_to_its_image(strength, likeness):
    request = imagen.Vary(image="x", strength=strength)
    body = walked(bfl.vary, call("flux-pro-1.1-ultra", request=request, images=(ONE,))).body
    assert body == {"image_prompt": BASE64_ONE, "image_prompt_strength": likeness}


def test_options_go_along_as_they_are():
    options = {"raw": True, "webhook_url": "https://example.com/hook", "webhook_secret": "s"}
    body = walked(bfl.generate, call("flux-pro-1.1-ultra", options=options)).body
    assert body == {"prompt": "a cat", **options}


@pytest.mark.parametrize(
    "field", ["prompt", "width", "resolution", "images", "input_image_2", "mask"]
)
def test_options_may_not_replace_what_has_a_parameter(field):
    walk = Walk(bfl.generate(call("flux-2-pro", options={field: "x"})))
    assert isinstance(walk.fail(), InvalidRequestError)
    assert not walk.requests


@pytest.mark.parametrize(
    ("model", "fields", "images"),
    [
        ("flux-pro-1.0-expand", {"options": {"steps": 20}}, (ONE,)),
        ("flux-pro-1.0-expand", {"options": {"top": 0}}, (ONE,)),
        ("bfl/outpainting", {}, (ONE,)),
        ("bfl/try-on", {}, (ONE,)),
    ],
)
def test_what_would_change_nothing_for_money_is_not_sent(model, fields, images):
    request = imagen.Edit(images=("x",) * len(images), **fields)
    walk = Walk(bfl.edit(call(model, request=request, images=images)))
    assert isinstance(walk.fail(), InvalidRequestError)
    assert not walk.requests


def test_a_fine_tuned_model_needs_its_id():
    with pytest.raises(InvalidRequestError, match="finetune_id"):
        call("flux-pro-1.1-ultra-finetuned")


def test_a_model_of_ones_own_with_a_wrong_table_is_refused_before_anything_is_sent():
    model = msgspec.structs.replace(CATALOG.find("flux-2-pro"), wire={"images": 3})
    walk = Walk(bfl.generate(call(model)))
    assert isinstance(walk.fail(), ConfigurationError)
    assert not walk.requests


def test_the_cheapest_is_the_default_and_the_gone_are_not_live():
    first = next(model for model in CATALOG if model.provider == "bfl")
    assert first.id == "flux-2-klein-4b"
    assert not CATALOG.find("flux-pro-1.0-canny").lifecycle.live
    assert not CATALOG.find("flux-pro-1.0-depth").lifecycle.live
