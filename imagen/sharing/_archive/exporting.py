"""Export of images with their records, collections and a gallery."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import quote

import msgspec

from ..._errors import ImagenError, StorageError
from ..._requests.catalog import JsonValue
from ..._results.images import Image
from ..._system.threads import Workers
from ..._system.version import version
from ...library._imaging.renditions import Renditions
from ...library._imaging.transforms import thumbnail
from ...metadata._formats.svg import SVG, read_svg
from ...metadata._record import Record
from .format import (
    COLLECTIONS,
    IMAGES,
    RECORDS,
    THUMBNAILS,
    ArchivedCollection,
    ArchivedCollections,
    ArchivedImage,
    ExportResult,
    RejectedEntry,
)
from .gallery import GalleryItem, GalleryPage, render_page
from .safe_names import download_name
from .writer import ArchiveWriter

__all__ = ["ArchiveContents", "Export"]

# A longer page opens slowly.
_PER_PAGE = 500
_THUMBNAIL = thumbnail(512)
# Fields of a request that identify the user, set its budget, or went to the
# provider verbatim.
_PRIVATE = ("tag", "assume_usd", "options")


class ArchiveContents(msgspec.Struct, frozen=True, kw_only=True):
    """Title, notes and collections of an archive."""

    title: str
    notes: str = ""
    collections: Sequence[ArchivedCollection] = ()


class Export:
    """An archive being written: `add` each image, then `finish`."""

    def __init__(
        self, writer: ArchiveWriter, renditions: Renditions, workers: Workers, *, public: bool
    ) -> None:
        self._writer = writer
        self._renditions = renditions
        self._workers = workers
        self._public = public
        self._written: set[str] = set()
        self._left_out: list[RejectedEntry] = []
        self._cards: list[GalleryItem] = []
        self._pages = 0

    async def add(self, image: Image, title: str) -> None:
        """Add an image, once. One with a missing or damaged file is left out,
        and reported.

        Raises:
            StorageError: it cannot be written; also raised by `finish`.
        """
        if image.id in self._written:
            return
        try:
            data = await self._workers.run(partial(_read_whole, image))
        except StorageError as error:
            self._left_out.append(RejectedEntry(name=image.id, reason=error.message))
            return
        try:
            small: bytes | None = await self._renditions.read(image, _THUMBNAIL)
        except (ImagenError, OSError):
            # The bytes were paid for, so they are exported even without a
            # thumbnail.
            small = None
        if len(self._cards) == _PER_PAGE:
            await self._write_page(GalleryPage(title=title, cards=self._cards), has_next=True)
        await self._workers.run(partial(self._write, image, data, small))
        self._written.add(image.id)

    async def finish(self, contents: ArchiveContents) -> ExportResult:
        """Write the gallery and the collections, and commit the archive."""
        notes = "" if self._public else contents.notes
        await self._write_page(
            GalleryPage(title=contents.title, notes=notes, cards=self._cards), has_next=False
        )
        size = await self._workers.run(partial(self._finish, contents))
        return ExportResult(
            images=len(self._written), size_bytes=size, left_out=tuple(self._left_out)
        )

    def _write(self, image: Image, data: bytes, small: bytes | None) -> None:
        name = IMAGES + download_name(image)
        record = _public(image.record) if self._public else image.record
        line = ArchivedImage(file=name, index=image.index, record=record)
        self._writer.add(name, data, image.created_at)
        preview = None if small is None else f"{THUMBNAILS}{image.id}.webp"
        if small is not None and preview is not None:
            self._writer.add(preview, small, image.created_at)
        self._writer.add_line(msgspec.json.encode(line))
        # A browser that follows a link to a file runs the scripts in it.
        shown = name if image.media_type != SVG or _is_inert(data) else preview
        self._cards.append(_card(image, record, shown, preview))

    async def _write_page(self, page: GalleryPage, *, has_next: bool) -> None:
        self._pages += 1
        number = self._pages
        page = msgspec.structs.replace(
            page,
            before=_page_name(number - 1) if number > 1 else None,
            after=_page_name(number + 1) if has_next else None,
        )
        await self._workers.run(partial(_render_into, self._writer, _page_name(number), page))
        self._cards = []

    def _finish(self, contents: ArchiveContents) -> int:
        collections = [self._archived(collection) for collection in contents.collections]
        listed = ArchivedCollections(
            software=version(), title=contents.title, collections=collections
        )
        self._writer.add(COLLECTIONS, msgspec.json.encode(listed))
        return self._writer.finish(RECORDS)

    def _archived(self, collection: ArchivedCollection) -> ArchivedCollection:
        there = [image_id for image_id in collection.images if image_id in self._written]
        return msgspec.structs.replace(
            collection, images=there, notes="" if self._public else collection.notes
        )


def _read_whole(image: Image) -> bytes:
    data = image.data
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise StorageError(
            f"The file of the image {image.id} is damaged: run `imagen library check`."
        )
    return data


def _public(record: Record) -> Record:
    """Return the record without private data: costs, tags, stars, notes, names
    of jobs and files.
    """
    request = {
        name: _nameless(value) for name, value in record.request.items() if name not in _PRIVATE
    }
    return msgspec.structs.replace(
        record,
        request=request,
        cost_usd=None,
        cost_source="unknown",
        attempt_id="",
        provider_id=None,
        tags=(),
        rating=0,
        notes="",
    )


def _nameless(value: JsonValue) -> JsonValue:
    """Remove file names and hosts from the input images of a request."""
    if isinstance(value, Mapping):
        return {key: one for key, one in value.items() if key != "name"}
    return [_nameless(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_inert(data: bytes) -> bool:
    contents = read_svg(data)
    return contents is not None and contents.is_inert


def _card(image: Image, record: Record, shown: str | None, preview: str | None) -> GalleryItem:
    cost = record.cost_usd
    facts = {
        "Model": record.model,
        "Made": f"{record.created_at:%Y-%m-%d}",
        "Size": f"{image.width} × {image.height}",
        "Seed": None if record.seed is None else str(record.seed),
        "Cost": (
            None
            if cost is None
            else f"${cost:.2f}"
            if cost == round(cost, 2)
            else f"${cost.normalize():f}"
        ),
        "Rating": "★" * record.rating,
    }
    return GalleryItem(
        link=None if shown is None else quote(shown),
        thumbnail=preview,
        width=image.width,
        height=image.height,
        caption=record.prompt,
        facts=tuple((word, value) for word, value in facts.items() if value),
        tags=record.tags,
        notes=record.notes,
    )


def _render_into(writer: ArchiveWriter, name: str, page: GalleryPage) -> None:
    writer.add(name, render_page(page))


def _page_name(number: int) -> str:
    return "index.html" if number == 1 else f"page-{number}.html"
