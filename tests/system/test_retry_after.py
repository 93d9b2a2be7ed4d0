"""Rate limits in the headers of replies."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen._system.retry_after import RateLimitHeaders, read_rate_headers, read_wait_seconds

NOW = 1.8e9


NAMES = (
    "ratelimit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)


@pytest.mark.parametrize(
    ("headers", "remaining", "reset_seconds"),
    [
        ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, 0, 7.0),
        ({"x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-requests": "1s"}, 59, 1.0),
        ({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m0s"}, 1, 360.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"}, 0, 0.02),
        (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1h2m3.5s"},
            0,
            3600.0,
        ),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2.5"}, 0, 2.5),
        ({"x-ratelimit-remaining-requests": "100"}, 100, None),
        ({"x-ratelimit-remaining": " 3 ", "x-ratelimit-reset": "12"}, 3, 12.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 90)}, 0, 90.0),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) - 90)}, 0, 0.0),
        ({"x-ratelimit-reset": "99999"}, None, 3600.0),
        ({"ratelimit": "limit=100, remaining=4, reset=50"}, 4, 50.0),
        ({"ratelimit": "limit=100,reset=50"}, None, 50.0),
        ({"ratelimit-remaining": "junk", "x-ratelimit-remaining": "5"}, 5, None),
    ],
)
def test_every_form_is_read(headers, remaining, reset_seconds):
    assert read_rate_headers(headers, NOW) == RateLimitHeaders(
        remaining=remaining, reset_seconds=reset_seconds
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "nan",
        "inf",
        "-1",
        "-1s",
        "1e400",
        "9" * 40,
        "soon",
        "1x",
        "s",
        "١",
        "1 s",
        "0x10",
        "1_000",
    ],
)
def test_nonsense_is_as_if_it_were_not_there(text):
    assert read_rate_headers(dict.fromkeys(NAMES, text), NOW) is None
    assert read_rate_headers({"ratelimit": f"limit=1, remaining={text}, reset={text}"}, NOW) is None


@given(
    headers=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=30)), now=st.floats(0.0, 1e10)
)
@settings(deadline=None)
def test_whatever_headers_hold_the_news_is_bounded(headers, now):
    news = read_rate_headers(headers, now)
    if news is not None:
        assert news != RateLimitHeaders()
        assert news.remaining is None or 0 <= news.remaining < 10**9
        assert news.reset_seconds is None or 0 <= news.reset_seconds <= 3600
        assert 0 <= news.pause_seconds <= 3600


def test_only_where_nothing_is_left_there_is_something_to_wait_for():
    assert RateLimitHeaders(remaining=0, reset_seconds=5.0).pause_seconds == 5.0
    assert RateLimitHeaders(remaining=1, reset_seconds=5.0).pause_seconds == 0.0
    assert RateLimitHeaders(remaining=0).pause_seconds == 0.0
    assert RateLimitHeaders(reset_seconds=5.0).pause_seconds == 0.0


# --- the wait of one reply ----------------------------------------------------

DATE = "Sat, 28 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "text", "body", "seconds"),
    [
        ({"retry-after": "12"}, "", b"", 12),
        ({"retry-after": " 1.5 "}, "", b"", 1.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, "", b"", 1.5),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:05 GMT", "date": DATE}, "", b"", 5),
        ({"retry-after": "Saturday, 28-Nov-26 12:01:00 GMT", "date": DATE}, "", b"", 60),
        ({"retry-after": "Sat, 28 Nov 2026 13:00:05 +0100", "date": DATE}, "", b"", 5),
        ({"retry-after": "Sat, 28 Nov 2026 11:00:00 GMT", "date": DATE}, "", b"", 0),
        ({"retry-after": "soon", "date": DATE}, "", b"", None),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:05 GMT"}, "", b"", None),
        ({}, "Please try again in 1m30s.", b"", 90),
        ({}, "", b'{"error": {"retry_after": 7}}', 7),
        ({}, "", b'{"retryAfterMs": "2500"}', 2.5),
        ({}, "", b'{"details": [{"retryDelay": "12s"}]}', 12),
        ({}, "", b'{"retry_after_seconds": 3.5, "x": 1}', 3.5),
        ({}, "", b'{"retry-in": "250ms"}', 0.25),
        ({}, "", b'{"retry_after": null}', None),
        ({}, "", b'{"retry": 3}', None),
    ],
)
def test_the_wait_is_read_where_servers_write_it(headers, text, body, seconds):
    assert read_wait_seconds(headers, text, body) == seconds


@given(st.text(), st.text(), st.binary())
def test_any_wait_is_none_or_not_negative(moment, now, body):
    found = read_wait_seconds({"retry-after": moment, "date": now}, moment, body)
    assert found is None or found >= 0
