"""Texts of strangers on their way to an assistant."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagen_mcp._results.text import clip, clip_line, dollars, no_such, spoken


@given(st.text(), st.integers(1, 50))
def test_a_clipped_text_is_bounded_and_steers_no_terminal(text: str, longest: int) -> None:
    shown = clip(text, longest)
    assert len(shown) <= longest + 3
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    assert "\n" not in clip_line(text, longest)
    shown.encode()


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=50))
def test_a_short_text_that_can_be_seen_stays_as_it_is(text: str) -> None:
    assert clip(text, 50) == text


@pytest.mark.parametrize(
    ("known", "there"),
    [
        ([], "there is none yet"),
        (["oil", "ink"], "there are oil, ink."),
        ([f"s{number}" for number in range(23)], "s18, s19 and 3 more."),
        (["a\x1b[31m\nb"], "there are a [31m b."),
    ],
    ids=["none", "few", "many", "hostile"],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(
    known: list[str], there: str
) -> None:
    message = no_such("style", "x" * 1000, known).message
    assert there in message
    assert len(message) < 400


def test_money_is_exact_as_text_and_rounded_up_in_a_sentence() -> None:
    assert dollars(Decimal("0.0400")) == "0.04"
    assert dollars(None) is None
    assert spoken("0.0533333") == "5.34 cents"
    assert spoken(Decimal(2)) == "$2.00"
