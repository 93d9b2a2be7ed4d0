"""Counts, seeds, fractions and amounts of money in replies: each is read, or
None if it is absent or impossible.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

import msgspec

from .lenient_json import repair_json

__all__ = ["read_count", "read_fields", "read_fraction", "read_seed", "read_usd"]

# No reply has ten million tokens, and no request costs a million dollars; more
# would overflow the money arithmetic.
_MOST_TOKENS = 10**7
_MOST_USD = Decimal(10**6)
# The largest number of a database column.
_LARGEST_SEED = 2**63 - 1
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# As Decimal: the cents of a float are not exact.
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def read_count(value: object) -> int | None:
    """Return a count of tokens, written as a number or as a text."""
    amount = _read_decimal(value)
    if amount is None or not 0 <= amount <= _MOST_TOKENS or amount != int(amount):
        return None
    return int(amount)


def read_seed(value: object) -> int | None:
    """Return a seed that SQLite can hold."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= _LARGEST_SEED else None


def read_fraction(value: object) -> float | None:
    """Return a progress from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= 1 else None


def read_usd(value: object, usd_per_unit: Decimal = Decimal(1)) -> Decimal | None:
    """Return an amount of money in US dollars."""
    amount = _read_decimal(value)
    if amount is None or not 0 <= amount <= _MOST_USD / (usd_per_unit or 1):
        return None
    return amount * usd_per_unit


def read_fields(raw: msgspec.Raw) -> Mapping[str, object]:
    """Return the fields of an object that must not lose an image; empty if it
    is none.
    """
    text = bytes(raw)
    try:
        value = _decode(text)
    except _MALFORMED:
        repaired = repair_json(text)
        value = None if repaired is None else _decode(repaired)
    return value if isinstance(value, dict) else {}


def _decode(text: bytes) -> object:
    value: object = _DECODER.decode(text)
    return value


def _read_decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        return None
    try:
        amount = Decimal(value.strip() if isinstance(value, str) else str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None
