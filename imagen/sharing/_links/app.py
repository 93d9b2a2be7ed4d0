"""Web application for links to images, to be mounted in a self-hosted server.

Requests are untrusted. A link that is forged, expired or revoked, or whose
image was deleted, gets the same reply. Replies contain no metadata of an image,
above all no prompt.
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
from .shares import Shares, ShareTarget
from .tokens import TOKEN_LETTERS

__all__ = ["share_app"]

# Longest time that a cached copy outlives a revoked link.
_CACHE_SECONDS: Final = 300
_REPLY_SECONDS: Final = 30.0
# A slower client would hold a file open for too long.
_PIECE_SECONDS: Final = 60.0
_PIECE_BYTES: Final = 256 << 10
_THUMBNAIL: Final = thumbnail(512)
# The same pixels without metadata; if that cannot be lossless, the difference
# is invisible.
_BARE: Final = Transform(quality=95)
_MEDIA_TYPES: Final = {suffix: media_type for media_type, suffix in SUFFIXES.items()}
_MOST_KNOWN: Final = 10_000
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
)


class _HttpReply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply: a page, a file, or a status alone."""

    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    file: Path | None = None


_NOT_FOUND = _HttpReply(status=404, headers=((b"cache-control", b"no-store"),))
_UNAVAILABLE = _HttpReply(status=503, headers=((b"cache-control", b"no-store"),))
_NOT_ALLOWED = _HttpReply(status=405, headers=((b"allow", b"GET, HEAD"),))


def share_app(shares: Shares) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an ASGI 3 application that serves the links of `Client.shares`,
    below any mount path.

    TOKEN is the image, or for a collection a page with its images; TOKEN/ID is
    an image of that collection; `?thumbnail` selects a small version. It runs
    in the Trio run of the client, e.g. under hypercorn's Trio worker. Every
    failure is a 404.

    Files are sent unchanged if they contain only pixels, colours and a C2PA
    manifest, otherwise without their metadata.
    """
    return _ShareApp(shares)


class _ShareApp:
    """The application. Requests are independent, except for the cache of file
    checks.
    """

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        # Whether an image may be sent unchanged, by hash.
        self._safe_to_send: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        send_message = cast(SendMessage, send)
        match scope["type"]:
            case "http":
                reply = _UNAVAILABLE
                with trio.move_on_after(_REPLY_SECONDS):
                    reply = await self._reply(scope)
                await self._send(reply, scope["method"] == "HEAD", send_message)
            case _:
                await answer_but_http(
                    scope, receive, send_message, sentence="A link is followed by HTTP"
                )

    async def _reply(self, scope: Scope) -> _HttpReply:
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
                else await self._reply_image(shared, image, scope, "thumbnail" in query)
            )
        except (ImagenError, OSError):
            # Disk errors, missing files, invalid cursors: details are not
            # revealed to an untrusted client.
            return _NOT_FOUND

    async def _find_image(self, shared: ShareTarget, image_id: str | None) -> Image | None:
        if shared.collection is None:
            return shared.image if image_id is None else None
        return None if image_id is None else await self._shares.image(shared.collection, image_id)

    async def _page(
        self, token: str, shared: ShareTarget, collection: Collection, after: str | None
    ) -> _HttpReply:
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
        return _HttpReply(headers=headers, body=body)

    async def _reply_image(
        self, shared: ShareTarget, image: Image, scope: Scope, is_small: bool
    ) -> _HttpReply:
        made = _THUMBNAIL if is_small else None if await self._is_safe_to_send(image) else _BARE
        if made is None:
            path = await self._shares.workers.run_remote(image.fetch)
        else:
            path = await self._shares.renditions.get(image, made)
        tag = (
            f'"{image.sha256}{"-small" if is_small else "" if made is None else "-bare"}"'.encode()
        )
        headers: tuple[tuple[bytes, bytes], ...] = ((b"etag", tag), self._caching(shared))
        if _has_tag(scope, tag):
            return _HttpReply(status=304, headers=headers)
        headers += (
            (b"content-type", _MEDIA_TYPES[path.suffix].encode()),
            (b"content-disposition", f'inline; filename="{image.id}{path.suffix}"'.encode()),
            (b"content-security-policy", b"default-src 'none'; sandbox"),
        )
        return _HttpReply(headers=headers, file=path)

    async def _is_safe_to_send(self, image: Image) -> bool:
        known = self._safe_to_send.get(image.sha256)
        if known is None:
            known = await self._shares.workers.run(lambda: holds_only_pixels(image.data))
            if len(self._safe_to_send) >= _MOST_KNOWN:
                self._safe_to_send.clear()
            self._safe_to_send[image.sha256] = known
        return known

    def _caching(self, shared: ShareTarget) -> tuple[bytes, bytes]:
        seconds = min(_CACHE_SECONDS, self._shares.remaining(shared))
        return b"cache-control", f"private, max-age={seconds}".encode()

    async def _send(self, reply: _HttpReply, is_head: bool, send: SendMessage) -> None:
        if reply.file is None:
            await _start(reply, len(reply.body), send)
            await _send_piece(b"" if is_head else reply.body, False, send)
            return
        try:
            file, size = await self._shares.workers.run(partial(_open, reply.file))
        except OSError:
            return await self._send(_NOT_FOUND, is_head, send)
        try:
            await _start(reply, size, send)
            left = 0 if is_head else size
            while left:
                piece = await self._shares.workers.run(partial(file.read, min(left, _PIECE_BYTES)))
                if not piece:
                    # The file was truncated: the client notices by the early
                    # end of the connection.
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


async def _start(reply: _HttpReply, length: int, send: SendMessage) -> None:
    # A 304 has neither a body nor its length.
    sizes = () if reply.status == 304 else ((b"content-length", str(length).encode()),)
    headers = [*_ALWAYS, *reply.headers, *sizes]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})


async def _send_piece(piece: bytes, more: bool, send: SendMessage) -> bool:
    with trio.move_on_after(_PIECE_SECONDS) as scope:
        await send({"type": "http.response.body", "body": piece, "more_body": more})
    return not scope.cancelled_caught


def _has_tag(scope: Scope, tag: bytes) -> bool:
    """Return whether the client has the image already (RFC 9110, 13.1.2)."""
    fields = cast(Iterable[tuple[bytes, bytes]], scope["headers"])
    given = b",".join(value for name, value in fields if name.lower() == b"if-none-match")
    tags = {one.strip().removeprefix(b"W/") for one in given.split(b",")}
    return tag in tags or tags == {b"*"}
