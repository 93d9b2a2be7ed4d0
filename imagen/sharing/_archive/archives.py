"""Archives of images, as callers hold them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path

import trio

from ..._errors import InvalidRequestError
from ..._results.images import Image
from ..._storage.database import Database
from ..._system.threads import Workers
from ...library._imaging.renditions import Renditions
from ...library._library import Library
from .exporting import ArchiveContents, Export
from .format import ArchivedCollection, ExportResult, ImportResult
from .importing import Import
from .writer import ArchiveWriter

__all__ = ["Archives"]

_TITLE = "Images"
_PAGE = 500
# It deletes one file.
_ABANDON_SECONDS = 10.0


class Archives:
    """Images of a library as one file that opens anywhere, and comes back
    without loss.
    """

    def __init__(
        self,
        database: Database,
        library: Library,
        renditions: Renditions,
        workers: Workers,
        *,
        max_pixels: int = 1 << 28,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._library = library
        self._renditions = renditions
        self._workers = workers
        self._max_pixels = max_pixels
        self._now = now

    async def export_to(
        self,
        path: str | Path,
        images: Image | Iterable[Image] | AsyncIterable[Image] | None = None,
        *,
        collection: str | None = None,
        public: bool = False,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> ExportResult:
        """Writes a zip file: the images as the provider sent them, their
        records, and a gallery, `index.html`.

        Args:
            images: Which images. With neither these nor a `collection` it is
                the whole library, without the trash, and with all collections.
            collection: The images of this collection and of those that lie in
                it, in their order.
            public: Leave out what is only yours: costs, tags, stars, notes, and
                what went to the provider as it is.
            on_progress: Is told how many images have been written.

        The file is there whole or not at all; a cancellation leaves nothing.
        Memory holds one image at a time.

        Raises:
            InvalidRequestError: there is no such collection, or both it and
                images are given.
            StorageError: the archive cannot be written.
        """
        if images is not None and collection is not None:
            raise InvalidRequestError("Give images or a collection to export, and not both.")
        contents = await self._contents(images is None, collection)
        writer = await self._workers.run(partial(ArchiveWriter, Path(path)))
        export = Export(writer, self._renditions, self._workers, public=public)
        try:
            async with aclosing(
                self._chosen(images, contents.collections if collection is not None else None)
            ) as chosen:
                done = 0
                async for image in chosen:
                    await export.add(image, contents.title)
                    done += 1
                    on_progress(done)
            return await export.finish(contents)
        finally:
            with trio.move_on_after(_ABANDON_SECONDS, shield=True):
                await self._workers.run(writer.abandon)

    async def import_from(
        self,
        path: str | Path,
        *,
        trusted: bool = False,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> ImportResult:
        """Takes images in: of an archive that `export_to` wrote, of any other
        zip file or folder, or one image file.

        Images that are there already are skipped, so that an import that was
        cut off is simply run again. With an image comes what is said of it: the
        record of the archive, that in its file or beside it, or that of another
        program.

        Args:
            trusted: The archive is one's own: its images may answer requests
                (`cache=True`), and their requests keep the `options`, `tag` and
                `assume_usd` that would be sent or counted when they are made
                again. What a stranger wrote there could call a server of his
                with every image, or hide what one costs.
            on_progress: Is told how many images have been looked at.

        Raises:
            InvalidRequestError: there is nothing that images can be taken from.
            StorageError: it cannot be read, or the library cannot be written.
                What was added until then stays.
        """
        work = Import(
            self._database,
            self._library,
            self._workers,
            max_pixels=self._max_pixels,
            trusted=trusted,
            now=self._now,
        )
        return await work.run(Path(path), on_progress)

    async def _contents(self, is_whole: bool, name: str | None) -> ArchiveContents:
        """Title and collections: that one and those in it, or all of them; none
        beside images that were picked.
        """
        if not is_whole:
            return ArchiveContents(title=_TITLE)
        every = await self._library.collections.list()
        if name is None:
            kept = [await self._archived(one.name, one.notes) for one in every]
            return ArchiveContents(title=_TITLE, collections=kept)
        chosen = await self._library.collections.get(name)
        within = [
            one for one in every if one.id == chosen.id or one.name.startswith(f"{chosen.name}/")
        ]
        kept = [await self._archived(one.name, one.notes) for one in within]
        return ArchiveContents(title=chosen.name, notes=chosen.notes, collections=kept)

    async def _archived(self, name: str, notes: str) -> ArchivedCollection:
        ids: list[str] = []
        after: str | None = None
        while True:
            page = await self._library.collections.images(name, limit=_PAGE, after=after)
            ids += [image.id for image in page]
            if (after := page.cursor) is None:
                return ArchivedCollection(name=name, notes=notes, images=ids)

    async def _chosen(
        self,
        images: Image | Iterable[Image] | AsyncIterable[Image] | None,
        collections: Sequence[ArchivedCollection] | None,
    ) -> AsyncGenerator[Image, None]:
        if isinstance(images, Image):
            yield images
        elif isinstance(images, AsyncIterable):
            async for image in images:
                yield image
        elif images is not None:
            for image in images:
                yield image
        elif collections is not None:
            for image_id in dict.fromkeys(
                image_id for one in collections for image_id in one.images
            ):
                found = await self._library.get(image_id)
                if found is not None:
                    yield found
        else:
            after: str | None = None
            while True:
                # The oldest first: images of the same moment are put behind
                # each other again by an import.
                page = await self._library.list(limit=_PAGE, after=after, order="oldest")
                for image in page:
                    yield image
                if (after := page.cursor) is None:
                    return
