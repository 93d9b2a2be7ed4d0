"""A client that was taken for dead: another one has its session, and what it
still does must be paid and numbered once.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import trio

import imagen
from imagen._storage.database import Database
from imagen._storage.ledger import Attempt, Ledger
from imagen._system.threads import ThreadWorkers
from tests.support.job_provider import Works


async def take_over(other: imagen.Client, session_id: str) -> None:
    """Make the session that of another client, as if its own were dead."""
    services = other._services
    await services.runtime.database.write(
        [("UPDATE sessions SET owner = ? WHERE id = ?", (services.runtime.owner, session_id))]
    )


@pytest.mark.parametrize("at_seconds", [0.5, 1.0, 1.5, 2.5])
async def test_it_sends_nothing_more_and_numbers_nothing(autojump_clock, tmp_path, at_seconds):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=5, max_at_once=1, model="sync-1")
        await trio.sleep(at_seconds)
        await take_over(other, session.id)
        orders, numbered = works.orders, len(session.outcomes)
        await session.wait_finished()
        assert works.orders == orders
        assert len(session.outcomes) == numbered
        assert isinstance(session.error, imagen.SessionError)
        assert session.error.retryable
        rows = await other._services.runtime.database.read("SELECT number FROM session_outcomes")
        assert len(rows) == numbered
        assert not await other._services.runtime.database.read("SELECT * FROM session_ends")


async def test_the_other_client_makes_the_rest_and_nothing_is_paid_twice(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=5, max_at_once=2, model="sync-1")
        await trio.sleep(1.5)
        await take_over(other, session.id)
        resumed = await other.resume_session(session.id)
        await resumed.wait_finished()
        await session.wait_finished()
        assert sorted(outcome.index for outcome in resumed.outcomes) == [0, 1, 2, 3, 4]
        assert works.orders == 5


@pytest.mark.parametrize(
    ("owner", "sends"), [("me", True), ("another", False), ("", False), (None, True)]
)
async def test_a_request_leaves_only_while_its_session_is_the_clients(
    engine, tmp_path, owner, sends
):
    database = await Database.open(tmp_path / "x", ThreadWorkers())
    ledger = Ledger(database)
    if owner is not None:
        values = ("s", "{}", 1, 0, 1, None, owner, 0.0, "{}")
        sql = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        await database.write([(sql, values)])
    attempt = Attempt(
        id="a",
        batch_id="s",
        provider="p",
        model="m",
        operation="generate",
        images=1,
        request_json="{}",
        reserved_usd=None,
        owner="me",
        created_at=1.0,
    )
    await ledger.reserve(attempt)
    with nullcontext() if sends else pytest.raises(imagen.StorageError, match="taken it over"):
        await ledger.mark_sent(["a"], "me", 2.0)
    found = await ledger.find("a")
    assert found is not None
    assert found.state == ("sent" if sends else "reserved")
    await database.aclose()


async def test_a_batch_of_no_session_is_sent_as_ever(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as client:
        async with client.open_batch("x", n=3, model="sync-1") as batch:
            outcomes = [outcome async for outcome in batch]
        assert all(isinstance(outcome, imagen.Image) for outcome in outcomes)
