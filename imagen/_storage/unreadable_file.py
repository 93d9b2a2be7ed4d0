"""A database file that SQLite cannot read: found, and put aside whole."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from .._errors import StorageError
from .._system.process_locks import OWNERS, is_alive
from .database import DATABASE_NAME

__all__ = ["find_damage", "put_aside"]

_BUSY_SECONDS = 10.0
_UNREADABLE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Without these two nothing is left that the rest belongs to.
_TABLES = ("attempts", "images")
# The log goes first: beside a new database it would be taken for its own.
_PARTS = ("-wal", "-shm", "")


def find_damage(home: Path) -> str | None:
    """Return why SQLite cannot read the database of a home; None if it can, or
    if there is none. Read every attempt and image. Blocking.

    Raises:
        StorageError: that cannot be found out, e.g. as another program holds
            the database.
    """
    path = home / DATABASE_NAME
    if not path.is_file():
        return None
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as connection:
            connection.text_factory = bytes
            _read_all(connection)
    except sqlite3.Error as error:
        if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _UNREADABLE:
            return str(error)
        raise StorageError(
            f"The database {path} cannot be read: {error}. End the programs that use it, and check"
            " that the file may be read."
        ) from error
    return None


def _read_all(connection: sqlite3.Connection) -> None:
    there = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for name in _TABLES:
        if (name.encode(),) in there:
            for _ in connection.execute(f"SELECT * FROM {name} NOT INDEXED"):
                pass


def put_aside(home: Path) -> Path:
    """Rename the database of a home, with its log, and return its new path. The
    next client makes a new one. Blocking.

    Raises:
        StorageError: a client of this home is open, or the file cannot be
            renamed.
    """
    path = home / DATABASE_NAME
    _refuse_if_open(home)
    aside = _free_name(path)
    try:
        for part in _PARTS:
            source = path.with_name(path.name + part)
            if source.exists():
                source.rename(aside.with_name(aside.name + part))
    except OSError as error:
        raise StorageError(
            f"The database {path} cannot be renamed: {error.strerror or error}. Make its folder"
            " writable."
        ) from error
    return aside


def _refuse_if_open(home: Path) -> None:
    owners = home / OWNERS
    found = sorted(owners.iterdir()) if owners.is_dir() else []
    if any(is_alive(owners, owner.name) for owner in found):
        raise StorageError(
            f"Another program of imagen uses {home}: end it first, as it may have written what is"
            " not in the file yet."
        )


def _free_name(path: Path) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside, number = path.with_name(f"{path.name}.damaged-{stamp}"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    return aside
