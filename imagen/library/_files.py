"""Image files, named by their SHA-256."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import trio

from .._errors import StorageError
from .._results.images import SUFFIXES, RemoteFiles
from .._system.atomic_files import PART, FileToWrite, write_atomically, write_together
from .._system.groups import Groups
from .._system.private_files import make_private_folder
from .._system.threads import Workers, run_side_by_side
from ..metadata._image_header import ImageHeader, read_image_header
from ..providers._replies.image_search import whole_image
from ._image_store import INPUTS, ImageStore

__all__ = ["ImageFiles", "PreparedImage", "is_file_name"]

# An image that does not fit on the disk was paid for nothing, so sending stops
# earlier.
_ROOM_BYTES = 64 << 20
_ROOM_CHECK_SECONDS = 1.0
_MOST_OPEN_FILES = 64
_WRITE_SECONDS = 30.0
# Fsyncs side by side share one commit of the file system's journal: 64 files of
# 3 KB take 0.4 ms each in four threads, and 1.5 to 2.2 ms in one.
_SIDE_BY_SIDE = 4
# Live processes finish writing a file much sooner.
_STALE_PART_SECONDS = 3600.0
_HASH = re.compile(r"[0-9a-f]{64}")


def is_file_name(sha256: str, media_type: str) -> bool:
    """Return whether the library names files like this.

    A hash or media type from an untrusted record could name a path outside the
    library.
    """
    return _HASH.fullmatch(sha256) is not None and media_type in SUFFIXES


class PreparedImage(msgspec.Struct, frozen=True, kw_only=True):
    """Whole image with its header, hash and target path, and the store in which
    it will live, if there is one.
    """

    data: bytes
    header: ImageHeader
    sha256: str
    path: Path
    remote: RemoteFiles | None


class ImageFiles:
    """Folder of the library, and the store in which its files live if there is
    one.

    The methods that are not async block: call them through the workers.
    """

    def __init__(self, folder: Path, workers: Workers, store: ImageStore | None = None) -> None:
        self.folder = folder
        self.remote = store
        self._workers = workers
        self._room_checked_at = -_ROOM_CHECK_SECONDS
        self._checking_room = trio.Lock()
        self._groups = Groups(self._write_together, seconds=_WRITE_SECONDS, most=_MOST_OPEN_FILES)

    async def check_room(self) -> None:
        """Check that the disk has room for the next images.

        Raises:
            StorageError: it has not.
        """
        if self._is_room_known():
            return
        async with self._checking_room:
            # Another task may have looked meanwhile.
            if not self._is_room_known():
                await self._workers.run(self._check_room)
                self._room_checked_at = time.monotonic()

    def _is_room_known(self) -> bool:
        return time.monotonic() - self._room_checked_at < _ROOM_CHECK_SECONDS

    def prepare(self, data: bytes) -> PreparedImage:
        """Read an image, without writing anything.

        Raises:
            ProviderError: the bytes are not a whole image.
        """
        data = whole_image(data)
        found = read_image_header(data)
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256, found.media_type)
        return PreparedImage(data=data, header=found, sha256=sha256, path=path, remote=self.remote)

    async def store(self, data: bytes, path: Path) -> None:
        """Write an image to its file on this machine, atomically and durably,
        possibly with those of other callers.

        Raises:
            StorageError: the file cannot be written.
        """
        file = FileToWrite(self.home_of(path), data)
        if not await self._groups.join(file):
            raise StorageError(
                f"The folder {self.folder} did not answer within {_WRITE_SECONDS:g} seconds."
            )
        if file.error is not None:
            raise self._not_written(file.error) from file.error

    def write(self, data: bytes, path: Path) -> None:
        """Write an image to its file on this machine, atomically and durably.

        Raises:
            StorageError: the file cannot be written.
        """
        try:
            write_atomically(self.home_of(path), data)
        except OSError as error:
            raise self._not_written(error) from error

    def store_input(self, data: bytes, *, sha256: str, media_type: str) -> Path:
        """Write an input image, unless its file exists, and return its path.

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
            raise self._not_written(error) from error
        return path

    def find_input(self, sha256: str) -> bytes | None:
        """Read a generated or input image by its hash; None if unknown.
        Blocking.
        """
        if not _HASH.fullmatch(sha256):
            return None
        path = self._find_file(sha256)
        if path is not None:
            return path.read_bytes()
        return None if self.remote is None else self.remote.find(sha256)

    async def _write_together(self, files: Sequence[FileToWrite]) -> None:
        parts = _by_folders(files)
        await run_side_by_side(self._workers, [partial(write_together, part) for part in parts])

    def _not_written(self, error: OSError) -> StorageError:
        return StorageError(
            f"The image cannot be written to {self.folder}: {error.strerror or error}."
        )

    def _find_file(self, sha256: str) -> Path | None:
        names = [sha256 + suffix for suffix in SUFFIXES.values()]
        folders = [self.folder / sha256[:1], self.folder / INPUTS]
        if self.remote is not None:
            folders.append(self.remote.copy_folder(sha256))
        places = [folder / name for name in names for folder in folders]
        return next((path for path in places if path.is_file()), None)

    def sweep_parts(self) -> None:
        """Remove what killed processes left of interrupted writes. Blocking."""
        stale = time.time() - _STALE_PART_SECONDS
        for pattern in (f"*/.*{PART}", f"*/*/.*{PART}"):
            for path in self.folder.glob(pattern):
                # Another process may do the same, or the folder is read-only.
                with suppress(OSError):
                    if path.stat().st_mtime < stale:
                        path.unlink()

    def _check_room(self) -> None:
        try:
            make_private_folder(self.folder)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise StorageError(
                f"The folder {self.folder} cannot be used: {error.strerror or error}."
            ) from error
        if free < _ROOM_BYTES:
            raise StorageError(
                f"Only {free >> 20} MiB are free in the image folder {self.folder}; nothing was"
                f" sent. At least {_ROOM_BYTES >> 20} MiB must be free."
            )

    def path(self, sha256: str, media_type: str) -> Path:
        """Return the path that an image is read from. Nothing need be there;
        with a store it is that of a copy.
        """
        if self.remote is not None:
            return self.remote.copy_of(sha256, media_type)
        return self._home(sha256 + SUFFIXES[media_type])

    def home_of(self, path: Path) -> Path:
        """Return where an image with this `path` is written first; without a
        store it stays there.
        """
        return path if self.remote is None else self._home(path.name)

    def _home(self, name: str) -> Path:
        # One digit: the file system spreads folders over the disk, and 256 of
        # them make the first images slow to write.
        return self.folder.joinpath(name[:1], name)

    def is_kept(self, sha256: str, media_type: str, size_bytes: int) -> bool:
        """Return whether an image is in the folder or in the store, whole.

        Raises:
            ImagenError: the store cannot be asked.
        """
        if self.home_of(self.path(sha256, media_type)).is_file():
            return True
        return self.remote is not None and self.remote.size_of(sha256) == size_bytes

    def input_path(self, sha256: str, media_type: str) -> Path:
        """Return the path of an input image that is not in the library."""
        return self.folder / INPUTS / (sha256 + SUFFIXES[media_type])


def _by_folders(files: Sequence[FileToWrite]) -> list[list[FileToWrite]]:
    """Return parts to be written side by side; a folder is fsynced in one of
    them.
    """
    parts: list[list[FileToWrite]] = [[] for _ in range(_SIDE_BY_SIDE)]
    numbers: dict[Path, int] = {}
    for file in files:
        number = numbers.setdefault(file.folder, len(numbers))
        parts[number % _SIDE_BY_SIDE].append(file)
    return [part for part in parts if part]
