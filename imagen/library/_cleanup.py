"""Which images go, by rules, and when those in the trash go for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import msgspec

from .._policy.cleanup import CleanupRules
from .._storage.database import Database, Row, Transaction
from ._annotations import in_groups
from ._deletion import Deletion

__all__ = ["Cleanup", "CleanupPlan", "ExpiredImage"]

_DAY_SECONDS = 86_400.0
_PAGE = 500


class ExpiredImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that a rule says has to go."""

    image_id: str
    rule: Literal["age", "count", "bytes", "trash"]
    size_bytes: int
    created_at: float


class CleanupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a cleanup would do, or did: these to the trash, those out of it for
    good.
    """

    trashed: tuple[ExpiredImage, ...]
    deleted: tuple[ExpiredImage, ...]


class _Limits(msgspec.Struct):
    """What is there, as images go."""

    images: int
    size_bytes: int


class Cleanup:
    """Applies rules."""

    def __init__(self, database: Database, removal: Deletion, now: Callable[[], float]) -> None:
        self._database = database
        self._removal = removal
        self._now = now

    async def run(self, rules: CleanupRules, *, dry_run: bool = False) -> CleanupPlan:
        """Applies the rules, or with `dry_run` says what they would do. What
        somebody protects meanwhile is left alone.
        """
        now = self._now()
        # An image that goes to the trash now stays there for its time, so these
        # are others.
        overdue = await self._overdue(now - rules.trash_days * _DAY_SECONDS)
        doomed = await self._doomed(rules, now)
        if not dry_run:
            await self._trash(doomed, rules, now)
            before = now - rules.trash_days * _DAY_SECONDS
            await self._removal.delete(
                [one.image_id for one in overdue], only_trashed_before=before
            )
        return CleanupPlan(trashed=tuple(doomed), deleted=tuple(overdue))

    async def _overdue(self, before: float) -> Sequence[ExpiredImage]:
        rows = await self._database.read(
            "SELECT id, size_bytes, created_at FROM images WHERE trashed_at < ? ORDER BY"
            " trashed_at",
            (before,),
        )
        return [_doomed(row, "trash") for row in rows]

    async def _doomed(self, rules: CleanupRules, now: float) -> Sequence[ExpiredImage]:
        if not rules.has_limit:
            return []
        ((images, size_bytes),) = await self._database.read(
            "SELECT images, size_bytes FROM library_size WHERE trashed = 0"
        )
        left = _Limits(int(str(images)), int(str(size_bytes)))
        found: list[ExpiredImage] = []
        number: object = 0
        while rows := await self._database.read(
            "SELECT id, size_bytes, created_at, number FROM images INDEXED BY images_kept WHERE"
            f" trashed_at IS NULL AND number > ?1 AND NOT {_protected(rules)} ORDER BY number LIMIT"
            f" {_PAGE}",
            (int(str(number)), now),
        ):
            for row in rows:
                rule = _broken_rule(rules, left, now, float(str(row[2])))
                if rule is None:
                    return found
                found.append(_doomed(row, rule))
                left.images -= 1
                left.size_bytes -= found[-1].size_bytes
            number = rows[-1][3]
        return found

    async def _trash(self, doomed: Sequence[ExpiredImage], rules: CleanupRules, now: float) -> None:
        sql = (
            "UPDATE images SET trashed_at = ?2 WHERE id = ?1 AND trashed_at IS NULL AND NOT"
            f" {_protected(rules)}"
        )

        def trash(transaction: Transaction, ids: Sequence[str]) -> None:
            for image_id in ids:
                transaction.change(sql, (image_id, now))

        for group in in_groups([one.image_id for one in doomed]):
            await self._database.transact(partial(trash, ids=group))


def _protected(rules: CleanupRules) -> str:
    """A condition on an image; ?2 is the time."""
    reasons = ["?2 IS NULL"]
    if rules.keep_rated:
        reasons.append("images.rating > 0")
    if rules.keep_collected:
        reasons.append(
            "EXISTS (SELECT 1 FROM collection_images WHERE collection_images.number ="
            " images.number)"
        )
    if rules.keep_shared:
        good = "shares.revoked_at IS NULL AND shares.expires_at > ?2"
        reasons.append(
            f"EXISTS (SELECT 1 FROM shares WHERE shares.image_id = images.id AND {good})"
        )
        reasons.append(
            "EXISTS (SELECT 1 FROM collection_images JOIN shares ON shares.collection_id ="
            " collection_images.collection_id WHERE collection_images.number = images.number AND"
            f" {good})"
        )
    return f"({' OR '.join(reasons)})"


def _broken_rule(
    rules: CleanupRules, left: _Limits, now: float, created_at: float
) -> Literal["age", "count", "bytes"] | None:
    if rules.max_age_days is not None and created_at < now - rules.max_age_days * _DAY_SECONDS:
        return "age"
    if rules.max_images is not None and left.images > rules.max_images:
        return "count"
    if rules.max_bytes is not None and left.size_bytes > rules.max_bytes:
        return "bytes"
    return None


def _doomed(row: Row, rule: Literal["age", "count", "bytes", "trash"]) -> ExpiredImage:
    return ExpiredImage(
        image_id=str(row[0]), rule=rule, size_bytes=int(str(row[1])), created_at=float(str(row[2]))
    )
