"""Collections: images in a user-defined order.

An image may be in many collections; a collection may be nested in one other.
"""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from .._errors import InvalidRequestError
from .._requests.tags import check_text
from .._results.html import table
from .._storage.database import Database, Row, Transaction
from ._annotations import ImageRef, ids_of, in_groups
from ._query import Page
from ._rows import COLUMNS, FilePlaces, read_image

__all__ = ["Collection", "Collections"]

_LONGEST_NAME = 100
_COLUMNS = "one.id, one.name, above.name, one.notes, one.images, one.created_at"
_TOP = "coalesce(parent_id, '') = ''"
_FROM = "FROM collections AS one LEFT JOIN collections AS above ON above.id = one.parent_id"

_RENAME = """
UPDATE collections SET name = ?1 WHERE id = ?2 AND NOT EXISTS (
    SELECT 1 FROM collections AS other WHERE other.name = ?1 AND other.id <> ?2
    AND coalesce(other.parent_id, '') = coalesce(collections.parent_id, '')
)
"""


class Collection(msgspec.Struct, frozen=True, kw_only=True):
    """Snapshot of a collection; `name` is "outer/inner" if it is nested."""

    id: str
    name: str
    notes: str
    images: int
    created_at: datetime.datetime

    def _repr_html_(self) -> str:
        return table([(self.name, self.images, self.notes)], ("collection", "images", "notes"))


