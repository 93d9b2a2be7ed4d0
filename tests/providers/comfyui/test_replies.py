"""What is made of ComfyUI's answers and of what its socket tells: every row of
the tables, and anything at all.
"""

from __future__ import annotations

import json

import pytest

import imagen
from imagen import AuthenticationError, InvalidRequestError, OutcomeUnknownError, ProviderError
from imagen.providers import (
    Cancellable,
    GeneratedImage,
    JobAccepted,
    LostImage,
    Progress,
    Wait,
)
from imagen.providers.comfyui import _adapter as comfyui
from imagen.providers.comfyui._adapter import PROVIDER
from tests.support.exchanges import IMAGE, Walk, call, input_image, mask_image, outcome, reply
from tests.support.providers.comfyui import (
    EMPTY,
    FILE,
    JOB,
    LIST,
    NO_SOCKET,
    TAKEN,
    failed,
    node_error,
    past,
    polled,
    queue,
    refused,
    walk,
)

pytestmark = pytest.mark.usefixtures("known_ids")


# --- requests -----------------------------------------------------------------


def test_a_job_is_announced_before_it_is_sent():
    made = polled(past(), FILE, seed=5)
    result = made.run()
    kinds = [type(step).__name__ for step in made.steps]
    assert kinds == [
        "HttpRequest",
        "JobAccepted",
        "Cancellable",
        "HttpRequest",
        "JobAccepted",
        "HttpRequest",
        "HttpRequest",
    ]
    assert made.steps[1] == JobAccepted(job_id=JOB, poll_url=f"history/{JOB}")
    listing, order, look, view = made.requests
    assert (listing.url, listing.repeatable) == ("models/checkpoints", True)
    assert (order.method, order.url, order.repeatable) == ("POST", "prompt", False)
    assert look.url == f"history/{JOB}"
    assert view.url == "view?filename=a+b%26c.png&subfolder=x%2Fy&type=output"
    assert view.collects
    assert result.images == (GeneratedImage(data=IMAGE, seed=5, provider_id=f"{JOB}#1"),)
    assert made.body["client_id"]
    assert made.body["prompt_id"] == JOB


def test_a_job_is_taken_out_of_the_queue_and_interrupted_when_it_runs():
    waiting, running = (
        queue(pending=[[7, "other"], [9, JOB], [8, "third"]]),
        queue(running=[[7, JOB]]),
    )
    made = polled(EMPTY, waiting, EMPTY, running, EMPTY, running, past(), FILE)
    made.run()
    stops = [step.request for step in made.steps if isinstance(step, Cancellable)]
    assert all(step.stops_bill for step in made.steps if isinstance(step, Cancellable))
    told = [(stop.url, json.loads(stop.body)) for stop in stops if stop is not None]
    assert told == [("queue", {"delete": [JOB]}), ("interrupt", {"prompt_id": JOB})]
    notes = [step.note for step in made.steps if isinstance(step, Progress)]
    assert notes == ["number 3 in the queue", "drawing", "drawing"]
    assert [step.seconds for step in made.steps if isinstance(step, Wait)] == [1.0] * 3


def test_an_id_that_the_server_chose_is_the_one_that_counts():
    made = walk(
        reply({"prompt_id": "its/own"}), EMPTY, queue(), reply({"its/own": {"outputs": {}}})
    )
    made.fail()
    assert [step.job_id for step in made.steps if isinstance(step, JobAccepted)] == [JOB, "its/own"]
    assert made.requests[2].url == "history/its%2Fown"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samper_name": "euler"}, "no samper_name"),
        ({"sampler_name": 5}, "must be a name"),
        ({"prompt_id": "x"}, "no prompt_id"),
    ],
)
def test_options_of_the_built_in_graph(options, sentence):
    made = walk(options=options)
    error = made.fail()
    assert isinstance(error, InvalidRequestError)
    assert sentence in error.message


