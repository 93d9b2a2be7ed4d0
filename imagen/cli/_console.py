"""Console: results on standard output, everything else on standard error."""

from __future__ import annotations

import csv
import enum
import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TextIO, TypeVar

import msgspec
import trio

__all__ = [
    "Console",
    "ExitStatus",
    "bar",
    "drop_broken_output",
    "ending_signals",
    "file_size",
    "plain",
    "say_error",
    "usd",
    "usd_column",
]

_BLOCK = "\N{FULL BLOCK}"
_WIDTH_WITHOUT_TERMINAL = 80
_STDIN = 0

_T = TypeVar("_T")


class ExitStatus(enum.IntEnum):
    """Exit status of a command."""

    DONE = 0
    SOME_FAILED = 1
    USAGE = 2
    OVER_BUDGET = 3
    INTERRUPTED = 130


def say_error(message: str) -> None:
    """Print one sentence to standard error."""
    print(f"imagen: {plain(message)}", file=sys.stderr, flush=True)


def drop_broken_output() -> None:
    """Lead each output that cannot be written to nowhere: the interpreter
    flushes both at its end.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _lead_nowhere(stream)


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a command, which then waits for what is paid:
    Ctrl-C, a polite kill, and the end of the terminal unless nohup ignores it.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return signal.SIGINT, signal.SIGTERM
    return signal.SIGINT, signal.SIGTERM, hangup


def _write_out(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _lead_nowhere(stream: TextIO) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, stream.fileno())
    finally:
        os.close(nothing)


def plain(text: str) -> str:
    """A text from elsewhere without characters that could drive a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def usd(amount: Decimal | None) -> str:
    """Dollars for people: cents at least."""
    if amount is None:
        return "cost unknown"
    return f"${amount:.2f}" if amount == round(amount, 2) else f"${amount.normalize():f}"


def usd_column(amounts: Sequence[Decimal]) -> list[str]:
    """Return dollars for a column: all with the decimals of the finest."""
    places = max((len(usd(amount).partition(".")[2]) for amount in amounts), default=0)
    return [f"${amount:.{places}f}" for amount in amounts]


def file_size(size_bytes: int) -> str:
    """Bytes for people, in units of a thousand, as disks are sold."""
    size, units = float(size_bytes), iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while size >= 999.5 and unit != "TB":
        size, unit = size / 1000, next(units)
    return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"


def bar(share: float, width: int, encoding: str) -> str:
    """Return a bar of at most `width` letters; any value above zero is visible."""
    try:
        letter = _BLOCK.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        letter = "#"
    return letter * max(round(share * width), share > 0)


class Console:
    """Writer of lines, tables, JSON and a live line; asks the user on a
    terminal.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._live = False
        self._asking = False
        # Lines that wait until the terminal has an image whole.
        self._held: list[tuple[str, TextIO]] | None = None
        # By its number: sys.stdin is None if it was closed.
        self.can_ask = os.isatty(_STDIN) and sys.stderr.isatty()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A prompt may hold letters that the terminal has not.
            sys.stdout.reconfigure(errors="replace")
        self.shows_live = not json and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._seen_warnings: set[str] = set()

    def notice(self, number: int) -> None:
        """Take note of a signal: after a hangup the terminal is gone, and
        writing to it would fail.
        """
        if number != getattr(signal, "SIGHUP", None):
            return
        self.shows_live = self.can_ask = False
        for stream in (sys.stdout, sys.stderr):
            if stream.isatty():
                _lead_nowhere(stream)

    def emit(self, record: Mapping[str, object]) -> None:
        """Write one JSON object on a line, and flush."""
        try:
            line = msgspec.json.encode(record)
        except UnicodeEncodeError:
            # File names that are not text: JSON can hold them, in ASCII.
            line = json.dumps(msgspec.to_builtins(record, enc_hook=str)).encode()
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def emit_csv(self, records: Iterable[Mapping[str, object]], header: Sequence[str]) -> None:
        """A table for other programs, as UTF-8."""
        text = io.StringIO()
        writer = csv.DictWriter(text, header, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(msgspec.to_builtins(record) for record in records)
        sys.stdout.buffer.write(text.getvalue().encode())
        sys.stdout.buffer.flush()

    def say(self, line: str) -> None:
        """A line of the result."""
        self._print(line, sys.stdout)

    def note(self, line: str) -> None:
        """A line beside the result."""
        self._print(line, sys.stderr)

    def _print(self, line: str, stream: TextIO) -> None:
        if self._held is not None:
            self._held.append((line, stream))
            return
        self.clear_live()
        print(plain(line), file=stream, flush=True)

    async def draw(self, image: bytes) -> None:
        """Write the text of an image to the terminal, in a thread: a slow line
        may take seconds.
        """
        await self.alone(partial(_write_out, image))

    async def alone(self, work: Callable[[], _T]) -> _T:
        """Call `work` in a thread; what is printed meanwhile is printed after
        it.
        """
        self.clear_live()
        self._held = []
        try:
            return await trio.to_thread.run_sync(work)
        finally:
            held, self._held = self._held, None
            for line, stream in held:
                self._print(line, stream)

    def live(self, line: str) -> None:
        """Replace the live line; does nothing if standard error is not a
        terminal.
        """
        if self.shows_live and not self._asking and self._held is None:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or _WIDTH_WITHOUT_TERMINAL
            print(f"\r\x1b[K{plain(line)[: width - 1]}", end="", file=sys.stderr, flush=True)
            self._live = True

    def clear_live(self) -> None:
        """Takes the changing line away."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._live = False

    async def ask(self, question: str) -> bool:
        """Ask the user on the terminal. Without a terminal or an answer it is a
        no.
        """
        if not self.can_ask:
            await trio.lowlevel.checkpoint()
            return False
        self.clear_live()
        self._asking = True
        answer = b""
        print(f"{plain(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        try:
            # Not through sys.stdin: a thread that is left waiting there holds
            # its lock, and Python could not end.
            answer = await trio.to_thread.run_sync(os.read, _STDIN, 1024, abandon_on_cancel=True)
        finally:
            self._asking = False
            if not answer.endswith(b"\n"):
                print(file=sys.stderr)
        return answer.strip().lower() in (b"y", b"yes")

    def table(
        self, rows: Iterable[Sequence[str]], header: Sequence[str], *, right: Collection[int] = ()
    ) -> None:
        """Print columns as wide as their content; those in `right` are
        right-aligned.
        """
        lines = [list(header), *[[plain(cell) for cell in row] for row in rows]]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        for line in lines:
            cells = [
                cell.rjust(width) if column in right else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            self.say("  ".join(cells).rstrip())

    @property
    def width(self) -> int:
        """Width of a line in letters."""
        return shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns

    @property
    def encoding(self) -> str:
        """Encoding of the output."""
        return sys.stdout.encoding or "ascii"

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
