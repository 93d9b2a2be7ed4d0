"""A web application that answers links to images, to be mounted in a server of
one's own.

Anybody may ask anything there. A link that is forged, over, taken back, or
whose image is gone gets the same answer, and what was said of an image (its
prompt above all) is in no answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import parse_qs

import msgspec
import trio

from ..._errors import ImagenError
from ..._results.images import SUFFIXES, Image
from ..._system.asgi import Receive, Scope, Send, SendMessage, answer_but_http
from ...library._collections import Collection
from ...library._imaging.transforms import Transform, thumbnail
from ...metadata._only_pixels import holds_only_pixels
from .._archive.gallery import GalleryItem, GalleryPage, page_policy, render_page
from .shares import Shared, Shares
from .tokens import TOKEN_LETTERS

__all__ = ["share_app"]

# A copy in somebody's cache outlives a link that is taken back by no more than
# this.
_CACHE_SECONDS: Final = 300
_ANSWER_SECONDS: Final = 30.0
# Whoever takes a piece more slowly holds a file open for nothing.
_PIECE_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 256 << 10
_THUMBNAIL: Final = thumbnail(512)
# The same pixels without what the file says beside them; where that cannot be
# lossless, nobody sees the difference.
_BARE: Final = Transform(quality=95)
_MEDIA_TYPES: Final = {suffix: media_type for media_type, suffix in SUFFIXES.items()}
_MOST_KNOWN: Final = 10_000
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
)


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is said: a page, a file, or a status alone."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    file: Path | None = None


_NOT_FOUND = _Answer(status=404, headers=((b"cache-control", b"no-store"),))
_UNAVAILABLE = _Answer(status=503, headers=((b"cache-control", b"no-store"),))
_NOT_ALLOWED = _Answer(status=405, headers=((b"allow", b"GET, HEAD"),))


def share_app(shares: Shares) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI 3 application that answers the links of `Client.shares`, below
    any path that it is mounted at.

    TOKEN is the image, or for a collection a page with its images; TOKEN/ID is
    an image of that collection; with `?thumbnail` it is a small one. It runs in
    the Trio run of the client, under hypercorn's Trio worker say. Everything
    that does not work is a 404.

    Files are sent as the provider made them, unless they hold more than pixels,
    colours and a C2PA seal: then without that.
    """
    return _ShareApp(shares)


