"""Results of the library's tools and resources. Texts of users are clipped: a
library holds prompts of 100 kB.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcp.types import CallToolResult
from pydantic import BaseModel, JsonValue

import imagen

from .generation import result_of
from .images import ImageInfo, describe, image_blocks, model_of, read_image
from .text import clip, clip_line, dollars, spoken

__all__ = [
    "FoundImage",
    "OrganizeReply",
    "SearchReply",
    "ShowReply",
    "found_image",
    "search_reply",
    "show_reply",
]

_PROMPT = 200
_PROMPT_IN_TEXT = 100
_MOST_TAGS = 8
_MOST_TAGS_IN_TEXT = 3
_MOST_RELATIVES = 20
_LONGEST_PASSAGE = 2000
_LONGEST_VALUE = 200


class FoundImage(BaseModel):
    """An image among others; prompt and tags are shortened."""

    id: str
    path: str | None
    prompt: str
    model: str
    created_at: str
    cost_usd: str | None
    rating: int
    tags: list[str]


class SearchReply(BaseModel):
    """Images, newest first; `cursor` is null on the last page."""

    images: list[FoundImage]
    cursor: str | None


class ShowReply(BaseModel):
    """Image and its record. `request` has what was asked for beside the prompt."""

    image: ImageInfo
    prompt: str
    request: dict[str, JsonValue]
    seed: int | None
    created_at: str
    rating: int
    tags: list[str]
    notes: str
    collections: list[str]
    trashed: bool
    parents: list[str]
    children: list[str]
    children_count: int


class OrganizeReply(BaseModel):
    """Number of changed images, by change."""

    image_ids: list[str]
    changed: dict[str, int]


def found_image(image: imagen.Image) -> FoundImage:
    """Return one line of a list."""
    return FoundImage(
        id=image.id,
        path=None if image.path is None else str(image.path),
        prompt=clip_line(image.prompt, _PROMPT),
        model=model_of(image),
        created_at=_time(image),
        cost_usd=dollars(image.cost.usd),
        rating=image.rating,
        tags=list(image.tags[:_MOST_TAGS]),
    )


def search_reply(page: imagen.library.Page) -> CallToolResult:
    """Return the result of `search_images`."""
    many = "1 image:" if len(page) == 1 else f"{len(page)} images, newest first:"
    lines = [many if page else "No image is like that.", *map(_line, page)]
    if page.cursor is not None:
        lines.append(f'There are more: the same search with after="{page.cursor}".')
    return result_of(
        SearchReply(images=[found_image(image) for image in page], cursor=page.cursor), lines, []
    )


async def show_reply(
    client: imagen.Client,
    image: imagen.Image,
    *,
    full: bool,
    collections: Sequence[str],
    tree: imagen.library.Lineage | None,
) -> CallToolResult:
    """Return the result of `show_image`."""
    blocks = await image_blocks(client, image, full=full)
    parents, children = _relatives(image, tree)
    reply = ShowReply(
        image=read_image(image),
        prompt=clip(image.prompt, _LONGEST_PASSAGE),
        request=_facts(image),
        seed=image.seed,
        created_at=_time(image),
        rating=image.rating,
        tags=list(image.tags[:_MOST_RELATIVES]),
        notes=clip(image.notes, _LONGEST_PASSAGE),
        collections=[clip_line(name, _LONGEST_VALUE) for name in collections[:_MOST_RELATIVES]],
        trashed=image.trashed_at is not None,
        parents=parents[:_MOST_RELATIVES],
        children=children[:_MOST_RELATIVES],
        children_count=len(children),
    )
    return result_of(reply, [*_lines(image, reply), *blocks.notes], blocks.content)


# --- text ---------------------------------------------------------------------


def _line(image: imagen.Image) -> str:
    cost = "cost unknown" if image.cost.usd is None else spoken(image.cost.usd)
    stars = f" {'*' * image.rating}" if image.rating else ""
    tags = "".join(f" #{tag}" for tag in image.tags[:_MOST_TAGS_IN_TEXT])
    prompt = clip_line(image.prompt, _PROMPT_IN_TEXT) or "(no prompt)"
    return f"{image.id}  {_time(image)[:10]}  {model_of(image)}  {cost}{stars}  {prompt}{tags}"


def _lines(image: imagen.Image, reply: ShowReply) -> list[str]:
    lines = [describe(image, f"Image {image.id}")]
    lines += [f"Prompt: {clip(image.prompt)}"] if image.prompt else []
    lines += [f"Tags: {', '.join(reply.tags)}"] if reply.tags else []
    lines += [f"Stars: {reply.rating} of 5"] if reply.rating else []
    lines += [f"Notes: {clip(image.notes)}"] if image.notes else []
    lines += [f"In the collections: {', '.join(reply.collections)}"] if reply.collections else []
    lines += [f"Made from: {' <- '.join(reply.parents)}"] if reply.parents else []
    lines += (
        [f"Made from it: {reply.children_count}, {', '.join(reply.children)}"]
        if reply.children
        else []
    )
    return [*lines, "It is in the trash."] if reply.trashed else lines


def _time(image: imagen.Image) -> str:
    return image.created_at.isoformat(timespec="seconds")


# --- facts --------------------------------------------------------------------


def _facts(image: imagen.Image) -> dict[str, JsonValue]:
    """Return the fields of the request that were set, without the prompt."""
    return {
        name: _bounded(value) for name, value in image.record.request.items() if name != "prompt"
    }


def _bounded(value: object) -> JsonValue:
    """Short values as they are, others as the beginning of their text."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return clip_line(value if isinstance(value, str) else repr(value), _LONGEST_VALUE)


def _relatives(
    image: imagen.Image, tree: imagen.library.Lineage | None
) -> tuple[list[str], list[str]]:
    """The images that it was made from, the nearest first, and those that were
    made from it.
    """
    made = {} if tree is None else _by_id(tree)
    parents: list[str] = []
    parent = image.parent_id
    while parent is not None and parent not in parents:
        parents.append(parent)
        parent = made[parent].image.parent_id if parent in made else None
    children = made[image.id].children if image.id in made else ()
    return parents, [child.image.id for child in children]


def _by_id(tree: imagen.library.Lineage) -> dict[str, imagen.library.Lineage]:
    """Without recursion: an image may have been changed a thousand times."""
    found: dict[str, imagen.library.Lineage] = {}
    left = [tree]
    while left:
        one = left.pop()
        found[one.image.id] = one
        left.extend(one.children)
    return found
