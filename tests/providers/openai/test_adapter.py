"""OpenAI's provider, stepped by hand: what it sends, and what it makes of every
answer.
"""

from __future__ import annotations

import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import jsonschema
import msgspec
import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from imagen.providers import GeneratedImages, HttpRequest, HttpResponse
from imagen.providers.openai import _adapter as openai
from imagen.providers.openai._wire import EventStream
from tests.support.exchanges import (
    CATALOG,
    IMAGE,
    IMAGE_BASE64,
    STREAM,
    Walk,
    call,
    completed,
    images,
    outcome,
    partial,
    recorded,
    reply,
    schema,
    sse,
)
from tests.support.lengths import examples
from tests.support.providers.openai import RECORDED_ERRORS, ends_well
from tests.support.reply_strategies import (
    BAD,
    USAGE,
    USER_ERROR,
    bodies,
    headers,
    mutated,
    statuses,
    wrong_fields,
)

MODELS = [
    model.id
    for model in CATALOG
    if model.provider == "openai" and model.lifecycle.retired_on is None
]
FULL = {"size": "1536x1024", "quality": "low", "background": "opaque", "output_format": "webp"}


def walk(*responses: HttpResponse, chunks=(), **fields: Any) -> Walk:
    return Walk(openai.generate(call(**fields)), *responses, chunks=chunks)


def sent_body(**fields: Any) -> dict[str, Any]:
    walked = walk(reply(images(fields.get("count", 1))), **fields)
    walked.run()
    return walked.body


# --- what is sent -------------------------------------------------------------


def test_a_generation_is_one_post_that_may_not_be_sent_twice():
    walked = walk(reply(images()))
    assert walked.run() == GeneratedImages(images=(imagen.providers.GeneratedImage(data=IMAGE),))
    assert walked.steps == [
        HttpRequest(
            method="POST",
            url="images/generations",
            headers={"content-type": "application/json"},
            body=b'{"model":"gpt-image-2","prompt":"a cat","n":1}',
        )
    ]


@pytest.mark.parametrize("model", MODELS)
def test_every_field_that_the_model_has_is_sent_as_it_was_asked_for(model):
    body = sent_body(model=model, count=3, prompt="ein Käfer 🐞", **FULL)
    wire_name = CATALOG.find(model).wire_name
    assert body == {"model": wire_name, "prompt": "ein Käfer 🐞", "n": 3, **FULL}
    assert "/" not in wire_name


def test_fields_that_the_model_lacks_are_left_out():
    body = sent_body(style="vivid", seed=7, negative_prompt="dogs", quality="high")
    assert body == {"model": "gpt-image-2", "prompt": "a cat", "n": 1, "quality": "high"}
    bare = imagen.Model(id="bare", provider="openai", name="Bare", wire_name="bare-1")
    asked = {**FULL, "style": "vivid", "previews": 2}
    assert sent_body(model=bare, **asked) == {"model": "bare-1", "prompt": "a cat", "n": 1}


def test_previews_ask_for_a_stream_with_no_more_of_them_than_the_model_gives():
    walked = walk(STREAM, chunks=[sse(completed())], previews=9)
    walked.run()
    assert walked.requests[0].stream
    assert walked.body["stream"] is True
    assert walked.body["partial_images"] == 3


def test_options_go_along_as_they_are():
    body = sent_body(
        options={"moderation": "low", "output_compression": 50, "size": "2048x2048"},
        size="1024x1024",
    )
    assert body == {
        "model": "gpt-image-2",
        "prompt": "a cat",
        "n": 1,
        "size": "2048x2048",
        "moderation": "low",
        "output_compression": 50,
    }


