"""Tags, ratings, notes and the trash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from .._errors import InvalidRequestError
from .._requests.tags import check_text, clean_tag
from .._results.images import Image
from .._storage.database import Database, Row, Transaction

__all__ = ["Annotations", "ImageRef", "ids_of", "in_groups"]

Item = TypeVar("Item")

ImageRef = str | Image
"""An image, or its whole id."""

# Images per transaction: a paid result waits for the database no longer than
# that takes.
_GROUP = 200
_MOST_STARS = 5

_decode_tags = msgspec.json.Decoder(list[str]).decode


def ids_of(images: ImageRef | Iterable[ImageRef]) -> list[str]:
    """Return the ids of one image or of many, each once."""
    given = [images] if isinstance(images, (str, Image)) else images
    return list(dict.fromkeys(image if isinstance(image, str) else image.id for image in given))


def in_groups(items: Sequence[Item]) -> Iterable[Sequence[Item]]:
    """Split ids, or other items, into groups that fit one transaction."""
    return (items[start : start + _GROUP] for start in range(0, len(items), _GROUP))


class Annotations:
    """Changes to the annotations of images.

    Every method takes one image or many, skips unknown ones, and returns the
    number of images changed.

    Images are changed in groups, each in one transaction: if the process dies,
    some groups are changed and others are not.
    """

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._database = database
        self._now = now

    async def tag(
        self,
        images: ImageRef | Iterable[ImageRef],
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
    ) -> int:
        """Add tags to images and remove others."""
        if isinstance(add, str) or isinstance(remove, str):
            raise InvalidRequestError("Invalid tags: expected a list of words, even for one tag.")
        added, removed = {clean_tag(tag) for tag in add}, {clean_tag(tag) for tag in remove}

        def change(transaction: Transaction, image_id: str) -> int:
            rows = transaction.run("SELECT tags FROM images WHERE id = ?", (image_id,))
            before = set(_decode_tags(str(rows[0][0]))) if rows else set()
            after = (before | added) - removed
            if not rows or after == before:
                return 0
            return transaction.change(
                "UPDATE images SET tags = ? WHERE id = ?",
                (msgspec.json.encode(sorted(after)).decode(), image_id),
            )

        return await self._each(images, change)

    async def rate(self, images: ImageRef | Iterable[ImageRef], stars: int) -> int:
        """Rate images with 1 to 5 stars; 0 removes the rating."""
        if stars not in range(_MOST_STARS + 1):
            raise InvalidRequestError(f"Invalid rating {stars}: expected 0 to {_MOST_STARS} stars.")
        return await self._update(images, "rating = ?1", "rating <> ?1", (stars,))

    async def annotate(self, images: ImageRef | Iterable[ImageRef], notes: str) -> int:
        """Replace the notes of images; an empty text removes them."""
        return await self._update(
            images, "notes = ?1", "notes <> ?1", (check_text(notes, "A note"),)
        )

    async def trash(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Move images to the trash: queries skip them, until they are restored
        or permanently deleted.
        """
        return await self._update(images, "trashed_at = ?1", "trashed_at IS NULL", (self._now(),))

    async def restore(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Restore images from the trash, unchanged."""
        return await self._update(images, "trashed_at = NULL", "trashed_at IS NOT ?1", (None,))

    async def _update(
        self, images: ImageRef | Iterable[ImageRef], change: str, condition: str, values: Row
    ) -> int:
        sql = f"UPDATE images SET {change} WHERE id = ?2 AND {condition}"
        return await self._each(
            images, lambda transaction, image_id: transaction.change(sql, (*values, image_id))
        )

    async def _each(
        self, images: ImageRef | Iterable[ImageRef], change: Callable[[Transaction, str], int]
    ) -> int:
        changed = 0
        for group in in_groups(ids_of(images)):
            changed += await self._database.transact(
                lambda transaction, group=group: sum(
                    change(transaction, image_id) for image_id in group
                )  # type: ignore[misc]
            )
        return changed
