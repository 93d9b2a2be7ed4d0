"""Publishing of images to an object store, e.g. behind a CDN."""

from __future__ import annotations

from .object_store import ObjectStore
from .publications import Publication, PublicationState
from .publisher import Publisher, PublishingStatus

__all__ = [
    "ObjectStore",
    "Publication",
    "PublicationState",
    "Publisher",
    "PublishingStatus",
]
