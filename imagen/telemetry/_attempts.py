"""Attempts under way, for subscribers that measure them."""

from __future__ import annotations

import time

import msgspec

from .. import AttemptEnded, AttemptSent, PreviewReceived

__all__ = ["Clock", "Ended", "tokens_of"]


class Ended(msgspec.Struct, frozen=True):
    """Seconds of an attempt: None for what was not seen."""

    total: float | None
    first_image: float | None


class Clock:
    """Times of the attempts that this process has sent."""

    def __init__(self) -> None:
        self._sent: dict[str, float] = {}
        self._first: dict[str, float] = {}

    def sent(self, event: AttemptSent) -> None:
        """Note the start."""
        self._sent[event.attempt_id] = time.monotonic()

    def preview(self, event: PreviewReceived) -> None:
        """Note the first image, unfinished as it is."""
        if (began := self._sent.get(event.attempt_id)) is not None:
            self._first.setdefault(event.attempt_id, time.monotonic() - began)

    def ended(self, event: AttemptEnded) -> Ended:
        """Return the times of an attempt, and forget it."""
        began = self._sent.pop(event.attempt_id, None)
        first = self._first.pop(event.attempt_id, None)
        if began is None:
            return Ended(None, None)
        total = time.monotonic() - began
        return Ended(total, first if first is not None or not event.images else total)


def tokens_of(event: AttemptEnded) -> tuple[int, int]:
    """Return the tokens in and out that the reply was billed for."""
    usage = event.usage
    if usage is None:
        return 0, 0
    return (
        (usage.text_input_tokens or 0) + (usage.image_input_tokens or 0),
        (usage.text_output_tokens or 0) + (usage.image_output_tokens or 0),
    )
