"""Changes to many images at once, and how to take them back."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec
import trio

from ..._requests.tags import clean_tag
from ..._results.images import Image
from ...library._library import Library
from .._wire.errors import ApiError
from .events import EventLog

__all__ = ["Change", "Changes"]

_MOST_KEPT = 100
_Key = TypeVar("_Key", bound=Hashable)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Change of images; what is None stays."""

    stars: int | None = None
    add_tags: Sequence[str] = ()
    remove_tags: Sequence[str] = ()
    notes: str | None = None
    add_to: str | None = None
    remove_from: str | None = None
    trashed: bool | None = None


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    """A change that was made, and what it has replaced."""

    change: Change
    before: Sequence[Image]
    inside: Mapping[str, Sequence[str]]


class Changes:
    """Changes of the page. The last ones can be undone."""

    def __init__(self, library: Library, events: EventLog) -> None:
        self._library = library
        self._events = events
        self._done: OrderedDict[str, _Done] = OrderedDict()
        # What is read before a change must be what the change replaces.
        self._changing = trio.Lock()

    async def make(self, ids: Sequence[str], change: Change) -> tuple[int, str]:
        """Change images; return their number, and what undoes it.

        Raises:
            InvalidRequestError: a tag, the stars or the collection are wrong.
        """
        async with self._changing:
            before = await self._library.of_ids(ids)
            known = [image.id for image in before]
            names = {change.add_to, change.remove_from} - {None}
            inside = {
                name: await self._library.collections.those_in(name, known)
                for name in names
                if name is not None
            }
            await self._apply(known, change)
        self._tell(known, change)
        token = secrets.token_hex(8)
        self._done[token] = _Done(change=change, before=before, inside=inside)
        while len(self._done) > _MOST_KEPT:
            self._done.popitem(last=False)
        return len(known), token

    async def _apply(self, ids: Sequence[str], change: Change) -> None:
        library = self._library
        if change.stars is not None:
            await library.rate(ids, change.stars)
        if change.add_tags or change.remove_tags:
            await library.tag(ids, change.add_tags, remove=change.remove_tags)
        if change.notes is not None:
            await library.annotate(ids, change.notes)
        if change.add_to is not None:
            await library.collections.add(change.add_to, ids)
        if change.remove_from is not None:
            await library.collections.remove(change.remove_from, ids)
        if change.trashed is not None:
            await (library.trash(ids) if change.trashed else library.restore(ids))

    def _tell(self, ids: Sequence[str], change: Change) -> None:
        if change.trashed is not None:
            self._events.add("trashed" if change.trashed else "restored", {"ids": ids})
        if change != Change(trashed=change.trashed):
            self._events.add("changed", {"ids": ids})
        if change.add_to is not None or change.remove_from is not None:
            self._events.add("collections", {})

    # --- back -----------------------------------------------------------------

    async def undo(self, token: str) -> int:
        """Put back what a change has replaced; return the number of images.

        Raises:
            ApiError: there is no such change, or it was undone.
        """
        async with self._changing:
            if (done := self._done.pop(token, None)) is None:
                raise ApiError(404, "NOT_FOUND", "This change cannot be undone any more.")
            await self._put_back(done)
            await self._put_back_into_collections(done)
        change = done.change
        trashed = None if change.trashed is None else not change.trashed
        self._tell(
            [image.id for image in done.before], msgspec.structs.replace(change, trashed=trashed)
        )
        return len(done.before)

    async def _put_back(self, done: _Done) -> None:
        library, change, before = self._library, done.change, done.before
        if change.stars is not None:
            for stars, ids in _groups(before, lambda image: image.rating):
                await library.rate(ids, stars)
        if change.notes is not None:
            for notes, ids in _groups(before, lambda image: image.notes):
                await library.annotate(ids, notes)
        for tags, ids in _groups(before, lambda image: _changed_tags(image, change)):
            come, gone = tags
            await library.tag(ids, gone, remove=come)
        if change.trashed is True:
            await library.restore(image.id for image in before if image.trashed_at is None)
        if change.trashed is False:
            await library.trash(image.id for image in before if image.trashed_at is not None)

    async def _put_back_into_collections(self, done: _Done) -> None:
        collections, change = self._library.collections, done.change
        if change.add_to is not None:
            inside = frozenset(done.inside[change.add_to])
            new = [image.id for image in done.before if image.id not in inside]
            await collections.remove(change.add_to, new)
        if change.remove_from is not None:
            await collections.add(change.remove_from, done.inside[change.remove_from])


def _groups(
    images: Iterable[Image], key: Callable[[Image], _Key]
) -> Iterable[tuple[_Key, Sequence[str]]]:
    groups: dict[_Key, list[str]] = {}
    for image in images:
        groups.setdefault(key(image), []).append(image.id)
    return groups.items()


def _changed_tags(image: Image, change: Change) -> tuple[frozenset[str], frozenset[str]]:
    """Return the tags that came by a change, and those that went."""
    had = frozenset(image.tags)
    removed = frozenset(map(clean_tag, change.remove_tags))
    come = frozenset(map(clean_tag, change.add_tags)) - had - removed
    return come, removed & had
