"""Words and facets of images and prompts, as PostgreSQL's index holds them.

SQLite's own tokenizer cuts the texts, in memory, so that both engines find the
same words.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from .database import Row, to_int
from .full_text import as_searched, image_facets, input_hashes

__all__ = ["FACET", "LONGEST_WORD", "Document", "Tokenizer", "image_document", "prompt_document"]

# Before each facet, so that no word is one: no word has this character.
FACET = "="
# PostgreSQL's index takes 2046 bytes. Of a longer word its beginning is there,
# and the text says whether the rest matches.
LONGEST_WORD = 300
# PostgreSQL takes 1 MiB; words beyond are not found, but the image is kept.
_MOST_BYTES = 900_000
_BETWEEN = " \n "

_TABLES = """
CREATE VIRTUAL TABLE texts USING fts5 (
    a, b, c, d, content = '', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co So'"
);
CREATE VIRTUAL TABLE tokens USING fts5vocab (texts, instance);
"""
_COLUMNS = "abcd"


class Document(msgspec.Struct, frozen=True):
    """What the index holds of one row: `terms` in the form of a tsvector."""

    number: int
    terms: str
    words: str


class Tokenizer:
    """The tokenizer of SQLite's full-text index. One thread at a time."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the words of at most four texts, each in its order."""
        self._database.execute("INSERT INTO texts (texts) VALUES ('delete-all')")
        self._database.execute(
            "INSERT INTO texts (rowid, a, b, c, d) VALUES (1, ?, ?, ?, ?)",
            [*texts, *[""] * (len(_COLUMNS) - len(texts))],
        )
        found: list[list[str]] = [[] for _ in texts]
        for word, column in self._database.execute(
            "SELECT term, col FROM tokens ORDER BY col, offset"
        ):
            found[_COLUMNS.index(column)].append(word)
        return found

    def close(self) -> None:
        """Close the table in memory."""
        self._database.close()


def image_document(row: Row, tokenizer: Tokenizer) -> Document:
    """Return the document of a row: number, request, revised prompt, tags,
    notes, and the columns of facets.
    """
    number, request, revised, tags, notes, *columns = row
    fields, names = _fields(str(request)), _names(str(tags))
    provider, model, width, height, seed, rating, cost, trashed_at, fingerprint, inside = columns
    facets = image_facets(
        str(provider),
        str(model),
        str(fields.get("operation")),
        to_int(width),
        to_int(height),
        None if seed is None else to_int(seed),
        to_int(rating),
        None if cost is None else to_int(cost),
        None if trashed_at is None else float(trashed_at),
        None if fingerprint is None else str(fingerprint),
        _inputs(str(request)),
        msgspec.json.encode(names).decode(),
        None if inside is None else str(inside),
    )
    texts = [fields.get("prompt"), revised, " ".join(names), notes]
    return _document(number, texts, tokenizer, facets.split())


def prompt_document(row: Row, tokenizer: Tokenizer) -> Document:
    """Return the document of a prompt: number and texts."""
    number, *texts = row
    return _document(number, texts, tokenizer)


def _document(
    number: object, texts: Iterable[object], tokenizer: Tokenizer, facets: Iterable[str] = ()
) -> Document:
    cut = tokenizer.cut([as_searched(text if isinstance(text, str) else None) for text in texts])
    terms = dict.fromkeys(FACET + one for one in facets)
    terms |= dict.fromkeys(word[:LONGEST_WORD] for words in cut for word in words)
    words = _BETWEEN.join(" ".join(words) for words in cut)
    return Document(int(str(number)), " ".join(_as_many_as_fit(terms)), f" {words} ")


def _as_many_as_fit(terms: Iterable[str]) -> Iterable[str]:
    room = _MOST_BYTES
    for term in terms:
        room -= len(term.encode()) + 4
        if room < 0:
            return
        yield f"'{term}'"


def _fields(request: str) -> dict[str, object]:
    """The fields of a stored request; none if its row is damaged."""
    try:
        return msgspec.json.decode(request, type=dict[str, object])
    except msgspec.MsgspecError:
        return {}


def _names(tags: str) -> list[str]:
    try:
        return msgspec.json.decode(tags, type=list[str])
    except msgspec.MsgspecError:
        return []


def _inputs(request: str) -> str:
    try:
        return input_hashes(request)
    except (msgspec.MsgspecError, LookupError, TypeError):
        return ""