@pytest.mark.parametrize("field", ["model", "prompt", "n", "stream", "partial_images"])
def test_options_may_not_replace_what_decides_the_price(field):
    walked = walk(options={field: 10})
    error = walked.fail()
    assert isinstance(error, InvalidRequestError)
    assert field in error.message
    assert not walked.requests


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("previews", [0, 2])
def test_bodies_keep_the_published_schema(model, previews):
    validator = jsonschema.Draft202012Validator(schema("openai-images", "CreateImageRequest"))
    can = CATALOG.find(model).capabilities
    # The schema of 2026-08 is older than the qualities of the 2.5 models, and
    # the SVG of 2.6; everything else it knows.
    newer = {"xhigh", "max", "svg"}
    for quality in (None, *(quality for quality in can.qualities if quality not in newer)):
        for size in (None, *can.sizes, *(("1536x864",) if can.free_size else ())):
            for output_format in (one for one in can.output_formats if one not in newer):
                fields = {"quality": quality, "size": size, "output_format": output_format}
                body = openai.request_body(call(model, previews=previews, count=10, **fields))
                validator.validate(body)
                assert body.keys() <= validator.schema["properties"].keys()


# --- recorded answers ---------------------------------------------------------


def tiny(name: str) -> bytes:
    return pybase64.b64decode(recorded(name)["response"]["body"]["data"][0]["b64_json"])


@pytest.mark.parametrize(
    ("name", "model", "tokens", "usd"),
    [
        # (text in, image in, text out, image out), and the price list times
        # them.
        ("generate-gpt-image-1.json", "gpt-image-2", (10, 0, 0, 4160), "0.12485"),
        ("edit-gpt-image-1.5-two-images.json", "gpt-image-1.5", (43, 388, 308, 1056), "0.040191"),
        ("edit-gpt-image-2-free-size.json", "gpt-image-2", (12, 64, 0, 120), "0.004172"),
    ],
)
def test_a_recorded_answer_gives_the_image_and_its_price(name, model, tokens, usd):
    recording = recorded(name)["response"]
    asked = call(model)
    result = Walk(openai.generate(asked), reply(recording["body"], **recording["headers"])).run()
    assert [image.data for image in result.images] == [tiny(name)]
    assert result.usage is not None
    assert msgspec.structs.astuple(result.usage) == tokens
    cost = cost_of(asked.model, asked.request, result)
    assert (cost.usd, cost.source) == (Decimal(usd), "computed")


def test_a_recorded_link_is_downloaded_and_the_revised_prompt_kept():
    body = recorded("generate-dall-e-3-url.json")["response"]["body"]
    walked = walk(reply(body), HttpResponse(status=200, body=IMAGE))
    (image,) = walked.run().images
    assert image.data == IMAGE
    assert image.revised_prompt is not None
    assert image.revised_prompt.startswith("An image of a Siamese cat.")
    assert walked.requests[1] == HttpRequest(
        method="GET", url=body["data"][0]["url"], repeatable=True, collects=True
    )


def test_recorded_links_are_downloaded_one_after_the_other():
    body = recorded("variation-dall-e-2.json")["response"]["body"]
    walked = walk(
        reply(body), HttpResponse(status=200, body=b"one"), HttpResponse(status=200, body=b"two")
    )
    result = walked.run()
    assert [image.data for image in result.images] == [b"one", b"two"]
    assert result.usage is None


def recorded_stream(newline: str = "\n") -> bytes:
    events = recorded("stream-gpt-image-1-partials.json")["response"]["events"]
    return sse(*(event["data"] for event in events), newline=newline)


def test_a_recorded_stream_gives_previews_and_then_the_image_with_its_usage():
    recording = recorded("stream-gpt-image-1-partials.json")["response"]
    walked = walk(STREAM, chunks=[recorded_stream()], previews=2)
    result = walked.run()
    data = pybase64.b64decode(recording["events"][2]["data"]["b64_json"])
    assert [(step.number, step.data) for step in walked.partials] == [(0, data), (1, data)]
    assert [image.data for image in result.images] == [data]
    assert result.usage == imagen.providers.Usage(text_input_tokens=14, image_output_tokens=272)
    same_call = walk(reply(recording["same_call_without_stream"])).run()
    assert same_call.usage == result.usage
    assert same_call.images[0].data == data
    assert same_call.images[0].provider_id == "d639de25-4fac-4bdd-b095"


