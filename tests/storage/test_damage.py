"""A database that is damaged, locked, read-only, or on a full disk: each has
its own sentence, and one damaged row does not stop the others.
"""

from __future__ import annotations

import sqlite3
import stat
import warnings
from pathlib import Path

import pytest

import imagen
from imagen._storage import database
from imagen._storage.database import Database
from imagen.testing import InlineWorkers
from tests.support.job_provider import PRICE, Works, die_at


def change(home: Path, *statements: str) -> None:
    """Run statements that no constraint and no trigger sees."""
    connection = sqlite3.connect(home / "imagen.sqlite3", isolation_level=None)
    connection.create_function("as_searched", 1, lambda text: text)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    triggers = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%UPDATE%'"
    ).fetchall()
    dropped = [f"DROP TRIGGER {name}" for name, _ in triggers]
    for statement in (*dropped, *statements, *(sql for _, sql in triggers)):
        connection.execute(statement)
    connection.close()


BROKEN_TEXT = "CAST(x'73fffe' AS TEXT)"
ATTEMPT_DAMAGE = {
    "state": f"UPDATE attempts SET state = {BROKEN_TEXT}",
    "request of no JSON": "UPDATE attempts SET request = '{'",
    "request of no text": f"UPDATE attempts SET request = {BROKEN_TEXT}",
    "receipt of no JSON": "UPDATE attempts SET receipt = '{'",
    "receipt of no text": f"UPDATE attempts SET receipt = {BROKEN_TEXT}",
    "model": f"UPDATE attempts SET model = {BROKEN_TEXT}",
    "time": "UPDATE attempts SET created_at = 1e300",
    "images": "UPDATE attempts SET images = -1",
    "money": "UPDATE attempts SET reserved_nanousd = -9223372036854775807",
    "source": f"UPDATE attempts SET cost_source = {BROKEN_TEXT}",
}


