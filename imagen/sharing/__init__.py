"""Images for others: links that expire, and collections as one file.

_safe_names                      names for files and messages
_gallery                         images as a page
_archive_format, _archive_writer  what an archive holds, and how it is written whole
_exporting                       a library or a part of it into an archive
_sources, _arrivals, _importing  whatever holds images, what is known of them, and how they come in
_archives                        both ways, as callers hold them
_share_tokens, _shares           links to images, and the words that open them
_share_app                       the web application that answers them
"""

from __future__ import annotations

from ._archive.archives import Archives
from ._archive.format import ExportResult, ImportResult, RejectedEntry
from ._links.app import share_app
from ._links.shares import Share, Shares
from ._publishing.publisher import Publisher, PublishingStatus
from ._publishing.rows import Publication, PublicationState

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