def test_every_recorded_error_has_an_expectation():
    assert [case["name"] for case in recorded("errors.json")["cases"]] == list(RECORDED_ERRORS)


@pytest.mark.parametrize(("name", "expected"), RECORDED_ERRORS.items())
@pytest.mark.parametrize("streamed", [False, True])
def test_a_recorded_error_has_its_class_and_says_what_the_provider_said(name, expected, streamed):
    (case,) = (case for case in recorded("errors.json")["cases"] if case["name"] == name)
    response = reply(case["response"]["body"], case["response"]["status"])
    if streamed:
        head = msgspec.structs.replace(response, body=b"")
        error = walk(head, chunks=[response.body[:20], response.body[20:]], previews=1).fail()
    else:
        error = walk(response).fail()
    assert outcome(error) == (*expected, False, "no", None)
    said = case["response"]["body"]["error"]["message"]
    assert said.split(".")[0].replace("test", "[hidden]") in error.message
    assert error.details["status"] == str(response.status)


def test_a_refusal_names_the_stage_and_the_categories():
    (case,) = (case for case in recorded("errors.json")["cases"] if "moderation" in case["name"])
    error = walk(reply(case["response"]["body"], 400, x_request_id="req_1")).fail()
    assert error.details == {
        "status": "400",
        "x-request-id": "req_1",
        "code": "moderation_blocked",
        "type": "image_generation_user_error",
        "moderation_stage": "input",
        "moderation_categories": "other",
    }


# --- the table of errors ------------------------------------------------------

REFUSED = (ContentFilterError, "CONTENT_FILTER", False, "no", None)
NO_MODEL = (ModelNotFoundError, "API_ERROR", False, "no", None)
BAD_FIELD = (InvalidRequestError, "API_ERROR", False, "no", None)
BAD_PROMPT = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
NO_MONEY = (QuotaExceededError, "QUOTA", False, "no", None)
NO_ENTRY = (AuthenticationError, "AUTHENTICATION", False, "no", None)
OUTAGE = (ProviderError, "API_ERROR", True, "unknown", None)
OVERLOAD = (ProviderError, "API_ERROR", True, "no", None)
REDIRECT = (ProviderError, "API_ERROR", False, "no", None)
BAD_REQUEST = "invalid_request_error"


def busy(seconds: float | None) -> tuple[type, str, bool, str, float | None]:
    return RateLimitError, "RATE_LIMIT", True, "no", seconds


def row(status, expected, *, name=None, text="Something is wrong.", headers=None, **error):
    body = {"error": {"message": text, "type": None, "param": None, "code": None, **error}}
    label = name or f"{status} {error.get('code')} {error.get('param') or ''}".strip()
    return pytest.param(status, body, headers or {}, expected, id=label)


