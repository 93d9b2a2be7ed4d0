"""Images that look alike, found by their hashes in milliseconds among a
million.

Two hashes that differ in at most seven of 64 bits differ in at most one bit of
some quarter, by the pigeonhole principle (multi-index hashing: Norouzi,
Punjani, Fleet, https://arxiv.org/abs/1307.2982). So looking up the 17 values
near each quarter finds all of them, and little else.

Hashes are made when somebody looks for the first time: the newest images first,
and once for the same bytes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from ..._errors import InvalidRequestError, StorageError
from ..._results.images import Image
from ..._storage.database import Database, Statement, Value
from ..._system.nursery import open_bare_nursery
from ..._system.threads import Workers
from .grouping import group_hashes
from .hashes import check_imagehash, hash_distance, perceptual_hash

__all__ = ["HashProgress", "MAX_DISTANCE", "Similar"]

HashProgress = Callable[[int, int], None]
"""Is told how many images have been hashed, and how many there were to hash."""

MAX_DISTANCE = 7
# More similar images than that are for `groups` to tell.
_MOST = 1000
_BANDS, _BAND_BITS = 4, 16
_BAND_MASK = (1 << _BAND_BITS) - 1
# Each may hold a decoded image in memory; workers have threads for more.
_CHUNK, _AT_ONCE = 64, 4
_PAGE = 50_000
_SHIFTS = tuple(_BAND_BITS * band for band in range(_BANDS))
_BEYOND = (1 << 63) - 1

_PAGE_OF_HASHES = "SELECT number, phash FROM image_hashes WHERE number > ? ORDER BY number LIMIT ?"

_UNHASHED = """
SELECT images.number, images.sha256, (
    SELECT image_hashes.phash FROM images AS same JOIN image_hashes ON image_hashes.number = same.number
    WHERE same.sha256 = images.sha256 LIMIT 1
) FROM images_unhashed JOIN images ON images.number = images_unhashed.number
WHERE images_unhashed.number < ? ORDER BY images_unhashed.number DESC LIMIT ?
"""
# Of an image that was deleted meanwhile nothing is kept.
_KEEP = "INSERT OR REPLACE INTO image_hashes SELECT number, ? FROM images WHERE number = ?"
_HASHED = "DELETE FROM images_unhashed WHERE number = ?"
_HASH_OF = (
    "SELECT phash FROM images JOIN image_hashes ON image_hashes.number = images.number WHERE id = ?"
)
# A range of one value: where `phash = ?`, SQLite puts the value into the
# expression too, which then fits no index any more.
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
    """Which images of a library look alike; those in the trash are left out. It
    needs the extra `similar`.

    Args:
        read: Gives the bytes of an image by its SHA-256, or None where its file
            is gone. Blocking.
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
        """The images that look like one: their ids, each with the number of
        bits that differ, the nearest first.

        Args:
            image: An image of the library, which is not among the results, or
                the bytes of any other.
            limit: From 1 to 1000.
            max_distance: From 0 to 7; all images within it are found. Beyond,
                images have little in common.
            progress: Is told how the hashing goes, which comes first where
                images have no hash yet.

        A cancellation leaves the hashes that were made.

        Raises:
            InvalidRequestError: a bound is passed, or the image cannot be
                decoded.
            ConfigurationError: the extra is not installed.
            StorageError: the image or the database cannot be read.
        """
        if not 0 <= max_distance <= MAX_DISTANCE or not 1 <= limit <= _MOST:
            raise InvalidRequestError(
                "Similar images have a distance from 0 to 7, and the limit is from 1 to 1000."
            )
        await self.hash_missing(progress)
        looks = await self._look(image)
        found: dict[str, int] = {}
        for phash in await self._find_near(looks, max_distance):
            # One more than is wanted, as the image itself is among them.
            rows = await self._database.read(
                _NEWEST_OF, (phash & _BAND_MASK, phash, phash, limit + 1 - len(found))
            )
            found.update((str(image_id), hash_distance(looks, phash)) for (image_id,) in rows)
            if len(found) > limit:
                break
        if isinstance(image, Image):
            found.pop(image.id, None)
        return list(found.items())[:limit]

    async def groups(
        self, *, max_distance: int = 4, progress: HashProgress | None = None
    ) -> list[tuple[str, ...]]:
        """The ids of images that are nearly the same, group by group: the
        largest first, within one the newest first.

        Images belong together where a chain of images leads from one to the
        other, each at most `max_distance` from the next. A million images take
        seconds and some 100 MB.

        Raises:
            InvalidRequestError: the distance is not from 0 to 7.
            ConfigurationError: the extra is not installed.
            StorageError: the database cannot be read.
        """
        if not 0 <= max_distance <= MAX_DISTANCE:
            raise InvalidRequestError("Similar images have a distance from 0 to 7.")
        await self.hash_missing(progress)
        numbers, hashes = await self._all_hashes()
        groups = await self._workers.run(partial(group_hashes, numbers, hashes, max_distance))
        ids = await self._ids([number for group in groups for number in group])
        kept = [tuple(ids[number] for number in group if number in ids) for group in groups]
        return [group for group in kept if len(group) > 1]

    async def hash_missing(self, progress: HashProgress | None = None) -> None:
        """Hashes the images that have no hash yet, the newest first. One whose
        file is gone or damaged gets none.

        A cancellation leaves the hashes that were made.

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
        """What to write of these images; of one that could not be read just now
        nothing, so that it is tried again.
        """
        looks: dict[str, int | None] = {
            one.sha256: one.phash for one in images if one.phash is not None
        }
        slots = trio.Semaphore(_AT_ONCE)

        async def look(sha256: str) -> None:
            async with slots:
                with suppress(StorageError, OSError):
                    looks[sha256] = await self._workers.run(partial(_hash_file, self._read, sha256))

        async with open_bare_nursery() as nursery:
            for sha256 in {one.sha256 for one in images} - looks.keys():
                nursery.start_soon(look, sha256)
        statements: list[Statement] = []
        for one in images:
            if one.sha256 in looks:
                statements.append((_HASHED, (one.number,)))
                if (phash := looks[one.sha256]) is not None:
                    statements.append((_KEEP, (phash, one.number)))
        return statements

    async def _look(self, image: Image | bytes) -> int:
        """The hash of an image: the one that is kept, where it is of the
        library.
        """
        source: bytes | Path
        if isinstance(image, Image):
            if rows := await self._database.read(_HASH_OF, (image.id,)):
                return msgspec.convert(rows[0][0], int)
            source = image.path or image.data
        else:
            source = image
        return await self._workers.run(partial(perceptual_hash, source))

    async def _find_near(self, looks: int, max_distance: int) -> list[int]:
        """The hashes that images have within a distance, the nearest first."""
        probes: list[Value] = []
        for shift in _SHIFTS:
            band = looks >> shift & _BAND_MASK
            probes.append(band)
            if max_distance >= _BANDS:
                probes.extend(band ^ 1 << bit for bit in range(_BAND_BITS))
        marks = ", ".join("?" * (len(probes) // _BANDS))
        sql = " UNION ".join(
            f"SELECT phash FROM image_hashes WHERE phash >> {shift} & 65535 IN ({marks})"
            for shift in _SHIFTS
        )
        near = [
            (hash_distance(looks, phash), phash)
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
