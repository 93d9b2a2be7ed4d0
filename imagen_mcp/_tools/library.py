"""Tools of the library: find images, look at one, organize them. None of them
spends money or deletes permanently.
"""

from __future__ import annotations

import datetime
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated
from urllib.parse import unquote

from mcp.types import CallToolResult
from pydantic import Field

import imagen

from .._context import ToolContext, client_of
from .._results.generation import result_of
from .._results.library import OrganizeReply, SearchReply, ShowReply, search_reply, show_reply
from .._results.text import clip_line, no_such
from .image_names import find_image
from .parameters import Full

__all__ = ["find_collection", "organize_images", "search_images", "show_image"]

_COLLECTION_URI = "imagen://collections/"

ImageIds = Annotated[list[str], Field(min_length=1, max_length=100, description="Up to 100.")]


async def search_images(
    ctx: ToolContext,
    query: Annotated[
        str,
        Field(
            description=(
                'Words of prompt, tags or notes: "a phrase", -without, begin*; none for all.'
            )
        ),
    ] = "",
    model: Annotated[str | None, Field(description="A model id.")] = None,
    tags: Annotated[
        list[str] | None, Field(max_length=20, description="All of these tags.")
    ] = None,
    collection: Annotated[
        str | None, Field(description="A name from imagen://collections.")
    ] = None,
    since: Annotated[str | None, Field(description="A date or time in ISO 8601.")] = None,
    min_rating: Annotated[int | None, Field(ge=0, le=5, description="Stars.")] = None,
    trashed: Annotated[bool, Field(description="Look in the trash.")] = False,
    limit: Annotated[int, Field(ge=1, le=20, description="How many.")] = 10,
    after: Annotated[str | None, Field(description="The cursor of the page before.")] = None,
) -> Annotated[CallToolResult, SearchReply]:
    """Finds images that were made before, newest first, without showing them;
    show_image shows one.
    """
    library = client_of(ctx).library
    filters: imagen.library.Filters = {"state": "trashed" if trashed else "kept"}
    if model:
        filters["model"] = model
    if tags:
        filters["tags"] = tags
    if collection:
        filters["collection"] = (await find_collection(client_of(ctx), collection)).id
    if since:
        filters["since"] = _read_time(since)
    if min_rating:
        filters["min_rating"] = min_rating
    if query.strip():
        return search_reply(
            await library.search(query, limit=limit, after=after or None, **filters)
        )
    return search_reply(await library.list(limit=limit, after=after or None, **filters))


async def show_image(
    image_id: Annotated[str, Field(description="Its id or imagen:// URI.")],
    ctx: ToolContext,
    full: Full = False,
) -> Annotated[CallToolResult, ShowReply]:
    """Show an image of the library as a preview, with how it was made, from
    which images, and what was made from it.
    """
    client = client_of(ctx)
    image = await find_image(ctx, image_id)
    collections = await client.library.collections.of_image(image)
    tree = await client.library.lineage(image)
    return await show_reply(
        client, image, full=full, collections=[one.name for one in collections], tree=tree
    )


async def organize_images(
    image_ids: ImageIds,
    ctx: ToolContext,
    add_tags: Annotated[
        list[str] | None, Field(max_length=50, description="Tags to put on.")
    ] = None,
    remove_tags: Annotated[
        list[str] | None, Field(max_length=50, description="Tags to take off.")
    ] = None,
    rating: Annotated[int | None, Field(ge=0, le=5, description="Stars; 0 for none.")] = None,
    notes: Annotated[
        str | None, Field(max_length=10_000, description="Replaces the notes.")
    ] = None,
    add_to_collection: Annotated[
        str | None,
        Field(description='A name or "outer/inner"; made if it is not there.'),
    ] = None,
    remove_from_collection: Annotated[str | None, Field(description="A name.")] = None,
    trash: Annotated[bool, Field(description="If the user wants that.")] = False,
    restore: Annotated[bool, Field(description="From the trash.")] = False,
) -> Annotated[CallToolResult, OrganizeReply]:
    """Tag, rate, note, collect, trash or restore images. Pass only what
    changes. Nothing is deleted permanently: restore undoes trash.
    """
    if trash and restore:
        raise imagen.InvalidRequestError("Say trash or restore, not both.")
    library = client_of(ctx).library
    ids = [(await find_image(ctx, image_id)).id for image_id in image_ids]
    put_on, taken_off = add_tags or [], remove_tags or []
    # With no image this checks the tags alone: nothing is changed where
    # something is wrong.
    await library.tag([], put_on, remove=taken_off)
    left = (
        await find_collection(client_of(ctx), remove_from_collection)
        if remove_from_collection
        else None
    )
    joined = await _find_or_make(ctx, add_to_collection) if add_to_collection else None
    work: dict[str, Callable[[], Awaitable[int]] | None] = {
        "tags": (
            partial(library.tag, ids, put_on, remove=taken_off) if put_on or taken_off else None
        ),
        "rating": None if rating is None else partial(library.rate, ids, rating),
        # Hosts fill in optional fields with empty text.
        "notes": partial(library.annotate, ids, notes) if notes else None,
        "remove_from_collection": (
            None if left is None else partial(library.collections.remove, left.id, ids)
        ),
        "add_to_collection": (
            None if joined is None else partial(library.collections.add, joined.id, ids)
        ),
        "trash": partial(library.trash, ids) if trash else None,
        "restore": partial(library.restore, ids) if restore else None,
    }
    changed = {what: await change() for what, change in work.items() if change is not None}
    if not changed:
        raise imagen.InvalidRequestError(
            "Say what is to change: tags, rating, notes, a collection, trash or restore."
        )
    return _organized(ctx, ids, changed)


def _organized(ctx: ToolContext, ids: Sequence[str], changed: dict[str, int]) -> CallToolResult:
    of = f"of {len(ids)} {'image' if len(ids) == 1 else 'images'}"
    lines = [f"{what}: {count} {of} changed." for what, count in changed.items()]
    if "trash" in changed:
        days = client_of(ctx).settings.cleanup.trash_days
        lines.append(
            f"In the trash they stay for {days:g} days; until then restore=true brings them back."
        )
    return result_of(OrganizeReply(image_ids=list(ids), changed=changed), lines, [])


async def find_collection(client: imagen.Client, name: str) -> imagen.library.Collection:
    """The collection of a name.

    Raises:
        InvalidRequestError: unknown collection; the message lists the known
            ones.
    """
    collections = client.library.collections
    if name.startswith(_COLLECTION_URI):
        name = unquote(name.removeprefix(_COLLECTION_URI))
    try:
        return await collections.get(name)
    except imagen.InvalidRequestError:
        raise no_such("collection", name, [one.name for one in await collections.list()]) from None


async def _find_or_make(ctx: ToolContext, name: str) -> imagen.library.Collection:
    collections = client_of(ctx).library.collections
    name = "/".join(part.strip() for part in name.split("/"))
    with suppress(imagen.InvalidRequestError):
        return await collections.get(name)
    try:
        return await collections.create(name)
    except imagen.InvalidRequestError as error:
        refusal = error
    # Assistants call several tools at once: another call may have made it
    # meanwhile.
    with suppress(imagen.InvalidRequestError):
        return await collections.get(name)
    raise refusal


def _read_time(text: str) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise imagen.InvalidRequestError(
            "since is a date such as 2026-11-01, or a time in ISO 8601, not"
            f" {clip_line(text, 40)!r}."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
