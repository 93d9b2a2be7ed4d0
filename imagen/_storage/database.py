"""The database: group commit for any engine, and SQLite with its migrations.
`postgresql` is the other engine.

A durable commit costs 0.2 ms for one row and 0.8 ms for a hundred, and each
thread hop 0.15 ms. So writers queue their statements, and one of them commits
the whole queue in one transaction.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from pathlib import Path
from typing import Protocol, Self, TypeVar

from .._errors import InvalidRequestError, StorageError
from .._results.prices import tidy_usd
from .._system.atomic_files import PART
from .._system.groups import Groups
from .._system.private_files import make_private_file, make_private_folder
from .._system.threads import Workers
from .full_text import as_searched, image_facets, input_hashes
from .news import Ear
from .owners import FileOwners, Owners

__all__ = [
    "DATABASE_NAME",
    "NO_VALUES",
    "Connection",
    "Cursor",
    "Database",
    "Engine",
    "Row",
    "SqliteEngine",
    "Statement",
    "Transaction",
    "Value",
    "Work",
    "from_nanousd",
    "no_value",
    "to_int",
    "to_nanousd",
]

Result = TypeVar("Result")
Value = str | int | float | None
Row = Sequence[Value]
Statement = tuple[str, Row]

# File of the home.
DATABASE_NAME = "imagen.sqlite3"
# Folder of the home with copies from before a migration.
BACKUPS = "backups"
_KEPT_BACKUPS = 3
_NANO = Decimal("1e-9")
# A process that holds the write lock for longer than this is stuck.
_LOOK_SECONDS = 0.01
_BUSY_SECONDS = 10.0
# Cleanup writes are shielded; a disk that hangs must not hang the program.
_WRITE_SECONDS = 30.0
# What sqlite3 raises for a number beyond 64 bits, and for a lone surrogate.
NO_VALUES = (OverflowError, UnicodeEncodeError)


def to_nanousd(usd: Decimal | None) -> int | None:
    """US dollars as a whole number of billionths."""
    return None if usd is None else int(usd.quantize(_NANO, ROUND_HALF_UP).scaleb(9))


def from_nanousd(nanousd: Value) -> Decimal | None:
    """The way back."""
    return tidy_usd(Decimal(nanousd).scaleb(-9)) if isinstance(nanousd, int) else None


def to_int(value: Value) -> int:
    """A column of integers."""
    assert isinstance(value, int)
    return value


class Cursor(Protocol):
    """Result of one statement."""

    @property
    def rowcount(self) -> int: ...

    def fetchall(self) -> list[Row]: ...


class Connection(Protocol):
    """Connection that takes the SQL of SQLite."""

    def execute(self, sql: str, values: Row, /) -> Cursor: ...


class Transaction:
    """Statements of one exclusive transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def run(self, sql: str, values: Row = ()) -> list[Row]:
        """Run one statement and return its rows."""
        return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, values: Row = ()) -> int:
        """Run one statement and return the number of changed rows."""
        return self._connection.execute(sql, values).rowcount


class Work:
    """Work of one caller in a transaction with others, and how it ended."""

    def __init__(self, call: Callable[[Transaction], None]) -> None:
        self.call = call
        self.error: StorageError | None = None


class Engine(Protocol):
    """Blocking side of a database; every method may raise StorageError."""

    # As errors name the database; it holds no secret.
    name: str
    # Whether `ear` can be called.
    tells_news: bool

    def ear(self) -> Ear:
        """Return a connection on which other processes tell what they have
        written.
        """
        ...

    def execute(self, group: Sequence[Work]) -> None:
        """Commit a group in one transaction.

        Raises:
            OverflowError, UnicodeEncodeError: no column can hold a value of it.
        """
        ...

    def look(self, work: Callable[[Transaction], Result]) -> Result:
        """Run several queries on the same state."""
        ...

    def fetch(self, sql: str, values: Row) -> list[Row]:
        """Return the rows of a query."""
        ...

    def prepare(self, statements: Sequence[Statement]) -> None:
        """Run statements on this connection, and on each that replaces it."""
        ...

    def back_up(self, target: Path) -> None:
        """Write a copy to a new file."""
        ...

    def owners(self, folder: Path) -> Owners:
        """Return the open clients; `folder` is that of their lock files, if the
        engine needs any.
        """
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...


