"""A time line says what is where without reading it, and agrees with the search."""

from __future__ import annotations

import datetime
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from tests.support.library import Shelf, open_shelf

DAY = datetime.date(2026, 11, 1)
NOON = datetime.datetime(2026, 11, 1, 12, tzinfo=datetime.UTC)


async def add(shelf: Shelf, days: float = 0, **fields: object) -> imagen.Image:
    return await shelf.list_row(created_at=NOON + datetime.timedelta(days=days), **fields)


async def days(shelf: Shelf, *query: str, **filters: object) -> dict[str, int]:
    found = await shelf.library.timeline(*query, **filters)
    assert found.total == sum(images for _, images in found.days)
    assert [day for day, _ in found.days] == sorted({day for day, _ in found.days}, reverse=True)
    return {day.isoformat(): images for day, images in found.days}


@pytest.mark.usefixtures("engine")
async def test_days_are_counted_in_utc(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        midnight = datetime.timedelta(hours=12)
        for moment in (NOON, NOON + midnight, NOON + midnight - datetime.timedelta(seconds=1)):
            await shelf.list_row(created_at=moment)
        assert await days(shelf) == {"2026-11-02": 1, "2026-11-01": 2}


@pytest.mark.usefixtures("engine")
async def test_the_trash_is_counted_apart_and_deletion_leaves_no_empty_day(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        first, second, third = [await add(shelf, day) for day in (0, 0, 1)]
        await shelf.library.trash([first, third])
        assert await days(shelf) == {"2026-11-01": 1}
        assert await days(shelf, state="trashed") == {"2026-11-02": 1, "2026-11-01": 1}
        assert await days(shelf, state="any") == {"2026-11-02": 1, "2026-11-01": 2}
        await shelf.library.delete([third])
        await shelf.library.restore([first])
        assert await days(shelf, state="any") == await days(shelf) == {"2026-11-01": 2}
        assert second is not None


@pytest.mark.usefixtures("engine")
async def test_words_and_filters_leave_the_days_that_match(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        await add(shelf, 0, prompt="a red door", rating=4)
        await add(shelf, 1, prompt="a red boat", tags=("sea",))
        await add(shelf, 2, prompt="a blue boat")
        assert list(await days(shelf, "red")) == ["2026-11-02", "2026-11-01"]
        assert list(await days(shelf, "boat")) == ["2026-11-03", "2026-11-02"]
        assert list(await days(shelf, tags=["sea"])) == ["2026-11-02"]
        assert list(await days(shelf, min_rating=3)) == ["2026-11-01"]
        assert await days(shelf, "green") == {}
        assert list(await days(shelf, since=NOON + datetime.timedelta(days=1))) == [
            "2026-11-03",
            "2026-11-02",
        ]
        assert list(await days(shelf, until=NOON + datetime.timedelta(seconds=1))) == ["2026-11-01"]


@pytest.mark.usefixtures("engine")
async def test_images_of_a_day_are_found_by_their_position(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        made = [await add(shelf, second / 86400) for second in range(30)]
        await add(shelf, 1)
        latest = [image.id for image in reversed(made)]
        found = await shelf.library.of_day(DAY, offset=10, limit=7)
        assert [image.id for image in found] == latest[10:17]
        assert await shelf.library.of_day(DAY, offset=30) == []
        assert await shelf.library.of_day(DAY - datetime.timedelta(days=1)) == []
        await shelf.library.rate(latest[3], 5)
        (starred,) = await shelf.library.of_day(DAY, min_rating=5)
        assert starred.id == latest[3]


REMOVALS = """CREATE TABLE removals (
    sha256 TEXT PRIMARY KEY, media_type TEXT NOT NULL, queued_at REAL NOT NULL) STRICT"""


async def test_the_images_of_an_older_home_are_counted(tmp_path):
    async with open_shelf(tmp_path) as shelf:
        made = [await add(shelf, day) for day in (0, 0, 1, 5)]
        await shelf.library.trash(made[:1])
        before = [await days(shelf, state=state) for state in ("kept", "trashed", "any")]
    with closing(sqlite3.connect(tmp_path / "imagen.sqlite3")) as database:
        for trigger in ("grows", "moves", "shrinks"):
            database.execute(f"DROP TRIGGER timeline_{trigger}")
        for table in ("timeline", "submissions", "submission_turns", "image_store"):
            database.execute(f"DROP TABLE {table}")
        database.execute("DROP TABLE removals")
        database.execute(REMOVALS)
        database.execute("PRAGMA user_version = 11")
        database.commit()
    async with open_shelf(tmp_path) as shelf:
        after = [await days(shelf, state=state) for state in ("kept", "trashed", "any")]
        assert after == before
        await shelf.library.restore(made[:1])
        assert sum((await days(shelf)).values()) == 4


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"offset": 2**63}])
async def test_a_wrong_position_is_refused(tmp_path, bad):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.InvalidRequestError):
            await shelf.library.of_day(DAY, **bad)


CHANGES = given(
    steps=st.lists(
        st.tuples(st.sampled_from(("add", "trash", "restore", "delete")), st.integers(0, 4))
    )
)


@settings(max_examples=25, deadline=None)
@CHANGES
def test_the_counts_are_those_of_the_images_after_any_changes(steps):
    count_after(steps)


@pytest.mark.usefixtures("on_postgresql")
@settings(max_examples=6, deadline=None)
@CHANGES
def test_the_counts_of_postgresql_are_those_of_the_images(steps):
    count_after(steps)


def count_after(steps):
    async def run(folder: Path) -> None:
        async with open_shelf(folder) as shelf:
            made: list[imagen.Image] = []
            for step, number in steps:
                if step == "add":
                    made.append(await add(shelf, number))
                elif made:
                    await getattr(shelf.library, step)(made[number % len(made)])
            for state in ("kept", "trashed", "any"):
                counted: Counter[str] = Counter()
                async for image in shelf.library.find(state=state):
                    counted[image.created_at.date().isoformat()] += 1
                assert await days(shelf, state=state) == dict(counted)

    with TemporaryDirectory() as folder:
        trio.run(run, Path(folder))
