"""Search for similar images by hash: milliseconds for a million images.

Two hashes that differ in at most seven of 64 bits differ in at most one bit of
some quarter, by the pigeonhole principle (multi-index hashing: Norouzi,
Punjani, Fleet, https://arxiv.org/abs/1307.2982). So looking up the 17 values
near each quarter finds all of them, and few others.

The first search hashes the images: the newest first, and identical bytes once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec
import trio

from ..._errors import ConfigurationError, InvalidRequestError, StorageError
from ..._results.images import Image
from ..._storage.database import Database, Statement, Value
from ..._system.nursery import open_bare_nursery
from ..._system.threads import Workers
from .grouping import group_hashes
from .hashes import check_imagehash, hash_distance, perceptual_hash

__all__ = ["HashProgress", "MAX_DISTANCE", "Similar"]

HashProgress = Callable[[int, int], None]
"""Progress callback: receives the number of images hashed, and the total."""

MAX_DISTANCE = 7
# `groups` suits larger results.
_MOST = 1000
_BANDS, _BAND_BITS = 4, 16
_BAND_MASK = (1 << _BAND_BITS) - 1
# Each task may hold a decoded image in memory, so fewer than the workers'
# threads.
_CHUNK, _AT_ONCE = 64, 4
_PAGE = 50_000
_SHIFTS = tuple(_BAND_BITS * band for band in range(_BANDS))
_BEYOND = (1 << 63) - 1

_PAGE_OF_HASHES = "SELECT number, phash FROM image_hashes WHERE number > ? ORDER BY number LIMIT ?"

_UNHASHED = """
SELECT images.number, images.sha256, (
    SELECT image_hashes.phash FROM images AS same
    JOIN image_hashes ON image_hashes.number = same.number
    WHERE same.sha256 = images.sha256 LIMIT 1
) FROM images_unhashed JOIN images ON images.number = images_unhashed.number
WHERE images_unhashed.number < ? ORDER BY images_unhashed.number DESC LIMIT ?
"""
# A deleted image gets no hash.
_KEEP = (
    "INSERT INTO image_hashes SELECT number, ? FROM images WHERE number = ?"
    " ON CONFLICT (number) DO UPDATE SET phash = excluded.phash"
)
_HASHED = "DELETE FROM images_unhashed WHERE number = ?"
_HASH_OF = (
    "SELECT phash FROM images JOIN image_hashes ON image_hashes.number = images.number WHERE id = ?"
)
# A range of one value: for `phash = ?`, SQLite also substitutes the value in
# the expression, which then matches no index.
_NEWEST_OF = """
SELECT images.id FROM image_hashes JOIN images ON images.number = image_hashes.number
WHERE phash >> 0 & 65535 = ? AND phash BETWEEN ? AND ? AND images.trashed_at IS NULL
ORDER BY image_hashes.number DESC LIMIT ?
"""


class _Unhashed(msgspec.Struct, frozen=True, array_like=True):
    number: int
    sha256: str
    phash: int | None


class Similar:
    """Similar images of a library, without trashed ones. Needs the extra
    `similar`.

    Args:
        read: Returns the bytes of an image by its SHA-256, or None if its file
            is missing. Blocking.
    """

    def __init__(
        self, database: Database, workers: Workers, *, read: Callable[[str], bytes | None]
    ) -> None:
        self._database = database
        self._workers = workers
        self._read = read
        self._hashing = trio.Lock()

    async def to(
        self,
        image: Image | bytes,
        *,
        limit: int = 20,
        max_distance: int = MAX_DISTANCE,
        progress: HashProgress | None = None,
    ) -> list[tuple[str, int]]:
        """Return the ids of similar images, each with the number of differing
        bits, the nearest first.

        Args:
            image: An image of the library, which is not among the results, or
                the bytes of any other.
            limit: From 1 to 1000.
            max_distance: From 0 to 7; all images within it are found. Beyond,
                images have little in common.
            progress: Receives the progress of hashing, which comes first if
                images lack a hash.

        A cancellation keeps the hashes computed so far.

        Raises:
            InvalidRequestError: an argument is out of range, or the image
                cannot be decoded.
            ConfigurationError: the extra is not installed.
            StorageError: the image or the database cannot be read.
        """
        if not 0 <= max_distance <= MAX_DISTANCE or not 1 <= limit <= _MOST:
            raise InvalidRequestError(
                "Invalid search for similar images: expected a distance from 0 to 7 and a limit"
                " from 1 to 1000."
            )
        await self.hash_missing(progress)
        wanted = await self._hash_of(image)
        found: dict[str, int] = {}
        for phash in await self._find_near(wanted, max_distance):
            # One more than needed, as the image itself is among them.
            rows = await self._database.read(
                _NEWEST_OF, (phash & _BAND_MASK, phash, phash, limit + 1 - len(found))
            )
            found.update((str(image_id), hash_distance(wanted, phash)) for (image_id,) in rows)
            if len(found) > limit:
                break
        if isinstance(image, Image):
            found.pop(image.id, None)
        return list(found.items())[:limit]

    async def groups(
        self, *, max_distance: int = 4, progress: HashProgress | None = None
    ) -> list[tuple[str, ...]]:
        """Return the ids of nearly identical images by group: the largest group
        first, within a group the newest image first.

        Two images belong to one group if a chain of images connects them, each
        at most `max_distance` from the next. A million images take seconds and
        about 100 MB.

        Raises:
            InvalidRequestError: the distance is not from 0 to 7.
            ConfigurationError: the extra is not installed.
            StorageError: the database cannot be read.
        """
        if not 0 <= max_distance <= MAX_DISTANCE:
            raise InvalidRequestError(f"Invalid max_distance {max_distance}: expected 0 to 7.")
        await self.hash_missing(progress)
        numbers, hashes = await self._all_hashes()
        groups = await self._workers.run(partial(group_hashes, numbers, hashes, max_distance))
        ids = await self._ids([number for group in groups for number in group])
        kept = [tuple(ids[number] for number in group if number in ids) for group in groups]
        return [group for group in kept if len(group) > 1]

    async def hash_missing(self, progress: HashProgress | None = None) -> None:
        """Hash the images without a hash, the newest first. A missing or
        damaged file gets none.

        A cancellation keeps the hashes computed so far.

        Raises:
            ConfigurationError: the extra is not installed.
            StorageError: the database cannot be read or written.
        """
        async with self._hashing:
            rows = await self._database.read("SELECT count(*) FROM images_unhashed")
            total, done, before = int(rows[0][0] or 0), 0, _BEYOND
            if total:
                await self._workers.run(check_imagehash)
            while rows := await self._database.read(_UNHASHED, (before, _CHUNK)):
                images = [msgspec.convert(row, _Unhashed) for row in rows]
                await self._database.write(await self._hash(images))
                before = images[-1].number
                done += len(images)
                if progress is not None:
                    progress(done, max(done, total))

    async def _hash(self, images: Sequence[_Unhashed]) -> list[Statement]:
        """Return the statements for these images; none for an image that could
        not be read, so that it is tried again.
        """
        hashes: dict[str, int | None] = {
            one.sha256: one.phash for one in images if one.phash is not None
        }
        slots = trio.Semaphore(_AT_ONCE)

        async def hash_one(sha256: str) -> None:
            async with slots:
                # An SVG may be drawn later, once the extra is installed.
                with suppress(StorageError, OSError, ConfigurationError):
                    hashes[sha256] = await self._workers.run(
                        partial(_hash_file, self._read, sha256)
                    )

        async with open_bare_nursery() as nursery:
            for sha256 in {one.sha256 for one in images} - hashes.keys():
                nursery.start_soon(hash_one, sha256)
        statements: list[Statement] = []
        for one in images:
            if one.sha256 in hashes:
                statements.append((_HASHED, (one.number,)))
                if (phash := hashes[one.sha256]) is not None:
                    statements.append((_KEEP, (phash, one.number)))
        return statements

    async def _hash_of(self, image: Image | bytes) -> int:
        """Return the hash of an image; of a library image the stored one."""
        if isinstance(image, Image):
            if rows := await self._database.read(_HASH_OF, (image.id,)):
                return msgspec.convert(rows[0][0], int)
            return await self._workers.run(lambda: perceptual_hash(image.data))
        return await self._workers.run(partial(perceptual_hash, image))

    async def _find_near(self, wanted: int, max_distance: int) -> list[int]:
        """Return the stored hashes within a distance, the nearest first."""
        probes: list[Value] = []
        for shift in _SHIFTS:
            band = wanted >> shift & _BAND_MASK
            probes.append(band)
            if max_distance >= _BANDS:
                probes.extend(band ^ 1 << bit for bit in range(_BAND_BITS))
        marks = ", ".join("?" * (len(probes) // _BANDS))
        sql = " UNION ".join(
            f"SELECT phash FROM image_hashes WHERE phash >> {shift} & 65535 IN ({marks})"
            for shift in _SHIFTS
        )
        near = [
            (hash_distance(wanted, phash), phash)
            for (phash,) in await self._database.read(sql, probes)
            if isinstance(phash, int)
        ]
        return [phash for distance, phash in sorted(near) if distance <= max_distance]

    async def _all_hashes(self) -> tuple[array[int], array[int]]:
        numbers, hashes = array("q"), array("q")
        last = -_BEYOND
        while rows := await self._database.read(_PAGE_OF_HASHES, (last, _PAGE)):
            numbers.extend(number for number, _ in rows if isinstance(number, int))
            hashes.extend(phash for _, phash in rows if isinstance(phash, int))
            last = numbers[-1]
        return numbers, hashes

    async def _ids(self, numbers: Sequence[int]) -> dict[int, str]:
        ids: dict[int, str] = {}
        for start in range(0, len(numbers), _MOST):
            some = numbers[start : start + _MOST]
            sql = (
                f"SELECT number, id FROM images WHERE number IN ({', '.join('?' * len(some))}) AND"
                " trashed_at IS NULL"
            )
            ids.update(msgspec.convert(await self._database.read(sql, some), list[tuple[int, str]]))
        return ids


def _hash_file(read: Callable[[str], bytes | None], sha256: str) -> int | None:
    data = read(sha256)
    try:
        return None if data is None else perceptual_hash(data)
    except InvalidRequestError:
        return None
