"""Search filters: as callers write them, and as the index reads them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, TypedDict

import msgspec

from .._errors import InvalidRequestError
from .._requests.catalog import Operation
from .._requests.tags import check_text, clean_tag
from .._storage.database import to_nanousd
from .._storage.full_text import TRASHED, facet, match_words
from ._rows import microseconds

__all__ = ["Filters", "Ranges", "Selection", "SortOrder", "State", "select"]

State = Literal["kept", "trashed", "any"]
SortOrder = Literal["newest", "oldest", "rating", "cost", "pixels"]
"""Sort orders, each descending except "oldest"; ties are sorted newest first.
"""

_SIZE = re.compile(r"[0-9]{1,6}x[0-9]{1,6}")
_WORDS = "{prompt revised_prompt tags notes}"
# Largest integer of a column.
_MOST = 2**63 - 1
_MOST_USD = Decimal(_MOST // 10**9)
_EPOCH_YEAR = 1970


class Filters(TypedDict, total=False):
    """Filters that an image must all match.

    `size` is "WIDTHxHEIGHT" in pixels. All of `tags` must match. `collection`
    is a name or "outer/inner", and includes nested collections. `since` is
    inclusive, `until` exclusive. `state` defaults to "kept".
    """

    provider: str
    model: str
    operation: Operation
    size: str
    seed: int
    tags: Sequence[str]
    collection: str
    state: State
    since: datetime.datetime
    until: datetime.datetime
    min_rating: int
    min_usd: Decimal
    max_usd: Decimal
    min_pixels: int
    max_pixels: int


class Ranges(msgspec.Struct, frozen=True, kw_only=True):
    """Inclusive ranges of sortable values; None is unbounded."""

    rating: tuple[int | None, int | None] = (None, None)
    cost: tuple[int | None, int | None] = (None, None)
    pixels: tuple[int | None, int | None] = (None, None)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Filters as the index reads them.

    `match` is None if every image matches; `first` is inclusive, `end`
    exclusive.
    """

    match: str | None
    excluded: str | None
    first: int
    end: int
    ranges: Ranges


def select(query: str | None, filters: Filters, collections: Sequence[str]) -> Selection:
    """Compile a query and filters; `collections` are the ids of the collection
    filter.

    Raises:
        InvalidRequestError: the query or a filter is invalid.
    """
    since, until = filters.get("since"), filters.get("until")
    state = filters.get("state", "kept")
    terms = [] if query is None else [f"{_WORDS} : ({match_words(query)})"]
    terms += [f"facets : {one}" for one in _facets(filters)]
    if collections:
        terms.append(f"facets : ({' OR '.join(facet('c', one) for one in collections)})")
    if state == "trashed":
        terms.append(f"facets : {TRASHED}")
    return Selection(
        match=" AND ".join(terms) or None,
        excluded=f"facets : {TRASHED}" if state == "kept" else None,
        first=0 if since is None else _number_at(since),
        end=_MOST if until is None else _number_at(until),
        ranges=Ranges(
            rating=(filters.get("min_rating"), None),
            cost=(_nanousd(filters.get("min_usd")), _nanousd(filters.get("max_usd"))),
            pixels=(filters.get("min_pixels"), _bounded(filters.get("max_pixels"))),
        ),
    )


def _facets(filters: Filters) -> list[str]:
    found: list[str] = []
    if (size := filters.get("size")) is not None:
        if not _SIZE.fullmatch(size):
            raise InvalidRequestError(
                f"Invalid size {size!r}: expected WIDTHxHEIGHT in pixels, e.g. 1024x1024."
            )
        found.append(facet("z", size))
    if (provider := filters.get("provider")) is not None:
        found.append(facet("v", check_text(provider, "A provider")))
    if (model := filters.get("model")) is not None:
        found.append(facet("m", check_text(model, "A model")))
    if (operation := filters.get("operation")) is not None:
        found.append(facet("o", operation))
    if (seed := filters.get("seed")) is not None:
        found.append(facet("s", seed))
    tags = filters.get("tags", ())
    if isinstance(tags, str):
        raise InvalidRequestError("Invalid tags: expected a list of words, even for one tag.")
    return found + [facet("t", clean_tag(tag)) for tag in tags]


def _number_at(moment: datetime.datetime) -> int:
    try:
        return max(0, microseconds(moment.timestamp()))
    except (OverflowError, ValueError, OSError):
        # At the limits of the calendar a local time may not exist in UTC.
        return 0 if moment.year < _EPOCH_YEAR else _MOST


def _nanousd(usd: Decimal | None) -> int | None:
    if usd is None:
        return None
    if usd.is_nan():
        raise InvalidRequestError("Invalid min_usd or max_usd: expected an amount of US dollars.")
    return to_nanousd(max(-_MOST_USD, min(usd, _MOST_USD)))


def _bounded(number: int | None) -> int | None:
    return None if number is None else min(number, _MOST)
