"""What is made of the answers of Midjourney servers: every row of the tables,
and anything at all.
"""

from __future__ import annotations

import io

import pytest
from PIL import Image

import imagen
from imagen import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from imagen.providers import PartialImage, Progress
from tests.support.exchanges import IMAGE, outcome, reply
from tests.support.providers.midjourney import (
    DONE,
    FILE,
    TASK,
    WORKING,
    polled,
    walk,
)

NO = (False, "no", None)
REFUSALS = [
    pytest.param(
        200,
        {"code": 23, "description": "Queue full"},
        (RateLimitError, "RATE_LIMIT", True, "no", None),
        id="23",
    ),
    pytest.param(
        200,
        {"code": 23, "description": "try again in 9s"},
        (RateLimitError, "RATE_LIMIT", True, "no", 9.0),
        id="23 with a wait",
    ),
    pytest.param(
        200,
        {"code": 24, "description": "Banned", "properties": {"bannedWord": "x"}},
        (ContentFilterError, "CONTENT_FILTER", *NO),
        id="24",
    ),
    pytest.param(
        200,
        {"code": 3, "description": "No account"},
        (ProviderError, "API_ERROR", True, "no", None),
        id="3",
    ),
    pytest.param(
        404,
        {"code": 3, "description": "No task"},
        (ProviderError, "API_ERROR", *NO),
        id="3 of a parent",
    ),
    pytest.param(
        200, {"code": 4, "description": "Bad"}, (InvalidRequestError, "INVALID_PROMPT", *NO), id="4"
    ),
    pytest.param(
        403,
        {"code": 4, "description": "quota_not_enough"},
        (QuotaExceededError, "QUOTA", *NO),
        id="4 of a gateway",
    ),
    pytest.param(
        200,
        {"code": 9, "description": "Failed"},
        (ProviderError, "API_ERROR", True, "no", None),
        id="9",
    ),
    pytest.param(
        500, {"code": 9}, (ProviderError, "API_ERROR", True, "unknown", None), id="9 with 500"
    ),
    pytest.param(
        200, {"code": 30, "description": "-"}, (QuotaExceededError, "QUOTA", *NO), id="30"
    ),
    pytest.param(
        200, {"code": "24"}, (ContentFilterError, "CONTENT_FILTER", *NO), id="a code as a text"
    ),
    pytest.param(
        200, {"code": 77}, (ProviderError, "API_ERROR", False, "unknown", None), id="another code"
    ),
    pytest.param(
        200,
        {"code": 77, "description": "敏感词"},
        (ContentFilterError, "CONTENT_FILTER", *NO),
        id="by its words",
    ),
    pytest.param(
        200,
        {"code": 77, "description": "Invalid parameter"},
        (InvalidRequestError, "INVALID_PROMPT", *NO),
        id="by its words, a parameter",
    ),
    pytest.param(401, {}, (AuthenticationError, "AUTHENTICATION", *NO), id="401"),
    pytest.param(403, b"", (AuthenticationError, "AUTHENTICATION", *NO), id="403"),
    pytest.param(402, {}, (QuotaExceededError, "QUOTA", *NO), id="402"),
    pytest.param(404, {"error": "Not Found"}, (ProviderError, "API_ERROR", *NO), id="404"),
    pytest.param(
        400, {"error": {"message": "Bad"}}, (InvalidRequestError, "API_ERROR", *NO), id="400"
    ),
    pytest.param(429, {}, (RateLimitError, "RATE_LIMIT", True, "no", None), id="429"),
    pytest.param(500, b"<html>", (ProviderError, "API_ERROR", True, "unknown", None), id="500"),
    pytest.param(503, {}, (ProviderError, "API_ERROR", True, "no", None), id="503"),
    pytest.param(307, {}, (ProviderError, "API_ERROR", *NO), id="307"),
    pytest.param(
        200, b"<html>", (ProviderError, "API_ERROR", False, "unknown", None), id="no JSON"
    ),
    pytest.param(
        200, {"code": 1}, (ProviderError, "API_ERROR", False, "unknown", None), id="no id"
    ),
    pytest.param(
        200,
        {"code": True, "result": "x"},
        (ProviderError, "API_ERROR", False, "unknown", None),
        id="odd code",
    ),
]


@pytest.mark.parametrize(("status", "body", "expected"), REFUSALS)
def test_every_way_of_not_taking_an_order(status, body, expected):
    error = walk(reply(body, status)).fail()
    assert outcome(error) == expected
    assert error.message[0].isupper()
    assert error.message.rstrip().endswith(".")


