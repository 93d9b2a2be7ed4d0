"""How models do: success, speed and cost, from the ledger and the library.

The router reads its times here too, so that "fastest" and "p95" mean what the
user sees.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Literal

import msgspec

from .._results.prices import tidy_usd
from .database import Database, Row, from_nanousd

__all__ = ["Statistics", "StatisticsBy", "StatisticsKey", "Timing"]

StatisticsKey = Literal["model", "provider", "operation", "tag", "day", "month"]

_KEYS: Mapping[StatisticsKey, str] = {
    "model": "model",
    "provider": "provider",
    "operation": "operation",
    "tag": "tag",
    "day": "date(created_at, 'unixepoch')",
    "month": "substr(date(created_at, 'unixepoch'), 1, 7)",
}
# Enough for the current speed of a model, and not that of last year.
_TIMED = 50
_COUNTS = """
SELECT {key}, state, sum(1), sum(CASE WHEN why = 'retry' THEN 1 ELSE 0 END), sum(images),
    sum(CASE WHEN why = 'retry' THEN 0 ELSE images END),
    sum(coalesce(settled_nanousd, 0)),
    sum(CASE WHEN settled_nanousd IS NULL AND state = 'unknown' THEN coalesce(reserved_nanousd, 0)
        ELSE 0 END)
FROM attempts WHERE created_at >= ? AND created_at < ? GROUP BY 1, 2
"""
# The share q of n ascending times: number floor(q * n) + 1.
_TIMES = """
SELECT name, total,
    max(CASE WHEN place = total / 2 + 1 THEN seconds END),
    max(CASE WHEN place = total * 95 / 100 + 1 THEN seconds END)
FROM (
    SELECT name, seconds, row_number() OVER (PARTITION BY name ORDER BY seconds) AS place,
        count(*) OVER (PARTITION BY name) AS total
    FROM ({source}) AS timed
) AS placed GROUP BY name, total
"""
_TIMES_OF_PERIOD = (
    "SELECT {key} AS name, seconds FROM attempt_times WHERE created_at >= ? AND created_at < ?"
)
_LAST_TIMES = (
    "SELECT model AS name, seconds FROM attempt_times WHERE model = ? ORDER BY created_at DESC"
    f" LIMIT {_TIMED}"
)
_KEPT = """
SELECT {key}, count(*), sum(starred) FROM (
    SELECT attempts.provider, attempts.model, attempts.operation, attempts.tag,
        attempts.created_at, CASE WHEN images.rating > 0 THEN 1 ELSE 0 END AS starred
    FROM attempts JOIN images ON images.attempt_id = attempts.id
    WHERE attempts.created_at >= ? AND attempts.created_at < ? AND images.trashed_at IS NULL
) AS chosen GROUP BY 1
"""
_HITS = """
SELECT {key}, count(*), sum(saved_nanousd) FROM (
    SELECT cache_hits.model, cache_hits.tag, cache_hits.created_at,
        coalesce(cache_hits.saved_nanousd, 0) AS saved_nanousd,
        coalesce(images.provider, '') AS provider,
        coalesce(json_extract(images.request, '$.operation'), '') AS operation
    FROM cache_hits LEFT JOIN images ON images.id = cache_hits.image_id
    WHERE cache_hits.created_at >= ? AND cache_hits.created_at < ?
) AS chosen GROUP BY 1
"""
_FINISHED = ("succeeded", "failed", "refused", "unknown")


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the sending of a request to its image: of half of `images`
    requests at most `p50_seconds`.
    """

    images: int
    p50_seconds: float
    p95_seconds: float


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """How a model, provider, operation, tag, day or month did.

    The counts are of attempts: a retry is one more. `asked` images were asked
    for, `images` made; `kept` are still in the library and not in the trash,
    `starred` those of them with stars. `usd` is what was spent, with
    `unknown_usd` that may be; `cached` images came from the library and saved
    `saved_usd`. Times are None if nothing was timed.
    """

    name: str
    succeeded: int = 0
    failed: int = 0
    refused: int = 0
    unknown: int = 0
    retries: int = 0
    asked: int = 0
    images: int = 0
    kept: int = 0
    starred: int = 0
    usd: Decimal = Decimal(0)
    unknown_usd: Decimal = Decimal(0)
    cached: int = 0
    saved_usd: Decimal = Decimal(0)
    p50_seconds: float | None = None
    p95_seconds: float | None = None

    @property
    def attempts(self) -> int:
        """Number of attempts that have ended."""
        return self.succeeded + self.failed + self.refused + self.unknown

    @property
    def success_rate(self) -> float | None:
        """Share of attempts with an image; None without any attempt."""
        return self.succeeded / self.attempts if self.attempts else None

    @property
    def refusal_rate(self) -> float | None:
        """Share of attempts that were refused for their content."""
        return self.refused / self.attempts if self.attempts else None

    @property
    def usd_per_image(self) -> Decimal | None:
        """Spent for each image that was asked for."""
        return _share(self.usd, self.asked)

    @property
    def usd_per_kept(self) -> Decimal | None:
        """Spent for each image that was kept."""
        return _share(self.usd, self.kept)

    @property
    def usd_per_starred(self) -> Decimal | None:
        """Spent for each image that was kept and has stars."""
        return _share(self.usd, self.starred)


