"""What is made of Black Forest Labs' answers: recorded ones, every row of the
tables, and anything at all.
"""

from __future__ import annotations

from decimal import Decimal

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
from imagen.providers import HttpResponse, Progress, Wait, WithheldImage, bfl
from tests.support.exchanges import IMAGE, Walk, call, outcome, recorded, reply
from tests.support.providers.bfl import (
    DETAIL,
    FILE,
    PENDING,
    POLL,
    READY,
    SUBMITTED,
    polled,
    walk,
)

NOT_FOUND = reply({"id": "a1", "status": "Task not found", "result": None})
LINK = "https://delivery-eu1.bfl.ai/a.png"


def answer(name: str) -> HttpResponse:
    response = recorded(name, "bfl")["response"]
    return reply(response["body"], response["status"])


# --- recorded -----------------------------------------------------------------


def test_a_recorded_job_gives_its_image():
    job = Walk(
        bfl.generate(call("flux-dev")),
        answer("submit_flux_dev.json"),
        answer("poll_pending.json"),
        answer("poll_ready.json"),
        FILE,
    )
    result = job.run()
    poll = "https://api.eu1.bfl.ai/v1/get_result?id=b5b6d620-798f-4eee-b782-c7be269692f1"
    assert [request.url for request in job.requests[1:3]] == [poll, poll]
    assert job.requests[3].url.startswith("https://delivery-eu1.bfl.ai/results/0d/")
    (image,) = result.images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert (image.data, image.seed, image.revised_prompt) == (
        IMAGE,
        1752479754028,
        "PROMPT SHORTENED",
    )
    assert image.provider_id == "b5b6d620-798f-4eee-b782-c7be269692f1"
    # An older model does not say what it cost.
    assert result.reported_cost_usd is None
    assert Progress(fraction=0.1, note="Pending") in job.steps


def test_a_recorded_submission_says_its_cost_and_where_to_ask():
    response = recorded("submit-with-cost.json", "2026-11-28/bfl")["response"]
    job = Walk(bfl.generate(call("flux-2-flex")), reply(response["body"]), READY, FILE)
    assert job.run().reported_cost_usd == Decimal("0.06")
    assert job.requests[1].url == "https://api.us3.bfl.ai/v1/get_result?id=example"


def test_a_recorded_bad_key():
    error = walk(answer("error_403_bad_key.json")).fail()
    assert outcome(error) == (AuthenticationError, "AUTHENTICATION", False, "no", None)
    assert "Not authenticated - Invalid Authentication" in error.message
    assert "BFL_API_KEY" in error.message


# --- the life of a job --------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "again", "usd"),
    [
        (3.0, None, "0.03"),
        (1.4, None, "0.014"),
        (0, None, "0"),
        (3.0, 4.5, "0.045"),
        (None, 5, "0.05"),
        (None, None, None),
        (-1, None, None),
        (10**9, None, None),
        ("3", None, None),
        (True, None, None),
        (3.0, "x", "0.03"),
    ],
)
def test_a_credit_is_a_cent_and_the_last_word_counts(told, again, usd):
    submitted = reply({"id": "a1", "polling_url": POLL, "cost": told})
    ready = reply({"status": "Ready", "cost": again, "result": {"sample": LINK}})
    result = walk(submitted, ready, FILE).run()
    assert result.reported_cost_usd == (None if usd is None else Decimal(usd))
    inside = reply({"status": "Ready", "result": {"sample": LINK, "cost": again}})
    assert walk(submitted, inside, FILE).run().reported_cost_usd == result.reported_cost_usd


def test_a_submission_without_a_link_is_asked_for_by_its_id():
    submitted = reply({"id": "a 1/x", "status": "Pending", "webhook_url": "https://example.com"})
    job = walk(submitted, READY, FILE)
    job.run()
    assert job.requests[1].url == "v1/get_result?id=a%201%2Fx"


@pytest.mark.parametrize("body", [{}, {"id": None}, {"id": 7}, [], b"<html>", b""])
def test_a_submission_that_names_no_job_may_be_billed(body):
    error = walk(reply(body)).fail()
    assert isinstance(error, ProviderError)
    assert error.billed == "unknown"


