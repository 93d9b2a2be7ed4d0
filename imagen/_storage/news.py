"""News of other processes, as far as an engine can tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

__all__ = ["Ear"]


class Ear(Protocol):
    """Connection on which other processes tell what they have written."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is news."""
        ...

    def hear(self) -> Sequence[str]:
        """Return the ids of sessions that have changed, and "" where there may
        be work for a worker; it does not wait.

        Raises:
            StorageError: the connection is lost.
        """
        ...

    def close(self) -> None:
        """Closes the connection."""
        ...
