"""Searches for the beginning of a word, by the newest images first.

The index has words. For a beginning it merges the images of all words that
begin so, before it gives the first: seconds, where most of a million images
have one. But then the newest images have one too, and few looks at their words
find a page. Where few of them have one, the merged list is short.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import sqrt

import msgspec

from .._storage.database import Row, Transaction
from .._storage.full_text import SearchWord, words_in
from ._filters import Beginnings

__all__ = ["walk"]

# Images that are looked at together.
_FIRST, _LEAST, _MOST = 250, 50, 4000
# Over the number that should have what is missing.
_MARGIN = 1.3
# Images after which enough of them must match, or the index is asked.
_SAMPLE = 250
_LEAST_SHARE, _LARGEST_SHARE = 0.05, 0.9
# A look costs as much as the index takes for 20 matches.
_LOOK = 20
_TEXTS = "SELECT number, request, revised_prompt, tags, notes FROM images WHERE number IN"

Newer = Callable[[str | None, int | None, int], Sequence[int]]


class _Prompted(msgspec.Struct):
    prompt: str = ""


_prompt_of = msgspec.json.Decoder(_Prompted).decode
_decode_tags = msgspec.json.Decoder(list[str]).decode


def walk(
    reader: Transaction, beginnings: Beginnings, newer: Newer, limit: int, wanted: int
) -> Sequence[int] | None:
    """Return the numbers of the first `limit` images that match, in the order of
    the walk; None if the index finds them sooner.

    Args:
        newer: Returns the next numbers of a match after one, up to a number of them.
        wanted: Number of images that the caller wants in all, in several walks.
    """
    look = _Look(beginnings, _share_for(reader, wanted))
    found: list[int] = []
    last, size = None, _FIRST
    while True:
        numbers = newer(beginnings.others, last, size)
        found += look.matching(reader, numbers)
        if len(found) >= limit or len(numbers) < size:
            return found[:limit]
        if look.looked >= _SAMPLE and len(found) < look.looked * look.share:
            break
        needed = _MARGIN * (limit - len(found)) * look.looked / max(1, len(found))
        last, size = numbers[-1], min(_MOST, 2 * size, max(_LEAST, int(needed)))
    rare = look.rare()
    if len(rare) == len(beginnings.wanted):
        return None
    # Few have these, so the index lists them quickly, and all others are walked.
    narrowed = beginnings.leave_to_index(rare)
    return walk(reader, narrowed, newer, limit, wanted) if rare else None


def _share_for(reader: Transaction, wanted: int) -> float:
    """Return the share of matches from which on the looks at `wanted / share`
    images cost less than the index with all `share * images` matches.
    """
    ((images,),) = reader.run("SELECT sum(images) FROM library_size")
    share = sqrt(_LOOK * wanted / max(1, int(str(images or 0))))
    return min(_LARGEST_SHARE, max(_LEAST_SHARE, share))


class _Look:
    """Looks at the words of images, and how often each was there."""

    def __init__(self, beginnings: Beginnings, share: float) -> None:
        self.looked = 0
        self.share = share
        self._wanted = [(word, _searched(word)) for word in beginnings.wanted]
        self._unwanted = [_searched(word) for word in beginnings.unwanted]
        self._hits: Counter[SearchWord] = Counter()

    def rare(self) -> Sequence[SearchWord]:
        """Return the words that few have."""
        most = self.looked * self.share
        return [word for word, _ in self._wanted if self._hits[word] < most]

    def matching(self, reader: Transaction, numbers: Sequence[int]) -> Sequence[int]:
        """Return those that match."""
        self.looked += len(numbers)
        if not numbers:
            return ()
        rows = reader.run(f"{_TEXTS} ({', '.join(map(str, numbers))})")
        matching = {row[0] for row in rows if self._matches(row)}
        return [number for number in numbers if number in matching]

    def _matches(self, row: Row) -> bool:
        texts = "\n".join(map(words_in, _texts_of(row)))
        here = [word for word, text in self._wanted if text in texts]
        self._hits.update(here)
        return len(here) == len(self._wanted) and not any(one in texts for one in self._unwanted)


def _searched(word: SearchWord) -> str:
    found = words_in(word.text)
    return found[:-1] if word.begins else found


def _texts_of(row: Row) -> Sequence[str]:
    _, request, revised_prompt, tags, notes = row
    try:
        texts = [_prompt_of(str(request)).prompt]
        texts += _decode_tags(str(tags)) if tags != "[]" else ()
    except msgspec.MsgspecError:
        # A damaged row, of which `imagen library check` tells.
        texts = []
    return [str(text) for text in (*texts, revised_prompt, notes) if text]
