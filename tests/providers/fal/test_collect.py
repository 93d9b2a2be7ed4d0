"""The second half of a job of fal.ai, by a process that did not submit it."""

from __future__ import annotations

from decimal import Decimal

import imagen
from imagen import ProviderError
from imagen.providers import (
    Cancellable,
    GeneratedImage,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    fal,
)
from tests.support.exchanges import IMAGE, Walk, call, outcome, reply
from tests.support.providers.fal import COMPLETED, FILE, RESULT, mine

STATUS = "fal-ai/flux/requests/r1/status?logs=1"
STOP = HttpRequest(method="PUT", url="fal-ai/flux/requests/r1/cancel")
QUEUED = reply({"status": "IN_QUEUE", "request_id": "r1", "queue_position": 2}, 202)
RUNNING = reply({"status": "IN_PROGRESS", "request_id": "r1", "logs": []}, 202)


def collected(*responses: HttpResponse, asked: imagen.providers.Call | None = None) -> Walk:
    return Walk(
        fal.collect(asked or call("fal/flux-schnell"), JobAccepted(job_id="r1", poll_url=STATUS)),
        *responses,
    )


def free_stops(walk: Walk) -> list[bool]:
    stops = [step for step in walk.steps if isinstance(step, Cancellable)]
    assert all(step.request == STOP for step in stops)
    return [step.stops_bill for step in stops]


def test_the_result_is_found_by_the_address_of_the_status():
    walk = collected(COMPLETED, RESULT, FILE)
    result = walk.run()
    assert [request.url for request in walk.requests[:2]] == [STATUS, "fal-ai/flux/requests/r1"]
    assert result.images == (GeneratedImage(data=IMAGE, seed=42, provider_id="r1"),)
    assert result.units == Decimal(1)


def test_a_stop_is_free_only_as_long_as_the_job_is_seen_in_the_queue():
    walk = collected(QUEUED, QUEUED, RUNNING, QUEUED, COMPLETED, RESULT, FILE)
    walk.run()
    # Its state is unknown before the first poll; one that ran once may
    # have cost something.
    assert free_stops(walk) == [False, True, False]


def test_a_job_that_runs_when_it_is_looked_for_is_not_free_to_stop():
    walk = collected(RUNNING, COMPLETED, RESULT, FILE)
    walk.run()
    assert free_stops(walk) == [False]


def test_a_result_that_has_run_out_may_have_been_billed():
    error = collected(COMPLETED, reply({"detail": "Request not found"}, 404)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert "does not know the job any more" in error.message


def test_what_was_left_out_is_told_again():
    wire = {"images": ["image_url"], "strength": {"field": "strength", "low": 0.2}}
    model = mine(wire, operations=["vary"], strength=True)
    request = imagen.Vary(image=b"", strength=0.1)
    result = collected(COMPLETED, RESULT, FILE, asked=call(model, request=request)).run()
    assert [(made.field, made.asked, made.sent) for made in result.adjustments] == [
        ("strength", "0.1", "0.2")
    ]