class Database:
    """Reads and durable writes. Every method runs the engine through the
    workers, one call at a time.
    """

    def __init__(self, engine: Engine, workers: Workers) -> None:
        self._engine = engine
        self._workers = workers
        self._groups = Groups(self._commit, seconds=_WRITE_SECONDS)

    @classmethod
    async def open(cls, path: Path, workers: Workers) -> Self:
        """Opens or creates the SQLite file and brings its tables up to date.

        Raises:
            StorageError: the file or its folder cannot be written, or a newer
                version of imagen wrote it.
        """
        return cls(await workers.run_serially(lambda: SqliteEngine(path)), workers)

    async def write(self, statements: Iterable[Statement]) -> None:
        """Commit statements in one transaction, possibly with those of other
        callers; durable when this returns.

        A cancellation does not interrupt it, as the statements record facts.

        Raises:
            StorageError: nothing of the group was written.
        """
        kept = list(statements)

        await self.transact(lambda transaction: _run_all(transaction, kept))

    async def transact(self, work: Callable[[Transaction], Result]) -> Result:
        """Run `work` in an exclusive transaction and return its result once
        committed.

        Not interrupted by a cancellation. An exception of the work undoes the
        whole group: it must raise none.

        Raises:
            StorageError: nothing of the group was written, or this work holds a
                value that the database cannot.
        """
        results: list[Result] = []

        def call(transaction: Transaction) -> None:
            results.append(work(transaction))

        mine = Work(call)
        if not await self._groups.join(mine):
            raise StorageError(
                f"The database {self._engine.name} did not answer within"
                f" {_WRITE_SECONDS:g} seconds."
            )
        if mine.error is not None:
            raise StorageError(mine.error.message) from mine.error
        return results[-1]

    async def read(self, sql: str, values: Row = ()) -> list[Row]:
        """The rows of a query.

        Raises:
            StorageError: the file cannot be read.
            InvalidRequestError: there can be no such value.
        """
        return await self._workers.run_serially(lambda: self._engine.fetch(sql, values))

    async def look(self, work: Callable[[Transaction], Result]) -> Result:
        """Runs several queries, of which one may depend on another, on the same
        state of the file. It changes nothing.

        Raises:
            StorageError: the file cannot be read.
            InvalidRequestError: there can be no such value.
        """
        return await self._workers.run_serially(lambda: self._engine.look(work))

    async def prepare(self, statements: Iterable[Statement]) -> None:
        """Run statements that concern this connection alone; where it breaks,
        the next one has them too.

        Raises:
            StorageError: they could not be run.
        """
        kept = list(statements)
        await self._workers.run_serially(lambda: self._engine.prepare(kept))

    async def back_up(self, target: Path) -> None:
        """Write a copy of the whole database to a new file.

        Raises:
            StorageError: there is a file already, or it cannot be written.
        """
        await self._workers.run_serially(lambda: self._engine.back_up(target))

    async def aclose(self) -> None:
        """Closes the database; later calls fail."""
        await self._workers.run_serially(self._engine.close)

    def owners(self, folder: Path) -> Owners:
        """Return the open clients of this database; `folder` is that of their
        lock files, if the engine needs any.
        """
        return self._engine.owners(folder)

    @property
    def tells_news(self) -> bool:
        """True if there is an `ear`."""
        return self._engine.tells_news

    def ear(self) -> Ear:
        """Return a connection on which other processes tell what they have
        written. Blocking: call it through the workers.

        Raises:
            StorageError: the server does not answer.
        """
        return self._engine.ear()

    async def _commit(self, group: Sequence[Work]) -> None:
        try:
            await self._workers.run_serially(lambda: self._engine.execute(group))
        except StorageError as error:
            for work in group:
                work.error = error
        except NO_VALUES:
            await self._workers.run_serially(lambda: self._execute_each(group))

    def _execute_each(self, group: Sequence[Work]) -> None:
        """One of the group holds a value that no column can store: only that
        one is not written.
        """
        for work in group:
            try:
                self._engine.execute([work])
            except StorageError as error:
                work.error = error
            except NO_VALUES as error:
                work.error = StorageError(
                    f"The database {self._engine.name} cannot hold it: a number is beyond 64 bits,"
                    " or a text is not valid."
                )
                work.error.__cause__ = error


def _run_all(transaction: Transaction, statements: Sequence[Statement]) -> None:
    for sql, values in statements:
        transaction.change(sql, values)


