"""Events for progress displays, logs and metrics: pass `on_event` to a client
or a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from .._requests.request import Request
from .images import Outcome

__all__ = [
    "ALARM_SHARES",
    "AttemptEnded",
    "AttemptSent",
    "BudgetAlarm",
    "Event",
    "EventHandler",
    "PreviewReceived",
    "ProgressReported",
]


# Shares of a budget with an alarm; as floats, four fifths of a dollar would be
# more than 80 cents.
ALARM_SHARES = (Decimal("0.5"), Decimal("0.8"), Decimal(1))


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    """Every event names the attempt, the positions of its requests in the
    batch, and the model.
    """

    attempt_id: str
    indexes: tuple[int, ...]
    request: Request
    model: str
    provider: str


class AttemptSent(_Event, frozen=True, kw_only=True):
    """The request leaves now; from here it may be billed."""


class PreviewReceived(_Event, frozen=True, kw_only=True):
    """An unfinished image came: the `number`-th preview, counted from 0, as an
    encoded image in `data`.
    """

    data: bytes
    number: int

    def __repr__(self) -> str:
        return (
            f"PreviewReceived(attempt_id={self.attempt_id!r}, number={self.number},"
            f" {len(self.data)} bytes)"
        )


class ProgressReported(_Event, frozen=True, kw_only=True):
    """Progress from 0 to 1 (None: unknown); `note` is a text, e.g. the place in
    a queue.
    """

    fraction: float | None
    note: str = ""


class AttemptEnded(_Event, frozen=True, kw_only=True):
    """The attempt is settled; `outcomes` has one for each index. Failures that
    will be sent again have ended too.

    An attempt that is `left` is not settled: the provider works on its job, and
    the next client collects it.
    """

    outcomes: tuple[Outcome, ...]
    left: bool = False


class BudgetAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """50, 80 or 100 % (`share` 0.5, 0.8, 1.0) of a budget are spent or reserved
    now: `taken` dollars, or images.
    """

    budget: str
    share: float
    taken: Decimal


Event = AttemptSent | PreviewReceived | ProgressReported | AttemptEnded | BudgetAlarm
EventHandler = Callable[[Event], None]
"""Called in the event loop: keep it short. An exception of a handler is raised
when the client closes, or noted on the one that closes it.
"""
