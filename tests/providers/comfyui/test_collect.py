"""What another process knows of a job of ComfyUI: where it stands, and what was
ordered.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

import imagen
from imagen import Adjustment
from imagen.providers import Cancellable, GeneratedImage, HttpResponse, JobAccepted, Progress, Wait
from imagen.providers.comfyui import _adapter as comfyui
from tests.support.exchanges import IMAGE, Walk, call, input_image, reply
from tests.support.providers.comfyui import EMPTY, FILE, JOB, LIST, TAKEN, past, queue

DONE = past()


def collected(*responses: HttpResponse, **more: Any) -> Walk:
    return Walk(
        comfyui.collect(
            call("comfyui", **more), JobAccepted(job_id=JOB, poll_url=f"history/{JOB}")
        ),
        *responses,
    )


def past_of(extra: object) -> HttpResponse:
    """A job in the past, as the server tells what was ordered."""
    history = json.loads(DONE.body)
    history[JOB]["prompt"][3] = extra
    return reply(history)


def ordered(walk: Walk) -> Any:
    """The extra data of an order."""
    walk.run()
    return next(json.loads(request.body) for request in walk.requests if request.url == "prompt")[
        "extra_data"
    ]


def test_the_seed_that_was_chosen_is_found_again():
    drawn = Walk(
        comfyui.PROVIDER.operations["generate"](call("comfyui", settings={"socket": False})),
        *(LIST, TAKEN, DONE, FILE),
    )
    extra = ordered(drawn)
    (image,) = collected(past_of(extra), FILE).run().images
    assert image == GeneratedImage(data=IMAGE, seed=extra["imagen"]["seed"], provider_id=f"{JOB}#1")


def test_so_is_what_was_left_out():
    request = imagen.Enhance(
        image=b"", prompt="a cat", options={"upscaler": "x", "extra_data": {"mine": 1}}
    )
    asked = call("comfyui", request=request, images=(input_image(),), settings={"socket": False})
    walk = Walk(comfyui.enhance(asked), *(reply({"name": "a.png"}), TAKEN, DONE, FILE))
    extra = ordered(walk)
    assert extra["mine"] == 1
    (made,) = collected(past_of(extra), FILE).run().adjustments
    assert isinstance(made, Adjustment)
    assert (made.field, made.asked, made.sent) == ("prompt", "a cat", None)


def test_extra_data_that_is_none_is_left_to_the_server():
    asked = call("comfyui", settings={"socket": False}, options={"extra_data": "mine"})
    assert (
        ordered(Walk(comfyui.PROVIDER.operations["generate"](asked), *(LIST, TAKEN, DONE, FILE)))
        == "mine"
    )


@pytest.mark.parametrize(
    "extra",
    [None, [], {}, {"imagen": 5}, {"imagen": {"seed": "x"}}, {"imagen": {"seed": 2**70}}],
    ids=str,
)
def test_a_note_that_is_none_loses_no_image(extra):
    assert collected(past_of(extra), FILE).run().images == (
        GeneratedImage(data=IMAGE, provider_id=f"{JOB}#1"),
    )


def test_a_job_that_goes_on_is_waited_for_and_can_be_stopped():
    walk = collected(EMPTY, queue(pending=[[1, JOB]]), EMPTY, queue(running=[[1, JOB]]), DONE, FILE)
    assert walk.run().images
    stops = [
        step.request.url
        for step in walk.steps
        if isinstance(step, Cancellable) and step.request is not None
    ]
    assert stops == ["queue", "interrupt"]
    assert [step.note for step in walk.steps if isinstance(step, Progress)] == [
        "number 1 in the queue",
        "drawing",
    ]
    assert {step.job_id for step in walk.steps if isinstance(step, Wait)} == {JOB}
    assert not any(request.method == "POST" for request in walk.requests)


@pytest.mark.parametrize(
    ("first", "sentence"),
    [((), "never arrived"), ((EMPTY, queue(running=[[1, JOB]])), "taken out of the queue")],
    ids=["never", "gone"],
)
def test_a_job_that_is_nowhere_costs_nothing(first, sentence):
    error = collected(*first, *(EMPTY, queue()) * 5).fail()
    assert sentence in error.message
    assert (type(error), error.billed) == (imagen.ProviderError, "no")
