"""Calls that read images: time line, search, details, thumbnails, files."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
from starlette.responses import FileResponse, Response

from ..._errors import InvalidRequestError
from ..._results.images import Image
from ...library._filters import SortOrder
from ...library._imaging.transforms import Transform
from ...library._query import Lineage
from ...metadata._embed import embed_record
from ...metadata._formats.svg import SVG
from .._desk.desk import Desk
from .._security import CONTENT_POLICY, FOR_EVER
from .._wire.errors import ApiError
from .._wire.filters import FilterQuery, filters_of, words_of
from .._wire.requests import find_image
from .._wire.rows import Details, Row, details_of, row_of
from .calls import Calls

__all__ = ["CALLS"]

CALLS = Calls()
_SIZES = (128, 256, 512, 1024, 2048)
_MOST_COMPARED = 4

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Offset = Annotated[int, msgspec.Meta(ge=0)]


# --- lists --------------------------------------------------------------------


class TimelineReply(msgspec.Struct, frozen=True, kw_only=True):
    """Days (UTC) with images, the latest first, each with their number."""

    total: int
    days: Sequence[tuple[datetime.date, int]]
    is_whole: bool


class TimelineQuery(FilterQuery, frozen=True, kw_only=True):
    """Filters, and the number of the latest images that are counted."""

    most: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DayQuery(FilterQuery, frozen=True, kw_only=True):
    """Place in a day, and filters."""

    offset: Offset = 0
    limit: Limit = 200


class DayReply(msgspec.Struct, frozen=True, kw_only=True):
    """Images of a day, the latest first."""

    day: datetime.date
    images: Sequence[Row]


class ListQuery(FilterQuery, frozen=True, kw_only=True):
    """Page of a search, and filters."""

    limit: Limit = 50
    after: str | None = None
    order: SortOrder = "newest"


class ListReply(msgspec.Struct, frozen=True, kw_only=True):
    """Page of images; `cursor` is the `after` of the next one."""

    images: Sequence[Row]
    cursor: str | None


@CALLS.get("timeline")
async def timeline(desk: Desk, *, query: TimelineQuery) -> TimelineReply:
    """Count the images of each day that match."""
    found = await desk.client.library.timeline(
        words_of(query), most=query.most, **filters_of(query)
    )
    return TimelineReply(total=found.total, days=found.days, is_whole=found.is_whole)


@CALLS.get("days/{day}")
async def day(desk: Desk, *, day: str, query: DayQuery) -> DayReply:
    """Return images of a day by their position."""
    try:
        date = datetime.date.fromisoformat(day)
    except ValueError:
        raise InvalidRequestError(
            f"{day[:40]!r} is not a day: expected one such as 2026-11-29."
        ) from None
    images = await desk.client.library.of_day(
        date, words_of(query), offset=query.offset, limit=query.limit, **filters_of(query)
    )
    return DayReply(day=date, images=[row_of(image) for image in images])


@CALLS.get("images")
async def images(desk: Desk, *, query: ListQuery) -> ListReply:
    """Search images, a page at a time."""
    words, filters = words_of(query), filters_of(query)
    library = desk.client.library
    search = library.list if words is None else partial(library.search, words)
    page = await search(limit=query.limit, after=query.after, order=query.order, **filters)
    return ListReply(images=[row_of(image) for image in page], cursor=page.cursor)


class TagView(msgspec.Struct, frozen=True, kw_only=True):
    """Tag with its number of images."""

    name: str
    images: int


class TagsReply(msgspec.Struct, frozen=True, kw_only=True):
    """All tags by name."""

    tags: Sequence[TagView]


@CALLS.get("tags")
async def tags(desk: Desk) -> TagsReply:
    """List the tags."""
    found = await desk.client.library.tags()
    return TagsReply(tags=[TagView(name=name, images=images) for name, images in found])


# --- one image ----------------------------------------------------------------


@CALLS.get("images/{image_id}")
async def image(desk: Desk, *, image_id: str) -> Details:
    """Return all that is known of an image."""
    return await _details(desk, await find_image(desk.client, image_id))


async def _details(desk: Desk, image: Image) -> Details:
    collections = await desk.client.library.collections.of_image(image)
    return await desk.work(details_of, image, [one.name for one in collections])


@CALLS.get("images/{image_id}/thumbnail/{size:int}")
async def thumbnail(desk: Desk, *, image_id: str, size: int) -> Response:
    """Return an image with sides of at most `size` pixels, as WebP."""
    if size not in _SIZES:
        sizes = ", ".join(map(str, _SIZES))
        raise InvalidRequestError(f"There is no thumbnail of {size} pixels: expected {sizes}.")
    found = await find_image(desk.client, image_id)
    small = Transform(width=size, height=size, format="webp")
    data = await desk.client.renditions.read(found, small)
    return Response(data, media_type="image/webp", headers={"cache-control": FOR_EVER})


class FileQuery(msgspec.Struct, frozen=True, kw_only=True):
    """With `download` a browser saves it, and the record is inside."""

    download: bool = False


@CALLS.get("images/{image_id}/file")
async def file(desk: Desk, *, image_id: str, query: FileQuery) -> Response:
    """Return the bytes of an image as the provider sent them."""
    found = await find_image(desk.client, image_id)
    name = f"{found.id}{found.suffix}"
    headers = {"content-security-policy": CONTENT_POLICY, "cache-control": FOR_EVER}
    if query.download:
        headers = {**headers, "cache-control": "no-store"}
        headers |= {"content-disposition": f'attachment; filename="{name}"'}
        return Response(
            await desk.work(_with_record, found), media_type=found.media_type, headers=headers
        )
    # An SVG may have scripts: in a window of its own it would be a page.
    how = "attachment" if found.media_type == SVG else "inline"
    headers |= {"content-disposition": f'{how}; filename="{name}"'}
    path = await desk.work(_existing, found)
    return FileResponse(path, media_type=found.media_type, headers=headers)


def _existing(image: Image) -> Path:
    if image.path is None or (image.remote is None and not image.path.is_file()):
        raise ApiError(404, "NOT_FOUND", f"The file of the image {image.id} is gone.")
    return image.fetch()


def _with_record(image: Image) -> bytes:
    data = image.data
    return embed_record(data, image.record) or data


# --- relatives ----------------------------------------------------------------


class LineageView(msgspec.Struct, frozen=True, kw_only=True):
    """Image and those that were made from it."""

    image: Row
    children: Sequence[LineageView]
    missing_parent: str | None


class LineageReply(msgspec.Struct, frozen=True, kw_only=True):
    """Tree of an image, from its oldest ancestor."""

    root: LineageView


class SimilarQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Number of images that are wanted."""

    limit: Limit = 24


