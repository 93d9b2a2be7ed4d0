"""PostgreSQL as the engine: the same tables and sums as SQLite, and what a
lost connection leaves.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen._policy.quotas import Admitted, StandingBudget
from imagen._results.images import Cost
from imagen._storage.database import Database, Transaction
from imagen._storage.engines import open_database
from imagen._storage.ledger import Attempt, Ledger
from imagen._storage.spending import SpendingBy
from imagen._storage.sql_dialect import bind, translate
from imagen._system.secret import Secret
from imagen._system.threads import ThreadWorkers
from imagen.testing import InlineWorkers, ScriptedTransport
from imagen_mcp._people import Person, settings_of
from tests.support.job_provider import Works
from tests.support.scripted_client import virtual_time

psycopg = pytest.importorskip("psycopg")
NOW = 1_826_000_000.25
# How images and prompts wait to be indexed there.
OF_POSTGRESQL = {"commits", "images_unindexed", "image_search", "prompt_search"}


def attempt(name: str, **changes: object) -> Attempt:
    made = Attempt(
        id=name,
        batch_id=None,
        provider="fake",
        model="fake-1",
        operation="generate",
        images=2,
        request_json='{"prompt": "100 % of a cat? ¿Sí! 猫"}',
        reserved_usd=Decimal("0.08"),
        owner="me",
        created_at=NOW,
    )
    return msgspec.structs.replace(made, **changes)


async def open_both(tmp_path, server) -> tuple[Database, str]:
    url = server.new_database()
    return await open_database(tmp_path / "x", Secret(url), ThreadWorkers()), url


async def test_every_table_has_the_columns_that_it_has_in_sqlite(postgresql, tmp_path):
    await (await Database.open(tmp_path / "a.sqlite3", InlineWorkers())).aclose()
    database, url = await open_both(tmp_path, postgresql)
    await database.aclose()
    with closing(sqlite3.connect(tmp_path / "a.sqlite3")) as file:
        expected = set(
            file.execute(
                "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
                " WHERE m.type = 'table' AND m.name NOT LIKE '%_search%'"
            )
        )
    with psycopg.connect(url) as connection:
        found = set(
            connection.execute(
                "SELECT table_name, column_name FROM information_schema.columns"
                " JOIN information_schema.tables USING (table_name)"
                " WHERE columns.table_schema = 'public' AND table_type = 'BASE TABLE'"
                " AND column_name <> 'rowid' AND table_name <> 'imagen_version'"
            ).fetchall()
        )
    assert {one for one in found if one[0] not in OF_POSTGRESQL} == expected


async def test_a_second_process_opens_the_same_tables(postgresql, tmp_path):
    first, url = await open_both(tmp_path, postgresql)
    await Ledger(first).reserve(attempt("a"))
    second = await open_database(tmp_path / "x", Secret(url), ThreadWorkers())
    assert await Ledger(second).find("a") == await Ledger(first).find("a")
    await first.aclose()
    await second.aclose()


async def test_tables_of_a_newer_imagen_are_refused(postgresql, tmp_path):
    database, url = await open_both(tmp_path, postgresql)
    await database.aclose()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE imagen_version SET version = 99")
    with pytest.raises(imagen.StorageError, match="newer imagen"):
        await open_database(tmp_path / "x", Secret(url), ThreadWorkers())


async def test_an_attempt_that_was_taken_over_is_not_sent(postgresql, tmp_path):
    database, _ = await open_both(tmp_path, postgresql)
    ledger = Ledger(database)
    await ledger.reserve(attempt("a"))
    await ledger.reserve(attempt("b"))
    row = await ledger.find("a")
    assert await ledger.take_over(row, "another")
    with pytest.raises(imagen.StorageError, match="was not sent"):
        await ledger.mark_sent(["b", "a"], "me", NOW)
    assert (await ledger.find("b")).state == "reserved"
    await database.aclose()


async def test_a_write_waits_for_a_server_that_restarts(postgresql, tmp_path):
    database, _ = await open_both(tmp_path, postgresql)
    ledger = Ledger(database)
    await ledger.reserve(attempt("a"))
    postgresql.stop()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ledger.mark_sent, ["a"], "me", NOW)
            await trio.sleep(0.5)
            await trio.to_thread.run_sync(postgresql.start)
    finally:
        if not postgresql.runs:
            postgresql.start()
    await ledger.settle("a", "succeeded", Cost(usd=Decimal("0.07"), source="reported"), now=NOW)
    total = await SpendingBy(database).total()
    assert (total.settled_usd, total.attempts.succeeded) == (Decimal("0.07"), 1)
    await database.aclose()


async def test_a_commit_whose_answer_was_lost_is_not_repeated(postgresql, tmp_path, monkeypatch):
    from imagen._storage import postgresql as module

    database, _ = await open_both(tmp_path, postgresql)
    run, calls = module._Commit.__call__, 0

    def lose_the_answer(self, connection):
        nonlocal calls
        calls += 1
        run(self, connection)
        if calls == 1:
            connection.close()
            raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(module._Commit, "__call__", lose_the_answer)
    await Ledger(database).reserve(attempt("a"))
    assert calls == 2
    assert (await SpendingBy(database).total()).attempts.in_flight == 1
    await database.aclose()


async def test_a_commit_that_a_crash_undid_is_repeated(postgresql, tmp_path):
    database, url = await open_both(tmp_path, postgresql)
    calls = 0

    def crash_before_the_end(transaction: Transaction) -> None:
        nonlocal calls
        calls += 1
        transaction.change("INSERT INTO removals VALUES ('f', 'image/png', 3.0, NULL)")
        if calls > 1:
            return
        postgresql.stop()
        postgresql.start()
        # The server gives them the number of the lost transaction.
        with psycopg.connect(url, autocommit=True) as other:
            for number in range(3):
                other.execute(f"CREATE TABLE other_{number} (one int)")

    await database.transact(crash_before_the_end)
    assert calls == 2
    assert await database.read("SELECT count(*) FROM removals") == [(1,)]
    await database.aclose()


async def test_a_value_that_no_column_holds_spoils_only_its_own_write(postgresql, tmp_path):
    database, _ = await open_both(tmp_path, postgresql)
    ledger = Ledger(database)
    errors: list[imagen.StorageError] = []

    async def reserve(name: str, **changes: object) -> None:
        try:
            await ledger.reserve(attempt(name, **changes))
        except imagen.StorageError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reserve, "a")
        nursery.start_soon(lambda: reserve("b", images=2**70))
        nursery.start_soon(lambda: reserve("c", tag="\ud800"))
        nursery.start_soon(reserve, "e")
    assert len(errors) == 2
    assert [await ledger.find(name) is not None for name in "abce"] == [True, False, False, True]
    await database.aclose()


async def test_what_is_not_there_yet_says_so(postgresql, tmp_path):
    database, _ = await open_both(tmp_path, postgresql)
    with pytest.raises(imagen.StorageError, match="not on PostgreSQL yet"):
        await database.read("SELECT iif(1, 2, 3) WHERE ? = 'a'", ("a",))
    with pytest.raises(imagen.StorageError, match="pg_dump"):
        await database.back_up(tmp_path / "copy")
    await database.aclose()


async def test_what_is_not_there_yet_spoils_only_its_own_write(postgresql, tmp_path):
    database, _ = await open_both(tmp_path, postgresql)
    ledger, errors = Ledger(database), []

    async def publish() -> None:
        try:
            await database.write([("INSERT INTO no_such_table VALUES (?)", ("a",))])
        except imagen.StorageError as error:
            errors.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ledger.reserve, attempt("a"))
        for _ in range(3):
            nursery.start_soon(publish)
        nursery.start_soon(ledger.reserve, attempt("b"))
    assert [await ledger.find(name) is not None for name in "ab"] == [True, True]
    assert errors == ["This call is not on PostgreSQL yet; docs/cluster.md lists what is."] * 3
    await database.aclose()


async def test_a_user_without_rights_is_not_taken_for_a_missing_part(postgresql, tmp_path):
    url = postgresql.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE ROLE weak LOGIN")
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    weak = url.replace("imagen@", "weak@")
    with pytest.raises(imagen.StorageError, match=r"permission denied|no schema") as raised:
        await open_database(tmp_path / "x", Secret(weak), ThreadWorkers())
    assert "not on PostgreSQL yet" not in str(raised.value)


async def test_a_client_is_open_until_its_connection_ends(postgresql, tmp_path):
    database, url = await open_both(tmp_path, postgresql)
    other = await open_database(tmp_path / "x", Secret(url), ThreadWorkers())
    mine, theirs = database.owners(tmp_path), other.owners(tmp_path)
    mine.hold("me")
    theirs.hold("another")
    assert mine.is_alive("me")
    assert theirs.is_alive("me")
    assert not theirs.is_alive("")
    assert not theirs.is_alive("unknown")
    mine.release()
    assert not theirs.is_alive("me")
    theirs.release()
    await database.aclose()
    await other.aclose()


async def test_a_lock_that_was_lost_is_taken_again(postgresql, tmp_path):
    database, url = await open_both(tmp_path, postgresql)
    other = await open_database(tmp_path / "x", Secret(url), ThreadWorkers())
    mine, theirs = database.owners(tmp_path), other.owners(tmp_path)
    mine.hold("me")
    theirs.hold("another")
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        )
    theirs.keep()
    assert not theirs.is_alive("me")
    mine.keep()
    assert theirs.is_alive("me")
    mine.release()
    theirs.release()
    await database.aclose()
    await other.aclose()


@pytest.mark.parametrize(
    ("name", "value"),
    [("idle_in_transaction_session_timeout", "30s"), ("tcp_keepalives_idle", "5")],
)
async def test_the_server_finds_out_that_a_client_is_gone(postgresql, tmp_path, name, value):
    database, _ = await open_both(tmp_path, postgresql)
    assert await database.read(f"SHOW {name}") == [(value,)]
    await database.aclose()


async def test_the_options_of_the_address_win(postgresql, tmp_path):
    url = Secret(f"{postgresql.new_database()}?options=-c%20tcp_keepalives_idle%3D60")
    database = await open_database(tmp_path / "x", url, ThreadWorkers())
    assert await database.read("SHOW tcp_keepalives_idle") == [("60",)]
    await database.aclose()


async def test_others_get_time_to_take_their_locks_again(postgresql, tmp_path, monkeypatch):
    database, _ = await open_both(tmp_path, postgresql)
    mine = database.owners(tmp_path)
    mine.hold("me")
    assert not mine.is_alive("another")
    postgresql.stop()
    postgresql.start()
    mine.keep()
    assert mine.is_alive("another")
    late = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: late)
    assert not mine.is_alive("another")
    mine.release()
    await database.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:s3cret@127.0.0.1:1/x",
        "postgresql://u:s3cret@127.0.0.1:1/x?sslmode=nonsense",
        "postgresql://u:s3cret@[::1/x",
        "postgresql://u:s3cret@127.0.0.1:port/x",
        "postgresql://u:s3cret@127.0.0.1/x?unknown_word=1",
        "postgres://u:s3%63ret@no-such-host.invalid/x",
    ],
)
async def test_no_error_shows_the_password(url, tmp_path):
    with pytest.raises(imagen.ImagenError) as raised:
        await open_database(tmp_path / "x", Secret(url), ThreadWorkers())
    shown = [str(raised.value), str(raised.value.__cause__), repr(raised.value)]
    assert not [text for text in shown if "s3cret" in text or "s3%63ret" in text]
    assert "IMAGEN_DATABASE_URL" in str(raised.value)


@pytest.mark.parametrize(
    ("sql", "translated", "values"),
    [
        ("SELECT a FROM b WHERE c = ?", "SELECT a FROM b WHERE c = %s", (1,)),
        ("SELECT '%' WHERE a = ?2", "SELECT '%%' WHERE a = %(p2)s", {"p1": 1, "p2": 2}),
        ("FROM a INDEXED BY b WHERE c", "FROM a  WHERE c", ()),
        ("WHERE a IN () AND b", "WHERE a IN (NULL) AND b", ()),
        ("FROM a CROSS JOIN b ON c", "FROM a JOIN b ON c", ()),
        ("WHERE NOT economy AND a", "WHERE economy = 0 AND a", ()),
        ("WHERE economy AND a", "WHERE economy <> 0 AND a", ()),
        (
            "INSERT OR IGNORE INTO a VALUES (?)",
            "INSERT INTO a VALUES (%s) ON CONFLICT DO NOTHING",
            (1,),
        ),
    ],
)
def test_statements_are_translated(sql, translated, values):
    given = tuple(values.values()) if isinstance(values, dict) else values
    assert translate(sql) == translated
    assert bind(translated, given) == values


async def test_clients_of_one_budget_never_pass_it_together(postgresql, tmp_path):
    url = Secret(postgresql.new_database())
    databases = [await open_database(tmp_path / "x", url, ThreadWorkers()) for _ in range(4)]
    budget = StandingBudget(images=50, per="ever")
    admitted: list[str] = []

    async def reserve(database: Database, name: str) -> None:
        verdict = await Ledger(database).reserve(attempt(name), [budget])
        if isinstance(verdict, Admitted):
            admitted.append(name)

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(reserve, databases[number % 4], str(number))
    assert len(admitted) == 25
    for database in databases:
        await database.aclose()


def open_at(works: Works, home: Path, url: Secret):
    return imagen.open_client(
        msgspec.structs.replace(works.settings(home), database_url=url),
        library=home.parent / "shared",
        transport=lambda access: ScriptedTransport(works.answer),
        workers=InlineWorkers(),
        clock=virtual_time,
    )


async def test_a_client_with_another_home_finds_the_session(autojump_clock, postgresql, tmp_path):
    works, url = Works(), Secret(postgresql.new_database())
    async with open_at(works, tmp_path / "one", url) as client:
        session = client.start_session("x", n=3, model="sync-1")
        await session.wait_finished()
        async with open_at(works, tmp_path / "two", url) as other:
            await trio.sleep(1)
            again = await other.sessions.get(session.id)
            await again.wait_finished()
            assert [one.id for one in again.outcomes] == [one.id for one in session.outcomes]
            assert (await other.spending()).images == 3
    assert works.orders == 3
    assert not (tmp_path / "one" / "imagen.sqlite3").exists()


async def test_people_of_one_database_have_a_schema_each(autojump_clock, postgresql, tmp_path):
    # The file of tokens keeps them apart by their homes alone with SQLite.
    works, url = Works(), Secret(postgresql.new_database())
    server = msgspec.structs.replace(works.settings(tmp_path), database_url=url)
    options = {"library": tmp_path / "images", "workers": InlineWorkers(), "clock": virtual_time}
    transport = lambda access: ScriptedTransport(works.answer)  # noqa: E731
    anna, berta = (settings_of(Person(name=name), server) for name in ("anna-b", "berta"))
    async with (
        imagen.open_client(anna, transport=transport, **options) as hers,
        imagen.open_client(berta, transport=transport, **options) as others,
    ):
        session = hers.start_session("x", n=1, model="sync-1")
        await session.wait_finished()
        assert await others.sessions.list() == []
        assert (await others.spending()).images == 0
        with pytest.raises(imagen.SessionNotFoundError):
            await others.sessions.follow(session.id)
    async with imagen.open_client(anna, transport=transport, **options) as hers:
        assert (await hers.spending()).images == 1


@pytest.mark.parametrize("name", ["", "A", "a b", 'a"b', "a;", "a" * 21])
def test_a_schema_has_a_plain_name(name, tmp_path):
    given = {"IMAGEN_HOME": str(tmp_path), "IMAGEN_DATABASE_SCHEMA": name}
    if name:
        with pytest.raises(imagen.ConfigurationError, match="IMAGEN_DATABASE_SCHEMA"):
            imagen.load_settings(given)
    else:
        assert imagen.load_settings(given).database_schema is None


async def test_without_psycopg_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "imagen._storage.postgresql", None)
    with pytest.raises(imagen.ConfigurationError, match=r"imagen-trio\[cluster\]"):
        await open_database(tmp_path / "x", Secret("postgresql://127.0.0.1/x"), ThreadWorkers())


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/x", "u:s3cret@h", "/x", "sqlite:///s3cret"])
def test_the_address_of_another_database_is_refused(url, tmp_path):
    with pytest.raises(imagen.ConfigurationError, match="IMAGEN_DATABASE_URL") as raised:
        imagen.load_settings({"IMAGEN_HOME": str(tmp_path), "IMAGEN_DATABASE_URL": url})
    assert "s3cret" not in str(raised.value)
