"""A home moves to PostgreSQL whole, though the move is killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import trio

import imagen
from imagen._results.images import Cost
from imagen._storage import moving
from imagen._storage.database import Database
from imagen._storage.engines import open_database
from imagen._storage.ledger import Ledger
from imagen._storage.spending import SpendingBy
from imagen._storage.statistics import StatisticsBy
from imagen._system.process_locks import OWNERS, ProcessLock
from imagen._system.secret import Secret
from imagen._system.threads import ThreadWorkers
from imagen.library import Library, move_to_postgresql
from imagen.prompts import PromptLibrary
from imagen.sharing._publishing.publications import enqueue
from imagen.testing import InlineWorkers
from tests.storage.test_postgresql import NOW, attempt
from tests.support.library import open_shelf

ROWS = (
    "INSERT INTO sessions VALUES ('s1', '{}', 2, 1, 1, NULL, 'me', 1.5, '{}')",
    "INSERT INTO sessions VALUES ('s2', '{}', 2, 1, 1, 5, 'me', 2.5, '{\"a\": 1}')",
    "INSERT INTO session_outcomes VALUES ('s1', 0, 1, 'i', NULL)",
    "INSERT INTO session_ends VALUES ('s1', 'FAILED', 'a' || char(0) || 'b')",
    "INSERT INTO session_stops VALUES ('s2')",
    "INSERT INTO submissions VALUES ('s2', 'sea', 1, 2.5, 0, 0, 0)",
    "INSERT INTO submission_turns VALUES ('sea', 2.5)",
    "INSERT INTO webhooks VALUES ('w2', 'r', '{}', 'dead', 3, NULL, 'gone', 1.0, 2.0)",
    "INSERT INTO webhooks VALUES ('w1', 'r', '{}', 'pending', 0, 1.25, NULL, 1.0, NULL)",
    "INSERT INTO removals VALUES ('f', 'image/png', 3.0, 4.5)",
    "INSERT INTO image_store VALUES (1, 'images-of-mine')",
    "INSERT INTO cache_hits VALUES (7, 'i', NULL, 0, 'fake-1', 'sea', 40000000, 5.0)",
    "INSERT INTO shares SELECT 'h1', id, NULL, 1.0, 9e9, NULL FROM images LIMIT 1",
    "INSERT INTO shares SELECT 'h2', NULL, id, 1.0, 9e9, 2.0 FROM collections LIMIT 1",
    "INSERT INTO image_hashes SELECT number, -5 - number FROM images WHERE tags <> '[]'",
    "DELETE FROM images_unhashed WHERE number IN (SELECT number FROM image_hashes)",
)


async def fill(home: Path) -> None:
    """Make a home with rows in every table."""
    async with open_shelf(home) as shelf:
        ledger = Ledger(shelf.database)
        for name, state in (("b", "succeeded"), ("a", "failed"), ("c", "unknown")):
            await ledger.reserve(attempt(name, tag="sea", economy=name == "c"))
            await ledger.mark_sent([name], "me", NOW)
            cost = Cost(usd=Decimal("0.07"), source="reported") if state != "unknown" else None
            await ledger.settle(name, state, cost or Cost(usd=None, source="unknown"), now=NOW)
        await ledger.reserve(attempt("d"))
        made = [
            await shelf.list_row(
                prompt=f"a lighthouse {number}, größer", day=number / 4, attempt_id="b", rating=3
            )
            for number in range(12)
        ]
        await shelf.library.tag(made[:5], ["sea", "x y"])
        await shelf.library.annotate(made[1], "灯塔")
        await shelf.library.trash(made[10:])
        await shelf.library.delete(made[11])
        await shelf.library.collections.create("trips/norway", notes="cold")
        await shelf.library.collections.add("trips/norway", [made[3], made[1], made[10]])
        await shelf.library.collections.add("trips", made[2])
        await shelf.database.write([enqueue(made[0].sha256, "image/png", store="s", now=1.0)])
        prompts = PromptLibrary(shelf.database, InlineWorkers(), shelf.clock)
        for text in ("a fjord", "a deep fjord"):
            await prompts.save("Fjord", text, tags=["sea"], notes="n", styles=["ink"])
        await shelf.database.write([(sql, ()) for sql in ROWS])


def digest(home: Path) -> str:
    return hashlib.sha256((home / "imagen.sqlite3").read_bytes()).hexdigest()


async def seen(database: Database, home: Path) -> list[object]:
    """What a user sees of a home."""
    library = Library(home / "images", database, InlineWorkers())
    prompts = PromptLibrary(database, InlineWorkers(), lambda: 0.0)
    ledger = Ledger(database)
    return [
        await SpendingBy(database).total(),
        await StatisticsBy(database).groups("model"),
        [await ledger.find(name) for name in "abcd"],
        [image async for image in library.find(state="any")],
        *[
            [image.id async for image in library.find(query)]
            for query in ("grosser", "灯塔", "sea")
        ],
        await library.collections.list(),
        [image.id for image in await library.collections.images("trips/norway")],
        await library.tags(),
        await library.size(),
        await library.timeline(),
        await prompts.history("Fjord"),
        await prompts.list("deep -shallow"),
        await database.read("SELECT id FROM webhooks ORDER BY rowid"),
        await database.read("SELECT * FROM publications"),
        await database.read("SELECT number FROM images_unhashed ORDER BY number"),
    ]


async def test_a_home_with_rows_in_every_table_is_the_same_in_postgresql(postgresql, tmp_path):
    await fill(tmp_path)
    before, url = digest(tmp_path), Secret(postgresql.new_schema())
    with closing(sqlite3.connect(tmp_path / "imagen.sqlite3")) as file:
        tables = [name for (name,) in file.execute(moving._TABLES)]
        empty = [name for name in tables if not file.execute(f"SELECT 1 FROM {name}").fetchall()]
    assert not empty
    moved = await move_to_postgresql(tmp_path, url)
    assert {*moved.rows, *moving._LEFT_OUT} == {*tables, "prompt_search"}
    assert all(moved.rows.values())
    assert moved.rows["images"] == 11
    assert digest(tmp_path) == before
    old = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    new = await open_database(tmp_path, url, ThreadWorkers())
    for expected, found in zip(await seen(old, tmp_path), await seen(new, tmp_path), strict=True):
        assert found == expected
    # What is new gets a number of its own.
    prompts = PromptLibrary(new, InlineWorkers(), lambda: 0.0)
    await prompts.save("Another", "x")
    assert len(await prompts.list()) == 2
    await old.aclose()
    await new.aclose()
    with pytest.raises(imagen.StorageError, match="moved to already"):
        await move_to_postgresql(tmp_path, url)


async def test_a_move_that_was_killed_goes_on(postgresql, tmp_path):
    await fill(tmp_path)
    url = postgresql.new_schema()
    code = (
        "import os, signal, sys, trio; from pathlib import Path;"
        " from imagen._storage import moving;"
        " from imagen._system.secret import Secret;"
        " moving._PAGE = 3; left = [9]\n"
        "def step(table, rows):\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "trio.run(lambda: moving.move_to_postgresql(Path(sys.argv[1]), Secret(sys.argv[2]),"
        " on_progress=step))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), url]
    killed = await trio.run_process(command, check=False, env=os.environ | {"PYTHONPATH": "."})
    assert killed.returncode == -signal.SIGKILL
    reached: dict[str, int] = {}
    moved = await move_to_postgresql(
        tmp_path,
        Secret(url),
        on_progress=lambda table, rows: reached.setdefault(table, rows),
    )
    assert reached["attempts"] == 4
    assert moved.rows["attempts"] == 4
    assert moved.rows["images"] == 11


async def test_a_home_with_an_open_client_is_not_moved(postgresql, tmp_path):
    await fill(tmp_path)
    url = Secret(postgresql.new_schema())
    lock = ProcessLock(tmp_path / OWNERS, "someone")
    with pytest.raises(imagen.StorageError, match="is open"):
        await move_to_postgresql(tmp_path, url)
    lock.release()
    await move_to_postgresql(tmp_path, url)


async def test_a_database_with_rows_of_its_own_is_left_alone(postgresql, tmp_path):
    await fill(tmp_path)
    url = Secret(postgresql.new_schema())
    other = await open_database(tmp_path, url, ThreadWorkers())
    await Ledger(other).reserve(attempt("mine"))
    with pytest.raises(imagen.StorageError, match="has attempts already"):
        await move_to_postgresql(tmp_path, url)
    assert len(await other.read("SELECT id FROM attempts")) == 1
    await other.aclose()


async def test_what_arrives_otherwise_is_found(postgresql, tmp_path, monkeypatch):
    await fill(tmp_path)
    put = moving._put

    def spoil(transaction, table, columns, rows, moved):
        if table == "attempts":
            at = list(columns).index("settled_nanousd") + 1
            rows = [(*row[:at], row[at] and row[at] + 1, *row[at + 1 :]) for row in rows]
        put(transaction, table, columns, rows, moved)

    monkeypatch.setattr(moving, "_put", spoil)
    with pytest.raises(imagen.StorageError, match="table attempts differs"):
        await move_to_postgresql(tmp_path, Secret(postgresql.new_schema()))


async def test_the_file_of_an_older_version_is_refused(postgresql, tmp_path):
    await fill(tmp_path)
    with closing(sqlite3.connect(tmp_path / "imagen.sqlite3")) as file:
        file.execute("PRAGMA user_version = 3")
    with pytest.raises(imagen.StorageError, match="another version"):
        await move_to_postgresql(tmp_path, Secret(postgresql.new_schema()))


async def test_the_command_tells_what_it_moved(postgresql, tmp_path):
    await fill(tmp_path)
    command = [sys.executable, "-m", "imagen", "migrate", "sqlite-to-postgres", "--json"]
    environment = os.environ | {"PYTHONPATH": ".", "IMAGEN_HOME": str(tmp_path)}
    without = await trio.run_process(command, env=environment, check=False, capture_stderr=True)
    assert without.returncode == 2
    assert b"IMAGEN_DATABASE_URL is not set" in without.stderr
    environment["IMAGEN_DATABASE_URL"] = postgresql.new_schema()
    done = await trio.run_process(command, env=environment, capture_stdout=True)
    record = json.loads(done.stdout)
    assert (record["kind"], record["rows"]["images"]) == ("moved", 11)
