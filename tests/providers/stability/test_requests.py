"""What Stability AI is asked for, form by form."""

from __future__ import annotations

import io
from typing import Any

import jsonschema
import pytest
from PIL import Image as PillowImage

import imagen
from imagen.providers import (
    Compute,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    JobAccepted,
    Progress,
    Wait,
)
from imagen.testing.simulator._core.forms import FilePart, parse_form
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    call,
    mask_image,
    reply,
    schema,
)
from tests.support.providers.stability_replies import FIRST, JOB, MADE, SECOND, WAITING, walk


def form(request: HttpRequest) -> tuple[dict[str, str], dict[str, FilePart]]:
    texts, files = parse_form(dict(request.headers), request.body)
    assert all(len(values) == 1 for values in (*texts.values(), *files.values()))
    return {name: values[0] for name, values in texts.items()}, {
        name: parts[0] for name, parts in files.items()
    }


def sent(model: str, **fields: Any) -> tuple[str, dict[str, str], dict[str, FilePart]]:
    walked = walk(model, **fields)
    walked.run()
    texts, files = form(walked.requests[0])
    return walked.requests[0].url.removeprefix("v2beta/stable-image/"), texts, files


def part(image: imagen.providers.EncodedImage, name: str) -> FilePart:
    filename = f"{name}.{image.media_type.rpartition('/')[2]}"
    return FilePart(filename=filename, media_type=image.media_type, data=image.data)


def edit(prompt: str = "a hat", **more: Any) -> imagen.Edit:
    return imagen.Edit(prompt=prompt, images=(b"",), **more)


# --- generation ---------------------------------------------------------------


def test_a_generation_is_one_form_with_an_empty_file_and_asks_for_bytes():
    walked = walk()
    assert walked.run() == GeneratedImages(images=(GeneratedImage(data=IMAGE, seed=7),))
    (request,) = walked.requests
    assert (request.method, request.url) == ("POST", "v2beta/stable-image/generate/core")
    assert not request.repeatable
    assert request.headers["accept"] == "image/*"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    nothing = FilePart(filename="none", media_type="application/octet-stream", data=b"")
    assert form(request) == ({"prompt": "a cat"}, {"none": nothing})


def test_every_field_of_a_generation_has_its_name():
    fields = {
        "aspect_ratio": "21:9",
        "style": "pixel-art",
        "seed": 5,
        "negative_prompt": "dogs",
        "output_format": "webp",
    }
    path, texts, _ = sent("sd3.5-large-turbo", guidance=3.5, **fields)
    assert path == "generate/sd3"
    assert texts == {
        "model": "sd3.5-large-turbo",
        "prompt": "a cat",
        "negative_prompt": "dogs",
        "aspect_ratio": "21:9",
        "style_preset": "pixel-art",
        "seed": "5",
        "cfg_scale": "3.5",
        "output_format": "webp",
    }


@pytest.mark.parametrize("name", ["large", "large-turbo", "medium", "flash"])
def test_each_stable_diffusion_is_named(name):
    assert sent(f"sd3.5-{name}")[1]["model"] == f"sd3.5-{name}"


@pytest.mark.parametrize("field", ["model", "mode", "prompt", "image", "mask"])
def test_options_may_not_replace_what_decides_the_price_or_what_is_a_file(field):
    walked = walk("sd3.5-medium", options={field: "sd3.5-large"})
    assert isinstance(walked.fail(), imagen.InvalidRequestError)
    assert not walked.requests


def test_a_style_needs_its_reference():
    request = imagen.Generate(prompt="a cat", references=(b"",), options={"fidelity": 0.8})
    path, texts, files = sent("stability/style", request=request, references=(FIRST,))
    assert (path, texts) == ("control/style", {"prompt": "a cat", "fidelity": "0.8"})
    assert files == {"image": part(FIRST, "image")}
    walked = walk("stability/style")
    assert "needs a reference" in walked.fail().message
    assert not walked.requests


