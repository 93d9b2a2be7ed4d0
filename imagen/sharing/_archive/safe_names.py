"""Safe names for files and messages from untrusted text."""

from __future__ import annotations

import re
import unicodedata

from ..._results.images import Image

__all__ = ["download_name", "shown_name"]

_LONGEST_WORDS = 60
_LONGEST_SHOWN = 120


def download_name(image: Image) -> str:
    """Return a portable, readable file name: words of the prompt, the id, the
    suffix.
    """
    letters = unicodedata.normalize("NFC", image.prompt[: 10 * _LONGEST_WORDS]).lower()
    words = re.sub(r"[\W_]+", "-", letters).strip("-")[:_LONGEST_WORDS].rstrip("-")
    return f"{words}-{image.id}{image.suffix}" if words else f"{image.id}{image.suffix}"


def shown_name(name: str) -> str:
    """Return a foreign name for a message: short, and without control
    characters for a terminal.
    """
    plain = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name
    )
    return plain if len(plain) <= _LONGEST_SHOWN else plain[: _LONGEST_SHOWN - 1] + "…"
