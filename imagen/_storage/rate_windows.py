"""Sliding windows of a rate, counted from sums.

A window of a day may hold a million attempts. So the ledger keeps their sums by
the hour, the minute and the second, and only the parts of a second at the two
ends of a window are counted row by row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from .database import Row, Transaction, to_int

__all__ = ["RateWindow"]

# As in the migration that made the table, coarsest first.
_SIZES = (3600, 60, 1)
_SUMS = "FROM rate_sums WHERE kind = ? AND name = ? AND seconds = ? AND number >= ? AND number < ?"
# Attempts dropped before they were sent do not count.
_ROWS = """
FROM attempts INDEXED BY attempts_by_{column}
WHERE {column} = ? AND created_at >= ? AND created_at < ?
    AND NOT economy AND (sent_at IS NOT NULL OR state = 'reserved')
"""


class _Part(msgspec.Struct, frozen=True):
    """Part of a window: sums of `seconds` seconds each, by their numbers; or
    rows, by their times, if `seconds` is 0. `end` is exclusive.
    """

    seconds: int
    first: float
    end: float


class RateWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Window of a model or provider; both ends are exclusive."""

    column: Literal["provider", "model"]
    name: str
    counted: Literal["requests", "images"]
    after: float
    before: float

    def count(self, transaction: Transaction) -> int:
        """Return the requests or images in the window."""
        return sum(self._sum(transaction, part) for part in self._parts())

    def time_of(self, transaction: Transaction, nth: int) -> float | None:
        """Return the time of the nth request or image in the window; None if it
        has fewer.
        """
        return self._time_within(transaction, self._parts(), nth)

    def _parts(self) -> Iterator[_Part]:
        """Divide the window, in the order of time."""
        first, end = math.floor(self.after) + 1, math.floor(self.before)
        yield _Part(0, math.nextafter(self.after, math.inf), first)
        yield from _whole_parts(first, end, _SIZES)
        yield _Part(0, max(first, end), self.before)

    def _sum(self, transaction: Transaction, part: _Part) -> int:
        sql, values = self._query(part)
        what = "1" if self.counted == "requests" and not part.seconds else self.counted
        ((count,),) = transaction.run(f"SELECT coalesce(sum({what}), 0) {sql}", values)
        return to_int(count)

    def _time_within(
        self, transaction: Transaction, parts: Iterable[_Part], nth: int
    ) -> float | None:
        for part in parts:
            count = self._sum(transaction, part)
            if nth <= count and part.seconds:
                return self._time_in_sums(transaction, part, nth)
            if nth <= count:
                return self._time_in_rows(transaction, part, nth)
            nth -= count
        return None

    def _time_in_sums(self, transaction: Transaction, part: _Part, nth: int) -> float | None:
        sql, values = self._query(part)
        for number, count in transaction.run(
            f"SELECT number, {self.counted} {sql} ORDER BY number", values
        ):
            if nth <= to_int(count):
                return self._time_within(transaction, _finer(part, to_int(number)), nth)
            nth -= to_int(count)
        return None

    def _time_in_rows(self, transaction: Transaction, part: _Part, nth: int) -> float | None:
        sql, values = self._query(part)
        for created_at, images in transaction.run(
            f"SELECT created_at, images {sql} ORDER BY created_at", values
        ):
            nth -= to_int(images) if self.counted == "images" else 1
            if nth <= 0:
                assert isinstance(created_at, float)
                return created_at
        return None

    def _query(self, part: _Part) -> tuple[str, Row]:
        if not part.seconds:
            return _ROWS.format(column=self.column), (self.name, part.first, part.end)
        return _SUMS, (self.column, self.name, part.seconds, part.first, part.end)


def _whole_parts(first: int, end: int, sizes: tuple[int, ...]) -> Iterator[_Part]:
    """Divide whole seconds into as few sums as there are."""
    if first >= end:
        return
    size, *finer = sizes
    low, high = -(-first // size), end // size
    if low >= high:
        yield from _whole_parts(first, end, tuple(finer))
        return
    yield from _whole_parts(first, low * size, tuple(finer))
    yield _Part(size, low, high)
    yield from _whole_parts(high * size, end, tuple(finer))


def _finer(part: _Part, number: int) -> Iterable[_Part]:
    """Divide one sum of a part further."""
    first, end = number * part.seconds, (number + 1) * part.seconds
    finer = _SIZES[_SIZES.index(part.seconds) + 1 :]
    return _whole_parts(first, end, finer) if finer else [_Part(0, first, end)]
