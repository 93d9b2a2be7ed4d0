"""What xAI and OpenRouter were recorded to answer, read by their adapters."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pybase64
import pytest

import imagen
from imagen._results.prices import cost_of, quote_request
from imagen.providers import PROVIDERS, GeneratedImage, HttpResponse
from tests.support.exchanges import CATALOG, IMAGE, Walk, call, recorded, reply

GROK, GROK_2 = "grok-imagine-image", "grok-imagine-image-2.0"
ROUTED = "openrouter/gemini-3.1-flash-lite-image"


def answer(recording: dict[str, Any]) -> HttpResponse:
    response = recording["response"]
    body = response["body"]
    if isinstance(body, dict) and "bytes_base64" in body:
        body = pybase64.b64decode(body["bytes_base64"])
    content = body.encode() if isinstance(body, str) else body
    return reply(content, response["status"], **response["headers"])


def walk(name: str, provider: str, model: str) -> Walk:
    recording = recorded(name, f"2026-11-28/{provider}")
    later = [answer(one) for one in recording.get("then", ())] or [reply(IMAGE)]
    return Walk(PROVIDERS[provider].operations["generate"](call(model)), answer(recording), *later)


@pytest.mark.parametrize(
    "name",
    [
        "generate-1k.json",
        "generate-16x9.json",
        "generate-b64.json",
        "generate-grok-imagine-image-url-2026-08.json",
    ],
)
def test_a_recorded_image_of_xai_has_its_cost_and_no_other_prompt(name):
    result = walk(name, "xai", GROK).run()
    (image,) = result.images
    assert isinstance(image, GeneratedImage)
    assert image.data
    assert image.revised_prompt is None
    assert result.reported_cost_usd == Decimal("0.02")
    model, request = CATALOG.find(GROK), imagen.Generate(prompt="a cat")
    assert quote_request(model, request).expected_usd == cost_of(model, request, result).usd


@pytest.mark.parametrize(
    "name",
    [
        "error-400-empty-prompt.json",
        "error-400-model-not-found.json",
        "error-422-plain-text.json",
        "error-429-no-credits.json",
    ],
)
def test_a_recorded_refusal_of_xai_costs_nothing(name):
    error = walk(name, "xai", GROK).fail()
    assert error.billed == "no"
    assert error.details["status"] == str(recorded(name, "2026-11-28/xai")["response"]["status"])


def test_the_recorded_list_of_xai_is_read():
    recording = recorded("list-image-models.json", "2026-11-28/xai")
    list_models = PROVIDERS["xai"].list_models
    assert list_models is not None
    listed = Walk(list_models(), answer(recording)).run()
    assert [model.wire_name for model in listed] == [GROK, "grok-imagine-image-pro"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("error-400-upstream-raw.json", imagen.InvalidRequestError),
        ("error-402-no-credits.json", imagen.QuotaExceededError),
    ],
)
def test_a_recorded_refusal_of_openrouter_has_its_class(name, kind):
    error = walk(name, "openrouter", ROUTED).fail()
    assert type(error) is kind
    assert (error.billed, error.retryable) == ("no", False)


# --- the rows -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        ({"quality": "low", "resolution": "1K"}, "0.04", "0.05"),
        ({"quality": "low", "resolution": "2K"}, "0.06", "0.075"),
        ({"quality": "medium", "resolution": "1K"}, "0.06", "0.075"),
        ({"quality": "medium", "resolution": "2K"}, "0.08", "0.10"),
        ({"resolution": "2K"}, "0.06", "0.10"),
        ({}, "0.04", "0.10"),
    ],
)
def test_the_second_grok_is_quoted_by_quality_and_resolution(fields, low, high):
    quote = quote_request(CATALOG.find(GROK_2), imagen.Generate(prompt="a cat", **fields))
    assert (quote.low_usd, quote.high_usd) == (Decimal(low), Decimal(high))


@pytest.mark.parametrize(
    ("images", "count", "low", "high"),
    [
        (1, 1, "0.022", "0.022"),
        (3, 1, "0.026", "0.026"),
        (2, 4, "0.084", "0.096"),
    ],
)
def test_each_image_of_an_edit_costs_too(images, count, low, high):
    edit = imagen.Edit(prompt="a hat", images=(b"",) * images)
    quote = quote_request(CATALOG.find(GROK), edit, count)
    assert (quote.low_usd, quote.high_usd) == (Decimal(low), Decimal(high))


def test_a_price_of_input_images_comes_on_top_of_a_flat_one():
    price = {"usd_per_image": "0.05", "usd_per_input_image": "0.01"}
    flat = {"provider": "xai", "price": price}
    model = imagen.providers.load_catalog({"mine": flat}).find("mine")
    quote = quote_request(model, imagen.Edit(prompt="a hat", images=(b"", b"")), 2)
    assert (quote.low_usd, quote.high_usd) == (Decimal("0.12"), Decimal("0.14"))
    assert quote_request(model, imagen.Generate(prompt="a cat")).high_usd == Decimal("0.05")


def test_the_retired_grok_names_its_successor():
    with pytest.raises(imagen.ModelNotFoundError, match=r"2026-11-02\. Use grok-imagine-image-2"):
        CATALOG.select("grok-imagine-image-quality", today=datetime.date(2026, 11, 3))
