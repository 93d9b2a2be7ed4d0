"""Filters of the library as parameters of a URL."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ..._errors import InvalidRequestError
from ..._requests.catalog import Operation
from ...library._filters import Filters, State

__all__ = ["FilterQuery", "filters_of", "moment_of", "words_of"]

_WORD = re.compile(r"(?<![\w-])[\"']?\w")
_SAME = (
    *("provider", "model", "operation", "size", "seed", "collection", "state"),
    *("min_usd", "max_usd", "min_pixels", "max_pixels"),
)


class FilterQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Words and filters; an image must match all of them."""

    q: str = ""
    provider: str | None = None
    model: str | None = None
    operation: Operation | None = None
    size: str | None = None
    seed: int | None = None
    tag: Sequence[str] = ()
    collection: str | None = None
    state: State | None = None
    since: str | None = None
    until: str | None = None
    min_stars: int | None = None
    min_usd: Decimal | None = None
    max_usd: Decimal | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None


def words_of(query: FilterQuery) -> str | None:
    """Return the words to search; None while the user has typed none yet."""
    return query.q if _WORD.search(query.q) else None


def filters_of(query: FilterQuery) -> Filters:
    """Return the filters of the library."""
    filters: Filters = {}
    filters.update({name: value for name in _SAME if (value := getattr(query, name)) is not None})  # type: ignore[typeddict-item]
    if query.tag:
        filters["tags"] = query.tag
    if query.min_stars is not None:
        filters["min_rating"] = query.min_stars
    if query.since is not None:
        filters["since"] = moment_of(query.since)
    if query.until is not None:
        filters["until"] = moment_of(query.until)
    return filters


def moment_of(text: str) -> datetime.datetime:
    """Return a time; a day is its beginning, and without a zone it is UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError(
            f"{text[:40]!r} is not a time: expected a day such as 2026-11-29, or a time in ISO"
            " 8601."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
