"""The database, the journal and the library: whole or absent, for every writer
and at every fault.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
import subprocess
import sys
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import imagen
from imagen._storage.database import Database, from_nanousd, to_nanousd
from imagen._system.threads import ThreadWorkers
from imagen.library._files import ImageFiles
from imagen.testing import InlineWorkers
from tests.support.images import PNG, png
from tests.support.scripted_client import PRICE, FakeProvider, images_reply, open_test_client


@given(st.decimals(0, 10**6, places=9))
def test_money_survives_the_database(usd):
    assert from_nanousd(to_nanousd(usd)) == usd


def test_unknown_money_stays_unknown():
    assert to_nanousd(None) is None
    assert from_nanousd(None) is None


async def test_writers_that_queue_up_share_one_commit(tmp_path):
    database = await Database.open(tmp_path / "a.sqlite3", ThreadWorkers())
    await database.write([("CREATE TABLE t (x INTEGER)", ())])
    commits = 0
    execute = database._engine.execute

    def count(statements):
        nonlocal commits
        commits += 1
        execute(statements)

    database._engine.execute = count
    async with trio.open_nursery() as nursery:
        for x in range(300):
            nursery.start_soon(database.write, [("INSERT INTO t VALUES (?)", (x,))])
    assert await database.read("SELECT count(*), sum(x) FROM t") == [(300, sum(range(300)))]
    assert commits < 30
    await database.aclose()


async def test_a_write_that_fails_is_told_to_everyone_in_its_group(tmp_path):
    database = await Database.open(tmp_path / "a.sqlite3", ThreadWorkers())
    await database.write([("CREATE TABLE t (x INTEGER UNIQUE)", ())])
    failed = 0

    async def write(x: int) -> None:
        nonlocal failed
        try:
            await database.write([("INSERT INTO t VALUES (?)", (x,))])
        except imagen.StorageError:
            failed += 1

    async with trio.open_nursery() as nursery:
        for x in (1, 2, 1):
            nursery.start_soon(write, x)
    assert failed
    assert (await database.read("SELECT count(*) FROM t"))[0][0] == 3 - failed
    await database.write([("INSERT INTO t VALUES (7)", ())])
    await database.aclose()


async def test_a_write_is_not_torn_by_a_cancellation(tmp_path):
    database = await Database.open(tmp_path / "a.sqlite3", ThreadWorkers())
    await database.write([("CREATE TABLE t (x INTEGER)", ())])
    with trio.CancelScope() as scope:
        scope.cancel()
        await database.write([("INSERT INTO t VALUES (1)", ())])
    assert (await database.read("SELECT count(*) FROM t"))[0][0] == 1
    await database.aclose()


async def test_two_processes_share_one_home(tmp_path):
    code = (
        "import sys, trio, imagen\nasync def main():\n    async with imagen.open_client() as"
        " client:\n        async with client.open_batch('x', n=15, size='64x64') as batch:\n       "
        "     async for outcome in batch: assert isinstance(outcome, imagen.Image),"
        " outcome\ntrio.run(main)"
    )
    environ = {"IMAGEN_HOME": str(tmp_path), "HOME": str(tmp_path)}
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(partial(trio.run_process, [sys.executable, "-c", code], env=environ))
    async with imagen.open_client(imagen.load_settings(environ)) as client:
        assert (await client.spending()).attempts.succeeded == 45
        assert len(await client.library.list(limit=100)) == 45


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "imagen.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(imagen.StorageError, match="newer imagen"):
        await Database.open(path, InlineWorkers())


async def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path):
    path = tmp_path / "imagen.sqlite3"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(imagen.StorageError, match="cannot be opened"):
        await Database.open(path, InlineWorkers())


# --- the library --------------------------------------------------------------


async def test_pages_go_on_where_the_last_one_ended(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch("a cat", n=7, max_at_once=1) as batch:
            made = [outcome.id async for outcome in batch]
        pages, after = [], None
        while True:
            page = await client.library.list(limit=3, after=after)
            pages.append([image.id for image in page])
            if (after := page.cursor) is None:
                break
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [id_ for page in pages for id_ in page] == made[::-1]


async def test_an_image_is_found_by_the_beginning_of_its_id(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        image = await client.generate("a cat")
        assert await client.library.get(image.id[:6]) == image
        assert await client.library.get("0" * 16) is None
        for hostile in ("", "%", "../../etc/passwd", "' OR 1=1 --", "é"):
            found = await client.library.get(hostile)
            assert found is None or hostile == ""


async def test_an_ambiguous_beginning_of_an_id_is_refused(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch("a cat", n=40) as batch:
            ids = [outcome.id async for outcome in batch]
        first = next(
            letter
            for letter in "0123456789abcdef"
            if sum(id_.startswith(letter) for id_ in ids) > 1
        )
        with pytest.raises(imagen.InvalidRequestError, match="Ambiguous image id"):
            await client.library.get(first)


async def test_deleting_keeps_a_file_that_another_image_has_too(autojump_clock):
    async with open_test_client(lambda request: images_reply()) as (client, _):
        one, other = await client.generate("a cat"), await client.generate("a cat")
        assert one.path == other.path
        assert await client.library.delete(one.id)
        assert other.data == PNG
        assert await client.library.delete(other.id)
        assert not other.path.exists()
        assert not await client.library.delete(other.id)
        assert (await client.spending()).settled_usd == 2 * PRICE


def test_a_write_that_breaks_leaves_no_half_file(tmp_path, monkeypatch):
    files = ImageFiles(tmp_path, InlineWorkers())

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("imagen._system.atomic_files.os.fsync", fail)
    with pytest.raises(imagen.StorageError, match="No space left"):
        files.write(PNG, files.prepare(PNG).path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


async def test_a_full_disk_is_noticed_before_anything_is_sent(autojump_clock, monkeypatch):
    monkeypatch.setattr("imagen.library._files._ROOM_BYTES", 1 << 62)
    async with open_test_client(FakeProvider()) as (client, transport):
        with pytest.raises(imagen.StorageError, match="nothing was sent"):
            await client.generate("a cat")
        assert not transport.requests


async def test_a_disk_that_fills_up_meanwhile_loses_no_image(autojump_clock, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with open_test_client(FakeProvider()) as (client, _):
        monkeypatch.setattr("imagen._system.atomic_files.os.fsync", fail)
        image = await client.generate("a cat")
        assert image.data == PNG
        assert image.path is None
        assert "No space left" in image.storage_error
        assert (await client.spending()).settled_usd == PRICE


async def test_a_database_that_fails_after_the_image_was_paid_hands_it_over(
    autojump_clock, monkeypatch
):
    async with open_test_client(FakeProvider()) as (client, _):
        write = Database.write

        async def fail_to_settle(self, statements):
            if any("settled_nanousd = ?" in sql for sql, _ in statements):
                raise imagen.StorageError("The disk is full.")
            await write(self, statements)

        monkeypatch.setattr(Database, "write", fail_to_settle)
        image = await client.generate("a cat")
        assert image.path.read_bytes() == PNG
        assert image.storage_error == "The disk is full."
        monkeypatch.undo()
        spending = await client.spending()
        # The row still says that it is in flight, which counts as spent.
        assert spending.attempts.in_flight == 1
        assert spending.reserved_usd == PRICE


async def test_files_are_named_by_what_is_in_them(autojump_clock):
    colours = iter([(1, 2, 3), (4, 5, 6), (1, 2, 3)])
    async with open_test_client(lambda request: images_reply(data=png(next(colours)))) as (
        client,
        _,
    ):
        async with client.open_batch("a cat", n=3) as batch:
            images = [outcome async for outcome in batch]
        assert len({image.path for image in images}) == 2
        for image in images:
            assert hashlib.sha256(image.data).hexdigest() == image.sha256 == image.path.stem


async def test_settled_costs_are_the_sum_of_their_images(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, _):
        async with client.open_batch("a cat", n=7, together=True) as batch:
            costs = [outcome.cost.usd async for outcome in batch]
        assert sum(costs) == (await client.spending()).settled_usd == Decimal("0.28")


def test_nothing_of_sqlite_is_left_open(tmp_path: Path):
    code = (
        "import trio, imagen\nasync def main():\n    async with imagen.open_client():"
        " pass\ntrio.run(main)"
    )
    environ = {"IMAGEN_HOME": str(tmp_path), "PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


async def test_several_may_open_a_new_home_at_once(tmp_path):
    async def open_one(path: Path) -> None:
        await (await Database.open(path, ThreadWorkers())).aclose()

    for number in range(10):
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(open_one, tmp_path / str(number) / "imagen.sqlite3")


@pytest.mark.parametrize("value", [2**64, "\udc80"])
async def test_a_value_that_no_column_holds_is_refused_and_affects_no_other(tmp_path, value):
    database = await Database.open(tmp_path / "x.sqlite3", ThreadWorkers())
    await database.write([("CREATE TABLE t (x)", ())])
    refused: list[str] = []

    async def write(one: int | str) -> None:
        try:
            await database.write([("INSERT INTO t VALUES (?)", (one,))])
        except imagen.StorageError as error:
            refused.append(error.message)

    try:
        async with trio.open_nursery() as nursery:
            for one in (1, 2, value, 3):
                nursery.start_soon(write, one)
        assert sorted(await database.read("SELECT x FROM t")) == [(1,), (2,), (3,)]
        assert len(refused) == 1
        with pytest.raises(imagen.InvalidRequestError):
            await database.read("SELECT x FROM t WHERE x = ?", (value,))
    finally:
        await database.aclose()


async def test_a_seed_that_cannot_be_kept_is_refused_before_anything_is_paid(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        with pytest.raises(imagen.InvalidRequestError, match="seed"):
            await client.generate("a cat", seed=2**63)
        assert not transport.requests


async def test_an_image_whose_provider_reports_a_seed_beyond_64_bits_is_kept(autojump_clock):
    def draw(call: imagen.providers.Call) -> imagen.providers.Exchange:
        yield imagen.providers.Wait(seconds=1)
        return imagen.providers.GeneratedImages(
            images=(imagen.providers.GeneratedImage(data=PNG, seed=2**64 - 1),)
        )

    model = {"provider": "large", "price": {"usd_per_image": "0.04"}}
    provider = imagen.providers.Provider(
        name="large", operations={"generate": draw}, models={"large-1": model}
    )
    access = imagen.load_settings({}, providers=[provider]).access
    async with open_test_client(FakeProvider(), access=access) as (client, _):
        image = await client.generate("a cat", model="large-1")
        assert image.seed == 2**64 - 1
        assert [kept.id for kept in await client.library.list()] == [image.id]
