"""Fireworks: what is sent, what its answers mean, and that it takes what is
offered.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pybase64
import pytest

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from imagen._results.prices import cost_of, quote_request
from imagen.providers import (
    GeneratedImage,
    HttpResponse,
    JobAccepted,
    Progress,
    WithheldImage,
    fireworks,
)
from imagen.testing.simulator import Withheld
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, input_image, reply
from tests.support.providers.gateways import models_of, opened, takes_everything_offered

SCHNELL, KONTEXT = "fireworks/flux-1-schnell", "fireworks/flux-kontext-pro"
ROOT = "workflows/accounts/fireworks/models"
LINK = "https://bfl.example/results/a.png"
# As recorded on 2026-04-16.
TAKEN = reply({"request_id": "d5622736-11b7-4d53-a061-29350fe7ec66"})
NOT_YET = reply(
    {
        "id": "d5622736-11b7-4d53-a061-29350fe7ec66",
        "status": "Task not found",
        "result": None,
        "progress": None,
        "details": None,
    }
)
FILE = reply(IMAGE)


def drawn(body: bytes = IMAGE, **headers: str) -> HttpResponse:
    return HttpResponse(status=200, headers={"content-type": "image/png", **headers}, body=body)


def state(status: str, result: object = None, **more: object) -> HttpResponse:
    return reply({"id": "j", "status": status, "result": result, **more})


def walk(*responses: HttpResponse, model: str = SCHNELL, **fields: Any) -> Walk:
    return Walk(fireworks.run(call(model, **fields)), *responses)


# --- the open models ----------------------------------------------------------


def test_a_drawing_is_one_request_for_the_bytes():
    walked = walk(drawn(seed="9"), output_format="png", aspect_ratio="16:9", guidance=3.5)
    result = walked.run()
    (request,) = walked.requests
    assert request.url == f"{ROOT}/flux-1-schnell-fp8/text_to_image"
    assert request.headers["accept"] == "image/png"
    assert walked.body == {
        "prompt": "a cat",
        "aspect_ratio": "16:9",
        "num_inference_steps": 4,
        "guidance_scale": 3.5,
    }
    assert result.images == (GeneratedImage(data=IMAGE, seed=9),)
    assert result.units == 4


@pytest.mark.parametrize(("steps", "usd"), [(None, "0.0014"), (1, "0.00035"), (8, "0.0028")])
def test_steps_are_what_is_billed(steps, usd):
    result = walk(drawn(), steps=steps).run()
    model, request = CATALOG.find(SCHNELL), imagen.Generate(prompt="a cat", steps=steps)
    cost = cost_of(model, request, result)
    assert (cost.usd, cost.source) == (Decimal(usd), "computed")
    quote = quote_request(model, request)
    assert quote.high_usd is not None
    assert quote.high_usd >= cost.usd


@pytest.mark.parametrize(
    "body",
    [
        {"base64": [pybase64.b64encode(IMAGE).decode()], "finishReason": "SUCCESS", "seed": 9},
        {"base64": pybase64.b64encode(IMAGE).decode(), "seed": 9},
        {"id": "x", "base64": [pybase64.b64encode(IMAGE).decode()] * 2, "seed": 9},
    ],
)
def test_an_image_in_json_is_read_too(body):
    assert walk(reply(body)).run().images == (GeneratedImage(data=IMAGE, seed=9),)


@pytest.mark.parametrize(
    "response",
    [
        drawn(b"", **{"finish-reason": "CONTENT_FILTERED"}),
        drawn(b"black", **{"finish-reason": "content_filtered"}),
        reply({"base64": [], "finishReason": "CONTENT_FILTERED"}),
    ],
)
def test_a_filtered_image_is_withheld_and_billed(response):
    (image,) = walk(response).run().images
    assert isinstance(image, WithheldImage)
    assert image.billed


@pytest.mark.parametrize("response", [drawn(b""), reply({"base64": []}), reply({"base64": None})])
def test_a_reply_without_an_image_was_billed(response):
    assert walk(response).fail().billed == "yes"


# --- jobs ---------------------------------------------------------------------


def test_a_job_is_asked_for_by_post_until_it_is_known_and_ready():
    ready = state("Ready", {"sample": LINK, "seed": 5})
    walked = walk(TAKEN, NOT_YET, state("Pending", progress=0.5), ready, FILE, model=KONTEXT)
    (image,) = walked.run().images
    create, *polls, file = walked.requests
    assert create.url == f"{ROOT}/flux-kontext-pro"
    assert {(poll.method, poll.url, poll.repeatable) for poll in polls} == {
        ("POST", f"{ROOT}/flux-kontext-pro/get_result", True)
    }
    job_id = "d5622736-11b7-4d53-a061-29350fe7ec66"
    assert json.loads(polls[0].body) == {"id": job_id}
    assert JobAccepted(job_id=job_id, poll_url=polls[0].url) in walked.steps
    assert Progress(fraction=0.5, note="pending") in walked.steps
    assert file.url == LINK
    assert image == GeneratedImage(data=IMAGE, seed=5, provider_id=job_id)


@pytest.mark.parametrize("word", ["Done", "READY!", "succeded", "x"])
def test_an_image_with_a_word_that_is_not_known_is_there(word):
    walked = walk(TAKEN, state(word, {"sample": LINK}), FILE, model=KONTEXT)
    (image,) = walked.run().images
    assert image.data == IMAGE


@pytest.mark.parametrize(
    "result",
    [
        {"sample": LINK},
        {"url": LINK},
        LINK,
        {"sample": pybase64.b64encode(IMAGE).decode()},
        {"sample": f"data:image/png;base64,{pybase64.b64encode(IMAGE).decode()}"},
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_image_is_found_in_every_form(result):
    (image,) = walk(TAKEN, state("Ready", result), FILE, model=KONTEXT).run().images
    assert isinstance(image, GeneratedImage)
    assert image.data == IMAGE


def test_an_edit_sends_its_image():
    request = imagen.Edit(prompt="a hat", images=("x",), safety="strict", output_format="png")
    walked = Walk(
        fireworks.run(call(KONTEXT, request=request, images=(input_image(),))),
        TAKEN,
        state("Ready", {"sample": LINK}),
        FILE,
    )
    walked.run()
    body = json.loads(walked.requests[0].body)
    assert body.pop("input_image").startswith("data:image/png;base64,")
    assert body == {"prompt": "a hat", "output_format": "png", "safety_tolerance": 0}


@pytest.mark.parametrize(
    ("responses", "kind", "said"),
    [
        ([NOT_YET] * 11, ProviderError, "does not know"),
        ([state("Request Moderated")], ContentFilterError, "request moderated"),
        ([state("Content Moderated")], ContentFilterError, "content moderated"),
        ([state("Error", details="Broken")], ProviderError, "Broken"),
        ([state("Failed")], ProviderError, "does not say why"),
    ],
)
def test_a_job_that_ends_without_an_image_may_be_billed(responses, kind, said):
    error = walk(TAKEN, *responses, model=KONTEXT).fail()
    assert isinstance(error, kind)
    assert error.billed == "unknown"
    assert said in error.message


@pytest.mark.parametrize("result", [None, {}, {"sample": None}, {"sample": ""}, [], 3])
def test_a_job_without_a_link_was_billed(result):
    assert walk(TAKEN, state("Ready", result), model=KONTEXT).fail().billed == "yes"


@pytest.mark.parametrize("body", [{}, {"request_id": 3}, {"request_id": None}, b"{"])
def test_a_job_without_an_id_may_be_billed(body):
    assert walk(reply(body), model=KONTEXT).fail().billed == "unknown"


# --- errors and the whole -----------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (400, {"error": {"message": "Not so"}}, InvalidRequestError, False),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "Not so"}]}, InvalidRequestError, False),
        (400, {"error": {"message": "Not so: safety checker"}}, ContentFilterError, False),
        (401, {"error": "Not so"}, AuthenticationError, False),
        (402, {"message": "Not so"}, QuotaExceededError, False),
        (404, {"detail": "Not so"}, ModelNotFoundError, False),
        (412, {"error": {"message": "Not so"}}, QuotaExceededError, False),
        (429, {"error": {"message": "Not so"}}, RateLimitError, True),
        (503, {"error": {"message": "Not so"}}, ProviderError, True),
    ],
)
def test_a_refusal_has_its_class_and_its_words(status, body, kind, retryable):
    for model in (SCHNELL, KONTEXT):
        error = walk(reply(body, status), model=model).fail()
        assert (type(error), error.billed, error.retryable) == (kind, "no", retryable)
        assert "Not so" in error.message


@pytest.mark.parametrize("model", models_of("fireworks"))
async def test_the_provider_takes_everything_that_the_catalog_offers(tmp_path, model):
    await takes_everything_offered(tmp_path, model)


async def test_an_image_that_is_withheld_is_paid(tmp_path):
    async with opened(tmp_path, faults=Withheld()) as (client, simulator):
        with pytest.raises(ContentFilterError):
            await client.generate("a cat", model=SCHNELL)
        assert (await client.spending()).settled_usd == simulator.billed_usd == Decimal("0.0014")
