"""Names for files and messages out of words that anybody may have written."""

from __future__ import annotations

import re
import unicodedata

from ..._results.images import Image

__all__ = ["download_name", "shown_name"]

_LONGEST_WORDS = 60
_LONGEST_SHOWN = 120


def download_name(image: Image) -> str:
    """A file name that every system takes, and people can read: words of the
    prompt, the id, the ending.
    """
    letters = unicodedata.normalize("NFC", image.prompt[: 10 * _LONGEST_WORDS]).lower()
    words = re.sub(r"[\W_]+", "-", letters).strip("-")[:_LONGEST_WORDS].rstrip("-")
    return f"{words}-{image.id}{image.suffix}" if words else f"{image.id}{image.suffix}"


def shown_name(name: str) -> str:
    """A name from elsewhere, for a sentence: nothing in it drives a terminal,
    and it is not endless.
    """
    plain = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    return plain if len(plain) <= _LONGEST_SHOWN else plain[: _LONGEST_SHOWN - 1] + "…"
