"""How much one provider takes: how many requests at once, what its answers say of that, and when to leave it alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

__all__ = ["AdaptiveLimit", "Pause", "RateNews", "read_rate_headers"]

# Longer waits are a matter for a person; and a header, which is a stranger's word, must not stop a provider for good.
_LONGEST_SECONDS = 3600.0
# A reset above this is a moment in Unix time (2001 and later); no provider has windows of 31 years.
_UNIX_TIME = 1e9
_COUNT = re.compile(r"[0-9]{1,9}")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
# Go's way to write a duration, which OpenAI has: "6m0s", "1.5s", "20ms".
_SPAN = re.compile(
    r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)ms)?"
)
_SPAN_UNITS = (3600.0, 60.0, 1.0, 0.001)
# The names of how many are left, and of when there are more. OpenAI counts tokens too, and xAI tells no reset.
_PAIRS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
)


class AdaptiveLimit:
    """How many requests may run at once, found out by additive increase and multiplicative decrease, as TCP does (RFC 5681).

    Args:
        most: Where it starts and what it never passes, 1 or more; None where nothing is known: then there is no limit
            until the first refusal.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._limit = most
        self._successes = 0
        self._lowered_at = -math.inf

    @property
    def limit(self) -> int | None:
        """How many may run at once now; None where there is no limit."""
        return self._limit

    def allows(self, in_flight: int) -> bool:
        """Whether one more may start beside those that run."""
        return self._limit is None or in_flight < self._limit

    def succeeded(self) -> None:
        """A request was taken. As many in a row as may run at once make room for one more."""
        self._successes += 1
        if self._limit is None or self._limit == self._most or self._successes < self._limit:
            return
        self._limit += 1
        self._successes = 0

    def limited(self, in_flight: int, started: float, now: float) -> None:
        """A request was refused because too many ran, `in_flight` with it. That halves the limit.

        Refusals of what had started before the limit was lowered were of the same crowd, and do not halve it again.
        """
        self._successes = 0
        if started <= self._lowered_at:
            return
        self._lowered_at = now
        ran = in_flight if self._limit is None else min(in_flight, self._limit)
        self._limit = max(1, ran // 2)


class RateNews(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says of its limit: how many requests are left, and in how many seconds there are more."""

    remaining: int | None = None
    reset_seconds: float | None = None

    @property
    def pause_seconds(self) -> float:
        """How long to leave the provider alone: until the reset where nothing is left."""
        return (self.reset_seconds or 0.0) if self.remaining == 0 else 0.0


def read_rate_headers(headers: Mapping[str, str], now: float) -> RateNews | None:
    """The news in the headers of an answer, in the forms of OpenAI, xAI and Replicate, the usual one and the IETF's draft 7.

    Names are lower-case; `now` is Unix time. Values that make no sense are as if they were not there, a reset later than
    in an hour is one in an hour, and None means that nothing is said.
    """
    pairs = [(headers.get(remaining), headers.get(reset)) for remaining, reset in _PAIRS]
    if (structured := headers.get("ratelimit")) is not None:
        items = dict(item.strip().partition("=")[::2] for item in structured.split(","))
        pairs.append((items.get("remaining"), items.get("reset")))
    for remaining, reset in pairs:
        news = RateNews(remaining=_read_count(remaining), reset_seconds=_read_reset(reset, now))
        if news != RateNews():
            return news
    return None


def _read_count(text: str | None) -> int | None:
    return int(text) if text is not None and _COUNT.fullmatch(text := text.strip()) else None


def _read_reset(text: str | None, now: float) -> float | None:
    text = (text or "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
        if seconds > _UNIX_TIME:
            seconds = max(0.0, seconds - now)
    elif text and (span := _SPAN.fullmatch(text)):
        seconds = sum(float(part) * unit for part, unit in zip(span.groups(), _SPAN_UNITS, strict=True) if part)
    else:
        return None
    return min(seconds, _LONGEST_SECONDS)


class Pause:
    """Until when a provider is left alone. It knows no clock: every `now` comes from one of the caller's, in seconds."""

    def __init__(self) -> None:
        self._until = -math.inf

    def until(self, now: float) -> float | None:
        """When it is over; None where there is none."""
        return self._until if now < self._until else None

    def extend(self, now: float, seconds: float) -> None:
        """Leaves it alone for so many seconds, at most an hour; what was longer already stays so."""
        self._until = max(self._until, now + min(seconds, _LONGEST_SECONDS))
