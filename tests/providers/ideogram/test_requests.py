"""What is sent to Ideogram, stepped by hand.

The published schema describes version 1, whose enums are in capitals and which
is never asynchronous: what both versions have is held against it. Nothing older
describes Ideogram 4, 4.5, the upscalers and the removals.
"""

from __future__ import annotations

import io
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from PIL import Image as PillowImage

import imagen
from imagen import ConfigurationError, InvalidRequestError
from imagen.providers import HttpRequest, JobAccepted, Wait, ideogram
from imagen.testing.simulator._core.forms import FilePart, parse_form
from tests.support.exchanges import (
    CATALOG,
    Walk,
    call,
    schema,
)
from tests.support.providers.ideogram import COMPLETED, FILE, LINK, ONE, TAKEN, THREE, TWO, edited

Form = tuple[dict[str, list[str]], dict[str, list[FilePart]]]


def walked(the_call: imagen.providers.Call, operation: str = "generate") -> Walk:
    walk = Walk(ideogram.PROVIDER.operations[operation](the_call), TAKEN, COMPLETED, FILE)
    walk.run()
    return walk


def form(walk: Walk) -> Form:
    return parse_form(dict(walk.requests[0].headers), walk.requests[0].body)


# --- the steps ----------------------------------------------------------------


def test_a_generation_is_submitted_asked_for_and_fetched():
    walk = walked(call("ideogram-4", prompt="a cat", size="1280x720", quality="turbo", seed=7))
    submission, poll, file = walk.requests
    assert (submission.method, submission.url) == ("POST", "v2/image/generate/ideogram-4")
    assert not submission.repeatable
    assert submission.headers == {"content-type": "application/json"}
    assert json.loads(submission.body) == {
        "prompt": "a cat",
        "num_images": 1,
        "resolution": "1280x720",
        "rendering_speed": "turbo",
        "seed": 7,
        "magic_prompt": "auto",
        "async": True,
    }
    assert poll == HttpRequest(method="GET", url="v2/generations/g1", repeatable=True)
    assert file == HttpRequest(method="GET", url=LINK, repeatable=True, collects=True)
    assert walk.steps[1:3] == [
        JobAccepted(job_id="g1", poll_url="v2/generations/g1"),
        Wait(seconds=3.0, job_id="g1"),
    ]


def test_ideogram_4_5_has_names_of_its_own():
    body = walked(call("ideogram-4-5", count=2, size="auto", quality="medium")).body
    assert body == {
        "prompt": "a cat",
        "num_images": 2,
        "size": "auto",
        "quality": "medium",
        "magic_prompt": "auto",
        "async": True,
    }


def test_a_ratio_has_an_x_and_a_resolution_small_letters():
    body = walked(call("ideogram-4-transparent", aspect_ratio="16:9", resolution="2K")).body
    assert (body["aspect_ratio"], body["output_resolution"]) == ("16x9", "2k")


@pytest.mark.parametrize(
    ("style", "field"), [("realistic", "style_type"), ("watercolor", "style_preset")]
)
def test_a_style_is_a_type_or_a_preset(style, field):
    body = walked(call("ideogram-3", style=style)).body
    assert body[field] == style
    assert not {"style_type", "style_preset"} - {field} & body.keys()


def test_a_hosted_model_gets_a_prompt_and_what_the_options_say():
    body = walked(call("ideogram/nano-banana-2", options={"aspect_ratio": "1x1"})).body
    assert body == {"prompt": "a cat", "async": True, "aspect_ratio": "1x1"}


def test_the_rewriting_of_the_prompt_is_an_option():
    assert walked(call("ideogram-4", options={"magic_prompt": "off"})).body["magic_prompt"] == "off"


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("ideogram-4", "prompt"),
        ("ideogram-4", "num_images"),
        ("ideogram-4", "async"),
        ("ideogram-4", "rendering_speed"),
        ("ideogram-4", "resolution"),
        ("ideogram-4-5", "quality"),
        ("ideogram-4-5", "size"),
        ("ideogram-4-transparent", "output_resolution"),
    ],
)
def test_options_may_not_replace_what_decides_the_price(model, field):
    walk = Walk(ideogram.generate(call(model, options={field: "x"})))
    assert isinstance(walk.fail(), InvalidRequestError)
    assert not walk.requests


