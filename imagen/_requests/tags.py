"""The words that people put on images and prompts."""

from __future__ import annotations

import unicodedata

from .._errors import InvalidRequestError

__all__ = ["check_text", "clean_tag"]

_LONGEST_TAG = 64
_LONGEST_NOTE = 100_000


def clean_tag(tag: str) -> str:
    """Return a tag in its stored form: lower-case, without outer spaces, with
    single inner ones.

    Raises:
        InvalidRequestError: empty, too long, or with an invisible character or
            a comma.
    """
    word = " ".join(unicodedata.normalize("NFC", tag).casefold().split())
    if not word or len(word) > _LONGEST_TAG or "," in word or not word.isprintable():
        shown = word if len(word) <= _LONGEST_TAG else word[:_LONGEST_TAG] + "…"
        raise InvalidRequestError(
            f"A tag is 1 to {_LONGEST_TAG} letters that can be seen, without commas, not {shown!r}."
        )
    return word


def check_text(text: str, what: str) -> str:
    """Return a note unchanged.

    Raises:
        InvalidRequestError: too long, or not valid text.
    """
    if len(text) > _LONGEST_NOTE:
        raise InvalidRequestError(
            f"{what} may be {_LONGEST_NOTE:,} letters long, not {len(text):,}."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            f"{what} holds a lone surrogate, which is not valid text: decode it again as UTF-8."
        ) from None
    return text
