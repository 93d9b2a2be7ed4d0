"""Move of a home from its SQLite file to PostgreSQL.

Pages of rows go over in one transaction each, with the place that they reach,
so that a move that was killed goes on there. Triggers of PostgreSQL keep the
sums; at the end they, and the numbers and sums of all columns, are compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path

import msgspec
import trio

from .._errors import StorageError
from .._system.process_locks import OWNERS, is_alive
from .._system.secret import Secret
from .._system.threads import ThreadWorkers, Workers
from .database import DATABASE_NAME, Database, Row, Transaction, Value
from .engines import open_database

__all__ = ["Moved", "MoveProgress", "move_to_postgresql"]

MoveProgress = Callable[[str, int], None]
"""Progress callback: receives the table, and its rows that are there."""

# Columns that order the rows of a table where its primary key does not do:
# rows that PostgreSQL numbers by itself go over in the order of that number, and
# a collection after the one that it lies in.
_KEYS = {
    "attempts": ("rowid",),
    "webhooks": ("rowid",),
    "collections": ("parent_id IS NOT NULL", "id"),
    "prompt_search": ("rowid",),
}
# What the triggers of PostgreSQL write while the others go over.
_KEPT_BY_TRIGGERS = ("totals", "totals_ever", "tags", "timeline", "library_size")
_LEFT_OUT = {*_KEPT_BY_TRIGGERS, "rate_sums"}
_TABLES = """
SELECT name FROM sqlite_master
WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '*_search*' ORDER BY name
"""
# Columns that they write.
_COUNTED = {"collections": "images"}
_PAGE = 500
_CLOSE_SECONDS = 5.0
# A modulus keeps sums of large numbers within 64 bits.
_MODULUS = 1_000_003
_STATE = "CREATE TABLE IF NOT EXISTS imagen_move (name text PRIMARY KEY, place text, moved bigint)"
_END = "end"


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What a move took over: rows by table."""

    rows: dict[str, int]


async def move_to_postgresql(
    home: Path,
    url: Secret,
    *,
    schema: str | None = None,
    workers: Workers | None = None,
    on_progress: MoveProgress = lambda table, rows: None,
) -> Moved:
    """Copy all rows of a home's SQLite file to an empty PostgreSQL database. The
    file stays as it is, and so do the files of images.

    It can be repeated after it was killed, and goes on where it was.

    Raises:
        ConfigurationError: the url is wrong, or psycopg is missing.
        StorageError: a client of the home is open, the file was not brought up
            to date, the database has rows of its own, or what arrived differs.
    """
    workers, path = workers or ThreadWorkers(), home / DATABASE_NAME
    await workers.run(partial(_check_home, home, path))
    database = await open_database(path, url, workers, schema)
    try:
        source = await workers.run(partial(_Source, path))
        try:
            rows = await _move_all(source, database, workers, on_progress)
        finally:
            source.close()
        await workers.run(partial(_check_home, home, path))
        await database.write([("INSERT OR IGNORE INTO imagen_move VALUES (?, NULL, 0)", (_END,))])
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await database.aclose()
    return Moved(rows=rows)


async def _move_all(
    source: _Source, database: Database, workers: Workers, on_progress: MoveProgress
) -> dict[str, int]:
    tables = await workers.run(partial(_tables, source))
    await database.transact(partial(_begin, tables=tables))
    rows = {table: await _move(source, database, workers, table, on_progress) for table in tables}
    await database.transact(_number_on)
    await _verify(source, database, workers, tables)
    return rows


def _check_home(home: Path, path: Path) -> None:
    if not path.is_file():
        raise StorageError(f"There is no database {path}: set IMAGEN_HOME to the home to move.")
    owners = home / OWNERS
    if owners.is_dir() and any(is_alive(owners, one.name) for one in owners.iterdir()):
        raise StorageError(f"A client of {home} is open: end every program that uses it first.")


