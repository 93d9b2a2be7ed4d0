"""PostgreSQL: the engine for several machines on one ledger.

psycopg's blocking connection runs in the worker threads, as SQLite does: none
of the asynchronous drivers runs on Trio.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock
from typing import TypeVar

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from .._errors import ConfigurationError, StorageError
from .._system.ids import new_id
from .._system.secret import Secret
from .._system.threads import Workers
from .database import NO_VALUES, Database, Row, Statement, Transaction, Value, Work, no_value
from .news import Ear
from .owners import Owners
from .sql_dialect import bind, find_words, translate
from .word_index import Document, Tokenizer, image_document, prompt_document

__all__ = ["PostgresEngine", "PostgresOwners", "open_postgresql"]

Result = TypeVar("Result")
_Connection = psycopg.Connection[Row]

# Below the bound of a write: what is written here may be paid already, so a
# server that restarts is waited for.
_WAIT_SECONDS = 25.0
_LOOK_SECONDS = 0.2
_KEEP_SECONDS = 5.0
# The server lets go what a client holds whose machine is gone, or that stopped
# in the middle of a commit; by default it would wait for hours. The options of
# the address come later, and win.
_PATIENCE = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c idle_in_transaction_session_timeout=30s"
)
# Others find out as late as this client that the server has restarted.
_RETURN_SECONDS = 2 * _KEEP_SECONDS
# Advisory locks: of the one writer, of migrations, and the space of owners.
_WRITER, _MIGRATION, _OWNERS = 20261128, 20261129, 1
_NEWS = "imagen_sessions"
_TURN = "SELECT pg_advisory_xact_lock(%s)"
_BEGIN = f"""
WITH turn AS MATERIALIZED ({_TURN})
INSERT INTO commits SELECT %s, %s, now() FROM turn
ON CONFLICT (client) DO UPDATE SET number = excluded.number, made_at = excluded.made_at
"""
_HAS_COMMITTED = "SELECT 1 FROM commits WHERE client = %s AND number = %s"
# A commit is repeated within seconds or not at all.
_FORGET_COMMITS = "DELETE FROM commits WHERE made_at < now() - interval '1 day'"
_HOLD = "SELECT pg_try_advisory_lock(hashtextextended(%s, %s))"
_TRY = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, %s))"
_STARTED_AT = "SELECT pg_postmaster_start_time()::text"
# SQLSTATE: the class of SQL that is not known, and what is in it for rights.
_NO_SQL, _NOT_ALLOWED = "42", "42501"

# No character, and in no text.
_NOWHERE = "\uffff"
# Statements whose triggers queue images, or that queue prompts, to be indexed.
_INDEXED_TABLE = re.compile(
    r"\b(?:INTO|UPDATE|DELETE FROM) (images|collections|collection_images|prompt_search)\b"
)
_AT_ONCE = 500
_IMAGES_TO_INDEX = f"""
SELECT images.number, request, revised_prompt, tags, notes, provider, model, width, height, seed,
    rating, cost_nanousd, trashed_at, fingerprint, (
        SELECT string_agg(collection_id, ' ') FROM collection_images
        WHERE collection_images.number = images.number
    )
FROM images_unindexed JOIN images USING (number) LIMIT {_AT_ONCE}
"""
_INDEX_IMAGES = """
WITH documents AS (
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS one (number, terms, words)
), indexed AS (
    DELETE FROM images_unindexed USING documents WHERE images_unindexed.number = documents.number
)
INSERT INTO image_search SELECT number, terms::tsvector, words FROM documents
ON CONFLICT (rowid) DO UPDATE SET terms = excluded.terms, words = excluded.words
"""
_PROMPTS_TO_INDEX = f"""
SELECT rowid, name, text, tags, notes FROM prompt_search WHERE terms IS NULL LIMIT {_AT_ONCE}
"""
_INDEX_PROMPTS = """
UPDATE prompt_search SET terms = documents.terms::tsvector, words = documents.words
FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS documents (number, terms, words)
WHERE rowid = documents.number
"""
_DocumentOf = Callable[[Row, Tokenizer], Document]


class _NotInPostgres(OverflowError):
    """Value or statement that PostgreSQL does not take; what SQLite raises has
    the same base.
    """


class _Number(Loader):
    """Loader of sums of bigint, which PostgreSQL makes numeric."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data).decode()
        return float(text) if "." in text or not text.lstrip("-").isdigit() else int(text)