class _ShareApp:
    """Each request on its own; between them only what was seen of files is
    remembered.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        # Which images may be sent as they are, by their hash.
        self._harmless: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send_message = cast(SendMessage, send)
        match scope["type"]:
            case "http":
                answer = _UNAVAILABLE
                with trio.move_on_after(_ANSWER_SECONDS):
                    answer = await self._answer(scope)
                await self._send(answer, scope["method"] == "HEAD", send_message)
            case _:
                await answer_but_http(
                    scope, receive, send_message, sentence="A link is followed by HTTP"
                )

    async def _answer(self, scope: Scope) -> _Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return _NOT_ALLOWED
        *_, before, last = ["", *str(scope["path"]).split("/")]
        token, image_id = (last, None) if len(last) == TOKEN_LETTERS else (before, last)
        query = parse_qs(
            cast(bytes, scope.get("query_string", b"")).decode("latin-1"), keep_blank_values=True
        )
        try:
            shared = await self._shares.resolve(token)
            if shared is None:
                return _NOT_FOUND
            if shared.collection is not None and image_id is None:
                return await self._page(
                    token, shared, shared.collection, query.get("after", [None])[0]
                )
            image = await self._find_image(shared, image_id)
            return (
                _NOT_FOUND
                if image is None
                else await self._answer_image(shared, image, scope, "thumbnail" in query)
            )
        except (ImagenError, OSError):
            # The disk, a file that has gone, a cursor that is none: what is
            # wrong here is nobody's business there.
            return _NOT_FOUND

    async def _find_image(self, shared: Shared, image_id: str | None) -> Image | None:
        if shared.collection is None:
            return shared.image if image_id is None else None
        return None if image_id is None else await self._shares.image(shared.collection, image_id)

    async def _page(
        self, token: str, shared: Shared, collection: Collection, after: str | None
    ) -> _Answer:
        images = await self._shares.images(collection, after=after)
        cards = [
            GalleryItem(
                link=f"{token}/{image.id}",
                thumbnail=f"{token}/{image.id}?thumbnail",
                width=image.width,
                height=image.height,
            )
            for image in images
        ]
        page = GalleryPage(
            title=collection.name.rpartition("/")[2],
            cards=cards,
            before=None if after is None else token,
            after=None if images.cursor is None else f"{token}?after={images.cursor}",
        )
        body = await self._shares.workers.run(partial(render_page, page))
        headers = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", f"{page_policy()}; frame-ancestors 'none'".encode()),
            self._caching(shared),
        )
        return _Answer(headers=headers, body=body)

    async def _answer_image(
        self, shared: Shared, image: Image, scope: Scope, is_small: bool
    ) -> _Answer:
        made = _THUMBNAIL if is_small else None if await self._is_harmless(image) else _BARE
        path = image.path if made is None else await self._shares.renditions.get(image, made)
        assert path is not None, "images of a library have files"
        tag = (
            f'"{image.sha256}{"-small" if is_small else "" if made is None else "-bare"}"'.encode()
        )
        headers: tuple[tuple[bytes, bytes], ...] = ((b"etag", tag), self._caching(shared))
        if _has_tag(scope, tag):
            return _Answer(status=304, headers=headers)
        headers += (
            (b"content-type", _MEDIA_TYPES[path.suffix].encode()),
            (b"content-disposition", f'inline; filename="{image.id}{path.suffix}"'.encode()),
            (b"content-security-policy", b"default-src 'none'; sandbox"),
        )
        return _Answer(headers=headers, file=path)

    async def _is_harmless(self, image: Image) -> bool:
        known = self._harmless.get(image.sha256)
        if known is None:
            known = await self._shares.workers.run(lambda: holds_only_pixels(image.data))
            if len(self._harmless) >= _MOST_KNOWN:
                self._harmless.clear()
            self._harmless[image.sha256] = known
        return known

    def _caching(self, shared: Shared) -> tuple[bytes, bytes]:
        seconds = min(_CACHE_SECONDS, self._shares.remaining(shared))
        return b"cache-control", f"private, max-age={seconds}".encode()

    async def _send(self, answer: _Answer, is_head: bool, send: SendMessage) -> None:
        if answer.file is None:
            await _start(answer, len(answer.body), send)
            await _send_piece(b"" if is_head else answer.body, False, send)
            return
        try:
            file, size = await self._shares.workers.run(partial(_open, answer.file))
        except OSError:
            return await self._send(_NOT_FOUND, is_head, send)
        try:
            await _start(answer, size, send)
            left = 0 if is_head else size
            while left:
                piece = await self._shares.workers.run(partial(file.read, min(left, _PIECE_BYTES)))
                if not piece:
                    # It has become shorter: the connection ends too early,
                    # which says so.
                    return
                left -= len(piece)
                if not await _send_piece(piece, bool(left), send):
                    return
            if is_head or not size:
                await _send_piece(b"", False, send)
        finally:
            file.close()


def _open(path: Path) -> tuple[BinaryIO, int]:
    file = path.open("rb", buffering=0)
    return cast(BinaryIO, file), path.stat().st_size


async def _start(answer: _Answer, length: int, send: SendMessage) -> None:
    # A 304 has no body, and none of its length.
    sizes = () if answer.status == 304 else ((b"content-length", str(length).encode()),)
    headers = [*_ALWAYS, *answer.headers, *sizes]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})


async def _send_piece(piece: bytes, more: bool, send: SendMessage) -> bool:
    with trio.move_on_after(_PIECE_SECONDS) as patience:
        await send({"type": "http.response.body", "body": piece, "more_body": more})
    return not patience.cancelled_caught


def _has_tag(scope: Scope, tag: bytes) -> bool:
    """Whether the asker has the image already (RFC 9110, 13.1.2)."""
    fields = cast(Iterable[tuple[bytes, bytes]], scope["headers"])
    given = b",".join(value for name, value in fields if name.lower() == b"if-none-match")
    tags = {one.strip().removeprefix(b"W/") for one in given.split(b",")}
    return tag in tags or tags == {b"*"}