# --- edits --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "prompt"),
    [("stability/inpaint", {"prompt": "a hat"}), ("stability/erase", {})],
    ids=str,
)
def test_a_mask_is_white_where_the_image_changes(model, prompt):
    request = edit(prompt.get("prompt", ""), mask=b"", options={"grow_mask": 9})
    walked = walk(model, request=request, images=(FIRST,), mask=mask_image())
    walked.run()
    assert [type(step) for step in walked.steps] == [Compute, HttpRequest]
    texts, files = form(walked.requests[0])
    assert texts == {**prompt, "grow_mask": "9"}
    assert files["image"] == part(FIRST, "image")
    mask = PillowImage.open(io.BytesIO(files["mask"].data))
    assert (mask.mode, mask.getpixel((10, 10)), mask.getpixel((50, 10))) == ("L", 255, 0)


@pytest.mark.parametrize(
    ("model", "options", "texts"),
    [
        (
            "stability/outpaint",
            {"left": 100, "up": 0},
            {"prompt": "a hat", "left": "100", "up": "0"},
        ),
        (
            "stability/search-and-replace",
            {"search_prompt": "dog"},
            {"prompt": "a hat", "search_prompt": "dog"},
        ),
        (
            "stability/search-and-recolor",
            {"select_prompt": "dog"},
            {"prompt": "a hat", "select_prompt": "dog"},
        ),
        (
            "stability/sketch",
            {"control_strength": 0.5},
            {"prompt": "a hat", "control_strength": "0.5"},
        ),
        ("stability/structure", {}, {"prompt": "a hat"}),
        ("stability/remove-background", {}, {}),
    ],
)
def test_each_edit_has_its_fields(model, options, texts):
    path, given, files = sent(model, request=edit(options=options), images=(FIRST,))
    assert path.endswith(model.removeprefix("stability/"))
    assert given == texts
    assert files == {"image": part(FIRST, "image")}


@pytest.mark.parametrize("options", [{}, {"left": 0, "right": 0}, {"creativity": 0.4}], ids=str)
def test_outpainting_is_refused_here_where_it_would_go_nowhere(options):
    walked = walk("stability/outpaint", request=edit("", options=options), images=(FIRST,))
    assert "left, right, up, down" in walked.fail().message
    assert not walked.requests


@pytest.mark.parametrize("model", ["stability/search-and-replace", "stability/search-and-recolor"])
def test_a_search_needs_its_words(model):
    with pytest.raises(imagen.InvalidRequestError, match="needs s"):
        call(model, request=edit())


def test_a_prompt_that_is_not_taken_is_left_out_and_reported():
    walked = walk(
        "stability/erase", request=edit("the dog", mask=b""), images=(FIRST,), mask=mask_image()
    )
    (adjustment,) = walked.run().adjustments
    assert (adjustment.field, adjustment.asked, adjustment.sent) == ("prompt", "the dog", None)


def test_a_relit_subject_has_its_own_field_names_and_is_waited_for():
    model = "stability/replace-background-and-relight"
    request = imagen.Edit(
        prompt="a beach", images=(b"", b""), options={"light_source_direction": "left"}, seed=3
    )
    walked = walk(model, reply({"id": JOB}), WAITING, MADE, request=request, images=(FIRST, SECOND))
    assert walked.run().images == (GeneratedImage(data=IMAGE, seed=7),)
    texts, files = form(walked.requests[0])
    assert texts == {"background_prompt": "a beach", "seed": "3", "light_source_direction": "left"}
    assert files == {
        "subject_image": part(FIRST, "subject_image"),
        "background_reference": part(SECOND, "background_reference"),
    }
    poll = HttpRequest(
        method="GET", url=f"v2beta/results/{JOB}", headers={"accept": "*/*"}, repeatable=True
    )
    assert walked.steps[1:] == [
        JobAccepted(job_id=JOB, poll_url=f"v2beta/results/{JOB}"),
        Wait(seconds=10.0, job_id=JOB),
        poll,
        Progress(note="in progress"),
        Wait(seconds=10.0, job_id=JOB),
        poll,
    ]


