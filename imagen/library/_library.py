"""Public interface of the library."""

from __future__ import annotations

import datetime
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Unpack, overload

import msgspec

from .._errors import ConfigurationError, InvalidRequestError, StorageError
from .._policy.cleanup import CleanupRules
from .._results.events import EventHandler, LibraryCleaned
from .._results.images import Image
from .._storage.database import Database, Transaction
from .._storage.full_text import TRASHED, facet
from .._system.threads import Workers
from ._annotations import Annotations, ImageRef, in_groups
from ._check import Finding, LibraryCheck
from ._cleanup import Cleanup, CleanupPlan
from ._collections import Collections
from ._deletion import Deletion
from ._files import ImageFiles
from ._filters import Filters, Selection, SortOrder, select
from ._frames import FrameLibrary, check_frames, make_frame
from ._image_store import ImageStore
from ._query import LibraryQuery, Lineage, Page, read_lineage
from ._rows import COLUMNS, ImageRow, insert_image, read_image
from ._uploads import UploadProgress, Uploads

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["Library", "LibrarySize", "Timeline"]

_EPOCH = datetime.date(1970, 1, 1)

_PAGE = 200
# Minimum batch: images without a file are skipped.
_LEAST_BATCH = 8
_MADE_OF = f"""
SELECT images.number, {COLUMNS} FROM image_search
CROSS JOIN images ON images.number = image_search.rowid
WHERE image_search MATCH ?1 AND image_search.rowid > ?2
AND (?3 IS NULL OR CAST(json_extract(request, '$.seed') AS NUMERIC) = ?3)
AND images.id NOT IN (SELECT value FROM json_each(?4))
AND NOT EXISTS (
    SELECT 1 FROM attempts WHERE attempts.id = images.attempt_id AND attempts.batch_id = ?5
)
ORDER BY image_search.rowid LIMIT ?6
"""


class LibrarySize(msgspec.Struct, frozen=True, kw_only=True):
    """Number and bytes of the images; trashed ones separately."""

    images: int
    size_bytes: int
    trashed_images: int
    trashed_bytes: int


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """Days (UTC) with images, the latest first, each with their number. It is
    whole unless only the latest images were counted.
    """

    total: int
    days: tuple[tuple[datetime.date, int], ...]
    is_whole: bool = True


