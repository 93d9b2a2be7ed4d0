"""Sums of what was spent, from the ledger."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal, cast, get_args

import msgspec

from .._results.html import table, usd_text
from .._results.images import CostSource
from .._results.prices import tidy_usd
from .database import Database, Row, from_nanousd

__all__ = ["AttemptCounts", "CacheHits", "Spending", "SpendingBy", "SpendingGroup", "SpendingKey"]

SpendingKey = Literal["model", "provider", "day", "tag", "batch"]


class AttemptCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Number of attempts by their state."""

    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    unknown: int = 0
    in_flight: int = 0


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of a period, in US dollars.

    `reserved_usd` belongs to attempts in flight, `unknown_usd` is what attempts
    of unknown outcome had reserved. Attempts without a known price count in
    `attempts` only. `images` counts the images of succeeded attempts,
    `unpriced` those attempts of them whose cost is unknown, and `by_source`
    splits the settled cost by its source.
    """

    settled_usd: Decimal
    reserved_usd: Decimal
    unknown_usd: Decimal
    attempts: AttemptCounts
    images: int = 0
    unpriced: int = 0
    by_source: Mapping[CostSource, Decimal] = {}

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [
            ("settled", usd_text(self.settled_usd)),
            ("reserved", usd_text(self.reserved_usd)),
            ("unknown outcome", usd_text(self.unknown_usd)),
            ("images", self.images),
        ]
        return table(rows)


class CacheHits(msgspec.Struct, frozen=True, kw_only=True):
    """Number of images served from the library, and what they had cost when
    they were made.
    """

    images: int
    saved_usd: Decimal


class SpendingGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of one model, provider, day (UTC), tag or batch; `name` is empty
    without a tag or batch.
    """

    name: str
    spending: Spending


_SUMS = "state, cost_source, sum(attempts), sum(images), sum(settled_nanousd), sum(open_nanousd)"
_TOTALS = f"""
SELECT {{key}}, {_SUMS} FROM (
    SELECT day, provider, model, tag, state, cost_source, attempts, images, settled_nanousd,
        open_nanousd
    FROM totals WHERE day > ?
    UNION ALL
    SELECT day, provider, model, tag, state, cost_source, 1, images, settled_nanousd, open_nanousd
    FROM attempt_totals WHERE created_at >= ? AND created_at < ?
) AS sums GROUP BY 1, 2, 3
"""
_BATCHES = f"""
SELECT coalesce(batch_id, ''), {_SUMS}
FROM (SELECT *, 1 AS attempts FROM attempt_totals WHERE created_at >= ?) AS sums
GROUP BY 1, 2, 3
"""
_DAY = datetime.timedelta(days=1)


class SpendingBy:
    """Sums over the attempts that began at or after a time; None means all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def total(self, since: datetime.datetime | None = None) -> Spending:
        """Everything together."""
        rows = await self._database.read(_TOTALS.format(key="''"), _bounds(since))
        return _sum_up(rows)

    async def groups(
        self, key: SpendingKey, since: datetime.datetime | None = None
    ) -> Sequence[SpendingGroup]:
        """Return the cost by model, provider, day, tag or batch: days in order,
        else the highest first.
        """
        if key == "batch":
            rows = await self._database.read(_BATCHES, (since.timestamp() if since else 0.0,))
        else:
            rows = await self._database.read(_TOTALS.format(key=key), _bounds(since))
        names = sorted({str(row[0]) for row in rows})
        groups = [
            SpendingGroup(name=name, spending=_sum_up(row for row in rows if row[0] == name))
            for name in names
        ]
        if key != "day":
            groups.sort(
                key=lambda group: -(group.spending.settled_usd + group.spending.unknown_usd)
            )
        return groups

    async def cache_hits(self, since: datetime.datetime | None = None) -> CacheHits:
        """Return the cache hits of a period."""
        ((images, saved),) = await self._database.read(
            "SELECT count(*), coalesce(sum(saved_nanousd), 0) FROM cache_hits WHERE created_at"
            " >= ?",
            (0.0 if since is None else since.timestamp(),),
        )
        return CacheHits(images=int(str(images)), saved_usd=from_nanousd(saved) or Decimal(0))


def _bounds(since: datetime.datetime | None) -> tuple[str, float, float]:
    """Return the last day that is not summed up whole, and the part of it that
    counts.
    """
    if since is None:
        return "", 0.0, 0.0
    moment = since.astimezone(datetime.UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    return moment.date().isoformat(), moment.timestamp(), midnight.timestamp()


def _sum_up(rows: Iterable[Row]) -> Spending:
    counts: dict[str, int] = {}
    sources: dict[CostSource, Decimal] = {}
    settled = reserved = unknown = Decimal(0)
    images = unpriced = 0
    for _, state, source, attempts, row_images, settled_nanousd, open_nanousd in rows:
        assert isinstance(attempts, int)
        assert isinstance(row_images, int)
        # A damaged row counts as spent.
        state = state if state in AttemptCounts.__struct_fields__ else "unknown"
        counts[str(state)] = counts.get(str(state), 0) + attempts
        paid, opened = (
            from_nanousd(settled_nanousd) or Decimal(0),
            from_nanousd(open_nanousd) or Decimal(0),
        )
        settled += paid
        if state == "in_flight":
            reserved += opened
        elif state == "unknown":
            unknown += opened
        if state == "succeeded":
            images += row_images
        if state == "succeeded" and source == "unknown":
            unpriced += attempts
        if paid:
            told = cast(CostSource, source if source in get_args(CostSource) else "unknown")
            sources[told] = sources.get(told, Decimal(0)) + paid
    return Spending(
        settled_usd=tidy_usd(settled),
        reserved_usd=tidy_usd(reserved),
        unknown_usd=tidy_usd(unknown),
        attempts=AttemptCounts(**counts),
        images=images,
        unpriced=unpriced,
        by_source={source: tidy_usd(usd) for source, usd in sources.items()},
    )
