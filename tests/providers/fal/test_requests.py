"""What is sent to fal.ai for each operation, and where; and what a table of a
model can say.
"""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pybase64
import pytest
from PIL import Image

import imagen
from imagen import ConfigurationError, InvalidRequestError
from imagen.providers import Cancellable, HttpRequest, JobAccepted, Progress, Wait, fal
from tests.support.exchanges import IMAGE, Walk, call, input_image, mask_image, reply
from tests.support.providers.fal import APP, GOOD, LINK, SUBMITTED, mine

IMAGE_URL = f"data:image/png;base64,{pybase64.b64encode(input_image().data).decode()}"


def body_of(model: str | imagen.Model = "fal/flux-schnell", **more: Any) -> dict[str, Any]:
    """The body of a submission."""
    walk = Walk(fal.run(call(model, **more)), *GOOD)
    walk.run()
    return msgspec.json.decode(walk.requests[0].body)


def address_of(model: str, **more: Any) -> str:
    walk = Walk(fal.run(call(model, **more)), *GOOD)
    walk.run()
    return walk.requests[0].url


# --- the protocol -------------------------------------------------------------


def test_the_steps_of_a_job():
    walk = Walk(fal.run(call("fal/flux-schnell", seed=3)), *GOOD)
    result = walk.run()
    stop = HttpRequest(method="PUT", url="fal-ai/flux/requests/r1/cancel")
    assert walk.steps[1:-1] == [
        JobAccepted(job_id="r1", poll_url="fal-ai/flux/requests/r1/status?logs=1"),
        Cancellable(request=stop, stops_bill=True),
        Wait(seconds=1.0, job_id="r1"),
        HttpRequest(method="GET", url="fal-ai/flux/requests/r1/status?logs=1", repeatable=True),
        HttpRequest(method="GET", url="fal-ai/flux/requests/r1", repeatable=True, collects=True),
    ]
    assert (walk.requests[-1].url, walk.requests[-1].repeatable) == (LINK, True)
    assert (walk.requests[0].method, walk.requests[0].repeatable) == ("POST", False)
    (image,) = result.images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert (image.data, image.seed, image.provider_id, image.revised_prompt) == (
        IMAGE,
        42,
        "r1",
        None,
    )
    assert result.units == 1


def test_a_job_that_runs_is_no_longer_free_to_stop():
    queued = reply({"status": "IN_QUEUE", "queue_position": 3}, 202)
    logs = [{"message": "Loading"}, {"message": " 12%|#"}, {"message": "no number"}]
    running = reply({"status": "IN_PROGRESS", "logs": logs}, 202)
    walk = Walk(
        fal.run(call("fal/flux-schnell")), SUBMITTED, queued, running, running, queued, *GOOD[1:]
    )
    walk.run()
    stop = HttpRequest(method="PUT", url="fal-ai/flux/requests/r1/cancel")
    told = [step for step in walk.steps if isinstance(step, (Cancellable, Progress))]
    assert told == [
        Cancellable(request=stop, stops_bill=True),
        Progress(note="in the queue behind 3"),
        Cancellable(request=stop, stops_bill=False),
        Progress(fraction=0.12, note="running"),
        Progress(fraction=0.12, note="running"),
        # Back in the queue, as after a machine that broke: what ran before may
        # be counted.
        Progress(note="in the queue behind 3"),
    ]


