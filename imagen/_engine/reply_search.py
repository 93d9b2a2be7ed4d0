"""Search for images in the replies of an attempt that failed.

Its provider's reader knows the documented form. A reply of another form may be
paid all the same, so every form in which images are written is tried before the
attempt counts as failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from .._errors import ContentFilterError, ImagenError, OutcomeUnknownError, ProviderError
from .._transport.driver import ExchangeObserver
from ..metadata._whole_image import cut_out_image
from ..providers._steps import Exchange, GeneratedImages, HttpResponse
from ..providers._wire.error_text import read_sentence
from ..providers._wire.image_search import find_images, read_found_images
from ..providers._wire.refusals import refusal_in_success
from .attempt import RunningAttempt

__all__ = ["search_replies"]


async def search_replies(attempt: RunningAttempt, error: ImagenError) -> GeneratedImages:
    """Return the images in the last reply that has any.

    Raises:
        ImagenError: there are none, or nothing was billed: the error that a
            reply holds, or else `error`.
    """
    # A job that did not end in time may show unfinished images.
    works_on = isinstance(error, OutcomeUnknownError) and attempt.job is not None
    if isinstance(error, ContentFilterError) or works_on:
        raise error
    replies = [reply.response() for reply in reversed(list(attempt.received))]
    if error.billed == "no":
        raise _add_words(error, replies)
    for response in replies:
        found = [
            image
            for image in find_images(response)
            if _is_whole(image) and image not in attempt.received.tried_links
        ]
        if found:
            with suppress(ProviderError):
                return await _read(attempt, found)
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


def _is_whole(image: bytes | str) -> bool:
    if isinstance(image, str):
        return True
    try:
        return bool(cut_out_image(image))
    except ProviderError:
        return False
