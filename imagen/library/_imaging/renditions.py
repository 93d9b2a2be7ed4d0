"""Cache of transformed images, created on demand and evicted by size.

A file is named by the hash of the image and a digest of the transform. So it
never gets stale, and all processes of a home share it. Lost or damaged files
are created again.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
import trio

from ..._errors import InvalidRequestError, StorageError
from ..._results.images import Image
from ..._system.atomic_files import PART, write_atomically
from ..._system.threads import Workers
from ...metadata._formats.svg import SVG
from ...metadata._svg_drawing import can_draw_svg
from .decoding import read_image
from .placeholder import transform_or_placeholder
from .transforms import Transform, suffix_of

__all__ = ["Renditions", "remove_renditions"]

# Increase it if a transform yields other pixels: older files are then ignored.
_RECIPE = "1"
# Placeholders are made again once the extra `svg` is installed.
_UNDRAWN = "1 undrawn"
_HASH = re.compile(r"[0-9a-f]{64}")
# An older temporary file belongs to a dead process.
_STALE_SECONDS = 3600.0
_TAIL_BYTES = 12
# Ends of a complete file: the chunk IEND with its checksum, and the marker EOI.
_PNG_END, _JPEG_END = b"IEND\xaeB`\x82", b"\xff\xd9"


class Renditions:
    """Cached renditions of images, e.g. thumbnails. All tasks of one Trio run
    may share it.
    """

    def __init__(self, folder: Path, workers: Workers) -> None:
        self._folder = folder
        self._workers = workers
        # A lock lives as long as a task waits for it.
        self._making: WeakValueDictionary[Path, trio.Lock] = WeakValueDictionary()

    async def get(self, image: Image, transform: Transform) -> Path:
        """Return the file of a rendition, created if missing. Concurrent calls
        create it once. An SVG that cannot be drawn has a grey one with its name.

        A cancellation waits until the file is written, and leaves a complete
        file or none.

        Raises:
            InvalidRequestError: the image is in memory only, cannot be decoded,
                or its crop exceeds it.
            StorageError: the image cannot be read, or the rendition cannot be
                written.
            ConfigurationError: this Pillow cannot write AVIF.
        """
        if image.path is None:
            raise InvalidRequestError(
                "This image is in memory only and has no file: get its bytes with `read`."
            )
        path = self._path(image, transform)
        await self._find(image, image.path, transform, path)
        return path

    async def _find(self, image: Image, source: Path, transform: Transform, path: Path) -> bytes:
        """Return the bytes of a rendition, which is created if missing."""
        lock = self._making.setdefault(path, trio.Lock())
        async with lock:
            if (found := await self._workers.run(partial(_use, path))) is not None:
                return found
            if image.remote is not None:
                # Not in a thread for images: it may wait for the store.
                await self._workers.run_remote(image.fetch)
            return await self._workers.run(partial(_make, source, transform, path))

    async def read(self, image: Image, transform: Transform) -> bytes:
        """Return the bytes of a rendition. Those of an image in memory are
        created at each call and not cached.

        Raises:
            ImagenError: as for `get`, except for images in memory.
        """
        if image.path is None:
            return await self._workers.run(lambda: transform_or_placeholder(image.data, transform))
        return await self._find(image, image.path, transform, self._path(image, transform))

    async def remove(self, sha256: str) -> int:
        """Delete the renditions of the image with this hash, and return their
        number.

        Raises:
            InvalidRequestError: the hash is invalid.
            StorageError: a file cannot be deleted.
        """
        return await self._workers.run(partial(remove_renditions, self._folder, sha256))

    async def trim(self, max_bytes: int) -> int:
        """Delete the least recently used files until at most `max_bytes` are
        left; return the number of bytes freed.
        """
        return await self._workers.run(partial(_trim, self._folder, max_bytes))

    def _path(self, image: Image, transform: Transform) -> Path:
        is_undrawn = image.media_type == SVG and not can_draw_svg()
        recipe = (_UNDRAWN if is_undrawn else _RECIPE).encode() + msgspec.json.encode(transform)
        digest = hashlib.sha256(recipe).hexdigest()[:16]
        name = f"{image.sha256}-{digest}{suffix_of(transform, image.media_type)}"
        return self._folder / name[:2] / name


def _make(source: Path, transform: Transform, path: Path) -> bytes:
    data = transform_or_placeholder(read_image(source), transform)
    try:
        write_atomically(path, data)
        if not source.exists():
            # The image was deleted meanwhile, and its renditions with it.
            path.unlink(missing_ok=True)
            raise StorageError("The image was deleted while its rendition was made.")
    except OSError as error:
        raise StorageError(
            f"The rendition {path} cannot be written: {error.strerror or error}."
        ) from error
    return data


def _use(path: Path) -> bytes | None:
    """Return the bytes of a complete file, and update its time of last use."""
    try:
        data = path.read_bytes()
        if not _is_whole(data, path.suffix):
            return None
        os.utime(path)
    except OSError:
        return None
    return data


def _is_whole(data: bytes, suffix: str) -> bool:
    """Check the ends only: they show a file that a failing disk truncated or
    filled with zeros.
    """
    match suffix:
        case ".png":
            return data.endswith(_PNG_END)
        case ".jpg":
            return data.endswith(_JPEG_END)
        case ".webp":
            length = int.from_bytes(data[4:8], "little") + 8
            return data.startswith(b"RIFF") and length == len(data)
        case _:
            return data[4:8] == b"ftyp" and any(data[-_TAIL_BYTES:])


def remove_renditions(folder: Path, sha256: str) -> int:
    """Delete the renditions of the image with this hash, and return their
    number. Blocking.

    Raises:
        InvalidRequestError: the hash is invalid.
        StorageError: a file cannot be deleted.
    """
    if not _HASH.fullmatch(sha256):
        raise InvalidRequestError("Invalid SHA-256 of an image: expected 64 hexadecimal digits.")
    try:
        found = [
            path for path in (folder / sha256[:2]).iterdir() if path.name.startswith(f"{sha256}-")
        ]
        for path in found:
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(
            f"Renditions in {folder} cannot be deleted: {error.strerror or error}."
        ) from error
    return len(found)


def _trim(folder: Path, max_bytes: int) -> int:
    found: list[tuple[float, int, str]] = []
    stale = time.time() - _STALE_SECONDS
    for path in folder.glob("??/*"):
        with suppress(OSError):
            status = path.stat()
            if path.suffix != PART:
                found.append((status.st_mtime, status.st_size, path.name))
            elif status.st_mtime < stale:
                path.unlink(missing_ok=True)
    left = sum(size for _, size, _ in found)
    freed = 0
    for _, size, name in sorted(found):
        if left - freed <= max_bytes:
            break
        with suppress(OSError):
            # On some systems another program that has it open prevents this.
            (folder / name[:2] / name).unlink(missing_ok=True)
            freed += size
    return freed
