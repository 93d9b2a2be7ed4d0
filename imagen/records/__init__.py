"""What a picture's file says of itself: our record, those of other programs, and who signed it."""

from __future__ import annotations

from ._description import FileDescription, describe_file
from ._embedding import (
    decode_sidecar,
    embed_record,
    is_sealed,
    read_record,
    read_sidecar,
    remove_sidecar,
    sidecar_of,
    write_sidecar,
)
from ._foreign import read_foreign
from ._foreign_record import ForeignRecord
from ._only_pixels import holds_only_pixels
from ._provenance import Provenance, read_provenance
from ._record import Record, decode_record, encode_record, request_of
from ._removing import remove_record
from ._signing import ContentSigner

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