# --- forms --------------------------------------------------------------------


def test_references_go_as_files_and_lists_as_repeated_fields():
    request = imagen.Generate(prompt="a cät", references=("x", "y"), style="design", seed=3)
    walk = walked(call("ideogram-3", request=request, references=(ONE, TWO)))
    fields, files = form(walk)
    assert fields == {
        "prompt": ["a cät"],
        "num_images": ["1"],
        "seed": ["3"],
        "style_type": ["design"],
        "magic_prompt": ["auto"],
        "async": ["true"],
    }
    assert [(part.data, part.media_type) for part in files["style_reference_images"]] == [
        (ONE.data, "image/png"),
        (TWO.data, "image/png"),
    ]
    codes = ["0A1b2C3d", "ffffffff"]
    options = {"style_codes": codes, "color_palette": {"name": "EMBER"}}
    request = imagen.Vary(image="x", prompt="a cat", options=options)
    fields, _ = form(walked(call("ideogram-3", request=request, images=(ONE,)), "vary"))
    assert fields["style_codes"] == codes
    assert fields["color_palette"] == ['{"name":"EMBER"}']


@pytest.mark.parametrize(
    ("fields", "references"),
    [
        ({"options": {"style_codes": ["xyz"]}}, ()),
        ({"options": {"style_codes": "0A1b2C3d"}}, ()),
        ({"options": {"style_codes": ["0A1b2C3d"]}}, (ONE,)),
        ({"options": {"style_codes": ["0A1b2C3d"]}, "style": "bauhaus"}, ()),
        ({"style": "bauhaus"}, (ONE,)),
    ],
)
def test_styles_that_exclude_each_other_are_not_sent(fields, references):
    request = imagen.Generate(prompt="a cat", references=("x",) * len(references), **fields)
    walk = Walk(ideogram.generate(call("ideogram-3", request=request, references=references)))
    assert isinstance(walk.fail(), InvalidRequestError)
    assert not walk.requests


@pytest.mark.parametrize(
    ("strength", "weight"), [(0.0, "100"), (0.5, "50"), (1.0, "1"), (None, None)]
)
def test_the_weight_of_an_image_falls_with_the_strength_of_its_variation(strength, weight):
    request = imagen.Vary(image="x", strength=strength)
    walk = walked(call("ideogram-3", request=request, images=(ONE,)), "vary")
    assert walk.requests[0].url == "v2/image/remix/ideogram-3"
    fields, files = form(walk)
    assert fields.get("image_weight") == (None if weight is None else [weight])
    assert fields["prompt"] == ["The same subject and style, with other details."]
    assert [part.data for part in files["image"]] == [ONE.data]


def test_a_remix_by_ideogram_4_has_few_fields():
    request = imagen.Vary(
        image="x", prompt="a dog", strength=0.5, quality="turbo", size="1024x1024", seed=3
    )
    fields, _ = form(walked(call("ideogram/remix-4", request=request, images=(ONE,)), "vary"))
    assert fields.keys() == {"prompt", "rendering_speed", "resolution", "image_weight", "async"}


def test_a_restyling_sends_the_image_and_the_style():
    request = imagen.Restyle(image="x", reference="y", strength=0.25)
    walk = walked(call("ideogram-3", request=request, images=(ONE,), references=(TWO,)), "restyle")
    fields, files = form(walk)
    assert walk.requests[0].url == "v2/image/remix/ideogram-3"
    assert [part.data for part in files["image"]] == [ONE.data]
    assert [part.data for part in files["style_reference_images"]] == [TWO.data]
    assert fields["image_weight"] == ["75"]
    assert fields["prompt"] == [
        "The same subject and composition, in the style of the reference image."
    ]


