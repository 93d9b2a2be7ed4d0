"""The SQL of SQLite, as the other modules write it, in that of PostgreSQL."""

from __future__ import annotations

import re
from functools import lru_cache

from .database import Row

__all__ = ["bind", "translate"]

# PostgreSQL takes no integer for a condition, and chooses its indexes itself.
_WORDS = (
    (re.compile(r"\bINDEXED BY \w+"), ""),
    (re.compile(r"\bNOT economy\b"), "economy = 0"),
    (re.compile(r"\beconomy AND\b"), "economy <> 0 AND"),
)
_PLACE = re.compile(r"\?(\d*)")
_IGNORE = "INSERT OR IGNORE"


@lru_cache(1000)
def translate(sql: str) -> str:
    """Return a statement as PostgreSQL and psycopg take it."""
    for old, new in _WORDS:
        sql = old.sub(new, sql)
    if _IGNORE in sql:
        sql = sql.replace(_IGNORE, "INSERT") + " ON CONFLICT DO NOTHING"
    return _PLACE.sub(_placeholder, sql.replace("%", "%%"))


def _placeholder(found: re.Match[str]) -> str:
    return f"%(p{found[1]})s" if found[1] else "%s"


def bind(sql: str, values: Row) -> Row | dict[str, str | int | float | None]:
    """Return the values of a translated statement as psycopg takes them."""
    if "%(p" in sql:
        return {f"p{number}": value for number, value in enumerate(values, 1)}
    return tuple(values)