@pytest.mark.parametrize("status", ["Pending", "Reasoning", "Generating", "Something New"])
def test_a_job_goes_on_until_it_says_that_it_ended(status):
    going = reply({"id": "a1", "status": status, "progress": 0.25})
    job = polled(going, going, READY, FILE)
    assert job.run().images
    assert [step for step in job.steps if isinstance(step, Progress)] == [
        Progress(fraction=0.25, note=status)
    ] * 2
    assert len([step for step in job.steps if isinstance(step, Wait)]) == 3


@pytest.mark.parametrize("progress", [None, "half", -1, 2, True, [], 1e300])
def test_a_progress_that_cannot_be_is_none(progress):
    job = polled(reply({"status": "Pending", "progress": progress}), READY, FILE)
    job.run()
    assert Progress(fraction=None, note="Pending") in job.steps


def test_a_job_is_given_a_moment_to_be_known():
    missing = reply({"detail": "Not Found"}, 404)
    assert polled(NOT_FOUND, missing, NOT_FOUND, READY, FILE).run().images
    error = polled(*[NOT_FOUND] * 6).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert error.details == {"job_id": "a1"}
    # What was there and is gone comes not back.
    assert polled(PENDING, NOT_FOUND).fail().billed == "unknown"


def test_polls_that_cannot_be_read_do_not_lose_a_job():
    bad = [
        reply(b"<html>"),
        reply({}),
        reply([]),
        reply({"detail": "slow down"}, 429),
        reply({"detail": "?"}, 500),
    ]
    assert polled(*bad, PENDING, *bad, READY, FILE).run().images
    error = polled(*[reply(b"<html>")] * 10).fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)


def test_a_job_that_never_ends_is_unknown():
    job = polled(*[PENDING] * 6, settings={"poll_seconds": 600.0})
    error = job.fail()
    assert isinstance(error, OutcomeUnknownError)
    assert error.details == {"job_id": "a1", "poll_url": POLL}
    assert len(job.requests) == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (403, AuthenticationError), (400, ProviderError)],
)
def test_a_job_that_may_not_be_asked_for_may_be_billed(status, kind):
    error = polled(reply({"detail": "Not authenticated"}, status)).fail()
    assert (type(error), error.retryable, error.billed) == (kind, False, "unknown")
    assert "a1" in error.message