@pytest.mark.parametrize("code", [1, 21, 22, "1"])
def test_every_way_of_taking_it(code):
    result = walk(reply({"code": code, "result": 1700000000000001}), DONE, FILE).run()
    assert [image.data for image in result.images] == [IMAGE]


UNKNOWN = (ProviderError, "API_ERROR", True, "unknown", None)
FAILURES = [
    pytest.param(
        "Banned prompt detected",
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        id="banned",
    ),
    pytest.param(
        "may be sensitive",
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        id="sensitive",
    ),
    pytest.param(
        "Blocked by AI",
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        id="blocked",
    ),
    pytest.param(
        "AI moderators",
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        id="moderat",
    ),
    pytest.param(
        "content policy",
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        id="policy",
    ),
    pytest.param(
        "包含敏感词",
        (ContentFilterError, "CONTENT_FILTER", False, "unknown", None),
        id="sensitive, Chinese",
    ),
    pytest.param(
        "Invalid parameter: --x", (InvalidRequestError, "INVALID_PROMPT", *NO), id="parameter"
    ),
    pytest.param("Invalid link", (InvalidRequestError, "INVALID_PROMPT", *NO), id="link"),
    pytest.param("subscription required", (QuotaExceededError, "QUOTA", *NO), id="subscription"),
    pytest.param("Credits exhausted", (QuotaExceededError, "QUOTA", *NO), id="credits"),
    pytest.param("You are out of hours", (QuotaExceededError, "QUOTA", *NO), id="hours"),
    pytest.param("Pending mod message", (QuotaExceededError, "QUOTA", *NO), id="message"),
    pytest.param("Blocked account", (QuotaExceededError, "QUOTA", *NO), id="account"),
    pytest.param("Queue full", (RateLimitError, "RATE_LIMIT", True, "no", None), id="queue"),
    pytest.param("rate limited", (RateLimitError, "RATE_LIMIT", True, "no", None), id="rate"),
    pytest.param("cannot generate", UNKNOWN, id="no rate in generate"),
    pytest.param("timeout", UNKNOWN, id="timeout"),
    pytest.param("任务超时", UNKNOWN, id="timeout, Chinese"),
    pytest.param("账号不可用", UNKNOWN, id="account, Chinese"),
    pytest.param(
        "取消任务", (ProviderError, "API_ERROR", False, "unknown", None), id="cancelled, Chinese"
    ),
    pytest.param(
        "Task was cancelled", (ProviderError, "API_ERROR", False, "unknown", None), id="cancelled"
    ),
    pytest.param(None, UNKNOWN, id="none"),
    pytest.param({"odd": 1}, UNKNOWN, id="odd"),
]


@pytest.mark.parametrize(("reason", "expected"), FAILURES)
def test_every_way_to_fail_later(reason, expected):
    error = polled(reply(WORKING), reply({"status": "FAILURE", "failReason": reason})).fail()
    assert outcome(error) == expected
    assert error.details["task_id"] == TASK


def test_a_cancelled_task_has_failed():
    error = polled(reply({"status": "CANCEL"})).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)


def test_a_task_that_asks_for_missing_words():
    error = polled(reply({"status": "MODAL"})).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)
    assert "remix" in error.message


@pytest.mark.parametrize(
    ("told", "fraction"),
    [
        ("45%", 0.45),
        ("0%", 0.0),
        ("100%", 1.0),
        ("12.5%", 0.12),
        ("200%", None),
        (None, None),
        (45, None),
        ("x", None),
    ],
)
def test_progress(told, fraction):
    walked = polled(reply({**WORKING, "progress": told}), DONE, FILE)
    walked.run()
    assert Progress(fraction=fraction, note="in progress") in walked.steps


def test_an_unknown_state_is_work_in_progress():
    walked = polled(reply({"status": "UPSCALING_HARD"}), reply({"status": "SUBMITTED"}), DONE, FILE)
    walked.run()
    assert [step.note for step in walked.steps if isinstance(step, Progress)] == [
        "in progress",
        "submitted",
    ]


def test_previews_are_shown_once_each_and_no_more_than_asked():
    again = [
        reply({**WORKING, "imageUrl": f"https://x.example/{number}.webp"})
        for number in (1, 1, 2, 3)
    ]
    preview = reply(b"RIFF")
    gone = reply(b"", 404)
    walked = polled(again[0], preview, again[1], again[2], gone, again[3], DONE, FILE, previews=2)
    result = walked.run()
    assert walked.partials == [PartialImage(data=b"RIFF", number=0)]
    assert [image.data for image in result.images] == [IMAGE]


