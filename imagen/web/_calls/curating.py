"""Calls that change what is in the library: annotations, trash, collections,
downloads of many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from starlette.responses import FileResponse, Response

from ..._errors import InvalidRequestError
from ...library._collections import Collection
from .._desk.changes import Change
from .._desk.desk import Desk
from .._desk.zips import file_name
from .._wire.filters import FilterQuery, filters_of, words_of
from .calls import Calls

__all__ = ["CALLS"]

CALLS = Calls()
_MOST_IDS = 10_000

Ids = Annotated[list[str], msgspec.Meta(max_length=_MOST_IDS)]


class ChangeBody(Change, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images, and what changes of each."""

    ids: Ids


class ChangeReply(msgspec.Struct, frozen=True, kw_only=True):
    """Number of images, and the token that undoes it."""

    changed: int
    undo: str


class UndoBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Token of a change."""

    undo: str


class CountReply(msgspec.Struct, frozen=True, kw_only=True):
    """Number of images that were changed."""

    changed: int


class IdsBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images."""

    ids: Ids


@CALLS.post("images/change")
async def change(desk: Desk, *, body: ChangeBody) -> ChangeReply:
    """Change the stars, tags, notes, collections or trash of images."""
    fields = {name: getattr(body, name) for name in Change.__struct_fields__}
    changed, token = await desk.changes.make(body.ids, Change(**fields))
    return ChangeReply(changed=changed, undo=token)


@CALLS.post("undo")
async def undo(desk: Desk, *, body: UndoBody) -> CountReply:
    """Put back what a change has replaced."""
    return CountReply(changed=await desk.changes.undo(body.undo))


@CALLS.post("images/delete")
async def delete(desk: Desk, *, body: IdsBody) -> CountReply:
    """Delete images of the trash permanently; others stay."""
    library = desk.client.library
    found = await library.of_ids(body.ids)
    ids = [image.id for image in found if image.trashed_at is not None]
    deleted = await library.delete(ids)
    desk.events.add("deleted", {"ids": ids})
    return CountReply(changed=deleted)


# --- collections --------------------------------------------------------------


class CollectionView(msgspec.Struct, frozen=True, kw_only=True):
    """Collection; `name` is "outer/inner" if it is nested."""

    name: str
    images: int
    notes: str


class CollectionsReply(msgspec.Struct, frozen=True, kw_only=True):
    """All collections by name."""

    collections: Sequence[CollectionView]


class CollectionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Collection by its name."""

    name: str
    notes: str = ""


class NameBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name of what is meant."""

    name: str


class RenameBody(NameBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Name, and the new one."""

    new_name: str


@CALLS.get("collections")
async def collections(desk: Desk) -> CollectionsReply:
    """List the collections."""
    found = await desk.client.library.collections.list()
    return CollectionsReply(collections=[_view(one) for one in found])


@CALLS.post("collections", status=201)
async def create_collection(desk: Desk, *, body: CollectionBody) -> CollectionView:
    """Create a collection."""
    made = await desk.client.library.collections.create(body.name, notes=body.notes)
    desk.events.add("collections", {})
    return _view(made)


@CALLS.post("collections/rename")
async def rename_collection(desk: Desk, *, body: RenameBody) -> CollectionView:
    """Rename a collection."""
    made = await desk.client.library.collections.rename(body.name, body.new_name)
    desk.events.add("collections", {})
    return _view(made)


@CALLS.post("collections/delete")
async def delete_collection(desk: Desk, *, body: NameBody) -> CollectionsReply:
    """Delete a collection; its images stay."""
    await desk.client.library.collections.delete(body.name)
    desk.events.add("collections", {})
    return await collections(desk)


def _view(collection: Collection) -> CollectionView:
    return CollectionView(name=collection.name, images=collection.images, notes=collection.notes)


# --- archives -----------------------------------------------------------------


class ZipBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images of an archive: by their ids, or all that match filters."""

    ids: Ids | None = None
    filters: FilterQuery | None = None


class ZipReply(msgspec.Struct, frozen=True, kw_only=True):
    """Token of an archive that can be saved for ten minutes."""

    zip: str
    images: int


@CALLS.post("zips", status=201)
async def make_zip(desk: Desk, *, body: ZipBody) -> ZipReply:
    """Make an archive of images, with their records."""
    library = desk.client.library
    if (body.ids is None) == (body.filters is None):
        raise InvalidRequestError("An archive is of `ids` or of `filters`: give one of them.")
    if body.filters is None:
        token, images = await desk.zips.make(await library.of_ids(body.ids or ()))
    else:
        found = library.find(words_of(body.filters), **filters_of(body.filters))
        token, images = await desk.zips.make(found)
    return ZipReply(zip=token, images=images)


@CALLS.get("zips/{token}")
async def save_zip(desk: Desk, *, token: str) -> Response:
    """Return an archive, to be saved."""
    name = file_name(desk.moment)
    return FileResponse(desk.zips.path(token), media_type="application/zip", filename=name)
