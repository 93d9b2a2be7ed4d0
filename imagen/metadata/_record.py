"""The record of an image: everything that is needed to make it again, and what
it was made for.
"""

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
# A prompt of 100 kB with its revision fits many times; what is larger was not
# written by imagen.
LARGEST_RECORD: Final = 1 << 20
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What the file of an image says of itself.

    `format` is the version of this form and `software` the version of imagen
    that wrote it. `request` is the request as it was asked; the images that it
    worked on are named by their SHA-256 and never contained. `sha256` is that
    of the bytes as the provider sent them, before the record was put in.
    Everything else is as in `Image`.
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
    """A record as JSON on one line.

    Raises:
        StorageError: it is larger than any reader takes, or holds what is no
            text.
    """
    try:
        encoded = msgspec.json.encode(record)
    except (UnicodeError, RecursionError) as error:
        raise StorageError(
            f"The record of the image {record.id} holds what is no text: {error}."
        ) from None
    if len(encoded) > LARGEST_RECORD:
        raise StorageError(
            f"The record of the image {record.id} is larger than 1 MiB: save it without its record."
        )
    return encoded.decode()


def decode_record(text: str | bytes) -> Record:
    """A record that `encode_record` made, of this version or a later one:
    fields that it does not know are passed over.

    Raises:
        InvalidRequestError: it is none.
    """
    if len(text) > LARGEST_RECORD:
        raise InvalidRequestError(
            "The file holds a record of more than 1 MiB, which imagen did not write."
        )
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequestError(
            f"The file holds a record that imagen cannot read: {error}."
        ) from None


def request_of(record: Record) -> Request:
    """The request of a record, fit to be made again where the images that it
    worked on are still known.

    Raises:
        InvalidRequestError: this version of imagen does not know such requests,
            or it names a file: the record of a image that somebody sent must
            not make anybody upload files of his own.
    """
    try:
        request: Request = msgspec.convert(record.request, Request)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidRequestError(
            f"The record holds a request that this version cannot make: {error}."
        ) from None
    sources = [source for source in sources_of(request) if isinstance(source, InputImage)]
    if len(sources) < len(sources_of(request)):
        raise InvalidRequestError(
            "The record names a file or a link to work on, which only its own user may do."
        )
    if not all(_HASH.fullmatch(source.sha256) for source in sources):
        raise InvalidRequestError("The record names an image to work on by what is no SHA-256.")
    return request
