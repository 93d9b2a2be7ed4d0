"""What other programs say of their images, in the words that all of them share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import msgspec

__all__ = ["ForeignRecord", "as_number", "as_text", "as_whole"]


class ForeignRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What another program wrote into an image; None where it does not say.
    `parameters` is the rest, as text.
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
    """A value of JSON as text; nothing of what is empty."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    # JSON can write half of a pair of surrogates, which is no text.
    return value.encode("utf-8", "replace").decode()


def as_whole(value: object) -> int | None:
    """A whole number, as programs write it: as a number or as its digits."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    return (
        value
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64
        else None
    )


def as_number(value: object) -> float | None:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
