"""Finds images, a page at a time, at the same cost among a thousand and a
million.

The index gives the images that match newest first, and only as many as are
wanted. Another order is that of the few values that there are: the dearest
price first, and below each price the images newest first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from .._errors import InvalidRequestError
from .._results.images import Image
from .._storage.database import Database, Row, Transaction
from .._storage.full_text import UNPRICED, facet
from ._filters import Ranges, Selection, SortOrder
from ._rows import COLUMNS, read_image

__all__ = ["LibraryQuery", "Lineage", "Page", "read_lineage"]

_LONGEST_PAGE = 1000
# Up to so many values a range is a list of words; with more values, most images
# near each other differ in them.
_MOST_VALUES = 100
# So many matches are put in order at once, rather than looked for value by
# value.
_FEW = 1000

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


class Page(list[Image]):
    """Images in order; `cursor` is what the next page comes `after`, None where
    this is the last one.
    """

    cursor: str | None = None


class _Place(msgspec.Struct, frozen=True):
    """After which image a page begins; `value` is what the order goes by, None
    where that is time or unknown.
    """

    number: int
    value: int | None = None
    is_unpriced: bool = False


class LibraryQuery:
    """Runs selections."""

    def __init__(self, database: Database, path_of: Callable[[str, str], Path]) -> None:
        self._database = database
        self._path_of = path_of

    async def page(
        self, selection: Selection, *, order: SortOrder, limit: int, after: str | None
    ) -> Page:
        """The images of a selection, at most `limit`.

        Raises:
            InvalidRequestError: the limit or the cursor makes no sense.
        """
        if not 1 <= limit <= _LONGEST_PAGE:
            raise InvalidRequestError(f"A page has 1 to {_LONGEST_PAGE} images, not {limit}.")
        start = None if after is None else _read_cursor(after, order)
        rows = await self._database.look(
            lambda reader: _find(reader, selection, order, limit + 1, start)
        )
        page = Page(read_image(row[1:], self._path_of) for row in rows[:limit])
        if len(rows) > limit:
            page.cursor = _write_cursor(rows[limit - 1], order)
        return page


def _find(
    reader: Transaction, selection: Selection, order: SortOrder, limit: int, start: _Place | None
) -> list[Row]:
    bounded = _with_ranges(reader, selection)
    if bounded is None:
        return []
    selection, conditions = bounded
    if order == "newest" or order == "oldest":
        return _by_time(reader, selection, conditions, limit, start, newest=order == "newest")
    if (few := _few(reader, selection)) is not None:
        return _sorted(reader, few, conditions, order, limit, start)
    return _by_value(reader, selection, conditions, order, limit, start)


# --- ranges -------------------------------------------------------------------


def _with_ranges(reader: Transaction, selection: Selection) -> tuple[Selection, list[str]] | None:
    """The ranges as words where they have few values, else as conditions; None
    where nothing lies in one.
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
    """The values that there are, from the highest: all up to a hundred; else
    more than that, with the lowest one last.
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
    return msgspec.structs.replace(selection, match=match)


# --- orders -------------------------------------------------------------------


def _by_time(
    reader: Transaction,
    selection: Selection,
    conditions: list[str],
    limit: int,
    start: _Place | None,
    *,
    newest: bool = True,
) -> list[Row]:
    first, end = selection.first, selection.end
    if start is not None and newest:
        end = min(end, start.number)
    elif start is not None:
        first = max(first, start.number + 1)
    direction = "DESC" if newest else "ASC"
    if selection.match is None:
        source, key, values = "images INDEXED BY images_kept", "images.number", []
        conditions = ["images.trashed_at IS NULL", *conditions]
        if selection.excluded is None:
            source, conditions = "images", conditions[1:]
    else:
        # CROSS tells SQLite to go through the matches and look up the images,
        # which is what gives them in order.
        source = "image_search CROSS JOIN images ON images.number = image_search.rowid"
        key, values = "image_search.rowid", [_match(selection)]
        conditions = ["image_search MATCH ?", *conditions]
    where = " AND ".join([*conditions, f"{key} >= ?", f"{key} < ?"])
    return reader.run(
        f"SELECT images.number, {COLUMNS} FROM {source} WHERE {where} ORDER BY {key} {direction}"
        " LIMIT ?",
        (*values, first, end, limit),
    )


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
    start: _Place | None,
) -> list[Row]:
    """Goes through the values from the highest, and for each through its
    images.
    """
    rows: list[Row] = []
    if start is None or not start.is_unpriced:
        most = _MOST if start is None or start.value is None else start.value
        for value in _values_below(reader, order, most):
            same = start if start is not None and start.value == value else None
            one = _narrow(selection, f"facets : {facet(_KINDS[order], value)}")
            rows += _by_time(reader, one, conditions, limit - len(rows), same)
            if len(rows) == limit:
                return rows
    if order == "cost":
        unpriced = _narrow(selection, f"facets : {UNPRICED}")
        same = start if start is not None and start.is_unpriced else None
        rows += _by_time(reader, unpriced, conditions, limit - len(rows), same)
    return rows


def _few(reader: Transaction, selection: Selection) -> list[int] | None:
    """The numbers of the images that match, where they are few."""
    if selection.match is None:
        return None
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
    start: _Place | None,
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


def _read_cursor(cursor: str, order: SortOrder) -> _Place:
    form = r"(\d{1,18})" if order in ("newest", "oldest") else r"(\d{1,18}):(\d{0,18})"
    found = re.fullmatch(f"{order}:{form}", cursor, re.ASCII)
    if found is None:
        raise InvalidRequestError(
            "`after` is the cursor of the page before, with the same order, and this is none."
        )
    value = found[2] if found.lastindex == 2 else ""
    return _Place(
        int(found[1]), int(value) if value else None, is_unpriced=order == "cost" and not value
    )


# --- lineage ------------------------------------------------------------------

# A tree with more images is shown without the rest of its leaves.
_MOST_RELATIVES = 1000


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """An image, and what was made from it. `missing_parent` is the id of what
    it was made from, where that is gone.
    """

    image: Image
    children: tuple[Lineage, ...] = ()
    missing_parent: str | None = None


async def read_lineage(
    database: Database, image_id: str, path_of: Callable[[str, str], Path]
) -> Lineage | None:
    """The tree that an image belongs to, from the first image of it that is
    there; None where it is not there itself.
    """
    rows = await database.look(lambda reader: _rows_of_tree(reader, image_id))
    images = {image.id: image for image in (read_image(row, path_of) for row in rows)}
    if not images:
        return None
    return _build(images)


def _rows_of_tree(reader: Transaction, image_id: str) -> Sequence[Row]:
    """From the first one on, level by level, so that nothing that refers to
    itself can go on for ever.
    """
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
    """From the last one back, as what was made from an image stands behind it."""
    made: dict[str, list[Lineage]] = {}
    for image in reversed(list(images.values())):
        missing = image.parent_id if image.parent_id not in images else None
        lineage = Lineage(
            image=image, children=tuple(reversed(made.pop(image.id, []))), missing_parent=missing
        )
        made.setdefault(image.parent_id or "", []).append(lineage)
    return lineage