class SqliteEngine:
    """SQLite file."""

    tells_news = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._connection = _open_connection(path)

    def owners(self, folder: Path) -> Owners:
        return FileOwners(folder)

    def ear(self) -> Ear:
        raise StorageError("SQLite tells no news: look at the file now and then.")

    def close(self) -> None:
        self._connection.close()

    def execute(self, group: Sequence[Work]) -> None:
        transaction = Transaction(self._connection)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for work in group:
                    work.call(transaction)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _broken(self._path, "written", error) from error

    def prepare(self, statements: Sequence[Statement]) -> None:
        self.execute([Work(lambda transaction: _run_all(transaction, statements))])

    def back_up(self, target: Path) -> None:
        try:
            _copy(self._connection, target)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                f"The backup {target} cannot be written: {error}. Name a new file in a folder that"
                " is there."
            ) from error

    def look(self, work: Callable[[Transaction], Result]) -> Result:
        try:
            self._connection.execute("BEGIN")
            try:
                return work(Transaction(self._connection))
            finally:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise _broken(self._path, "read", error) from error
        except NO_VALUES as error:
            raise no_value() from error

    def fetch(self, sql: str, values: Row) -> list[Row]:
        try:
            return self._connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _broken(self._path, "read", error) from error
        except NO_VALUES as error:
            raise no_value() from error


def no_value() -> InvalidRequestError:
    return InvalidRequestError(
        "Nothing can be found by that: a number is beyond 64 bits, or a text is not valid."
    )


def _broken(path: Path, what: str, error: OSError | sqlite3.Error) -> StorageError:
    return StorageError(f"The database {path} cannot be {what}: {error}. {_what_to_do(error)}")


def _what_to_do(error: OSError | sqlite3.Error) -> str:
    # The rest of the code says more about the same fault.
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "Another program holds it: end that one, or try again later."
        case sqlite3.SQLITE_FULL:
            return "Free some space there."
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return (
                f"It is damaged: move it away, and put the newest file of {BACKUPS} in its place."
                " Without one, `imagen library check --repair` renames it, and lists the images"
                " again from their files; all else that was in it is lost."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return "Set IMAGEN_HOME to a folder that can be written, or make this one so."
        case sqlite3.SQLITE_IOERR:
            return "Check the disk and its free space."
        case _ if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            return "Free some space there."
        case _ if isinstance(error, OSError):
            return "Set IMAGEN_HOME to a folder that can be written, or make this one so."
        case _:
            return "Try again; if it stays, report it."


def _open_connection(path: Path) -> sqlite3.Connection:
    try:
        make_private_folder(path.parent)
        # SQLite gives its log and shared memory the rights of the database.
        make_private_file(path)
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        # Damaged text is read as far as it is text; its row is named by what
        # reads it.
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        _use_wal(connection)
        # FULL makes a commit durable; NORMAL would lose the last ones in a
        # power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # Pages, 32 MB: rows of a large library land all over it, and moving
        # them there from the log is cheaper by the dozen.
        connection.execute("PRAGMA wal_autocheckpoint = 8192")
        # KiB. The system keeps the file in memory anyway: eight times as much
        # takes a tenth more images in, of a million.
        connection.execute("PRAGMA cache_size = -1024")
        connection.create_function("as_searched", 1, as_searched, deterministic=True)
        connection.create_function("image_facets", 13, image_facets, deterministic=True)
        connection.create_function("input_hashes", 1, input_hashes, deterministic=True)
        _migrate(connection, path)
        # What a statement may have to undo is kept in memory: in a file of
        # /var/tmp, an image takes 18 pages, and that folder may be full.
        connection.execute("PRAGMA temp_store = MEMORY")
    except (OSError, sqlite3.Error) as error:
        raise _broken(path, "opened", error) from error
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Tries for as long as a lock is waited for elsewhere: this one statement
    does not wait, where several open a new file.
    """
    give_up_at = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if (
                error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY
                or time.monotonic() > give_up_at
            ):
                raise
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    scripts = sorted(Path(__file__).with_name("migrations").glob("*.sql"))
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if 0 < version < len(scripts):
        _back_up_before(connection, path, version)
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(scripts):
        connection.execute("ROLLBACK")
        raise StorageError("The database was written by a newer imagen; update this one.")
    for number, script in enumerate(scripts[version:], start=version + 1):
        for statement in _statements(script.read_text("utf-8")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")


def _back_up_before(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Write a copy before a migration, and keep the newest few."""
    folder = path.parent / BACKUPS
    folder.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    _copy(connection, folder / f"{stamp}-{os.getpid()}-v{version}.sqlite3")
    for old in sorted(folder.glob("*-v*.sqlite3"))[:-_KEPT_BACKUPS]:
        old.unlink(missing_ok=True)


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    """Write a whole copy; one that fails leaves nothing under the name."""
    if target.exists():
        raise FileExistsError(errno.EEXIST, "there is a file of that name already", str(target))
    part = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    part.unlink(missing_ok=True)
    try:
        connection.execute("VACUUM INTO ?", (str(part),))
        part.chmod(0o600)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _statements(script: str) -> list[str]:
    """The statements of a script: `executescript` would commit the transaction
    around it.
    """
    found: list[str] = []
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found
