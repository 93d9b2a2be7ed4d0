"""Outbox of the publisher, in the database.

::

    queued -> published | failed
    removing -> removed

and back, at every new request.

A worker leases a row: one statement increments its `tries` and moves
`next_try_at` to the end of the lease. If the process dies, the row is due again
after the lease, and the work is repeated, which is idempotent: an object is
named by its bytes.

The request may be reversed while the work is in flight. Then the state changes
at once and the lease stays, so that the opposite work starts only after the
first is finished or certainly dead; the end of the first work ends the lease. A
row that waits for a retry has the last error, a leased one has none: a new
request retries the former at once.

With `publish = "always"` a trigger queues every new image.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from ..._storage.database import Row, Statement, Transaction

__all__ = [
    "COUNTS",
    "LATEST",
    "Lease",
    "NEXT",
    "Publication",
    "PublicationState",
    "enqueue",
    "fail_all",
    "finish",
    "lease",
    "of_hashes",
    "publish_new_images",
    "read_publication",
    "remove",
]

PublicationState = Literal["queued", "published", "failed", "removing", "removed"]

_COLUMNS = "sha256, media_type, state, tries, next_try_at, last_error, published_at"


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """State of an image in the store. `tries` counts those since it was
    requested.
    """

    sha256: str
    media_type: str
    state: PublicationState
    tries: int
    next_try_at: datetime.datetime | None
    last_error: str | None
    published_at: datetime.datetime | None


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """A row that one worker has leased."""

    sha256: str
    media_type: str
    state: Literal["queued", "removing"]
    tries: int


_LEASE = """
UPDATE publications SET tries = tries + 1, next_try_at = ?, last_error = NULL
WHERE store = ? AND sha256 IN (
    SELECT sha256 FROM publications
    WHERE store = ? AND state IN ('queued', 'removing') AND next_try_at <= ?
    ORDER BY next_try_at LIMIT ?
)
RETURNING sha256, media_type, state, tries
"""
_ENQUEUE = """
INSERT INTO publications (sha256, store, media_type, next_try_at, queued_at)
VALUES (?1, ?2, ?3, ?4, ?4)
ON CONFLICT (sha256, store) DO UPDATE SET
    state = 'queued',
    tries = CASE
        WHEN publications.next_try_at IS NULL OR publications.last_error IS NOT NULL THEN 0
        ELSE publications.tries
    END,
    next_try_at = CASE
        WHEN publications.next_try_at IS NULL OR publications.last_error IS NOT NULL THEN ?4
        ELSE publications.next_try_at
    END,
    last_error = NULL,
    queued_at = ?4
WHERE publications.state IN ('failed', 'removing', 'removed')
    OR publications.last_error IS NOT NULL
"""
_REMOVE = """
UPDATE publications SET
    state = 'removing',
    tries = CASE WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0 ELSE tries END,
    next_try_at = CASE
        WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN ?3 ELSE next_try_at
    END,
    last_error = NULL
WHERE sha256 = ?1 AND store = ?2
AND (state IN ('queued', 'published', 'failed') OR last_error IS NOT NULL)
"""
_FINISH = """
UPDATE publications SET state = ?, next_try_at = ?, last_error = ?, published_at = ?
WHERE sha256 = ? AND store = ? AND state = ? AND tries = ?
"""
_END_LEASE = """
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


# Limited to this connection: another process on this database may have another
# store, or none.
_PUBLISH_NEW_IMAGES: tuple[Statement, ...] = (
    ("CREATE TEMP TABLE publishing_always (store TEXT NOT NULL)", ()),
    (
        """
        CREATE TEMP TRIGGER images_to_publish AFTER INSERT ON images BEGIN
            INSERT INTO publications (sha256, store, media_type, next_try_at, queued_at)
            SELECT NEW.sha256, store, NEW.media_type, 0.0, NEW.created_at FROM publishing_always
            WHERE true
            ON CONFLICT DO UPDATE SET
                state = 'queued',
                tries = CASE
                    WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0 ELSE tries
                END,
                next_try_at = CASE
                    WHEN next_try_at IS NULL OR last_error IS NOT NULL THEN 0.0 ELSE next_try_at
                END,
                last_error = NULL
            WHERE state IN ('failed', 'removing', 'removed');
        END
        """,
        (),
    ),
)


def of_hashes(count: int) -> str:
    """Return the query for images; its values are their hashes, and the store."""
    marks = ", ".join("?" * count)
    return f"SELECT {_COLUMNS} FROM publications WHERE sha256 IN ({marks}) AND store = ?"


def read_publication(row: Row) -> Publication:
    """Convert a row to a publication."""
    fields = zip(_COLUMNS.split(", "), row, strict=True)
    # All real numbers are times.
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
    """Queue an image, unless it is queued or published already."""
    return _ENQUEUE, (sha256, store, media_type, now)


def publish_new_images(store: str) -> list[Statement]:
    """Queue every image that this connection inserts, in the same transaction.
    To be run only once.
    """
    return [*_PUBLISH_NEW_IMAGES, ("INSERT INTO publishing_always (store) VALUES (?)", (store,))]


def remove(sha256: str, *, store: str, now: float) -> Statement:
    """Queue the removal of an object."""
    return _REMOVE, (sha256, store, now)


def lease(
    transaction: Transaction, store: str, *, now: float, until: float, limit: int
) -> list[Lease]:
    """Lease at most `limit` due rows until a time."""
    return [
        msgspec.convert(row, Lease)
        for row in transaction.run(_LEASE, (until, store, store, now, limit))
    ]


def finish(
    transaction: Transaction,
    leased: Lease,
    store: str,
    *,
    state: PublicationState,
    now: float,
    next_try_at: float | None = None,
    error: str | None = None,
) -> None:
    """Record the result of leased work; if the request was reversed meanwhile,
    only end the lease.
    """
    published_at = now if state == "published" else None
    key: Row = (leased.sha256, store, leased.state, leased.tries)
    if not transaction.change(_FINISH, (state, next_try_at, error, published_at, *key)):
        transaction.change(_END_LEASE, (now, leased.sha256, store, leased.tries))


def fail_all(transaction: Transaction, store: str, error: str, *, limit: int) -> int:
    """Fail up to `limit` untried rows, which would fail in the same way, and
    return their number.
    """
    return transaction.change(_FAIL_ALL, (error, store, store, limit))
