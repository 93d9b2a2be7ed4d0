"""What is made of the web UI's answers: every row of the table, and anything at
all.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen import AuthenticationError, InvalidRequestError, ProviderError
from imagen.providers import (
    Cancellable,
    HttpRequest,
    HttpResponse,
    LostImage,
    PartialImage,
    Progress,
)
from imagen.providers.automatic1111 import PROVIDER, list_models
from tests.support.exchanges import (
    IMAGE,
    IMAGE_BASE64,
    Walk,
    call,
    input_image,
    mask_image,
    outcome,
    reply,
)
from tests.support.lengths import examples
from tests.support.reply_strategies import (
    http_replies,
    json_bodies,
)

SECOND = "c2Vjb25k"
INFO = {"seed": 42, "all_seeds": [42, 43], "index_of_first_image": 0}


def drawn(*images: object, info: object = INFO) -> HttpResponse:
    told = json.dumps(info) if isinstance(info, dict) else info
    return reply({"images": list(images), "parameters": {"prompt": "a cat"}, "info": told})


def walk(*responses: HttpResponse, **more: Any) -> Walk:
    return Walk(PROVIDER.operations["generate"](call("automatic1111", **more)), *responses)


# --- requests -----------------------------------------------------------------


def test_a_mask_is_white_where_the_image_changes():
    request = imagen.Edit(prompt="a hat", images=(b"",), mask=b"")
    asked = call(
        "automatic1111", request=request, images=(input_image(70, 64),), mask=mask_image(70, 64)
    )
    edited = Walk(PROVIDER.operations["edit"](asked), drawn(IMAGE_BASE64))
    edited.run()
    body = edited.body
    assert edited.requests[-1].url == "sdapi/v1/img2img"
    # Multiples of eight, next to the size of the image.
    assert (body["width"], body["height"], body["inpainting_fill"]) == (64, 64, 1)
    assert len(body["init_images"]) == 1
    assert body["mask"]


@pytest.mark.parametrize(
    "name",
    ["n_iter", "batch_size", "send_images", "init_images", "mask", "force_task_id", "prompt"],
)
def test_options_do_not_replace_what_has_a_parameter(name):
    assert f"may not hold {name}" in walk(options={name: 1}).fail().message


def test_an_abandoned_drawing_is_interrupted_and_polled_meanwhile():
    made = walk(drawn(IMAGE_BASE64), previews=1)
    made.run()
    cancellable, order = made.steps
    assert cancellable == Cancellable(
        request=HttpRequest(method="POST", url="sdapi/v1/interrupt"), stops_bill=True
    )
    assert isinstance(order, HttpRequest)
    assert not order.repeatable
    assert order.meanwhile is not None
    assert order.meanwhile.request.url == "sdapi/v1/progress?skip_current_image=false"


# --- progress -----------------------------------------------------------------


def asked_how_far(**more: Any) -> tuple[str, Any]:
    """The id of an order, and the reader of the answers to how far it is."""
    made = walk(drawn(IMAGE_BASE64), **more)
    made.run()
    order = made.requests[-1]
    assert order.meanwhile is not None
    return json.loads(order.body)["force_task_id"], order.meanwhile.read


@pytest.mark.parametrize(
    ("told", "step"),
    [
        (
            {"progress": 0.4, "state": {"sampling_step": 8, "sampling_steps": 20}},
            Progress(fraction=0.4, note="step 8 of 20"),
        ),
        ({"progress": 0.0, "state": {"sampling_steps": 0}}, Progress(fraction=0.0)),
        ({"progress": 1e300}, Progress()),
        ({"progress": True}, Progress()),
        ({"progress": None, "current_task": None}, Progress()),
        ({"progress": 0.4, "current_task": "task(another)"}, Progress(note="waiting")),
        ({"state": 5}, None),
        (b"<html>", None),
    ],
)
def test_how_far_it_is(told, step):
    _, read = asked_how_far()
    assert read(reply(told)) == step


def test_a_failed_answer_says_nothing():
    _, read = asked_how_far()
    assert read(reply({"progress": 0.4}, 500)) is None


def test_previews_are_shown_once_each_and_no_more_than_asked():
    _, read = asked_how_far(previews=2)
    one, two = ({"progress": 0.5, "current_image": text} for text in (IMAGE_BASE64, SECOND))
    shown = [read(reply(told)) for told in (one, one, two, one)]
    progress = Progress(fraction=0.5)
    assert shown == [
        PartialImage(data=IMAGE, number=0),
        progress,
        PartialImage(data=b"second", number=1),
        progress,
    ]


def test_a_broken_preview_is_an_error_that_the_driver_passes_over():
    _, read = asked_how_far(previews=2)
    with pytest.raises(imagen.ImagenError):
        read(reply({"current_image": "*" * 20}))
    _, silent = asked_how_far()
    assert silent(reply({"current_image": IMAGE_BASE64, "progress": 0.5})) == Progress(fraction=0.5)


def test_an_image_interrupted_by_another_client_is_not_returned_as_finished():
    exchange = PROVIDER.operations["generate"](call("automatic1111"))
    exchange.send(None)
    order = exchange.send(None)
    assert isinstance(order, HttpRequest)
    assert order.meanwhile is not None
    task_id = json.loads(order.body)["force_task_id"]
    order.meanwhile.read(reply({"current_task": task_id, "state": {"interrupted": True}}))
    with pytest.raises(ProviderError, match="told to stop") as caught:
        exchange.send(drawn(IMAGE_BASE64))
    assert caught.value.billed == "no"


# --- answers ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "info", "count", "found"),
    [
        ((IMAGE_BASE64,), INFO, 1, [(IMAGE, 42)]),
        ((SECOND, IMAGE_BASE64), {**INFO, "index_of_first_image": 1}, 1, [(IMAGE, 42)]),
        ((IMAGE_BASE64, SECOND), INFO, 1, [(IMAGE, 42)]),
        ((SECOND, IMAGE_BASE64, SECOND), {"all_seeds": [1, 2]}, 2, [(IMAGE, 1), (b"second", 2)]),
        ((IMAGE_BASE64, SECOND), {"all_seeds": [1]}, 2, [(IMAGE, 1), (b"second", None)]),
        ((IMAGE_BASE64,), {"seed": 7}, 1, [(IMAGE, 7)]),
        ((IMAGE_BASE64,), {"seed": -1}, 1, [(IMAGE, None)]),
        ((IMAGE_BASE64,), {"all_seeds": "x", "seed": 2**70}, 1, [(IMAGE, None)]),
        ((IMAGE_BASE64,), "no JSON", 1, [(IMAGE, None)]),
        ((IMAGE_BASE64,), None, 1, [(IMAGE, None)]),
        ((IMAGE_BASE64,), {"index_of_first_image": 5}, 1, [(IMAGE, None)]),
        ((f"data:image/png;base64,{IMAGE_BASE64}",), INFO, 1, [(IMAGE, 42)]),
    ],
)
def test_the_images_that_were_asked_for_and_their_seeds(images, info, count, found):
    result = walk(drawn(*images, info=info), count=count).run()
    assert [(image.data, image.seed) for image in result.images] == found


def test_a_broken_image_does_not_take_the_others_along():
    result = walk(drawn(IMAGE_BASE64, "***", info={"index_of_first_image": 0}), count=2).run()
    assert isinstance(result.images[0], imagen.providers.GeneratedImage)
    assert isinstance(result.images[1], LostImage)


NO = (False, "no", None)


def own(detail: str, error: str = "HTTPException", errors: str = "") -> dict[str, str]:
    return {"error": error, "detail": detail, "body": "", "errors": errors}


ERRORS = [
    pytest.param(
        400,
        own("Sampler not found"),
        (InvalidRequestError, "INVALID_PROMPT", *NO),
        id="400 sampler",
    ),
    pytest.param(
        422, own("Script not found"), (InvalidRequestError, "INVALID_PROMPT", *NO), id="422 script"
    ),
    pytest.param(
        422,
        {"detail": [{"loc": ["body", "steps"], "msg": "not a number", "type": "x"}]},
        (InvalidRequestError, "INVALID_PROMPT", *NO),
        id="422 field",
    ),
    pytest.param(
        404,
        own("Init image not found"),
        (InvalidRequestError, "INVALID_PROMPT", *NO),
        id="404 no image",
    ),
    pytest.param(
        404, {"detail": "Not Found"}, (ProviderError, "API_ERROR", *NO), id="404 without --api"
    ),
    pytest.param(
        500,
        own("Invalid encoded image"),
        (InvalidRequestError, "INVALID_PROMPT", *NO),
        id="500 image",
    ),
    pytest.param(
        500, own("Invalid image url"), (InvalidRequestError, "INVALID_PROMPT", *NO), id="500 url"
    ),
    pytest.param(
        500,
        own("Requests not allowed"),
        (InvalidRequestError, "INVALID_PROMPT", *NO),
        id="500 requests",
    ),
    pytest.param(
        401, {"detail": "Unauthorized"}, (AuthenticationError, "AUTHENTICATION", *NO), id="401"
    ),
    pytest.param(
        500,
        own("", "OutOfMemoryError", "CUDA out of memory"),
        (ProviderError, "API_ERROR", *NO),
        id="500 memory",
    ),
    pytest.param(
        500, own("", "RuntimeError", "boom"), (ProviderError, "API_ERROR", *NO), id="500 other"
    ),
    pytest.param(500, b"", (ProviderError, "API_ERROR", *NO), id="500 empty"),
    pytest.param(
        502, b"<html>", (ProviderError, "API_ERROR", True, "no", None), id="502 of a proxy"
    ),
    pytest.param(503, {}, (ProviderError, "API_ERROR", True, "no", None), id="503"),
    pytest.param(418, {}, (InvalidRequestError, "API_ERROR", *NO), id="418"),
    pytest.param(307, {}, (ProviderError, "API_ERROR", *NO), id="307"),
    pytest.param(200, b"<html>", (ProviderError, "API_ERROR", *NO), id="200 and no JSON"),
    pytest.param(200, {"images": []}, (ProviderError, "API_ERROR", *NO), id="200 and no image"),
]


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
def test_every_error_costs_nothing(status, body, expected):
    error = walk(reply(body, status)).fail()
    assert outcome(error) == expected
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            422,
            {"detail": [{"loc": ["body", "steps"], "msg": "not a number"}]},
            "steps: not a number",
        ),
        (500, own("", "RuntimeError", "boom"), "RuntimeError: boom"),
        (500, own("", "OutOfMemoryError", "CUDA"), "smaller size"),
        (400, own("Sampler not found"), "says: Sampler not found."),
    ],
)
def test_what_the_engine_says_is_told(status, body, words):
    assert words in walk(reply(body, status)).fail().message


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (
            [{"title": "a [1]", "model_name": "a"}, {"model_name": None}, 5, {"model_name": "b"}],
            ["a", "b"],
        ),
        ([], []),
    ],
)
def test_the_list_of_checkpoints(body, names):
    listing = list_models()
    listing.send(None)
    with pytest.raises(StopIteration) as done:
        listing.send(reply(body))
    assert [model.wire_name for model in done.value.value] == names


@pytest.mark.parametrize("answer", [reply({}, 404), reply(b"x"), reply({"a": 1})])
def test_a_list_that_is_none(answer):
    listing = list_models()
    listing.send(None)
    with pytest.raises(imagen.ImagenError):
        listing.send(answer)


# --- anything at all ----------------------------------------------------------

SAMPLES: tuple[dict[str, Any], ...] = (
    json.loads(drawn(IMAGE_BASE64, SECOND).body),
    {"html_info": "", "image": IMAGE_BASE64},
    {
        "progress": 0.4,
        "state": {"sampling_step": 8, "sampling_steps": 20},
        "current_image": IMAGE_BASE64,
    },
    own("Sampler not found"),
    {"detail": [{"loc": ["body", "steps"], "msg": "no"}]},
)
answers = http_replies(json_bodies(SAMPLES))


@given(answer=answers, count=st.integers(1, 3))
@settings(max_examples=examples(500), deadline=None)
def test_any_answer_ends_in_images_or_an_error_that_costs_nothing(answer, count):
    try:
        result = walk(answer, count=count).run()
    except imagen.ImagenError as error:
        assert error.billed == "no"
        return
    assert 1 <= len(result.images) <= count


@given(answer=answers)
@settings(max_examples=examples(300), deadline=None)
def test_any_answer_to_an_enhancement_ends_so_too(answer):
    asked = call("automatic1111", request=imagen.Enhance(image=b""), images=(input_image(),))
    try:
        Walk(PROVIDER.operations["enhance"](asked), answer).run()
    except imagen.ImagenError as error:
        assert error.billed == "no"


@given(answer=answers)
@settings(max_examples=examples(400), deadline=None)
def test_any_answer_to_how_far_it_is_shows_something_or_is_passed_over(answer):
    _, read = asked_how_far(previews=1)
    try:
        shown = read(answer)
    except imagen.ImagenError:
        return
    assert shown is None or isinstance(shown, (PartialImage, Progress))
    assert not isinstance(shown, Progress) or shown.fraction is None or 0 <= shown.fraction <= 1
