"""Publishing of images to an object store, e.g. behind a CDN."""

from __future__ import annotations

from .publications import Publication, PublicationState
from .publisher import Publisher, PublishingStatus

__all__ = [
    "Publication",
    "PublicationState",
    "Publisher",
    "PublishingStatus",
]
