"""What is made of Ideogram's answers: recorded ones, every row of the table,
and anything at all.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

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
from imagen.providers import (
    GeneratedImage,
    HttpResponse,
    LostImage,
    Progress,
    Wait,
    WithheldImage,
)
from tests.support.exchanges import IMAGE, outcome, recorded, reply
from tests.support.providers.ideogram import (
    COMPLETED,
    FILE,
    INFLIGHT,
    ITEM,
    LINK,
    PENDING,
    UNSAFE,
    polled,
    walk,
)


def completed(*items: object, **more: object) -> HttpResponse:
    return reply({"generation_id": "g1", "status": "completed", "data": list(items), **more})


# --- recorded -----------------------------------------------------------------


def test_a_recorded_answer_of_version_1_is_read_like_any_other():
    recording = recorded("v1_v4_generate.json", "ideogram")["response"]
    answered = walk(reply(recording["body"], recording["status"]), FILE)
    (image,) = answered.run().images
    assert image == GeneratedImage(data=IMAGE, revised_prompt="PROMPT SHORTENED", seed=12345)
    assert answered.requests[1].url == "https://ideogram.ai/api/images/ephemeral/REMOVED.png"


def test_a_recorded_price_quote_is_no_generation():
    recording = recorded("dry_run_price_quote.json", "ideogram")["response"]
    error = walk(reply(recording["body"], recording["status"])).fail()
    assert (type(error), error.billed) == (ProviderError, "unknown")


# --- the life of a generation -------------------------------------------------


def test_a_completed_generation_gives_its_images_in_their_order():
    items = [
        {**ITEM, "url": f"https://x.example/{place}.png", "seed": place, "prompt": "a big cat"}
        for place in (1, 2)
    ]
    answered = polled(
        PENDING, completed(*items, usage_cost_usd_micros=120000), FILE, reply(b"other"), count=2
    )
    result = answered.run()
    assert result.images == (
        GeneratedImage(data=IMAGE, revised_prompt="a big cat", seed=1, provider_id="g1"),
        GeneratedImage(data=b"other", revised_prompt="a big cat", seed=2, provider_id="g1"),
    )
    assert result.reported_cost_usd == Decimal("0.12")
    assert Progress(note="pending") in answered.steps


@pytest.mark.parametrize(
    ("micros", "usd"),
    [
        (60000, "0.06"),
        (0, "0"),
        (1, "0.000001"),
        (None, None),
        (-1, None),
        ("60000", None),
        (10**13, None),
        (True, None),
    ],
)
def test_a_cost_is_in_millionths(micros, usd):
    result = polled(completed(ITEM, usage_cost_usd_micros=micros), FILE).run()
    assert result.reported_cost_usd == (None if usd is None else Decimal(usd))


def test_an_image_that_is_unsafe_is_withheld_in_its_place():
    result = polled(
        completed(ITEM, UNSAFE, {**UNSAFE, "url": ""}, usage_cost_usd_micros=180000), FILE, count=3
    ).run()
    assert [type(image) for image in result.images] == [
        GeneratedImage,
        WithheldImage,
        WithheldImage,
    ]
    assert result.reported_cost_usd == Decimal("0.18")
    (alone,) = polled(completed(UNSAFE)).run().images
    assert isinstance(alone, WithheldImage)


@pytest.mark.parametrize("item", [{**ITEM, "url": None}, {**ITEM, "url": 3}, {}, None, "x"])
def test_an_image_without_a_link_does_not_lose_the_others(item):
    result = polled(completed(item, ITEM), FILE, count=2).run()
    assert [type(image) for image in result.images] == [LostImage, GeneratedImage]


@pytest.mark.parametrize("data", [[], None, {}, "x"])
def test_a_completed_generation_without_images_may_have_been_billed(data):
    error = polled(reply({"generation_id": "g1", "status": "completed", "data": data})).fail()
    assert (type(error), error.billed) == (ProviderError, "unknown")


def test_an_answer_at_once_is_taken():
    result = walk(
        reply({"generation_id": "g1", "generation_kind": "sampling", "seed": 7, "data": [ITEM]}),
        FILE,
    ).run()
    assert result.images == (GeneratedImage(data=IMAGE, seed=7, provider_id="g1"),)
    assert result.reported_cost_usd is None


@pytest.mark.parametrize(
    "body", [{}, {"generation_id": None}, {"generation_id": ""}, [], b"<html>", b""]
)
def test_a_submission_that_names_no_generation_may_be_billed(body):
    error = walk(reply(body)).fail()
    assert (type(error), error.billed) == (ProviderError, "unknown")


@pytest.mark.parametrize("status", ["pending", "queued", "Something New"])
def test_a_generation_goes_on_until_it_says_that_it_ended(status):
    going = reply({"generation_id": "g1", "status": status})
    assert polled(going, going, COMPLETED, FILE).run().images


def test_a_generation_is_given_a_moment_to_be_found():
    missing = reply({"error": "Not found."}, 404)
    assert polled(missing, missing, missing, COMPLETED, FILE).run().images
    error = polled(*[missing] * 4).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert error.details["job_id"] == "g1"


def test_polls_that_cannot_be_read_do_not_lose_a_generation_and_may_ask_to_wait():
    bad = [
        reply(b"<html>"),
        reply({}),
        reply({"error": "?"}, 500),
        reply({"error": "Slow."}, 429, retry_after="20"),
    ]
    answered = polled(*bad, PENDING, *bad, COMPLETED, FILE)
    assert answered.run().images
    waits = [step.seconds for step in answered.steps if isinstance(step, Wait)]
    assert waits == [3, 3, 3, 3, 20, 3, 3, 3, 3, 20]
    error = polled(*[reply(b"<html>")] * 10).fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)


def test_a_generation_that_never_ends_is_unknown():
    answered = polled(*[PENDING] * 6, settings={"poll_seconds": 600.0})
    error = answered.fail()
    assert isinstance(error, OutcomeUnknownError)
    assert error.details == {"job_id": "g1", "poll_url": "v2/generations/g1"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AuthenticationError), (403, AuthenticationError), (400, ProviderError)],
)
def test_a_generation_that_may_not_be_asked_for_may_be_billed(status, kind):
    error = polled(reply({"error": "No."}, status)).fail()
    assert (type(error), error.retryable, error.billed) == (kind, False, "unknown")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_link_is_read_once_more(status):
    expired = reply(b"", status)
    fresh = completed({**ITEM, "url": "https://x.example/fresh.png"})
    answered = polled(COMPLETED, expired, fresh, FILE)
    assert answered.run().images
    assert [request.url for request in answered.requests[2:]] == [
        LINK,
        "v2/generations/g1",
        "https://x.example/fresh.png",
    ]
    for again in (fresh, completed(), completed(UNSAFE), reply(b"", 500)):
        error = polled(COMPLETED, expired, again, expired).fail()
        assert outcome(error) == (ProviderError, "API_ERROR", False, "yes", None)


def test_an_image_that_cannot_be_fetched_does_not_lose_the_others():
    result = polled(completed(ITEM, ITEM), reply(b"", 500), FILE, count=2).run()
    assert [type(image) for image in result.images] == [LostImage, GeneratedImage]


@pytest.mark.parametrize(
    ("seed", "kept"), [(7, 7), (None, 3), ("7", 3), (True, 3), (2**70, 3), (1.5, 3)]
)
def test_a_seed_is_the_one_that_was_told_or_else_the_one_that_was_asked_for(seed, kept):
    (image,) = polled(completed({**ITEM, "seed": seed}), FILE, seed=3).run().images
    assert isinstance(image, GeneratedImage)
    assert image.seed == kept


# --- every row of the table ---------------------------------------------------

QUOTA = (QuotaExceededError, "QUOTA", False, "no", None)
BUSY = (RateLimitError, "RATE_LIMIT", True, "no", None)
INVALID = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
ROWS = {
    "400": (400, {"error": "num_images is wrong."}, INVALID),
    "401": (401, {"error": "Bad key."}, (AuthenticationError, "AUTHENTICATION", False, "no", None)),
    **{
        f"402 {reason}": (402, {"error": "No.", "reject_reason": reason}, QUOTA)
        for reason in (
            "insufficient_funds",
            "subscription_required",
            "daily_limit",
            "priority_credit_required",
            "feature_limit",
        )
    },
    "402 without a reason": (402, b"", QUOTA),
    "402 inflight": (402, INFLIGHT, BUSY),
    "429 inflight": (429, INFLIGHT, BUSY),
    "429": (
        429,
        {"error": "Please try again in 3s."},
        (RateLimitError, "RATE_LIMIT", True, "no", 3.0),
    ),
    "403": (
        403,
        {"error": "No access."},
        (AuthenticationError, "AUTHENTICATION", False, "no", None),
    ),
    "404": (404, {"error": "Not found."}, (ModelNotFoundError, "API_ERROR", False, "no", None)),
    "413": (413, b"", INVALID),
    "415": (415, {"error": "Multipart."}, (InvalidRequestError, "API_ERROR", False, "no", None)),
    "422 safety": (
        422,
        {"error": "Prompt failed safety check"},
        (ContentFilterError, "CONTENT_FILTER", False, "no", None),
    ),
    "422": (422, {"error": "prompt is too long"}, INVALID),
    "500": (500, {"error": "Oops."}, (ProviderError, "API_ERROR", True, "no", None)),
    "503": (503, b"", (ProviderError, "API_ERROR", True, "no", None)),
    "408": (408, b"", (ProviderError, "API_ERROR", True, "unknown", None)),
    "502": (502, b"<html>", (ProviderError, "API_ERROR", True, "unknown", None)),
    "301": (301, b"", (ProviderError, "API_ERROR", False, "no", None)),
}


@pytest.mark.parametrize(("status", "body", "expected"), ROWS.values(), ids=ROWS.keys())
def test_a_submission_that_is_refused_has_its_class(status, body, expected):
    assert outcome(walk(reply(body, status)).fail()) == expected


def test_a_refusal_says_what_the_provider_said_and_why():
    error = walk(
        reply({"error": "You need a plan.", "reject_reason": "subscription_required"}, 402)
    ).fail()
    assert "You need a plan." in error.message
    assert error.details["reject_reason"] == "subscription_required"
    assert "Nested." in walk(reply({"error": {"message": "Nested."}}, 400)).fail().message


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Internal error", (ProviderError, "API_ERROR", False, "no", None)),
        (
            "Image failed the safety check",
            (ContentFilterError, "CONTENT_FILTER", False, "no", None),
        ),
        (None, (ProviderError, "API_ERROR", False, "no", None)),
        ({"x": 1}, (ProviderError, "API_ERROR", False, "no", None)),
    ],
)
def test_a_generation_that_failed_costs_nothing(reason, expected):
    error = polled(
        PENDING, reply({"generation_id": "g1", "status": "failed", "failure_reason": reason})
    ).fail()
    assert outcome(error) == expected
    assert error.details == {"job_id": "g1"}


# --- anything at all ----------------------------------------------------------
