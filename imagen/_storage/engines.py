"""Choice of the engine."""

from __future__ import annotations

from pathlib import Path

from .._errors import ConfigurationError
from .._system.secret import Secret
from .._system.threads import Workers
from .database import Database

__all__ = ["open_database"]


async def open_database(
    path: Path, url: Secret | None, workers: Workers, schema: str | None = None
) -> Database:
    """Open the PostgreSQL database of the url, or the SQLite file. A `schema` of
    PostgreSQL that is not there is made.

    Raises:
        ConfigurationError: the url is wrong, or psycopg is missing.
        StorageError: the database cannot be used.
    """
    if url is None:
        return await Database.open(path, workers)
    try:
        # Imported when used: the core works without psycopg.
        from .postgresql import open_postgresql
    except ImportError as error:
        raise ConfigurationError(
            'IMAGEN_DATABASE_URL needs the extra "cluster": pip install "imagen-trio[cluster]".'
        ) from error
    return await open_postgresql(url, workers, schema)
