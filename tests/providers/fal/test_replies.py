"""What is made of fal.ai's answers: the recorded one, every row of the tables,
and anything at all.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

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
from imagen.providers import HttpResponse, LostImage, Progress, Wait, WithheldImage
from tests.support.exchanges import IMAGE, Walk, outcome, recorded, reply
from tests.support.providers.fal import (
    COMPLETED,
    FAILED,
    FILE,
    GOOD,
    LINK,
    RESULT,
    SUBMITTED,
    model_error,
    platform_error,
    walk,
)

QUEUED = reply({"status": "IN_QUEUE", "queue_position": 0}, 202)


def ended(result: HttpResponse, status: HttpResponse = COMPLETED, **more: Any) -> Walk:
    """A job that was taken, and whose result is this."""
    return walk(SUBMITTED, status, result, FILE, FILE, **more)


# --- the recorded one ---------------------------------------------------------


def test_the_recorded_answer_of_a_locked_account():
    response = recorded("error_403_locked.json", "fal")["response"]
    error = walk(reply(response["body"], response["status"])).fail()
    assert outcome(error) == (QuotaExceededError, "QUOTA", False, "no", None)
    assert "Exhausted balance" in error.message


# --- every row of the table ---------------------------------------------------


AUTH = (AuthenticationError, "AUTHENTICATION", False, "no", None)
QUOTA = (QuotaExceededError, "QUOTA", False, "no", None)
FIELD = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
BAD_REQUEST = (InvalidRequestError, "API_ERROR", False, "no", None)
SERVICE = (ProviderError, "API_ERROR", True, "no", None)
UNCLEAR = (ProviderError, "API_ERROR", True, "unknown", None)
BUSY = (RateLimitError, "RATE_LIMIT", True, "no", None)
REFUSED = (ContentFilterError, "CONTENT_FILTER", False, "no", None)

AT_THE_DOOR: dict[str, tuple[int, object, dict[str, str], tuple[Any, ...]]] = {
    "401": (401, platform_error("authentication_error"), {}, AUTH),
    "402": (402, {"detail": "Pay."}, {}, QUOTA),
    "403 no money": (403, {"detail": "User is locked. Reason: Exhausted balance."}, {}, QUOTA),
    "403": (403, {"detail": "You may not use this."}, {}, AUTH),
    "404": (404, {"detail": "Not found"}, {}, (ModelNotFoundError, "API_ERROR", False, "no", None)),
    "405": (405, b"", {}, BAD_REQUEST),
    "422 policy": (422, model_error("content_policy_violation"), {}, REFUSED),
    "422 field": (422, model_error("missing"), {}, FIELD),
    "400": (400, platform_error("bad_request"), {}, BAD_REQUEST),
    "429": (429, {"detail": "Too many."}, {}, BUSY),
    "429 header": (429, {"detail": "Too many."}, {"retry_after": "7"}, (*BUSY[:4], 7.0)),
    "500": (500, platform_error("internal_server_error"), {}, SERVICE),
    "500 by its header": (500, b"", {"x_fal_error_type": "internal_error"}, SERVICE),
    "500 by its id": (500, b"", {"x_fal_request_id": "r1"}, SERVICE),
    "503": (503, platform_error("runner_scheduling_failure"), {}, SERVICE),
    "502 of a proxy": (502, b"<html><center>nginx</center></html>", {}, UNCLEAR),
    "503 of a proxy": (503, b"<html><center>nginx</center></html>", {}, SERVICE),
    "504 of a proxy": (504, b"<html><center>nginx</center></html>", {}, UNCLEAR),
    "504 of the user": (
        504,
        platform_error("request_timeout"),
        {"x_fal_request_timeout_type": "user"},
        (ProviderError, "API_ERROR", False, "no", None),
    ),
    "408": (408, b"", {}, UNCLEAR),
    "301": (
        301,
        b"",
        {"location": "https://elsewhere"},
        (ProviderError, "API_ERROR", False, "no", None),
    ),
    "418": (418, b"", {}, BAD_REQUEST),
    "of the platform": (
        403,
        {"error": {"type": "authorization_error", "message": "No.", "request_id": "q"}},
        {},
        AUTH,
    ),
}


@pytest.mark.parametrize(
    ("status", "body", "more", "expected"), AT_THE_DOOR.values(), ids=AT_THE_DOOR.keys()
)
def test_a_submission_that_is_refused_has_its_class(status, body, more, expected):
    assert outcome(walk(reply(body, status, **more)).fail()) == expected


MAYBE = (ContentFilterError, "CONTENT_FILTER", False, "unknown", None)
ENDS: dict[str, tuple[int, object, tuple[Any, ...]]] = {
    "422 content_policy_violation": (422, model_error("content_policy_violation"), MAYBE),
    "422 no_media_generated": (
        422,
        model_error("no_media_generated"),
        (ContentFilterError, "CONTENT_FILTER", True, "unknown", None),
    ),
    **{
        f"422 {kind}": (422, model_error(kind, "seed"), FIELD)
        for kind in (
            "missing",
            "greater_than",
            "greater_than_equal",
            "less_than",
            "less_than_equal",
            "multiple_of",
            "one_of",
            "sequence_too_short",
            "sequence_too_long",
            "value_error",
            "image_too_small",
            "image_too_large",
            "image_load_error",
            "file_too_large",
            "unsupported_image_format",
            "face_detection_error",
            "feature_not_supported",
        )
    },
    "422 file_download_error": (
        422,
        model_error("file_download_error", "image_url"),
        (InvalidRequestError, "INVALID_PROMPT", True, "no", None),
    ),
    # What names no field may have come after the work.
    "422 unknown": (
        422,
        b"?",
        (InvalidRequestError, "INVALID_PROMPT", False, "unknown", None),
    ),
    "422 new": (
        422,
        platform_error("new_error"),
        (InvalidRequestError, "INVALID_PROMPT", False, "unknown", None),
    ),
    "400 bad_request": (400, platform_error("bad_request"), BAD_REQUEST),
    "400 downstream_service_error": (400, platform_error("downstream_service_error"), SERVICE),
    **{
        f"500 {kind}": (500, platform_error(kind), SERVICE)
        for kind in (
            "internal_server_error",
            "internal_error",
            "downstream_service_unavailable",
            "runner_server_error",
            "runner_incomplete_response",
        )
    },
    **{
        f"503 {kind}": (503, platform_error(kind), SERVICE)
        for kind in (
            "runner_scheduling_failure",
            "runner_connection_refused",
            "runner_disconnected",
            "runner_connection_error",
        )
    },
    **{
        f"504 {kind}": (504, platform_error(kind), SERVICE)
        for kind in (
            "generation_timeout",
            "startup_timeout",
            "request_timeout",
            "runner_connection_timeout",
        )
    },
    **{
        f"499 {kind}": (
            499,
            platform_error(kind),
            (ProviderError, "API_ERROR", False, "unknown", None),
        )
        for kind in ("client_cancelled", "client_disconnected")
    },
}


@pytest.mark.parametrize(("status", "body", "expected"), ENDS.values(), ids=ENDS.keys())
def test_a_job_that_fails_has_its_class(status, body, expected):
    """Whether its status says that it failed or not."""
    for told in (COMPLETED, FAILED):
        error = ended(reply(body, status), told).fail()
        assert outcome(error) == expected
        assert error.details["job_id"] == "r1"


def test_a_refusal_says_which_field_and_what_kind():
    error = ended(reply(model_error("missing", "image_url"), 422)).fail()
    assert "image_url: Not so." in error.message
    assert (error.details["type"], error.details["status"]) == ("missing", "422")


@pytest.mark.parametrize(
    ("told", "retryable"), [("true", True), ("false", False), ("maybe", False)]
)
def test_the_word_of_a_header_counts_for_another_try(told, retryable):
    assert (
        ended(reply(model_error("missing"), 422, x_fal_retryable=told)).fail().retryable
        is retryable
    )


def test_a_service_that_says_no_other_try_is_obeyed():
    error = ended(reply(platform_error("runner_server_error"), 500, x_fal_retryable="false")).fail()
    assert (error.retryable, error.billed) == (False, "no")


def test_a_result_that_gets_lost_may_be_billed():
    """The job went well, and what answers for its result is no error of its
    own.
    """
    for response in (
        reply(b"<html>", 502),
        reply(b"", 503, x_fal_request_id="r1"),
        reply(b"", 429),
        reply(b"", 401),
    ):
        error = ended(response).fail()
        assert error.billed == "unknown"
    gone = ended(reply({"detail": "Request not found"}, 404)).fail()
    assert (type(gone), gone.retryable, gone.billed) == (ProviderError, False, "unknown")


def test_a_job_that_failed_is_asked_for_its_answer_once():
    job = ended(reply(platform_error("runner_server_error"), 500), FAILED)
    job.fail()
    assert not job.requests[-1].repeatable
    # What its status says fills in for an answer that says nothing.
    error = ended(reply(b"<html>", 502), FAILED).fail()
    assert "It went wrong." in error.message
    assert error.details["type"] == "some_error"
    # An answer with images is what was paid for, whatever the status says.
    assert ended(RESULT, FAILED).run().images


# --- the life of a job --------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{}, {"request_id": None}, {"request_id": 7}, {"request_id": ""}, [], b"<html>", b""]
)
def test_a_submission_that_names_no_job_may_be_billed(body):
    error = walk(reply(body)).fail()
    assert (type(error), error.billed) == (ProviderError, "unknown")


@pytest.mark.parametrize(
    ("logs", "fraction"),
    [
        ([{"message": "42%|####"}], 0.42),
        ([{"message": "10%"}, {"message": "20%|# 30%"}, {"message": "done"}], 0.3),
        ([{"message": "99.5% of it"}], 0.99),
        ([{"message": "1234%"}, {"message": 7}, None], None),
        ([{"message": "0.5%"}], 0.0),
        (None, None),
        ("50%", None),
        ([{"message": "400%"}], 1.0),
    ],
)
def test_a_log_says_how_far_a_job_is(logs, fraction):
    running = reply({"status": "IN_PROGRESS", "logs": logs}, 202)
    job = walk(SUBMITTED, running, *GOOD[1:])
    job.run()
    assert Progress(fraction=fraction, note="running") in job.steps


@pytest.mark.parametrize(
    ("position", "note"),
    [
        (0, "next in the queue"),
        (5, "in the queue behind 5"),
        (None, "in the queue"),
        (-1, "in the queue"),
    ],
)
def test_a_place_in_the_queue_is_told(position, note):
    job = walk(SUBMITTED, reply({"status": "IN_QUEUE", "queue_position": position}, 202), *GOOD[1:])
    job.run()
    assert Progress(note=note) in job.steps


def test_a_job_is_given_a_moment_to_be_known():
    missing = reply({"detail": "Not found"}, 404)
    assert walk(SUBMITTED, missing, missing, missing, *GOOD[1:]).run().images
    error = walk(SUBMITTED, *[missing] * 4).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert error.details["job_id"] == "r1"


def test_polls_that_cannot_be_read_do_not_lose_a_job():
    bad = [
        reply(b"<html>"),
        reply({}),
        reply([]),
        reply({"detail": "slow"}, 429),
        reply({"detail": "?"}, 500),
    ]
    assert walk(SUBMITTED, *bad, QUEUED, *bad, *GOOD[1:]).run().images
    error = walk(SUBMITTED, *[reply(b"<html>")] * 10).fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)


def test_a_job_that_never_ends_is_unknown():
    job = walk(SUBMITTED, *[QUEUED] * 6, settings={"poll_seconds": 600.0})
    error = job.fail()
    assert isinstance(error, OutcomeUnknownError)
    assert len(job.requests) == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (403, AuthenticationError), (405, ProviderError)],
)
def test_a_job_that_may_not_be_asked_for_may_be_billed(status, kind):
    error = walk(SUBMITTED, reply({"detail": "No."}, status)).fail()
    assert (type(error), error.retryable, error.billed) == (kind, False, "unknown")


def test_a_result_that_comes_a_moment_later_is_waited_for():
    early = reply({"detail": "Request is still in progress"}, 400)
    job = walk(SUBMITTED, COMPLETED, early, early, RESULT, FILE)
    assert job.run().images
    assert len([step for step in job.steps if isinstance(step, Wait)]) == 3
    assert walk(SUBMITTED, COMPLETED, *[early] * 5).fail().billed == "unknown"


# --- results ------------------------------------------------------------------


def output(**more: object) -> HttpResponse:
    return reply({"images": [{"url": LINK}, {"url": LINK}], "seed": 1, **more})


@pytest.mark.parametrize(
    ("flags", "withheld"),
    [
        ({"has_nsfw_concepts": [False, True]}, [False, True]),
        ({"has_nsfw_concepts": [True]}, [True, False]),
        ({"nsfw_content_detected": [False, True]}, [False, True]),
        ({"nsfw_content_detected": True}, [True, True]),
        ({"has_nsfw_concepts": None}, [False, False]),
        ({"has_nsfw_concepts": ["yes", 1]}, [False, False]),
    ],
)
def test_a_blackened_image_is_withheld_in_its_place(flags, withheld):
    result = ended(output(**flags)).run()
    assert [isinstance(decoded, WithheldImage) for decoded in result.images] == withheld


def test_a_link_that_is_gone_does_not_lose_the_other_image():
    job = walk(SUBMITTED, COMPLETED, output(), reply(b"", 410), FILE)
    first, second = job.run().images
    assert isinstance(first, LostImage)
    assert isinstance(second, imagen.providers.GeneratedImage)
    both = walk(SUBMITTED, COMPLETED, output(), reply(b"", 410), reply(b"", 410)).fail()
    assert outcome(both) == (ProviderError, "API_ERROR", False, "yes", None)


@pytest.mark.parametrize("image", [{"url": LINK, "width": None}, LINK])
def test_a_model_of_one_image(image):
    (decoded,) = ended(reply({"image": image})).run().images
    assert isinstance(decoded, imagen.providers.GeneratedImage)
    assert decoded.data == IMAGE


def test_a_data_url_is_an_image_too():
    (decoded,) = ended(reply({"images": [{"url": "data:image/png;base64,iVBORw0="}]})).run().images
    assert isinstance(decoded, imagen.providers.GeneratedImage)
    assert decoded.data == b"\x89PNG\r"


@pytest.mark.parametrize(
    ("body", "billed"),
    [
        ({}, "unknown"),
        ({"images": []}, "unknown"),
        ({"images": None}, "unknown"),
        (b"<html>", "yes"),
        ([], "yes"),
    ],
)
def test_a_result_without_images_may_have_been_billed_and_one_that_cannot_be_read_was(body, billed):
    error = ended(reply(body)).fail()
    assert (type(error), error.billed) == (ProviderError, billed)


def test_an_item_without_a_link_keeps_its_place():
    result = ended(reply({"images": [{}, {"url": LINK}, None]})).run()
    assert [isinstance(decoded, LostImage) for decoded in result.images] == [True, False, True]


@pytest.mark.parametrize(
    ("seed", "kept"), [(7, 7), (None, 3), ("7", 3), (True, 3), (2**70, 3), (1.5, 3)]
)
def test_a_seed_is_the_one_that_was_told_or_else_the_one_that_was_asked_for(seed, kept):
    (decoded,) = ended(reply({"images": [{"url": LINK}], "seed": seed}), seed=3).run().images
    assert isinstance(decoded, imagen.providers.GeneratedImage)
    assert decoded.seed == kept


def test_a_prompt_that_was_written_anew_is_told():
    (decoded,) = ended(reply({"images": [{"url": LINK}], "prompt": "A detailed cat."})).run().images
    assert isinstance(decoded, imagen.providers.GeneratedImage)
    assert decoded.revised_prompt == "A detailed cat."


@pytest.mark.parametrize(
    ("told", "units"),
    [
        ("1.0", "1"),
        ("0.262144", "0.262144"),
        ("0", "0"),
        ("1e999999", None),
        ("NaN", None),
        ("-1", None),
        ("9999999", None),
        ("much", None),
        ("", None),
        ("1" * 40, None),
    ],
)
def test_what_was_counted_is_a_number_of_sane_size(told, units):
    result = ended(reply({"images": [{"url": LINK}]}, x_fal_billable_units=told)).run()
    assert result.units == (None if units is None else Decimal(units))
