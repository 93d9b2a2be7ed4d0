"""The second half of a prediction of Replicate, by a process that did not
create it.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

import imagen
from imagen.providers import (
    Cancellable,
    GeneratedImage,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Wait,
    replicate,
)
from tests.support.exchanges import IMAGE, Walk, call, reply
from tests.support.providers.replicate import FILE, METRICS, RECORD, SUCCEEDED

STOP = HttpRequest(method="POST", url="predictions/p1/cancel")


def collected(*responses: HttpResponse, asked: imagen.providers.Call | None = None) -> Walk:
    accepted = JobAccepted(job_id="p1", poll_url="predictions/p1")
    return Walk(replicate.collect(asked or call("replicate/flux-schnell"), accepted), *responses)


@pytest.mark.parametrize(("status", "free"), [("starting", True), ("processing", False)])
def test_a_prediction_that_goes_on_is_waited_for(status, free):
    walk = collected(reply({**RECORD, "status": status}), SUCCEEDED, FILE)
    result = walk.run()
    wait, poll = (
        Wait(seconds=1.0, job_id="p1"),
        HttpRequest(method="GET", url="predictions/p1", repeatable=True),
    )
    stop = Cancellable(request=STOP, stops_bill=free)
    assert walk.steps[:-1] == [wait, poll, stop, Progress(note=status), wait, poll]
    assert result.images == (GeneratedImage(data=IMAGE, provider_id="p1"),)
    assert result.units == Decimal(str(METRICS["predict_time"]))


def test_images_that_were_deleted_were_billed():
    error = collected(
        reply({**RECORD, "status": "succeeded", "output": None, "data_removed": True})
    ).fail()
    assert "has deleted them" in error.message
    assert error.billed == "yes"


def test_what_was_left_out_is_told_again():
    asked = call("replicate/flux-dev", request=imagen.Vary(image=b"", aspect_ratio="16:9"))
    result = collected(SUCCEEDED, FILE, asked=asked).run()
    assert [(made.field, made.sent) for made in result.adjustments] == [("aspect_ratio", None)]
