"""What an image's file says of itself: our record, those of other programs, and
who signed it.
"""

from __future__ import annotations

from ._c2pa.manifest import Provenance, read_provenance
from ._c2pa.signing import ContentSigner
from ._describe import FileDescription, describe_file
from ._embed import (
    decode_sidecar,
    embed_record,
    is_sealed,
    read_record,
    read_sidecar,
    remove_sidecar,
    sidecar_of,
    write_sidecar,
)
from ._foreign.reading import read_foreign
from ._foreign.record import ForeignRecord
from ._only_pixels import holds_only_pixels
from ._record import Record, decode_record, encode_record, request_of
from ._remove import remove_record

__all__ = [
    "ContentSigner",
    "FileDescription",
    "ForeignRecord",
    "Provenance",
    "Record",
    "decode_record",
    "decode_sidecar",
    "describe_file",
    "embed_record",
    "encode_record",
    "holds_only_pixels",
    "is_sealed",
    "read_foreign",
    "read_provenance",
    "read_record",
    "read_sidecar",
    "remove_record",
    "remove_sidecar",
    "request_of",
    "sidecar_of",
    "write_sidecar",
]