# --- the other operations -----------------------------------------------------


@pytest.mark.parametrize(
    ("model", "strength", "expected"),
    [
        (
            "sd3.5-medium",
            None,
            {"model": "sd3.5-medium", "mode": "image-to-image", "strength": "0.7"},
        ),
        (
            "sd3.5-medium",
            0.25,
            {"model": "sd3.5-medium", "mode": "image-to-image", "strength": "0.25"},
        ),
        (
            "sd3.5-flash",
            None,
            {"model": "sd3.5-flash", "mode": "image-to-image", "strength": "0.95"},
        ),
        ("stable-image-ultra", 0.0, {"strength": "0.0"}),
    ],
)
def test_a_variation_is_an_image_to_image(model, strength, expected):
    request = imagen.Vary(image=b"", prompt="a cat", strength=strength)
    path, texts, files = sent(model, request=request, images=(FIRST,))
    assert path == ("generate/ultra" if "ultra" in model else "generate/sd3")
    assert texts == {"prompt": "a cat", **expected}
    assert files == {"image": part(FIRST, "image")}


def test_a_variation_keeps_the_ratio_of_its_image_where_the_service_takes_none():
    request = imagen.Vary(image=b"", prompt="a cat", aspect_ratio="16:9")
    walked = walk("sd3.5-large", request=request, images=(FIRST,))
    (adjustment,) = walked.run().adjustments
    assert (adjustment.field, adjustment.sent) == ("aspect_ratio", None)
    assert "aspect_ratio" not in form(walked.requests[0])[0]
    assert sent("stable-image-ultra", request=request, images=(FIRST,))[1]["aspect_ratio"] == "16:9"
    strict = imagen.Vary(image=b"", prompt="a cat", aspect_ratio="16:9", strict=True)
    assert isinstance(
        walk("sd3.5-large", request=strict, images=(FIRST,)).fail(), imagen.InvalidRequestError
    )


@pytest.mark.parametrize(
    ("model", "prompt", "texts"),
    [
        ("stability/upscale-fast", "", {}),
        ("stability/upscale-conservative", "a cat", {"prompt": "a cat", "creativity": "0.3"}),
    ],
)
def test_an_enhancement_is_an_upscale(model, prompt, texts):
    options = {"creativity": 0.3} if prompt else {}
    request = imagen.Enhance(image=b"", prompt=prompt, options=options)
    path, given, files = sent(model, request=request, images=(FIRST,))
    assert path == f"upscale/{model.rpartition('-')[2]}"
    assert (given, files) == (texts, {"image": part(FIRST, "image")})


@pytest.mark.parametrize(
    ("model", "request_"),
    [
        ("stability/upscale-conservative", imagen.Enhance(image=b"")),
        ("stability/upscale-creative", imagen.Enhance(image=b"", prompt=" ")),
        ("sd3.5-medium", imagen.Vary(image=b"")),
    ],
    ids=str,
)
def test_what_needs_a_prompt_says_so_before_anything_is_sent(model, request_):
    with pytest.raises(imagen.InvalidRequestError, match="prompt is empty") as caught:
        walk(model, request=request_, images=(FIRST,))
    assert (caught.value.code, caught.value.billed) == ("INVALID_PROMPT", "no")


@pytest.mark.parametrize(("strength", "more"), [(None, {}), (0.5, {"style_strength": "0.5"})])
def test_a_style_transfer_names_both_images(strength, more):
    request = imagen.Restyle(image=b"", reference=b"", strength=strength)
    path, texts, files = sent(
        "stability/style-transfer", request=request, images=(FIRST,), references=(SECOND,)
    )
    assert (path, texts) == ("control/style-transfer", more)
    assert files == {
        "init_image": part(FIRST, "init_image"),
        "style_image": part(SECOND, "style_image"),
    }


# --- the published schemas ----------------------------------------------------

