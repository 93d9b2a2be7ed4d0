"""Public interface of archives."""

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
from ..._system.texts_of_users import user_path
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
    """Export of images to one zip file, and lossless import."""

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
        """Export images to a zip file: the provider's bytes, their records, and
        a gallery, `index.html`.

        Args:
            images: The images to export. Without these and without a
                `collection`, the whole library except the trash, and all
                collections.
            collection: Exports the images of this collection and of those
                nested in it, in their order.
            public: Omits private data: costs, tags, stars, notes, and options
                passed to the provider verbatim.
            on_progress: Receives the number of images written.

        The file is written atomically; a cancellation leaves nothing. Only one
        image is in memory at a time.

        Raises:
            InvalidRequestError: the collection is unknown, or both it and
                images are given.
            StorageError: the archive cannot be written.
        """
        if images is not None and collection is not None:
            raise InvalidRequestError("Both images and a collection are given: export one of them.")
        contents = await self._contents(images is None, collection)
        writer = await self._workers.run(partial(ArchiveWriter, user_path(path)))
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
        """Import images from an archive of `export_to`, any other zip file or
        folder, or one image file.

        Known images are skipped, so an interrupted import can be repeated. An
        image keeps its metadata: the record of the archive, of its file or its
        sidecar, or that of another program.

        Args:
            trusted: The archive is the user's own. Its images may then be cache
                hits (`cache=True`), and their requests keep `options`, `tag`
                and `assume_usd`. In an untrusted archive these could call a
                foreign server at each repetition, or hide the cost of an image.
            on_progress: Receives the number of images processed.

        Raises:
            InvalidRequestError: the path has nothing to import.
            StorageError: it cannot be read, or the library cannot be written.
                Images added before stay.
        """
        work = Import(
            self._database,
            self._library,
            self._workers,
            max_pixels=self._max_pixels,
            trusted=trusted,
            now=self._now,
        )
        return await work.run(user_path(path), on_progress)

    async def _contents(self, is_whole: bool, name: str | None) -> ArchiveContents:
        """Return title and collections: the named one with those nested in it,
        all for the whole library, none for selected images.
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
                # Oldest first, so that an import keeps the order of images of
                # the same moment.
                page = await self._library.list(limit=_PAGE, after=after, order="oldest")
                for image in page:
                    yield image
                if (after := page.cursor) is None:
                    return