class Collections:
    """The collections of a library."""

    def __init__(self, database: Database, files: FilePlaces, now: Callable[[], float]) -> None:
        self._database = database
        self._files = files
        self._now = now

    async def create(self, name: str, *, notes: str = "") -> Collection:
        """Create a collection; for "outer/inner" create the outer one too if
        missing.

        Raises:
            InvalidRequestError: the name exists or is invalid.
        """
        names = _read_name(name)
        check_text(notes, "A note")
        made = await self._database.transact(
            partial(_create, names=names, notes=notes, now=self._now())
        )
        if not made:
            raise InvalidRequestError(f"The collection {name!r} already exists.")
        return await self.get("/".join(names))

    async def get(self, name: str) -> Collection:
        """Return the collection with this name or id.

        Raises:
            InvalidRequestError: it does not exist.
        """
        outer, slash, inner = name.rpartition("/")
        # Without an outer collection of that name nothing matches: NULL equals
        # nothing. The empty text takes the type from the id, as the index on an
        # expression has none.
        within = f"(SELECT id || '' FROM collections WHERE {_TOP} AND name = ?1)" if slash else "''"
        rows = await self._database.read(
            f"SELECT {_COLUMNS} {_FROM} WHERE coalesce(one.parent_id, '') = {within} AND"
            f" one.name = ?2 AND ?1 IS NOT NULL UNION ALL SELECT {_COLUMNS} {_FROM} WHERE"
            " one.id = ?3",
            (outer, inner, name),
        )
        if not rows:
            raise InvalidRequestError(
                f"Unknown collection {name[:_LONGEST_NAME]!r}: `imagen collection list` lists them."
            )
        return _read(rows[0])

    async def list(self) -> Sequence[Collection]:
        """Return all collections, by name."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} {_FROM} ORDER BY coalesce(above.name, one.name), above.name IS"
            " NOT NULL, one.name"
        )
        return [_read(row) for row in rows]

    async def of_image(self, image: ImageRef) -> Sequence[Collection]:
        """Return the collections that contain an image."""
        rows = await self._database.read(
            f"SELECT {_COLUMNS} {_FROM} WHERE one.id IN (SELECT collection_id FROM"
            " collection_images WHERE number = (SELECT number FROM images WHERE id = ?)) ORDER BY"
            " one.name",
            (ids_of(image)[0],),
        )
        return [_read(row) for row in rows]

    async def those_in(self, name: str, images: ImageRef | Iterable[ImageRef]) -> Sequence[str]:
        """Return the ids of the images that the collection itself holds."""
        found = await self.get(name)
        inside: list[str] = []
        for group in in_groups(ids_of(images)):
            rows = await self._database.read(
                "SELECT images.id FROM images JOIN collection_images USING (number)"
                " WHERE collection_id = ? AND images.id IN (SELECT value FROM json_each(?))",
                (found.id, msgspec.json.encode(group).decode()),
            )
            inside += [str(image_id) for (image_id,) in rows]
        return inside

    async def rename(self, name: str, new_name: str) -> Collection:
        """Rename a collection in place: `new_name` has no slash.

        Raises:
            InvalidRequestError: the collection does not exist, or the new name
                does.
        """
        found = await self.get(name)
        if len(parts := _read_name(new_name)) != 1:
            raise InvalidRequestError(
                f"Invalid new name {new_name!r}: a renamed collection is not moved, so expected a"
                " name without a slash."
            )

        def rename(transaction: Transaction) -> int:
            return transaction.change(_RENAME, (parts[0], found.id))

        if not await self._database.transact(rename):
            raise InvalidRequestError(f"The collection {new_name!r} already exists.")
        return await self.get(found.id)

    async def annotate(self, name: str, notes: str) -> None:
        """Replace the notes of a collection."""
        found = await self.get(name)
        await self._database.write(
            [
                (
                    "UPDATE collections SET notes = ? WHERE id = ?",
                    (check_text(notes, "A note"), found.id),
                )
            ]
        )

    async def delete(self, name: str) -> None:
        """Delete a collection and those nested in it. The images stay."""
        found = await self.get(name)
        await self._database.write([("DELETE FROM collections WHERE id = ?", (found.id,))])

    async def add(self, name: str, images: ImageRef | Iterable[ImageRef]) -> int:
        """Append images to a collection, and return the number added. Unknown
        images are skipped.
        """
        found = await self.get(name)
        added = 0
        for group in in_groups(ids_of(images)):
            added += await self._database.transact(partial(_add, collection_id=found.id, ids=group))
        return added

    async def remove(self, name: str, images: ImageRef | Iterable[ImageRef]) -> int:
        """Remove images from a collection, and return the number removed."""
        found = await self.get(name)
        removed = 0
        for group in in_groups(ids_of(images)):
            removed += await self._database.transact(
                partial(_remove, collection_id=found.id, ids=group)
            )
        return removed

    async def arrange(self, name: str, images: Iterable[ImageRef]) -> None:
        """Move these images of a collection to its start, in this order; the
        others keep theirs.
        """
        found = await self.get(name)
        await self._database.transact(partial(_arrange, collection_id=found.id, ids=ids_of(images)))

    async def images(self, name: str, *, limit: int = 50, after: str | None = None) -> Page:
        """Return a page of a collection in its order, without trashed images;
        `after` is the cursor of the previous page.
        """
        found = await self.get(name)
        if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise InvalidRequestError("Invalid cursor `after`: expected that of the previous page.")
        rows = await self._database.read(
            f"SELECT collection_images.position, {COLUMNS} FROM collection_images INDEXED BY"
            " collection_images_in_order JOIN images ON images.number = collection_images.number"
            " WHERE collection_id = ? AND position > ? AND trashed_at IS NULL ORDER BY position"
            " LIMIT ?",
            (found.id, -1 if after is None else int(after), limit + 1),
        )
        page = Page(read_image(row[1:], self._files) for row in rows[:limit])
        if len(rows) > limit:
            page.cursor = str(rows[limit - 1][0])
        return page

    async def ids_within(self, name: str) -> Sequence[str]:
        """Return the ids of a collection and of those nested in it."""
        found = await self.get(name)
        rows = await self._database.read(
            "SELECT id FROM collections WHERE parent_id = ?", (found.id,)
        )
        return [found.id, *(str(row[0]) for row in rows)]


def _create(transaction: Transaction, names: Sequence[str], notes: str, now: float) -> bool:
    parent: str | None = None
    for depth, name in enumerate(names, start=1):
        is_requested = depth == len(names)
        rows = transaction.run(
            "SELECT id FROM collections WHERE coalesce(parent_id, '') = ? AND name = ?",
            (parent or "", name),
        )
        if rows and is_requested:
            return False
        if rows:
            parent = str(rows[0][0])
            continue
        collection_id = secrets.token_hex(8)
        transaction.change(
            "INSERT INTO collections (id, name, parent_id, notes, created_at) VALUES (?, ?, ?,"
            " ?, ?)",
            (collection_id, name, parent, notes if is_requested else "", now),
        )
        parent = collection_id
    return True


def _add(transaction: Transaction, collection_id: str, ids: Sequence[str]) -> int:
    added = 0
    for image_id in ids:
        added += transaction.change(
            "INSERT INTO collection_images (collection_id, number, position) SELECT ?1, number,"
            " coalesce((SELECT max(position) FROM collection_images WHERE collection_id = ?1), 0) +"
            " 1 FROM images WHERE id = ?2 AND EXISTS (SELECT 1 FROM collections WHERE id = ?1) ON"
            " CONFLICT (collection_id, number) DO NOTHING",
            (collection_id, image_id),
        )
    return added


def _remove(transaction: Transaction, collection_id: str, ids: Sequence[str]) -> int:
    return sum(
        transaction.change(
            "DELETE FROM collection_images WHERE collection_id = ? AND number = (SELECT number FROM"
            " images WHERE id = ?)",
            (collection_id, image_id),
        )
        for image_id in ids
    )


def _arrange(transaction: Transaction, collection_id: str, ids: Sequence[str]) -> None:
    rows = transaction.run(
        "SELECT images.id, images.number FROM collection_images JOIN images USING (number) "
        "WHERE collection_id = ? ORDER BY position",
        (collection_id,),
    )
    numbers = {str(image_id): number for image_id, number in rows}
    # Duplicates keep their first position.
    order = dict.fromkeys([*(image_id for image_id in ids if image_id in numbers), *numbers])
    ((last,),) = transaction.run(
        "SELECT coalesce(max(position), 0) FROM collection_images WHERE collection_id = ?",
        (collection_id,),
    )
    # Start behind all positions in use: positions are unique at every step.
    for position, image_id in enumerate(order, start=int(str(last)) + 1):
        transaction.change(
            "UPDATE collection_images SET position = ? WHERE collection_id = ? AND number = ?",
            (position, collection_id, numbers[image_id]),
        )


def _read_name(name: str) -> Sequence[str]:
    parts = [part.strip() for part in name.split("/")]
    if len(parts) > 2 or not all(
        0 < len(part) <= _LONGEST_NAME and part.isprintable() for part in parts
    ):
        raise InvalidRequestError(
            f"Invalid collection name: expected 1 to {_LONGEST_NAME} printable characters, or two"
            " such names separated by a slash."
        )
    return parts


def _read(row: Row) -> Collection:
    collection_id, name, outer, notes, images, created_at = row
    return Collection(
        id=str(collection_id),
        name=str(name) if outer is None else f"{outer}/{name}",
        notes=str(notes),
        images=int(str(images)),
        created_at=datetime.datetime.fromtimestamp(float(str(created_at)), datetime.UTC),
    )
