"""Quotes and costs."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

import imagen
from imagen._requests.translation import translate
from imagen._results.prices import cost_of, quote_request, share_cost, tidy_usd
from imagen.providers._steps import GeneratedImage, GeneratedImages, Usage, WithheldImage

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
