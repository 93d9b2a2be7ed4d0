"""What is made of the answers of the providers that imitate OpenAI: recorded
ones, errors, and anything at all.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

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
from imagen._results.prices import cost_of
from imagen.providers import PROVIDERS, HttpRequest, HttpResponse
from tests.support.exchanges import (
    IMAGE,
    IMAGE_BASE64,
    Walk,
    call,
    images,
    outcome,
    recorded,
    reply,
)
from tests.support.lengths import examples
from tests.support.providers.openai import ends_well
from tests.support.providers.openai_compatible import (
    CAT,
    LOCAL,
    OPENROUTER,
    SCHNELL,
    XAI,
    walk,
    walk_edit,
)
from tests.support.reply_strategies import bodies, mutated, statuses, wrong_fields

# --- recorded answers, and what they cost -------------------------------------


def test_the_recorded_answer_of_xai_gives_a_link_and_its_cost():
    recording = recorded("images_edits.json", "xai")["response"]
    walked = walk_edit(
        "grok-imagine-image-quality",
        reply(recording["body"], **recording["headers"]),
        HttpResponse(status=200, body=IMAGE),
        found=(CAT, CAT),
    )
    result = walked.run()
    assert result.images == (imagen.providers.GeneratedImage(data=IMAGE),)
    assert result.reported_cost_usd == Decimal("0.07")
    link = recording["body"]["data"][0]["url"]
    assert walked.requests[1] == HttpRequest(method="GET", url=link, repeatable=True, collects=True)


def test_the_recorded_answer_of_openrouter_gives_an_image_and_its_cost():
    body = recorded("images.json", "openrouter")["response"]["body"]
    asked = call(OPENROUTER)
    result = Walk(PROVIDERS["openrouter"].operations["generate"](asked), reply(body)).run()
    assert result.images[0].data == pybase64.b64decode(body["data"][0]["b64_json"])
    assert cost_of(asked.model, asked.request, result) == imagen.Cost(
        usd=Decimal("0.03422675"), source="reported"
    )


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        (XAI, {"cost_in_usd_ticks": 200000000}, "0.02"),
        (XAI, {"cost_in_usd_ticks": 1}, "1e-10"),
        (XAI, {"cost_in_usd_ticks": 10**17}, None),
        (XAI, {"cost_in_usd_ticks": -1}, None),
        (XAI, {"cost_in_usd_ticks": "much"}, None),
        (XAI, {"cost": 1}, None),
        (OPENROUTER, {"cost": 0}, "0"),
        (OPENROUTER, {"cost": 0.1}, "0.1"),
        (OPENROUTER, {"cost": "NaN"}, None),
        (OPENROUTER, {"cost": "sNaN"}, None),
        (OPENROUTER, {"cost": "1e999999"}, None),
        (OPENROUTER, {"cost": 10**30}, None),
        (OPENROUTER, {"cost": None}, None),
        (OPENROUTER, {"cost": [1]}, None),
        (OPENROUTER, [1], None),
        (OPENROUTER, None, None),
        (SCHNELL, {"cost": 1, "cost_in_usd_ticks": 1}, None),
    ],
    ids=str,
)
def test_the_cost_is_what_the_reply_says_or_left_to_the_price_list(model, usage, usd):
    result = walk(model, reply(images(usage=usage))).run()
    assert result.reported_cost_usd == (None if usd is None else Decimal(usd))


@pytest.mark.parametrize("model", LOCAL)
def test_a_local_server_costs_nothing(model):
    asked = call(model)
    result = Walk(
        PROVIDERS[asked.model.provider].operations["generate"](asked), reply(images())
    ).run()
    assert cost_of(asked.model, asked.request, result).usd == 0


# --- the forms of an image ----------------------------------------------------


@pytest.mark.parametrize(
    ("url", "asked_for"),
    [
        ("https://files.example/1.png", "https://files.example/1.png"),
        (
            "http://localhost:8080/generated-images/b64.png",
            "http://localhost:8080/generated-images/b64.png",
        ),
        ("/generated-images/b64.png", "../generated-images/b64.png"),
        ("/v1/images/7/content", "../v1/images/7/content"),
    ],
)
def test_a_link_is_followed_whatever_its_form(url, asked_for):
    walked = walk("localai", reply({"data": [{"url": url}]}), HttpResponse(status=200, body=IMAGE))
    assert walked.run().images[0].data == IMAGE
    assert walked.requests[1].url == asked_for


def test_a_data_url_is_an_image():
    url = f"data:image/png;base64,{IMAGE_BASE64}"
    assert (
        walk("sglang", reply({"data": [{"url": url, "b64_json": ""}]})).run().images[0].data
        == IMAGE
    )


@pytest.mark.parametrize("model", [SCHNELL, "vllm-omni"])
def test_a_seed_is_told_where_it_is_known_to_be_that_of_the_image(model):
    assert walk(model, reply(images()), seed=7).run().images[0].seed == 7
    found = walk(model, reply(images(2)), seed=7, count=2).run().images
    assert [image.seed for image in found] == [None, None]


def test_an_image_that_was_filtered_stands_among_the_others_and_the_cost_is_for_all():
    items = [
        {"b64_json": IMAGE_BASE64},
        {"url": "", "respect_moderation": False},
        {"respect_moderation": False},
    ]
    result = walk(
        XAI, reply({"data": items, "usage": {"cost_in_usd_ticks": 600000000}}), count=3
    ).run()
    assert [type(image) for image in result.images] == [
        imagen.providers.GeneratedImage,
        imagen.providers.WithheldImage,
        imagen.providers.WithheldImage,
    ]
    assert result.reported_cost_usd == Decimal("0.06")
    kept = walk(
        XAI, reply({"data": [{"b64_json": IMAGE_BASE64, "respect_moderation": False}]})
    ).run()
    assert kept.images == (imagen.providers.GeneratedImage(data=IMAGE),)


# --- errors -------------------------------------------------------------------

REFUSED = (ContentFilterError, "CONTENT_FILTER", False, "no", None)
NO_MODEL = (ModelNotFoundError, "API_ERROR", False, "no", None)
BAD_FIELD = (InvalidRequestError, "API_ERROR", False, "no", None)
BAD_PROMPT = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
NO_MONEY = (QuotaExceededError, "QUOTA", False, "no", None)
NO_ENTRY = (AuthenticationError, "AUTHENTICATION", False, "no", None)
BUSY = (RateLimitError, "RATE_LIMIT", True, "no", None)
OUTAGE = (ProviderError, "API_ERROR", True, "unknown", None)
OVERLOAD = (ProviderError, "API_ERROR", True, "no", None)
BROKEN = (ProviderError, "API_ERROR", False, "no", None)


def xai(text: str, code: str = "Client specified an invalid argument") -> dict[str, Any]:
    return {"code": code, "error": text}


def router(status: int, text: str, **more: Any) -> dict[str, Any]:
    return {"error": {"code": status, "message": text, **more}}


def together(text: str, **more: Any) -> dict[str, Any]:
    return {
        "error": {
            "message": text,
            "type": "invalid_request_error",
            "param": None,
            "code": None,
            **more,
        }
    }


FLAGGED = {"reasons": ["violence", "hate"], "flagged_input": "a ..."}
ERRORS = [
    (XAI, 400, xai("Argument not supported: size"), BAD_FIELD, "Argument not supported: size"),
    (
        XAI,
        400,
        xai("Generated image rejected by content moderation."),
        REFUSED,
        "rejected by content moderation",
    ),
    (XAI, 401, xai("Incorrect API key."), NO_ENTRY, "Incorrect API key"),
    (XAI, 403, xai("Content violates usage guidelines."), REFUSED, "usage guidelines"),
    (XAI, 403, xai("Your team has no access."), NO_ENTRY, "no access"),
    (XAI, 404, xai("The model x does not exist."), NO_MODEL, "does not exist"),
    (XAI, 429, xai("Too many requests."), BUSY, "Too many requests"),
    (XAI, 500, xai("Internal error."), OUTAGE, "Internal error"),
    (XAI, 503, xai("Overloaded."), OVERLOAD, "Overloaded"),
    (OPENROUTER, 400, router(400, "bad aspect_ratio"), BAD_PROMPT, "bad aspect_ratio"),
    (OPENROUTER, 401, router(401, "No auth credentials found"), NO_ENTRY, "No auth credentials"),
    (
        OPENROUTER,
        402,
        router(402, "Insufficient credits. Add more."),
        NO_MONEY,
        "Insufficient credits",
    ),
    (OPENROUTER, 403, router(403, "Your input was flagged.", metadata=FLAGGED), REFUSED, "flagged"),
    (OPENROUTER, 403, router(403, "This key has no access."), NO_ENTRY, "no access"),
    (OPENROUTER, 404, router(404, "No endpoints found."), NO_MODEL, "No endpoints found"),
    (OPENROUTER, 408, router(408, "Timed out."), OUTAGE, "Timed out"),
    (OPENROUTER, 413, router(413, "Payload too large."), BAD_FIELD, "too large"),
    (OPENROUTER, 429, router(429, "Rate limited."), BUSY, "Rate limited"),
    (OPENROUTER, 502, router(502, "Upstream is down."), OUTAGE, "Upstream is down"),
    (OPENROUTER, 503, router(503, "No provider."), OVERLOAD, "No provider"),
    (SCHNELL, 400, together("steps must be at most 12", param="steps"), BAD_FIELD, "steps must be"),
    (SCHNELL, 400, together("prompt is empty", param="prompt"), BAD_PROMPT, "prompt is empty"),
    (SCHNELL, 422, together("Prompt may contain NSFW content."), REFUSED, "NSFW"),
    (
        SCHNELL,
        401,
        together("Invalid API key.", code="invalid_api_key"),
        NO_ENTRY,
        "Invalid API key",
    ),
    (SCHNELL, 402, together("Your credit is used up."), NO_MONEY, "used up"),
    (
        SCHNELL,
        404,
        together("Unable to access model.", code="model_not_available"),
        NO_MODEL,
        "Unable to access",
    ),
    (SCHNELL, 429, together("Please try again in 2s."), (*BUSY[:4], 2.0), "try again"),
    (SCHNELL, 500, together("Internal error."), OUTAGE, "Internal error"),
    (SCHNELL, 503, together("Overloaded."), OVERLOAD, "Overloaded"),
    ("localai", 500, router(500, "could not load model"), BROKEN, "could not load model"),
    ("localai", 401, router(401, "Unauthorized"), NO_ENTRY, "Unauthorized"),
    ("localai", 404, {"message": "Not Found"}, NO_MODEL, "Not Found"),
    ("vllm-omni", 400, {"detail": "size must be WIDTHxHEIGHT"}, BAD_PROMPT, "size must be"),
    (
        "vllm-omni",
        422,
        {"detail": [{"loc": ["body", "n"], "msg": "too many"}]},
        BAD_PROMPT,
        "n: too many",
    ),
    ("vllm-omni", 503, {"detail": "this model makes no images"}, OVERLOAD, "makes no images"),
    (
        "sglang",
        400,
        {"detail": "response format url is not supported"},
        BAD_PROMPT,
        "is not supported",
    ),
    ("sglang", 500, {"detail": "CUDA out of memory"}, BROKEN, "out of memory"),
    ("sd-server", 400, {"error": "prompt required"}, BAD_PROMPT, "prompt required"),
    ("sd-server", 500, {"error": "generate_image returned no results"}, BROKEN, "no results"),
    ("sd-server", 500, {"error": "server_error", "message": "bad json"}, BROKEN, "bad json"),
    ("sd-server", 502, b"<html>no</html>", OVERLOAD, "502"),
]


@pytest.mark.parametrize(
    ("model", "status", "body", "expected", "said"),
    ERRORS,
    ids=[f"{row[0]} {row[1]} {row[4]}" for row in ERRORS],
)
def test_each_error_has_its_class_and_says_what_was_said(model, status, body, expected, said):
    error = walk(model, reply(body, status)).fail()
    assert outcome(error) == expected
    assert said in error.message
    assert error.details["status"] == str(status)


def test_the_reasons_of_a_refusal_are_named():
    error = walk(OPENROUTER, reply(router(403, "Flagged.", metadata=FLAGGED), 403)).fail()
    assert error.details["moderation_categories"] == "violence, hate"


@pytest.mark.parametrize("model", LOCAL)
@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"data": []}', b'{"data": [{"b64_json": "*"}]}', b"<html>"]
)
def test_whatever_a_local_server_says_costs_nothing(model, body):
    assert walk(model, reply(body)).fail().billed == "no"


@pytest.mark.parametrize("model", [XAI, OPENROUTER, SCHNELL])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"data": []}', b"<html>"])
def test_an_answer_without_an_image_may_have_been_billed(model, body):
    assert walk(model, reply(body)).fail().billed == "unknown"


# --- lists --------------------------------------------------------------------

LISTS = {
    "xai": (
        "image-generation-models",
        {"models": [{"id": "grok-imagine-image"}]},
        {"grok-imagine-image": ""},
    ),
    "openrouter": ("images/models", {"data": [{"id": "a/b", "name": "A: B"}]}, {"a/b": "A: B"}),
    "together": (
        "models",
        [{"id": "a/b", "type": "image", "display_name": "B"}, {"id": "c", "type": "chat"}],
        {"a/b": "B"},
    ),
    "localai": (
        "models",
        {"object": "list", "data": [{"id": "flux"}, {"id": "llama"}]},
        {"flux": "", "llama": ""},
    ),
    "vllm_omni": ("models", {"data": [{"id": "Qwen/Qwen-Image"}]}, {"Qwen/Qwen-Image": ""}),
    "sglang": ("models", {"data": [{"id": "x", "name": None}]}, {"x": ""}),
    "sd_server": ("models", {"data": [{"id": "sd-cpp-local"}]}, {"sd-cpp-local": ""}),
}


@pytest.mark.parametrize(
    ("name", "path", "body", "expected"), [(name, *row) for name, row in LISTS.items()], ids=LISTS
)
def test_a_list_is_read_in_the_form_of_each(name, path, body, expected):
    list_models = PROVIDERS[name].list_models
    assert list_models is not None
    walked = Walk(list_models(), reply(body))
    assert {model.wire_name: model.name for model in walked.run()} == expected
    assert walked.requests == [HttpRequest(method="GET", url=path, repeatable=True)]
    assert Walk(list_models(), reply(body, 500)).fail().billed == "no"
    assert isinstance(Walk(list_models(), reply(b"nothing")).fail(), ProviderError)


@pytest.mark.parametrize("name", LISTS)
def test_where_a_server_is_can_be_said(name):
    provider = PROVIDERS[name]
    local = name not in ("xai", "openrouter", "together")
    assert provider.base_url_variable == f"{name.upper()}_BASE_URL"
    assert provider.key_variables == (f"{name.upper()}_API_KEY",)
    assert (provider.optional, not provider.key_required) == (local, local)
    assert provider.base_url.startswith("http://localhost:" if local else "https://")
    assert provider.probe_url


# --- anything at all ----------------------------------------------------------

SAMPLES: tuple[Any, ...] = (
    {
        "created": 1,
        "data": [{"b64_json": IMAGE_BASE64}],
        "usage": {"cost": 0.03, "cost_in_usd_ticks": 3},
    },
    {"data": [{"url": "/generated-images/1.png"}, {"url": "", "respect_moderation": False}]},
    {"code": "x", "error": "No.", "message": "No."},
    {"error": {"code": 403, "message": "No.", "metadata": {"reasons": ["x"]}}},
    {"detail": [{"loc": ["body", "response_format"], "msg": "No."}]},
)
anything = st.one_of(
    bodies, wrong_fields(SAMPLES), mutated(tuple(json.dumps(sample).encode() for sample in SAMPLES))
)


@given(
    model=st.sampled_from([XAI, OPENROUTER, SCHNELL, *LOCAL]),
    first=anything,
    second=anything,
    status=statuses,
)
@settings(max_examples=examples(500), deadline=None)
def test_any_answer_ends_in_images_or_an_error_of_ours(model, first, second, status):
    files = [HttpResponse(status=200, body=IMAGE)] * 20
    ends_well(walk(model, HttpResponse(status=status, body=first), reply(second), *files))


@given(name=st.sampled_from(sorted(LISTS)), body=anything, status=statuses)
@settings(max_examples=examples(200), deadline=None)
def test_any_list_is_a_list_or_an_error_that_costs_nothing(name, body, status):
    list_models = PROVIDERS[name].list_models
    assert list_models is not None
    try:
        found = Walk(list_models(), HttpResponse(status=status, body=body)).run()
    except imagen.ImagenError as error:
        assert error.billed == "no"
    else:
        assert all(
            isinstance(model, imagen.providers.ListedModel) and model.wire_name is not None
            for model in found
        )
        msgspec.json.encode(found)
