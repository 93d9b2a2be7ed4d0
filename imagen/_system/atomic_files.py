"""Atomic writes: a temporary file, fsynced and renamed.

The folder is fsynced too: without that, a power failure may undo the rename.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .._errors import StorageError
from .ids import new_id
from .private_files import make_private_folder

__all__ = ["PART", "AtomicFile", "FileToWrite", "save_file", "write_atomically", "write_together"]

PART = ".part"
# Giving the pages of a smaller file back costs more than it saves.
_LARGE_BYTES = 128 << 10
_MODE = 0o644


class AtomicFile:
    """Stream to a temporary file, which replaces `path` on `commit`. Blocking.

    Raises:
        OSError: by every method but `discard`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = _temporary_name(path)
        self.stream: BinaryIO = self._temporary.open("xb")

    def commit(self) -> int:
        """Fsync the file, rename it to its path, and return its size."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        size = self.stream.tell()
        self.stream.close()
        os.replace(self._temporary, self._path)
        _sync_folder(self._path.parent)
        return size

    def discard(self) -> None:
        """Close and remove the temporary file; no effect after `commit`."""
        with suppress(OSError):
            self.stream.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def save_file(path: Path, data: bytes) -> None:
    """Write a file for the user, atomically. Blocking.

    Raises:
        StorageError: the folder does not exist, or the file cannot be written.
    """
    try:
        if not path.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        write_atomically(path, data)
    except OSError as error:
        raise StorageError(
            f"The file {path} cannot be written: {error.strerror or error}."
        ) from error


def write_atomically(path: Path, data: bytes, *, mode: int = _MODE) -> None:
    """Write a file, whole and durable when this returns, or not at all.
    Blocking.

    Makes the folder if there is none.
    """
    file = FileToWrite(path, data, mode=mode)
    write_together([file])
    if file.error is not None:
        raise file.error


class FileToWrite:
    """File of `write_together`; `error` says why it was not written."""

    def __init__(self, path: Path, data: bytes, *, mode: int = _MODE) -> None:
        self.path = path
        self.folder = path.parent
        self._mode = mode
        self.error: OSError | None = None
        self._data = data
        self._temporary = _temporary_name(path)
        self._descriptor: int | None = None

    def attempt(self, step: Callable[[FileToWrite], None]) -> None:
        """Do a step, unless an earlier one failed."""
        if self.error is not None:
            return
        try:
            step(self)
        except OSError as error:
            self.error = error
            self.discard()

    def write(self) -> None:
        self._descriptor = _create(self._temporary, self._mode)
        # The buffer of a file object makes the writes unaligned, which costs
        # four times as much.
        left = memoryview(self._data)
        while left:
            left = left[os.write(self._descriptor, left) :]
        self._drop_pages()

    def sync(self) -> None:
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        self._drop_pages()
        self._close()

    def rename(self) -> None:
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Remove the temporary file, if there is one."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def _drop_pages(self) -> None:
        """Give the pages of a large file back to the system.

        Before the fsync, the disk begins to write them, while the other files
        of the group are written. After it, a long batch would fill the memory
        with images that are read once, if at all, and the search for fresh
        pages would cost more than the writes.
        """
        assert self._descriptor is not None
        if len(self._data) >= _LARGE_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def write_together(files: Sequence[FileToWrite]) -> None:
    """Write several files, each whole and durable when this returns, or not at
    all. Blocking.

    Makes their folders. A file that cannot be written keeps its error, and the
    others are written. Together is faster: the first fsync writes most of what
    the others need.
    """
    try:
        for step in (FileToWrite.write, FileToWrite.sync, FileToWrite.rename):
            for file in files:
                file.attempt(step)
    except BaseException:
        for file in files:
            file.discard()
        raise
    folders = {file.folder for file in files if file.error is None}
    for folder in folders:
        try:
            _sync_folder(folder)
        except OSError as error:
            for file in files:
                if file.folder == folder:
                    file.error = file.error or error


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.stem}-{new_id()}{PART}")


def _create(path: Path, mode: int) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        make_private_folder(path.parent)
        return os.open(path, flags, mode)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # pragma: no cover - Windows cannot open folders.
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # A folder may be writable and not readable.
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