class _Server:
    """Address of the database; its password appears in no text."""

    def __init__(self, url: Secret, schema: str | None) -> None:
        self.schema = schema
        self._url = url
        try:
            parts = conninfo_to_dict(url.reveal())
        except psycopg.Error:
            # The error of psycopg repeats the url.
            raise ConfigurationError(
                "IMAGEN_DATABASE_URL is not the address of a PostgreSQL database: write"
                " postgresql://USER:PASSWORD@HOST:PORT/NAME."
            ) from None
        self._password = Secret(str(parts.get("password") or ""))
        self._options = f"{_PATIENCE} {parts.get('options') or ''}"
        if schema is not None:
            self._options += f' -c search_path="{schema}"'
        self.name = (
            f"postgresql://{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
            f"/{parts.get('dbname', '')}"
        )

    def connect(self) -> _Connection:
        """Raises psycopg.Error."""
        connection: _Connection = psycopg.connect(
            self._url.reveal(),
            autocommit=True,
            # Values are bound here, so that a statement needs no types.
            cursor_factory=psycopg.ClientCursor,
            client_encoding="utf8",
            application_name="imagen",
            options=self._options,
            connect_timeout=5,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
        connection.adapters.register_loader("numeric", _Number)
        return connection

    def broken(self, what: str, error: Exception) -> StorageError:
        if _is_unknown(error):
            return StorageError(
                "This call is not on PostgreSQL yet; docs/cluster.md lists what is."
            )
        text = " ".join(self._password.hide_in(self._url.hide_in(str(error))).split())
        return StorageError(
            f"The database {self.name} cannot be {what}: {text.rstrip('.')}. Check that the server"
            " runs, and IMAGEN_DATABASE_URL."
        )


def _is_unknown(error: BaseException | None) -> bool:
    """Return True for a statement that the server does not know."""
    state = getattr(error, "sqlstate", None) or ""
    return state.startswith(_NO_SQL) and state != _NOT_ALLOWED


class _Cursor:
    def __init__(self, cursor: psycopg.Cursor[Row]) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def fetchall(self) -> list[Row]:
        return self._cursor.fetchall() if self._cursor.description else []


class _Translating:
    """Connection that takes the SQL of SQLite. `changed` are the tables whose
    triggers may have queued rows to be indexed.
    """

    def __init__(self, connection: _Connection, tokenizer: Tokenizer) -> None:
        self._connection = connection
        self._tokenizer = tokenizer
        self.changed: set[str] = set()

    def execute(self, sql: str, values: Row, /) -> _Cursor:
        if found := _INDEXED_TABLE.search(sql):
            self.changed.add(found[1])
        sql, values = find_words(translate(sql), values, self._tokenizer)
        try:
            return _Cursor(self._connection.execute(sql.encode(), bind(sql, values)))
        except psycopg.DataError as error:
            raise _NotInPostgres(str(error)) from error

    def index_words(self) -> None:
        """Index what statements have changed, in the transaction that they are
        in.
        """
        if self.changed - {"prompt_search"}:
            self._index(_IMAGES_TO_INDEX, _INDEX_IMAGES, image_document)
        if "prompt_search" in self.changed:
            self._index(_PROMPTS_TO_INDEX, _INDEX_PROMPTS, prompt_document)

    def _index(self, source: str, index: str, document_of: _DocumentOf) -> None:
        while True:
            rows = self._connection.execute(source.encode()).fetchall()
            if rows:
                documents = [document_of(row, self._tokenizer) for row in rows]
                columns = [list(column) for column in zip(*map(_columns, documents), strict=True)]
                self._connection.execute(index.encode(), columns)
            if len(rows) < _AT_ONCE:
                return


class _Reading(_Translating):
    """The same for queries: with SQLite a text with NUL is found nowhere, but
    is no error.
    """

    def execute(self, sql: str, values: Row, /) -> _Cursor:
        return super().execute(sql, [_findable(value) for value in values])


def _findable(value: Value) -> Value:
    return value.replace("\0", _NOWHERE) if isinstance(value, str) else value


def _columns(document: Document) -> tuple[int, str, str]:
    return document.number, document.terms, document.words


class _Commit:
    """Commit of one group, repeatable: it writes its number beside what it
    changes, so that after a lost connection it is known whether it happened.
    """

    def __init__(
        self, group: Sequence[Work], tokenizer: Tokenizer, client: str, number: int
    ) -> None:
        self._group = group
        self._tokenizer = tokenizer
        self._name = (client, number)
        self._is_repeated = False

    def __call__(self, connection: _Connection) -> None:
        with connection.transaction():
            if self._is_repeated and self._has_happened(connection):
                return
            self._is_repeated = True
            connection.execute(_BEGIN, (_WRITER, *self._name))
            translating = _Translating(connection, self._tokenizer)
            for work in self._group:
                work.call(Transaction(translating))
            translating.index_words()

    def _has_happened(self, connection: _Connection) -> bool:
        # The lost transaction may still hold the turn: then it is waited for.
        connection.execute(_TURN, (_WRITER,))
        return bool(connection.execute(_HAS_COMMITTED, self._name).fetchall())


async def open_postgresql(url: Secret, workers: Workers, schema: str | None) -> Database:
    """Connects, and brings the tables of the schema up to date; None is that of
    the user's `search_path`.

    Raises:
        ConfigurationError: the url is none of PostgreSQL.
        StorageError: the server does not answer or let this user in, or a
            newer version of imagen wrote the tables.
    """
    return Database(await workers.run_serially(partial(PostgresEngine, url, schema)), workers)


def _open(server: _Server, tokenizer: Tokenizer) -> _Connection:
    try:
        with ExitStack() as undo:
            connection = undo.enter_context(closing(server.connect()))
            _migrate(connection, server.schema, tokenizer)
            undo.pop_all()
    except psycopg.Error as error:
        raise server.broken("opened", error) from error
    return connection


def _migrate(connection: _Connection, schema: str | None, tokenizer: Tokenizer) -> None:
    scripts = sorted(Path(__file__).with_name("postgresql_migrations").glob("*.sql"))
    with connection.transaction():
        connection.execute(_TURN, (_MIGRATION,))
        if schema is not None:
            _make_schema(connection, schema)
        version = _version(connection)
        if version > len(scripts):
            raise StorageError("The database was written by a newer imagen; update this one.")
        for script in scripts[version:]:
            connection.execute(script.read_bytes())
        if version < len(scripts):
            indexing = _Translating(connection, tokenizer)
            indexing.changed.add("images")
            indexing.index_words()
            connection.execute("UPDATE imagen_version SET version = %s", (len(scripts),))
        connection.execute(_FORGET_COMMITS)


def _make_schema(connection: _Connection, schema: str) -> None:
    # IF NOT EXISTS asks for the right to make one also where it exists.
    found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,))
    if not found.fetchall():
        connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))


