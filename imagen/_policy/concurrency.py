"""Adaptive concurrency limit, and the pause that a provider asks for."""

from __future__ import annotations

import math

from .._system.retry_after import LONGEST_PAUSE_SECONDS

__all__ = ["AdaptiveLimit", "Pause"]


class AdaptiveLimit:
    """Concurrency limit by additive increase and multiplicative decrease, as in
    TCP (RFC 5681).

    Args:
        most: Start and maximum of the limit, at least 1; None if unknown: then
            there is no limit until the first refusal.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._limit = most
        self._successes = 0
        self._lowered_at = -math.inf

    @property
    def limit(self) -> int | None:
        """Current limit; None if there is none."""
        return self._limit

    def allows(self, in_flight: int) -> bool:
        """Return True if one more request may start."""
        return self._limit is None or in_flight < self._limit

    def succeeded(self) -> None:
        """A request was taken. As many in a row as may run at once make room
        for one more.
        """
        self._successes += 1
        if self._limit is None or self._limit == self._most or self._successes < self._limit:
            return
        self._limit += 1
        self._successes = 0

    def limited(self, in_flight: int, started: float, now: float) -> None:
        """A request was refused because too many ran, `in_flight` with it. That
        halves the limit.

        Refusals of what had started before the limit was lowered were of the
        same crowd, and do not halve it again.
        """
        self._successes = 0
        if started <= self._lowered_at:
            return
        self._lowered_at = now
        ran = in_flight if self._limit is None else min(in_flight, self._limit)
        self._limit = max(1, ran // 2)


class Pause:
    """Pause without a clock: the caller passes every `now`, in seconds."""

    def __init__(self) -> None:
        self._until = -math.inf

    def until(self, now: float) -> float | None:
        """Return the end of the pause; None if there is none."""
        return self._until if now < self._until else None

    def extend(self, now: float, seconds: float) -> None:
        """Pause for `seconds`, at most an hour; a longer pause stays."""
        self._until = max(self._until, now + min(seconds, LONGEST_PAUSE_SECONDS))
