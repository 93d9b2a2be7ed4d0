"""The second half of a generation of Ideogram, by a process that did not submit
it.
"""

from __future__ import annotations

from decimal import Decimal

import imagen
from imagen.providers import (
    GeneratedImage,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    Wait,
    ideogram,
)
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, reply
from tests.support.providers.ideogram import COMPLETED, FILE, MODELS, ONE, edited

URL = "v2/generations/g1"
PROCESSING = reply({"generation_id": "g1", "status": "processing"})


def collected(asked: imagen.providers.Call, *responses: HttpResponse) -> Walk:
    return Walk(ideogram.collect(asked, JobAccepted(job_id="g1", poll_url=URL)), *responses)


def test_a_generation_that_goes_on_is_waited_for():
    walk = collected(call("ideogram-4"), PROCESSING, COMPLETED, FILE)
    result = walk.run()
    wait, poll = Wait(seconds=3.0, job_id="g1"), HttpRequest(method="GET", url=URL, repeatable=True)
    assert walk.steps[:-1] == [wait, poll, Progress(note="processing"), wait, poll]
    assert result.images == (GeneratedImage(data=IMAGE, seed=7, provider_id="g1"),)
    assert result.reported_cost_usd == Decimal("0.06")


def test_what_was_left_out_is_told_again():
    """Also of an edit whose mask is not at hand any more."""
    model = next(id for id in MODELS if CATALOG.find(id).wire.get("size_with_mask") is False)
    sent = edited(
        model, ONE, masked=True, prompt="a cat", size=CATALOG.find(model).capabilities.sizes[0]
    )
    result = collected(
        imagen.providers.Call(request=sent.request, model=sent.model, settings=sent.settings),
        COMPLETED,
        FILE,
    ).run()
    assert [(made.field, made.sent) for made in result.adjustments] == [("size", None)]