class _Source:
    """One state of the SQLite file, as it is now. It is not written to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        self._database.text_factory = partial(str, encoding="utf-8", errors="replace")
        # That of SQLite ends at a NUL.
        self._database.create_function("length", 1, _length, deterministic=True)
        with ExitStack() as undo:
            undo.callback(self.close)
            self.read("BEGIN")
            self._check_version()
            undo.pop_all()

    def _check_version(self) -> None:
        newest = len(list(Path(__file__).with_name("migrations").glob("*.sql")))
        if self.read("PRAGMA user_version") != [(newest,)]:
            raise StorageError(
                f"The database {self._path} is of another version of imagen: open it once with this"
                " one, e.g. by `imagen library size` without IMAGEN_DATABASE_URL."
            )

    def read(self, sql: str, values: Row = ()) -> list[Row]:
        """Return the rows of a query."""
        try:
            return self._database.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"The database {self._path} cannot be read: {error}.") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _length(value: Value) -> int | None:
    return None if value is None else len(str(value))


def _tables(source: _Source) -> Sequence[str]:
    """Return what is copied, each table after those that it refers to."""
    order: TopologicalSorter[str] = TopologicalSorter({"prompt_search": ["prompts"]})
    for (name,) in source.read(_TABLES):
        if name not in _LEFT_OUT:
            references = source.read(f"PRAGMA foreign_key_list({name})")
            order.add(str(name), *(str(row[2]) for row in references if row[2] != name))
    return list(order.static_order())


def _begin(transaction: Transaction, tables: Sequence[str]) -> None:
    """Note the move before its first row.

    Raises:
        StorageError: the database has rows that no move brought.
    """
    if not transaction.run("SELECT 1 WHERE to_regclass('imagen_move') IS NOT NULL"):
        for table in tables:
            if transaction.run(f"SELECT 1 FROM {table} LIMIT 1"):
                raise StorageError(
                    f"The PostgreSQL database has {table} already: name an empty one, or another"
                    " IMAGEN_DATABASE_SCHEMA."
                )
        transaction.change(_STATE)
    if transaction.run("SELECT 1 FROM imagen_move WHERE name = ?", (_END,)):
        raise StorageError("This PostgreSQL database has been moved to already.")


async def _move(
    source: _Source, database: Database, workers: Workers, table: str, on_progress: MoveProgress
) -> int:
    keys, columns = await workers.run(partial(_columns, source, table))
    state = await database.read("SELECT place, moved FROM imagen_move WHERE name = ?", (table,))
    place, moved = (_read_place(state[0][0]), int(str(state[0][1]))) if state else (None, 0)
    on_progress(table, moved)
    if table == "images_unhashed" and not state:
        # The trigger of images has listed them all.
        await database.write([("DELETE FROM images_unhashed", ())])
    while rows := await workers.run(partial(_page, source, table, keys, columns, place)):
        place, moved = rows[-1][: len(keys)], moved + len(rows)
        await database.transact(partial(_put, table=table, columns=columns, rows=rows, moved=moved))
        on_progress(table, moved)
    return moved


def _columns(source: _Source, table: str) -> tuple[Sequence[str], Sequence[str]]:
    """Return the columns that order the rows of a table, and those to copy."""
    found = source.read(f"PRAGMA table_info({table})")
    primary = sorted((int(str(row[5])), str(row[1])) for row in found if row[5])
    keys = _KEYS.get(table) or [name for _, name in primary]
    names = [str(row[1]) for row in found if row[1] != _COUNTED.get(table)]
    return keys, ["rowid", *names] if table == "prompt_search" else names


def _read_place(place: Value) -> Row:
    return msgspec.json.decode(str(place), type=list[str | int | float | None])


def _page(
    source: _Source, table: str, keys: Sequence[str], columns: Sequence[str], place: Row | None
) -> list[Row]:
    """Rows behind a place, each with its key before its columns."""
    key, marks = ", ".join(keys), ", ".join("?" * len(keys))
    after = "" if place is None else f"WHERE ({key}) > ({marks})"
    sql = f"SELECT {key}, {', '.join(columns)} FROM {table} {after} ORDER BY {key} LIMIT {_PAGE}"
    return source.read(sql, place or ())


def _put(
    transaction: Transaction,
    table: str,
    columns: Sequence[str],
    rows: Sequence[Row],
    moved: int,
) -> None:
    width = len(rows[0]) - len(columns)
    marks = f"({', '.join('?' * len(columns))})"
    transaction.change(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {', '.join([marks] * len(rows))}",
        [value for row in rows for value in row[width:]],
    )
    place = msgspec.json.encode(list(rows[-1][:width])).decode()
    transaction.change(
        "INSERT INTO imagen_move VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
        " place = excluded.place, moved = excluded.moved",
        (table, place, moved),
    )


def _number_on(transaction: Transaction) -> None:
    """Let new rows take numbers behind those that came."""
    for table in ("prompts", "cache_hits"):
        transaction.run(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'number'), max(number)) FROM {table}"
        )


# --- verification -------------------------------------------------------------


async def _verify(
    source: _Source, database: Database, workers: Workers, tables: Sequence[str]
) -> None:
    for table in (*tables, *_KEPT_BY_TRIGGERS):
        sql = await workers.run(partial(_measures, source, table))
        expected = list((await workers.run(partial(source.read, sql)))[0])
        found = list((await database.read(sql))[0])
        if found != expected:
            raise StorageError(
                f"The table {table} differs in PostgreSQL ({found}, not {expected}). Use the SQLite"
                " file as before, make an empty database, and move again."
            )


def _measures(source: _Source, table: str) -> str:
    """Return the query for number and sums of a table, the same for both."""
    kinds = {str(row[1]): str(row[2]) for row in source.read(f"PRAGMA table_info({table})")}
    if table in _KEPT_BY_TRIGGERS:
        # A sum of nothing may have a row or none.
        sums = [f"coalesce(sum({name}), 0)" for name, kind in kinds.items() if kind == "INTEGER"]
        return f"SELECT {', '.join(sums)} FROM {table} WHERE images <> 0"
    found = [measure for name, kind in kinds.items() for measure in _measures_of(name, kind)]
    return f"SELECT count(*), {', '.join(found)} FROM {table}"


def _measures_of(name: str, kind: str) -> tuple[str, ...]:
    match kind:
        case "INTEGER":
            return f"count({name})", f"coalesce(sum({name} % {_MODULUS}), 0)"
        case "REAL":
            return f"count({name})", f"min({name})", f"max({name})"
        case _:
            return f"count({name})", f"coalesce(sum(length({name})), 0)"
