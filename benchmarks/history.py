"""The four writes of an attempt, with limits set, in an empty ledger and in one
with a long history: `python -m benchmarks.history --rows 0 1000000`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import trio

from imagen._policy.quotas import Admitted, Rate, StandingBudget
from imagen._requests.catalog import RateLimit
from imagen._results.images import Cost
from imagen._storage.database import Database
from imagen._storage.ledger import Attempt, Ledger
from imagen.testing import InlineWorkers

__all__: list[str] = []

_GROUP = 5_000
_ROUNDS = 300
_FLAT = 1.2
_NOW = 1_826_000_000.0
# All of the history lies in this window.
_DAY = 86_400
_LIMIT = RateLimit(images=10**8, period_seconds=_DAY, requests_per_minute=10**8, max_at_once=10**6)
_RATES = (
    Rate(column="provider", name="provider", limit=_LIMIT),
    Rate(column="model", name="model", limit=_LIMIT),
)
_BUDGETS = [StandingBudget(per=per, usd=Decimal(10**8)) for per in ("day", "ever")]
_COST = Cost(usd=Decimal("0.01"), source="reported")
_IMAGE = """
INSERT INTO images (number, id, attempt_id, batch_index, sha256, media_type, width, height,
    size_bytes, provider, model, request, cost_source, adjustments, seconds, created_at)
VALUES (?, ?, ?, 0, ?, 'image/png', 1024, 1024, 3000, 'provider', 'model',
    '{"operation":"generate","prompt":"a lighthouse"}', 'reported', '[]', 1.0, ?)
"""


def _attempt(number: int, created_at: float) -> Attempt:
    return Attempt(
        id=f"{number:016x}",
        batch_id=None,
        provider="provider",
        model="model",
        operation="generate",
        images=1,
        request_json="{}",
        reserved_usd=Decimal("0.01"),
        owner="me",
        created_at=created_at,
    )


async def _fill(database: Database, ledger: Ledger, rows: int) -> None:
    """Write a history of attempts with an image each, all ended, in one day."""
    for first in range(0, rows, _GROUP):
        numbers = range(first, min(rows, first + _GROUP))
        async with trio.open_nursery() as nursery:
            for number in numbers:
                moment = _NOW - _DAY + 60 + number * (_DAY - 120) / rows
                nursery.start_soon(ledger.reserve, _attempt(number, moment))
        await database.write(
            [
                (
                    "UPDATE attempts SET sent_at = 1.0, state = 'succeeded',"
                    " ended_at = 2.0 WHERE state = 'reserved'",
                    (),
                )
            ]
        )
        await database.write(_images(numbers))


def _images(numbers: Iterable[int]) -> list[tuple[str, tuple[str | int | float, ...]]]:
    return [
        (_IMAGE, (number + 1, f"i{number:015x}", f"{number:016x}", f"{number:064x}", _NOW))
        for number in numbers
    ]


class _History:
    """Ledger with a number of rows, and the times of its writes in us."""

    def __init__(self, rows: int, database: Database) -> None:
        self.rows = rows
        self.database = database
        self.ledger = Ledger(database)
        self.times: dict[str, list[float]] = {}

    async def write(self, number: int) -> None:
        """Write one attempt from its reservation to its settlement."""
        ledger = self.ledger
        one = _attempt(self.rows + number, _NOW + number * 0.1)
        stamps = [time.perf_counter()]
        verdict = await ledger.reserve(one, _BUDGETS, _RATES)
        assert isinstance(verdict, Admitted)
        stamps.append(time.perf_counter())
        await ledger.mark_sent([one.id], "me", _NOW)
        stamps.append(time.perf_counter())
        await ledger.mark_received(one.id, "{}")
        stamps.append(time.perf_counter())
        images = _images([self.rows + number])
        await ledger.settle(one.id, "succeeded", _COST, now=_NOW, along=images)
        stamps.append(time.perf_counter())
        names = ("reserve", "sent", "received", "settle")
        for name, (begun, ended) in zip(names, pairwise(stamps), strict=True):
            self.times.setdefault(name, []).append((ended - begun) * 1e6)


async def _measure(sizes: list[int], folder: Path) -> list[dict[str, float]]:
    """Return the median of each write, in microseconds. The histories are
    written to in turn: what the machine does meanwhile hits each.
    """
    histories: list[_History] = []
    for rows in sizes:
        database = await Database.open(folder / f"{rows}.sqlite3", InlineWorkers())
        histories.append(_History(rows, database))
        await _fill(database, histories[-1].ledger, rows)
    for number in range(_ROUNDS):
        for history in histories:
            await history.write(number)
    for history in histories:
        await history.database.aclose()
    return [
        {name: statistics.median(values) for name, values in history.times.items()}
        for history in histories
    ]


async def _run(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="imagen-bench-") as name:
        found = await _measure(sizes, Path(name))
    print("| median us | " + " | ".join(f"at {rows:,}" for rows in sizes) + " | ratio | |")
    print("|---|" + "---|" * (len(sizes) + 2))
    for write in found[0]:
        values = [one[write] for one in found]
        ratio = values[-1] / values[0]
        verdict = "flat" if ratio <= _FLAT else "grows"
        print(f"| {write} | {' | '.join(f'{v:.0f}' for v in values)} | {ratio:.2f} | {verdict} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[0, 1_000_000])
    trio.run(_run, parser.parse_args().rows)