@pytest.mark.parametrize(
    ("endpoint", "told", "path"),
    [
        ("fal-ai/flux/dev", f"{APP}/requests/r1", "fal-ai/flux/requests/r1"),
        ("fal-ai/flux/dev", None, "fal-ai/flux/requests/r1"),
        ("fal-ai/flux/dev", 7, "fal-ai/flux/requests/r1"),
        ("fal-ai/flux/dev", "http://[/requests/r1", "fal-ai/flux/requests/r1"),
        # The app may have another name by now; the host stays ours.
        ("fal-ai/flux/dev", "https://evil.example/other/app/requests/r1", "other/app/requests/r1"),
        (
            "fal-ai/flux/dev",
            "http://127.0.0.1:1/fal/other/app/requests/r1",
            "other/app/requests/r1",
        ),
        ("fal-ai/flux/dev", "https://queue.fal.run/../../requests/r1", "fal-ai/flux/requests/r1"),
        ("fal-ai/flux/dev", "https://queue.fal.run/app/requests/r1", "fal-ai/flux/requests/r1"),
        ("fal-ai/flux/dev", f"{APP}/requests/another", "fal-ai/flux/requests/r1"),
        ("workflows/me/mine", None, "workflows/me/mine/requests/r1"),
        (
            "workflows/me/mine/sub",
            "https://queue.fal.run/workflows/me/mine/requests/r1",
            "workflows/me/mine/requests/r1",
        ),
        ("comfy/me/mine", None, "comfy/me/mine/requests/r1"),
    ],
)
def test_a_job_is_asked_for_below_the_base_url_and_without_the_sub_path(endpoint, told, path):
    model = msgspec.structs.replace(mine({}), wire_name=endpoint)
    walk = Walk(fal.run(call(model)), reply({"request_id": "r1", "response_url": told}), *GOOD[1:])
    walk.run()
    assert [request.url for request in walk.requests[:3]] == [
        endpoint,
        f"{path}/status?logs=1",
        path,
    ]


def test_an_id_with_odd_characters_is_quoted():
    walk = Walk(fal.run(call("fal/flux-schnell")), reply({"request_id": "a/../b?c"}), *GOOD[1:])
    walk.run()
    assert walk.requests[2].url == "fal-ai/flux/requests/a%2F..%2Fb%3Fc"


# --- bodies -------------------------------------------------------------------


def test_a_generation():
    assert body_of(
        seed=3, steps=4, size="1024x1024", output_format="png", safety="relaxed", count=2
    ) == {
        "prompt": "a cat",
        "num_images": 2,
        "seed": 3,
        "num_inference_steps": 4,
        "image_size": "square_hd",
        "output_format": "png",
        "enable_safety_checker": False,
    }
    assert body_of("fal/flux-dev", size="1280x1024", guidance=3.5) == {
        "prompt": "a cat",
        "num_images": 1,
        "guidance_scale": 3.5,
        "image_size": {"width": 1280, "height": 1024},
    }


def test_words_of_an_endpoint():
    assert body_of("fal/flux-3", aspect_ratio="16:9", resolution="768") == {
        "prompt": "a cat",
        "aspect_ratio": "16:9",
        "resolution": "768sq",
    }
    body = body_of("fal/nano-banana-2", resolution="512", safety="strict")
    # A number as a text, as the endpoint wants it.
    assert (body["resolution"], body["safety_tolerance"]) == ("0.5K", "1")
    body = body_of(
        "fal/ideogram-v3", quality="turbo", style="design", negative_prompt="dogs", size="768x1024"
    )
    assert body == {
        "prompt": "a cat",
        "num_images": 1,
        "rendering_speed": "TURBO",
        "style": "DESIGN",
        "negative_prompt": "dogs",
        "image_size": "portrait_4_3",
    }


def test_an_edit_goes_to_an_endpoint_of_its_own():
    edit = imagen.Edit(prompt="a hat", images=("a", "b"), model="fal/flux-2-pro")
    images = (input_image(), input_image(color="red"))
    assert address_of("fal/flux-2-pro", request=edit, images=images) == "fal-ai/flux-2-pro/edit"
    body = body_of("fal/flux-2-pro", request=edit, images=images)
    assert body["image_urls"][0] == IMAGE_URL != body["image_urls"][1]
    assert address_of("fal/flux-2-pro") == "fal-ai/flux-2-pro"
    assert address_of("fal/flux-2-pro", references=images) == "fal-ai/flux-2-pro/edit"
    one = imagen.Edit(prompt="a hat", images=("a",))
    assert body_of("fal/flux-kontext", request=one, images=images[:1]) == {
        "prompt": "a hat",
        "num_images": 1,
        "image_url": IMAGE_URL,
    }


@pytest.mark.parametrize(
    ("model", "form"), [("fal/flux-fill", "white"), ("fal/gpt-image-2", "alpha")]
)
def test_a_mask_has_the_form_of_the_endpoint(model, form):
    edit = imagen.Edit(prompt="a hat", images=("a",), mask="m")
    body = body_of(model, request=edit, images=(input_image(),), mask=mask_image())
    mask = Image.open(io.BytesIO(pybase64.b64decode(body["mask_url"].partition(",")[2])))
    left, right = mask.getpixel((5, 5)), mask.getpixel((60, 5))
    if form == "white":
        assert (mask.mode, left, right) == ("L", 255, 0)
    else:
        assert isinstance(left, tuple)
        assert isinstance(right, tuple)
        assert (mask.mode, left[3], right[3]) == ("RGBA", 0, 255)


