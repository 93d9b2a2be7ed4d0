"""The SQL of SQLite, as the other modules write it, in that of PostgreSQL."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from .database import Row
from .word_index import FACET, LONGEST_WORD, Tokenizer

__all__ = ["bind", "find_words", "translate"]

# PostgreSQL takes no integer for a condition and no empty list, and chooses its
# indexes and the order of a join itself.
_WORDS = (
    (re.compile(r"\bINDEXED BY \w+"), ""),
    (re.compile(r"\bNOT economy\b"), "economy = 0"),
    (re.compile(r"\beconomy AND\b"), "economy <> 0 AND"),
    (re.compile(r"\bIN \(\)"), "IN (NULL)"),
    (re.compile(r"\bCROSS JOIN (\w+) ON\b"), r"JOIN \1 ON"),
)
# The trigger is there, and looks for the table of the connection.
_TEMP_TRIGGER = "CREATE TEMP TRIGGER images_to_publish"
_TEMP_TABLE = "CREATE TEMP TABLE"
_PLACE = re.compile(r"\?(\d*)")
_IGNORE = "INSERT OR IGNORE"
_MATCH = re.compile(r"(\w+) MATCH (?:%s|%\(p(\d+)\)s)")
_TOKEN = re.compile(r'\s*("[^"]*"\*?|\{[^}]*\}|[():]|\w+)')


@lru_cache(1000)
def translate(sql: str) -> str:
    """Return a statement as PostgreSQL and psycopg take it."""
    if _TEMP_TRIGGER in sql:
        return "SELECT 1"
    sql = sql.replace(_TEMP_TABLE, f"{_TEMP_TABLE} IF NOT EXISTS")
    for old, new in _WORDS:
        sql = old.sub(new, sql)
    if _IGNORE in sql:
        sql = sql.replace(_IGNORE, "INSERT") + " ON CONFLICT DO NOTHING"
    return _PLACE.sub(_placeholder, sql.replace("%", "%%"))


def _placeholder(found: re.Match[str]) -> str:
    return f"%(p{found[1]})s" if found[1] else "%s"


def bind(sql: str, values: Row) -> Row | dict[str, str | int | float | None]:
    """Return the values of a translated statement as psycopg takes them.

    A NUL, which PostgreSQL's text cannot hold, becomes U+FFFD: texts come from
    providers too, and an image is not to be lost for one.
    """
    held = [
        value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
        for value in values
    ]
    if "%(p" in sql:
        return {f"p{number}": value for number, value in enumerate(held, 1)}
    return tuple(held)


# --- full text ----------------------------------------------------------------


def find_words(sql: str, values: Row, tokenizer: Tokenizer) -> tuple[str, Row]:
    """Put the condition of a full-text search into a translated statement;
    return it with the other values.
    """
    found = _MATCH.search(sql)
    if found is None:
        return sql, values
    place = sql[: found.start()].replace("%%", "").count("%s")
    wanted = values[int(found[2]) - 1 if found[2] else place]
    condition = _Match(found[1], str(wanted), tokenizer).condition()
    sql = sql[: found.start()] + condition + sql[found.end() :]
    # Numbered values keep their numbers.
    return sql, values if found[2] else (*values[:place], *values[place + 1 :])


class _Found(msgspec.Struct, frozen=True):
    """Condition in two parts: `query` is a tsquery that no match fails, and
    `exact` is the SQL that decides where the query finds too much.
    """

    query: str
    exact: str = ""


class _Match:
    """An expression of FTS5, as `full_text` and its callers write them, in SQL."""

    def __init__(self, table: str, expression: str, tokenizer: Tokenizer) -> None:
        self._table = table
        self._tokenizer = tokenizer
        self._left = _TOKEN.findall(expression)[::-1]

    def condition(self) -> str:
        """Return the SQL condition; it has no place for a value."""
        return self._whole(self._any())

    def _whole(self, found: _Found) -> str:
        condition = f"{self._table}.terms @@ {_literal(found.query)}::tsquery"
        return f"({condition} AND {found.exact})" if found.exact else condition

    def _any(self, *, facets: bool = False) -> _Found:
        found = self._all(facets=facets)
        while self._takes("OR"):
            found = self._either(found, self._all(facets=facets))
        return found

    def _all(self, *, facets: bool) -> _Found:
        found = self._one(facets=facets)
        while self._left and self._left[-1] in ("AND", "NOT"):
            join = _both if self._left.pop() == "AND" else self._without
            found = join(found, self._one(facets=facets))
        return found

    def _one(self, *, facets: bool) -> _Found:
        word = self._left.pop()
        if self._takes(":"):
            return self._one(facets=word == "facets")
        if word == "(":
            found = self._any(facets=facets)
            self._left.pop()
            return found
        if facets:
            return _Found(f"'{FACET}{word}'")
        return self._phrase(word)

    def _phrase(self, word: str) -> _Found:
        prefix = word.endswith("*")
        (words,) = self._tokenizer.cut([word.strip('*"')])
        if not words:
            return _Found("'='")
        terms = [f"'{one[:LONGEST_WORD]}'" for one in words]
        if prefix:
            terms[-1] += ":*"
        is_exact = len(words) == 1 and len(words[0]) <= LONGEST_WORD
        text = " ".join(words) + ("" if prefix else " ")
        return _Found(
            f"({' & '.join(terms)})",
            "" if is_exact else f"{self._table}.words LIKE {_literal(f'%% {text}%%')}",
        )

    def _either(self, left: _Found, right: _Found) -> _Found:
        exact = ""
        if left.exact or right.exact:
            exact = f"({self._whole(left)} OR {self._whole(right)})"
        return _Found(f"({left.query} | {right.query})", exact)

    def _without(self, left: _Found, right: _Found) -> _Found:
        if right.exact:
            return _both(left, _Found("", f"NOT {self._whole(right)}"))
        return _Found(f"({left.query} & !({right.query}))", left.exact)

    def _takes(self, token: str) -> bool:
        if not self._left or self._left[-1] != token:
            return False
        self._left.pop()
        return True


def _both(left: _Found, right: _Found) -> _Found:
    return _Found(
        " & ".join(filter(None, (left.query, right.query))),
        " AND ".join(filter(None, (left.exact, right.exact))),
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
