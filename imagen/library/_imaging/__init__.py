"""Image processing without a provider: thumbnails, sizes, formats, contact
sheets and perceptual hashes.
"""

from __future__ import annotations

from .contact_sheets import contact_sheet
from .decoding import MAX_PIXELS, open_image
from .hashes import hash_distance, perceptual_hash
from .renditions import Renditions, remove_renditions
from .similar import HashProgress, Similar
from .transforms import Transform, apply_transform, thumbnail

__all__ = [
    "HashProgress",
    "MAX_PIXELS",
    "Renditions",
    "Similar",
    "Transform",
    "apply_transform",
    "contact_sheet",
    "hash_distance",
    "open_image",
    "perceptual_hash",
    "remove_renditions",
    "thumbnail",
]