class StatisticsBy:
    """Statistics of the attempts that began in a period; None means all."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def groups(
        self,
        key: StatisticsKey,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
    ) -> Sequence[Statistics]:
        """Return the statistics by model, provider, operation, tag, day or
        month (UTC): times in order, else the most images first.
        """
        period = _bounds(since, until)
        counts = await self._read(_COUNTS, key, period)
        fields = {name: _count(rows) for name, rows in _by_name(counts).items()}
        times = _TIMES.format(source=_TIMES_OF_PERIOD)
        for row in await self._read(times, key, period):
            fields.setdefault(str(row[0]), {}).update(p50_seconds=row[2], p95_seconds=row[3])
        for row in await self._read(_KEPT, key, period):
            fields.setdefault(str(row[0]), {}).update(kept=row[1], starred=row[2])
        for row in await self._read(_HITS, key, period):
            fields.setdefault(str(row[0]), {}).update(cached=row[1], saved_usd=_usd(row[2]))
        found = [msgspec.convert({"name": name, **one}, Statistics) for name, one in fields.items()]
        if key in ("day", "month"):
            return sorted(found, key=lambda one: one.name)
        return sorted(found, key=lambda one: (-one.images, -one.attempts, one.name))

    async def recent(self, model: str) -> Timing | None:
        """Return the times of a model's last images; None without any."""
        rows = await self._database.read(_TIMES.format(source=_LAST_TIMES), (model,))
        if not rows:
            return None
        _, images, p50, p95 = rows[0]
        return msgspec.convert(
            {"images": images, "p50_seconds": p50, "p95_seconds": p95}, Timing, strict=False
        )

    async def _read(self, sql: str, key: StatisticsKey, period: Row) -> Sequence[Row]:
        return await self._database.read(sql.replace("{key}", _KEYS[key]), period)


def _bounds(since: datetime.datetime | None, until: datetime.datetime | None) -> Row:
    return (
        0.0 if since is None else since.timestamp(),
        math.inf if until is None else until.timestamp(),
    )


def _by_name(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row[0]), []).append(row)
    return found


def _count(rows: Iterable[Row]) -> dict[str, object]:
    """Return the fields that the rows of one name give, one for each state."""
    counts = dict.fromkeys(_FINISHED, 0)
    retries = asked = images = 0
    usd = unknown_usd = Decimal(0)
    for _, state, attempts, again, made, first, settled, opened in rows:
        if state in ("reserved", "sent", "accepted"):
            continue
        # A damaged row counts as unknown, as everywhere.
        known = str(state) if state in counts else "unknown"
        counts[known] += int(str(attempts))
        retries += int(str(again))
        asked += int(str(first))
        images += int(str(made)) if known == "succeeded" else 0
        usd += _usd(settled)
        unknown_usd += _usd(opened)
    return {
        **counts,
        "retries": retries,
        "asked": asked,
        "images": images,
        "usd": usd,
        "unknown_usd": unknown_usd,
    }


def _usd(nanousd: object) -> Decimal:
    amount = from_nanousd(nanousd if isinstance(nanousd, int) else None)
    return tidy_usd(amount or Decimal(0))


def _share(usd: Decimal, count: int) -> Decimal | None:
    return tidy_usd(round(usd / count, 9)) if count else None
