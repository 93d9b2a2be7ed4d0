"""Calls about money: spending, statistics, attempts of unknown outcome."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from ..._errors import ImagenError
from ..._requests.request import decode_request
from ..._storage.ledger import AttemptRecord
from ..._storage.spending import Spending, SpendingKey
from ..._storage.statistics import Statistics, StatisticsKey
from .._desk.desk import Desk
from .._wire.filters import moment_of
from .._wire.rows import MOST_LETTERS
from .calls import Calls

__all__ = ["CALLS", "spent_usd"]

CALLS = Calls()


class SpendingQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Groups, and a day or time since when."""

    by: SpendingKey = "day"
    since: str | None = None


class SpendingView(msgspec.Struct, frozen=True, kw_only=True):
    """Money and images of one group; `spent_usd` is all that may be billed."""

    name: str
    spent_usd: Decimal
    settled_usd: Decimal
    reserved_usd: Decimal
    unknown_usd: Decimal
    images: int
    requests: int
    failed: int
    unknown: int
    unpriced: int


class SpendingReply(msgspec.Struct, frozen=True, kw_only=True):
    """Spending in all and by group: days in order, else the highest first."""

    total: SpendingView
    groups: Sequence[SpendingView]
    cached_images: int
    saved_usd: Decimal


@CALLS.get("spending")
async def spending(desk: Desk, *, query: SpendingQuery) -> SpendingReply:
    """Return what was spent, by day, model, provider, tag or batch."""
    since = None if query.since is None else moment_of(query.since)
    total = await desk.client.spending(since)
    groups = await desk.client.spending_by(query.by, since)
    hits = await desk.client.cache_hits(since)
    return SpendingReply(
        total=_view("", total),
        groups=[_view(group.name, group.spending) for group in groups],
        cached_images=hits.images,
        saved_usd=hits.saved_usd,
    )


def spent_usd(spent: Spending) -> Decimal:
    """Return all that may be billed."""
    return spent.settled_usd + spent.reserved_usd + spent.unknown_usd


def _view(name: str, spent: Spending) -> SpendingView:
    attempts = spent.attempts
    return SpendingView(
        name=name,
        spent_usd=spent_usd(spent),
        settled_usd=spent.settled_usd,
        reserved_usd=spent.reserved_usd,
        unknown_usd=spent.unknown_usd,
        images=spent.images,
        requests=sum(getattr(attempts, name) for name in attempts.__struct_fields__),
        failed=attempts.failed + attempts.refused,
        unknown=attempts.unknown,
        unpriced=spent.unpriced,
    )


# --- statistics ---------------------------------------------------------------


class StatisticsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Groups, and a period."""

    by: StatisticsKey = "model"
    since: str | None = None
    until: str | None = None


class StatisticsView(msgspec.Struct, frozen=True, kw_only=True):
    """How a model, provider, operation, tag, day or month did."""

    name: str
    succeeded: int
    failed: int
    refused: int
    unknown: int
    retries: int
    asked: int
    images: int
    kept: int
    starred: int
    cached: int
    success_rate: float | None
    p50_seconds: float | None
    p95_seconds: float | None
    spent_usd: Decimal
    usd_per_image: Decimal | None


class StatisticsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics by group."""

    groups: Sequence[StatisticsView]


@CALLS.get("statistics")
async def statistics(desk: Desk, *, query: StatisticsQuery) -> StatisticsReply:
    """Return success, speed and cost by group."""
    since, until = (
        None if text is None else moment_of(text) for text in (query.since, query.until)
    )
    found = await desk.client.statistics(query.by, since, until)
    return StatisticsReply(groups=[_statistics_view(one) for one in found])


def _statistics_view(one: Statistics) -> StatisticsView:
    same = {
        name: getattr(one, name) for name in StatisticsView.__struct_fields__ if name != "spent_usd"
    }
    return StatisticsView(**same, spent_usd=one.usd)


# --- unknown outcomes ---------------------------------------------------------


class UnknownView(msgspec.Struct, frozen=True, kw_only=True):
    """Request that was sent and never heard of again."""

    id: str
    model: str
    provider: str
    prompt: str
    created_at: datetime.datetime
    images: int
    reserved_usd: Decimal | None
    reason: str


class UnknownReply(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts of unknown outcome, the oldest first."""

    attempts: Sequence[UnknownView]


class CollectedReply(msgspec.Struct, frozen=True, kw_only=True):
    """Number of attempts that ended with an image."""

    collected: int


class ReconcileBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost as the provider's account shows it."""

    usd: Decimal


@CALLS.get("unknown")
async def unknown(desk: Desk) -> UnknownReply:
    """List attempts of unknown outcome."""
    return UnknownReply(attempts=[_unknown(one) for one in await desk.client.unknown_attempts()])


@CALLS.post("unknown/collect")
async def collect(desk: Desk) -> CollectedReply:
    """Ask the providers once more for images whose reply was lost."""
    return CollectedReply(collected=await desk.client.collect())


@CALLS.post("unknown/{attempt_id}/reconcile")
async def reconcile(desk: Desk, *, attempt_id: str, body: ReconcileBody) -> UnknownReply:
    """Book the cost of an attempt of unknown outcome."""
    await desk.client.reconcile(attempt_id, body.usd)
    return await unknown(desk)


def _unknown(attempt: AttemptRecord) -> UnknownView:
    return UnknownView(
        id=attempt.id,
        model=attempt.model,
        provider=attempt.provider,
        prompt=_prompt_of(attempt),
        created_at=datetime.datetime.fromtimestamp(attempt.created_at, datetime.UTC),
        images=attempt.images,
        reserved_usd=attempt.reserved_usd,
        reason=attempt.error_message or "",
    )


def _prompt_of(attempt: AttemptRecord) -> str:
    try:
        return decode_request(attempt.request_json).prompt[:MOST_LETTERS]
    except (msgspec.DecodeError, ImagenError):
        return ""
