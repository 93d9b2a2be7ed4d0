"""Sessions that any worker may take.

A row of `submissions` lasts until its session is over. The session waits while
it has no owner, and is made by the worker that owns it. So a worker that dies
leaves nothing that another one does not find, and whatever else knows of
waiting sessions, a queue or a notification, may be lost.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import msgspec

from .._engine.runtime import Runtime
from .._storage.database import Statement, Transaction

__all__ = ["Submission", "Submissions"]

_AGAIN_SECONDS = 5.0
_MOST_FAILURES = 10
_TURN_SECONDS = 86400.0
_ADD = """
INSERT INTO submissions (session_id, tag, priority, submitted_at) VALUES (?, ?, ?, ?)
"""
_OWNERS = """
SELECT DISTINCT owner FROM submissions JOIN sessions ON id = session_id WHERE owner <> ''
"""
# The tags take turns: the first of each, then the second of each, where what is
# being made already counts as the first. Of several tags the one that was not
# served for longest is next.
_CHOOSE = """
SELECT session_id, placed.tag FROM (
    SELECT
        session_id, tag, priority, submitted_at, waits,
        row_number() OVER (
            PARTITION BY tag, waits ORDER BY priority DESC, submitted_at, session_id
        ) + sum(CASE WHEN is_taken = 1 THEN 1 ELSE 0 END) OVER (PARTITION BY tag) AS place
    FROM (
        SELECT
            session_id, tag, priority, submitted_at,
            CASE WHEN owner <> '' OR queued = 1 THEN 1 ELSE 0 END AS is_taken,
            CASE
                WHEN owner = '' AND queued = 0 AND not_before <= ?
                    AND NOT EXISTS (
                        SELECT 1 FROM session_stops
                        WHERE session_stops.session_id = submissions.session_id
                    )
                THEN 1 ELSE 0
            END AS waits
        FROM submissions JOIN sessions ON id = submissions.session_id
    ) AS known
) AS placed LEFT JOIN submission_turns ON submission_turns.tag = placed.tag
WHERE waits = 1 AND place <= ?
ORDER BY priority DESC, place, coalesce(begun_at, 0), submitted_at, session_id LIMIT ?
"""
_TURN = """
INSERT INTO submission_turns VALUES (?, ?)
ON CONFLICT (tag) DO UPDATE SET begun_at = excluded.begun_at
"""
_FORGET_TURNS = "DELETE FROM submission_turns WHERE begun_at < ?"
_CLAIM = "UPDATE sessions SET owner = ?, touched_at = ? WHERE id = ? AND owner = ''"
_FAIL_OF = """
UPDATE submissions SET queued = 0, not_before = 0, failures = failures + 1
WHERE session_id IN (SELECT id FROM sessions WHERE owner = ?)
"""
_FREE_OF = """
UPDATE sessions SET owner = ''
WHERE owner = ? AND id IN (SELECT session_id FROM submissions)
"""
_FREE = f"{_FREE_OF} AND id = ?"
_WAIT = """
UPDATE submissions SET queued = 0, not_before = ?, failures = failures + ? WHERE session_id = ?
"""
_STOPPED = """
SELECT session_stops.session_id FROM session_stops
JOIN submissions ON submissions.session_id = session_stops.session_id
JOIN sessions ON id = submissions.session_id WHERE owner = ''
"""
_FAILED = """
SELECT session_id FROM submissions JOIN sessions ON id = session_id
WHERE owner = '' AND failures >= ?
"""
_QUEUED = """
SELECT session_id FROM submissions JOIN sessions ON id = session_id
WHERE owner = '' AND queued = 1 ORDER BY submitted_at
"""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """How a session waits for a worker."""

    tag: str
    priority: int

    def row(self, session_id: str, now: float) -> Statement:
        """Return the statement that adds it."""
        return _ADD, (session_id, self.tag, self.priority, now)


class Submissions:
    """Waiting sessions, and those that workers make."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._database = runtime.database
        self._owner = runtime.owner
        self._now = runtime.now

    async def claim(self, most: int, most_per_tag: int, running: Set[str]) -> Sequence[str]:
        """Make this client the owner of sessions that wait, in the order in
        which they are to be made.

        Those that still run here were taken away from this client, and maybe
        another one has made a part of them: they have to end first.
        """

        def claim(transaction: Transaction) -> Sequence[str]:
            chosen = self._choose(transaction, most, most_per_tag, running)
            for session_id in chosen:
                transaction.change(_CLAIM, (self._owner, self._now(), session_id))
            return chosen

        return await self._database.transact(claim)

    async def enqueue(self, most: int, most_per_tag: int) -> Sequence[str]:
        """Return the sessions that belong in the queue: those that are there
        and not taken yet, and with them at most `most` of those that wait.
        """

        def mark(transaction: Transaction) -> Sequence[str]:
            queued = [str(session_id) for (session_id,) in transaction.run(_QUEUED)]
            chosen = self._choose(
                transaction, max(most - len(queued), 0), most_per_tag, frozenset()
            )
            for session_id in chosen:
                sql = "UPDATE submissions SET queued = 1 WHERE session_id = ?"
                transaction.change(sql, (session_id,))
            return [*queued, *chosen]

        return await self._database.transact(mark)

    def _choose(
        self, transaction: Transaction, most: int, most_per_tag: int, running: Set[str]
    ) -> Sequence[str]:
        found = transaction.run(_CHOOSE, (self._now(), most_per_tag, most + len(running)))
        rows = [row for row in found if row[0] not in running][:most]
        for tag in {tag for _, tag in rows}:
            transaction.change(_TURN, (tag, self._now()))
        return [str(session_id) for session_id, _ in rows]

    async def put_back(self) -> None:
        """Let those wait again whose worker is dead, and end those that are not
        to be made any more.
        """
        owners = [str(owner) for (owner,) in await self._database.read(_OWNERS)]
        dead = [owner for owner in owners if not await self._runtime.is_open(owner)]

        def put_back(transaction: Transaction) -> None:
            transaction.change(_FORGET_TURNS, (self._now() - _TURN_SECONDS,))
            for owner in dead:
                transaction.change(_FAIL_OF, (owner,))
                transaction.change(_FREE_OF, (owner,))
            for (session_id,) in transaction.run(_STOPPED):
                _end(transaction, str(session_id), "CANCELLED", None)
            message = f"{_MOST_FAILURES} workers ended while they made this session."
            for (session_id,) in transaction.run(_FAILED, (_MOST_FAILURES,)):
                _end(transaction, str(session_id), "FAILED", message)

        await self._database.transact(put_back)

    async def give_up(self, session_id: str, *, failed: bool) -> None:
        """Let a session of this client wait for any worker; after a failure not
        at once.
        """
        not_before = self._now() + _AGAIN_SECONDS if failed else 0.0

        def free(transaction: Transaction) -> None:
            is_mine = transaction.change(_FREE, (self._owner, session_id))
            # One from the queue that could not even be taken.
            if is_mine or (failed and transaction.change(_FREE, ("", session_id))):
                transaction.change(_WAIT, (not_before, int(failed), session_id))

        await self._database.transact(free)

    async def end_waiting(self, session_id: str) -> bool:
        """Cancel a session that no worker has taken; return False if one has."""

        def end(transaction: Transaction) -> bool:
            is_free = bool(transaction.change(_FREE, ("", session_id)))
            if is_free:
                # Whatever the queue still delivers is known to be over.
                transaction.change(_CLAIM, (self._owner, self._now(), session_id))
                _end(transaction, session_id, "CANCELLED", None)
            return is_free

        return await self._database.transact(end)


def _end(transaction: Transaction, session_id: str, state: str, message: str | None) -> None:
    sql = "INSERT OR IGNORE INTO session_ends VALUES (?, ?, ?)"
    transaction.change(sql, (session_id, state, message))
    transaction.change("DELETE FROM submissions WHERE session_id = ?", (session_id,))
