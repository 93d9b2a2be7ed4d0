"""Liveness by lock file: every open client holds one, and the system releases
it with the process.

A process id may have been reused, and a heartbeat only guesses: a laptop that
slept would count as dead, and its jobs would be settled twice. A lock is exact.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._errors import StorageError
from .private_files import make_private_folder

__all__ = ["OWNERS", "ProcessLock", "is_alive", "locked"]

# Folder of the home with a lock of each open client.
OWNERS = "owners"

_LOOK_SECONDS = 0.01


class ProcessLock:
    """Lock of one open client. Blocking: call it through the workers."""

    def __init__(self, folder: Path, owner_id: str) -> None:
        """Takes the lock, and takes away the files of those that are dead.

        Raises:
            StorageError: the folder cannot be written.
        """
        self.id = owner_id
        self._path = folder / owner_id
        try:
            make_private_folder(folder)
            self._descriptor = _take(self._path)
            for path in folder.iterdir():
                is_alive(folder, path.name)
        except OSError as error:
            raise StorageError(
                f"The folder {folder} cannot be written: {error.strerror or error}."
            ) from error

    def release(self) -> None:
        """Lets the lock go, and takes its file away."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def is_alive(folder: Path, owner_id: str) -> bool:
    """Return True if a client of that id is open, in any process of this
    machine. Removes the file of a dead client.
    """
    path = folder / owner_id
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        # E.g. a file of another user's process: it is left alone.
        return True
    try:
        if not _lock(descriptor):
            return True
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, after waiting for other processes. Blocking.

    Raises:
        OSError: the file cannot be made.
    """
    descriptor = _take(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _take(path: Path) -> int:
    """Opens and locks a file that is there afterwards: another client may just
    be looking whether its owner is dead.
    """
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if _lock(descriptor) and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)
        time.sleep(_LOOK_SECONDS)


if sys.platform == "win32":  # pragma: no cover (not run)
    import msvcrt

    def _lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        # flock belongs to the open file and not to the process, so two clients
        # of one process see each other too.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