ERRORS = [
    row(400, REFUSED, code="moderation_blocked", type=USER_ERROR),
    row(400, REFUSED, code="content_policy_violation", type=BAD_REQUEST),
    row(400, NO_MODEL, code="invalid_value", param="model", type=USER_ERROR),
    row(400, BAD_FIELD, code="invalid_value", param="size", type=USER_ERROR),
    row(400, BAD_PROMPT, code="invalid_value", param="prompt", type=BAD_REQUEST),
    row(400, BAD_FIELD, code="unknown_parameter", param="response_format"),
    row(400, BAD_FIELD, code="unsupported_parameter", param="seed"),
    row(400, BAD_FIELD, code="invalid_type", param="n"),
    row(400, BAD_PROMPT, code="invalid_type", param="prompt"),
    row(400, BAD_PROMPT, code="missing_required_parameter", param="prompt"),
    row(400, BAD_PROMPT, code="string_above_max_length", param="prompt"),
    row(400, BAD_PROMPT, code="string_above_max_length"),
    row(400, BAD_PROMPT, code="invalid_image_file", param="images[0].image_url"),
    row(400, BAD_PROMPT, code="unsupported_file_mimetype", param="image[0]"),
    row(400, BAD_PROMPT, code="invalid_image_format"),
    row(400, BAD_PROMPT, code="image_too_large"),
    row(400, BAD_PROMPT, code="invalid_value", param="url"),
    row(400, NO_MONEY, code="billing_hard_limit_reached"),
    row(401, NO_ENTRY, code="invalid_api_key", type=BAD_REQUEST),
    row(401, NO_ENTRY, text="Your IP address is not allowed."),
    row(403, NO_ENTRY, text="Your organization must be verified to use this model."),
    row(403, NO_ENTRY, code="model_not_available"),
    row(404, NO_MODEL, code="model_not_found"),
    row(
        404,
        NO_MODEL,
        name="404 unverified",
        text="Your organization must be verified to use the model.",
    ),
    row(
        429,
        busy(12.0),
        code="rate_limit_exceeded",
        type="input-images",
        text="Please try again in 12s.",
    ),
    row(
        429,
        busy(0.467),
        code="rate_limit_exceeded",
        type="requests",
        text="Please try again in 467ms. More.",
    ),
    row(
        429,
        busy(51.8),
        name="429 seconds",
        code="rate_limit_exceeded",
        text="Please try again in 51.8 seconds.",
    ),
    row(
        429,
        busy(2.5),
        name="429 fraction",
        code="rate_limit_exceeded",
        text="Please try again in 2.5s",
    ),
    row(
        429,
        busy(60.0),
        name="429 minute",
        code="rate_limit_exceeded",
        text="Please try again in 1m.",
    ),
    row(
        429,
        busy(120.0),
        name="429 minutes",
        code="rate_limit_exceeded",
        text="Please try again in 2 minutes.",
    ),
    row(
        429,
        busy(90.0),
        name="429 minute and a half",
        code="rate_limit_exceeded",
        text="Please try again in 1m30s.",
    ),
    row(
        429,
        busy(360.5),
        name="429 with zeros",
        code="rate_limit_exceeded",
        text="Please try again in 6m0.5s.",
    ),
    row(429, busy(None), name="429 no wait", code="rate_limit_exceeded", type="tokens"),
    row(429, busy(None), name="429 odd wait", text="Please try again in a while, or in 5 moons."),
    row(
        429,
        busy(7.0),
        name="429 header",
        text="Please try again in 12s.",
        headers={"retry_after": "7"},
    ),
    row(
        429, busy(1.5), name="429 ms header", headers={"retry_after_ms": "1500", "retry_after": "9"}
    ),
    row(
        429,
        busy(12.0),
        name="429 date",
        text="try again in 12s",
        headers={"retry_after": "Wed, 21 Oct 2026 07:28:00"},
    ),
    row(429, busy(None), name="429 negative", headers={"retry_after": "-5"}),
    row(429, busy(None), name="429 endless", headers={"retry_after": "9" * 400}),
    row(429, busy(None), code="slow_down"),
    row(429, NO_MONEY, code="insufficient_quota", type="insufficient_quota"),
    row(429, NO_MONEY, code="credit_balance_exhausted", type="insufficient_quota"),
    row(429, NO_MONEY, code="organization_spend_limit_exceeded", type="insufficient_quota"),
    row(429, NO_MONEY, code="project_spend_limit_exceeded", type="insufficient_quota"),
    row(429, NO_MONEY, code="organization_usage_limit_exceeded", type="insufficient_quota"),
    row(429, NO_MONEY, name="429 type alone", type="insufficient_quota"),
    row(
        429,
        NO_MONEY,
        name="429 no allowance",
        code="rate_limit_exceeded",
        text="Limit 0, Used 0, Requested 1.",
    ),
    row(
        429,
        busy(2.0),
        name="429 used up",
        code="rate_limit_exceeded",
        text="Limit 5, Used 5. Please try again in 2s.",
    ),
    row(500, OUTAGE, code="server_error", type="server_error"),
    row(500, OUTAGE, name="500 speaking of limits", text="Limit 0 is what the server said."),
    row(503, OVERLOAD, code="server_is_overloaded", type="server_error"),
    row(503, (*OVERLOAD[:4], 30.0), name="503 header", headers={"retry_after": "30"}),
    row(408, OUTAGE),
    *(row(status, OUTAGE, code="server_is_overloaded") for status in (502, 504, 520, 529)),
    row(402, NO_MONEY),
    row(409, BAD_FIELD),
    row(413, BAD_FIELD),
    *(row(status, REDIRECT) for status in (301, 302, 307, 308)),
]


