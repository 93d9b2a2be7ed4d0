"""The second half of a job of Black Forest Labs, by a process that did not
submit it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import imagen
from imagen.providers import (
    GeneratedImage,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Wait,
    bfl,
)
from tests.support.exchanges import IMAGE, Walk, call, reply
from tests.support.providers.bfl import FILE, POLL, READY

PENDING = reply({"id": "a1", "status": "Pending", "progress": 0.4})
ACCEPTED = JobAccepted(job_id="a1", poll_url=POLL, reported_cost_usd=Decimal("0.03"))


def collected(
    asked: imagen.providers.Call, *responses: HttpResponse, accepted: JobAccepted = ACCEPTED
) -> Walk:
    return Walk(bfl.collect(asked, accepted), *responses)


def test_a_job_that_goes_on_is_waited_for_and_costs_what_its_submission_said():
    walk = collected(call("flux-2-pro"), PENDING, READY, FILE)
    result = walk.run()
    wait, poll = (
        Wait(seconds=1.0, job_id="a1"),
        HttpRequest(method="GET", url=POLL, repeatable=True),
    )
    assert walk.steps[:-1] == [wait, poll, Progress(fraction=0.4, note="Pending"), wait, poll]
    assert result.images == (GeneratedImage(data=IMAGE, seed=42, provider_id="a1"),)
    assert result.reported_cost_usd == Decimal("0.03")


@pytest.mark.parametrize("status", ["Done", "READY!", "Succeeded", "x"])
def test_an_image_with_a_status_that_is_not_known_is_there(status):
    ready = reply({"id": "a1", "status": status, "result": {"sample": "https://x.example/a.png"}})
    (image,) = collected(call("flux-2-pro"), PENDING, ready, FILE).run().images
    assert image.data == IMAGE


def test_a_cost_that_the_result_tells_is_the_later_word():
    ready = reply(
        {
            "id": "a1",
            "status": "Ready",
            "cost": 5.0,
            "result": {"sample": "https://x.example/a.png"},
        }
    )
    assert collected(call("flux-2-pro"), ready, FILE).run().reported_cost_usd == Decimal("0.05")


def test_what_was_left_out_is_told_again():
    request = imagen.Edit(prompt="a cat", images=(b"",), mask=b"")
    result = collected(call("bfl/erase", request=request), READY, FILE).run()
    assert [(made.field, made.sent) for made in result.adjustments] == [("prompt", None)]


def test_a_prompt_of_ours_is_no_revised_one():
    request = imagen.Restyle(image=b"", reference=b"", prompt="in oil")

    def told(prompt: str) -> Any:
        ready = reply(
            {
                "id": "a1",
                "status": "Ready",
                "result": {"sample": "https://x.example/a", "prompt": prompt},
            }
        )
        (image,) = collected(call("flux-2-pro", request=request), ready, FILE).run().images
        assert isinstance(image, GeneratedImage)
        return image.revised_prompt

    assert told("Redraw image 1 in the style of image 2. Keep what image 1 shows. in oil") is None
    assert told("a cat in oil") == "a cat in oil"
