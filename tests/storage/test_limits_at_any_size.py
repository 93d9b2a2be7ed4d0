"""Limits cost the same at any length of the history, and count exactly."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen._policy.quotas import Admitted, OverRate, Rate, StandingBudget
from imagen._requests.catalog import RateLimit
from imagen._results.images import Cost
from imagen._storage import database as database_module
from imagen._storage import ledger as ledger_module
from imagen._storage.database import Database, Transaction
from imagen._storage.ledger import Attempt, Ledger
from imagen._storage.ledger_limits import check_rates
from imagen._storage.rate_windows import RateWindow
from imagen.testing import InlineWorkers

NOW = 1_826_000_000.25
ALL_LIMITS = RateLimit(
    images=10**6, period_seconds=86_400, requests_per_minute=10**6, max_at_once=10**6
)


def attempt(number: int, created_at: float, images: int = 1, **more: object) -> Attempt:
    fields = {
        "id": f"{number:016x}",
        "batch_id": None,
        "provider": "p",
        "model": "m",
        "operation": "generate",
        "images": images,
        "request_json": "{}",
        "reserved_usd": Decimal("0.01"),
        "owner": "me",
        "created_at": created_at,
        **more,
    }
    return Attempt(**fields)


# Rows in a window, each read: what the sums must agree with.
COUNTED = (
    "SELECT created_at, images FROM attempts WHERE {} = ? AND NOT economy AND created_at > ? AND"
    " created_at < ? AND (sent_at IS NOT NULL OR state = 'reserved') ORDER BY created_at"
)
BOOKED = st.fixed_dictionaries(
    {
        "ago": st.one_of(
            st.floats(0, 90_000), st.integers(0, 90_000).map(float), st.floats(-10, 130)
        ),
        "images": st.integers(1, 4),
        "model": st.sampled_from(["m", "other"]),
        "provider": st.sampled_from(["p", "q"]),
        "economy": st.booleans(),
        "way": st.sampled_from(["reserved", "sent", "dropped", "accepted", "late", "settled"]),
    }
)


@given(
    st.lists(BOOKED, max_size=20),
    st.sampled_from([1, 59, 60, 61, 3600, 86_400]),
    st.sampled_from(["provider", "model"]),
)
@settings(max_examples=60, deadline=None)
def test_a_window_counts_what_its_rows_say(booked, seconds, column):
    with closing(opened()) as connection:
        transaction = Transaction(connection)
        for number, facts in enumerate(booked):
            book(transaction, number, dict(facts))
        window = RateWindow(
            column=column,
            name=column[0],
            counted="images",
            after=NOW - seconds,
            before=NOW + seconds,
        )
        rows = transaction.run(COUNTED.format(column), (window.name, window.after, window.before))
        assert window.count(transaction) == sum(images for _, images in rows)
        times = [created_at for created_at, images in rows for _ in range(images)]
        assert [window.time_of(transaction, nth + 1) for nth in range(len(times))] == times
        assert window.time_of(transaction, len(times) + 1) is None


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for name in ("as_searched", "input_hashes"):
        connection.create_function(name, 1, getattr(database_module, name), deterministic=True)
    connection.create_function("image_facets", 13, database_module.image_facets, deterministic=True)
    database_module._migrate(connection, Path("memory"))
    return connection


def book(transaction: Transaction, number: int, facts: dict) -> None:
    way, ago = facts.pop("way"), facts.pop("ago")
    transaction.change(
        ledger_module._INSERT, ledger_module._insert_values(attempt(number, NOW - ago, **facts))
    )
    changes = {
        "reserved": [],
        "sent": ["state = 'sent', sent_at = 1.0"],
        "dropped": ["state = 'failed'"],
        "accepted": ["state = 'accepted'"],
        "late": ["state = 'accepted'", "state = 'sent', sent_at = 1.0"],
        "settled": ["state = 'sent', sent_at = 1.0", "state = 'succeeded'"],
    }
    for change in changes[way]:
        transaction.change(f"UPDATE attempts SET {change} WHERE id = ?", (f"{number:016x}",))


def test_a_full_window_tells_when_it_has_room():
    with closing(opened()) as connection:
        transaction = Transaction(connection)
        for number in range(100):
            book(transaction, number, {"way": "sent", "ago": 3000.0 - number * 20, "images": 2})
        rate = Rate(column="model", name="m", limit=RateLimit(images=200, period_seconds=3600))
        over = check_rates(transaction, [rate], 5, NOW)
        assert isinstance(over, OverRate)
        # Five more need the room of the three oldest, with two each.
        assert over.due_at == NOW - 3000.0 + 2 * 20 + 3600


# --- plans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["model", "provider"])
async def test_no_statement_on_the_way_of_a_request_reads_the_history(tmp_path, column):
    """Each plan seeks by a whole key, or reads only a bounded range of sums or
    what is in flight.
    """
    plans: set[str] = set()
    run, change = Transaction.run, Transaction.change

    def explaining(inner):
        def explain(self, sql, values=()):
            plans.update(str(row[3]) for row in run(self, f"EXPLAIN QUERY PLAN {sql}", values))
            return inner(self, sql, values)

        return explain

    rates = [Rate(column=column, name=column[0], limit=ALL_LIMITS)]
    budgets = [StandingBudget(per=per, images=10**6) for per in ("day", "month", "ever")]
    database = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    ledger = Ledger(database)
    with (
        mock.patch.object(Transaction, "run", explaining(run)),
        mock.patch.object(Transaction, "change", explaining(change)),
    ):
        one = attempt(1, NOW)
        assert isinstance(await ledger.reserve(one, budgets, rates), Admitted)
        await ledger.mark_sent([one.id], "me", NOW)
        await ledger.mark_received(one.id, "{}")
        await ledger.settle(one.id, "succeeded", Cost(), now=NOW)
    await database.aclose()
    index = {"model": "attempts_unresolved_by_model", "provider": "attempts_unresolved"}[column]
    assert any(index in plan and f"{column}=? AND economy=?" in plan for plan in plans)
    assert any("created_at>? AND created_at<?" in plan for plan in plans)
    scans = {plan for plan in plans if plan.startswith("SCAN")}
    # One row for each model, provider and tag: it has no history.
    assert scans <= {"SCAN totals_ever", "SCAN CONSTANT ROW"}
    allowed = (
        "id=?",
        "number>? AND number<?",
        "created_at>? AND created_at<?",
        "economy=?",
        "day>?",
        # What it reads has a plan of its own: the one session of the attempt.
        "CORRELATED SCALAR SUBQUERY",
    )
    assert all(any(part in plan for part in allowed) for plan in plans - scans), plans
