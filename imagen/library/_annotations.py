"""What people do with images that they have: tags, stars, notes, the trash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from .._errors import InvalidRequestError
from .._requests.tags import check_text, clean_tag
from .._results.images import Image
from .._storage.database import Database, Row, Transaction

__all__ = ["Annotations", "ImageRef", "ids_of", "in_groups"]

ImageRef = str | Image
"""An image, or its whole id."""

# So many images are changed in one transaction: what is paid waits for no
# longer than that takes.
_GROUP = 200
_MOST_STARS = 5

_decode_tags = msgspec.json.Decoder(list[str]).decode


def ids_of(images: ImageRef | Iterable[ImageRef]) -> list[str]:
    """The ids of one image or of many, each once."""
    given = [images] if isinstance(images, (str, Image)) else images
    return list(dict.fromkeys(image if isinstance(image, str) else image.id for image in given))


def in_groups(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """The ids in pieces that fit one transaction."""
    return (ids[start : start + _GROUP] for start in range(0, len(ids), _GROUP))


class Annotations:
    """Every method takes one image or many, skips those that are not there, and
    gives how many it changed.

    Images are changed in groups: a process that dies in between leaves some of
    them changed, and each of them whole.
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
        """Puts tags on images and takes others off."""
        if isinstance(add, str) or isinstance(remove, str):
            raise InvalidRequestError("Tags are a list of words, also where there is one.")
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
        """Gives images 1 to 5 stars; 0 takes the stars away."""
        if stars not in range(_MOST_STARS + 1):
            raise InvalidRequestError(f"A rating is 0 to {_MOST_STARS} stars, not {stars}.")
        return await self._update(images, "rating = ?1", "rating <> ?1", (stars,))

    async def annotate(self, images: ImageRef | Iterable[ImageRef], notes: str) -> int:
        """Replaces the notes of images; an empty text takes them away."""
        return await self._update(
            images, "notes = ?1", "notes <> ?1", (check_text(notes, "A note"),)
        )

    async def trash(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Moves images to the trash, where they are found no more, and wait to
        be restored or deleted for good.
        """
        return await self._update(images, "trashed_at = ?1", "trashed_at IS NULL", (self._now(),))

    async def restore(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Takes images out of the trash, as they were."""
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