@pytest.mark.parametrize(("status", "body", "headers", "expected"), ERRORS)
def test_each_error_of_the_api_has_its_class_and_says_whether_to_wait(
    status, body, headers, expected
):
    error = walk(reply(body, status, **headers)).fail()
    assert outcome(error) == pytest.approx(expected)
    assert error.details["status"] == str(status)


@pytest.mark.parametrize("status", [502, 503, 504, 520])
@pytest.mark.parametrize(
    "body", [b"<html><body>Bad gateway</body></html>", b"", b"\xff\xfe", b"null", b"[]", b'"no"']
)
def test_an_outage_may_say_anything_or_nothing(status, body):
    error = walk(HttpResponse(status=status, headers={"cf-ray": "8a-FRA"}, body=body)).fail()
    assert outcome(error) == (OVERLOAD if status == 503 else OUTAGE)
    assert error.details["cf-ray"] == "8a-FRA"
    assert "html" not in error.message


@pytest.mark.parametrize(
    "odd",
    [
        {"message": None},
        {"message": ["No."]},
        {"param": ["body", "prompt"]},
        {"type": 7},
        {"moderation_details": "input"},
        {"moderation_details": {"moderation_stage": 3, "categories": None}},
        {"moderation_details": {"categories": [1, None]}},
    ],
    ids=str,
)
def test_a_refusal_is_one_whatever_the_form_of_its_other_fields(odd):
    error = walk(
        reply({"error": {"message": "No.", "code": "moderation_blocked", **odd}}, 400)
    ).fail()
    assert outcome(error) == REFUSED


def test_an_error_text_is_cut_between_words_so_that_no_part_of_a_key_shows():
    text = "Your request is wrong. " * 16 + "The header was Bearer sk-" + "x" * 200
    error = walk(reply({"error": {"message": text}}, 400)).fail()
    assert "sk-" not in error.message
    assert len(error.message) < 450


# --- odd answers --------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"data": []}', b'{"data": null}', b"<html>", b'{"data": [7]}']
)
def test_an_answer_without_an_image_may_have_been_billed(body):
    error = walk(reply(body)).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)


@pytest.mark.parametrize(
    "text", ["%%%", "A*A", "\u00e9AA=", "iVBOR*!*w0K", 7, {"a": 1}, ["aGk="]], ids=str
)
def test_an_image_that_is_no_base64_was_billed(text):
    error = walk(reply({"data": [{"b64_json": text}]})).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes", None)


def test_an_image_with_neither_bytes_nor_link_was_billed():
    error = walk(reply({"data": [{"revised_prompt": "a cat"}]})).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes", None)


def test_base64_may_have_its_slashes_escaped():
    image = b"\xff\xff\xff" * 3
    escaped = b'{"data":[{"b64_json":"' + pybase64.b64encode(image).replace(b"/", b"\\/") + b'"}]}'
    assert b"\\/" in escaped
    assert walk(reply(escaped)).run().images[0].data == image


