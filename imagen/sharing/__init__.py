"""Sharing of images: archives, expiring links, and publishing to an object
store.

_archive     zip files with images, records and a gallery; import
_links       signed links, and the web application that serves them
_publishing  outbox that copies images to an object store
"""

from __future__ import annotations

from ._archive.archives import Archives
from ._archive.format import ExportResult, ImportResult, RejectedEntry
from ._links.app import share_app
from ._links.shares import Share, Shares
from ._publishing.publications import Publication, PublicationState
from ._publishing.publisher import Publisher, PublishingStatus

__all__ = [
    "Archives",
    "ExportResult",
    "ImportResult",
    "Publication",
    "PublicationState",
    "Publisher",
    "PublishingStatus",
    "RejectedEntry",
    "Share",
    "Shares",
    "share_app",
]
