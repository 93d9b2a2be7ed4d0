"""The breaker: open after failures in a row, one probe at a time, and old news
counts for nothing.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from imagen._policy.breaker import Breaker

COOLDOWN, LONGEST = 30.0, 100.0


def opened(now: float = 0.0) -> Breaker:
    """One that has just opened, at `now`."""
    breaker = Breaker(3, COOLDOWN, LONGEST)
    for _ in range(3):
        assert breaker.admit(now)
    for _ in range(3):
        breaker.failed(now, now)
    return breaker


def probe(breaker: Breaker, *, succeeds: bool) -> None:
    """Lets the probe through as soon as it is due, and ends it at once."""
    due = breaker.retry_at
    assert due is not None
    assert breaker.admit(due)
    if succeeds:
        breaker.succeeded(due)
    else:
        breaker.failed(due, due)


def test_failures_in_a_row_open_it():
    breaker = Breaker(3, COOLDOWN, LONGEST)
    for _ in range(2):
        breaker.failed(0.0, 1.0)
    assert breaker.state(1.0) == "closed"
    assert breaker.retry_at is None
    breaker.failed(0.0, 2.0)
    assert breaker.state(2.0) == "open"
    assert breaker.retry_at == 32.0
    assert not breaker.admit(31.9)
    assert breaker.state(32.0) == "half-open"


def test_a_success_in_between_starts_the_count_anew():
    breaker = Breaker(3, COOLDOWN, LONGEST)
    for _ in range(5):
        breaker.failed(0.0, 1.0)
        breaker.failed(0.0, 1.0)
        breaker.succeeded(0.0)
    assert breaker.state(1.0) == "closed"


def test_one_probe_at_a_time():
    breaker = opened()
    assert [breaker.admit(30.0), breaker.admit(30.0), breaker.admit(99.0)] == [True, False, False]
    breaker.released(30.0)
    assert [breaker.admit(100.0), breaker.admit(100.0)] == [True, False]


def test_a_probe_that_succeeds_closes_it_and_forgets_the_cooldowns():
    breaker = opened()
    probe(breaker, succeeds=False)
    probe(breaker, succeeds=True)
    assert breaker.state(90.0) == "closed"
    for _ in range(3):
        breaker.failed(90.0, 100.0)
    assert breaker.retry_at == 100.0 + COOLDOWN


def test_a_probe_that_fails_doubles_the_cooldown_up_to_the_longest():
    breaker = opened()
    waits = []
    for _ in range(4):
        before = breaker.retry_at
        probe(breaker, succeeds=False)
        waits.append(breaker.retry_at - before)
    assert waits == [60.0, LONGEST, LONGEST, LONGEST]


def test_late_failures_lengthen_no_cooldown():
    breaker = opened()
    for _ in range(5):
        breaker.failed(0.0, 29.0)
    assert breaker.retry_at == 30.0
    assert breaker.admit(30.0)
    for _ in range(5):
        breaker.failed(0.0, 31.0)
    assert breaker.state(31.0) == "half-open"
    assert not breaker.admit(31.0)


def test_late_successes_close_nothing():
    breaker = opened()
    breaker.succeeded(0.0)
    assert breaker.state(1.0) == "open"
    assert breaker.admit(30.0)
    breaker.succeeded(0.0)
    breaker.released(0.0)
    assert breaker.state(31.0) == "half-open"
    assert not breaker.admit(31.0)


def test_failures_of_before_it_closed_do_not_open_it_again():
    breaker = opened()
    probe(breaker, succeeds=True)
    for _ in range(10):
        breaker.failed(0.0, 31.0)
    assert breaker.state(31.0) == "closed"


class AnyTraffic(RuleBasedStateMachine):
    """Requests come, go and end as they like, against an account that says for
    each in which period it was admitted.
    """

    running = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(3, COOLDOWN, LONGEST)
        self.now = 0.0
        self.period = 0
        self.row = 0
        self.reopened = 0
        self.opened_at: float | None = None
        self.probe: tuple[int, float] | None = None

    @rule(seconds=st.sampled_from([0.0, 1.0, 29.0, 30.0, 100.0]))
    def wait(self, seconds):
        self.now += seconds

    @rule(target=running)
    def ask(self):
        due = self.opened_at is not None and self.now >= self.opened_at + min(
            COOLDOWN * 2**self.reopened, LONGEST
        )
        expected = self.opened_at is None or (due and self.probe is None)
        assert self.breaker.admit(self.now) is expected
        if not expected:
            return multiple()
        request = (self.period, self.now)
        if self.opened_at is not None:
            self.probe = request
        return request

    @rule(request=consumes(running))
    def succeed(self, request):
        self.breaker.succeeded(request[1])
        if self.probe is not None and request == self.probe:
            self.probe = self.opened_at = None
            self.period += 1
            self.row = self.reopened = 0
        elif self.opened_at is None and request[0] == self.period:
            self.row = 0

    @rule(request=consumes(running))
    def fail(self, request):
        self.breaker.failed(request[1], self.now)
        if self.probe is not None and request == self.probe:
            self.reopened += 1
            self.open()
        elif self.opened_at is None and request[0] == self.period:
            self.row += 1
            if self.row == 3:
                self.open()

    @rule(request=consumes(running))
    def drop(self, request):
        self.breaker.released(request[1])
        if request == self.probe:
            self.probe = None

    def open(self):
        self.opened_at, self.probe, self.row = self.now, None, 0
        self.period += 1

    @invariant()
    def closed_means_no_retry_time(self):
        assert (
            (self.breaker.state(self.now) == "closed")
            is (self.breaker.retry_at is None)
            is (self.opened_at is None)
        )


TestAnyTraffic = AnyTraffic.TestCase
TestAnyTraffic.settings = settings(deadline=None)
