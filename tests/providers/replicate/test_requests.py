"""What is sent to Replicate for each operation; the published schema where
there is one.
"""

from __future__ import annotations

import random
from typing import Any

import jsonschema
import pybase64
import pytest

import imagen
from imagen import InvalidRequestError, ProviderError
from imagen.providers import Cancellable, HttpRequest, JobAccepted, Progress, Wait, replicate
from tests.support.exchanges import IMAGE, Walk, call, input_image, mask_image, reply, schema
from tests.support.providers.replicate import CREATED, FILE, LINK, RECORD, SUCCEEDED

GOOD = (CREATED, SUCCEEDED, FILE)
IMAGE_URL = f"data:image/png;base64,{pybase64.b64encode(input_image().data).decode()}"
BIG = imagen.providers.EncodedImage(
    data=random.Random(1).randbytes(300_000), media_type="image/jpeg", width=1000, height=1000
)
UPLOADED = reply({"id": "f1", "urls": {"get": "https://api.replicate.com/v1/files/f1"}}, 201)


def body_of(model: str | imagen.Model = "replicate/flux-schnell", **more: Any) -> dict[str, Any]:
    """The body of a creation, which keeps the published schema."""
    walk = Walk(replicate.run(call(model, **more)), *GOOD)
    walk.run()
    # Not in the schema: a version may be an owner and a name (documentation of
    # 2026); it only asks for a text.
    jsonschema.validate(walk.body, schema("replicate", "schemas_version_prediction_request"))
    return walk.body


def input_of(model: str | imagen.Model = "replicate/flux-schnell", **more: Any) -> dict[str, Any]:
    fields = body_of(model, **more)["input"]
    assert isinstance(fields, dict)
    return fields


def test_the_steps_of_a_prediction():
    walk = Walk(replicate.run(call("replicate/flux-schnell", seed=3)), *GOOD)
    result = walk.run()
    stop = HttpRequest(method="POST", url="predictions/p1/cancel")
    assert walk.steps[1:-1] == [
        JobAccepted(job_id="p1", poll_url="predictions/p1"),
        Cancellable(request=stop, stops_bill=True),
        Progress(note="starting"),
        Wait(seconds=1.0, job_id="p1"),
        HttpRequest(method="GET", url="predictions/p1", repeatable=True),
    ]
    first = walk.requests[0]
    assert (first.method, first.url, first.repeatable) == ("POST", "predictions", False)
    # Without a wait: what is lost on the way would have no id.
    assert first.headers.keys() == {"content-type"}
    (image,) = result.images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert (image.data, image.seed, image.provider_id) == (IMAGE, 3, "p1")
    assert str(result.units) == "1.500000000"


def test_a_prediction_that_runs_is_no_longer_free_to_stop():
    running = reply({**RECORD, "status": "processing", "logs": "  0%|\r 40%|####"})
    back = reply({**RECORD, "status": "starting"})
    walk = Walk(
        replicate.run(call("replicate/flux-schnell")), CREATED, back, running, back, SUCCEEDED, FILE
    )
    walk.run()
    stop = HttpRequest(method="POST", url="predictions/p1/cancel")
    told = [step for step in walk.steps if isinstance(step, (Cancellable, Progress))]
    assert told == [
        Cancellable(request=stop, stops_bill=True),
        Progress(note="starting"),
        Progress(note="starting"),
        Cancellable(request=stop, stops_bill=False),
        Progress(fraction=0.4, note="processing"),
        Progress(note="starting"),
    ]


def test_where_a_start_is_charged_it_is_never_free_to_stop():
    walk = Walk(
        replicate.run(call("replicate/flux-schnell", settings={"charges_for_starting": True})),
        *GOOD,
    )
    walk.run()
    assert [step.stops_bill for step in walk.steps if isinstance(step, Cancellable)] == [False]


def test_a_creation_that_is_answered_with_its_end_is_not_asked_for():
    walk = Walk(
        replicate.run(call("replicate/flux-schnell")),
        reply({**RECORD, "status": "succeeded", "output": LINK}, 201),
        FILE,
    )
    assert walk.run().images
    assert [request.url for request in walk.requests] == ["predictions", LINK]


def test_a_generation():
    body = body_of(
        seed=3,
        steps=4,
        aspect_ratio="16:9",
        resolution="512",
        output_format="jpeg",
        safety="relaxed",
        count=2,
    )
    assert body == {
        "version": "black-forest-labs/flux-schnell",
        "input": {
            "prompt": "a cat",
            "num_outputs": 2,
            "seed": 3,
            "num_inference_steps": 4,
            "aspect_ratio": "16:9",
            "megapixels": "0.25",
            "output_format": "jpg",
            "disable_safety_checker": True,
        },
    }


