"""How much may pile up in the library."""

from __future__ import annotations

import msgspec

__all__ = ["CleanupRules"]


class CleanupRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may pile up: None is no limit. The oldest images go first, to the
    trash, and from there after `trash_days`.

    Images with stars, in a collection, or shared by a link that is still good
    stay, whatever their age, unless told otherwise. Thumbnails and other
    renditions are made again when they are wanted, so they just go, the least
    used first.
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
        for name in (
            "max_age_days",
            "max_images",
            "max_bytes",
            "trash_days",
            "max_rendition_bytes",
        ):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**62:
                raise ValueError(f"{name} must be 0 or more, not {value}")

    @property
    def has_limit(self) -> bool:
        """Whether anything goes to the trash by itself."""
        return (self.max_age_days, self.max_images, self.max_bytes) != (None, None, None)
