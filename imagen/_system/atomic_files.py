"""Writes files that are there whole or not at all: under a temporary name,
fsynced and renamed.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["PART", "write_atomically"]

PART = ".part"
# For a smaller file, giving its pages back costs more than it brings.
_LARGE_BYTES = 1 << 18


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is there whole and on the disk when this returns, or
    not at all.
    """
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{PART}")
    try:
        descriptor = _create(temporary)
        try:
            # Not through a file object: its buffer makes the writes unaligned,
            # which costs four times as much.
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
    """Gives the pages of a file that is on the disk back to the system.

    A long batch would else fill the machine's memory with images that are
    looked at once, if at all, and the system would look for fresh pages all the
    time, which costs more than the writing itself.
    """
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
