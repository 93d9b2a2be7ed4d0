"""The images that were made, kept for years: files, rows, and whatever helps to
find one again.

_rows, _files           an image as a row, and its bytes as a file
_tags, _filters         what may be said of images, and how they are asked for
_finding, _lineage      runs what is asked for; what was made from what
_curation, _collections what people do with images
_adoption               images from elsewhere
_removal, _cleanup      how they end, and which do so by themselves
_check                  whether rows and files agree
_library                all of it, as callers hold it
"""

from __future__ import annotations

from ._annotations import ImageRef
from ._check import Finding
from ._cleanup import CleanupPlan, ExpiredImage
from ._collections import Collection, Collections
from ._files import ImageFiles, PreparedImage
from ._filters import Filters, SortOrder, State
from ._library import Library, LibrarySize
from ._lineage import Lineage
from ._query import Page
from ._rows import ImageRow, insert_image, row_of

__all__ = [
    "CleanupPlan",
    "Collection",
    "Collections",
    "ExpiredImage",
    "Filters",
    "Finding",
    "ImageRef",
    "ImageRow",
    "Library",
    "LibrarySize",
    "Lineage",
    "SortOrder",
    "Page",
    "ImageFiles",
    "State",
    "PreparedImage",
    "insert_image",
    "row_of",
]
