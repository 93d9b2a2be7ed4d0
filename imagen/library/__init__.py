"""Image library: files, database rows, and queries over them.

_rows, _files           images as rows; their bytes as files
_image_store, _uploads  objects and their copies; what waits for the store
_filters, _query        search filters; queries, pages and lineage
_annotations            tags, ratings, notes and the trash
_collections            ordered collections of images
_deletion, _cleanup     permanent deletion; cleanup by rules
_housekeeping           periodic cleanup while a client is open
_check                  consistency of rows and files, with repair
_library                the public `Library`
_imaging                thumbnails, formats, sheets, perceptual hashes
"""

from __future__ import annotations

from .._policy.cleanup import CleanupRules
from .._storage.moving import Moved, move_to_postgresql
from .._storage.unreadable_file import find_damage, put_aside
from .._system.atomic_files import save_file
from ._annotations import ImageRef
from ._check import Finding
from ._cleanup import CleanupPlan, ExpiredImage
from ._collections import Collection, Collections
from ._filters import Filters, SortOrder, State
from ._imaging.contact_sheets import contact_sheet
from ._imaging.decoding import open_image
from ._imaging.hashes import hash_distance, perceptual_hash
from ._imaging.renditions import Renditions
from ._imaging.similar import Similar
from ._imaging.transforms import Transform, apply_transform, thumbnail
from ._library import Library, LibrarySize, Timeline
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
    "Moved",
    "Page",
    "Renditions",
    "Similar",
    "SortOrder",
    "State",
    "Timeline",
    "Transform",
    "apply_transform",
    "contact_sheet",
    "find_damage",
    "hash_distance",
    "move_to_postgresql",
    "open_image",
    "perceptual_hash",
    "put_aside",
    "save_file",
    "thumbnail",
]
