"""Atomic writes: a temporary file, fsynced and renamed."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from .._errors import StorageError

__all__ = ["PART", "save_file", "write_atomically"]

PART = ".part"
# Giving the pages of a smaller file back costs more than it saves.
_LARGE_BYTES = 1 << 18


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
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{PART}")
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


def _create(path: Path) -> int:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, 0o644)


def _drop_from_memory(descriptor: int) -> None:
    """Give the pages of a file back to the system.

    A long batch would fill the memory with images that are read once, if at
    all. The search for fresh pages would then cost more than the writes.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