@pytest.mark.parametrize("status", [403, 404])
def test_an_expired_link_is_asked_for_once_more(status):
    fresh = reply(
        {"status": "Ready", "result": {"sample": "https://delivery-eu1.bfl.ai/fresh.png"}}
    )
    job = polled(READY, reply(b"expired", status), fresh, FILE)
    assert job.run().images
    assert [request.url for request in job.requests[3:]] == [
        POLL,
        "https://delivery-eu1.bfl.ai/fresh.png",
    ]
    error = polled(READY, reply(b"expired", status), fresh, reply(b"expired", status)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes", None)
    assert polled(READY, reply(b"expired", status), reply({}, 500)).fail().billed == "yes"


@pytest.mark.parametrize("status", [302, 410, 500])
def test_a_link_that_does_not_answer_was_billed(status):
    job = polled(READY, reply(b"", status))
    assert outcome(job.fail()) == (ProviderError, "API_ERROR", False, "yes", None)


@pytest.mark.parametrize("result", [None, {}, {"sample": None}, [], "x"])
def test_an_image_without_a_link_was_billed(result):
    error = polled(reply({"status": "Ready", "result": result})).fail()
    assert (type(error), error.billed) == (ProviderError, "yes")


@pytest.mark.parametrize(
    ("seed", "kept"), [(7, 7), (None, 3), ("7", 3), (True, 3), (2**70, 3), (1.5, 3)]
)
def test_a_seed_is_the_one_that_was_told_or_else_the_one_that_was_asked_for(seed, kept):
    ready = reply({"status": "Ready", "result": {"sample": LINK, "seed": seed}})
    (image,) = walk(SUBMITTED, ready, FILE, seed=3).run().images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert image.seed == kept


# --- every row of the tables --------------------------------------------------

SUBMISSIONS = {
    "400": (
        400,
        {"detail": "Malformed."},
        (InvalidRequestError, "INVALID_PROMPT", False, "no", None),
    ),
    "401": (401, {"detail": "No key."}, (AuthenticationError, "AUTHENTICATION", False, "no", None)),
    "402": (
        402,
        {"detail": "Insufficient credits."},
        (QuotaExceededError, "QUOTA", False, "no", None),
    ),
    "403": (
        403,
        {"detail": "Not authenticated"},
        (AuthenticationError, "AUTHENTICATION", False, "no", None),
    ),
    "404": (404, {"detail": "Not Found"}, (ModelNotFoundError, "API_ERROR", False, "no", None)),
    "413": (413, b"", (InvalidRequestError, "INVALID_PROMPT", False, "no", None)),
    "422 field": (422, DETAIL, (InvalidRequestError, "INVALID_PROMPT", False, "no", None)),
    "422 moderated": (
        422,
        {"id": "a1", "status": "Request Moderated"},
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
    ),
    "503 failed": (
        503,
        {"id": "a1", "status": "Error"},
        (ProviderError, "API_ERROR", True, "unknown", None),
    ),
    "409": (409, {"message": "Conflict."}, (InvalidRequestError, "API_ERROR", False, "no", None)),
    "429": (429, {"detail": "Too many tasks."}, (RateLimitError, "RATE_LIMIT", True, "no", None)),
    "429 words": (
        429,
        {"error": "Please try again in 12s."},
        (RateLimitError, "RATE_LIMIT", True, "no", 12.0),
    ),
    "301": (301, b"", (ProviderError, "API_ERROR", False, "no", None)),
    "408": (408, b"", (ProviderError, "API_ERROR", True, "unknown", None)),
    "500": (500, {"detail": "Oops."}, (ProviderError, "API_ERROR", True, "unknown", None)),
    "502": (502, b"<html>", (ProviderError, "API_ERROR", True, "unknown", None)),
    "503": (503, {"detail": "Busy."}, (ProviderError, "API_ERROR", True, "no", None)),
    "504": (504, b"", (ProviderError, "API_ERROR", True, "unknown", None)),
}


@pytest.mark.parametrize(
    ("status", "body", "expected"), SUBMISSIONS.values(), ids=SUBMISSIONS.keys()
)
def test_a_submission_that_is_refused_has_its_class(status, body, expected):
    assert outcome(walk(reply(body, status)).fail()) == expected


def test_a_refusal_says_what_the_provider_said():
    assert "width: Input should be a multiple of 32." in walk(reply(DETAIL, 422)).fail().message
    odd = {"detail": ["?", {"msg": "No."}, {"loc": "body", "msg": "Why."}]}
    assert "No.; Why." in walk(reply(odd, 422)).fail().message
    error = walk(reply({"detail": "Wait."}, 429, retry_after="7")).fail()
    assert error.retry_after_seconds == 7
    assert "Wait." in error.message


ENDS = {
    "Request Moderated": (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
    "Error": (ProviderError, "API_ERROR", True, "unknown", None),
    "Failed": (ProviderError, "API_ERROR", True, "unknown", None),
}


@pytest.mark.parametrize("http", [200, 422, 503])
@pytest.mark.parametrize(("status", "expected"), ENDS.items(), ids=ENDS.keys())
def test_a_job_that_ends_without_an_image_has_its_class_whatever_the_http_code(
    status, expected, http
):
    body = {
        "id": "a1",
        "status": status,
        "details": {"Moderation Reasons": ["Derivative Works Filter", "Nudity"]},
    }
    error = polled(PENDING, reply(body, http)).fail()
    assert outcome(error) == expected
    assert "Derivative Works Filter, Nudity." in error.message
    assert error.details == {"job_id": "a1"}


def test_whether_a_refused_prompt_is_billed_is_a_setting():
    moderated = reply({"status": "Request Moderated"})
    assert polled(moderated, settings={"charges_for_moderated": False}).fail().billed == "no"


@pytest.mark.parametrize("http", [200, 422])
@pytest.mark.parametrize(("charges", "usd"), [(True, "0.03"), (False, "0")])
def test_an_image_that_is_withheld_has_its_cost(charges, usd, http):
    body = {"status": "Content Moderated", "details": {"Moderation Reasons": ["Content Policy"]}}
    result = polled(reply(body, http), settings={"charges_for_moderated": charges}).run()
    assert result.images == (WithheldImage(reason="Content Policy."),)
    assert result.reported_cost_usd == Decimal(usd)


@pytest.mark.parametrize("details", [None, {}, [], 3.5, {"x": None}])
def test_a_withheld_image_has_a_reason_in_any_case(details):
    (withheld,) = polled(reply({"status": "Content Moderated", "details": details})).run().images
    assert isinstance(withheld, WithheldImage)
    assert withheld.reason


# --- anything at all ----------------------------------------------------------
