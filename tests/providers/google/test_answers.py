"""Refusals, errors, and anything at all, from Google."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

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
from imagen._results.prices import cost_of
from imagen.providers import GeneratedImages, HttpResponse, Usage, WithheldImage
from imagen.providers.google import _adapter as google
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
from tests.support.providers.google_replies import CHEAP, IMAGEN, ITEM, drawn, listed, predicted
from tests.support.reply_strategies import bodies, mutated, statuses, wrong_fields

USAGE = {
    "promptTokenCount": 5,
    "candidatesTokenCount": 1130,
    "thoughtsTokenCount": 7,
    "totalTokenCount": 1142,
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1120}],
}


def walk(*responses: HttpResponse, model: str = CHEAP, **fields: Any) -> Walk:
    return Walk(google.generate(call(model, **fields)), *responses)


# --- which part is the image --------------------------------------------------


def inline(
    data: str = IMAGE_BASE64, mime_type: object = "image/png", **more: object
) -> dict[str, object]:
    return {"inlineData": {"mimeType": mime_type, "data": data}, **more}


def test_words_thoughts_and_signatures_are_passed_over():
    draft = pybase64.b64encode(b"draft").decode()
    parts = [
        {"text": "Thinking", "thought": True},
        inline(draft, thought=True),
        {"text": "Here you go:", "thoughtSignature": "c2ln"},
        inline(draft, "audio/wav"),
    ]
    body = drawn(*parts)
    body["candidates"][0]["content"]["parts"][-1]["thoughtSignature"] = "A" * 1_000_000
    assert walk(reply(body), seed=4).run() == GeneratedImages(
        images=(imagen.providers.GeneratedImage(data=IMAGE, seed=4),)
    )


def test_every_image_of_an_answer_is_kept():
    result = walk(reply(drawn(inline(), usageMetadata=USAGE))).run()
    assert [image.data for image in result.images] == [IMAGE, IMAGE]


def test_an_image_beside_a_reason_to_stop_is_an_image():
    body = drawn()
    body["candidates"][0]["finishReason"] = "MAX_TOKENS"
    assert walk(reply(body)).run().images


@pytest.mark.parametrize("data", ["*", None, 7, "A*=A"])
def test_an_image_that_cannot_be_read_was_paid(data):
    assert (
        walk(reply({"candidates": [{"content": {"parts": [inline(data)]}}]})).fail().billed == "yes"
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USAGE, Usage(text_input_tokens=5, text_output_tokens=17, image_output_tokens=1120)),
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 1120, "toolUsePromptTokenCount": 30},
            Usage(text_input_tokens=35, image_output_tokens=1120),
        ),
        (
            {**USAGE, "candidatesTokensDetails": None, "promptTokensDetails": "x"},
            Usage(text_input_tokens=5, text_output_tokens=7, image_output_tokens=1130),
        ),
        ({"promptTokenCount": 5}, None),
        ({**USAGE, "candidatesTokenCount": -1, "candidatesTokensDetails": []}, None),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"promptTokenCount": 10**40, "candidatesTokenCount": 1.5}, None),
        (None, None),
        ("many", None),
    ],
    ids=str,
)
def test_the_tokens_are_those_that_were_billed_or_unknown(usage, expected):
    assert walk(reply(drawn(usageMetadata=usage))).run().usage == expected


def test_tokens_that_cannot_be_read_do_not_lose_the_image():
    body = json.dumps(drawn(usageMetadata={"x": "@"})).replace('"@"', "1e999").encode()
    result = walk(HttpResponse(status=200, body=body)).run()
    assert (len(result.images), result.usage) == (1, None)


# --- refusals of status 200 ---------------------------------------------------


def stopped(reason: str, **more: object) -> dict[str, object]:
    return {"candidates": [{"content": {}, "finishReason": reason, **more}]}


REFUSED = (ContentFilterError, "CONTENT_FILTER", False, "unknown", None)
FREE = (ContentFilterError, "CONTENT_FILTER", False, "no", None)
TALKED = (InvalidRequestError, "INVALID_PROMPT", False, "unknown", None)
NOTHING = (ProviderError, "API_ERROR", False, "unknown", None)
BLOCKS = (
    "SAFETY",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "IMAGE_SAFETY",
    "MODEL_ARMOR",
    "JAILBREAK",
)
STOPS = ("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION")
ENDS = (
    "MAX_TOKENS",
    "LANGUAGE",
    "OTHER",
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        *(
            pytest.param({"promptFeedback": {"blockReason": word}}, REFUSED, id=f"blocked {word}")
            for word in BLOCKS
        ),
        *(pytest.param(stopped(word), REFUSED, id=f"stopped {word}") for word in STOPS),
        pytest.param(stopped("IMAGE_OTHER"), FREE, id="IMAGE_OTHER"),
        pytest.param(stopped("NO_IMAGE"), TALKED, id="NO_IMAGE"),
        pytest.param(
            stopped("STOP", content={"parts": [{"text": "What cat?"}]}),
            TALKED,
            id="STOP with words",
        ),
        pytest.param(stopped("STOP", content={"parts": None}), TALKED, id="STOP with null"),
        *(pytest.param(stopped(word), NOTHING, id=f"ended {word}") for word in ENDS),
        pytest.param({"candidates": []}, NOTHING, id="no candidates"),
        pytest.param({}, NOTHING, id="nothing"),
        pytest.param({"candidates": [{"content": None}]}, NOTHING, id="no content"),
        pytest.param({"candidates": 7}, NOTHING, id="a number of candidates"),
        pytest.param(
            {"candidates": [{"content": {"parts": [7]}}]}, NOTHING, id="a number for a part"
        ),
    ],
)
def test_each_refusal_behind_status_200_has_its_class(body, expected):
    assert outcome(walk(reply(body)).fail()) == expected


@pytest.mark.parametrize("reason", ["IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"])
def test_an_image_that_was_made_and_withheld_has_a_place_and_a_cost(reason):
    body = {**stopped(reason, finishMessage="Not this one."), "usageMetadata": USAGE}
    result = walk(reply(body)).run()
    assert result.images == (WithheldImage(reason=f"{reason}: Not this one."),)
    assert cost_of(CATALOG.find(CHEAP), imagen.Generate(prompt="x"), result).usd > Decimal("0.0336")
    without_usage = walk(reply(stopped(reason))).run()
    assert cost_of(CATALOG.find(CHEAP), imagen.Generate(prompt="x"), without_usage).usd > Decimal(
        "0.0336"
    )


def test_settings_say_what_is_not_published():
    free = {"charges_for_withheld": False, "charges_for_blocked_prompts": False}
    assert walk(reply(stopped("IMAGE_SAFETY")), settings=free).run().reported_cost_usd == 0
    assert (
        walk(reply({"promptFeedback": {"blockReason": "SAFETY"}}), settings=free).fail().billed
        == "no"
    )


def test_the_words_of_the_model_say_why_there_is_no_image():
    parts = [{"text": "Which cat?"}, {"text": "Please say more."}]
    assert (
        "Which cat? Please say more."
        in walk(reply(stopped("STOP", content={"parts": parts}))).fail().message
    )
    message = (
        walk(reply({"promptFeedback": {"blockReason": "JAILBREAK", "blockReasonMessage": "No."}}))
        .fail()
        .message
    )
    assert (
        message == "Google refuses this request (JAILBREAK): No. Change the prompt or the images."
    )


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (0, REFUSED),
        (1, REFUSED),
        (2, FREE),
        (3, (RateLimitError, "RATE_LIMIT", True, "no", 34.4)),
    ],
)
def test_recorded_refusals_have_their_class(case, expected):
    answer = recorded("errors-and-blocks.json", "google")["cases"][case]["response"]
    assert outcome(walk(reply(answer["body"], answer["status"])).fail()) == expected


# --- Imagen's filter ----------------------------------------------------------

FILTERED = {"raiFilteredReason": "Unable to show it. Support codes: 1"}


def test_what_imagen_filters_costs_nothing_and_keeps_its_place():
    result = walk(reply(predicted(FILTERED, ITEM)), model=IMAGEN, count=2).run()
    withheld, image = result.images
    assert withheld == imagen.providers.WithheldImage(
        reason="Unable to show it. Support codes: 1", billed=False
    )
    assert image == imagen.providers.GeneratedImage(data=IMAGE)
    assert cost_of(CATALOG.find(IMAGEN), imagen.Generate(prompt="x"), result).usd == Decimal("0.04")


def test_imagen_may_filter_every_image():
    result = walk(reply(predicted(FILTERED, FILTERED)), model=IMAGEN, count=2).run()
    assert [image.billed for image in result.images] == [False, False]
    assert cost_of(CATALOG.find(IMAGEN), imagen.Generate(prompt="x"), result).usd == 0


@pytest.mark.parametrize("body", [predicted(), {}, {"predictions": None}], ids=str)
def test_imagen_may_filter_every_image_and_say_nothing(body):
    assert outcome(walk(reply(body), model=IMAGEN, count=2).fail()) == FREE


def test_a_single_image_of_imagen_has_its_seed():
    assert walk(reply(predicted(ITEM)), model=IMAGEN, seed=9).run().images[0].seed == 9
    assert (
        walk(reply(predicted(ITEM, ITEM)), model=IMAGEN, seed=9, count=2).run().images[0].seed
        is None
    )


# --- errors -------------------------------------------------------------------

NO_ENTRY = (AuthenticationError, "AUTHENTICATION", False, "no", None)
BAD_FIELD = (InvalidRequestError, "API_ERROR", False, "no", None)
BAD_PROMPT = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
NO_MONEY = (QuotaExceededError, "QUOTA", False, "no", None)
NO_MODEL = (ModelNotFoundError, "API_ERROR", False, "no", None)
BUSY = (RateLimitError, "RATE_LIMIT", True, "no", None)
OUTAGE = (ProviderError, "API_ERROR", True, "unknown", None)
OVERLOAD = (ProviderError, "API_ERROR", True, "no", None)
GONE = (ProviderError, "API_ERROR", False, "no", None)


def error(
    status: str, message: str = "Something is wrong.", *details: dict[str, object]
) -> dict[str, object]:
    return {"error": {"code": 0, "message": message, "status": status, "details": list(details)}}


def violation(**fields: object) -> dict[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [fields]}


WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.4s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
BAD_CONTENTS = {"fieldViolations": [{"field": "contents[0].parts[0]", "description": "x"}]}
MINUTE = violation(quotaId="GenerateRequestsPerMinutePerProjectPerModel-FreeTier", quotaValue="10")
DAY = violation(quotaId="GenerateRequestsPerDayPerProjectPerModel", quotaValue="100")
ZERO = violation(quotaId="GenerateRequestsPerMinutePerProjectPerModel-FreeTier", quotaValue="0")
USED_UP = "Your prepaid credits are used up."
CAPPED = "The project has reached its spend cap."
RATE = "RESOURCE_EXHAUSTED"
ERRORS = [
    pytest.param(
        400, error("INVALID_ARGUMENT", "API key not valid.", BAD_KEY), NO_ENTRY, id="400 key"
    ),
    pytest.param(
        400,
        error("INVALID_ARGUMENT", "API key not valid. Pass one."),
        NO_ENTRY,
        id="400 key in words",
    ),
    pytest.param(
        400,
        error("INVALID_ARGUMENT", "Invalid value at 'imageConfig.imageSize'"),
        BAD_FIELD,
        id="400 size",
    ),
    pytest.param(
        400, error("INVALID_ARGUMENT", "Unknown name: image_size"), BAD_FIELD, id="400 field"
    ),
    pytest.param(
        400, error("INVALID_ARGUMENT", "Unable to process input image."), BAD_PROMPT, id="400 image"
    ),
    pytest.param(
        400, error("INVALID_ARGUMENT", "The prompt is too long."), BAD_PROMPT, id="400 prompt"
    ),
    pytest.param(
        400, error("INVALID_ARGUMENT", "Wrong.", BAD_CONTENTS), BAD_PROMPT, id="400 contents"
    ),
    pytest.param(
        400,
        error("FAILED_PRECONDITION", "User location is not supported."),
        NO_ENTRY,
        id="400 location",
    ),
    pytest.param(
        400, error("FAILED_PRECONDITION", "Please enable billing."), NO_MONEY, id="400 billing"
    ),
    pytest.param(400, error("FAILED_PRECONDITION"), BAD_FIELD, id="400 precondition"),
    pytest.param(401, error("UNAUTHENTICATED"), NO_ENTRY, id="401"),
    pytest.param(
        403, error("PERMISSION_DENIED", "Your API key was reported as leaked."), NO_ENTRY, id="403"
    ),
    pytest.param(404, error("NOT_FOUND"), NO_MODEL, id="404"),
    pytest.param(413, b"", BAD_PROMPT, id="413"),
    pytest.param(429, error(RATE, "Quota.", MINUTE, WAIT), (*BUSY[:4], 34.4), id="429 minute"),
    pytest.param(429, error(RATE, "Please retry in 3s."), (*BUSY[:4], 3.0), id="429 words"),
    pytest.param(429, error(RATE), BUSY, id="429"),
    pytest.param(429, [error(RATE, "Quota.", MINUTE, WAIT)], (*BUSY[:4], 34.4), id="429 in a list"),
    pytest.param(429, error(RATE, "Quota.", DAY, WAIT), NO_MONEY, id="429 day"),
    pytest.param(429, error(RATE, "Quota.", MINUTE, DAY), NO_MONEY, id="429 minute and day"),
    pytest.param(429, error(RATE, "Quota.", ZERO, WAIT), NO_MONEY, id="429 zero"),
    pytest.param(
        429,
        error(RATE, "Quota exceeded for metric: x, limit: 0", MINUTE),
        NO_MONEY,
        id="429 limit 0",
    ),
    pytest.param(429, error(RATE, USED_UP), NO_MONEY, id="429 prepaid"),
    pytest.param(429, error(RATE, CAPPED), NO_MONEY, id="429 cap"),
    pytest.param(499, error("CANCELLED"), GONE, id="499"),
    pytest.param(500, error("INTERNAL"), OUTAGE, id="500"),
    pytest.param(502, b"<html>", OUTAGE, id="502"),
    pytest.param(503, error("UNAVAILABLE"), OVERLOAD, id="503"),
    pytest.param(504, error("DEADLINE_EXCEEDED"), OUTAGE, id="504"),
    pytest.param(307, b"", (ProviderError, "API_ERROR", False, "unknown", None), id="307"),
]


@pytest.mark.parametrize("model", [CHEAP, IMAGEN])
@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
def test_each_error_has_its_class(status, body, expected, model):
    assert outcome(walk(reply(body, status), model=model).fail()) == expected


def test_a_model_that_is_gone_names_its_successor():
    found = walk(reply(error("NOT_FOUND"), 404), model="gemini-2.5-flash-image").fail()
    assert found.details["successor"] == CHEAP
    assert CHEAP in found.message


def test_the_older_string_codes_are_kept():
    body = {"error": {"code": "invalid_request", "message": "Wrong."}}
    assert walk(reply(body, 400)).fail().details["code"] == "invalid_request"


# --- anything at all ----------------------------------------------------------

GOOD = drawn(
    {"text": "Here", "thoughtSignature": "c2ln"},
    usageMetadata=USAGE,
    promptFeedback={"blockReason": "X"},
)
BAD = error(RATE, "Quota.", MINUTE, WAIT, BAD_KEY, BAD_CONTENTS)
SAMPLES = (
    GOOD,
    stopped("IMAGE_SAFETY", finishMessage="No."),
    BAD,
    [BAD],
    predicted(ITEM, FILTERED),
)
BYTES = tuple(json.dumps(sample).encode() for sample in SAMPLES)


@given(
    body=bodies | wrong_fields(SAMPLES) | mutated(BYTES),
    status=statuses,
    model=st.sampled_from([CHEAP, IMAGEN]),
)
@settings(max_examples=examples(500), deadline=None)
def test_any_answer_ends_in_images_or_an_error_of_ours(body, status, model):
    result = walk(HttpResponse(status=status, body=body), model=model)
    try:
        images = result.run().images
    except imagen.ImagenError as caught:
        assert caught.billed in ("yes", "no", "unknown")
        assert caught.retry_after_seconds is None or 0 <= caught.retry_after_seconds < 1e7
    else:
        assert images
        assert status == 200


@given(
    body=bodies | wrong_fields(({"models": [{"name": "models/a-image"}], "nextPageToken": "x"},)),
    status=statuses,
)
@settings(max_examples=examples(200), deadline=None)
def test_any_list_ends_in_models_or_an_error_that_costs_nothing(body, status):
    walked = Walk(
        google.list_models(), HttpResponse(status=status, body=body), *[listed("a-image")] * 10
    )
    try:
        assert all(model.wire_name for model in walked.run())
    except imagen.ImagenError as caught:
        assert caught.billed == "no"