def test_fewer_images_than_asked_for_and_more_are_given_as_they_came():
    assert len(walk(reply(images(1)), count=4).run().images) == 1
    assert len(walk(reply(images(3)), count=2).run().images) == 3


@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_a_link_that_does_not_answer_was_billed(status):
    link = {"data": [{"url": "https://files.example/1.png"}]}
    error = walk(reply(link), *[HttpResponse(status=status)] * 3).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes", None)


@pytest.mark.parametrize("status", [403, 404, 409, 425])
def test_a_link_that_comes_before_its_file_is_asked_again(status):
    link = {"data": [{"url": "https://files.example/1.png"}]}
    there = HttpResponse(status=200, body=IMAGE)
    walked = walk(reply(link), *[HttpResponse(status=status)] * 2, there)
    assert [image.data for image in walked.run().images] == [IMAGE]


def test_an_undocumented_field_cannot_lose_an_image():
    item = {"b64_json": IMAGE_BASE64, "generation_id": 7, "revised_prompt": ["a", "cat"]}
    (image,) = walk(reply({"data": [item], "usage": "much", "created": None})).run().images
    assert image == imagen.providers.GeneratedImage(data=IMAGE)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        7,
        "many",
        {"input_tokens": -1},
        {"output_tokens": 1.5},
        {"output_tokens": "a dozen"},
        {"input_tokens": 3, "output_tokens": 0},
        {},
        {"output_tokens": 10**30},
        {"output_tokens": 10**300},
        {"output_tokens_details": {"image_tokens": -5}},
        {"output_tokens_details": {"image_tokens": 10**40}},
    ],
    ids=lambda usage: str(usage)[:40],
)
def test_a_usage_that_cannot_be_never_lowers_the_cost(usage):
    result = walk(reply(images(usage=usage))).run()
    model, request = CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x", quality="low")
    estimate = quote_request(model, request).expected_usd
    assert estimate
    assert cost_of(model, request, result) == imagen.Cost(usd=estimate, source="estimated")


