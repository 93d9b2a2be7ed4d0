"""Attempts that the ledger takes in a second, on both engines: each is reserved
under a standing budget, marked as sent, received and settled.

Each writer is a client of its own, with its connection and its threads; at most
four processes share the writers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import trio

from imagen._policy.quotas import StandingBudget
from imagen._results.images import Cost
from imagen._storage.database import Database
from imagen._storage.engines import open_database
from imagen._storage.ledger import Attempt, Ledger
from imagen._system.ids import new_id
from imagen._system.secret import Secret
from imagen._system.threads import ThreadWorkers
from tests.support.postgresql import running_server

_MOST_PROCESSES = 4
_BUDGET = StandingBudget(usd=Decimal(1_000_000), per="month")
_COST = Cost(usd=Decimal("0.04"), source="reported")


async def _cycle(ledger: Ledger, owner: str) -> None:
    attempt = Attempt(
        id=new_id(),
        batch_id=None,
        provider="provider",
        model="model",
        operation="generate",
        images=1,
        request_json='{"prompt": "a lighthouse"}',
        reserved_usd=Decimal("0.04"),
        owner=owner,
        created_at=time.time(),
    )
    await ledger.reserve(attempt, [_BUDGET])
    await ledger.mark_sent([attempt.id], owner, time.time())
    await ledger.mark_received(attempt.id, "{}")
    await ledger.settle(attempt.id, "succeeded", _COST, now=time.time())


async def _write(database: Database, until: float, counts: list[int]) -> None:
    ledger, owner, count = Ledger(database), new_id(), 0
    while time.monotonic() < until:
        await _cycle(ledger, owner)
        count += 1
    counts.append(count)


async def _child(where: str, writers: int, seconds: float) -> None:
    url = Secret(where) if where.startswith("postgresql://") else None
    path = Path(where if url is None else "unused")
    databases = [await open_database(path, url, ThreadWorkers()) for _ in range(writers)]
    print("ready", flush=True)
    await trio.to_thread.run_sync(sys.stdin.readline)
    counts: list[int] = []
    until = time.monotonic() + seconds
    async with trio.open_nursery() as nursery:
        for database in databases:
            nursery.start_soon(_write, database, until, counts)
    print(sum(counts), flush=True)
    for database in databases:
        await database.aclose()


def _measure(where: str, writers: int, seconds: float) -> float:
    """Cycles a second of so many writers."""
    processes = min(writers, _MOST_PROCESSES)
    command = [sys.executable, "-m", "benchmarks.ledger", "--child", where]
    command += ["--seconds", str(seconds), "--writers", str(writers // processes)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            child.stdout.readline()
        done = [child.communicate(timeout=seconds + 60)[0] for child in _begun(children)]
    finally:
        for child in children:
            child.kill()
    return sum(int(text) for text in done) / seconds


def _begun(children: Sequence[subprocess.Popen[str]]) -> Sequence[subprocess.Popen[str]]:
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    return children


def _run(writers: Sequence[int], seconds: float) -> None:
    with running_server(fsync=True) as server:
        print(f"{'writers':>8}{'SQLite':>10}{'PostgreSQL':>12}   cycles a second")
        for count in writers:
            with tempfile.TemporaryDirectory() as home:
                sqlite = _measure(f"{home}/imagen.sqlite3", count, seconds)
            postgresql = _measure(server.new_database(), count, seconds)
            print(f"{count:>8}{sqlite:>10,.0f}{postgresql:>12,.0f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        trio.run(_child, options.child, options.writers[0], options.seconds)
    else:
        _run(options.writers, options.seconds)