@pytest.mark.parametrize(
    ("model", "prompt", "left", "right"),
    [
        ("ideogram/edit", "a hat", 0, 255),
        ("ideogram/precise-edit", "a hat", 0, 255),
        ("ideogram/inpaint", "a hat", 0, 255),
        ("ideogram/remove-object", "", 255, 0),
    ],
)
def test_a_mask_is_black_where_the_image_changes_but_for_removals(model, prompt, left, right):
    _, files = form(walked(edited(model, ONE, masked=True, prompt=prompt), "edit"))
    (part,) = files["mask"]
    mask = PillowImage.open(io.BytesIO(part.data))
    assert (part.media_type, mask.mode, mask.size) == ("image/png", "L", (64, 64))
    assert (mask.getpixel((5, 5)), mask.getpixel((60, 5))) == (left, right)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("ideogram/edit", {"images": [ONE, TWO, THREE]}),
        ("ideogram/precise-edit", {"image": [ONE], "reference_images": [TWO, THREE]}),
    ],
)
def test_the_image_that_changes_comes_first(model, names):
    _, files = form(walked(edited(model, ONE, TWO, THREE, prompt="so"), "edit"))
    assert {name: [part.data for part in parts] for name, parts in files.items()} == {
        name: [image.data for image in images] for name, images in names.items()
    }


def test_beside_a_mask_there_is_no_size_and_no_fifth_image():
    walk = Walk(ideogram.edit(edited("ideogram/edit", *[ONE] * 5, masked=True, prompt="so")))
    assert isinstance(walk.fail(), InvalidRequestError)
    walk = Walk(
        ideogram.edit(
            edited("ideogram/edit", ONE, masked=True, prompt="so", size="512x512", strict=True)
        )
    )
    assert isinstance(walk.fail(), InvalidRequestError)
    assert not walk.requests


@pytest.mark.parametrize(
    ("model", "asynchronous"),
    [("ideogram/remove-background", True), ("ideogram/remove-object", False)],
)
def test_what_is_always_asynchronous_is_not_asked_to_be(model, asynchronous):
    fields, _ = form(walked(edited(model, ONE, masked=model.endswith("object")), "edit"))
    assert fields == ({"async": ["true"]} if asynchronous else {})


def test_a_factor_has_an_x():
    request = imagen.Enhance(
        image="x", scale=4, mode="creative", prompt="more leaves", options={"creativity": 3}
    )
    walk = walked(call("ideogram/topaz-bloom-2", request=request, images=(ONE,)), "enhance")
    assert walk.requests[0].url == "v2/image/upscale/topaz-bloom-2"
    fields, _ = form(walk)
    assert fields == {
        "prompt": ["more leaves"],
        "upscale_factor": ["x4"],
        "creativity": ["3"],
        "async": ["true"],
    }


@pytest.mark.parametrize("model", ["ideogram/reframe", "ideogram/reframe-nano-banana-2"])
def test_a_reframing_without_a_shape_is_not_sent(model):
    walk = Walk(ideogram.edit(edited(model, ONE)))
    assert isinstance(walk.fail(), InvalidRequestError)
    assert not walk.requests


def test_a_prompt_for_a_tool_without_one_is_refused_where_it_must_not_change():
    walk = Walk(ideogram.edit(edited("ideogram/remove-background", ONE, prompt="x", strict=True)))
    assert isinstance(walk.fail(), InvalidRequestError)


@pytest.mark.parametrize(
    "wire", [{"path": "x"}, {"paths": {"generate": 3}}, {"paths": {"vary": "x"}}]
)
def test_a_model_of_ones_own_with_a_wrong_table_is_refused_before_anything_is_sent(wire):
    model = msgspec.structs.replace(CATALOG.find("ideogram-4"), wire=wire)
    walk = Walk(ideogram.generate(call(model)))
    assert isinstance(walk.fail(), ConfigurationError)
    assert not walk.requests


def test_a_bare_model_of_ones_own_needs_no_more_than_its_paths():
    model = msgspec.structs.replace(
        CATALOG.find("ideogram/z-image"), wire={"paths": {"generate": "image/generate/new"}}
    )
    assert walked(call(model)).requests[0].url == "v2/image/generate/new"


# --- what the published schema of version 1 says ------------------------------

