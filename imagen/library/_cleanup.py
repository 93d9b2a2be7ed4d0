"""Cleanup of the library by rules, and of the trash by age."""

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
    """An image that a rule selects for cleanup."""

    image_id: str
    rule: Literal["age", "count", "bytes", "trash"]
    size_bytes: int
    created_at: float


class CleanupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Result or preview of a cleanup: images to trash, and trashed images to
    delete permanently.
    """

    trashed: tuple[ExpiredImage, ...]
    deleted: tuple[ExpiredImage, ...]


class _Remaining(msgspec.Struct):
    """Images that remain, in the order of the cleanup."""

    images: int
    size_bytes: int


class Cleanup:
    """Cleanup by rules."""

    def __init__(self, database: Database, deletion: Deletion, now: Callable[[], float]) -> None:
        self._database = database
        self._deletion = deletion
        self._now = now

    async def run(self, rules: CleanupRules, *, dry_run: bool = False) -> CleanupPlan:
        """Apply the rules, or only return the plan if `dry_run`. Images that
        become protected meanwhile are kept.
        """
        now = self._now()
        # Images trashed now stay in the trash for its full term, so the two
        # sets are disjoint.
        overdue = await self._overdue(now - rules.trash_days * _DAY_SECONDS)
        expired = await self._expired(rules, now)
        if not dry_run:
            await self._trash(expired, rules, now)
            before = now - rules.trash_days * _DAY_SECONDS
            await self._deletion.delete(
                [one.image_id for one in overdue], only_trashed_before=before
            )
        return CleanupPlan(trashed=tuple(expired), deleted=tuple(overdue))

    async def _overdue(self, before: float) -> Sequence[ExpiredImage]:
        rows = await self._database.read(
            "SELECT id, size_bytes, created_at FROM images WHERE trashed_at < ? ORDER BY"
            " trashed_at",
            (before,),
        )
        return [_read_expired(row, "trash") for row in rows]

    async def _expired(self, rules: CleanupRules, now: float) -> Sequence[ExpiredImage]:
        if not rules.has_limit:
            return []
        ((images, size_bytes),) = await self._database.read(
            "SELECT images, size_bytes FROM library_size WHERE trashed = 0"
        )
        left = _Remaining(int(str(images)), int(str(size_bytes)))
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
                found.append(_read_expired(row, rule))
                left.images -= 1
                left.size_bytes -= found[-1].size_bytes
            number = rows[-1][3]
        return found

    async def _trash(
        self, expired: Sequence[ExpiredImage], rules: CleanupRules, now: float
    ) -> None:
        sql = (
            "UPDATE images SET trashed_at = ?2 WHERE id = ?1 AND trashed_at IS NULL AND NOT"
            f" {_protected(rules)}"
        )

        def trash(transaction: Transaction, ids: Sequence[str]) -> None:
            for image_id in ids:
                transaction.change(sql, (image_id, now))

        for group in in_groups([one.image_id for one in expired]):
            await self._database.transact(partial(trash, ids=group))


def _protected(rules: CleanupRules) -> str:
    """Return an SQL condition on an image; ?2 is the time."""
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
    rules: CleanupRules, left: _Remaining, now: float, created_at: float
) -> Literal["age", "count", "bytes"] | None:
    if rules.max_age_days is not None and created_at < now - rules.max_age_days * _DAY_SECONDS:
        return "age"
    if rules.max_images is not None and left.images > rules.max_images:
        return "count"
    if rules.max_bytes is not None and left.size_bytes > rules.max_bytes:
        return "bytes"
    return None


def _read_expired(row: Row, rule: Literal["age", "count", "bytes", "trash"]) -> ExpiredImage:
    return ExpiredImage(
        image_id=str(row[0]), rule=rule, size_bytes=int(str(row[1])), created_at=float(str(row[2]))
    )