class SimilarView(msgspec.Struct, frozen=True, kw_only=True):
    """Image that looks alike, the less the greater its distance."""

    image: Row
    distance: int


class SimilarReply(msgspec.Struct, frozen=True, kw_only=True):
    """Images that look alike, the nearest first."""

    images: Sequence[SimilarView]


class CompareQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Two to four images."""

    id: list[str]


class FieldDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Field that differs, with its value for each image."""

    field: str
    values: Sequence[str]


class CompareReply(msgspec.Struct, frozen=True, kw_only=True):
    """Images side by side, and their differences."""

    images: Sequence[Details]
    differences: Sequence[FieldDifference]


@CALLS.get("images/{image_id}/lineage")
async def lineage(desk: Desk, *, image_id: str) -> LineageReply:
    """Return the tree of images that an image belongs to."""
    found = await desk.client.library.lineage(await find_image(desk.client, image_id))
    if found is None:
        raise ApiError(404, "NOT_FOUND", "This image is gone.")
    return LineageReply(root=_branch(found))


def _branch(tree: Lineage) -> LineageView:
    """Build the tree from its leaves: it may be deeper than the stack."""
    made: dict[int, LineageView] = {}
    order = [tree]
    for one in order:
        order.extend(one.children)
    for one in reversed(order):
        made[id(one)] = LineageView(
            image=row_of(one.image),
            children=[made[id(child)] for child in one.children],
            missing_parent=one.missing_parent,
        )
    return made[id(tree)]


@CALLS.get("images/{image_id}/similar")
async def similar(desk: Desk, *, image_id: str, query: SimilarQuery) -> SimilarReply:
    """Find images that look alike."""
    of = await find_image(desk.client, image_id)
    near = await desk.client.similar.to(of, limit=query.limit)
    distances = dict(near)
    found = await desk.client.library.of_ids(distances)
    return SimilarReply(
        images=[SimilarView(image=row_of(one), distance=distances[one.id]) for one in found]
    )


@CALLS.get("compare")
async def compare(desk: Desk, *, query: CompareQuery) -> CompareReply:
    """Return two to four images with what differs."""
    if not 2 <= len(query.id) <= _MOST_COMPARED:
        raise InvalidRequestError(f"Two to {_MOST_COMPARED} images are compared: give each `id`.")
    found = [await _details(desk, await find_image(desk.client, image_id)) for image_id in query.id]
    return CompareReply(images=found, differences=_differences(found))


_COMPARED = (
    *("prompt", "model", "operation", "seed", "width", "height"),
    *("cost_usd", "seconds", "stars"),
)


def _differences(images: Sequence[Details]) -> Sequence[FieldDifference]:
    facts = [{**one.request, **{name: getattr(one, name) for name in _COMPARED}} for one in images]
    names = dict.fromkeys(name for one in facts for name in one)
    rows = {name: [_text(one.get(name)) for one in facts] for name in names}
    return [
        FieldDifference(field=name, values=values)
        for name, values in rows.items()
        if len(set(values)) > 1
    ]


def _text(value: object) -> str:
    return "" if value is None else str(value)
