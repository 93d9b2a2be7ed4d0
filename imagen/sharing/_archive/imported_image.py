"""Metadata of imported images, and the checks that decide what to trust.

Hash, media type and size are measured from the bytes. A record is trusted if it
has their hash. Its values go into the columns of the library, so each is forced
into the range of its column.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from decimal import Decimal
from typing import Final

import msgspec

from ..._errors import InvalidRequestError, ProviderError
from ..._requests.request import Generate, Request
from ..._requests.tags import clean_tag
from ..._results.images import Cost, Image
from ...library._rows import ImageRow, row_of
from ...metadata._embed import read_record, remove_record
from ...metadata._foreign.foreign_record import ForeignRecord
from ...metadata._foreign.reading import read_foreign
from ...metadata._image_header import ImageHeader, read_image_header
from ...metadata._record import Record, request_of
from .sources import InvalidEntryError

__all__ = ["ClaimedRecord", "ImportedImage", "read_imported_image"]

_ID: Final = re.compile(r"[0-9a-f]{16}")
_MOST_USD: Final = Decimal(1_000_000_000)
_MOST_SECONDS: Final = 1e9
_MOST_STEPS: Final = 1000
_LONGEST_WORD: Final = 1000
_LONGEST_NOTE: Final = 100_000
_MOST_TAGS: Final = 1000
_UNKNOWN: Final = "unknown"
_ONLY_BYTES: Final = "has a record of other bytes: only the metadata in its file were used."


class ClaimedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Claims about an image outside of its file, from the archive or a sidecar;
    and the age of the file.
    """

    record: Record | None = None
    index: int = 0
    moment: datetime.datetime | None = None


class ImportedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image to import.

    `is_known` is set if a record of imagen describes these bytes, and
    `claimed_id` is their id in that record. `doubt` explains, as the rest of a
    sentence after the name, what was rejected.
    """

    data: bytes
    row: ImageRow
    claimed_id: str | None = None
    is_known: bool = False
    doubt: str | None = None


def read_imported_image(
    data: bytes, claimed: ClaimedRecord, *, trusted: bool, max_pixels: int, now: datetime.datetime
) -> ImportedImage:
    """Collect the metadata of an image with these bytes.

    Raises:
        InvalidEntryError: they are not an image, or a decompression bomb.
    """
    found = _measure(data, max_pixels)
    data, record, doubt = _verify(data, claimed.record)
    image = _bare_image(data, found, min(claimed.moment or now, now))
    if record is None:
        return ImportedImage(
            data=data, row=_row(_as_its_file_says(image, data, now), trusted=False), doubt=doubt
        )
    request, doubt = _request(record, doubt, trusted=trusted)
    image = msgspec.structs.replace(
        _apply(image, record, request, now),
        index=claimed.index if 0 <= claimed.index < 1 << 31 else 0,
    )
    return ImportedImage(
        data=data,
        row=_row(image, trusted=trusted),
        claimed_id=record.id,
        is_known=True,
        doubt=doubt,
    )


def _measure(data: bytes, max_pixels: int) -> ImageHeader:
    try:
        found = read_image_header(data)
    except ProviderError:
        raise InvalidEntryError("is not a PNG, JPEG, WebP, GIF or SVG image.") from None
    if found.width * found.height > max_pixels:
        raise InvalidEntryError(
            f"claims {found.width}x{found.height} pixels, and max_pixels of [bounds] in imagen.toml"
            f" allows {max_pixels:,}."
        )
    return found


def _verify(data: bytes, record: Record | None) -> tuple[bytes, Record | None, str | None]:
    """Return the bytes, the record that describes them, and why another record
    was rejected.
    """
    if record is not None and record.sha256 == hashlib.sha256(data).hexdigest():
        return data, record, None
    doubt = None if record is None else _ONLY_BYTES
    # A copy saved by imagen is replaced by its original.
    original = remove_record(data)
    return (data, None, doubt) if original is None else (original, read_record(data), doubt)


def _bare_image(data: bytes, found: ImageHeader, moment: datetime.datetime) -> Image:
    sha256 = hashlib.sha256(data).hexdigest()
    return Image(
        # The same image always gets the same id.
        id=sha256[:16],
        request=Generate(prompt=""),
        media_type=found.media_type,
        width=found.width,
        height=found.height,
        size_bytes=len(data),
        stored_sha256=sha256,
        model=_UNKNOWN,
        provider=_UNKNOWN,
        created_at=max(moment, datetime.datetime.fromtimestamp(0, datetime.UTC)),
    )


def _request(record: Record, doubt: str | None, *, trusted: bool) -> tuple[Request, str | None]:
    """Return the request of a record without fields that only the user's own
    request may set.
    """
    try:
        request = request_of(record)
    except InvalidRequestError as error:
        return Generate(prompt=record.prompt), f"came without its request: {error.message}"
    if not trusted:
        request = msgspec.structs.replace(request, options={}, tag=None, assume_usd=None)
    return request, doubt


def _apply(image: Image, record: Record, request: Request, now: datetime.datetime) -> Image:
    """Apply a record to the image, each value within its range."""
    return msgspec.structs.replace(
        image,
        id=record.id if _ID.fullmatch(record.id) else image.id,
        request=request,
        revised_prompt=record.revised_prompt,
        model=record.model[:_LONGEST_WORD] or _UNKNOWN,
        provider=record.provider[:_LONGEST_WORD] or _UNKNOWN,
        seed=_seed(record.seed),
        cost=_cost(record),
        adjustments=record.adjustments,
        created_at=_moment(record.created_at, now),
        seconds=record.seconds if 0 <= record.seconds < _MOST_SECONDS else 0.0,
        parent_id=(
            record.parent_id if record.parent_id and _ID.fullmatch(record.parent_id) else None
        ),
        provider_id=record.provider_id and record.provider_id[:_LONGEST_WORD],
        tags=_tags(record.tags),
        rating=record.rating if 0 <= record.rating <= 5 else 0,
        notes=record.notes[:_LONGEST_NOTE],
    )


def _as_its_file_says(image: Image, data: bytes, now: datetime.datetime) -> Image:
    """Apply metadata of the file that no valid record covers: the file was
    changed, or is another program's.
    """
    try:
        changed = read_record(data)
    except InvalidRequestError:
        changed = None
    if changed is not None:
        request, _ = _request(changed, None, trusted=False)
        described = _apply(image, changed, request, now)
        # A changed image is a new one, derived from that of the record.
        return msgspec.structs.replace(
            described,
            id=image.id,
            parent_id=described.id,
            cost=Cost(),
            provider_id=None,
            seconds=0.0,
        )
    foreign = read_foreign(data)
    return image if foreign is None else _as_foreign(image, foreign)


def _as_foreign(image: Image, foreign: ForeignRecord) -> Image:
    # Other programs write a negative seed for a random one.
    seed = None if foreign.seed is None or foreign.seed < 0 else _seed(foreign.seed)
    steps = (
        foreign.steps if foreign.steps is not None and 0 < foreign.steps <= _MOST_STEPS else None
    )
    request = Generate(
        prompt=foreign.prompt,
        negative_prompt=foreign.negative_prompt,
        seed=seed,
        guidance=foreign.guidance,
        steps=steps,
    )
    return msgspec.structs.replace(
        image,
        request=request,
        provider=foreign.program.lower(),
        model=(foreign.model or _UNKNOWN)[:_LONGEST_WORD],
        seed=seed,
    )


def _row(image: Image, *, trusted: bool) -> ImageRow:
    row = row_of(image)
    # Images with a fingerprint are cache hits; an untrusted image must not pass
    # for a model's.
    return row if trusted else msgspec.structs.replace(row, fingerprint=None)


def _seed(seed: int | None) -> int | None:
    return seed if seed is not None and -(1 << 63) <= seed < 1 << 63 else None


def _cost(record: Record) -> Cost:
    usd = record.cost_usd
    if usd is not None and not (usd.is_finite() and 0 <= usd < _MOST_USD):
        return Cost()
    return Cost(usd=usd, source=record.cost_source)


def _moment(moment: datetime.datetime, now: datetime.datetime) -> datetime.datetime:
    """Limit a time to 1970 through now, as it determines the position in the
    library: an image of the future would stay the newest.
    """
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=datetime.UTC)
    try:
        return min(
            max(aware.astimezone(datetime.UTC), datetime.datetime.fromtimestamp(0, datetime.UTC)),
            now,
        )
    except OverflowError:
        return now


def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    kept: set[str] = set()
    for tag in tags[:_MOST_TAGS]:
        try:
            kept.add(clean_tag(tag))
        except InvalidRequestError:
            continue
    return tuple(sorted(kept))
