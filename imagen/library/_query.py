"""Queries of the library: pages of images at constant cost, and lineage.

The full-text index yields matches newest first, and only as many as needed.
Other orders iterate over the few distinct values: the highest price first, and
its images newest first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Literal

import msgspec

from .._errors import InvalidRequestError
from .._results.images import Image
from .._storage.database import Database, Row, Transaction
from .._storage.full_text import UNPRICED, facet
from ._beginnings import walk
from ._filters import Ranges, Selection, SortOrder
from ._rows import COLUMNS, FilePlaces, read_image

__all__ = ["LibraryQuery", "Lineage", "Page", "read_lineage"]

_LONGEST_PAGE = 1000
# Images of a page that a notebook shows: each adds some 30 kB to its file.
_SHOWN = 24
# Up to this number of distinct values a range becomes a list of terms in the
# index; beyond it, most adjacent images differ in their values.
_MOST_VALUES = 100
# Up to this number of matches are sorted at once, instead of value by value.
_FEW = 1000
# Numbers of values that are looked up together.
_FIRST_GROUP = 16
_LARGEST_GROUP = 1024

Measure = Literal["rating", "cost", "pixels"]
_KINDS: dict[Measure, str] = {"rating": "r", "cost": "u", "pixels": "p"}
_EXPRESSIONS: dict[Measure, str] = {
    "rating": "images.rating",
    "cost": "images.cost_nanousd",
    "pixels": "images.width * images.height",
}
_NEXT_VALUES: dict[Measure, str] = {
    "cost": "SELECT max(cost_nanousd) FROM images WHERE cost_nanousd <= ?",
    "pixels": "SELECT max(width * height) FROM images WHERE width * height <= ?",
}
_MOST = 2**63 - 1
# Images that are counted at a time: by the index, and by looks at each.
_PIECE = 20_000
_WALKED_PIECE = 1000

Days = list[tuple[int, int]]
# Numbers of images are microseconds.
_DAY = 86_400_000_000


class Page(list[Image]):
    """A page of images; `cursor` is the `after` of the next page, None on the
    last one.
    """

    cursor: str | None = None

    def _repr_html_(self) -> str:
        shown = "".join(image._repr_html_() for image in self[:_SHOWN])
        more = len(self) - _SHOWN
        return f"<div>{shown}</div>" + (f"<p>and {more} more</p>" if more > 0 else "")


class _PageStart(msgspec.Struct, frozen=True):
    """Start of a page, behind this image; `value` is its sort key, None if that
    is the time or unknown.
    """

    number: int
    value: int | None = None
    is_unpriced: bool = False


class LibraryQuery:
    """Execution of selections."""

    def __init__(self, database: Database, files: FilePlaces) -> None:
        self._database = database
        self._files = files

    async def page(
        self, selection: Selection, *, order: SortOrder, limit: int, after: str | None
    ) -> Page:
        """Return at most `limit` images of a selection.

        Raises:
            InvalidRequestError: the limit or the cursor is invalid.
        """
        if not 1 <= limit <= _LONGEST_PAGE:
            raise InvalidRequestError(
                f"Invalid limit {limit}: expected 1 to {_LONGEST_PAGE} images."
            )
        start = None if after is None else _read_cursor(after, order)
        rows = await self._database.look(
            lambda reader: _find(reader, selection, order, limit + 1, start)
        )
        page = Page(read_image(row[1:], self._files) for row in rows[:limit])
        if len(rows) > limit:
            page.cursor = _write_cursor(rows[limit - 1], order)
        return page

    async def days(self, selection: Selection, most: int | None) -> tuple[Days, bool]:
        """Return the days of a selection, in days since 1970, the latest first,
        each with its number of images; and whether older images than `most` are
        left out.

        They are counted in pieces, so that none keeps others from the database
        for long.
        """
        most_at_once = _most_at_once(selection, most)
        if most is None:
            # To look at each image takes longer than to merge lists of words.
            selection = msgspec.structs.replace(selection, beginnings=None)
        days: Counter[int] = Counter()
        left = _MOST if most is None else most
        while left > 0:
            count = partial(
                _days, selection=selection, most=min(left, most_at_once), most_by_index=left
            )
            found, last = await self._database.look(count)
            days.update(found)
            if last is None:
                return list(days.items()), False
            left -= sum(found.values())
            selection = msgspec.structs.replace(selection, end=last)
        return list(days.items()), True

    async def of_day(
        self, selection: Selection, day: int, *, offset: int, limit: int
    ) -> Sequence[Image]:
        """Return images of one day of a selection by their position, the latest
        first.

        Raises:
            InvalidRequestError: the limit or the position is invalid.
        """
        if not 1 <= limit <= _LONGEST_PAGE or not 0 <= offset <= _MOST:
            raise InvalidRequestError(
                f"Invalid limit or offset: expected 1 to {_LONGEST_PAGE} images, and 0 or more."
            )
        selection = _within_day(selection, day)
        rows = await self._database.look(
            lambda reader: _find(reader, selection, "newest", limit, None, offset)
        )
        return [read_image(row[1:], self._files) for row in rows]


def _find(
    reader: Transaction,
    selection: Selection,
    order: SortOrder,
    limit: int,
    start: _PageStart | None,
    offset: int = 0,
) -> list[Row]:
    bounded = _with_ranges(reader, selection)
    if bounded is None:
        return []
    selection, conditions = bounded
    if order == "newest" or order == "oldest":
        newest = order == "newest"
        return _by_time(reader, selection, conditions, limit, start, newest=newest, offset=offset)
    if selection.match is not None and (few := _few(reader, selection)) is not None:
        return _sorted(reader, few, conditions, order, limit, start)
    return _by_value(reader, selection, conditions, order, limit, start)


# --- days ---------------------------------------------------------------------


def _within_day(selection: Selection, day: int) -> Selection:
    return msgspec.structs.replace(
        selection,
        first=max(selection.first, day * _DAY),
        end=min(selection.end, (day + 1) * _DAY),
    )


def _most_at_once(selection: Selection, most: int | None) -> int:
    if selection.beginnings is None:
        return _PIECE
    # The index merges the lists of all words that begin so anew for each piece.
    return _MOST if most is None else _WALKED_PIECE


def _days(
    reader: Transaction, selection: Selection, most: int, most_by_index: int
) -> tuple[dict[int, int], int | None]:
    """Count the latest `most` images by day; return the number of the last one
    too if there are more.

    A beginning that few images have is counted up to `most_by_index` at once:
    for each piece the index would merge the lists of its words anew.
    """
    if selection.match is None and selection.ranges == Ranges() and _is_of_days(selection):
        kept_only = "" if selection.excluded is None else "AND trashed = 0"
        rows = reader.run(
            f"SELECT day, sum(images) FROM timeline WHERE day >= ? AND day < ? {kept_only}"
            " GROUP BY day HAVING sum(images) > 0 ORDER BY day DESC",
            (selection.first // _DAY, -(-selection.end // _DAY)),
        )
        return _read_days(rows), None
    bounded = _with_ranges(reader, selection)
    if bounded is None:
        return {}, None
    selection, conditions = bounded
    numbers = _walked(reader, selection, conditions, most + 1, wanted=most_by_index)
    if numbers is None:
        most = most if selection.beginnings is None else most_by_index
        return _counted(reader, selection, conditions, most)
    last = numbers[most - 1] if len(numbers) > most else None
    return Counter(number // _DAY for number in numbers[:most]), last


def _counted(
    reader: Transaction, selection: Selection, conditions: list[str], most: int
) -> tuple[dict[int, int], int | None]:
    source, key, where, values = _source(selection, conditions)
    if selection.match is not None and not conditions:
        # The index alone: a look at each image takes ten times as long.
        source = "image_search"
    matching = f"FROM {source} WHERE {where}"
    last = None
    if most < _MOST:
        rest = reader.run(
            f"SELECT {key} {matching} ORDER BY {key} DESC LIMIT 2 OFFSET ?",
            (*values, selection.first, selection.end, most - 1),
        )
        last = int(str(rest[0][0])) if len(rest) > 1 else None
    rows = reader.run(
        f"SELECT {key} / {_DAY} AS day, count(*) {matching} GROUP BY day ORDER BY day DESC",
        (*values, selection.first if last is None else last, selection.end),
    )
    return _read_days(rows), last


def _read_days(rows: Sequence[Row]) -> dict[int, int]:
    return {int(str(day)): int(str(images)) for day, images in rows}


def _is_of_days(selection: Selection) -> bool:
    return selection.first % _DAY == 0 and (selection.end == _MOST or selection.end % _DAY == 0)


# --- ranges -------------------------------------------------------------------


def _with_ranges(reader: Transaction, selection: Selection) -> tuple[Selection, list[str]] | None:
    """Turn each range into terms if it has few values, else into a condition;
    return None if a range is empty.
    """
    conditions: list[str] = []
    for measure in _KINDS:
        low, high = getattr(selection.ranges, measure)
        if low is None and high is None:
            continue
        values = _values_between(
            reader, measure, 0 if low is None else int(low), _MOST if high is None else int(high)
        )
        if not values:
            return None
        if len(values) <= _MOST_VALUES:
            terms = " OR ".join(facet(_KINDS[measure], value) for value in values)
            selection = _narrow(selection, f"facets : ({terms})")
        else:
            conditions.append(f"{_EXPRESSIONS[measure]} BETWEEN {values[-1]} AND {values[0]}")
    return msgspec.structs.replace(selection, ranges=Ranges()), conditions


def _values_between(reader: Transaction, measure: Measure, low: int, high: int) -> list[int]:
    """Return the distinct values in a range, highest first: all if at most
    `_MOST_VALUES`, else more than that with the lowest bound last.
    """
    found: list[int] = []
    for value in _values_below(reader, measure, high):
        if value < low:
            return found
        found.append(value)
        if len(found) > _MOST_VALUES:
            return [*found, low]
    return found


def _values_below(reader: Transaction, measure: Measure, most: int) -> Iterator[int]:
    if measure == "rating":
        yield from (stars for stars in range(5, -1, -1) if stars <= most)
        return
    while True:
        ((value,),) = reader.run(_NEXT_VALUES[measure], (most,))
        if not isinstance(value, int):
            return
        yield value
        most = value - 1


def _narrow(selection: Selection, term: str) -> Selection:
    match = term if selection.match is None else f"{selection.match} AND {term}"
    beginnings = selection.beginnings and selection.beginnings.narrow(term)
    return msgspec.structs.replace(selection, match=match, beginnings=beginnings)


# --- orders -------------------------------------------------------------------


def _by_time(
    reader: Transaction,
    selection: Selection,
    conditions: list[str],
    limit: int,
    start: _PageStart | None,
    *,
    newest: bool = True,
    offset: int = 0,
) -> list[Row]:
    selection = _after(selection, start, newest=newest)
    walked = _walked(reader, selection, conditions, limit + offset, newest=newest)
    if walked is not None:
        return _rows_of(reader, walked[offset:], newest=newest)
    source, key, where, values = _source(selection, conditions)
    return reader.run(
        f"SELECT images.number, {COLUMNS} FROM {source} WHERE {where} ORDER BY {key}"
        f" {_direction(newest=newest)} LIMIT ? OFFSET ?",
        (*values, selection.first, selection.end, limit, offset),
    )


def _walked(
    reader: Transaction,
    selection: Selection,
    conditions: list[str],
    limit: int,
    *,
    newest: bool = True,
    wanted: int | None = None,
) -> Sequence[int] | None:
    """Return the numbers of the first images that match; None if the index finds
    them as soon. With `wanted`, the caller asks for that number in all.
    """
    if selection.beginnings is None:
        return None

    def newer(match: str | None, last: int | None, size: int) -> Sequence[int]:
        others = msgspec.structs.replace(selection, match=match)
        rest = _after(others, None if last is None else _PageStart(last), newest=newest)
        source, key, where, values = _source(rest, conditions)
        if match is not None and not conditions:
            source = "image_search"
        rows = reader.run(
            f"SELECT {key} FROM {source} WHERE {where} ORDER BY {key}"
            f" {_direction(newest=newest)} LIMIT ?",
            (*values, rest.first, rest.end, size),
        )
        return [int(str(number)) for (number,) in rows]

    return walk(reader, selection.beginnings, newer, limit, limit if wanted is None else wanted)


def _rows_of(reader: Transaction, numbers: Sequence[int], *, newest: bool) -> list[Row]:
    if not numbers:
        return []
    wanted = ", ".join(map(str, numbers))
    return reader.run(
        f"SELECT images.number, {COLUMNS} FROM images WHERE images.number IN ({wanted})"
        f" ORDER BY images.number {_direction(newest=newest)}"
    )


def _direction(*, newest: bool) -> str:
    return "DESC" if newest else "ASC"


def _after(selection: Selection, start: _PageStart | None, *, newest: bool) -> Selection:
    if start is None:
        return selection
    if newest:
        return msgspec.structs.replace(selection, end=min(selection.end, start.number))
    return msgspec.structs.replace(selection, first=max(selection.first, start.number + 1))


def _source(selection: Selection, conditions: list[str]) -> tuple[str, str, str, list[str]]:
    """Return the tables, the column of the number, the condition, and its
    values before the bounds of the number.
    """
    values: list[str] = []
    if selection.match is None:
        source, key = "images INDEXED BY images_kept", "images.number"
        conditions = ["images.trashed_at IS NULL", *conditions]
        if selection.excluded is None:
            source, conditions = "images", conditions[1:]
    else:
        # CROSS makes SQLite iterate over the matches and look up the images,
        # which keeps them in order.
        source = "image_search CROSS JOIN images ON images.number = image_search.rowid"
        key, values = "image_search.rowid", [_match(selection)]
        conditions = ["image_search MATCH ?", *conditions]
    return source, key, " AND ".join([*conditions, f"{key} >= ?", f"{key} < ?"]), values


def _match(selection: Selection) -> str:
    assert selection.match is not None
    return (
        selection.match
        if selection.excluded is None
        else f"({selection.match}) NOT {selection.excluded}"
    )


def _by_value(
    reader: Transaction,
    selection: Selection,
    conditions: list[str],
    order: Measure,
    limit: int,
    start: _PageStart | None,
) -> list[Row]:
    """Iterate over the values from the highest, many at once: most of ten
    thousand prices may have no image of the selection.
    """
    rows: list[Row] = []
    if start is None or not start.is_unpriced:
        most = _MOST if start is None or start.value is None else start.value
        for values in _groups(_values_below(reader, order, most)):
            rows += _of_values(
                reader, selection, conditions, order, values, limit - len(rows), start
            )
            if len(rows) == limit:
                return rows
    if order == "cost":
        unpriced = _narrow(selection, f"facets : {UNPRICED}")
        same = start if start is not None and start.is_unpriced else None
        rows += _by_time(reader, unpriced, conditions, limit - len(rows), same)
    return rows


def _groups(values: Iterator[int]) -> Iterator[list[int]]:
    """Group values, few at first: they often fill the page."""
    size = _FIRST_GROUP
    while group := list(islice(values, size)):
        yield group
        size = min(4 * size, _LARGEST_GROUP)


def _of_values(
    reader: Transaction,
    selection: Selection,
    conditions: list[str],
    order: Measure,
    values: list[int],
    limit: int,
    start: _PageStart | None,
) -> list[Row]:
    """Sort the images of these values at once, or read them value by value
    where there are many.
    """
    terms = " OR ".join(facet(_KINDS[order], value) for value in values)
    few = _few(reader, _narrow(selection, f"facets : ({terms})"))
    if few is not None:
        return _sorted(reader, few, conditions, order, limit, start)
    rows: list[Row] = []
    for value in values:
        same = start if start is not None and start.value == value else None
        one = _narrow(selection, f"facets : {facet(_KINDS[order], value)}")
        rows += _by_time(reader, one, conditions, limit - len(rows), same)
        if len(rows) == limit:
            break
    return rows


def _few(reader: Transaction, selection: Selection) -> list[int] | None:
    """Return the numbers of the matching images; None if there are many."""
    if (walked := _walked(reader, selection, [], _FEW + 1)) is not None:
        return None if len(walked) > _FEW else list(walked)
    rows = reader.run(
        "SELECT rowid FROM image_search WHERE image_search MATCH ? AND rowid >= ? AND rowid < ?"
        " LIMIT ?",
        (_match(selection), selection.first, selection.end, _FEW + 1),
    )
    return None if len(rows) > _FEW else [int(str(number)) for (number,) in rows]


def _sorted(
    reader: Transaction,
    numbers: list[int],
    conditions: list[str],
    order: Measure,
    limit: int,
    start: _PageStart | None,
) -> list[Row]:
    if not numbers:
        return []
    value = f"coalesce({_EXPRESSIONS[order]}, -1)"
    wanted = ", ".join(str(number) for number in numbers)
    after = []
    if start is not None:
        last = -1 if start.value is None else start.value
        after = [f"({value}, images.number) < ({last}, {start.number})"]
    where = " AND ".join([f"images.number IN ({wanted})", *conditions, *after])
    return reader.run(
        f"SELECT images.number, {COLUMNS} FROM images WHERE {where} ORDER BY {value} DESC,"
        " images.number DESC LIMIT ?",
        (limit,),
    )


# --- cursors ------------------------------------------------------------------


def _write_cursor(row: Row, order: SortOrder) -> str:
    return (
        f"{order}:{row[0]}"
        if order in ("newest", "oldest")
        else f"{order}:{row[0]}:{_value_of(row, order)}"
    )


def _value_of(row: Row, order: SortOrder) -> str:
    columns = dict(zip(COLUMNS.split(", "), row[1:], strict=True))
    match order:
        case "rating":
            return str(columns["images.rating"])
        case "pixels":
            return str(int(str(columns["images.width"])) * int(str(columns["images.height"])))
        case _:
            cost = columns["images.cost_nanousd"]
            return "" if cost is None else str(cost)


def _read_cursor(cursor: str, order: SortOrder) -> _PageStart:
    form = r"(\d{1,18})" if order in ("newest", "oldest") else r"(\d{1,18}):(\d{0,18})"
    found = re.fullmatch(f"{order}:{form}", cursor, re.ASCII)
    if found is None:
        raise InvalidRequestError(
            "Invalid cursor `after`: expected that of the previous page, in the same order."
        )
    value = found[2] if found.lastindex == 2 else ""
    return _PageStart(
        int(found[1]), int(value) if value else None, is_unpriced=order == "cost" and not value
    )


# --- lineage ------------------------------------------------------------------

# Larger trees lose their remaining leaves.
_MOST_RELATIVES = 1000


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """An image and the images derived from it. `missing_parent` is the id of a
    parent that was deleted.
    """

    image: Image
    children: tuple[Lineage, ...] = ()
    missing_parent: str | None = None


async def read_lineage(database: Database, image_id: str, files: FilePlaces) -> Lineage | None:
    """Return the tree of an image, from its oldest existing ancestor; None if
    the image is unknown.
    """
    rows = await database.look(lambda reader: _rows_of_tree(reader, image_id))
    images = {image.id: image for image in (read_image(row, files) for row in rows)}
    if not images:
        return None
    return _build(images)


def _rows_of_tree(reader: Transaction, image_id: str) -> Sequence[Row]:
    """Read the tree from its root, level by level, so that a cycle ends."""
    root = _root(reader, image_id)
    rows = reader.run(f"SELECT {COLUMNS} FROM images WHERE id = ?", (root,))
    seen, level = {root}, [root]
    while level and len(rows) < _MOST_RELATIVES:
        marks = ", ".join("?" * len(level))
        found = reader.run(
            f"SELECT {COLUMNS} FROM images WHERE parent_id IN ({marks}) ORDER BY number LIMIT ?",
            (*level, _MOST_RELATIVES - len(rows)),
        )
        fresh = [row for row in found if row[0] not in seen]
        level = [str(row[0]) for row in fresh]
        seen.update(level)
        rows = [*rows, *fresh]
    return rows


def _root(reader: Transaction, image_id: str) -> str:
    seen = {image_id}
    while True:
        rows = reader.run(
            "SELECT parent.id FROM images JOIN images AS parent ON parent.id = images.parent_id"
            " WHERE images.id = ?",
            (image_id,),
        )
        if not rows or rows[0][0] in seen:
            return image_id
        image_id = str(rows[0][0])
        seen.add(image_id)


def _build(images: dict[str, Image]) -> Lineage:
    """Build the tree from the last row back: children come after their parents."""
    made: dict[str, list[Lineage]] = {}
    for image in reversed(list(images.values())):
        missing = image.parent_id if image.parent_id not in images else None
        lineage = Lineage(
            image=image, children=tuple(reversed(made.pop(image.id, []))), missing_parent=missing
        )
        made.setdefault(image.parent_id or "", []).append(lineage)
    return lineage
