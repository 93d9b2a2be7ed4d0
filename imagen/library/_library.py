"""The library: images that were made, found again and looked after."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

import msgspec

from .._errors import InvalidRequestError, StorageError
from .._policy.cleanup import CleanupRules
from .._results.images import Image
from .._storage.database import Database, Transaction
from .._storage.full_text import TRASHED, facet
from .._system.threads import Workers
from ._annotations import Annotations, ImageRef
from ._check import Finding, LibraryCheck
from ._cleanup import Cleanup, CleanupPlan
from ._collections import Collections
from ._deletion import Deletion
from ._files import ImageFiles
from ._filters import Filters, SortOrder, select
from ._query import LibraryQuery, Lineage, Page, read_lineage
from ._rows import COLUMNS, ImageRow, insert_image, read_image

__all__ = ["Library", "LibrarySize"]

_PAGE = 200
# So many at a time, as one that has lost its file is passed over.
_LOOKED_AT = 8
_MADE_OF = f"""
SELECT images.number, {COLUMNS} FROM image_search CROSS JOIN images ON images.number = image_search.rowid
WHERE image_search MATCH ?1 AND image_search.rowid > ?2 AND (?3 IS NULL OR json_extract(request, '$.seed') = ?3)
AND images.id NOT IN (SELECT value FROM json_each(?4))
AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.id = images.attempt_id AND attempts.batch_id = ?5)
ORDER BY image_search.rowid LIMIT ?6
"""


class LibrarySize(msgspec.Struct, frozen=True, kw_only=True):
    """How many images there are, and their bytes; those in the trash apart."""

    images: int
    size_bytes: int
    trashed_images: int
    trashed_bytes: int


class Library:
    """Finished images, and what is known of them. Cheap to ask, however many
    there are; nothing is held in memory.

    An image is named by its id, or by the `Image` itself. Whatever changes
    images takes one or many, skips those that are not there, and gives how many
    it changed. All of it may be used from several processes at once.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        workers: Workers,
        *,
        now: Callable[[], float] = time.time,
        on_removed: Callable[[str], object] = lambda sha256: None,
    ) -> None:
        self.files = ImageFiles(folder, workers)
        self.collections = Collections(database, self.files.path, now)
        self._database = database
        self._workers = workers
        self._now = now
        self._finder = LibraryQuery(database, self.files.path)
        self._curation = Annotations(database, now)
        self._removal = Deletion(database, self.files, workers, now, on_removed)
        self._cleanup = Cleanup(database, self._removal, now)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self.files.folder

    # --- finding --------------------------------------------------------------

    async def get(self, image_id: str) -> Image | None:
        """The image of that id, or of the only id that begins so, also where it
        is in the trash.

        Raises:
            InvalidRequestError: several ids begin so.
        """
        if not image_id.isascii() or not image_id.isalnum():
            return None
        # The upper end of the range: "g" follows every hexadecimal digit.
        rows = await self._database.read(
            f"SELECT {COLUMNS} FROM images WHERE id >= ? AND id < ? ORDER BY id LIMIT 2",
            (image_id, image_id + "g"),
        )
        if len(rows) > 1 and rows[0][0] != image_id:
            raise InvalidRequestError(
                f"Several images have an id that begins with {image_id}: give more of it."
            )
        return read_image(rows[0], self.files.path) if rows else None

    async def list(
        self,
        *,
        limit: int = 50,
        after: str | None = None,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """A page of images: at most `limit`, `after` the cursor of the page
        before.

        Raises:
            InvalidRequestError: a filter, the limit or the cursor makes no
                sense.
        """
        return await self._page(None, limit, after, order, filters)

    async def search(
        self,
        query: str,
        *,
        limit: int = 50,
        after: str | None = None,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Images by words of their prompts, revised prompts, tags and notes;
        else like `list`.

        All words must be there. "A phrase" stands as it is, -word must not be
        there, and begin* is the beginning of a word, of three letters at least.
        Small and capital letters and accents make no difference.

        Raises:
            InvalidRequestError: there is no word in the query, or as for
                `list`.
        """
        return await self._page(query, limit, after, order, filters)

    async def find(
        self, query: str | None = None, *, order: SortOrder = "newest", **filters: Unpack[Filters]
    ) -> AsyncIterator[Image]:
        """All images that `search` or `list` would give, page by page."""
        after: str | None = None
        while True:
            page = await self._page(query, _PAGE, after, order, filters)
            for image in page:
                yield image
            if (after := page.cursor) is None:
                return

    async def _page(
        self, query: str | None, limit: int, after: str | None, order: SortOrder, filters: Filters
    ) -> Page:
        collections: Sequence[str] = ()
        if "collection" in filters:
            collections = await self.collections.ids_within(filters["collection"])
        return await self._finder.page(
            select(query, filters, collections), order=order, limit=limit, after=after
        )

    async def of_batch(self, batch_id: str) -> Sequence[Image]:
        """The images of a batch, in the order in which they were made."""
        rows = await self._database.read(
            f"SELECT {COLUMNS} FROM attempts JOIN images ON images.attempt_id = attempts.id "
            "WHERE attempts.batch_id = ? ORDER BY images.number",
            (batch_id,),
        )
        return [read_image(row, self.files.path) for row in rows]

    async def made_of(
        self,
        fingerprint: str,
        seed: int | None,
        *,
        limit: int,
        without: Sequence[str] = (),
        but_of_batch: str | None = None,
    ) -> Sequence[Image]:
        """Images of one request, oldest first, whose files are there; with that
        seed where one is given.

        Left out are those with the ids `without`, and what `but_of_batch` made.
        """
        match, left_out = (
            f"(facets : {facet('f', fingerprint)}) NOT facets : {TRASHED}",
            msgspec.json.encode(without).decode(),
        )
        found: list[Image] = []
        number = -1
        while len(found) < limit:
            rows = await self._database.read(
                _MADE_OF, (match, number, seed, left_out, but_of_batch, max(limit, _LOOKED_AT))
            )
            if not rows:
                break
            number = int(str(rows[-1][0]))
            found += await self._workers.run(
                partial(_those_with_files, [read_image(row[1:], self.files.path) for row in rows])
            )
        return found[:limit]

    async def lineage(self, image: ImageRef) -> Lineage | None:
        """What the image was made from and what was made from that, as a tree
        from its first image on.
        """
        return await read_lineage(
            self._database, image if isinstance(image, str) else image.id, self.files.path
        )

    async def tags(self) -> Sequence[tuple[str, int]]:
        """The tags that there are, by name, and how many images have each."""
        rows = await self._database.read("SELECT name, images FROM tags ORDER BY name")
        return [(str(name), int(str(images))) for name, images in rows]

    async def size(self) -> LibrarySize:
        """How much there is."""
        rows = await self._database.read(
            "SELECT images, size_bytes FROM library_size ORDER BY trashed"
        )
        (images, size_bytes), (trashed_images, trashed_bytes) = [
            (int(str(a)), int(str(b))) for a, b in rows
        ]
        return LibrarySize(
            images=images,
            size_bytes=size_bytes,
            trashed_images=trashed_images,
            trashed_bytes=trashed_bytes,
        )

    # --- looking after --------------------------------------------------------

    async def tag(
        self,
        images: ImageRef | Iterable[ImageRef],
        add: Iterable[str] = (),
        *,
        remove: Iterable[str] = (),
    ) -> int:
        """Puts tags on images and takes others off. Tags are kept in small
        letters.

        Raises:
            InvalidRequestError: it is no tag.
        """
        return await self._curation.tag(images, add, remove)

    async def rate(self, images: ImageRef | Iterable[ImageRef], stars: int) -> int:
        """Gives images 1 to 5 stars; 0 takes the stars away.

        Raises:
            InvalidRequestError: there are no such stars.
        """
        return await self._curation.rate(images, stars)

    async def annotate(self, images: ImageRef | Iterable[ImageRef], notes: str) -> int:
        """Replaces the notes of images; an empty text takes them away.

        Raises:
            InvalidRequestError: the text is longer than 100,000 letters.
        """
        return await self._curation.annotate(images, notes)

    async def trash(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Moves images to the trash, where they are found only when asked for
        (`state="trashed"`), until the rules of the cleanup delete them.
        """
        return await self._curation.trash(images)

    async def restore(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Takes images out of the trash, as they were."""
        return await self._curation.restore(images)

    async def delete(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Deletes images for good: their rows, and their files where no other
        row has the same bytes. What they cost stays in the ledger.
        """
        return await self._removal.delete(images)

    async def clean(self, rules: CleanupRules, *, dry_run: bool = False) -> CleanupPlan:
        """Applies rules: what is too old or too much goes to the trash, and
        what was there long enough is deleted for good.

        With `dry_run` it only says what would go.
        """
        return await self._cleanup.run(rules, dry_run=dry_run)

    async def check(
        self, *, repair: bool = False, on_progress: Callable[[int], None] = lambda checked: None
    ) -> Sequence[Finding]:
        """Reads every file and says what is wrong, and with `repair` mends it:
        see `Finding`.

        `on_progress` is told how many images have been looked at.
        """
        checking = LibraryCheck(self._database, self.files, self._removal, self._workers)
        return await checking.run(repair=repair, on_progress=on_progress)

    async def adopt(self, row: ImageRow, data: bytes) -> bool:
        """Lists an image that was not made here, and gives whether it was not
        there yet. Its bytes are those of `row`.

        Raises:
            StorageError: it cannot be written. There is no half of it.
        """
        # Queued for removal first, and taken off that queue with the row: a
        # process that dies in between leaves a file that the next sweep
        # removes.
        queue = "INSERT OR IGNORE INTO removals (sha256, media_type, queued_at) VALUES (?, ?, ?)"
        await self._database.write([(queue, (row.sha256, row.media_type, self._now()))])
        adopted = await self._database.transact(
            partial(_adopt, files=self.files, row=row, data=data)
        )
        if isinstance(adopted, StorageError):
            raise adopted
        return adopted


def _those_with_files(images: Sequence[Image]) -> Sequence[Image]:
    return [image for image in images if image.path is not None and image.path.is_file()]


def _adopt(
    transaction: Transaction, files: ImageFiles, row: ImageRow, data: bytes
) -> bool | StorageError:
    """Runs while nobody else writes, so that nobody removes the file before its
    row is there.
    """
    path = files.path(row.sha256, row.media_type)
    there = transaction.run("SELECT sha256 FROM images WHERE id = ?", (row.id,))
    is_wanted = not there or there[0][0] == row.sha256
    if is_wanted and not path.is_file():
        try:
            files.store(data, path)
        except StorageError as error:
            return error
    added = transaction.change(*insert_image(row))
    transaction.change(
        "DELETE FROM removals WHERE sha256 = ?1 AND EXISTS (SELECT 1 FROM images WHERE sha256"
        " = ?1)",
        (row.sha256,),
    )
    return bool(added)
