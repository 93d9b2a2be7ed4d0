"""Images that were set aside because no reader knew their form: read again, and
added to the library.

Their attempts have ended and are paid: nothing is sent, and no cost is booked.
"""

from __future__ import annotations

import datetime
import hashlib
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec

from .._errors import ProviderError
from .._requests.request import Generate, Request, decode_request
from .._results.events import AttemptEnded
from .._results.images import Cost, Image
from .._results.prices import tidy_usd
from .._storage.ledger import AttemptRecord
from ..library._files import PreparedImage
from ..library._library import Library
from ..library._rows import row_of
from .inputs import parent_of
from .runtime import Runtime

__all__ = ["KeptImages"]

# Any other attempt is read from its replies, which hold these images too.
_ENDED = ("succeeded", "failed", "refused")
_MICRODOLLAR = Decimal("0.000001")


class KeptImages:
    """Images that the attempts of a home set aside."""

    def __init__(self, runtime: Runtime) -> None:
        self._set_aside = runtime.set_aside
        self._database = runtime.database
        self._ledger = runtime.ledger
        self._library = runtime.library
        self._workers = runtime.workers
        self._max_pixels = runtime.settings.bounds.max_pixels
        self._emit = runtime.emit

    async def read_again(self) -> Sequence[Image]:
        """Add those that can be read by now to the library, and return them.

        Raises:
            StorageError: the library does not take one; it stays set aside.
        """
        if self._library is None:
            return []
        paths = await self._set_aside.images()
        kept = Counter(path.parent for path in paths)
        found: list[Image | None] = []
        for path in paths:
            found.append(await self._read_one(path, self._library, kept[path.parent]))
            kept[path.parent] -= found[-1] is not None
        return [image for image in found if image is not None]

    async def _read_one(self, path: Path, library: Library, kept: int) -> Image | None:
        row = await self._ledger.find(path.parent.name)
        if row is None or row.state not in _ENDED:
            return None
        prepared = await self._workers.run(partial(self._prepare, path, library))
        if prepared is None:
            return None
        image = _image(path, row, prepared, await self._listed(row), kept)
        await library.adopt(row_of(image), prepared.data)
        await self._set_aside.drop_image(path)
        self._emit(_ended(row, image))
        return image

    async def _listed(self, row: AttemptRecord) -> Sequence[int]:
        """Return the indexes of the images of an attempt that the library has."""
        rows = await self._database.read(
            "SELECT batch_index FROM images WHERE attempt_id = ?", (row.id,)
        )
        return [index for (index,) in rows if isinstance(index, int)]

    def _prepare(self, path: Path, library: Library) -> PreparedImage | None:
        """Read the file; None if it is still no image that imagen opens."""
        try:
            prepared = library.files.prepare(path.read_bytes())
        except (ProviderError, OSError):
            return None
        header = prepared.header
        return prepared if header.width * header.height <= self._max_pixels else None


def _image(
    path: Path, row: AttemptRecord, prepared: PreparedImage, listed: Sequence[int], kept: int
) -> Image:
    request = _request_of(row)
    return Image(
        id=_id_of(path),
        index=_index_of(row, listed),
        request=request,
        media_type=prepared.header.media_type,
        width=prepared.header.width,
        height=prepared.header.height,
        size_bytes=len(prepared.data),
        stored_sha256=prepared.sha256,
        path=prepared.path,
        remote=prepared.remote,
        model=row.model,
        provider=row.provider,
        cost=_share_of(row, len(listed) + kept),
        created_at=_sent_at(row),
        attempt_id=row.id,
        parent_id=parent_of(request),
        provider_id=row.remote_id,
    )


def _id_of(path: Path) -> str:
    """Return the same id each time: where the process dies before the file is
    removed, the image is not listed twice.
    """
    return hashlib.sha256(f"{path.parent.name}/{path.name}".encode()).hexdigest()[:16]


def _request_of(row: AttemptRecord) -> Request:
    try:
        return decode_request(row.request_json)
    except (msgspec.MsgspecError, ValueError):
        return Generate(prompt="")


def _sent_at(row: AttemptRecord) -> datetime.datetime:
    try:
        return datetime.datetime.fromtimestamp(row.sent_at or row.created_at, datetime.UTC)
    except (ValueError, OverflowError, OSError):
        # The row is damaged.
        return datetime.datetime.fromtimestamp(0, datetime.UTC)


def _index_of(row: AttemptRecord, listed: Sequence[int]) -> int:
    """Return the first index of the attempt that has no image, or its last."""
    last = row.first_index + max(1, row.images) - 1
    indexes = range(row.first_index, last)
    return next((index for index in indexes if index not in listed), last)


def _share_of(row: AttemptRecord, images: int) -> Cost:
    """Return the cost of one image of an attempt that brought `images`."""
    if row.settled_usd is None:
        return Cost()
    share = (row.settled_usd / max(row.images, images)).quantize(_MICRODOLLAR)
    return Cost(usd=tidy_usd(share), source="estimated")


def _ended(row: AttemptRecord, image: Image) -> AttemptEnded:
    return AttemptEnded(
        attempt_id=row.id,
        indexes=(image.index,),
        request=image.request,
        model=row.model,
        provider=row.provider,
        outcomes=(image,),
    )
