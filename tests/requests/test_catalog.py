"""The catalog of models."""

from __future__ import annotations

import datetime
import pathlib
import re
from decimal import Decimal

import pytest

import imagen
from imagen._results.prices import quote_request
from imagen.providers import CATALOG_AS_OF

CATALOG = imagen.providers.load_catalog()


TODAY = datetime.date(2026, 11, 22)


def test_the_catalog_has_what_was_promised():
    nexos = {model.id for model in CATALOG if model.provider == "nexos"}
    assert nexos == {
        "imagen-4",
        "imagen-4-fast",
        "imagen-4-ultra",
        "flux-1.1-pro",
        "gpt-image-1",
        "gpt-image-1-mini",
        "dall-e-3",
    }
    for name in nexos:
        model = CATALOG.find(name)
        assert model.rate_limit == imagen.providers.RateLimit(images=100, period_seconds=3 * 3600)
        assert model.use_cases
        assert model.strengths
        assert model.weaknesses
        assert model.price is None
    assert CATALOG.find("openai/gpt-image-1").provider == "openai"
    assert CATALOG.find("nexos/gpt-image-1") is CATALOG.find("gpt-image-1")
    assert CATALOG.find("openai/gpt-image-2") is CATALOG.find("gpt-image-2")


def test_every_successor_is_a_model_that_can_be_had():
    for model in CATALOG:
        if model.lifecycle.successor:
            assert CATALOG.find(model.lifecycle.successor).lifecycle.state(TODAY) == "live"


def test_a_retired_model_fails_with_its_successor():
    with pytest.raises(
        imagen.ModelNotFoundError, match=r"retired on 2026-05-12\. Use gpt-image-2"
    ) as caught:
        CATALOG.select("openai/dall-e-3", today=TODAY)
    assert caught.value.details == {"successor": "gpt-image-2"}


def test_a_retiring_model_warns_until_its_day_and_fails_from_then_on():
    with pytest.warns(
        imagen.providers.ModelRetiringWarning,
        match=r"will be retired on 2026-12-01\. Use gpt-image-2.6-sunburst",
    ):
        CATALOG.select("gpt-image-1.5", today=TODAY)
    with pytest.raises(imagen.ModelNotFoundError, match="was retired on 2026-12-01"):
        CATALOG.select("gpt-image-1.5", today=datetime.date(2026, 12, 1))


def test_a_gateways_model_without_a_maker_warns_and_can_be_had():
    with pytest.warns(
        imagen.providers.ModelRetiringWarning, match="only while nexos still lists it"
    ):
        assert CATALOG.select("imagen-4", today=TODAY).provider == "nexos"


def test_a_misspelt_model_gets_a_suggestion():
    with pytest.raises(imagen.ModelNotFoundError, match="did you mean"):
        CATALOG.find("imagen4")


def test_users_add_and_override_entries():
    catalog = imagen.providers.load_catalog(
        {
            "mine": {"provider": "openai", "price": {"usd_per_image": "0.02"}},
            "gpt-image-2": {"price": {"estimate_margin": "2"}},
            "cousin": {"like": "gpt-image-2", "wire_name": "gpt-image-2-2026-04-21"},
        }
    )
    assert catalog.find("mine").price.usd_per_image == Decimal("0.02")
    assert catalog.find("gpt-image-2").price.estimate_margin == 2
    assert catalog.find("gpt-image-2").price.table
    assert catalog.find("cousin").wire_name == "gpt-image-2-2026-04-21"
    assert catalog.find("cousin").capabilities == catalog.find("gpt-image-2").capabilities


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ({"provider": 3}, "Expected `str`"),
        ({"provider": "openai", "colour": "red"}, "colour"),
        ({"like": "nothing"}, "names no entry"),
        ({"provider": "openai", "price": {"usd_per_image": "cheap"}}, "usd_per_image"),
        ({}, "provider"),
    ],
)
def test_a_wrong_entry_is_said_to_be_wrong(table, sentence):
    with pytest.raises(imagen.ConfigurationError, match=sentence):
        imagen.providers.load_catalog({"mine": table})


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("gpt-image-1.5", "gpt-image-2.6-sunburst"),
        ("chatgpt-image-latest", "gpt-image-2.6-sunburst"),
        ("openai/gpt-image-1-mini", "gpt-image-2.6-flare"),
        ("gpt-image-1-mini", "gpt-image-2.6-flare"),
    ],
)
def test_what_openai_retires_in_december_names_what_the_maker_names(name, successor):
    assert CATALOG.find(name).lifecycle.successor == successor


@pytest.mark.parametrize("model", ["gemini-nano-banana-2.1", "vertex/gemini-nano-banana-2.1"])
def test_an_image_of_4k_is_quoted_by_its_3780_tokens(model):
    request = imagen.Generate(prompt="x", resolution="4K")
    quote = quote_request(CATALOG.find(model), request)
    assert quote.low_usd == Decimal(3780) * 30 / 1_000_000 == Decimal("0.1134")
    # Thinking and words come on top, at 7.50 dollars a million.
    assert quote.high_usd is not None
    assert quote.high_usd - quote.low_usd > Decimal(2000) * Decimal("7.5") / 1_000_000


def test_no_price_is_younger_than_the_catalog_says_it_is():
    newest = CATALOG_AS_OF.isoformat()
    for model in CATALOG:
        if model.price is not None and model.price.as_of is not None:
            assert model.price.as_of <= newest[: len(model.price.as_of)], model.id


def test_every_price_is_dated():
    for model in CATALOG:
        if model.price is not None and model.price.as_of is not None:
            assert re.fullmatch(r"20[0-9]{2}(-[0-9]{2}){0,2}", model.price.as_of), model.id


def test_the_files_are_read_once_in_a_process(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> str:
        raise AssertionError("a file of the catalog was read again")

    monkeypatch.setattr(pathlib.Path, "read_text", fail)
    assert [model.id for model in imagen.providers.load_catalog()] == [m.id for m in CATALOG]
