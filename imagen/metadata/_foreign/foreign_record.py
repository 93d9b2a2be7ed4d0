"""Common form of the records of other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import msgspec

__all__ = ["ForeignRecord", "as_number", "as_text", "as_whole"]


class ForeignRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Record of another program in an image; None for missing values.
    `parameters` are all other fields, as text.
    """

    program: str
    prompt: str = ""
    negative_prompt: str | None = None
    model: str | None = None
    seed: int | None = None
    steps: int | None = None
    sampler: str | None = None
    guidance: float | None = None
    parameters: Mapping[str, str] = {}


def as_text(value: object) -> str | None:
    """Convert a JSON value to text; return None if it is empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    # JSON allows lone surrogates, which are not valid text.
    return value.encode("utf-8", "replace").decode()


def as_whole(value: object) -> int | None:
    """Convert a number or its digits to an integer."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64
        else None
    )


def as_number(value: object) -> float | None:
    """Convert a value to a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
