"""What the command writes: results on standard output, everything else on standard error."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TextIO

import msgspec

__all__ = ["Console", "ExitStatus", "plain", "say_error", "usd"]


class ExitStatus(enum.IntEnum):
    """What the shell is told."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    OVER_BUDGET = 3
    INTERRUPTED = 130


def say_error(message: str) -> None:
    """One sentence on standard error."""
    print(f"imagen: {plain(message)}", file=sys.stderr, flush=True)


def plain(text: str) -> str:
    """A text from elsewhere without characters that could drive a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def usd(amount: Decimal | None) -> str:
    """Dollars for people: cents at least."""
    if amount is None:
        return "cost unknown"
    return f"${amount:.2f}" if amount == round(amount, 2) else f"${amount.normalize():f}"


class Console:
    """Writes lines, tables, JSON, and on a terminal a line that changes."""

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._live = False
        self.shows_live = not json and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._seen_warnings: set[str] = set()

    def emit(self, record: Mapping[str, object]) -> None:
        """One JSON object on a line of its own, at once."""
        sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")
        sys.stdout.buffer.flush()

    def say(self, line: str) -> None:
        """A line of the result."""
        self.clear_live()
        print(plain(line), flush=True)

    def note(self, line: str) -> None:
        """A line beside the result."""
        self.clear_live()
        print(plain(line), file=sys.stderr, flush=True)

    def live(self, line: str) -> None:
        """The changing line; the last call wins. Nothing where standard error is no terminal."""
        if self.shows_live:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            print(f"\r\x1b[K{line[: width - 1]}", end="", file=sys.stderr, flush=True)
            self._live = True

    def clear_live(self) -> None:
        """Takes the changing line away."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._live = False

    def table(self, rows: Iterable[Sequence[str]], header: Sequence[str]) -> None:
        """Columns as wide as what is in them."""
        lines = [list(header), *[[plain(cell) for cell in row] for row in rows]]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        for line in lines:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        """Replaces `warnings.showwarning`: the sentence alone, once."""
        text = str(message)
        if text not in self._seen_warnings:
            self._seen_warnings.add(text)
            self.note(f"imagen: {text}")
