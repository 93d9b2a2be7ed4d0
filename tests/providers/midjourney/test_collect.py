"""Tasks of Midjourney servers that another process collects: it fetches what
was ordered, and orders nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

import imagen
from imagen.providers import GeneratedImage, HttpRequest, HttpResponse, JobAccepted, Progress, Wait
from imagen.providers.midjourney import _adapter as midjourney
from tests.support.exchanges import IMAGE, Walk, call, mask_image, outcome, reply
from tests.support.providers.midjourney import BUTTONS, DONE, FILE, IMAGE_INPUT, TAKEN, TASK

URL = f"mj/task/{TASK}/fetch"
WORKING = reply({"id": TASK, "status": "IN_PROGRESS", "progress": "45%"})
ASKS = reply({"status": "MODAL"})
EDIT = imagen.Edit(prompt="a hat", images=(b"",), mask=b"")
VARY = imagen.Vary(image=b"", prompt="bluer", options={"task_id": "5", "index": 2})
ENHANCE = imagen.Enhance(image=b"", mode="creative", options={"task_id": "5", "index": 2})


def collected(
    request: imagen.Request | None, *responses: HttpResponse, url: str = URL, **more: Any
) -> Walk:
    accepted = JobAccepted(job_id=TASK, poll_url=url)
    return Walk(
        midjourney.collect(call("midjourney", request=request, **more), accepted), *responses
    )


def accepted_by(exchange: imagen.providers.Exchange, *responses: HttpResponse) -> list[JobAccepted]:
    walk = Walk(exchange, *responses)
    walk.run()
    return [step for step in walk.steps if isinstance(step, JobAccepted)]


def test_a_task_that_goes_on_is_waited_for():
    walk = collected(None, WORKING, DONE, FILE, seed=5)
    result = walk.run()
    poll = HttpRequest(method="GET", url=URL, repeatable=True)
    wait = Wait(seconds=3.0, job_id=TASK)
    assert walk.steps[1:6] == [wait, poll, Progress(fraction=0.45, note="in progress"), wait, poll]
    assert result.images == (GeneratedImage(data=IMAGE, seed=5, provider_id=TASK),)


def test_flags_that_counted_are_told_again():
    (made,) = (
        collected(None, DONE, FILE, prompt="x --ar 1:1", aspect_ratio="16:9").run().adjustments
    )
    assert (made.field, made.sent) == ("aspect_ratio", None)


@pytest.mark.parametrize("request_", [EDIT, VARY], ids=["edit", "vary"])
def test_a_task_that_still_waits_for_words_gets_none(request_):
    walk = collected(request_, ASKS)
    assert outcome(walk.fail()) == (imagen.ProviderError, "API_ERROR", False, "unknown", None)
    assert {request.method for request in walk.requests} == {"GET"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [(EDIT, "mask"), (VARY, "prompt"), (ENHANCE, "mode")],
    ids=["edit", "vary", "enhance"],
)
def test_an_order_that_stopped_half_way_says_what_is_lacking(request_, field):
    walk = collected(request_, DONE, FILE)
    assert [(made.field, made.sent) for made in walk.run().adjustments] == [(field, None)]
    assert {request.method for request in walk.requests} == {"GET"}


@pytest.mark.parametrize("request_", [EDIT, VARY, ENHANCE], ids=["edit", "vary", "enhance"])
def test_an_order_that_was_complete_lacks_nothing(request_):
    parent = reply(
        {
            "status": "SUCCESS",
            "buttons": [*BUTTONS, {"customId": "c", "label": "Upscale (Creative)"}],
        }
    )
    asked = call("midjourney", request=request_, images=(IMAGE_INPUT,), mask=mask_image())
    match request_:
        case imagen.Edit():
            told = accepted_by(midjourney.edit(asked), TAKEN, ASKS, TAKEN, DONE, FILE)
        case imagen.Vary():
            told = accepted_by(midjourney.vary(asked), parent, TAKEN, ASKS, TAKEN, DONE, FILE)
        case _:
            told = accepted_by(midjourney.enhance(asked), parent, TAKEN, parent, TAKEN, DONE, FILE)
    assert [step.job_id for step in told] == [TASK, TASK]
    # A task that was answered may say for a moment that it asks.
    first = ASKS if not isinstance(request_, imagen.Enhance) else WORKING
    walk = collected(request_, first, DONE, FILE, url=told[-1].poll_url)
    assert not walk.run().adjustments
    assert walk.requests[0].url == URL
