"""Answers of Stability AI: bytes, JSON, jobs, errors, and anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    ModelNotFoundError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from imagen._results.prices import cost_of
from imagen.providers import (
    GeneratedImage,
    GeneratedImages,
    HttpResponse,
    Wait,
    WithheldImage,
    stability,
)
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    IMAGE_BASE64,
    Walk,
    call,
    outcome,
    recorded,
    reply,
)
from tests.support.lengths import examples
from tests.support.providers.stability_replies import FIRST, JOB, MADE, WAITING, walk
from tests.support.reply_strategies import bodies, mutated, statuses, wrong_fields

CREATIVE = imagen.Enhance(image=b"", prompt="a cat")
TAKEN = reply({"id": JOB})


def job(*responses: HttpResponse, **fields: Any) -> Walk:
    sent = call("stability/upscale-creative", request=CREATIVE, images=(FIRST,), **fields)
    return Walk(stability.draw(sent), *responses)


def answer(body: object, status: int = 200, **headers: str) -> HttpResponse:
    return reply(body, status, **{"content_type": "application/json; type=image/png", **headers})


IN_JSON = answer({"image": IMAGE_BASE64, "finish_reason": "SUCCESS", "seed": 7})


# --- images -------------------------------------------------------------------


@pytest.mark.parametrize("response", [MADE, IN_JSON], ids=["bytes", "json"])
def test_bytes_and_json_give_the_same(response):
    expected = GeneratedImages(images=(GeneratedImage(data=IMAGE, seed=7),))
    assert walk("stable-image-core", response).run() == expected
    assert job(TAKEN, response).run() == expected


@pytest.mark.parametrize("seed", ["", "x", "-1", "99999999999", "12345678901234567890", "\u0663"])
def test_a_seed_that_is_none_does_not_lose_the_image(seed):
    response = HttpResponse(status=200, headers={**MADE.headers, "seed": seed}, body=IMAGE)
    assert walk("stable-image-core", response).run().images == (GeneratedImage(data=IMAGE),)


@pytest.mark.parametrize("seed", [None, "7", True, -1, 2**70, 1.5])
def test_nor_does_one_in_json(seed):
    response = answer({"image": IMAGE_BASE64, "seed": seed})
    assert walk("stable-image-core", response).run().images == (GeneratedImage(data=IMAGE),)


BLURRED = (
    HttpResponse(
        status=200,
        headers={"content-type": "image/png", "finish-reason": "CONTENT_FILTERED"},
        body=IMAGE,
    ),
    answer({"image": IMAGE_BASE64, "finish_reason": "CONTENT_FILTERED", "seed": 7}),
)


@pytest.mark.parametrize("response", BLURRED, ids=["bytes", "json"])
@pytest.mark.parametrize(("charges", "usd"), [(True, "0.03"), (False, "0")])
def test_a_blurred_image_is_withheld_with_its_cost(response, charges, usd):
    result = walk("stable-image-core", response, settings={"charges_for_blurred": charges}).run()
    (withheld,) = result.images
    assert isinstance(withheld, WithheldImage)
    assert "CONTENT_FILTERED" in withheld.reason
    assert (
        str(cost_of(CATALOG.find("stable-image-core"), imagen.Generate(prompt="x"), result).usd)
        == usd
    )


@pytest.mark.parametrize(
    "body", [{"finish_reason": "SUCCESS"}, {"image": None}, {"image": 7}, {"image": "*"}], ids=str
)
def test_json_without_an_image_was_paid(body):
    assert walk("stable-image-core", answer(body)).fail().billed == "yes"


# --- jobs ---------------------------------------------------------------------


def test_a_job_is_asked_for_at_the_pace_of_the_settings():
    walked = job(TAKEN, WAITING, WAITING, MADE, settings={"poll_seconds": 0.5})
    walked.run()
    assert [step.seconds for step in walked.steps if isinstance(step, Wait)] == [0.5] * 3


@pytest.mark.parametrize("id", ["", "../../v1/user/balance", "a b", 7, ["x"]], ids=str)
def test_an_id_that_is_none_is_not_followed(id):
    walked = job(reply({"id": id}))
    error = walked.fail()
    assert error.billed == "unknown"
    assert len(walked.requests) == 1


def test_a_job_without_an_end_is_given_up_after_an_hour():
    walked = job(TAKEN, *[WAITING] * 1000)
    error = walked.fail()
    assert isinstance(error, OutcomeUnknownError)
    assert sum(step.seconds for step in walked.steps if isinstance(step, Wait)) == 3600
    assert error.details == {"job_id": JOB, "poll_url": f"v2beta/results/{JOB}"}


def test_who_asks_too_often_waits_a_minute():
    walked = job(TAKEN, reply({}, 429), MADE)
    assert walked.run().images
    assert [step.seconds for step in walked.steps if isinstance(step, Wait)] == [10.0, 60.0]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_some_outages_of_the_results_are_sat_out(status):
    assert job(TAKEN, *[reply({}, status)] * 9, MADE).run().images
    error = job(TAKEN, *[reply({}, status)] * 10, MADE).fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)


def test_a_job_that_ran_out_may_be_billed():
    error = job(TAKEN, WAITING, reply(problem("generation_not_found"), 404)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert "does not know the job" in error.message


def problem(name: str, *errors: str, **more: object) -> dict[str, object]:
    return {"id": "abc", "name": name, "errors": list(errors or ("It is wrong.",)), **more}


FLAGGED = problem(
    "content_moderation", "Your request was flagged, was denied and you were not charged."
)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            404,
            problem("generation_not_found"),
            (ProviderError, "API_ERROR", False, "unknown", None),
        ),
        (403, FLAGGED, (ContentFilterError, "CONTENT_FILTER", False, "no", None)),
        (
            403,
            problem("content_moderation"),
            (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        ),
        (401, problem("unauthorized"), (ProviderError, "API_ERROR", False, "unknown", None)),
        (418, b"", (ProviderError, "API_ERROR", False, "unknown", None)),
    ],
)
def test_a_job_that_was_taken_may_be_billed_whatever_comes_then(status, body, expected):
    assert outcome(job(TAKEN, WAITING, reply(body, status)).fail()) == expected


# --- errors -------------------------------------------------------------------

BAD_FIELD = (InvalidRequestError, "API_ERROR", False, "no", None)
BAD_PROMPT = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
NO_ENTRY = (AuthenticationError, "AUTHENTICATION", False, "no", None)
NO_MONEY = (QuotaExceededError, "QUOTA", False, "no", None)
REFUSED = (ContentFilterError, "CONTENT_FILTER", False, "no", None)
NO_MODEL = (ModelNotFoundError, "API_ERROR", False, "no", None)
BUSY = (RateLimitError, "RATE_LIMIT", True, "no", 60.0)
OUTAGE = (ProviderError, "API_ERROR", True, "unknown", None)
FAILED = (ProviderError, "API_ERROR", True, "no", None)
ERRORS = [
    pytest.param(
        400, problem("bad_request", "cfg_scale: must be at most 10"), BAD_FIELD, id="400 field"
    ),
    pytest.param(
        400, problem("bad_request", "prompt: cannot be empty"), BAD_PROMPT, id="400 prompt"
    ),
    pytest.param(400, problem("bad_request", "image: too many pixels"), BAD_PROMPT, id="400 image"),
    pytest.param(401, problem("unauthorized"), NO_ENTRY, id="401"),
    pytest.param(401, {"message": "Unauthorized"}, NO_ENTRY, id="401 proxy"),
    pytest.param(402, problem("payment_required"), NO_MONEY, id="402"),
    pytest.param(402, b"", NO_MONEY, id="402 empty"),
    pytest.param(403, problem("payment_required"), NO_MONEY, id="403 payment"),
    pytest.param(403, problem("content_moderation"), REFUSED, id="403 moderation"),
    pytest.param(403, problem("forbidden"), NO_ENTRY, id="403 other"),
    pytest.param(404, problem("generation_not_found"), NO_MODEL, id="404"),
    pytest.param(413, problem("payload_too_large"), BAD_PROMPT, id="413"),
    pytest.param(422, problem("invalid_language"), BAD_PROMPT, id="422 language"),
    pytest.param(422, problem("public_figure"), REFUSED, id="422 figure"),
    pytest.param(422, problem("unprocessable"), BAD_PROMPT, id="422 other"),
    pytest.param(429, problem("rate_limit_exceeded"), BUSY, id="429"),
    pytest.param(429, b"<html>", BUSY, id="429 proxy"),
    pytest.param(500, problem("internal_error"), FAILED, id="500"),
    pytest.param(500, b"<html>", OUTAGE, id="500 proxy"),
    pytest.param(502, problem("internal_error"), OUTAGE, id="502"),
    pytest.param(503, problem("internal_error"), FAILED, id="503"),
    pytest.param(504, b"", OUTAGE, id="504"),
    pytest.param(302, b"", (ProviderError, "API_ERROR", False, "unknown", None), id="302"),
    pytest.param(202, b"", (ProviderError, "API_ERROR", False, "unknown", None), id="202"),
]


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
def test_each_error_has_its_class(status, body, expected):
    assert outcome(walk("stable-image-core", reply(body, status)).fail()) == expected
    assert outcome(job(reply(body, status)).fail()) == expected


def test_what_the_service_says_is_told():
    error = walk("stable-image-core", reply(problem("bad_request", "a: b", "c: d"), 400)).fail()
    assert error.message == "Stability AI does not take this request. a: b c: d."
    assert error.details["name"] == "bad_request"
    older = reply(
        {"id": "x", "name": "unauthorized", "message": "missing authorization header"}, 401
    )
    assert "missing authorization header" in walk("stable-image-core", older).fail().message


@pytest.mark.parametrize(("case", "expected"), [(0, REFUSED), (1, NO_MONEY)])
def test_recorded_errors_have_their_class(case, expected):
    response = recorded("errors.json", "stability")["cases"][case]["response"]
    error = walk("stable-image-core", reply(response["body"], response["status"])).fail()
    assert outcome(error) == expected
    assert response["body"]["errors"][0].rstrip(".") in error.message


# --- anything at all ----------------------------------------------------------

SAMPLES = ({"image": IMAGE_BASE64, "finish_reason": "SUCCESS", "seed": 7}, {"id": JOB}, FLAGGED)
content_types = st.sampled_from(
    ["application/json", "application/json; type=image/png", "image/png", "text/html", "", "\x00"]
)
headers = st.fixed_dictionaries(
    {"content-type": content_types},
    optional={
        "finish-reason": st.text(max_size=20) | st.just("CONTENT_FILTERED"),
        "seed": st.text(max_size=20),
    },
)
replies = st.builds(
    HttpResponse,
    status=statuses | st.just(202),
    headers=headers,
    body=bodies
    | wrong_fields(SAMPLES)
    | mutated(tuple(json.dumps(sample).encode() for sample in SAMPLES)),
)


def ends_well(walked: Walk) -> None:
    try:
        result = walked.run()
    except imagen.ImagenError as error:
        assert error.billed in ("yes", "no", "unknown")
        assert error.message
    else:
        (image,) = result.images
        assert isinstance(image, WithheldImage) or isinstance(image.data, bytes)


@given(response=replies)
@settings(max_examples=examples(400), deadline=None)
def test_any_answer_ends_in_an_image_or_an_error_of_ours(response):
    ends_well(walk("stable-image-core", response, *[MADE] * 3))


@given(responses=st.lists(replies, min_size=1, max_size=4))
@settings(max_examples=examples(200), deadline=None)
def test_any_result_of_a_job_ends_in_an_image_or_an_error_of_ours(responses):
    walked = job(TAKEN, *responses, *[MADE] * 400)
    ends_well(walked)