def _version(connection: _Connection) -> int:
    ((table,),) = connection.execute("SELECT to_regclass('imagen_version')").fetchall()
    if table is None:
        connection.execute("CREATE TABLE imagen_version (version bigint NOT NULL)")
        connection.execute("INSERT INTO imagen_version VALUES (0)")
    ((version,),) = connection.execute("SELECT version FROM imagen_version").fetchall()
    assert isinstance(version, int)
    return version


class PostgresEngine:
    """Database of a server. Every process takes its turn as the one writer, as
    with a SQLite file.
    """

    tells_news = True

    def __init__(self, url: Secret, schema: str | None = None) -> None:
        self._server = _Server(url, schema)
        self.name = self._server.name
        self._tokenizer = Tokenizer()
        self._connection = _open(self._server, self._tokenizer)
        self._owners = PostgresOwners(self._server)
        self._prepared: list[Statement] = []
        self._client, self._numbers = new_id(), count()

    def owners(self, folder: Path) -> Owners:
        return self._owners

    def ear(self) -> Ear:
        return _PostgresEar(self._server)

    def execute(self, group: Sequence[Work]) -> None:
        try:
            self._patiently("written", self._next_commit(group))
        except StorageError as error:
            if len(group) > 1 and _is_unknown(error.__cause__):
                # The others of the group are not to suffer from it.
                raise _NotInPostgres(error.message) from error
            raise

    def _next_commit(self, group: Sequence[Work]) -> _Commit:
        return _Commit(group, self._tokenizer, self._client, next(self._numbers))

    def look(self, work: Callable[[Transaction], Result]) -> Result:
        def run(connection: _Connection) -> Result:
            with connection.transaction():
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                return work(Transaction(_Reading(connection, self._tokenizer)))

        return self._read(run)

    def fetch(self, sql: str, values: Row) -> list[Row]:
        return self._read(
            lambda one: _Reading(one, self._tokenizer).execute(sql, values).fetchall()
        )

    def _read(self, run: Callable[[_Connection], Result]) -> Result:
        try:
            return self._patiently("read", run)
        except NO_VALUES as error:
            raise no_value() from error

    def _patiently(self, what: str, run: Callable[[_Connection], Result]) -> Result:
        give_up_at = time.monotonic() + _WAIT_SECONDS
        while True:
            try:
                if self._connection.closed:
                    self._connect_again()
                return run(self._connection)
            except psycopg.OperationalError as error:
                if time.monotonic() > give_up_at or not self._connection.closed:
                    raise self._server.broken(what, error) from error
                time.sleep(_LOOK_SECONDS)
            except psycopg.Error as error:
                raise self._server.broken(what, error) from error

    def _connect_again(self) -> None:
        # First known as open again, then at work.
        self._owners.keep()
        connection = self._server.connect()
        self._run_prepared(connection)
        self._connection = connection

    def prepare(self, statements: Sequence[Statement]) -> None:
        self._prepared += statements
        self._patiently("written", self._run_prepared)

    def _run_prepared(self, connection: _Connection) -> None:
        for sql, values in self._prepared:
            _Translating(connection, self._tokenizer).execute(sql, values)

    def back_up(self, target: Path) -> None:
        raise StorageError("A PostgreSQL database is backed up with pg_dump, and not by imagen.")

    def close(self) -> None:
        self._connection.close()
        self._tokenizer.close()


