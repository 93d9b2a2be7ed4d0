"""Atomic writes: a temporary file, fsynced and renamed.

`AtomicFile` fsyncs the folder too: without that, a power failure may undo the
rename. `write_atomically` does not, as it is on the way of every image.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .._errors import StorageError
from .private_files import make_private_folder

__all__ = ["AtomicFile", "PART", "save_file", "write_atomically"]

PART = ".part"
# Giving the pages of a smaller file back costs more than it saves.
_LARGE_BYTES = 1 << 18


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
        _rename(self._temporary, self._path)
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


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file, whole and fsynced when this returns, or not at all.
    Blocking.

    Makes the folder if there is none.
    """
    temporary = _temporary_name(path)
    try:
        descriptor = _create(temporary)
        try:
            # The buffer of a file object makes the writes unaligned, which
            # costs four times as much.
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
            if len(data) >= _LARGE_BYTES:
                _drop_from_memory(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary_name(path: Path) -> Path:
    return path.with_name(f".{path.stem}-{secrets.token_hex(4)}{PART}")


def _create(path: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        make_private_folder(path.parent)
        return os.open(path, flags, 0o644)


def _rename(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)
    # Windows cannot open folders.
    if os.name == "posix":  # pragma: no branch - the tests run on POSIX
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
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


def _drop_from_memory(descriptor: int) -> None:
    """Give the pages of a file back to the system.

    A long batch would fill the memory with images that are read once, if at
    all. The search for fresh pages would then cost more than the writes.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
