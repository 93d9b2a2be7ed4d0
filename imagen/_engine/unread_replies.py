"""Replies that their provider's reader could not read: searched for images,
then set aside.

A reader knows the documented form. A reply of another form may be paid all the
same, so every form in which images are written is tried before the attempt
counts as failed. What is left is kept whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec

from .._errors import (
    ContentFilterError,
    ImagenError,
    OutcomeUnknownError,
    ProviderError,
    StorageError,
)
from .._transport.driver import ExchangeObserver
from .._transport.received import ReceivedReply
from ..metadata._whole_image import cut_out_image
from ..providers._replies.error_text import read_sentence
from ..providers._replies.image_search import find_images, read_found_images
from ..providers._replies.refusals import refusal_in_success
from ..providers._steps import Exchange, GeneratedImage, GeneratedImages, HttpResponse
from .attempt import RunningAttempt
from .runtime import Runtime

__all__ = ["UnreadReplies"]

_LONGEST_REFUSAL = 16 << 10
# Some servers send a grid beside its parts; more is a fault.
_MOST_IMAGES = 16
_MOST_PER_INDEX = 4

Found: TypeAlias = list[bytes | str]


class UnreadReplies:
    """Searches what cannot be read, and keeps the rest beside its attempt,
    without the key.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._set_aside = runtime.set_aside
        self._connections = runtime.connections
        self._workers = runtime.workers

    async def search(self, attempt: RunningAttempt, error: ImagenError) -> GeneratedImages:
        """Return the images in the last reply that has any.

        Raises:
            ImagenError: there are none: the error that a reply holds, or else
                `error`.
        """
        # A job that did not end in time may show unfinished images, and one that
        # was refused those that it does not deliver.
        certain = error.billed == "no" or isinstance(error, ContentFilterError)
        if attempt.job is not None and (certain or isinstance(error, OutcomeUnknownError)):
            raise error
        name = attempt.planned.provider.name
        replies = [reply.response() for reply in reversed(list(attempt.received))]
        tried = frozenset(attempt.received.tried_links)
        for found in await self._workers.run(partial(_find, replies, tried, certain)):
            with suppress(ProviderError):
                exchange = _read(found, name)
                return await attempt.planned.driver.run(exchange, ExchangeObserver(), billable=True)
        # Refusals of jobs are read by their readers.
        understood = certain or attempt.job is not None
        refusal = None if understood else await self._workers.run(partial(_refusal, replies, name))
        raise refusal or _add_words(error, replies)

    async def look_again(self, attempt: RunningAttempt, result: GeneratedImages) -> GeneratedImages:
        """Return the images of a reply in which its reader found none, with the
        same cost; else `result`. Links are not followed.
        """
        replies = [reply.response() for reply in attempt.received]
        search = partial(_find, replies, frozenset[str](), True)
        for found in await self._workers.run(search):
            images = tuple(GeneratedImage(data=data) for data in found if isinstance(data, bytes))
            return msgspec.structs.replace(result, images=images)
        return result

    async def keep(self, attempt: RunningAttempt, error: ImagenError) -> bool:
        """Keep the replies of an attempt, and add their place to the error;
        return False if there is none.
        """
        link = await self._workers.run(partial(_last_link, list(attempt.received)))
        if link is not None:
            hide_secrets = self._connections.hide_secrets
            error.details["link"] = hide_secrets(attempt.planned.provider.name, link)
        place = await self._write(attempt)
        if place is not None:
            _add_place(error, place)
        return place is not None

    async def keep_image(
        self, attempt: RunningAttempt, data: bytes, error: ProviderError
    ) -> ProviderError:
        """Keep paid bytes that are no image, and add their path to the error."""
        with suppress(StorageError):
            _add_place(error, await self._set_aside.keep_image(attempt.id, data))
        return error

    async def bound(self, attempt: RunningAttempt, result: GeneratedImages) -> GeneratedImages:
        """Cut off images far beyond what was ordered; the reply keeps them."""
        most = max(_MOST_IMAGES, _MOST_PER_INDEX * len(attempt.planned.indexes))
        if len(result.images) <= most:
            return result
        await self._write(attempt)
        return msgspec.structs.replace(result, images=result.images[:most])

    async def drop(self, attempt: RunningAttempt) -> None:
        """Remove what an attempt set aside: it has been read."""
        await self._set_aside.drop(attempt.id)

    async def _write(self, attempt: RunningAttempt) -> Path | None:
        """Write the replies of an attempt; None if there is none, or the disk
        does not take them.
        """
        hide = partial(self._connections.hide_secrets_in_bytes, attempt.planned.provider.name)
        replies = await self._workers.run(partial(_to_keep, list(attempt.received), hide))
        if replies:
            with suppress(StorageError):
                return await self._set_aside.keep_replies(attempt.id, replies)
        return None


def _find(replies: Sequence[HttpResponse], tried: frozenset[str], certain: bool) -> list[Found]:
    """Return the images of each reply that has any: whole ones, and links that
    were not `tried` yet.

    Where the reader is `certain` that nothing was made, a refusal is one, and a
    link may lead to a page about it.
    """
    searched = [reply for reply in replies if not (certain and reply.status >= 400)]
    each = [[image for image in find_images(reply) if _is_whole(image)] for reply in searched]
    wanted = [
        [image for image in found if isinstance(image, bytes) or not (certain or image in tried)]
        for found in each
    ]
    return [found for found in wanted if found]


def _is_whole(image: bytes | str) -> bool:
    if isinstance(image, str):
        return True
    try:
        return bool(cut_out_image(image))
    except ProviderError:
        return False


def _read(found: Found, provider: str) -> Exchange:
    return GeneratedImages(images=(yield from read_found_images(found, provider)))


def _refusal(replies: Sequence[HttpResponse], provider: str) -> ImagenError | None:
    """Return the error inside a reply of status 200."""
    found = (refusal_in_success(reply, provider) for reply in replies if reply.status == 200)
    return next((refusal for refusal in found if refusal is not None), None)


def _add_words(error: ImagenError, replies: Sequence[HttpResponse]) -> ImagenError:
    """Quote what a reply of unknown form says, if it is a text."""
    words = next(filter(None, map(_words_of, replies)), "")
    if words and words not in error.message:
        error.message += f" It says: {words}."
        error.args = (error.message,)
    return error


def _words_of(response: HttpResponse) -> str:
    kind = response.headers.get("content-type", "")
    is_text = response.status == 200 and kind.startswith("text/")
    return read_sentence(response.body) if is_text else ""


def _last_link(replies: Sequence[ReceivedReply]) -> str | None:
    """Return the first link of the last reply that has any."""
    for reply in reversed(replies):
        for found in find_images(reply.response()):
            if isinstance(found, str):
                return found
    return None


def _to_keep(
    replies: Sequence[ReceivedReply], hide: Callable[[bytes], bytes]
) -> Sequence[ReceivedReply]:
    return [
        reply.with_body(hide(reply.response().body)) for reply in replies if _may_hold_image(reply)
    ]


def _may_hold_image(reply: ReceivedReply) -> bool:
    """Return False for an empty reply, and for a refusal whose text is in the
    error.
    """
    least = 0 if reply.status < 400 else _LONGEST_REFUSAL
    return sum(map(len, reply.chunks)) > least


def _add_place(error: ImagenError, path: Path) -> None:
    error.details["kept_at"] = str(path)
    error.message += f" It is kept at {path}; `imagen reconcile` reads it again after an update."
    error.args = (error.message,)