COMPARABLE = {
    ("ideogram-3", "generate"): "GenerateImageRequestV3",
    ("ideogram-3-character", "generate"): "GenerateImageRequestV3",
    ("ideogram-3-custom-model", "generate"): "GenerateImageRequestV3",
    ("ideogram-3-transparent", "generate"): "GenerateTransparentImageRequestV3",
    ("ideogram-3", "vary"): "RemixImageRequestV3",
    ("ideogram-3", "restyle"): "RemixImageRequestV3",
    ("ideogram/inpaint", "edit"): "EditImageRequestV3",
    ("ideogram/inpaint-character", "edit"): "EditImageRequestV3",
    ("ideogram/reframe", "edit"): "ReframeImageRequestV3",
    ("ideogram/replace-background", "edit"): "ReplaceBackgroundRequestV3",
}


@pytest.mark.parametrize(("model", "operation"), COMPARABLE)
def test_what_version_1_has_too_keeps_its_schema(model, operation):
    can = CATALOG.find(model).capabilities
    published = schema("ideogram", COMPARABLE[model, operation])
    # Once: the check of the schema itself takes ten times as long as that of a body.
    validator = jsonschema.Draft202012Validator(published)
    styles = [style for style in can.styles[:1] + can.styles[-1:] if can.styles]
    shapes: list[dict[str, str]] = [{"size": size} for size in can.sizes]
    shapes += [
        {"aspect_ratio": ratio} for ratio in can.aspect_ratios if model != "ideogram/reframe"
    ]
    variants: list[dict[str, Any]] = shapes or [{}]
    variants += [{**variants[0], "quality": quality} for quality in can.qualities]
    variants += [{**variants[0], "style": style} for style in styles if operation != "restyle"]
    for fields in variants:
        walk = walked(asked(model, operation, fields), operation)
        body = as_version_1(walk)
        validator.validate(body)
        assert body.keys() <= published["properties"].keys()


def asked(model: str, operation: str, fields: dict[str, Any]) -> imagen.providers.Call:
    can = CATALOG.find(model).capabilities
    more: dict[str, Any] = {
        "seed": 7,
        **fields,
        "options": dict.fromkeys(can.required_options, "mine"),
    }
    if can.negative_prompt:
        more["negative_prompt"] = "dogs"
    match operation:
        case "generate":
            references = (ONE,) if can.inputs.max_references and "style" not in fields else ()
            references = (ONE,) if model.endswith("character") else references
            request = imagen.Generate(prompt="a cat", references=("x",) * len(references), **more)
            return call(model, request=request, references=references)
        case "edit":
            images = (ONE, TWO)[: can.inputs.max_images]
            return edited(
                model,
                *images,
                masked=can.mask,
                prompt="a hat" if can.prompt_required else "",
                **more,
            )
        case "vary":
            request = imagen.Vary(image="x", prompt="a cat", strength=0.5, **more)
            return call(model, request=request, images=(ONE,))
        case _:
            request = imagen.Restyle(image="x", reference="y", prompt="a cat", **more)
            return call(model, request=request, images=(ONE,), references=(TWO,))


def as_version_1(walk: Walk) -> dict[str, Any]:
    """The same request as version 1 would have it; files stand as texts."""
    if walk.requests[0].headers["content-type"] == "application/json":
        fields, files = walk.body, {}
    else:
        texts, files = form(walk)
        fields = {
            name: int(values[0]) if values[0].isdigit() else values[0]
            for name, values in texts.items()
        }
    fields.pop("async", None)
    for name in ("magic_prompt", "rendering_speed", "style_type", "style_preset"):
        if name in fields:
            fields[name] = fields[name].upper()
    for name, parts in files.items():
        contents = [repr(part) for part in parts]
        fields[name] = contents if name.endswith("_images") else contents[0]
    return fields


def test_the_styles_and_sizes_are_those_of_the_schema():
    presets = schema("ideogram", "StylePresetV3")["enum"]
    types = schema("ideogram", "StyleTypeV3")["enum"]
    can = CATALOG.find("ideogram-3").capabilities
    assert set(can.styles) == {name.lower() for name in (*presets, *types)}
    assert set(can.sizes) == set(schema("ideogram", "ResolutionV3")["enum"])
    assert {ratio.replace(":", "x") for ratio in can.aspect_ratios} == set(
        schema("ideogram", "AspectRatioV3")["enum"]
    )
    assert len(CATALOG.find("ideogram-4").capabilities.sizes) == 38
