"""The sentence for a person in the body of an error, in any form."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from .._steps import HttpResponse
from .decoding import MALFORMED, decode_json, one_line

__all__ = [
    "find_sentence",
    "quote_error",
    "quote_words",
    "read_plain",
    "read_sentence",
    "wrong_fields",
]

# Fields in which servers put the sentence, the best first.
_SENTENCES = (
    "message",
    "Message",
    "error_message",
    "errorMessage",
    "error_description",
    "detail",
    "details",
    "msg",
    "errors",
    "description",
    "reason",
    "title",
    "error",
)
_TAGS = re.compile(r"(?is)<(?:head|style|script)\b.*?</(?:head|style|script)>|<[^>]*>")
_MOST_LEVELS = 4


def quote_error(response: HttpResponse, provider: str) -> str:
    """Return the provider's words as a sentence; without words, the status."""
    return quote_words(response, provider) or f"{provider} answered {response.status}."


def quote_words(response: HttpResponse, provider: str) -> str:
    """Return the provider's words as a sentence; "" if there are none."""
    text = read_sentence(response.body)
    return f"{provider} says: {text}." if text else ""


def read_sentence(body: bytes) -> str:
    """Return the words of an error without a closing point; "" if there are
    none.
    """
    try:
        value: object = decode_json(msgspec.json.decode, body)
    except MALFORMED:
        return read_plain(body).rstrip(".")
    return find_sentence(value).rstrip(".")


def find_sentence(value: object, levels: int = _MOST_LEVELS) -> str:
    """Return the sentence for a person in an error of unknown form."""
    if isinstance(value, str):
        return one_line(value)
    if levels and isinstance(value, Mapping):
        found = (find_sentence(value.get(name), levels - 1) for name in _SENTENCES)
        return next(filter(None, found), "")
    if levels and isinstance(value, list):
        if places := wrong_fields(value):
            return "; ".join(
                ": ".join(filter(None, map(one_line, (place, item.get("msg")))))
                for place, item in zip(places, value, strict=False)
            )
        return one_line(
            "; ".join(filter(None, (find_sentence(item, levels - 1) for item in value)))
        )
    return ""


def wrong_fields(detail: object) -> list[str]:
    """Return the fields that FastAPI's `detail` blames."""
    wrong = [item for item in detail if isinstance(item, dict)] if isinstance(detail, list) else []
    return [
        one_line(item["loc"][-1])
        for item in wrong
        if isinstance(item.get("loc"), list) and item["loc"]
    ]


def read_plain(body: bytes) -> str:
    """Return the words of a plain text or of an HTML page."""
    return one_line(_TAGS.sub(" ", body[: 16 << 10].decode("utf-8", "replace")))
