"""Repair of JSON that is not quite JSON.

A strict decoder reads every good reply and is fast. This module reads the rest,
because a reply may be paid: byte order marks, other encodings, invalid UTF-8,
NaN and numbers beyond a float, half of a surrogate pair, raw line breaks in
texts, text before and after the value, and values nested without end.
"""

from __future__ import annotations

import json
import math
import re

import msgspec

__all__ = ["repair_json"]

_MOST_LEVELS = 64
_MOST_DIGITS = 30
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
_START = re.compile(r"[\[{]")


def repair_json(body: bytes) -> bytes | None:
    """Return the first object or list of a body as strict JSON; None if there
    is none.

    A value deeper than 64 levels becomes null, like a number that is none.
    """
    text = body.decode(json.detect_encoding(body), errors="replace")
    start = _START.search(text)
    if start is None:
        return None
    try:
        return _rewrite(text, start.start())
    except RecursionError:
        return _rewrite(_cut_deep_values(text[start.start() :]), 0)


def _rewrite(text: str, start: int) -> bytes | None:
    decoder = json.JSONDecoder(strict=False, parse_int=_read_int)
    try:
        value, _ = decoder.raw_decode(text, start)
    except ValueError:
        return None
    return msgspec.json.encode(_clean(value))


def _read_int(text: str) -> int | None:
    return int(text) if len(text) <= _MOST_DIGITS else None


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value if value.isascii() else _pair_surrogates(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_pair_surrogates(name): _clean(item) for name, item in value.items()}
    return value


def _pair_surrogates(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _cut_deep_values(text: str) -> str:
    pieces: list[str] = []
    depth = kept = 0
    for found in _BRACKETS.finditer(text):
        if found[0] in "[{":
            depth += 1
            if depth == _MOST_LEVELS + 1:
                pieces += [text[kept : found.start()], "null"]
        elif found[0] in "]}":
            depth -= 1
            if depth == _MOST_LEVELS:
                kept = found.end()
    return "".join(pieces) + (text[kept:] if depth <= _MOST_LEVELS else "")
