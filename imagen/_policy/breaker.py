"""Circuit breaker: after failures in a row no requests, then one as a probe.

    closed --`failures` in a row--> open --cooldown--> half-open
      ^                              ^                   |    |
      |                              +--- probe fails ---+    |
      +------------------- probe succeeds --------------------+

Each failed probe doubles the cooldown.

A request is identified by the time of its admission. One that was admitted
before the last change of state and ends after it has no effect: it neither
closes an open breaker nor opens a closed one, and it lengthens no cooldown.
"""

from __future__ import annotations

import math
from typing import Literal

__all__ = ["Breaker", "BreakerState"]

BreakerState = Literal["closed", "open", "half-open"]


class Breaker:
    """Circuit breaker without a clock: the caller passes every `now`, in
    seconds.

    Each admitted request must end with `succeeded`, `failed` or `released`,
    with the time of its admission as `started`.

    Args:
        failures: How many in a row open it; Spring Retry's number is 3 as well.
        cooldown_seconds: How long it then stays open before a probe; Polly's
            default break is 5 s, resilience4j's 60 s.
        longest_cooldown_seconds: How long at most, after probes that failed.
    """

    def __init__(
        self,
        failures: int = 3,
        cooldown_seconds: float = 30.0,
        longest_cooldown_seconds: float = 300.0,
    ) -> None:
        self._most_failures = failures
        self._first_cooldown = cooldown_seconds
        self._longest_cooldown = longest_cooldown_seconds
        self._cooldown = cooldown_seconds
        self._failures = 0
        self._closed_at = -math.inf
        self._retry_at: float | None = None
        self._probe_started: float | None = None

    @property
    def retry_at(self) -> float | None:
        """Time of the next probe, or of the one in flight; None while the
        breaker is closed.
        """
        return self._retry_at

    def state(self, now: float) -> BreakerState:
        """Return the state at `now`."""
        if self._retry_at is None:
            return "closed"
        return "open" if now < self._retry_at else "half-open"

    def admit(self, now: float) -> bool:
        """Return True if a request may be sent; in the half-open state it is
        the probe.
        """
        if self._retry_at is None:
            return True
        if now < self._retry_at or self._probe_started is not None:
            return False
        self._probe_started = now
        return True

    def succeeded(self, started: float) -> None:
        """A request ended well; it closes the breaker if it was the probe."""
        if self._is_probe(started):
            self._closed_at = started
            self._retry_at = self._probe_started = None
            self._cooldown = self._first_cooldown
        if self._is_current(started):
            self._failures = 0

    def failed(self, started: float, now: float) -> None:
        """A request ended in a fault of the way or of the other side."""
        if self._is_probe(started):
            self._cooldown = min(2 * self._cooldown, self._longest_cooldown)
            self._open(now)
        elif self._is_current(started):
            self._failures += 1
            if self._failures >= self._most_failures:
                self._open(now)

    def released(self, started: float) -> None:
        """A request ended in neither way: it was dropped, or cancelled. If it
        was the probe, another one may go.
        """
        if self._is_probe(started):
            self._probe_started = None

    def _open(self, now: float) -> None:
        self._retry_at = now + self._cooldown
        self._probe_started = None

    def _is_probe(self, started: float) -> bool:
        # A request that was admitted before the breaker opened started at least
        # a cooldown before any probe.
        return self._probe_started is not None and started == self._probe_started

    def _is_current(self, started: float) -> bool:
        return self._retry_at is None and started >= self._closed_at
