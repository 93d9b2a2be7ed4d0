"""Statistics: the same as counted by hand, and as the spending."""

from __future__ import annotations

import datetime
import tempfile
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from imagen._results.images import Cost
from imagen._storage.database import Database
from imagen._storage.ledger import Attempt, Ledger
from imagen._storage.spending import SpendingBy
from imagen._storage.statistics import StatisticsBy
from imagen.testing import InlineWorkers

pytestmark = pytest.mark.usefixtures("engine")

START = datetime.datetime(2026, 3, 30, 20, tzinfo=datetime.UTC).timestamp()

ATTEMPTS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["a", "b"]),
            "tag": st.sampled_from(["", "poster"]),
            "images": st.integers(1, 4),
            "why": st.sampled_from(["first", "retry", "fallback", "hedge", ""]),
            "economy": st.booleans(),
            "seconds": st.floats(0, 500),
            "hours": st.floats(0, 100),
            "end": st.sampled_from(
                [None, "succeeded", "succeeded", "failed", "refused", "unknown"]
            ),
            "usd": st.none() | st.integers(0, 10**10).map(lambda nano: Decimal(nano).scaleb(-9)),
        }
    ),
    max_size=30,
)


async def book(ledger: Ledger, number: int, facts: dict[str, object]) -> None:
    name, now = f"{number:016x}", START + 3600 * facts["hours"]
    await ledger.reserve(
        Attempt(
            id=name,
            batch_id=None,
            provider=f"of {facts['model']}",
            model=facts["model"],
            operation="generate",
            images=facts["images"],
            tag=facts["tag"],
            request_json="{}",
            reserved_usd=Decimal(1),
            economy=facts["economy"],
            why=facts["why"],
            owner="me",
            created_at=now,
        )
    )
    await ledger.mark_sent([name], "me", now)
    if facts["end"] is not None:
        cost = Cost() if facts["usd"] is None else Cost(usd=facts["usd"], source="reported")
        await ledger.settle(name, facts["end"], cost, now=now + facts["seconds"])


def name_of(facts: dict[str, object], key: str) -> str:
    moment = datetime.datetime.fromtimestamp(START + 3600 * facts["hours"], datetime.UTC)
    return {
        "model": facts["model"],
        "provider": f"of {facts['model']}",
        "tag": facts["tag"],
        "operation": "generate",
        "day": f"{moment:%Y-%m-%d}",
        "month": f"{moment:%Y-%m}",
    }[key]


def quantile(seconds: list[float], share: float) -> float | None:
    ascending = sorted(seconds)
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else None


@pytest.mark.long_on_postgresql
@given(ATTEMPTS, st.sampled_from(["model", "provider", "tag", "operation", "day", "month"]))
@settings(max_examples=60, deadline=None)
def test_statistics_are_those_of_the_attempts(booked, key):
    with tempfile.TemporaryDirectory() as folder:
        trio.run(check_statistics, Path(folder), booked, key)


async def check_statistics(folder: Path, booked: list[dict[str, object]], key: str) -> None:
    database = await Database.open(folder / "db", InlineWorkers())
    try:
        ledger = Ledger(database)
        for number, facts in enumerate(booked):
            await book(ledger, number, facts)
        found = {one.name: one for one in await StatisticsBy(database).groups(key)}
        spent = await SpendingBy(database).total()
        recent = await StatisticsBy(database).recent("a")
    finally:
        await database.aclose()
    assert set(found) == {name_of(facts, key) for facts in booked}
    for name, one in found.items():
        mine = [facts for facts in booked if name_of(facts, key) == name]
        ended = [facts for facts in mine if facts["end"]]
        for state in ("succeeded", "failed", "refused", "unknown"):
            assert getattr(one, state) == sum(facts["end"] == state for facts in mine)
        assert one.retries == sum(facts["why"] == "retry" for facts in ended)
        assert one.asked == sum(facts["images"] for facts in ended if facts["why"] != "retry")
        assert one.usd == sum(facts["usd"] or 0 for facts in ended)
        timed = [f["seconds"] for f in mine if f["end"] == "succeeded" and not f["economy"]]
        for share, seconds in ((0.5, one.p50_seconds), (0.95, one.p95_seconds)):
            assert seconds == pytest.approx(quantile(timed, share), abs=1e-3)
    assert sum(one.usd for one in found.values()) == spent.settled_usd
    assert sum(one.unknown_usd for one in found.values()) == spent.unknown_usd
    assert sum(one.images for one in found.values()) == spent.images
    assert sum(one.succeeded for one in found.values()) == spent.attempts.succeeded
    timed = [
        f["seconds"]
        for f in booked
        if f["model"] == "a" and f["end"] == "succeeded" and not f["economy"]
    ]
    if recent is None:
        assert timed == []
    else:
        assert recent.images == len(timed)
        assert recent.p95_seconds == pytest.approx(quantile(timed, 0.95), abs=1e-3)


async def test_only_the_last_fifty_tell_how_fast_a_model_is(tmp_path):
    database = await Database.open(tmp_path / "db", InlineWorkers())
    try:
        for number in range(80):
            facts = {
                "model": "a", "tag": "", "images": 1, "why": "first", "economy": False,
                "seconds": 100 if number < 30 else 1, "hours": number, "end": "succeeded",
                "usd": None,
            }  # fmt: skip
            await book(Ledger(database), number, facts)
        timing = await StatisticsBy(database).recent("a")
        assert (timing.images, timing.p95_seconds) == (50, pytest.approx(1))
        assert await StatisticsBy(database).recent("b") is None
    finally:
        await database.aclose()


async def test_a_period_is_since_until(tmp_path):
    database = await Database.open(tmp_path / "db", InlineWorkers())
    try:
        for number in range(4):
            facts = {
                "model": "a", "tag": "", "images": 1, "why": "first", "economy": False,
                "seconds": 1, "hours": number, "end": "succeeded", "usd": Decimal(1),
            }  # fmt: skip
            await book(Ledger(database), number, facts)
        since = datetime.datetime.fromtimestamp(START + 3600, datetime.UTC)
        until = datetime.datetime.fromtimestamp(START + 3 * 3600, datetime.UTC)
        (one,) = await StatisticsBy(database).groups("model", since, until)
        assert (one.succeeded, one.usd, one.usd_per_image) == (2, 2, 1)
    finally:
        await database.aclose()
