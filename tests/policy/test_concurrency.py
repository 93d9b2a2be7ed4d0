"""Adaptive concurrency limit of a model, and its pauses."""

from __future__ import annotations

import math
from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen._policy.concurrency import AdaptiveLimit, Pause


def test_without_a_known_limit_there_is_none_until_the_first_refusal():
    limit = AdaptiveLimit()
    for _ in range(100):
        limit.succeeded()
    assert limit.allows(10_000)
    limit.limited(40, started=1.0, now=2.0)
    assert limit.limit == 20
    assert limit.allows(19)
    assert not limit.allows(20)


def test_refusals_of_one_crowd_lower_it_once():
    limit = AdaptiveLimit(16)
    for in_flight in range(16, 0, -1):
        limit.limited(in_flight, started=1.0, now=2.0)
    assert limit.limit == 8
    limit.limited(8, started=3.0, now=4.0)
    assert limit.limit == 4


def test_what_was_running_counts_where_it_is_less_than_what_might_have_run():
    limit = AdaptiveLimit(64)
    limit.limited(4, started=1.0, now=2.0)
    assert limit.limit == 2


def test_it_grows_by_one_after_a_row_of_as_many_successes():
    limit = AdaptiveLimit(8)
    limit.limited(8, started=1.0, now=2.0)
    sizes = []
    for _ in range(4 + 5 + 6 + 7 + 20):
        limit.succeeded()
        sizes.append(limit.limit)
    assert [sizes.index(size) for size in (5, 6, 7, 8)] == [3, 8, 14, 21]
    assert max(sizes) == 8


def test_a_refusal_breaks_the_row():
    limit = AdaptiveLimit(8)
    limit.limited(8, started=1.0, now=2.0)
    for _ in range(20):
        for _ in range(3):
            limit.succeeded()
        limit.limited(4, started=1.5, now=3.0)
    assert limit.limit == 4


@given(
    most=st.none() | st.integers(1, 50),
    news=st.lists(st.none() | st.tuples(st.integers(1, 60), st.floats(0.0, 3.0))),
)
@settings(deadline=None)
def test_whatever_comes_one_may_run_and_never_more_than_most(most, news):
    limit = AdaptiveLimit(most)
    for now, item in enumerate(news):
        before = limit.limit
        if item is None:
            limit.succeeded()
            assert limit.limit == before or limit.limit == before + 1
        else:
            in_flight, ago = item
            limit.limited(in_flight, started=now - ago, now=float(now))
            assert limit.limit == before or limit.limit <= max(
                1, (in_flight if before is None else before) // 2
            )
        assert limit.allows(0)
        assert most is None or limit.limit <= most


@pytest.mark.parametrize("capacity", [1, 3, 10])
def test_it_settles_around_what_the_other_side_takes(capacity):
    limit = AdaptiveLimit(64)
    sizes = []
    for now in range(400):
        size = limit.limit
        for _ in range(min(size, capacity)):
            limit.succeeded()
        if size > capacity:
            limit.limited(size, started=now + 0.5, now=now + 0.5)
        sizes.append(size)
    settled = sizes[100:]
    assert max(settled) == capacity + 1
    assert min(settled) >= (capacity + 1) // 2


def test_a_pause_ends_when_it_was_said_to():
    pause = Pause()
    assert pause.until(0.0) is None
    pause.extend(10.0, 5.0)
    assert pause.until(14.9) == 15.0
    assert pause.until(15.0) is None


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats()), max_size=10))
@settings(deadline=None)
def test_a_pause_is_never_cut_short_and_never_longer_than_an_hour(extensions):
    pause, longest = Pause(), -math.inf
    for now, seconds in sorted(extensions, key=itemgetter(0)):
        pause.extend(now, seconds)
        if seconds > 0:
            longest = max(longest, now + min(seconds, 3600.0))
        assert pause.until(now) == (longest if longest > now else None)
