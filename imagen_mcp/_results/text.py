"""Text and money as an assistant reads them: bounded, and without letters that
would steer a terminal.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_UP, Decimal

import imagen

__all__ = ["clip", "clip_line", "dollars", "no_such", "spoken"]

_LONGEST_TEXT = 400
_MOST_NAMED = 20
_READABLE = Decimal("0.0001")
_CENT = Decimal("0.01")


def clip(text: str, longest: int = _LONGEST_TEXT) -> str:
    """The beginning of a text; what cannot be seen becomes spaces, but for the
    ends of lines.
    """
    shown = "".join(
        letter if letter.isprintable() or letter == "\n" else " " for letter in text[:longest]
    )
    return shown if len(text) <= longest else f"{shown}..."


def clip_line(text: str, longest: int) -> str:
    """Clip a text to one line."""
    return clip(" ".join(text.split()), longest)


def dollars(usd: Decimal | None) -> str | None:
    """Money travels as text: a float would round it."""
    return None if usd is None else f"{usd.normalize():f}"


def spoken(usd: Decimal | str) -> str:
    """Return money for a sentence, rounded up: cents below a dollar."""
    amount = Decimal(usd).quantize(_READABLE, ROUND_UP)
    if amount >= 1:
        return f"${amount.quantize(_CENT, ROUND_UP):f}"
    cents = f"{(amount * 100).normalize():f}"
    return f"{cents} cent{'' if cents == '1' else 's'}"


def no_such(what: str, name: str, known: Sequence[str]) -> imagen.InvalidRequestError:
    """Return the message for an unknown name, with the known ones: an assistant
    may see no resources.
    """
    named = ", ".join(clip_line(one, 60) for one in known[:_MOST_NAMED])
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    there = f"there are {named}{more}" if known else "there is none yet"
    return imagen.InvalidRequestError(f"There is no {what} {clip_line(name, 60)!r}; {there}.")