@pytest.mark.parametrize("step", ["mark_sent after", "mark_received after"])
@pytest.mark.parametrize("statement", ATTEMPT_DAMAGE.values(), ids=ATTEMPT_DAMAGE.keys())
async def test_a_damaged_attempt_does_not_stop_the_next(
    statement, step, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    await die_at(works, tmp_path, "sync-1", step, monkeypatch)
    change(tmp_path, statement)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        async with works.open(tmp_path) as client:
            assert await client.generate("y", model="sync-1")
            await client.spending()
            await client.unknown_attempts()


@pytest.mark.parametrize("statement", ATTEMPT_DAMAGE.values(), ids=ATTEMPT_DAMAGE.keys())
async def test_a_damaged_attempt_is_named(statement, autojump_clock, tmp_path, monkeypatch):
    works = Works()
    await die_at(works, tmp_path, "sync-1", "mark_sent after", monkeypatch)
    async with works.open(tmp_path) as client:
        (whole,) = await client.unknown_attempts()
    change(tmp_path, statement)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        async with works.open(tmp_path) as client:
            listed = await client.unknown_attempts()
            unknown_usd = (await client.spending()).unknown_usd
    said = " ".join(str(warning.message) for warning in caught)
    assert [record.id for record in listed] == [whole.id] or whole.id in said
    if "reserved_nanousd" not in statement:
        # Its money stays unknown, whatever else is damaged.
        assert unknown_usd == PRICE


async def test_a_damaged_attempt_is_named_beside_a_whole_one(autojump_clock, tmp_path, monkeypatch):
    works = Works()
    await die_at(works, tmp_path, "sync-1", "mark_sent after", monkeypatch)
    await die_at(works, tmp_path, "sync-1", "mark_sent after", monkeypatch)
    async with works.open(tmp_path) as client:
        first, second = await client.unknown_attempts()
    where = f"WHERE id = '{first.id}'"
    change(tmp_path, f"UPDATE attempts SET operation = 7, images = 0 {where}")
    change(tmp_path, f"UPDATE attempts SET receipt = {BROKEN_TEXT}, request = '{{' {where}")
    async with works.open(tmp_path) as client:
        damaged, untouched = await client.unknown_attempts()
        assert untouched == second
        assert (damaged.id, damaged.state, damaged.model) == (first.id, "unknown", "sync-1")
        assert damaged.reserved_usd == PRICE
        assert (await client.spending()).unknown_usd == 2 * PRICE


IMAGE_DAMAGE = {
    "request of no JSON": "UPDATE images SET request = '{'",
    "request of no text": f"UPDATE images SET request = {BROKEN_TEXT}",
    "tags": "UPDATE images SET tags = '{}'",
    "adjustments": "UPDATE images SET adjustments = '[7]'",
    "source": "UPDATE images SET cost_source = 'guessed'",
    "time": "UPDATE images SET created_at = 1e300",
    "media type": "UPDATE images SET media_type = 'image/none'",
}


@pytest.mark.parametrize("statement", IMAGE_DAMAGE.values(), ids=IMAGE_DAMAGE.keys())
async def test_a_damaged_image_is_named_and_stops_no_request(statement, autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as client:
        image = await client.generate("x", model="sync-1")
    change(tmp_path, statement)
    async with works.open(tmp_path) as client:
        with pytest.raises(imagen.StorageError, match=image.id) as caught:
            await client.library.list()
        assert "imagen library check --repair" in str(caught.value)
        assert await client.generate("y", model="sync-1")
        assert (await client.spending()).settled_usd == 2 * PRICE


REPAIRABLE = {**IMAGE_DAMAGE, "all of them": "; ".join(IMAGE_DAMAGE.values())}


@pytest.mark.parametrize("statement", REPAIRABLE.values(), ids=REPAIRABLE.keys())
async def test_a_check_rebuilds_a_damaged_row(statement, autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path) as client:
        image = await client.generate("x", model="sync-1")
    change(tmp_path, *statement.split("; "))
    async with works.open(tmp_path) as client:
        (finding,) = await client.library.check()
        assert (finding.kind, finding.image_id, finding.repaired) == ("unreadable", image.id, None)
        (finding,) = await client.library.check(repair=True)
        assert finding.repaired is not None
        assert await client.library.check() == []
        (found,) = await client.library.list()
        assert (found.id, found.data, found.cost.usd) == (image.id, image.data, PRICE)


# --- the file -----------------------------------------------------------------


async def opening(path: Path) -> str:
    with pytest.raises(imagen.StorageError) as caught:
        await Database.open(path, InlineWorkers())
    return caught.value.message


@pytest.mark.parametrize("data", [b"not a database" * 100, b"\0" * 4096, b"SQLite format 3\0" * 9])
async def test_a_file_that_is_no_database_is_said_to_be_damaged(tmp_path, data):
    path = tmp_path / "imagen.sqlite3"
    path.write_bytes(data)
    message = await opening(path)
    assert "damaged" in message
    assert "backups" in message
    assert path.read_bytes() == data


async def test_a_locked_file_is_said_to_be_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_SECONDS", 0.05)
    path = tmp_path / "imagen.sqlite3"
    opened = await Database.open(path, InlineWorkers())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(imagen.StorageError, match="Another program holds it"):
        await opened.write([("DELETE FROM attempts", ())])
    assert "Another program holds it" in await opening(path)
    other.close()
    await opened.write([("DELETE FROM attempts", ())])
    await opened.aclose()


async def test_a_full_disk_is_said_to_be_full(tmp_path):
    opened = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    ((pages,),) = await opened.read("PRAGMA page_count")
    await opened.read(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(imagen.StorageError, match="Free some space"):
        await opened.write(
            [("INSERT INTO attempts (id, provider, model, operation, images, request, state, owner,"
              " created_at) VALUES ('a', '', '', '', 1, ?, 'sent', '', 1.0)", ("x" * 100_000,))]
        )  # fmt: skip
    await opened.aclose()


async def test_a_file_that_is_read_only_is_said_to_be_so(tmp_path):
    opened = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    await opened.read("PRAGMA query_only = ON")
    with pytest.raises(imagen.StorageError, match="that can be written"):
        await opened.write([("DELETE FROM attempts", ())])
    await opened.aclose()


# --- backups ------------------------------------------------------------------


async def test_a_backup_is_whole_and_private(autojump_clock, tmp_path):
    works = Works()
    target = tmp_path / "copy.sqlite3"
    async with works.open(tmp_path / "home") as client:
        image = await client.generate("x", model="sync-1")
        await client.library.back_up(target)
        for wrong in (target, tmp_path / "no" / "copy.sqlite3"):
            with pytest.raises(imagen.StorageError, match="cannot be written"):
                await client.library.back_up(wrong)
    connection = sqlite3.connect(target)
    assert connection.execute("SELECT id FROM images").fetchall() == [(image.id,)]
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["copy.sqlite3"]


async def test_a_migration_is_preceded_by_a_backup_and_the_newest_are_kept(tmp_path):
    path = tmp_path / "imagen.sqlite3"
    scripts = Path(database.__file__).with_name("migrations")
    connection = sqlite3.connect(path)
    connection.executescript((scripts / "0001_attempts_and_images.sql").read_text("utf-8"))
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    folder = tmp_path / "backups"
    folder.mkdir()
    for year in range(2001, 2006):
        (folder / f"{year}0101T000000Z-1-v1.sqlite3").touch()
    (folder / "mine.sqlite3").touch()
    await (await Database.open(path, InlineWorkers())).aclose()
    await (await Database.open(path, InlineWorkers())).aclose()
    kept = sorted(file.name for file in folder.glob("*-v*.sqlite3"))
    assert len(kept) == 3
    assert (folder / "mine.sqlite3").exists()
    connection = sqlite3.connect(folder / kept[-1])
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


async def test_a_new_home_has_no_backup(tmp_path):
    await (await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())).aclose()
    assert not (tmp_path / "backups").exists()
