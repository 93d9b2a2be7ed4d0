"""Replies that their provider's reader could not read: searched for images,
then set aside.

A reader knows the documented form. A reply of another form may be paid all the
same, so every form in which images are written is tried before the attempt
counts as failed. What is left is kept whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import trio

from .._errors import (
    ContentFilterError,
    ImagenError,
    OutcomeUnknownError,
    ProviderError,
    StorageError,
)
from .._transport.driver import ExchangeObserver
from ..metadata._whole_image import cut_out_image
from ..providers._replies.error_text import read_sentence
from ..providers._replies.image_search import find_images, read_found_images
from ..providers._replies.refusals import refusal_in_success
from ..providers._steps import Exchange, GeneratedImages, HttpResponse
from .attempt import RunningAttempt
from .runtime import Runtime

__all__ = ["UnreadReplies", "search_replies"]

_DISK_SECONDS = 35.0
_LONGEST_REFUSAL = 16 << 10
# Some servers send a grid beside its parts; more is a fault.
_MOST_IMAGES = 16
_MOST_PER_INDEX = 4


async def search_replies(attempt: RunningAttempt, error: ImagenError) -> GeneratedImages:
    """Return the images in the last reply that has any.

    Raises:
        ImagenError: there are none, or nothing was billed: the error that a
            reply holds, or else `error`.
    """
    # A job that did not end in time may show unfinished images, and one that was
    # refused those that it does not deliver.
    certain = error.billed == "no" or isinstance(error, ContentFilterError)
    works_on = isinstance(error, OutcomeUnknownError)
    if attempt.job is not None and (certain or works_on):
        raise error
    replies = [reply.response() for reply in reversed(list(attempt.received))]
    for response in replies:
        if certain and response.status >= 400:
            continue
        found = [image for image in find_images(response) if _is_wanted(attempt, image, certain)]
        if found:
            with suppress(ProviderError):
                return await _read(attempt, found)
    if certain:
        raise _add_words(error, replies)
    raise _find_refusal(attempt, replies) or _add_words(error, replies)


def _add_words(error: ImagenError, replies: Sequence[HttpResponse]) -> ImagenError:
    """Quote what a reply of unknown form says, if it is a text."""
    words = next(filter(None, map(_words_of, replies)), "")
    if words and words not in error.message:
        error.message += f" It says: {words}."
        error.args = (error.message,)
    return error


def _words_of(response: HttpResponse) -> str:
    kind = response.headers.get("content-type", "")
    return (
        read_sentence(response.body) if response.status == 200 and kind.startswith("text/") else ""
    )


def _find_refusal(attempt: RunningAttempt, replies: Sequence[HttpResponse]) -> ImagenError | None:
    """Return the error inside a reply of status 200. Those of jobs are their
    readers' own.
    """
    if attempt.job is not None:
        return None
    name = attempt.planned.provider.name
    found = [refusal_in_success(response, name) for response in replies if response.status == 200]
    return next((refusal for refusal in found if refusal is not None), None)


async def _read(attempt: RunningAttempt, found: Sequence[bytes | str]) -> GeneratedImages:
    exchange = _exchange(found, attempt.planned.provider.name)
    return await attempt.planned.driver.run(exchange, ExchangeObserver(), billable=True)


def _exchange(found: Sequence[bytes | str], provider: str) -> Exchange:
    return GeneratedImages(images=(yield from read_found_images(found, provider)))


def _is_wanted(attempt: RunningAttempt, image: bytes | str, certain: bool) -> bool:
    """Return True for a whole image, and for a link that was not followed yet.

    Where the reader is `certain` that nothing was made, a link may lead to a
    page about that.
    """
    if isinstance(image, str):
        return not certain and image not in attempt.received.tried_links
    try:
        return bool(cut_out_image(image))
    except ProviderError:
        return False


class UnreadReplies:
    """Keeps what cannot be read, beside its attempt and without the key."""

    def __init__(self, runtime: Runtime) -> None:
        self._set_aside = runtime.set_aside
        self._connections = runtime.connections

    async def keep(self, attempt: RunningAttempt, error: ImagenError) -> bool:
        """Keep the replies of an attempt, and add their place to the error;
        return False if there is none.
        """
        for reply in attempt.received:
            links = [found for found in find_images(reply.response()) if isinstance(found, str)]
            if links:
                hide_secrets = self._connections.hide_secrets
                error.details["link"] = hide_secrets(attempt.planned.provider.name, links[0])
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
        name = attempt.planned.provider.name
        replies = [
            (reply.method, reply.url, self._without_key(name, reply.response()))
            for reply in attempt.received
        ]
        replies = [reply for reply in replies if _may_hold_image(reply[-1])]
        if replies:
            with trio.move_on_after(_DISK_SECONDS, shield=True), suppress(StorageError):
                return await self._set_aside.keep_replies(attempt.id, replies)
        return None

    def _without_key(self, provider: str, response: HttpResponse) -> HttpResponse:
        body = self._connections.hide_secrets_in_bytes(provider, response.body)
        return msgspec.structs.replace(response, body=body)


def _may_hold_image(response: HttpResponse) -> bool:
    """Return False for an empty reply, and for a refusal whose text is in the
    error.
    """
    least = 0 if response.status < 400 else _LONGEST_REFUSAL
    return len(response.body) > least


def _add_place(error: ImagenError, path: Path) -> None:
    error.details["kept_at"] = str(path)
    error.message += f" It is kept at {path}; `imagen reconcile` reads it again after an update."
    error.args = (error.message,)
