"""Pictures in an object store, behind a CDN perhaps."""

from __future__ import annotations

from ._publisher import Publisher, PublishingStatus
from ._rows import Publication, PublicationState
from ._store import ObjectStore

__all__ = [
    "ObjectStore",
    "Publication",
    "PublicationState",
    "Publisher",
    "PublishingStatus",
]
