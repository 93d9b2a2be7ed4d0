"""What is made of Replicate's answers: recorded ones, every row of the tables,
and anything at all.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pybase64
import pytest

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
from imagen.providers import HttpResponse, LostImage, Progress
from tests.support.exchanges import IMAGE, outcome, recorded, reply
from tests.support.providers.replicate import (
    CREATED,
    FILE,
    INVALID,
    LINK,
    RECORD,
    SCHNELL,
    SUCCEEDED,
    THROTTLED,
    walk,
)

BY_THE_SECOND = msgspec.structs.replace(
    SCHNELL, price=imagen.providers.Price(usd_per_unit=Decimal("0.001"))
)


def record(**more: object) -> HttpResponse:
    return reply({**RECORD, **more})


def failed(text: object, **more: Any) -> imagen.ImagenError:
    return walk(CREATED, record(status="failed", error=text), **more).fail()


def answer(name: str) -> HttpResponse:
    response = recorded(name, "replicate")["response"]
    return reply(response["body"], response["status"])


# --- recorded -----------------------------------------------------------------


def test_a_recorded_prediction_gives_its_image():
    job = walk(answer("create_starting.json"), answer("get_succeeded.json"), FILE)
    result = job.run()
    assert [request.url for request in job.requests[1:]] == [
        "predictions/azaq55dbukgxg6kubr4k6g3pby",
        "https://replicate.delivery/pbxt/gDoc64M9pRaQNdZb0evCRgm57WZJ5BKi0T5kzV6qm2tGmd8IA/out-0.png",
    ]
    (image,) = result.images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert (image.data, image.provider_id) == (IMAGE, "azaq55dbukgxg6kubr4k6g3pby")
    assert result.units == Decimal("5.524512")


def test_a_recorded_log_says_how_far_it_is():
    body = recorded("get_succeeded.json", "replicate")["response"]["body"]
    cut = body["logs"].index(" 46%")
    running = reply({**body, "status": "processing", "output": None, "logs": body["logs"][:cut]})
    job = walk(answer("create_starting.json"), running, answer("get_succeeded.json"), FILE)
    job.run()
    assert Progress(fraction=0.42, note="processing") in job.steps


def test_a_recorded_answer_that_runs_and_has_its_output_is_asked_for_once_more():
    """The image may not be the last: with its end it is as recorded, a data:
    URL.
    """
    created = recorded("blocking_201_processing_with_output.json", "replicate")["response"]["body"]
    job = walk(reply(created, 201), reply({**created, "status": "succeeded"}))
    (image,) = job.run().images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert image.data == pybase64.b64decode(created["output"][0].partition(",")[2])
    assert len(job.requests) == 2


def test_a_recorded_cancellation():
    error = walk(answer("create_starting.json"), answer("cancel_canceled.json")).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert "canceled" in error.message


@pytest.mark.parametrize(
    ("name", "expected", "said"),
    [
        (
            "error_401.json",
            (AuthenticationError, "AUTHENTICATION", False, "no", None),
            "valid authentication token",
        ),
        (
            "error_422_version.json",
            (ModelNotFoundError, "API_ERROR", False, "no", None),
            "does not exist",
        ),
    ],
)
def test_a_recorded_error_has_its_class(name, expected, said):
    error = walk(answer(name)).fail()
    assert outcome(error) == expected
    assert said in error.message


# --- every row of the tables --------------------------------------------------

UNCLEAR = (ProviderError, "API_ERROR", True, "unknown", None)
REFUSALS: dict[str, tuple[int, object, dict[str, str], tuple[Any, ...]]] = {
    "401": (
        401,
        {"title": "Unauthenticated"},
        {},
        (AuthenticationError, "AUTHENTICATION", False, "no", None),
    ),
    "402 credit": (
        402,
        {"title": "Insufficient credit"},
        {},
        (QuotaExceededError, "QUOTA", False, "no", None),
    ),
    "402 limit": (
        402,
        {"detail": "Monthly spend limit."},
        {},
        (QuotaExceededError, "QUOTA", False, "no", None),
    ),
    "403": (403, {"detail": "No."}, {}, (AuthenticationError, "AUTHENTICATION", False, "no", None)),
    "404": (404, {"detail": "No."}, {}, (ModelNotFoundError, "API_ERROR", False, "no", None)),
    "422 field": (422, INVALID, {}, (InvalidRequestError, "INVALID_PROMPT", False, "no", None)),
    "422 version": (
        422,
        {"title": "Invalid version or not permitted"},
        {},
        (ModelNotFoundError, "API_ERROR", False, "no", None),
    ),
    "400": (400, {"detail": "?"}, {}, (InvalidRequestError, "INVALID_PROMPT", False, "no", None)),
    "409": (409, {"detail": "?"}, {}, (InvalidRequestError, "API_ERROR", False, "no", None)),
    "429 words": (429, THROTTLED, {}, (RateLimitError, "RATE_LIMIT", True, "no", 30.0)),
    "429 header": (
        429,
        THROTTLED,
        {"retry_after": "9"},
        (RateLimitError, "RATE_LIMIT", True, "no", 9.0),
    ),
    "429 reset": (
        429,
        {},
        {"ratelimit_reset": "4"},
        (RateLimitError, "RATE_LIMIT", True, "no", 4.0),
    ),
    "429": (
        429,
        b"",
        {"ratelimit_reset": "soon"},
        (RateLimitError, "RATE_LIMIT", True, "no", None),
    ),
    "301": (301, b"", {}, (ProviderError, "API_ERROR", False, "no", None)),
    "408": (408, b"", {}, UNCLEAR),
    "500": (500, {"detail": "Oops."}, {}, UNCLEAR),
    "502": (502, b"<html>", {}, UNCLEAR),
    "503": (503, b"", {}, (ProviderError, "API_ERROR", True, "no", None)),
    "504": (504, b"", {}, UNCLEAR),
}


@pytest.mark.parametrize(
    ("status", "body", "more", "expected"), REFUSALS.values(), ids=REFUSALS.keys()
)
def test_a_creation_that_is_refused_has_its_class(status, body, more, expected):
    assert outcome(walk(reply(body, status, **more)).fail()) == expected


def test_a_refusal_names_the_fields():
    message = walk(reply(INVALID, 422)).fail().message
    assert (
        "Input validation failed: - input.seed: Invalid type: input.seed Expected: integer."
        in message
    )


FILTERED = (ContentFilterError, "CONTENT_FILTER", False, "unknown", None)
AGAIN = (ProviderError, "API_ERROR", True, "unknown", None)
ENDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "sensitive": (
        "The input or output was flagged as sensitive. Please try again. (E005)",
        FILTERED,
    ),
    "E005": ("Prediction failed (E005)", FILTERED),
    "nsfw": ("NSFW content detected. Try running it again, or try a different prompt.", FILTERED),
    "safety": ("Rejected by the safety system.", FILTERED),
    "moderation": ("Request Moderated by moderation.", FILTERED),
    "PA": ("Prediction interrupted; please retry (code: PA)", AGAIN),
    "director": ("Director: unexpected error handling prediction (E6716)", AGAIN),
    "E1000": ("Unknown error (E1000)", AGAIN),
    "E1001": ("CUDA out of memory (E1001)", (ProviderError, "API_ERROR", False, "unknown", None)),
    "limit": (
        "You've hit your monthly spend limit.",
        (QuotaExceededError, "QUOTA", False, "unknown", None),
    ),
    "busy": (
        "Service is currently unavailable due to high demand. (E003)",
        (RateLimitError, "RATE_LIMIT", True, "unknown", None),
    ),
    "upstream": (
        "Upstream rate limit, try again in 12s.",
        (RateLimitError, "RATE_LIMIT", True, "unknown", 12.0),
    ),
    "else": ("index out of range", (ProviderError, "API_ERROR", False, "unknown", None)),
}


@pytest.mark.parametrize(("text", "expected"), ENDS.values(), ids=ENDS.keys())
def test_a_prediction_that_fails_has_the_class_of_its_text(text, expected):
    error = failed(text)
    assert outcome(error) == expected
    assert text.rstrip(".") in error.message
    assert error.details == {"job_id": "p1"}


@pytest.mark.parametrize("text", [None, "", 7, {"x": 1}, []])
def test_a_failure_without_words_is_one_all_the_same(text):
    assert outcome(failed(text))[3] == "unknown"


def test_whether_a_failure_is_billed_is_a_setting_but_not_where_seconds_are():
    free = {"charges_for_failed": False}
    assert failed("NSFW content detected", settings=free).billed == "no"
    assert failed("NSFW content detected", settings=free, model=BY_THE_SECOND).billed == "unknown"


@pytest.mark.parametrize(("status", "billed"), [("canceled", "unknown"), ("aborted", "no")])
def test_a_prediction_that_was_stopped(status, billed):
    error = walk(CREATED, record(status=status)).fail()
    assert (type(error), error.retryable, error.billed) == (ProviderError, False, billed)


# --- the life of a prediction -------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": 7}, {"id": ""}, [], b"<html>", b""])
def test_a_creation_that_names_no_prediction_may_be_billed(body):
    error = walk(reply(body)).fail()
    assert (type(error), error.billed) == (ProviderError, "unknown")


def test_an_id_with_odd_characters_is_quoted():
    job = walk(reply({"id": "a/../b?c"}), SUCCEEDED, FILE)
    job.run()
    assert job.requests[1].url == "predictions/a%2F..%2Fb%3Fc"


def test_polls_that_cannot_be_read_do_not_lose_a_prediction():
    bad = [
        reply(b"<html>"),
        reply({}),
        reply([]),
        reply({"detail": "slow"}, 429),
        reply({"detail": "?"}, 500),
    ]
    assert walk(CREATED, *bad, record(status="something new"), *bad, SUCCEEDED, FILE).run().images
    error = walk(CREATED, *[reply(b"<html>")] * 10).fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)


def test_a_prediction_is_given_a_moment_to_be_known():
    missing = reply({"detail": "Not found"}, 404)
    assert walk(CREATED, *[missing] * 3, SUCCEEDED, FILE).run().images
    error = walk(CREATED, *[missing] * 4).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)


def test_a_prediction_that_never_ends_is_unknown():
    job = walk(CREATED, *[record(status="processing")] * 6, settings={"poll_seconds": 600.0})
    assert isinstance(job.fail(), OutcomeUnknownError)
    assert len(job.requests) == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (403, AuthenticationError), (400, ProviderError)],
)
def test_a_prediction_that_may_not_be_asked_for_may_be_billed(status, kind):
    error = walk(CREATED, reply({"title": "No."}, status)).fail()
    assert (type(error), error.retryable, error.billed) == (kind, False, "unknown")


# --- outputs ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "count"),
    [
        (LINK, 1),
        ([LINK], 1),
        ([LINK, LINK], 2),
        ({"image": LINK, "seed": 3}, 1),
        ([{"url": LINK}, None, 7], 1),
    ],
)
def test_an_output_has_many_forms(output, count):
    result = walk(CREATED, record(status="succeeded", output=output), FILE, FILE).run()
    assert [type(image) for image in result.images] == [imagen.providers.GeneratedImage] * count


@pytest.mark.parametrize("output", [None, [], {}, "", "done", ["done"], 7])
def test_a_success_without_images_is_none(output):
    error = walk(CREATED, record(status="succeeded", output=output)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)


def test_images_that_are_deleted_were_billed():
    error = walk(CREATED, record(status="succeeded", data_removed=True)).fail()
    assert (type(error), error.billed) == (ProviderError, "yes")


def test_a_link_that_is_gone_does_not_lose_the_other_image():
    done = record(status="succeeded", output=[LINK, LINK])
    first, second = walk(CREATED, done, reply(b"", 410), FILE).run().images
    assert isinstance(first, LostImage)
    assert isinstance(second, imagen.providers.GeneratedImage)
    both = walk(CREATED, done, reply(b"", 410), reply(b"", 410)).fail()
    assert outcome(both) == (ProviderError, "API_ERROR", False, "yes", None)


@pytest.mark.parametrize(
    ("metrics", "units"),
    [
        ({"predict_time": 1.5}, "1.5"),
        ({"predict_time": 0}, "0"),
        ({"predict_time": -1}, None),
        ({"predict_time": 1e300}, None),
        ({"predict_time": "3"}, None),
        ({"predict_time": True}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_seconds_are_a_number_of_sane_size(metrics, units):
    result = walk(CREATED, record(status="succeeded", output=LINK, metrics=metrics), FILE).run()
    assert result.units == (None if units is None else Decimal(units))


# --- anything at all ----------------------------------------------------------
