"""Open clients of one database, by the locks that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .._system.process_locks import ProcessLock, is_alive

__all__ = ["FileOwners", "Owners"]


class Owners(Protocol):
    """Open clients of one database. Blocking: call it through the workers."""

    # How often `keep` is to be called, in seconds; None if never.
    keep_seconds: float | None

    def hold(self, owner_id: str) -> None:
        """Take the lock of a client of this process.

        Raises:
            StorageError: it cannot be taken.
        """
        ...

    def keep(self) -> None:
        """Take the lock again if it was lost."""
        ...

    def is_alive(self, owner_id: str) -> bool:
        """Return True if a client of that id is open, and where it is not
        known.
        """
        ...

    def release(self) -> None:
        """Lets the lock go."""
        ...


class FileOwners:
    """Clients of one machine, by lock files; such a lock is never lost."""

    keep_seconds: float | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: ProcessLock | None = None

    def hold(self, owner_id: str) -> None:
        self._lock = ProcessLock(self._folder, owner_id)

    def keep(self) -> None:
        pass

    def is_alive(self, owner_id: str) -> bool:
        return is_alive(self._folder, owner_id)

    def release(self) -> None:
        if self._lock is not None:
            self._lock.release()
