"""The queue of the publisher, in the database.

::

    queued -> published | failed        removing -> removed        and back, whenever somebody changes his mind

Whoever works on a row has claimed it: one statement counts up its `tries` and
puts off the next one to the end of a lease. Who dies tells nothing, so the row
is due again when the lease is over, and the same is done once more, which
changes nothing: an object is named by its bytes.

Somebody may want the object gone while it is being put, or the other way round.
Then the state changes at once and the lease stays, so that nobody starts with
the opposite before the first is done or surely dead; who ends such a claim
gives its lease back. A row that only waits for its next try has the error of
the last one, and a claimed one has none: what is asked for anew is tried at
once, whatever it waits for.

With `publish = "always"` a trigger puts new images in line, wherever their rows
come from.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from ..._storage.database import Row, Statement, Transaction

__all__ = [
    "COUNTS",
    "Claim",
    "LATEST",
    "NEXT",
    "Publication",
    "PublicationState",
    "always",
    "claim",
    "enqueue",
    "fail_all",
    "finish",
    "of_hashes",
    "read_publication",
    "remove",
]

PublicationState = Literal["queued", "published", "failed", "removing", "removed"]

_COLUMNS = "sha256, media_type, state, tries, next_try_at, last_error, published_at"


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with an image in the store. `tries` counts those that have
    begun since it was asked for.
    """

    sha256: str
    media_type: str
    state: PublicationState
    tries: int
    next_try_at: datetime.datetime | None
    last_error: str | None
    published_at: datetime.datetime | None


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """What one worker alone may do now."""

    sha256: str
    media_type: str
    state: Literal["queued", "removing"]
    tries: int


_CLAIM = """
UPDATE publications SET tries = tries + 1, next_try_at = ?, last_error = NULL
WHERE store = ? AND sha256 IN (
    SELECT sha256 FROM publications
    WHERE store = ? AND state IN ('queued', 'removing') AND next_try_at <= ? ORDER BY next_try_at LIMIT ?
)
RETURNING sha256, media_type, state, tries
"""
_ENQUEUE = """
INSERT INTO publications (sha256, store, media_type, next_try_at, queued_at) VALUES (?1, ?2, ?3, ?4, ?4)
ON CONFLICT DO UPDATE SET
    state = 'queued',
    tries = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0 ELSE tries END,
    next_try_at = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN ?4 ELSE next_try_at END,
    last_error = NULL,
    queued_at = ?4
WHERE state IN ('failed', 'removing', 'removed') OR last_error IS NOT NULL
"""
_REMOVE = """
UPDATE publications SET
    state = 'removing',
    tries = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0 ELSE tries END,
    next_try_at = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN ?3 ELSE next_try_at END,
    last_error = NULL
WHERE sha256 = ?1 AND store = ?2 AND (state IN ('queued', 'published', 'failed') OR last_error IS NOT NULL)
"""
_FINISH = """
UPDATE publications SET state = ?, next_try_at = ?, last_error = ?, published_at = ?
WHERE sha256 = ? AND store = ? AND state = ? AND tries = ?
"""
_GIVE_BACK = """
UPDATE publications SET next_try_at = ?
WHERE sha256 = ? AND store = ? AND state IN ('queued', 'removing') AND tries = ?
"""
_FAIL_ALL = """
UPDATE publications SET state = 'failed', next_try_at = NULL, last_error = ?
WHERE store = ? AND sha256 IN (
    SELECT sha256 FROM publications WHERE store = ? AND state = 'queued' AND tries = 0 LIMIT ?
)
"""
NEXT = (
    "SELECT min(next_try_at) FROM publications WHERE store = ? AND state IN ('queued', 'removing')"
)
COUNTS = "SELECT state, count(*) FROM publications WHERE store = ? GROUP BY state"
LATEST = (
    f"SELECT {_COLUMNS} FROM publications WHERE store = ? AND state = ? ORDER BY queued_at DESC"
    " LIMIT ?"
)


# Of this connection alone: another process that shares the database may have
# another store, or none.
_ALWAYS: tuple[Statement, ...] = (
    ("CREATE TEMP TABLE publishing_always (store TEXT NOT NULL)", ()),
    (
        """
        CREATE TEMP TRIGGER images_to_publish AFTER INSERT ON images BEGIN
            INSERT INTO publications (sha256, store, media_type, next_try_at, queued_at)
            SELECT NEW.sha256, store, NEW.media_type, 0.0, NEW.created_at FROM publishing_always WHERE true
            ON CONFLICT DO UPDATE SET
                state = 'queued',
                tries = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0 ELSE tries END,
                next_try_at = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0.0 ELSE next_try_at END,
                last_error = NULL
            WHERE state IN ('failed', 'removing', 'removed');
        END
        """,
        (),
    ),
)


def of_hashes(count: int) -> str:
    """Asks for some images; its values are their hashes, and the store."""
    marks = ", ".join("?" * count)
    return f"SELECT {_COLUMNS} FROM publications WHERE sha256 IN ({marks}) AND store = ?"


def read_publication(row: Row) -> Publication:
    """The row of an image."""
    fields = zip(_COLUMNS.split(", "), row, strict=True)
    # The real numbers among them are moments.
    read = {
        name: (
            datetime.datetime.fromtimestamp(value, datetime.UTC)
            if isinstance(value, float)
            else value
        )
        for name, value in fields
    }
    return msgspec.convert(read, Publication)


def enqueue(sha256: str, media_type: str, *, store: str, now: float) -> Statement:
    """Puts an image in line, unless it is there or published already."""
    return _ENQUEUE, (sha256, store, media_type, now)


def always(store: str) -> list[Statement]:
    """Has every image that this connection lists go to a store, in the same
    transaction. To be said once.
    """
    return [*_ALWAYS, ("INSERT INTO publishing_always (store) VALUES (?)", (store,))]


def remove(sha256: str, *, store: str, now: float) -> Statement:
    """Has an object taken away."""
    return _REMOVE, (sha256, store, now)


def claim(
    transaction: Transaction, store: str, *, now: float, until: float, limit: int
) -> list[Claim]:
    """Takes what is due, at most `limit` of it, for oneself until a time."""
    return [
        msgspec.convert(row, Claim)
        for row in transaction.run(_CLAIM, (until, store, store, now, limit))
    ]


def finish(
    transaction: Transaction,
    claimed: Claim,
    store: str,
    *,
    state: PublicationState,
    now: float,
    next_try_at: float | None = None,
    error: str | None = None,
) -> None:
    """Tells what became of a claim; where somebody has changed his mind
    meanwhile, that only ends its lease.
    """
    published_at = now if state == "published" else None
    whose: Row = (claimed.sha256, store, claimed.state, claimed.tries)
    if not transaction.change(_FINISH, (state, next_try_at, error, published_at, *whose)):
        transaction.change(_GIVE_BACK, (now, claimed.sha256, store, claimed.tries))


def fail_all(transaction: Transaction, store: str, error: str, *, limit: int) -> int:
    """Gives up what nobody has tried yet, as it would only fail in the same
    way; says how much it was.
    """
    return transaction.change(_FAIL_ALL, (error, store, store, limit))
