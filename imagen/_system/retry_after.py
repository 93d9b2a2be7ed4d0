"""Waits that a reply asks for: Retry-After, rate-limit headers, and the words
of its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import msgspec

__all__ = ["LONGEST_PAUSE_SECONDS", "RateLimitHeaders", "read_rate_headers", "read_wait_seconds"]

# A longer wait needs a person, and an untrusted header must not stop a provider
# permanently.
LONGEST_PAUSE_SECONDS = 3600.0
# "12s", "467ms", "51.8 seconds", "6m0s"
_SPAN_IN_TEXT = r"([0-9]{1,6}(?:\.[0-9]{1,6})?) ?(ms|s|seconds?|m|minutes?|h|hours?)(?![a-z])"
_WAIT = re.compile(rf"(?i)(?:try again|retry|resets) in ~?((?:{_SPAN_IN_TEXT} ?)+)")
_WAIT_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# A reset above this is a moment in Unix time (2001 and later); no provider has
# windows of 31 years.
_UNIX_TIME = 1e9
# "retry_after": 12, "retryAfterMs": "1500", "retryDelay": "12s"
_FIELD = re.compile(
    rb'(?i)"retry[_-]?(?:after|delay|in)[_-]?(ms|millis|milliseconds|s|secs?|seconds)?"'
    rb'\s*:\s*"?([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(ms|s)?"?\s*[,}\]]'
)
_MOST_BODY = 1 << 16
_COUNT = re.compile(r"[0-9]{1,9}")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
# Go's way to write a duration, which OpenAI has: "6m0s", "1.5s", "20ms".
_SPAN = re.compile(
    r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)s)?(?:([0-9]{1,6}(?:\.[0-9]{1,9})?)ms)?"
)
_SPAN_UNITS = (3600.0, 60.0, 1.0, 0.001)
# Header names of the requests that are left, and of the reset. OpenAI counts
# tokens too; xAI sends no reset.
_PAIRS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
)


def read_wait_seconds(
    headers: Mapping[str, str], text: str = "", body: bytes = b""
) -> float | None:
    """Return the seconds that a reply asks to wait, from its headers, its text
    ("Please try again in 12s"), or a field of its body.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if value.isascii() and value.replace(".", "", 1).isdigit() and len(value) < 12:
            return float(value) * unit
    if (seconds := _read_date(headers.get("retry-after", ""), headers.get("date", ""))) is not None:
        return seconds
    if (field := _FIELD.search(body[:_MOST_BODY])) is not None:
        written = (field[1] or field[3] or b"s").lower()
        return float(field[2]) * (0.001 if written.startswith(b"m") else 1.0)
    if found := _WAIT.search(text):
        return sum(
            float(number) * _WAIT_UNITS[_unit(name)]
            for number, name in re.findall(_SPAN_IN_TEXT, found[1].lower())
        )
    return None


def _read_date(moment: str, now: str) -> float | None:
    """Return the seconds from the Date of the reply to the moment of its
    Retry-After (RFC 9110, 10.2.3), so that no clock of this machine matters.
    """
    try:
        wait = parsedate_to_datetime(moment) - parsedate_to_datetime(now)
    except (TypeError, ValueError):
        # No date, or one date with a time zone and one without.
        return None
    return max(0.0, wait.total_seconds())


def _unit(name: str) -> str:
    return name if name == "ms" else name[0]


class RateLimitHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """Rate limit of a reply: requests that are left, and seconds until the
    reset.
    """

    remaining: int | None = None
    reset_seconds: float | None = None

    @property
    def pause_seconds(self) -> float:
        """Seconds without requests: until the reset, if none is left."""
        return (self.reset_seconds or 0.0) if self.remaining == 0 else 0.0


def read_rate_headers(headers: Mapping[str, str], now: float) -> RateLimitHeaders | None:
    """Read the rate-limit headers of OpenAI, xAI and Replicate, the usual ones,
    and those of the IETF's draft 7.

    Names are lower-case; `now` is Unix time. Invalid values are ignored, a
    reset is at most an hour away, and None means that there are no such
    headers.
    """
    pairs = [(headers.get(remaining), headers.get(reset)) for remaining, reset in _PAIRS]
    if (structured := headers.get("ratelimit")) is not None:
        items = dict(item.strip().partition("=")[::2] for item in structured.split(","))
        pairs.append((items.get("remaining"), items.get("reset")))
    for remaining, reset in pairs:
        news = RateLimitHeaders(
            remaining=_read_count(remaining), reset_seconds=_read_reset(reset, now)
        )
        if news != RateLimitHeaders():
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
        seconds = sum(
            float(part) * unit
            for part, unit in zip(span.groups(), _SPAN_UNITS, strict=True)
            if part
        )
    else:
        return None
    return min(seconds, LONGEST_PAUSE_SECONDS)
