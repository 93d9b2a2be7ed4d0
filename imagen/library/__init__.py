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

from .._policy.cleanup import CleanupRules
from .._system.atomic_files import save_file
from ._annotations import ImageRef
from ._check import Finding
from ._cleanup import CleanupPlan, ExpiredImage
from ._collections import Collection, Collections
from ._filters import Filters, SortOrder, State
from ._imaging.contact_sheets import contact_sheet
from ._imaging.hashes import hash_distance, perceptual_hash
from ._imaging.renditions import Renditions
from ._imaging.similar import Similar
from ._imaging.transforms import Transform, apply_transform, thumbnail
from ._library import Library, LibrarySize
from ._query import Lineage, Page

__all__ = [
    "CleanupPlan",
    "CleanupRules",
    "Collection",
    "Collections",
    "ExpiredImage",
    "Filters",
    "Finding",
    "ImageRef",
    "Library",
    "LibrarySize",
    "Lineage",
    "Page",
    "Renditions",
    "Similar",
    "SortOrder",
    "State",
    "Transform",
    "apply_transform",
    "contact_sheet",
    "hash_distance",
    "perceptual_hash",
    "save_file",
    "thumbnail",
]
