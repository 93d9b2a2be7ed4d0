"""Bounds of the numbers in settings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

__all__ = ["MOST", "check_number", "check_numbers"]

# Of seconds, bytes and pixels alike; SQLite holds whole numbers below 2**63.
MOST = 1 << 60
_MOST_DIGITS = 40


def check_numbers(
    settings: msgspec.Struct,
    *,
    above_zero: Iterable[str] = (),
    most: Mapping[str, int] | None = None,
) -> None:
    """Check the numbers among the fields of a struct: finite, and not below 0.

    Those in `above_zero` are not 0 either, those in `most` not greater than
    their bound.

    Raises:
        ValueError: one is not; the message names the field.
    """
    low, high = set(above_zero), most or {}
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            check_number(name, value, above_zero=name in low, most=high.get(name, MOST))


def check_number(
    name: str, value: float | Decimal, *, above_zero: bool = False, most: int = MOST
) -> None:
    """Check one number as `check_numbers` does."""
    if not math.isfinite(value) or value < 0 or value > most or (above_zero and not value):
        low = "above 0" if above_zero else "0 or more"
        raise ValueError(f"{name} must be {low} and at most {most:,}, not {_shown(value)}")


def _shown(value: float | Decimal) -> str:
    text = str(value)
    return text if len(text) <= _MOST_DIGITS else f"{text[:_MOST_DIGITS]}..."
