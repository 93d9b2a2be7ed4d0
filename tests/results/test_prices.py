"""Quotes and costs."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import imagen
from imagen._requests.translation import translate
from imagen._results.prices import cost_of, quote_request, share_cost, tidy_usd
from imagen.providers._steps import (
    GeneratedImage,
    GeneratedImages,
    UnmadeImage,
    Usage,
    WithheldImage,
)
from imagen.providers.openai._wire import read_usage

CATALOG = imagen.providers.load_catalog()


money = st.decimals(0, 1000, places=9)


def usd(text: str) -> Decimal:
    return Decimal(text)


def test_a_quote_for_tokens_bounds_the_prompt_by_its_bytes():
    quote = quote_request(
        CATALOG.find("gpt-image-2"), imagen.Generate(prompt="é" * 100, quality="low")
    )
    assert quote.low_usd == usd("0.006")
    assert quote.high_usd == usd("0.006") * usd("1.5") + 200 * usd("5") / 1_000_000


def test_auto_quality_is_quoted_from_the_cheapest_to_the_dearest():
    quote = quote_request(CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x"))
    assert quote.low_usd == usd("0.006")
    assert quote.high_usd >= usd("0.211")


def test_a_larger_size_is_quoted_by_its_pixels():
    small, large = (
        quote_request(
            CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x", quality="high", size=size)
        ).low_usd
        for size in ("1024x1024", "2048x2048")
    )
    assert large == 4 * small


def test_an_unknown_price_stays_unknown_unless_the_caller_names_a_ceiling():
    model = CATALOG.find("imagen-4")
    assert quote_request(model, imagen.Generate(prompt="x")).high_usd is None
    assert quote_request(
        model, imagen.Generate(prompt="x", assume_usd=usd("0.1")), 3
    ).high_usd == usd("0.3")
    assert (
        cost_of(
            model, imagen.Generate(prompt="x"), GeneratedImages(images=(GeneratedImage(data=b""),))
        )
        == imagen.Cost()
    )


def test_costs_say_where_they_come_from():
    request = imagen.Generate(prompt="x", quality="low", size="1024x1024")
    model = CATALOG.find("gpt-image-2")
    decoded = (GeneratedImage(data=b""),)
    usage = Usage(text_input_tokens=14, image_output_tokens=272)
    assert cost_of(model, request, GeneratedImages(images=decoded, usage=usage)) == imagen.Cost(
        usd=usd("0.00823"), source="computed"
    )
    assert (
        cost_of(
            model, request, GeneratedImages(images=decoded, reported_cost_usd=usd("0.5"))
        ).source
        == "reported"
    )
    assert cost_of(model, request, GeneratedImages(images=decoded)).source == "estimated"


@given(
    st.lists(st.sampled_from(["low", "medium", "high", "auto"]), min_size=1), st.text(max_size=50)
)
def test_the_high_end_covers_any_usage_that_the_price_list_expects(qualities, prompt):
    prompt = prompt.encode(errors="ignore").decode().strip() or "x"
    for model in CATALOG:
        if (
            model.price is None
            or "generate" not in model.capabilities.operations
            or model.capabilities.required_options
        ):
            continue
        for quality in qualities:
            asked = imagen.Generate(prompt=prompt, quality=None if quality == "auto" else quality)
            quote = quote_request(model, translate(asked, model)[0])
            if quote.high_usd is None:
                # Billed by tokens, with no price of an image published.
                assert not model.price.table
                continue
            assert 0 <= quote.low_usd <= quote.expected_usd <= quote.high_usd


@given(money, st.integers(1, 20))
def test_shares_sum_up_to_the_whole(total, shares):
    parts = list(
        share_cost(imagen.Cost(usd=total, source="computed"), [GeneratedImage(data=b"")] * shares)
    )
    assert len(parts) == shares
    assert sum(part.usd for part in parts) == total
    assert all(part.usd >= 0 for part in parts)


@given(money, st.lists(st.booleans(), min_size=1, max_size=10))
def test_what_was_withheld_and_not_billed_has_no_share(total, billed):
    images = [
        GeneratedImage(data=b"") if one else WithheldImage(reason="x", billed=False)
        for one in billed
    ]
    parts = [part.usd for part in share_cost(imagen.Cost(usd=total, source="reported"), images)]
    assert len(parts) == len(billed)
    if any(billed):
        assert sum(parts) == total
        assert all(part == 0 for part, one in zip(parts, billed, strict=True) if not one)


@given(money)
def test_tidying_changes_the_looks_and_not_the_amount(amount):
    tidy = tidy_usd(amount)
    assert tidy == amount
    assert "E" not in str(f"{tidy:f}")
    assert not f"{tidy:f}".endswith("0") or tidy == tidy.to_integral()


# --- counts that are absent or impossible --------------------------------------

HOSTILE = (
    None,
    {},
    {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
    {"prompt_tokens": 12, "completion_tokens": 4160, "total_tokens": 4172},
    {"input_tokens": 10},
    {"input_tokens": 10, "output_tokens": -272},
    {"input_tokens": -5000, "output_tokens": 272},
    {"input_tokens": 10, "output_tokens": 1},
    {"input_tokens": 10, "output_tokens": 10**12},
    {"input_tokens": 10, "output_tokens": 2.5},
    {"input_tokens": 10, "output_tokens": True},
    {"input_tokens": 10, "output_tokens": "none"},
    {"input_tokens": 10, "output_tokens_details": {"image_tokens": 0, "text_tokens": 0}},
    {"input_tokens": 10, "output_tokens": 272, "output_tokens_details": {"image_tokens": -1}},
    {"input_tokens": [10], "output_tokens": {"image": 272}},
)


@pytest.mark.parametrize("usage", HOSTILE, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_a_usage_never_makes_a_cost_lower_than_the_estimate(usage, count):
    model, request = CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x", quality="low")
    read = read_usage(msgspec.Raw(msgspec.json.encode(usage)))
    result = GeneratedImages(images=(GeneratedImage(data=b"x"),) * count, usage=read)
    estimate = quote_request(model, request, count).expected_usd
    cost = cost_of(model, request, result)
    assert cost.usd is not None
    assert estimate is not None
    assert cost.usd > estimate or (cost.usd, cost.source) == (estimate, "estimated")


counts = st.none() | st.integers(-(10**6), 10**13)


@given(counts, counts, counts, counts)
def test_no_counts_make_an_image_free(one, two, three, four):
    usage = Usage(
        text_input_tokens=one,
        image_input_tokens=two,
        text_output_tokens=three,
        image_output_tokens=four,
    )
    model, request = CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x", quality="low")
    result = GeneratedImages(images=(GeneratedImage(data=b"x"),), usage=usage)
    low = quote_request(model, request).low_usd
    cost = cost_of(model, request, result).usd
    assert low is not None
    assert cost is not None
    assert cost >= low / 10


@pytest.mark.parametrize("reported", ["0", "0.0"])
def test_a_reported_zero_for_an_image_with_a_price_is_not_believed(reported):
    model, request = CATALOG.find("gpt-image-2"), imagen.Generate(prompt="x", quality="low")
    made = GeneratedImages(images=(GeneratedImage(data=b"x"),), reported_cost_usd=usd(reported))
    assert cost_of(model, request, made).source == "estimated"
    withheld = msgspec.structs.replace(made, images=(WithheldImage(reason="no"),))
    assert cost_of(model, request, withheld) == imagen.Cost(usd=usd("0"), source="reported")


def test_words_in_place_of_an_image_cost_their_tokens():
    model = CATALOG.find("gemini-3.1-flash-lite-image")
    said = UnmadeImage(error=imagen.InvalidRequestError("No."))
    result = GeneratedImages(images=(said,), usage=Usage(text_input_tokens=5, text_output_tokens=9))
    cost = cost_of(model, imagen.Generate(prompt="x"), result)
    assert cost.source == "computed"
    assert cost.usd is not None
    assert 0 < cost.usd < usd("0.001")
