"""What was made from what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from .._results.images import Image
from .._storage.database import Database, Row, Transaction
from ._rows import COLUMNS, read_image

__all__ = ["Lineage", "read_lineage"]

# A tree with more images is shown without the rest of its leaves.
_MOST = 1000


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
    while level and len(rows) < _MOST:
        marks = ", ".join("?" * len(level))
        found = reader.run(
            f"SELECT {COLUMNS} FROM images WHERE parent_id IN ({marks}) ORDER BY number LIMIT ?",
            (*level, _MOST - len(rows)),
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
