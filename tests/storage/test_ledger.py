"""The ledger: its sums are those of its rows, whatever happens to the rows, and
old ledgers are read on.
"""

from __future__ import annotations

import datetime
import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._results.images import Cost
from imagen._storage.database import Database
from imagen._storage.ledger import Attempt, Ledger
from imagen._storage.spending import SpendingBy
from imagen.providers._steps import JobAccepted
from imagen.testing import InlineWorkers

pytestmark = pytest.mark.usefixtures("engine")

START = 1_826_000_000.0
HOUR = 3600.0
MIGRATIONS = Path(imagen.__file__).parent / "_storage" / "migrations"

# One attempt: which model, tag and batch, how many images, what is reserved and
# settled, and how far it gets.
attempts = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["a", "b"]),
        "tag": st.sampled_from(["", "poster"]),
        "batch_id": st.sampled_from([None, "one", "two"]),
        "images": st.integers(1, 4),
        "reserved": st.none() | st.integers(0, 10**10).map(lambda nano: Decimal(nano).scaleb(-9)),
        "settled": st.none() | st.integers(0, 10**10).map(lambda nano: Decimal(nano).scaleb(-9)),
        "steps": st.integers(0, 3),
        "end": st.sampled_from([None, "succeeded", "failed", "refused", "unknown"]),
        "reconciled": st.none() | st.integers(0, 100).map(Decimal),
        "hours": st.floats(0, 80),
    }
)


async def book(ledger: Ledger, number: int, facts: dict[str, object]) -> None:
    name, now = f"{number:016x}", START + HOUR * facts["hours"]
    attempt = Attempt(
        id=name,
        batch_id=facts["batch_id"],
        provider=f"of {facts['model']}",
        model=facts["model"],
        operation="generate",
        images=facts["images"],
        tag=facts["tag"],
        request_json="{}",
        reserved_usd=facts["reserved"],
        owner="me",
        created_at=now,
    )
    await ledger.reserve(attempt)
    if facts["steps"] > 0:
        await ledger.mark_sent([name], "me", now + 1)
    if facts["steps"] > 1:
        await ledger.mark_accepted(name, JobAccepted(job_id=name, poll_url="there"))
    if facts["steps"] > 2:
        await ledger.mark_received(name, "{}")
    if facts["end"] is not None:
        usd = facts["settled"]
        cost = Cost() if usd is None else Cost(usd=usd, source="reported")
        await ledger.settle(name, facts["end"], cost, now=now + 2)
        if facts["reconciled"] is not None:
            assert await ledger.reconcile(name, facts["reconciled"], now + 3) == (
                facts["end"] == "unknown"
            )


_COUNTED = """
SELECT day, provider, model, tag, state, cost_source, count(*), sum(images), sum(settled_nanousd),
    sum(open_nanousd)
FROM attempt_totals GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""


@pytest.mark.long_on_postgresql
@given(st.lists(attempts, max_size=12), st.floats(0, 90))
@settings(max_examples=60, deadline=None)
def test_the_sums_are_those_of_the_rows(booked, since_hours):
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder) / "imagen.sqlite3", InlineWorkers())
            ledger, spending = Ledger(database), SpendingBy(database)
            for number, facts in enumerate(booked):
                await book(ledger, number, facts)
            kept = await database.read(
                "SELECT * FROM totals WHERE attempts > 0 ORDER BY 1, 2, 3, 4, 5, 6"
            )
            assert kept == await database.read(_COUNTED)
            rest = (
                "SELECT sum(images), sum(settled_nanousd), sum(open_nanousd) FROM totals WHERE"
                " attempts = 0"
            )
            assert all(not value for row in await database.read(rest) for value in row)

            since = datetime.datetime.fromtimestamp(START + HOUR * since_hours, datetime.UTC)
            # Not the hours: a tiny fraction of one is the same time.
            counted = [
                facts for facts in booked if START + HOUR * facts["hours"] >= since.timestamp()
            ]
            total = await spending.total(since)
            assert sum(
                getattr(total.attempts, name) for name in total.attempts.__struct_fields__
            ) == len(counted)
            for key, field in (("model", "model"), ("tag", "tag"), ("batch", "batch_id")):
                groups = await spending.groups(key, since)
                assert {group.name for group in groups} == {facts[field] or "" for facts in counted}
                assert sum(group.spending.settled_usd for group in groups) == total.settled_usd
                assert sum(group.spending.unknown_usd for group in groups) == total.unknown_usd
            await database.aclose()

    trio.run(main)


@pytest.mark.sqlite
async def test_a_ledger_of_an_older_imagen_is_read_on(tmp_path):
    path = tmp_path / "imagen.sqlite3"
    connection = sqlite3.connect(path)
    for script in ("0001_attempts_and_images.sql", "0002_origins.sql"):
        connection.executescript((MIGRATIONS / script).read_text("utf-8"))
    connection.execute("PRAGMA user_version = 2")
    row = (
        "INSERT INTO attempts (id, provider, model, operation, images, request, state,"
        " reserved_nanousd, settled_nanousd, "
    )
    row += (
        "cost_source, owner, created_at) VALUES (?, 'p', 'm', 'generate', 1, '{}', ?, ?, ?, ?,"
        " 'gone', ?)"
    )
    connection.execute(row, ("a" * 16, "succeeded", 50_000_000, 40_000_000, "computed", START))
    connection.execute(row, ("b" * 16, "unknown", 50_000_000, None, "unknown", START))
    connection.execute(row, ("c" * 16, "sent", 50_000_000, None, None, START + 1))
    connection.commit()
    connection.close()

    environ = {"IMAGEN_HOME": str(tmp_path)}
    async with imagen.open_client(imagen.load_settings(environ), workers=InlineWorkers()) as client:
        spending = await client.spending()
        assert (spending.settled_usd, spending.unknown_usd) == (Decimal("0.04"), Decimal("0.1"))
        assert spending.by_source == {"computed": Decimal("0.04")}
        # What the older one left in flight is as unknown as what it knew to be
        # so.
        assert [record.id[0] for record in await client.unknown_attempts()] == ["b", "c"]
