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
from .._storage.full_text import (
    TRASHED,
    SearchWord,
    SearchWords,
    facet,
    match_words,
    read_words,
    words_in,
)
from ._rows import microseconds

__all__ = ["Beginnings", "Filters", "Ranges", "Selection", "SortOrder", "State", "select"]

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


class Beginnings(msgspec.Struct, frozen=True, kw_only=True):
    """Query with beginnings of words, in parts: `others` is what the index finds
    newest first, None if that is every image. The words are looked for in each
    of these.
    """

    others: str | None
    wanted: tuple[SearchWord, ...]
    unwanted: tuple[SearchWord, ...]

    def narrow(self, term: str) -> Beginnings:
        """Return what must match a term of the index too."""
        others = term if self.others is None else f"{self.others} AND {term}"
        return msgspec.structs.replace(self, others=others)

    def leave_to_index(self, words: Sequence[SearchWord]) -> Beginnings:
        """Return what looks for some of the wanted words in the index."""
        wanted = tuple(word for word in self.wanted if word not in words)
        found = msgspec.structs.replace(self, wanted=wanted)
        for word in words:
            found = found.narrow(f"{_WORDS} : {word}")
        return found


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Filters as the index reads them.

    `match` is None if every image matches; `first` is inclusive, `end`
    exclusive. `beginnings` is set if a word of the query is a beginning.
    """

    match: str | None
    excluded: str | None
    first: int
    end: int
    ranges: Ranges
    beginnings: Beginnings | None = None


def select(query: str | None, filters: Filters, collections: Sequence[str]) -> Selection:
    """Compile a query and filters; `collections` are the ids of the collection
    filter.

    Raises:
        InvalidRequestError: the query or a filter is invalid.
    """
    since, until = filters.get("since"), filters.get("until")
    state = filters.get("state", "kept")
    terms = [f"facets : {one}" for one in _facets(filters)]
    if collections:
        terms.append(f"facets : ({' OR '.join(facet('c', one) for one in collections)})")
    if state == "trashed":
        terms.append(f"facets : {TRASHED}")
    words = [] if query is None else [f"{_WORDS} : ({match_words(query)})"]
    return Selection(
        match=" AND ".join([*words, *terms]) or None,
        excluded=f"facets : {TRASHED}" if state == "kept" else None,
        first=0 if since is None else _number_at(since),
        end=_MOST if until is None else _number_at(until),
        ranges=Ranges(
            rating=(filters.get("min_rating"), None),
            cost=(_nanousd(filters.get("min_usd")), _nanousd(filters.get("max_usd"))),
            pixels=(filters.get("min_pixels"), _bounded(filters.get("max_pixels"))),
        ),
        beginnings=None if query is None else _beginnings(read_words(query), terms),
    )


def _beginnings(words: SearchWords, terms: Sequence[str]) -> Beginnings | None:
    if not any(word.begins for word in (*words.wanted, *words.unwanted)):
        return None
    if not all(words_in(word.text).strip() for word in (*words.wanted, *words.unwanted)):
        # Marks without a letter, of which the index makes nothing.
        return None
    whole = [f"{_WORDS} : {word}" for word in words.wanted if not word.begins]
    return Beginnings(
        others=" AND ".join([*whole, *terms]) or None,
        wanted=tuple(word for word in words.wanted if word.begins),
        unwanted=words.unwanted,
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