def test_a_usage_without_details_is_text_in_and_image_out():
    result = walk(
        reply(images(usage={"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}))
    ).run()
    assert result.usage == imagen.providers.Usage(text_input_tokens=3, image_output_tokens=5)


# --- the stream ---------------------------------------------------------------


def test_several_images_in_a_stream_add_up_their_usage():
    usage = {"input_tokens": 2, "output_tokens": 10}
    chunks = [sse(partial(), completed(usage=usage)), sse(partial(), completed(usage=usage))]
    result = walk(STREAM, chunks=chunks, count=2, previews=1).run()
    assert len(result.images) == 2
    assert result.usage == imagen.providers.Usage(text_input_tokens=4, image_output_tokens=20)


def test_the_last_image_ends_a_stream_whatever_comes_behind_it():
    behind = b"data: [DONE]\n\ndata: {broken\n\n" + sse({"error": {"code": "server_error"}})
    for chunks in (
        [sse(completed()) + behind],
        [sse(completed()), behind],
        [sse(completed()) + behind[:7]],
    ):
        walked = walk(STREAM, chunks=chunks, previews=1)
        assert len(walked.run().images) == 1


def test_done_ends_a_stream_with_the_images_that_there_are():
    result = walk(
        STREAM, chunks=[sse(completed()) + b"data: [DONE]\n\n"], count=2, previews=1
    ).run()
    assert len(result.images) == 1


def test_a_preview_that_cannot_be_read_is_passed_over():
    for broken in (
        {"b64_json": "%%%"},
        {"b64_json": None},
        {"b64_json": 3},
        {"partial_image_index": None},
    ):
        walked = walk(STREAM, chunks=[sse(partial(**broken), partial(1), completed())], previews=3)
        assert len(walked.run().images) == 1
        assert [step.number for step in walked.partials][-1] == 1


def test_comments_and_events_of_other_kinds_are_passed_over():
    stream = b": ping\n\nevent: ping\n\nretry: 3000\n\n" + sse(
        {"type": "image_generation.started"}, completed()
    )
    assert len(walk(STREAM, chunks=[stream], previews=1).run().images) == 1


def test_a_stream_that_ends_without_its_last_empty_line_is_complete():
    assert len(walk(STREAM, chunks=[sse(completed()).rstrip()], previews=1).run().images) == 1


@pytest.mark.parametrize(
    "chunks", [[], [sse(partial())], [b"data: {"], [b"data: 7\n\n"], [b"data: \xff\xfe\n\n"]]
)
def test_a_stream_without_an_image_may_have_been_billed(chunks):
    error = walk(STREAM, chunks=chunks, previews=1).fail()
    assert outcome(error) == (ProviderError, "API_ERROR", False, "unknown", None)


def test_a_server_that_cannot_stream_may_answer_in_json():
    response = reply(images())
    head = msgspec.structs.replace(response, body=b"")
    walked = walk(head, chunks=[response.body[:9], response.body[9:]], previews=2)
    assert walked.run().images[0].data == IMAGE


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": "moderation_blocked", "type": USER_ERROR}, REFUSED),
        ({"code": "content_policy_violation"}, REFUSED),
        ({"code": "invalid_value", "param": "model", "type": USER_ERROR}, NO_MODEL),
        ({"code": "invalid_value", "param": "prompt", "type": BAD_REQUEST}, BAD_PROMPT),
        ({"code": "unknown_parameter", "param": "x", "type": BAD_REQUEST}, BAD_FIELD),
        ({"code": "invalid_api_key", "type": BAD_REQUEST}, NO_ENTRY),
        ({"code": "insufficient_quota"}, NO_MONEY),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 3s."}, busy(3.0)),
        ({"code": "slow_down"}, busy(None)),
        # The work had begun by then, so it is unknown if it is billed.
        ({"code": "server_error", "type": "server_error"}, OUTAGE),
        ({"code": "server_is_overloaded", "type": "server_error"}, OUTAGE),
        ({"message": "Something went wrong."}, OUTAGE),
        ("Something went wrong.", OUTAGE),
    ],
    ids=str,
)
def test_an_error_inside_a_stream_is_told_by_its_code(error, expected):
    for chunks in (
        [sse({"error": error})],
        [sse(partial()), sse({"type": "error", "error": error})],
    ):
        assert outcome(walk(STREAM, chunks=chunks, previews=1).fail()) == pytest.approx(expected)


# --- chunks -------------------------------------------------------------------


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces, none of them empty."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in pairwise(edges) if end > start]


def parsed(chunks: list[bytes]) -> list[bytes]:
    stream = EventStream()
    return [event for chunk in chunks for event in stream.feed(chunk)] + list(stream.finish())


lines = st.one_of(
    st.sampled_from(
        [
            "data: {}",
            "data:",
            "data",
            "",
            ": comment",
            "event: x",
            "data: a b ",
            "id: 7",
            "retry: 1",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12).map(
        lambda text: f"data: {text}"
    ),
)
cuts = st.lists(st.integers(0, 2**16), max_size=30)


@given(texts=st.lists(lines, max_size=12), newline=st.sampled_from(["\n", "\r\n"]), places=cuts)
@settings(max_examples=examples(300), deadline=None)
def test_events_are_the_same_however_the_bytes_are_cut(texts, newline, places):
    data = "".join(text + newline for text in texts).encode()
    whole = parsed([data] if data else [])
    assert parsed(cut(data, places)) == whole
    assert parsed([data[at : at + 1] for at in range(len(data))]) == whole
    assert [event.split(b"\n") for event in whole] == expected_events(texts)


def expected_events(texts: list[str]) -> list[list[bytes]]:
    """Line by line, as the standard describes it; an event without data is
    none.
    """
    blocks: list[list[bytes]] = [[]]
    for text in texts:
        if not text:
            blocks.append([])
        elif text.startswith("data:"):
            blocks[-1].append(text.removeprefix("data:").encode().strip(b" \r"))
    return [block for block in blocks if b"\n".join(block)]


@given(
    data=st.lists(
        st.sampled_from([b"\n", b"\r\n", b"\r", b"data: x", b"data:{}", b": "]), max_size=20
    ),
    places=cuts,
)
@settings(max_examples=examples(300), deadline=None)
def test_mixed_line_ends_do_not_make_events_depend_on_the_cuts(data, places):
    whole = b"".join(data)
    assert parsed(cut(whole, places)) == parsed([whole] if whole else [])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_stream_may_be_cut_anywhere(newline):
    data = sse(partial(), completed(usage={"input_tokens": 1, "output_tokens": 2}), newline=newline)
    whole = walk(STREAM, chunks=[data], previews=1).run()
    for at in range(1, len(data)):
        assert walk(STREAM, chunks=[data[:at], data[at:]], previews=1).run() == whole


@pytest.mark.parametrize("event", [b"data:x\n\n", b"\n\n", b"data:x\r\n\r\n", b": a comment\n"])
def test_many_tiny_events_in_one_chunk_are_read_in_no_time(event):
    stream = EventStream()
    data = event * (250_000 // len(event))
    started = time.process_time()
    for _ in stream.feed(data):
        pass
    assert time.process_time() - started < 1.0


def test_an_image_of_many_small_chunks_is_read_in_no_time():
    data = b"data: " + b"x" * 4_000_000 + b"\n\n"
    started = time.process_time()
    events = parsed([data[at : at + 1000] for at in range(0, len(data), 1000)])
    assert time.process_time() - started < 0.5
    assert [len(event) for event in events] == [4_000_000]


# --- anything at all ----------------------------------------------------------


STREAM_SAMPLES = (partial(), completed(usage=USAGE), BAD)
events = st.one_of(
    wrong_fields(STREAM_SAMPLES).map(lambda body: b"data: " + body + b"\n\n"),
    st.sampled_from([sse(sample) for sample in STREAM_SAMPLES]),
    mutated(
        tuple(
            sse(sample, newline=newline) for sample in STREAM_SAMPLES for newline in ("\n", "\r\n")
        )
    ),
    st.binary(max_size=40),
)


@given(body=bodies, status=statuses, headers=headers)
@settings(max_examples=examples(600), deadline=None)
def test_any_answer_ends_in_images_or_an_error_of_ours(body, status, headers):
    files = [HttpResponse(status=200, body=IMAGE)] * 20
    ends_well(walk(HttpResponse(status=status, headers=headers, body=body), *files))


@given(parts=st.lists(events, max_size=5), places=cuts, count=st.integers(1, 3))
@settings(max_examples=examples(500), deadline=None)
def test_any_stream_ends_in_images_or_an_error_of_ours_and_cuts_do_not_matter(parts, places, count):
    data = b"".join(parts)
    chunks = cut(data, places)
    ends_well(walk(STREAM, chunks=chunks, count=count, previews=3))
    assert ending(chunks, count) == ending([data] if data else [], count)


def ending(chunks: list[bytes], count: int) -> object:
    walked = walk(STREAM, chunks=chunks, count=count, previews=3)
    try:
        return walked.run(), walked.partials
    except imagen.ImagenError as error:
        return outcome(error), error.message, walked.partials


@given(body=bodies, status=statuses, places=cuts)
@settings(max_examples=examples(150), deadline=None)
def test_any_answer_to_a_request_for_a_stream_ends_well_too(body, status, places):
    files = [HttpResponse(status=200, body=IMAGE)] * 20
    head = HttpResponse(status=status, headers={"content-type": "application/json"})
    ends_well(walk(head, *files, chunks=cut(body, places), previews=1))
