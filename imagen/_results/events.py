"""Events for progress displays, logs and metrics: pass `on_event` to a client
or a batch. `docs/operations.md` has a table of them.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import msgspec

from .._errors import ImagenError
from .._requests.catalog import Operation
from .._requests.request import Request, operation_of
from ..providers._steps import Usage
from .images import CostSource, Image, Outcome

__all__ = [
    "ALARM_SHARES",
    "AttemptAccepted",
    "AttemptDropped",
    "AttemptEnded",
    "AttemptQueued",
    "AttemptRecovered",
    "AttemptReserved",
    "AttemptSent",
    "BreakerClosed",
    "BreakerOpened",
    "BudgetAlarm",
    "CacheHit",
    "Event",
    "EventHandler",
    "ImagePublished",
    "LibraryCleaned",
    "PreviewReceived",
    "ProgressReported",
    "RetryScheduled",
    "SessionEnded",
    "SessionExpired",
    "SessionStarted",
    "TryReason",
    "WebhookDead",
    "WebhookDelivered",
]

TryReason = Literal["first", "retry", "fallback", "hedge", "collect"]
"""Why an attempt is made: "collect" fetches the images of an attempt that
another process has sent.
"""

# Shares of a budget with an alarm; as floats, four fifths of a dollar would be
# more than 80 cents.
ALARM_SHARES = (Decimal("0.5"), Decimal("0.8"), Decimal(1))


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    """Every event of an attempt names it, the positions of its requests in the
    batch, and the model.

    `batch_id` is that of its batch or session. `try_number` counts the attempts
    at one model from 1, and `why` is the reason for this one. `reserved_usd` is
    None if the price is unknown, `server` the host of the provider, None if it
    has none. With `economy` it goes through a batch API.
    """

    attempt_id: str
    indexes: tuple[int, ...]
    request: Request
    model: str
    provider: str
    batch_id: str | None = None
    try_number: int = 1
    why: TryReason = "first"
    reserved_usd: Decimal | None = None
    server: str | None = None
    economy: bool = False

    @property
    def operation(self) -> Operation:
        """Name of the operation."""
        return operation_of(self.request)

    @property
    def tag(self) -> str:
        """The caller's word for the spending, empty if there is none."""
        return self.request.tag or ""


class AttemptQueued(_Event, frozen=True, kw_only=True):
    """The request waits for its place, money and slot, if only for a moment.
    `AttemptReserved` or `AttemptDropped` follows.
    """


class AttemptDropped(_Event, frozen=True, kw_only=True):
    """The request was not admitted, for this `error`; None if its caller left.
    Nothing was reserved.
    """

    waited_seconds: float
    error: ImagenError | None = None


class AttemptReserved(_Event, frozen=True, kw_only=True):
    """Money is reserved and the row written. `AttemptEnded` follows, whether it
    is sent or not.
    """

    waited_seconds: float


class AttemptSent(_Event, frozen=True, kw_only=True):
    """The request leaves now; from here it may be billed."""


class AttemptAccepted(_Event, frozen=True, kw_only=True):
    """The provider works on it as a job, which it knows by `job_id`."""

    job_id: str


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

    `state` and `settled_usd` (None: unknown) are those of the ledger,
    `cost_source` is where the cost is from. `seconds` counts from the sending,
    0 if it was not sent. `usage` are tokens, `status` and `provider_request_id`
    those of the last reply of the provider.

    An attempt that is `left` is not settled: the provider works on its job, and
    the next client collects it.
    """

    outcomes: tuple[Outcome, ...]
    left: bool = False
    state: str = ""
    settled_usd: Decimal | None = None
    cost_source: CostSource = "unknown"
    seconds: float = 0.0
    usage: Usage | None = None
    status: int | None = None
    provider_request_id: str | None = None

    @property
    def images(self) -> tuple[Image, ...]:
        """The images among the outcomes."""
        return tuple(one for one in self.outcomes if isinstance(one, Image))

    @property
    def error(self) -> ImagenError | None:
        """The first error among the outcomes."""
        return next((one.error for one in self.outcomes if not isinstance(one, Image)), None)


class AttemptRecovered(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that another process left was settled here without a request:
    by its receipt, or as unsent or unknown. Its fields are those of
    `AttemptEnded`.
    """

    attempt_id: str
    batch_id: str | None
    model: str
    provider: str
    operation: str
    tag: str
    images: int
    state: str
    settled_usd: Decimal | None
    cost_source: CostSource


class RetryScheduled(_Event, frozen=True, kw_only=True):
    """An attempt follows in `wait_seconds`, as the one before it failed with
    `error`.
    """

    error: ImagenError
    wait_seconds: float


class BreakerOpened(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is sent to a model for a time, as it has failed again and again."""

    model: str
    provider: str
    cooldown_seconds: float


class BreakerClosed(msgspec.Struct, frozen=True, kw_only=True):
    """The model gets requests again: a probe has succeeded, or the client whose
    breaker was open has closed.
    """

    model: str
    provider: str


class CacheHit(msgspec.Struct, frozen=True, kw_only=True):
    """A request was answered by an image of the library, for nothing."""

    request: Request
    index: int
    image_id: str
    model: str
    provider: str
    batch_id: str | None


class SessionStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A background batch runs; `resumed` if an earlier process began it."""

    session_id: str
    requested: int
    resumed: bool


class SessionEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A background batch has ended, in this state of it."""

    session_id: str
    state: str
    succeeded: int
    failed: int
    cost_usd: Decimal


class SessionExpired(msgspec.Struct, frozen=True, kw_only=True):
    """A background batch was not asked for any more, and is forgotten. Its
    images are in the library.
    """

    session_id: str


class WebhookDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver took a message, at this try."""

    message_id: str
    tries: int


class WebhookDead(msgspec.Struct, frozen=True, kw_only=True):
    """A message will not be sent again by itself."""

    message_id: str
    tries: int
    error: str


class ImagePublished(msgspec.Struct, frozen=True, kw_only=True):
    """An object in the store was written, removed, or given up (`error`)."""

    store: str
    sha256: str
    state: Literal["published", "removed", "failed"]
    error: str | None = None


class LibraryCleaned(msgspec.Struct, frozen=True, kw_only=True):
    """A cleanup moved images to the trash, and deleted some from there."""

    trashed: int
    deleted: int
    freed_bytes: int


class BudgetAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """50, 80 or 100 % (`share` 0.5, 0.8, 1.0) of a budget are spent or reserved
    now: `taken` dollars, or images.
    """

    budget: str
    share: float
    taken: Decimal


Event = (
    AttemptQueued
    | AttemptDropped
    | AttemptReserved
    | AttemptSent
    | AttemptAccepted
    | PreviewReceived
    | ProgressReported
    | AttemptEnded
    | AttemptRecovered
    | RetryScheduled
    | BreakerOpened
    | BreakerClosed
    | CacheHit
    | SessionStarted
    | SessionEnded
    | SessionExpired
    | WebhookDelivered
    | WebhookDead
    | ImagePublished
    | LibraryCleaned
    | BudgetAlarm
)
EventHandler = Callable[[Event], None]
"""Called in the event loop: keep it short. An exception of a handler is raised
when the client closes, or noted on the one that closes it.
"""