def test_a_black_mask_by_a_table():
    model = mine(
        {
            "images": ["image"],
            "mask": {"field": "mask", "form": "black"},
            "endpoints": {"mask": "acme/app/inpaint"},
        },
        operations=["edit"],
        mask=True,
    )
    edit = imagen.Edit(prompt="a hat", images=("a",), mask="m")
    walk = Walk(
        fal.run(call(model, request=edit, images=(input_image(),), mask=mask_image())), *GOOD
    )
    walk.run()
    mask = Image.open(io.BytesIO(pybase64.b64decode(walk.body["mask"].partition(",")[2])))
    assert (mask.getpixel((5, 5)), mask.getpixel((60, 5))) == (0, 255)
    assert walk.requests[0].url == "acme/app/inpaint"


@pytest.mark.parametrize(
    ("strength", "place", "sent"),
    [
        (0.25, "strength", 0.25),
        (0.25, {"field": "strength", "inverted": True}, 0.75),
        (0.3, {"field": "strength"}, 0.3),
    ],
)
def test_a_strength_may_be_counted_the_other_way(strength, place, sent):
    model = mine({"images": ["image"], "strength": place}, operations=["vary"], strength=True)
    body = body_of(
        model,
        request=imagen.Vary(image="a", strength=strength, prompt="p"),
        images=(input_image(),),
    )
    assert (body["strength"], body["prompt"]) == (sent, "p")


def test_a_strength_below_the_least_is_told():
    model = mine(
        {"images": ["image"], "strength": {"field": "likeness", "inverted": True, "low": 0.2}},
        operations=["vary"],
        strength=True,
    )
    walk = Walk(
        fal.run(call(model, request=imagen.Vary(image="a", strength=1.0), images=(input_image(),))),
        *GOOD,
    )
    (made,) = walk.run().adjustments
    assert (made.field, made.asked, made.sent, walk.body["likeness"]) == (
        "strength",
        "1",
        "0.8",
        0.2,
    )


def test_an_enhancement():
    enhance = imagen.Enhance(image="a", scale=2, seed=3)
    body = body_of("fal/clarity-upscaler", request=enhance, images=(input_image(),))
    assert body == {"seed": 3, "upscale_factor": 2, "image_url": IMAGE_URL}
    body = body_of(
        "fal/seedvr-upscale", request=imagen.Enhance(image="a", scale=1.5), images=(input_image(),)
    )
    assert body == {"upscale_factor": 1.5, "upscale_mode": "factor", "image_url": IMAGE_URL}


def test_modes_have_words_where_there_are_several():
    wire = {
        "images": ["image"],
        "mode": {"field": "model", "words": {"fast": "F", "creative": "C"}},
    }
    model = mine(wire, operations=["enhance"], modes=["fast", "creative"])
    body = body_of(
        model, request=imagen.Enhance(image="a", mode="creative"), images=(input_image(),)
    )
    assert body["model"] == "C"


@pytest.mark.parametrize(
    ("size", "sent"),
    [
        ({"field": "size", "form": "text"}, {"size": "512x768"}),
        ({"form": "sides"}, {"width": 512, "height": 768}),
        (
            {"form": "sides", "width": "w", "height": "h", "extra": {"ratio": "custom"}},
            {"w": 512, "h": 768, "ratio": "custom"},
        ),
        ({"field": "size", "words": {"512x768": "tall"}}, {"size": "tall"}),
        ({"field": "size"}, {"size": {"width": 512, "height": 768}}),
    ],
)
def test_a_size_has_several_forms(size, sent):
    model = mine({"size": size, "fixed": {"fast": True}}, sizes=["512x768", "auto"])
    assert body_of(model, size="512x768") == {"prompt": "a cat", "fast": True, **sent}
    assert body_of(model, size="auto") == {"prompt": "a cat", "fast": True}