def test_an_image_with_a_mask_keeps_its_size():
    request = imagen.Edit(prompt="x", images=(b"",), mask=b"", size="512x512")
    asked = call(
        "comfyui",
        request=request,
        images=(input_image(),),
        mask=mask_image(),
        settings={"socket": False},
    )
    uploaded = reply({"name": "n.png", "subfolder": "s", "type": "input"})
    made = Walk(PROVIDER.operations["edit"](asked), uploaded, LIST, TAKEN, past(), FILE)
    result = made.run()
    assert [change.field for change in result.adjustments] == ["size"]
    assert made.body["prompt"]["10"] == {"class_type": "LoadImage", "inputs": {"image": "s/n.png"}}
    upload = made.requests[0]
    assert (upload.url, upload.repeatable) == ("upload/image", True)
    assert b'name="overwrite"\r\n\r\ntrue' in upload.body


def test_the_same_image_has_the_same_name():
    def upload() -> bytes:
        asked = call(
            "comfyui",
            request=imagen.Enhance(image=b""),
            images=(input_image(),),
            settings={"socket": False},
        )
        made = Walk(PROVIDER.operations["enhance"](asked), EMPTY)
        made.fail()
        return made.requests[0].body

    assert upload() == upload()


@pytest.mark.parametrize(
    ("images", "options", "denoise"),
    [((), {}, 1.0), ((b"",), {}, 0.75), ((b"",), {"denoise": 0.3}, 0.3)],
)
def test_how_much_of_an_image_is_drawn_anew(images, options, denoise):
    request = imagen.Edit(prompt="x", images=images, options=options) if images else None
    asked = call(
        "comfyui",
        request=request,
        images=(input_image(),) * len(images),
        settings={"socket": False},
    )
    uploads = [reply({"name": "n.png"})] * len(images)
    made = Walk(PROVIDER.operations["edit"](asked), *uploads, LIST, TAKEN, past(), FILE)
    made.run()
    assert made.body["prompt"]["5"]["inputs"]["denoise"] == denoise


def test_an_enhancement_takes_its_own_options_only():
    request = imagen.Enhance(image=b"", options={"steps": 5})
    made = Walk(
        PROVIDER.operations["enhance"](call("comfyui", request=request, images=(input_image(),)))
    )
    assert "no steps" in made.fail().message
    assert not made.requests


def test_a_list_that_is_not_there():
    listing = comfyui.list_models()
    listing.send(None)
    with pytest.raises(ProviderError):
        listing.send(NO_SOCKET)


# --- errors -------------------------------------------------------------------

NO = (False, "no", None)
BAD = (InvalidRequestError, "INVALID_PROMPT", *NO)


ERRORS = [
    *(
        pytest.param(400, refused(kind), BAD, id=kind)
        for kind in ("no_prompt", "invalid_prompt", "missing_node_type", "prompt_no_outputs")
    ),
    *(
        pytest.param(400, node_error(kind), BAD, id=kind)
        for kind in (
            "required_input_missing",
            "value_not_in_list",
            "value_smaller_than_min",
            "value_bigger_than_max",
            "return_type_mismatch",
            "bad_linked_input",
            "invalid_input_type",
            "custom_validation_failed",
            "exception_during_validation",
        )
    ),
    pytest.param(400, {"error": "text"}, BAD, id="a text"),
    pytest.param(400, b"<html>", BAD, id="no JSON"),
    pytest.param(413, b"", BAD, id="413"),
    pytest.param(401, b"", (AuthenticationError, "AUTHENTICATION", *NO), id="401"),
    pytest.param(403, b"", (AuthenticationError, "AUTHENTICATION", *NO), id="403"),
    pytest.param(404, b"", (ProviderError, "API_ERROR", *NO), id="404"),
    pytest.param(500, b"", (ProviderError, "API_ERROR", *NO), id="500"),
    pytest.param(502, b"", (ProviderError, "API_ERROR", True, "no", None), id="502"),
    pytest.param(503, b"", (ProviderError, "API_ERROR", True, "no", None), id="503"),
    pytest.param(307, b"", (ProviderError, "API_ERROR", *NO), id="307"),
    pytest.param(200, b"<html>", (ProviderError, "API_ERROR", *NO), id="200 and no JSON"),
]


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
def test_every_way_of_not_taking_a_graph(status, body, expected):
    assert outcome(walk(reply(body, status)).fail()) == expected