class _PostgresEar:
    """Connection that LISTENs: triggers of the tables tell what was written
    when its transaction commits.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server
        try:
            with ExitStack() as undo:
                self._connection = undo.enter_context(closing(server.connect()))
                self._connection.execute(f"LISTEN {_NEWS}")
                undo.pop_all()
        except psycopg.Error as error:
            raise server.broken("listened to", error) from error

    def fileno(self) -> int:
        return self._connection.fileno()

    def hear(self) -> Sequence[str]:
        # The way through psycopg's own generator would wait.
        lower = self._connection.pgconn
        try:
            lower.consume_input()
            heard = list(iter(lower.notifies, None))
        except psycopg.Error as error:
            raise self._server.broken("listened to", error) from error
        return [one.extra.decode() for one in heard]

    def close(self) -> None:
        self._connection.close()


class PostgresOwners:
    """Clients of all machines, by advisory locks on a connection of their own.

    The server lets a lock go with its connection, which may break while the
    client lives; so an attempt is sent only while its row is still the
    client's.
    """

    keep_seconds: float | None = _KEEP_SECONDS

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._owner_id = ""
        self._connection: _Connection | None = None
        self._mutex = Lock()
        self._started_at = ""
        self._trusted_at = 0.0

    def hold(self, owner_id: str) -> None:
        self._owner_id = owner_id
        try:
            self._connection = self._take()
        except psycopg.Error as error:
            raise self._server.broken("opened", error) from error

    def keep(self) -> None:
        with self._mutex, suppress(psycopg.Error):
            if self._connection is not None and not self._is_held(self._connection):
                self._connection = self._take()

    def is_alive(self, owner_id: str) -> bool:
        if owner_id == self._owner_id:
            return True
        with self._mutex:
            try:
                return self._is_locked(owner_id)
            except psycopg.Error:
                # What is not known to be left behind is left alone.
                return True

    def release(self) -> None:
        with self._mutex:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(psycopg.Error):
                    # The server notices a closed connection a moment later only.
                    connection.execute("SELECT pg_advisory_unlock_all()")
                connection.close()

    def _take(self) -> _Connection:
        with ExitStack() as undo:
            connection = undo.enter_context(closing(self._server.connect()))
            connection.execute(_HOLD, (self._owner_id, _OWNERS))
            ((started_at,),) = connection.execute(_STARTED_AT).fetchall()
            undo.pop_all()
        if self._started_at not in ("", started_at):
            self._trusted_at = time.monotonic() + _RETURN_SECONDS
        self._started_at = str(started_at)
        return connection

    def _is_held(self, connection: _Connection) -> bool:
        """Take the lock once more, as the server may not have let an
        earlier connection go; return False if the connection is broken.
        """
        try:
            connection.execute(_HOLD, (self._owner_id, _OWNERS))
        except psycopg.Error:
            connection.close()
            return False
        return True

    def _is_locked(self, owner_id: str) -> bool:
        if self._connection is None or self._connection.closed:
            return True
        with self._connection.transaction():
            ((taken,),) = self._connection.execute(_TRY, (owner_id, _OWNERS)).fetchall()
        # A server that restarted has no locks at all until clients take theirs
        # again.
        return not taken or time.monotonic() < self._trusted_at
