"""Metadata of image files: our record, those of other programs, and C2PA
signatures.
"""

from __future__ import annotations

from ._c2pa.manifest import Provenance
from ._c2pa.signing import ContentSigner
from ._describe import FileDescription, describe_file
from ._foreign.foreign_record import ForeignRecord
from ._record import Record

__all__ = [
    "ContentSigner",
    "FileDescription",
    "ForeignRecord",
    "Provenance",
    "Record",
    "describe_file",
]