def test_what_is_wrong_with_a_node_is_told():
    error = walk(reply(node_error("value_not_in_list"), 400)).fail()
    assert "CheckpointLoaderSimple: Value not in list (ckpt_name: 'x' not in [])" in error.message
    assert error.details["type"] == "prompt_outputs_failed_validation"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (
            [
                ["execution_start", {}],
                [
                    "execution_error",
                    {"node_type": "KSampler", "exception_type": "E", "exception_message": "m"},
                ],
            ],
            "KSampler: E: m.",
        ),
        ([["execution_error", {"exception_type": "torch.OutOfMemoryError"}]], "smaller size"),
        (
            [
                [
                    "execution_error",
                    {"exception_type": "torch.cuda.OutOfMemoryError", "exception_message": 5},
                ]
            ],
            "smaller size",
        ),
        ([["execution_interrupted", {}]], "interrupted"),
        ([], "does not say why"),
        ([5, [], ["execution_error"], ["execution_error", 5]], "does not say why"),
    ],
)
def test_every_way_to_fail_later_costs_nothing(messages, words):
    error = polled(failed(*messages)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", *NO)
    assert words in error.message


def images(*names: str, type: object = "output") -> dict[str, object]:
    return {"images": [{"filename": name, "subfolder": "", "type": type} for name in names]}


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        ({"9": images("a", "b")}, ["a", "b"]),
        ({"8": images("p", type="temp"), "9": images("a")}, ["a"]),
        ({"8": images("p", type="temp")}, ["p"]),
        (
            {
                "7": {"text": ["x"]},
                "9": {"images": [5, {"filename": 5}, {"filename": "a", "type": "output"}]},
            },
            ["a"],
        ),
    ],
)
def test_what_was_saved_counts_before_what_was_shown(outputs, names):
    made = polled(past(outputs), *[FILE] * 2)
    made.run()
    views = [request.url for request in made.requests if request.url.startswith("view")]
    assert [url.partition("filename=")[2].partition("&")[0] for url in views] == names


@pytest.mark.parametrize(
    "outputs", [{}, [], 5, {"9": 5}, {"9": {"images": 5}}, {"9": images("x", type="input")}]
)
def test_a_graph_that_saves_nothing(outputs):
    error = polled(past(outputs)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", *NO)
    assert "node that saves" in error.message


def test_a_file_that_is_gone_does_not_take_the_others_along():
    result = polled(past({"9": images("a", "b")}), reply(b"", 404), FILE).run()
    lost, image = result.images
    assert isinstance(lost, LostImage)
    assert isinstance(image, GeneratedImage)


def test_a_job_that_is_nowhere_is_given_up_after_five_looks():
    made = polled(*[EMPTY, queue()] * 5)
    assert outcome(made.fail()) == (ProviderError, "API_ERROR", *NO)
    assert polled(*[EMPTY, queue()] * 4, past(), FILE).run().images


@pytest.mark.parametrize(
    "bad", [(reply(b"", 500),), (reply(b"x"),), (EMPTY, reply(b"", 500)), (EMPTY, reply({}))]
)
def test_a_server_that_says_nothing_is_given_up_after_ten_looks(bad):
    error = polled(*bad * 10).fail()
    assert outcome(error)[:3] == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False)
    assert polled(*bad * 9, past(), FILE).run().images


def test_a_job_that_never_ends_is_given_up():
    error = polled(*[EMPTY, queue(running=[[1, JOB]])] * 8, settings={"poll_seconds": 600.0}).fail()
    assert isinstance(error, OutcomeUnknownError)


# --- anything at all ----------------------------------------------------------