# Left out: style-transfer and the fourth Stable Diffusion, which are newer than
# the schemas, and relight, whose image is called `subject_image` by now.
SCHEMAS = [
    ("stable-image-core", "stability-generate", "GenerateCoreRequest"),
    ("stable-image-ultra", "stability-generate", "GenerateUltraRequest"),
    ("sd3.5-medium", "stability-generate", "GenerateSD3Request"),
    ("sd3.5-large", "stability-generate", "GenerateSD3Request"),
    ("stability/inpaint", "stability-edit", "InpaintRequest"),
    ("stability/erase", "stability-edit", "EraseRequest"),
    ("stability/outpaint", "stability-edit", "OutpaintRequest"),
    ("stability/search-and-replace", "stability-edit", "SearchAndReplaceRequest"),
    ("stability/search-and-recolor", "stability-edit", "SearchAndRecolorRequest"),
    ("stability/remove-background", "stability-edit", "RemoveBackgroundRequest"),
    ("stability/upscale-fast", "stability-upscale", "FastUpscaleRequest"),
    ("stability/upscale-conservative", "stability-upscale", "ConservativeUpscaleRequest"),
    ("stability/upscale-creative", "stability-upscale", "CreativeUpscaleRequest"),
    ("stability/sketch", "stability-control", "SketchControlRequest"),
    ("stability/structure", "stability-control", "StructureControlRequest"),
    ("stability/style", "stability-control", "StyleControlRequest"),
]
OPTIONS = {
    "stability/outpaint": {"left": 10},
    "stability/search-and-replace": {"search_prompt": "dog"},
    "stability/search-and-recolor": {"select_prompt": "dog"},
}
INTEGERS = ("seed", "left", "right", "up", "down", "grow_mask")
NUMBERS = ("strength", "cfg_scale", "fidelity", "control_strength", "creativity")


def as_object(texts: dict[str, str], files: dict[str, FilePart]) -> dict[str, object]:
    """A form in the types of its schema."""
    values: dict[str, object] = {name: "bytes" for name in files if name != "none"}
    for name, text in texts.items():
        values[name] = int(text) if name in INTEGERS else float(text) if name in NUMBERS else text
    return values


@pytest.mark.parametrize(("model", "spec", "name"), SCHEMAS, ids=[case[0] for case in SCHEMAS])
def test_forms_keep_the_published_schema(model, spec, name):
    described = schema(spec, name)
    known = {*described["properties"], "style_preset", "cfg_scale", "mask", "grow_mask"}
    known |= {"aspect_ratio"} if model == "stability/style" else set()
    known |= {"image", "strength"} if model == "stable-image-ultra" else set()
    can = CATALOG.find(model).capabilities
    for operation in can.operations:
        for style in (None, *can.styles):
            fields: dict[str, Any] = {
                "prompt": "a cat",
                "style": style,
                "seed": 4_294_967_294,
                "negative_prompt": "dogs",
                "output_format": can.output_formats[-1],
                "options": OPTIONS.get(model, {}),
            }
            walked = walk(
                model, request=shaped(operation, can, fields), **images_for(operation, can)
            )
            walked.run()
            values = as_object(*form(walked.requests[0]))
            jsonschema.Draft202012Validator(described).validate(values)
            assert values.keys() <= known


def shaped(
    operation: str, can: imagen.providers.Capabilities, fields: dict[str, Any]
) -> imagen.Request:
    match operation:
        case "generate":
            references = (b"",) * can.inputs.max_references
            return imagen.Generate(
                references=references, aspect_ratio="9:21", guidance=7.5, **fields
            )
        case "edit":
            return imagen.Edit(images=(b"",), mask=b"" if can.mask else None, **fields)
        case "vary":
            return imagen.Vary(image=b"", strength=0.5, **fields)
    return imagen.Enhance(image=b"", **fields)


def images_for(operation: str, can: imagen.providers.Capabilities) -> dict[str, Any]:
    if operation == "generate":
        return {"references": (FIRST,) * can.inputs.max_references}
    return {"images": (FIRST,), "mask": mask_image() if can.mask else None}
