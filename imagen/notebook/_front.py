"""A sheet and its front end, as each sees the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ._cells import Cell

__all__ = ["Front", "ShownSheet"]


class ShownSheet(Protocol):
    """What a front end needs of a sheet."""

    @property
    def cells(self) -> Sequence[Cell]: ...

    def status(self) -> dict[str, object]: ...

    def html(self) -> str: ...

    def figure(self, cell: Cell) -> str: ...

    def press(self, button: str, index: int, value: int = 0) -> None: ...


class Front(Protocol):
    """Front end of a sheet; its methods may be called from any thread."""

    def update(self, cell: Cell | None) -> None:
        """Show a cell that has changed, and the counts."""
        ...

    def say(self, sentence: str) -> None:
        """Show a sentence about the whole sheet."""
        ...
