"""Limits of the library's size and age."""

from __future__ import annotations

import msgspec

from .._system.numbers import check_numbers

__all__ = ["CleanupRules"]


class CleanupRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules of the cleanup: None is no limit. The oldest images are trashed
    first, and deleted after `trash_days`.

    Images with stars, in a collection, or shared by a valid link stay at any
    age, unless a rule includes them. Thumbnails and other renditions are made
    again when needed, so they are deleted at once, the least used first.
    """

    max_age_days: float | None = None
    max_images: int | None = None
    max_bytes: int | None = None
    keep_rated: bool = True
    keep_collected: bool = True
    keep_shared: bool = True
    trash_days: float = 30.0
    max_rendition_bytes: int = 1_000_000_000

    def __post_init__(self) -> None:
        check_numbers(self)

    @property
    def has_limit(self) -> bool:
        """True if a rule trashes images automatically."""
        return (self.max_age_days, self.max_images, self.max_bytes) != (None, None, None)