@pytest.mark.parametrize("url", [None, 5, "", "ftp://x", "javascript:1"])
def test_a_preview_that_is_no_link_is_passed_over(url):
    assert polled(reply({**WORKING, "imageUrl": url}), DONE, FILE, previews=2).run().images


@pytest.mark.parametrize(
    "empty", [reply(b"", 204), reply(b""), reply(b"null"), reply({}), reply(b"", 500)]
)
def test_an_unknown_task_is_polled_ten_times(empty):
    walked = polled(*[empty] * 10)
    error = walked.fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)
    assert len(walked.requests) == 11
    assert polled(*[empty] * 9, reply(WORKING), *[empty] * 9, DONE, FILE).run().images


def test_a_task_that_never_ends_is_given_up():
    error = polled(*[reply(WORKING)] * 12, settings={"poll_seconds": 600.0}).fail()
    assert outcome(error) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown", None)


def test_a_key_that_is_not_accepted_any_more():
    error = polled(reply({}, 401)).fail()
    assert outcome(error) == (AuthenticationError, "AUTHENTICATION", False, "unknown", None)


@pytest.mark.parametrize(
    "more", [{}, {"imageUrl": None}, {"imageUrl": 5, "imageUrls": [{"url": "https://a"}]}]
)
def test_success_without_an_image_is_billed(more):
    error = polled(reply({"status": "SUCCESS", **more})).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes", None)


def grid(size: tuple[int, int], mode: str = "RGB", format: str = "PNG") -> bytes:
    image = Image.new(mode, size, 0)
    width, height = size[0] // 2, size[1] // 2
    for at, color in enumerate(["red", "lime", "blue", "white"]):
        left, top = (0, size[0] - width)[at % 2], (0, size[1] - height)[at // 2]
        image.paste(color if mode != "L" else 60 * at, (left, top, left + width, top + height))
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "mode", "format"),
    [
        ((64, 32), "RGB", "PNG"),
        ((65, 33), "RGBA", "PNG"),
        ((64, 64), "L", "PNG"),
        ((64, 64), "RGB", "WEBP"),
    ],
)
def test_a_grid_is_cut_into_quarters(size, mode, format):
    result = polled(DONE, reply(grid(size, mode, format))).run()
    images = [Image.open(io.BytesIO(image.data)) for image in result.images]
    assert [image.size for image in images] == [(size[0] // 2, size[1] // 2)] * 4
    assert {image.format for image in images} == {"PNG"}
    corners = [image.convert("RGB").getpixel((0, 0)) for image in images]
    assert len(set(corners)) == 4
    assert [image.provider_id for image in result.images] == [
        f"{TASK}#{place}" for place in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize(
    "data", [b"", b"<html>", grid((64, 64))[:80], b"GIF89a\x01\x00\x01\x00", grid((1, 1))]
)
def test_what_cannot_be_cut_is_handed_over_whole(data):
    result = polled(DONE, reply(data)).run()
    assert [image.data for image in result.images] == [data]


def test_an_image_that_claims_to_be_huge_is_not_opened():
    head = bytearray(grid((64, 64)))
    head[16:24] = (60_000).to_bytes(4, "big") * 2
    result = polled(DONE, reply(bytes(head))).run()
    assert [image.data for image in result.images] == [bytes(head)]


@pytest.mark.parametrize(
    "links",
    [[f"https://x/{at}" for at in range(4)], [{"url": f"https://x/{at}"} for at in range(4)]],
)
def test_links_to_the_quarters_are_taken_as_they_are(links):
    done = reply({"status": "SUCCESS", "imageUrl": "https://x/all", "imageUrls": links})
    result = polled(done, *[reply(b"%d" % at) for at in range(4)]).run()
    assert [image.data for image in result.images] == [b"0", b"1", b"2", b"3"]


def test_a_lost_link_to_a_quarter_without_a_grid_is_billed():
    done = reply({"status": "SUCCESS", "imageUrls": [{"url": "https://x/1"}] * 4})
    error = polled(done, FILE, reply(b"", 410)).fail()
    assert error.billed == "yes"


def test_a_prompt_that_was_translated_is_told():
    done = {"status": "SUCCESS", "imageUrl": "https://x/a", "prompt": "猫", "promptEn": "cat"}
    (image,) = polled(reply(done), FILE).run().images
    assert isinstance(image, imagen.providers.GeneratedImage)
    assert image.revised_prompt == "cat"


# --- anything at all ----------------------------------------------------------