def test_words_of_a_model():
    assert input_of("replicate/flux-1.1-pro", size="1024x768", safety="strict") == {
        "prompt": "a cat",
        "width": 1024,
        "height": 768,
        "aspect_ratio": "custom",
        "safety_tolerance": 1,
    }
    assert (
        input_of("replicate/nano-banana-2", aspect_ratio="auto")["aspect_ratio"]
        == "match_input_image"
    )
    assert input_of(
        "replicate/gpt-image-2", quality="low", background="opaque", safety="relaxed"
    ) == {
        "prompt": "a cat",
        "number_of_images": 1,
        "quality": "low",
        "background": "opaque",
        "moderation": "low",
    }
    assert input_of(
        "replicate/sdxl", negative_prompt="dogs", size="768x768", guidance=7, steps=30
    ) == {
        "prompt": "a cat",
        "num_outputs": 1,
        "num_inference_steps": 30,
        "guidance_scale": 7,
        "negative_prompt": "dogs",
        "width": 768,
        "height": 768,
    }


def test_images_have_the_fields_of_the_model():
    two = (input_image(), input_image(color="red"))
    edit = imagen.Edit(prompt="a hat", images=("a", "b"))
    for model, field in (
        ("flux-2-pro", "input_images"),
        ("nano-banana-pro", "image_input"),
        ("flux-3", "images"),
        ("gpt-image-2", "input_images"),
    ):
        fields = input_of(f"replicate/{model}", request=edit, images=two)
        assert fields[field][0] == IMAGE_URL != fields[field][1]
    one = imagen.Edit(prompt="a hat", images=("a",))
    assert (
        input_of("replicate/flux-kontext-pro", request=one, images=two[:1])["input_image"]
        == IMAGE_URL
    )
    restyle = imagen.Restyle(image="a", reference="b", prompt="Softly.")
    fields = input_of("replicate/flux-2-max", request=restyle, images=two[:1], references=two[1:])
    assert len(fields["input_images"]) == 2
    assert fields["prompt"].endswith("Keep what image 1 shows. Softly.")
    styled = input_of("replicate/ideogram-v3-turbo", references=two, style="design")
    assert (len(styled["style_reference_images"]), styled["style_type"]) == (2, "Design")


def test_an_edit_with_a_mask_a_variation_and_an_enhancement():
    edit = imagen.Edit(prompt="a hat", images=("a",), mask="m")
    fields = input_of(
        "replicate/flux-fill-pro", request=edit, images=(input_image(),), mask=mask_image()
    )
    assert fields.keys() == {"prompt", "image", "mask"}
    vary = imagen.Vary(image="a", strength=0.25)
    assert (
        input_of("replicate/flux-dev", request=vary, images=(input_image(),))["prompt_strength"]
        == 0.25
    )
    fields = input_of("replicate/flux-1.1-pro-ultra", request=vary, images=(input_image(),))
    assert (fields["image_prompt_strength"], fields["image_prompt"]) == (0.75, IMAGE_URL)
    enhance = imagen.Enhance(image="a", scale=4)
    assert input_of("replicate/real-esrgan", request=enhance, images=(input_image(),)) == {
        "scale": 4,
        "image": IMAGE_URL,
    }
    assert (
        input_of("replicate/topaz-upscale", request=enhance, images=(input_image(),))[
            "upscale_factor"
        ]
        == "4x"
    )


# --- uploads ------------------------------------------------------------------

ONE = imagen.Edit(prompt="a hat", images=("a",))


def upload(*responses: Any) -> Walk:
    return Walk(
        replicate.run(call("replicate/flux-kontext-pro", request=ONE, images=(BIG,))), *responses
    )


def test_a_large_image_is_uploaded_first_and_sent_as_a_link():
    walk = upload(UPLOADED, *GOOD)
    walk.run()
    first, second = walk.requests[:2]
    # It creates nothing that is paid, so it may be sent twice.
    assert (first.method, first.url, first.repeatable, second.url) == (
        "POST",
        "files",
        True,
        "predictions",
    )
    assert first.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="content"; filename="content.jpeg"' in first.body
    assert BIG.data in first.body
    assert walk.body["input"]["input_image"] == "https://api.replicate.com/v1/files/f1"


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (reply({"title": "Unauthenticated"}, 401), imagen.AuthenticationError),
        (reply({"detail": "Too large."}, 413), InvalidRequestError),
        (reply({}, 500), ProviderError),
        (reply(b"<html>", 502), ProviderError),
        (reply(b"<html>"), ProviderError),
        (reply({"urls": {}}), ProviderError),
        (reply({"urls": None}), ProviderError),
        (reply({"urls": {"get": 3}}), ProviderError),
    ],
)
def test_an_upload_that_fails_costs_nothing(response, kind):
    walk = upload(response)
    error = walk.fail()
    assert (type(error), error.billed) == (kind, "no")
    assert len(walk.requests) == 1


@pytest.mark.parametrize("name", ["prompt", "num_outputs", "image", "input_image"])
def test_options_cannot_replace_what_is_paid_for(name):
    with pytest.raises(InvalidRequestError, match=name):
        input_of(options={name: "x"})
    assert input_of(options={"go_fast": False})["go_fast"] is False
