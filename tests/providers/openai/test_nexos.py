"""The nexos.ai gateway's provider, stepped by hand: the model list first, then
one strict POST.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings

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
from imagen._results.prices import share_cost
from imagen.providers import HttpRequest, HttpResponse
from imagen.providers.openai import _nexos as nexos
from imagen.testing.simulator import Nexos, open_simulator
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, images, outcome, reply, schema
from tests.support.lengths import examples
from tests.support.providers.openai import ends_well, open_client
from tests.support.reply_strategies import GOOD, bodies, statuses, wrong_fields

MODELS = [model.id for model in CATALOG if model.provider == "nexos"]
FIELDS = {"model", "prompt", "n", "quality", "response_format", "size", "style"}
UUID = "00000000-0000-4000-8000-00000000000"


def entry(name: str, number: int = 1, *endpoints: str) -> dict[str, object]:
    """One model of the list, with the fields that real ones have."""
    return {
        "id": name,
        "nexos_model_id": f"{UUID}{number}",
        "object": "model",
        "created": 1760000000,
        "owned_by": "google",
        "name": name,
        "timeout_ms": 60000,
        "pricing": {"input_cost_per_token": "0.000001"},
        "endpoints": list(endpoints or ("image_generation",)),
    }


def listing(*entries: dict[str, object]) -> HttpResponse:
    return reply({"object": "list", "data": list(entries), "total": len(entries)})


LIST = listing(
    *(entry(CATALOG.find(model).wire_name, number) for number, model in enumerate(MODELS))
)


def walk(*responses: HttpResponse, model: str | imagen.Model = "imagen-4", **fields: Any) -> Walk:
    return Walk(nexos.generate(call(model, **fields)), *responses)


# --- what is sent -------------------------------------------------------------


def test_the_list_is_asked_first_and_may_be_an_earlier_one():
    walked = walk(LIST, reply(images()))
    assert walked.run().images == (imagen.providers.GeneratedImage(data=IMAGE),)
    listed, posted = walked.requests
    assert listed == HttpRequest(method="GET", url="models", repeatable=True, cache_seconds=300.0)
    assert (posted.method, posted.url, posted.repeatable) == ("POST", "images/generations", False)
    assert posted.headers == {"content-type": "application/json"}
    assert walked.body == {
        "model": f"{UUID}{MODELS.index('imagen-4')}",
        "prompt": "a cat",
        "n": 1,
        "response_format": "b64_json",
    }


def test_only_the_fields_of_the_strict_schema_are_sent():
    everything = {
        "size": "1024x1024",
        "quality": "hd",
        "style": "vivid",
        "background": "opaque",
        "output_format": "png",
    }
    more = {"seed": 7, "negative_prompt": "dogs", "previews": 2}
    dalle = walk(LIST, reply(images()), model="dall-e-3", **everything, **more)
    dalle.run()
    assert dalle.body.keys() == FIELDS
    assert {field: dalle.body[field] for field in ("size", "quality", "style")} == {
        "size": "1024x1024",
        "quality": "hd",
        "style": "vivid",
    }
    imagen_4 = walk(LIST, reply(images()), **everything, **more)
    imagen_4.run()
    assert imagen_4.body.keys() == FIELDS - {"quality", "style"}
    assert not imagen_4.requests[1].stream


def test_options_go_along_and_may_not_replace_what_decides_the_price():
    walked = walk(LIST, reply(images()), options={"response_format": "url", "background": "opaque"})
    walked.run()
    assert walked.body["response_format"] == "url"
    assert walked.body["background"] == "opaque"
    for field in ("model", "prompt", "n"):
        assert isinstance(walk(LIST, options={field: 1}).fail(), InvalidRequestError)


@pytest.mark.parametrize("model", MODELS)
def test_bodies_keep_the_published_schema(model):
    validator = jsonschema.Draft202012Validator(schema("nexos", "ImagesGenerationsRequest"))
    can = CATALOG.find(model).capabilities
    for quality in (None, *can.qualities):
        for style in (None, *can.styles):
            for size in (None, *can.sizes):
                count = can.max_images_per_request
                walked = walk(
                    LIST,
                    reply(images()),
                    model=model,
                    quality=quality,
                    style=style,
                    size=size,
                    count=count,
                )
                walked.run()
                validator.validate(walked.body)


# --- which model --------------------------------------------------------------


def chosen(*entries: dict[str, object], model: str | imagen.Model = "imagen-4") -> str:
    walked = walk(listing(*entries), reply(images()), model=model)
    walked.run()
    return walked.body["model"]


def test_an_exact_name_comes_before_a_similar_one():
    assert chosen(entry("imagen-4", 1), entry("Imagen 4", 2), entry("IMAGEN4", 3)) == f"{UUID}2"


@pytest.mark.parametrize("name", ["imagen-4", "IMAGEN 4", "Imagen4", "imagen.4", "Imagen\u00a04"])
def test_a_name_is_found_without_case_spaces_dots_and_dashes(name):
    assert chosen(entry("Imagen 4 Ultra", 1), entry(name, 2)) == f"{UUID}2"


def test_a_uuid_names_a_model_too():
    model = msgspec.structs.replace(CATALOG.find("imagen-4"), wire_name=f"{UUID}7")
    assert chosen(entry("Imagen 4", 1), entry("Imagen 4", 7), model=model) == f"{UUID}7"


def test_models_that_make_no_images_do_not_count():
    assert chosen(entry("Imagen 4", 1, "chat_completion"), entry("Imagen 4", 2)) == f"{UUID}2"


def test_two_models_of_one_name_are_the_callers_to_tell_apart():
    error = walk(listing(entry("Imagen 4", 1), entry("Imagen 4", 2))).fail()
    assert outcome(error) == (ModelNotFoundError, "MODEL_NOT_FOUND", False, "no", None)
    assert f"{UUID}1 and {UUID}2" in error.message


@pytest.mark.parametrize(
    "entries", [(), (entry("Flux 1.1 pro"),), (entry("Imagen 4", 1, "chat_completion"),)]
)
def test_a_model_that_the_workspace_lacks_is_named_with_those_it_has_and_the_successor(entries):
    error = walk(listing(*entries)).fail()
    assert outcome(error) == (ModelNotFoundError, "MODEL_NOT_FOUND", False, "no", None)
    assert ("Flux 1.1 pro" if "Flux" in str(entries) else "it has: none") in error.message
    assert error.details == {"successor": "flux-1.1-pro"}


# --- what comes back ----------------------------------------------------------


def test_a_link_is_downloaded_and_the_revised_prompt_kept():
    body = {
        "created": 1790000000,
        "data": [{"url": "https://files.example/1.png", "revised_prompt": "a red cube"}],
    }
    walked = walk(LIST, reply(body), HttpResponse(status=200, body=IMAGE))
    assert walked.run().images == (
        imagen.providers.GeneratedImage(data=IMAGE, revised_prompt="a red cube"),
    )
    assert walked.requests[2] == HttpRequest(
        method="GET", url="https://files.example/1.png", repeatable=True, collects=True
    )


@pytest.mark.parametrize(
    ("usage", "usd"),
    [
        ({"nexos_credits_cost": 0.04}, "0.04"),
        ({"nexos_credits_cost": "0.0425", "total_tokens": 7}, "0.0425"),
        ({"nexos_credits_cost": 0}, "0"),
        ({"nexos_credits_cost": -1}, None),
        ({"nexos_credits_cost": "NaN"}, None),
        ({"nexos_credits_cost": "sNaN"}, None),
        ({"nexos_credits_cost": "Infinity"}, None),
        ({"nexos_credits_cost": "much"}, None),
        ({"nexos_credits_cost": "1e999999"}, None),
        ({"nexos_credits_cost": 10**30}, None),
        ({"nexos_credits_cost": None}, None),
        ({"total_tokens": 7}, None),
        (["nexos_credits_cost"], None),
        (None, None),
    ],
    ids=str,
)
def test_the_price_is_what_the_gateway_says_or_unknown(usage, usd):
    result = walk(LIST, reply(images(2, usage=usage)), count=2).run()
    assert result.reported_cost_usd == (None if usd is None else Decimal(usd))
    assert result.usage is None
    if usd is not None:
        shares = share_cost(
            imagen.Cost(usd=result.reported_cost_usd, source="reported"), result.images
        )
        assert sum(share.usd for share in shares) == Decimal(usd)


@pytest.mark.parametrize(("rate", "usd"), [("1", "0.04"), ("0.011", "0.00044"), ("2.50", "0.1")])
def test_a_credit_is_worth_what_the_settings_say(rate, usd):
    paid = reply(images(usage={"nexos_credits_cost": "0.04"}))
    exchange = nexos.generate(call("imagen-4", settings={"usd_per_credit": rate}))
    assert Walk(exchange, LIST, paid).run().reported_cost_usd == Decimal(usd)


@pytest.mark.parametrize(
    "rate", ["", "one", "NaN", "sNaN", "Infinity", "-1", "0", "1e9", "1e999999", 1, 1.5, None, True]
)
def test_a_rate_that_is_none_is_refused_before_anything_is_ordered(rate):
    walked = Walk(nexos.generate(call("imagen-4", settings={"usd_per_credit": rate})))
    error = walked.fail()
    assert isinstance(error, imagen.ConfigurationError)
    assert "usd_per_credit" in error.message
    assert not walked.requests


def test_one_image_that_cannot_be_had_does_not_lose_the_others():
    broken = {"data": [{"b64_json": "*!*"}, *images(2)["data"]]}
    found = walk(LIST, reply(broken), count=3).run().images
    assert [type(image) for image in found].count(imagen.providers.LostImage) == 1
    assert len(found) == 3


# --- the list -----------------------------------------------------------------


def test_the_image_models_of_the_workspace_are_listed_by_their_names():
    found = Walk(
        nexos.list_models(), listing(entry("Imagen 4", 1), entry("GPT 4.1", 2, "chat_completion"))
    )
    assert found.run() == (imagen.providers.ListedModel(wire_name="Imagen 4", name="Imagen 4"),)
    assert found.requests == [HttpRequest(method="GET", url="models", repeatable=True)]


@given(body=bodies, status=statuses)
@settings(max_examples=100, deadline=None)
def test_any_answer_to_the_question_for_the_list_ends_well_and_costs_nothing(body, status):
    try:
        found = Walk(nexos.list_models(), HttpResponse(status=status, body=body)).run()
    except imagen.ImagenError as error:
        assert error.billed == "no"
    else:
        assert all(isinstance(model, imagen.providers.ListedModel) for model in found)


# --- over sockets -------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")
async def test_the_settings_file_says_what_a_credit_is_worth(tmp_path):
    (tmp_path / "imagen.toml").write_text('[providers.nexos.settings]\nusd_per_credit = "0.5"\n')
    gateway = Nexos(credits_per_image=Decimal("0.04"))
    async with (
        open_simulator(gateway) as simulator,
        open_client(tmp_path, simulator, "nexos") as client,
    ):
        image = await client.generate("a cat", model="flux-1.1-pro")
        assert image.cost == imagen.Cost(usd=Decimal("0.02"), source="reported")
        listed = {model.wire_name for model in (await client.discover()).models if model.listed}
        assert {"Imagen 4", "Flux 1.1 pro"} <= listed
        assert "GPT 4.1" not in listed


# --- errors -------------------------------------------------------------------

REFUSED = (ContentFilterError, "CONTENT_FILTER", False, "no", None)
NO_MODEL = (ModelNotFoundError, "API_ERROR", False, "no", None)
BAD_FIELD = (InvalidRequestError, "API_ERROR", False, "no", None)
BAD_PROMPT = (InvalidRequestError, "INVALID_PROMPT", False, "no", None)
NO_MONEY = (QuotaExceededError, "QUOTA", False, "no", None)
NO_ENTRY = (AuthenticationError, "AUTHENTICATION", False, "no", None)
BLOCKED = (ProviderError, "API_ERROR", False, "no", None)
OUTAGE = (ProviderError, "API_ERROR", True, "unknown", None)
OVERLOAD = (ProviderError, "API_ERROR", True, "no", None)
BUSY = (RateLimitError, "RATE_LIMIT", True, "no", None)


def openai_error(**error: object) -> dict[str, object]:
    return {
        "error": {
            "message": "Something is wrong.",
            "type": None,
            "param": None,
            "code": None,
            **error,
        }
    }


def own_error(code: int, message: str) -> dict[str, object]:
    return {"error": {"code": code, "message": message}}


CDN = b"error code: 1010"
ERRORS = [
    pytest.param(400, openai_error(param="size", code="invalid_value"), BAD_FIELD, id="400 field"),
    pytest.param(
        400, own_error(100101, "Invalid value for quality"), BAD_FIELD, id="400 own field"
    ),
    pytest.param(400, openai_error(param="prompt"), BAD_PROMPT, id="400 prompt"),
    pytest.param(
        400,
        own_error(100101, "prompt: must not be longer than 4000"),
        BAD_PROMPT,
        id="400 own prompt",
    ),
    pytest.param(400, openai_error(code="content_policy_violation"), REFUSED, id="400 policy"),
    pytest.param(400, openai_error(code="moderation_blocked"), REFUSED, id="400 moderation"),
    pytest.param(
        400,
        openai_error(message="The prompt was rejected by the safety system."),
        REFUSED,
        id="400 text about safety",
    ),
    pytest.param(
        400, own_error(100200, "Blocked by content policy"), REFUSED, id="400 own text about policy"
    ),
    pytest.param(400, own_error(100110, "Model not found"), NO_MODEL, id="400 model"),
    pytest.param(404, own_error(100110, "Model not found"), NO_MODEL, id="404 model"),
    pytest.param(401, openai_error(message="The API key is missing or wrong."), NO_ENTRY, id="401"),
    pytest.param(401, b"Unauthorized", NO_ENTRY, id="401 text"),
    pytest.param(402, openai_error(message="Out of credits."), NO_MONEY, id="402"),
    pytest.param(402, b"", NO_MONEY, id="402 empty"),
    pytest.param(403, own_error(110014, "Action is not allowed"), NO_ENTRY, id="403 not allowed"),
    pytest.param(403, CDN, BLOCKED, id="403 user agent"),
    pytest.param(408, own_error(1, "Timeout"), OUTAGE, id="408"),
    pytest.param(429, own_error(1, "Too many requests"), BUSY, id="429"),
    pytest.param(
        429, openai_error(message="Please try again in 12s."), (*BUSY[:4], 12.0), id="429 wait"
    ),
    *(pytest.param(status, openai_error(), OUTAGE, id=str(status)) for status in (500, 502, 504)),
    pytest.param(503, openai_error(), OVERLOAD, id="503"),
]


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
def test_each_error_of_the_gateway_has_its_class(status, body, expected):
    error = walk(LIST, reply(body, status)).fail()
    assert outcome(error) == expected


@pytest.mark.parametrize(("status", "body", "expected"), ERRORS)
def test_the_same_errors_of_the_model_list_cost_nothing(status, body, expected):
    walked = walk(reply(body, status))
    if status == 404:
        expected = NO_ENTRY
    assert outcome(walked.fail()) == (*expected[:3], "no", expected[4])
    assert len(walked.requests) == 1


def test_a_blocked_user_agent_is_explained():
    assert "User-Agent" in walk(LIST, reply(CDN, 403)).fail().message


def test_a_numeric_code_is_kept():
    assert (
        walk(LIST, reply(own_error(110014, "Action is not allowed"), 403)).fail().details["code"]
        == "110014"
    )


# --- anything at all ----------------------------------------------------------

LISTS = (
    {"object": "list", "data": [entry("Imagen 4", 1), entry("Imagen 4", 2, "chat_completion")]},
)
PAID = {**GOOD, "usage": {"nexos_credits_cost": "0.04"}}


@given(body=bodies | wrong_fields(LISTS), status=statuses)
@settings(max_examples=examples(250), deadline=None)
def test_any_list_ends_well_and_costs_nothing(body, status):
    walked = walk(HttpResponse(status=status, body=body), reply(images()))
    ends_well(walked)
    if len(walked.requests) == 1:
        assert walk(HttpResponse(status=status, body=body)).fail().billed == "no"


@given(body=bodies | wrong_fields((PAID,)), status=statuses)
@settings(max_examples=examples(250), deadline=None)
def test_any_answer_ends_in_images_or_an_error_of_ours(body, status):
    files = [HttpResponse(status=200, body=IMAGE)] * 20
    ends_well(walk(LIST, HttpResponse(status=status, body=body), *files))


def test_the_list_may_hold_more_than_we_know():
    body = json.loads(LIST.body)
    body["data"].append(
        {
            **entry("New", 9),
            "endpoints": ["image_generation", "hologram"],
            "pricing": None,
            "x": [1],
        }
    )
    walked = walk(reply(body), reply(images()))
    assert walked.run().images