class Library:
    """Finished images and their metadata.

    Calls are cheap at any size of the library; nothing is cached in memory.

    An image is given by its id or as an `Image`. Methods that change images
    take one or many, skip unknown ones, and return the number of images
    changed. Several processes may use one library at once.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        workers: Workers,
        *,
        now: Callable[[], float] = time.time,
        on_removed: Callable[[str], object] = lambda sha256: None,
        emit: EventHandler = lambda event: None,
        store: ImageStore | None = None,
    ) -> None:
        self._emit = emit
        self.files = ImageFiles(folder, workers, store)
        self.uploads = None if store is None else Uploads(database, store, workers, now)
        self.collections: Final[Collections] = Collections(database, self.files, now)
        self._database = database
        self._workers = workers
        self._now = now
        self._query = LibraryQuery(database, self.files)
        self._annotations = Annotations(database, now)
        self._deletion = Deletion(database, self.files, workers, now, on_removed)
        self._cleanup = Cleanup(database, self._deletion, now)

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.files.folder

    # --- finding --------------------------------------------------------------

    async def get(self, image_id: str) -> Image | None:
        """Return the image with this id, or with the only id that has this
        prefix; trashed images too.

        Raises:
            InvalidRequestError: several ids have this prefix.
        """
        if not image_id.isascii() or not image_id.isalnum():
            return None
        # Upper bound of the range: "g" follows every hexadecimal digit.
        rows = await self._database.read(
            f"SELECT {COLUMNS} FROM images WHERE id >= ? AND id < ? ORDER BY id LIMIT 2",
            (image_id, image_id + "g"),
        )
        if len(rows) > 1 and rows[0][0] != image_id:
            raise InvalidRequestError(
                f"Ambiguous image id {image_id}: several ids begin with it. Give more digits."
            )
        return read_image(rows[0], self.files) if rows else None

    async def of_ids(self, ids: Iterable[str]) -> Sequence[Image]:
        """Return the images with these ids, in their order; unknown ones are
        left out.
        """
        wanted = list(dict.fromkeys(ids))
        found: dict[str, Image] = {}
        for group in in_groups(wanted):
            rows = await self._database.read(
                f"SELECT {COLUMNS} FROM images WHERE id IN (SELECT value FROM json_each(?))",
                (msgspec.json.encode(group).decode(),),
            )
            images = (read_image(row, self.files) for row in rows)
            found.update((image.id, image) for image in images)
        return [found[image_id] for image_id in wanted if image_id in found]

    async def of_file(self, path: Path | str) -> Image | None:
        """Return the newest image whose file has this path; trashed images too.
        The file itself is not opened.
        """
        path = Path(path)
        rows = await self._database.read(
            f"SELECT {COLUMNS} FROM images WHERE sha256 = ? ORDER BY number DESC LIMIT 1",
            (path.stem,),
        )
        image = read_image(rows[0], self.files) if rows else None
        return image if image is not None and image.path == path else None

    async def list(
        self,
        *,
        limit: int = 50,
        after: str | None = None,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of at most `limit` images; `after` is the cursor of the
        previous page.

        Raises:
            InvalidRequestError: a filter, the limit or the cursor is invalid.
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
        """Search prompts, revised prompts, tags and notes; otherwise like
        `list`.

        All words must match. "A phrase" matches as it is, -word excludes, and
        begin* matches a prefix of at least three letters. Case and accents are
        ignored.

        Raises:
            InvalidRequestError: the query has no word to search for, or as for
                `list`.
        """
        return await self._page(query, limit, after, order, filters)

    async def find(
        self, query: str | None = None, *, order: SortOrder = "newest", **filters: Unpack[Filters]
    ) -> AsyncIterator[Image]:
        """Yield all images that `search` or `list` would return, page by page."""
        after: str | None = None
        while True:
            page = await self._page(query, _PAGE, after, order, filters)
            for image in page:
                yield image
            if (after := page.cursor) is None:
                return

    @overload
    async def to_frame(
        self,
        library: Literal["pandas"],
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> pandas.DataFrame: ...
    @overload
    async def to_frame(
        self,
        library: Literal["polars"],
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> polars.DataFrame: ...
    @overload
    async def to_frame(
        self,
        library: None = None,
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> pandas.DataFrame | polars.DataFrame: ...
    async def to_frame(
        self,
        library: FrameLibrary | None = None,
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> pandas.DataFrame | polars.DataFrame:
        """Return all images that `find` would yield as a data frame, a row
        each (extra `frames`).

        Money is a float there, and tags are one text, with commas.

        Args:
            library: "pandas" or "polars"; None takes the one that is installed,
                pandas before polars.

        Raises:
            ConfigurationError: the library or narwhals is missing.
            InvalidRequestError: as for `search`.
        """
        chosen = check_frames(library)
        images = [image async for image in self.find(query, order=order, **filters)]
        return await self._workers.run(partial(make_frame, images, chosen))

    async def _page(
        self, query: str | None, limit: int, after: str | None, order: SortOrder, filters: Filters
    ) -> Page:
        selection = await self._select(query, filters)
        return await self._query.page(selection, order=order, limit=limit, after=after)

    async def _select(self, query: str | None, filters: Filters) -> Selection:
        collections: Sequence[str] = ()
        if "collection" in filters:
            collections = await self.collections.ids_within(filters["collection"])
        return select(query, filters, collections)

    async def timeline(
        self, query: str | None = None, *, most: int | None = None, **filters: Unpack[Filters]
    ) -> Timeline:
        """Return the days on which images were made, and how many, without
        reading them; query and filters are those of `search`.

        Args:
            most: Number of the latest images that are counted. Then the last
                day may have more, and `is_whole` says that images are left out.

        Raises:
            InvalidRequestError: as for `search`.
        """
        if most is not None and most < 1:
            raise InvalidRequestError(f"Invalid most {most}: expected 1 or more images.")
        days, is_cut = await self._query.days(await self._select(query, filters), most)
        return Timeline(
            total=sum(images for _, images in days),
            days=tuple((_EPOCH + datetime.timedelta(days=day), images) for day, images in days),
            is_whole=not is_cut,
        )

    async def of_day(
        self,
        day: datetime.date,
        query: str | None = None,
        *,
        offset: int = 0,
        limit: int = 200,
        **filters: Unpack[Filters],
    ) -> Sequence[Image]:
        """Return images of a day (UTC) of the `timeline` by their position
        there, the latest first.

        Raises:
            InvalidRequestError: as for `search`, or the position is invalid.
        """
        selection = await self._select(query, filters)
        return await self._query.of_day(selection, (day - _EPOCH).days, offset=offset, limit=limit)

    async def of_batch(self, batch_id: str) -> Sequence[Image]:
        """Return the images of a batch, oldest first."""
        rows = await self._database.read(
            f"SELECT {COLUMNS} FROM attempts JOIN images ON images.attempt_id = attempts.id "
            "WHERE attempts.batch_id = ? ORDER BY images.number",
            (batch_id,),
        )
        return [read_image(row, self.files) for row in rows]

    async def made_of(
        self,
        fingerprint: str,
        seed: int | None,
        *,
        limit: int,
        without: Sequence[str] = (),
        but_of_batch: str | None = None,
    ) -> Sequence[Image]:
        """Return images of a request whose files exist, oldest first; with this
        seed, if given.

        Images with ids in `without`, and those of `but_of_batch`, are left out.
        """
        match, left_out = (
            f"(facets : {facet('f', fingerprint)}) NOT facets : {TRASHED}",
            msgspec.json.encode(without).decode(),
        )
        found: list[Image] = []
        number = -1
        while len(found) < limit:
            rows = await self._database.read(
                _MADE_OF, (match, number, seed, left_out, but_of_batch, max(limit, _LEAST_BATCH))
            )
            if not rows:
                break
            number = int(str(rows[-1][0]))
            found += await self._workers.run(
                partial(_those_with_files, [read_image(row[1:], self.files) for row in rows])
            )
        return found[:limit]

    async def lineage(self, image: ImageRef) -> Lineage | None:
        """Return the tree of images that this image belongs to, from its root;
        None if it is unknown.
        """
        return await read_lineage(
            self._database, image if isinstance(image, str) else image.id, self.files
        )

    async def tags(self) -> Sequence[tuple[str, int]]:
        """Return all tags by name, each with its number of images."""
        rows = await self._database.read("SELECT name, images FROM tags ORDER BY name")
        return [(str(name), int(str(images))) for name, images in rows]

    async def size(self) -> LibrarySize:
        """Return the number and bytes of all images."""
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
        """Add tags to images and remove others. Tags are stored in lower case.

        Raises:
            InvalidRequestError: a tag is invalid.
        """
        return await self._annotations.tag(images, add, remove)

    async def rate(self, images: ImageRef | Iterable[ImageRef], stars: int) -> int:
        """Rate images with 1 to 5 stars; 0 removes the rating.

        Raises:
            InvalidRequestError: the rating is out of range.
        """
        return await self._annotations.rate(images, stars)

    async def annotate(self, images: ImageRef | Iterable[ImageRef], notes: str) -> int:
        """Replace the notes of images; an empty text removes them.

        Raises:
            InvalidRequestError: the text has more than 100,000 characters.
        """
        return await self._annotations.annotate(images, notes)

    async def trash(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Move images to the trash. Only queries with `state="trashed"` or
        "any" find them there, until the cleanup deletes them.
        """
        return await self._annotations.trash(images)

    async def restore(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Restore images from the trash, unchanged."""
        return await self._annotations.restore(images)

    async def delete(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Permanently delete images: their rows, and files that no other row
        uses. Their costs stay in the ledger.
        """
        return await self._deletion.delete(images)

    async def clean(self, rules: CleanupRules, *, dry_run: bool = False) -> CleanupPlan:
        """Apply the rules: trash images that exceed them, and permanently
        delete those whose term in the trash has ended.

        Leftovers of killed processes are removed too. With `dry_run`, only
        return the plan.
        """
        if not dry_run:
            await self._workers.run(self.files.sweep_parts)
        plan = await self._cleanup.run(rules, dry_run=dry_run)
        if not dry_run and (plan.trashed or plan.deleted):
            freed = sum(one.size_bytes for one in plan.deleted)
            self._emit(
                LibraryCleaned(
                    trashed=len(plan.trashed), deleted=len(plan.deleted), freed_bytes=freed
                )
            )
        return plan

    async def upload(self, on_progress: UploadProgress = lambda done, total: None) -> int:
        """Put every file that is only on this machine into the object store, and
        return their number. It can be repeated after it was interrupted.

        Args:
            on_progress: Receives the number of files that are there, and of all.

        Raises:
            ConfigurationError: no store is set, or it refuses a file.
            ImagenError: the store cannot be reached.
        """
        if self.uploads is None:
            raise ConfigurationError(
                "No object store is set for the images: set IMAGEN_IMAGES_URL, or [images] in"
                " imagen.toml."
            )
        return await self.uploads.upload_all(on_progress)

    async def trim_copies(self) -> None:
        """Remove the least recently used copies of what is in the object store,
        if they are too large together. Without a store it does nothing.
        """
        if self.files.remote is not None:
            await self._workers.run(self.files.remote.trim)

    async def check(
        self, *, repair: bool = False, on_progress: Callable[[int], None] = lambda checked: None
    ) -> Sequence[Finding]:
        """Read every file and return all findings, repaired if `repair` is set:
        see `Finding`.

        `on_progress` receives the number of images checked.
        """
        checking = LibraryCheck(
            self._database, self.files, self._deletion, self._workers, self.uploads
        )
        return await checking.run(repair=repair, on_progress=on_progress)

    async def back_up(self, target: Path | str) -> None:
        """Write a copy of the database, with ledger and library but without the
        files of images, to a new file that only its user can read.

        Raises:
            StorageError: there is such a file already, or it cannot be written.
        """
        await self._database.back_up(Path(target))

    async def keep_input(self, data: bytes, *, sha256: str, media_type: str) -> None:
        """Keep an input image, so that its request can be made again.

        Raises:
            StorageError: the file cannot be written.
        """
        keep = partial(self.files.store_input, data, sha256=sha256, media_type=media_type)
        path = await self._workers.run(keep)
        if self.uploads is not None:
            await self.uploads.put_input(path)

    async def remove_inputs(self, inputs: Iterable[tuple[str, str]]) -> None:
        """Remove input images, given by hash and media type, that no image,
        session or attempt in flight refers to.

        Raises:
            StorageError: the database cannot be written.
        """
        await self._deletion.remove_inputs(inputs)

    async def adopt(self, row: ImageRow, data: bytes) -> bool:
        """List an image that was not generated here, and return whether it is
        new. `data` are the bytes of `row`.

        If the image is listed but its file is missing, the file is restored.

        Raises:
            StorageError: the image cannot be written; nothing is kept of it.
        """
        # The file is queued for removal first, and leaves the queue in the
        # transaction that inserts the row. If the process dies in between, the
        # next sweep removes the file.
        queue = "INSERT OR IGNORE INTO removals (sha256, media_type, queued_at) VALUES (?, ?, ?)"
        await self._database.write([(queue, (row.sha256, row.media_type, self._now()))])
        path = self.files.path(row.sha256, row.media_type)
        if self.uploads is not None:
            await self.files.store(data, path)
            await self.uploads.put([self.files.home_of(path)])
        adopted = await self._database.transact(
            partial(_adopt, files=self.files, row=row, data=data)
        )
        if isinstance(adopted, StorageError):
            raise adopted
        if self.uploads is not None:
            await self.uploads.put([self.files.home_of(path)])
        return adopted


def _those_with_files(images: Sequence[Image]) -> Sequence[Image]:
    return [
        image
        for image in images
        if image.path is not None and (image.remote is not None or image.path.is_file())
    ]


def _adopt(
    transaction: Transaction, files: ImageFiles, row: ImageRow, data: bytes
) -> bool | StorageError:
    """Write file and row inside one transaction, so that no sweep removes the
    file before its row exists.
    """
    path = files.path(row.sha256, row.media_type)
    there = transaction.run("SELECT sha256 FROM images WHERE id = ?", (row.id,))
    is_wanted = not there or there[0][0] == row.sha256
    # Without this row a sweep may have begun to delete the object: then the
    # file stays here until it can be put again.
    is_safe = files.remote is None or transaction.run(
        "SELECT 1 FROM removals WHERE sha256 = ? AND claimed_at IS NULL", (row.sha256,)
    )
    if is_wanted and not (is_safe and path.is_file()):
        try:
            files.write(data, path)
        except StorageError as error:
            return error
    added = transaction.change(*insert_image(row))
    transaction.change(
        "DELETE FROM removals WHERE sha256 = ?1 AND claimed_at IS NULL AND EXISTS (SELECT 1 FROM"
        " images WHERE sha256 = ?1)",
        (row.sha256,),
    )
    return bool(added)