def test_a_restyling_by_references_of_their_own():
    model = mine(
        {"images": ["image"], "references": ["style", "more[]"]}, operations=["restyle", "generate"]
    )
    images = {"images": (input_image(),), "references": (input_image(color="red"),)}
    body = body_of(model, request=imagen.Restyle(image="a", reference="b"), **images)
    assert (
        body["prompt"] == "The same subject and composition, in the style of the reference image."
    )
    assert body.keys() == {"prompt", "image", "style"}


# --- what a table must not do -------------------------------------------------


@pytest.mark.parametrize(
    "name", ["prompt", "num_images", "image_size", "sync_mode", "image_url", "mask_url"]
)
def test_options_cannot_replace_what_is_paid_for(name):
    with pytest.raises(InvalidRequestError, match=name):
        body_of(options={name: "x"})
    assert body_of(options={"acceleration": "none", "seed": 9}, seed=3)["seed"] == 9


def test_options_cannot_replace_what_a_table_names():
    model = mine(
        {"count": "n", "resolution": "grade", "fixed": {"tier": 1}},
        resolutions=["1K"],
        max_images_per_request=2,
    )
    for name in ("n", "grade", "tier"):
        with pytest.raises(InvalidRequestError, match=name):
            body_of(model, options={name: 5})


@pytest.mark.parametrize(
    "wire",
    [
        {"sede": "seed"},
        {"seed": 3},
        {"size": {"form": "oblong"}},
        {"mask": {"form": "white"}},
        {"safety": {"field": "f", "word": {}}},
        {"images": "image"},
    ],
)
def test_a_wrong_table_is_named(wire):
    error = Walk(fal.run(call(mine(wire)))).fail()
    assert type(error) is ConfigurationError
    assert 'wire of [models."fal/mine"] is wrong' in error.message


@pytest.mark.parametrize(
    ("capabilities", "request_", "what"),
    [
        ({"seed": True}, imagen.Generate(prompt="x", seed=3), "seed"),
        ({"sizes": ["512x512"]}, imagen.Generate(prompt="x", size="512x512"), "size"),
        (
            {"output_formats": ["png"]},
            imagen.Generate(prompt="x", output_format="png"),
            "output_format",
        ),
        ({"max_images_per_request": 4}, imagen.Generate(prompt="x"), "count"),
        ({"operations": ["edit"]}, imagen.Edit(prompt="x", images=("a",)), "that many images"),
        (
            {"operations": ["vary"], "strength": True},
            imagen.Vary(image="a", strength=0.5),
            "strength",
        ),
        ({"operations": ["enhance"], "scales": [2]}, imagen.Enhance(image="a", scale=2), "scale"),
    ],
)
def test_a_table_must_name_a_field_for_what_its_capabilities_promise(capabilities, request_, what):
    """Left out in silence it would be an unrequested image, and paid."""
    images = () if isinstance(request_, imagen.Generate) else (input_image(),)
    walk = Walk(fal.run(call(mine({}, **capabilities), request=request_, images=images)))
    error = walk.fail()
    assert type(error) is ConfigurationError
    assert f"names no field for {what}" in error.message
    assert not walk.requests


def test_a_mask_needs_a_field():
    model = mine({"images": ["image"]}, operations=["edit"], mask=True)
    edit = imagen.Edit(prompt="x", images=("a",), mask="m")
    walk = Walk(fal.run(call(model, request=edit, images=(input_image(),), mask=mask_image())))
    assert "names no field for a mask" in walk.fail().message


def test_what_an_operation_lacks_is_dropped_and_told_or_refused():
    model = mine(
        {"images": ["image"], "seed": "seed", "lacks": {"vary": ["seed", "prompt"]}},
        operations=["generate", "vary"],
        seed=True,
    )
    assert body_of(model, seed=3)["seed"] == 3
    vary = imagen.Vary(image="a", seed=3, prompt="p")
    walk = Walk(fal.run(call(model, request=vary, images=(input_image(),))), *GOOD)
    assert [(made.field, made.asked, made.sent) for made in walk.run().adjustments] == [
        ("seed", "3", None),
        ("prompt", "p", None),
    ]
    assert "seed" not in walk.body
    strict = msgspec.structs.replace(vary, strict=True)
    error = Walk(fal.run(call(model, request=strict, images=(input_image(),)))).fail()
    assert "would leave out seed" in error.message
