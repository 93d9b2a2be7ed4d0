"""Who is alive: every client holds the lock of a file of its own, which the
system lets go when its process ends.

A process id may belong to somebody else by now, and a heartbeat only guesses: a
laptop that slept would be taken for dead, and its jobs would be settled twice.
A lock is known at once and never wrong.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._errors import StorageError

__all__ = ["ProcessLock", "is_alive", "locked"]

_LOOK_SECONDS = 0.01


class ProcessLock:
    """One client, while it is open. Blocking: use it through the workers."""

    def __init__(self, folder: Path, owner_id: str) -> None:
        """Takes the lock, and takes away the files of those that are dead.

        Raises:
            StorageError: the folder cannot be written.
        """
        self.id = owner_id
        self._path = folder / owner_id
        try:
            folder.mkdir(parents=True, exist_ok=True)
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
    """Whether a client of that id is open, in any process of this machine. The
    file of a dead one is taken away.
    """
    path = folder / owner_id
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        # It cannot be looked at, by another user's process say: what is his is
        # left to him.
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
    """Waits until no other process is in such a block of the same file, and
    keeps others out of it. Blocking.

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
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
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
