"""Record of an image: everything needed to generate it again, and its purpose."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Final, Literal

import msgspec

from .._errors import InvalidRequestError, StorageError
from .._requests.catalog import JsonValue, Operation
from .._requests.request import InputImage, Request, sources_of
from .._requests.translation import Adjustment

__all__ = [
    "LARGEST_RECORD",
    "RECORD_FORMAT",
    "Record",
    "decode_record",
    "encode_record",
    "request_of",
]

RECORD_FORMAT: Final = 1
# Many times a prompt of 100 kB with its revision; imagen writes nothing larger.
LARGEST_RECORD: Final = 1 << 20
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Record of an image in its file.

    `format` is the version of this form and `software` the version of imagen
    that wrote it. `request` is the request as the caller made it; its input
    images are named by their SHA-256 and never contained. `sha256` is that of
    the provider's bytes, before the record was embedded. All other fields are
    as in `Image`.
    """

    format: int = RECORD_FORMAT
    software: str = ""
    id: str
    request: dict[str, JsonValue]
    operation: Operation
    prompt: str
    revised_prompt: str | None = None
    provider: str
    model: str
    seed: int | None = None
    adjustments: tuple[Adjustment, ...] = ()
    cost_usd: Decimal | None = None
    cost_source: Literal["reported", "computed", "estimated", "unknown"] = "unknown"
    created_at: datetime.datetime
    seconds: float = 0.0
    attempt_id: str = ""
    parent_id: str | None = None
    provider_id: str | None = None
    sha256: str
    tags: tuple[str, ...] = ()
    rating: int = 0
    notes: str = ""


_decode = msgspec.json.Decoder(Record).decode


def encode_record(record: Record) -> str:
    """Encode a record as JSON on one line.

    Raises:
        StorageError: it exceeds the limit of readers, or has invalid text.
    """
    try:
        encoded = msgspec.json.encode(record)
    except (UnicodeError, RecursionError) as error:
        raise StorageError(
            f"The record of the image {record.id} has invalid text: {error}."
        ) from None
    if len(encoded) > LARGEST_RECORD:
        raise StorageError(
            f"The record of the image {record.id} is larger than 1 MiB: save it without its record."
        )
    return encoded.decode()


def decode_record(text: str | bytes) -> Record:
    """Decode a record of this version or a later one; unknown fields are
    ignored.

    Raises:
        InvalidRequestError: it is not a record.
    """
    if len(text) > LARGEST_RECORD:
        raise InvalidRequestError(
            "The file has a record of more than 1 MiB, which imagen did not write."
        )
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"The file has a record that imagen cannot read: {error}."
        ) from None


def request_of(record: Record) -> Request:
    """Return the request of a record; it can be repeated while its input images
    are known.

    Raises:
        InvalidRequestError: this version does not support the request, or it
            names a file: an untrusted record must not make its reader upload
            local files.
    """
    try:
        request: Request = msgspec.convert(record.request, Request)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidRequestError(
            f"The record has a request that this version does not support: {error}."
        ) from None
    sources = [source for source in sources_of(request) if isinstance(source, InputImage)]
    if len(sources) < len(sources_of(request)):
        raise InvalidRequestError(
            "The record names a file or a link as input image, which only the user's own request"
            " may do."
        )
    if not all(_HASH.fullmatch(source.sha256) for source in sources):
        raise InvalidRequestError("The record has an input image with an invalid SHA-256.")
    return request
