"""The files of images, named by their SHA-256."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import time
from pathlib import Path

import msgspec

from .._errors import StorageError
from .._results.images import SUFFIXES
from .._system.atomic_files import write_atomically
from .._system.threads import Workers
from ..metadata._image_header import ImageHeader, read_image_header

__all__ = ["ImageFiles", "PreparedImage", "is_file_name"]

# An image that finds no room on the disk was paid for nothing, so sending stops
# while there still is some.
_ROOM_BYTES = 64 << 20
_ROOM_CHECK_SECONDS = 1.0
_HASH = re.compile(r"[0-9a-f]{64}")


def is_file_name(sha256: str, media_type: str) -> bool:
    """Whether files of the library are named so; what a record of somebody's
    says may lead anywhere.
    """
    return _HASH.fullmatch(sha256) is not None and media_type in SUFFIXES


class PreparedImage(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an image by its bytes, and where its file belongs."""

    header: ImageHeader
    sha256: str
    path: Path


class ImageFiles:
    """The folder of the library. Its methods block, but for `check_room`: call
    them through the workers.
    """

    def __init__(self, folder: Path, workers: Workers) -> None:
        self.folder = folder
        self._workers = workers
        self._room_checked_at = -_ROOM_CHECK_SECONDS

    async def check_room(self) -> None:
        """Makes sure that the next images will find room on the disk.

        Raises:
            StorageError: they will not.
        """
        now = time.monotonic()
        if now - self._room_checked_at >= _ROOM_CHECK_SECONDS:
            await self._workers.run(self._check_room)
            self._room_checked_at = now

    def prepare(self, data: bytes) -> PreparedImage:
        """Looks at an image, and writes nothing.

        Raises:
            ProviderError: the bytes are no image.
        """
        found = read_image_header(data)
        sha256 = hashlib.sha256(data).hexdigest()
        return PreparedImage(header=found, sha256=sha256, path=self.path(sha256, found.media_type))

    def store(self, data: bytes, path: Path) -> None:
        """Writes an image to its file.

        Raises:
            StorageError: the file cannot be written; there is no half one
                either.
        """
        try:
            write_atomically(path, data)
        except OSError as error:
            raise StorageError(
                f"The image cannot be written to {self.folder}: {error.strerror or error}."
            ) from error

    def store_input(self, data: bytes, *, sha256: str, media_type: str) -> Path:
        """Writes an image that a request works on, unless it is there already.

        Raises:
            StorageError: the file cannot be written.
        """
        kept = self._find_file(sha256)
        if kept is not None:
            return kept
        path = self.input_path(sha256, media_type)
        try:
            write_atomically(path, data)
        except OSError as error:
            raise StorageError(
                f"The image cannot be written to {self.folder}: {error.strerror or error}."
            ) from error
        return path

    def find_input(self, sha256: str) -> bytes | None:
        """The bytes of an image that was made or worked on, by their hash.
        Blocking.
        """
        path = self._find_file(sha256) if _HASH.fullmatch(sha256) else None
        return None if path is None else path.read_bytes()

    def _find_file(self, sha256: str) -> Path | None:
        names = [sha256 + suffix for suffix in SUFFIXES.values()]
        places = [
            self.folder / folder / name for name in names for folder in (sha256[:1], "inputs")
        ]
        return next((path for path in places if path.is_file()), None)

    def store_unreadable(self, attempt_id: str, data: bytes) -> Path:
        """Writes bytes that are no image beside the images, named by their
        attempt.

        Raises:
            StorageError: the file cannot be written.
        """
        path = self.folder / "unreadable" / f"{attempt_id}-{secrets.token_hex(2)}.bin"
        try:
            write_atomically(path, data)
        except OSError as error:
            raise StorageError(
                f"The bytes cannot be written to {self.folder}: {error.strerror or error}."
            ) from error
        return path

    def _check_room(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise StorageError(
                f"The folder {self.folder} cannot be used: {error.strerror or error}."
            ) from error
        if free < _ROOM_BYTES:
            raise StorageError(
                f"Only {free >> 20} MiB are free where images are kept ({self.folder}); nothing was"
                " sent. Free some space."
            )

    def path(self, sha256: str, media_type: str) -> Path:
        """Where the bytes of that hash are, or would be."""
        # One digit: the system spreads folders over the disk, and 256 of them
        # make the first images slow to write.
        return self.folder / sha256[:1] / (sha256 + SUFFIXES[media_type])

    def input_path(self, sha256: str, media_type: str) -> Path:
        """Where the bytes of an image are that was worked on and is not of the
        library.
        """
        return self.folder / "inputs" / (sha256 + SUFFIXES[media_type])
