"""Terms of the full-text index: words, and facets as words.

A facet is a letter for its kind and the value in letters and digits, so that
"model flux-2-pro" is one more word that a image has. The functions of this
module are SQL functions as well: the index and the queries cannot differ.
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from .._errors import InvalidRequestError

__all__ = [
    "TRASHED",
    "UNPRICED",
    "SearchWord",
    "SearchWords",
    "as_searched",
    "facet",
    "image_facets",
    "input_hashes",
    "match_words",
    "read_words",
    "words_in",
]

TRASHED = "trashed"
UNPRICED = "unpriced"

# The tokenizer of the index cuts a word at each of these marks, so the index has
# a letter of the private use area for them. By position and not by number, as a
# later Unicode adds marks and the index stays.
_MARKED_BLOCKS = ((0x0900, 0x1CFF, 0xE000), (0xA8E0, 0xABFF, 0xF400))
_MARKS = {
    code: chr(private + code - first)
    for first, last, private in _MARKED_BLOCKS
    for code in range(first, last + 1)
    if unicodedata.category(chr(code)).startswith("M")
}
# Points of Hebrew and Arabic, which most texts leave out, and the stretching of
# Arabic letters.
_POINTS = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]"
)
# Scripts that are written without spaces, or with particles that cling to a
# word as in Korean: each letter with its marks is a word, and several are a
# phrase. Thai, Lao, Myanmar, Khmer, Tai and Javanese are in the second line.
_LETTERS = re.compile(
    "([\N{HIRAGANA LETTER SMALL A}-\N{KATAKANA LETTER SMALL RE}"
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17df\u1950-\u19df\u1a20-\u1aaf\ua980-\ua9ff\uaa60-\uaadf"
    "\ua000-\ua4cf\uac00-\ud7af\uff66-\uff9f"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00017000-\U00018dff\U00020000-\U0003ffff]"
    "[\ue000-\uf71f]*)"
)
_PARTS = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_MOST_WORDS = 32
# Below this a prefix means thousands of words, and the search would read them
# all.
_SHORTEST_PREFIX = 3


def as_searched(text: str | None) -> str:
    """Return a text as the index stores it: spaces around letters that are
    words, one form of each letter.

    Tags are kept as "grösse", and files of a Mac spell letters in parts: both
    are to be found by "Größe".
    """
    if not text:
        return ""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    if folded.isascii():
        return folded
    return _LETTERS.sub(r" \1 ", _POINTS.sub("", folded).translate(_MARKS))


def facet(kind: str, value: str | int) -> str:
    """Return one facet as a word; `image_facets` lists the kinds."""
    return kind + (str(value).replace("-", "n") if isinstance(value, int) else value.encode().hex())


def input_hashes(request: str) -> str:
    """The hashes of the images that a stored request works on."""
    # Most work on none, and this is asked for each image that is listed.
    if '"sha256"' not in request:
        return ""
    fields = msgspec.json.decode(request)
    given = [fields.get(name) for name in ("image", "reference", "mask")]
    given += [*fields.get("images", ()), *fields.get("references", ())]
    return " ".join(one["sha256"] for one in given if isinstance(one, dict))


def image_facets(
    provider: str,
    model: str,
    operation: str,
    width: int,
    height: int,
    seed: int | None,
    rating: int,
    cost_nanousd: int | None,
    trashed_at: float | None,
    fingerprint: str | None,
    inputs: str,
    tags: str,
    collections: str | None,
) -> str:
    """All facets of an image; `tags` is a JSON array, `inputs` are hashes and
    `collections` are ids.
    """
    facets = [
        facet("v", provider),
        facet("m", model),
        facet("o", operation),
        facet("z", f"{width}x{height}"),
        facet("p", width * height),
        facet("r", rating),
        *(facet("t", tag) for tag in msgspec.json.decode(tags)),
        *(facet("c", collection) for collection in (collections or "").split()),
        *(facet("i", sha256) for sha256 in inputs.split()),
    ]
    if seed is not None:
        facets.append(facet("s", seed))
    facets.append(UNPRICED if cost_nanousd is None else facet("u", cost_nanousd))
    if fingerprint is not None:
        facets.append(facet("f", fingerprint))
    if trashed_at is not None:
        facets.append(TRASHED)
    return " ".join(facets)


class SearchWord(msgspec.Struct, frozen=True):
    """Word of a query, or several in a row; `begins` if only the beginning of
    the last one is given.
    """

    text: str
    begins: bool = False

    def __str__(self) -> str:
        return f'"{self.text}"' + ("*" if self.begins else "")


class SearchWords(msgspec.Struct, frozen=True):
    """Words of a query: those that must all be there, and those that must not."""

    wanted: tuple[SearchWord, ...]
    unwanted: tuple[SearchWord, ...]


def read_words(query: str) -> SearchWords:
    """Return the words of a user's query: all words, "a phrase", -without this,
    begin*.

    Raises:
        InvalidRequestError: the query has no word.
    """
    wanted: list[SearchWord] = []
    unwanted: list[SearchWord] = []
    for minus, phrase, word in _PARTS.findall(query):
        if term := _term(phrase or word, prefix=not phrase and word.endswith("*")):
            (unwanted if minus else wanted).append(term)
    if not wanted:
        raise InvalidRequestError(
            "There is no word to search for: give at least one, and not only what to leave out."
        )
    if len(wanted) + len(unwanted) > _MOST_WORDS:
        raise InvalidRequestError(f"A search takes at most {_MOST_WORDS} words.")
    return SearchWords(tuple(wanted), tuple(unwanted))


def match_words(query: str) -> str:
    """Return a user's query as a full-text expression. No part of it is read as
    the index's own syntax.

    Raises:
        InvalidRequestError: as for `read_words`.
    """
    words = read_words(query)
    wanted = " AND ".join(map(str, words.wanted))
    if not words.unwanted:
        return wanted
    return f"({wanted}) NOT ({' OR '.join(map(str, words.unwanted))})"


def words_in(text: str | None) -> str:
    """Return the words of a text as the index has them, with a space around
    each.
    """
    if not text:
        return " "
    searched = text.lower() if text.isascii() else as_searched(text)
    if not searched.isascii():
        plain = unicodedata.normalize("NFD", searched)
        kept = "".join(letter for letter in plain if unicodedata.category(letter) != "Mn")
        searched = unicodedata.normalize("NFC", kept)
    return f" {' '.join(searched.translate(_GAPS).split())} "


def _term(text: str, *, prefix: bool) -> SearchWord | None:
    letters = "".join(
        letter if _is_searched(letter) else " " for letter in as_searched(text)
    ).split()
    if not letters:
        return None
    if prefix and len(letters[-1]) < _SHORTEST_PREFIX and letters[-1].isascii():
        raise InvalidRequestError(
            f"Give at least {_SHORTEST_PREFIX} letters before the *, not {text!r}."
        )
    return SearchWord(" ".join(letters), prefix)


class _Gaps(dict[int, str]):
    """Table of what is between words, filled as letters are met."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        return self.setdefault(code, letter if _is_searched(letter) else " ")


_GAPS = _Gaps()


def _is_searched(letter: str) -> bool:
    """Return True if the tokenizer of the index keeps the character."""
    category = unicodedata.category(letter)
    return category[0] in "LNM" or category in ("Co", "So")
