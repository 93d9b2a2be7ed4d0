"""The terminal that standard output is: its size, and its way to show images.

One question holds all there is to ask. Every terminal answers the last part of
it, so that a terminal that ignores the others is not waited for.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import time
from collections.abc import Mapping
from typing import Literal

import msgspec

__all__ = ["PROTOCOLS", "Protocol", "Terminal", "Wanted", "find_terminal"]

Protocol = Literal["kitty", "iterm2", "sixel", "blocks"]
Wanted = Literal["auto", "kitty", "iterm2", "sixel", "blocks", "off"]
PROTOCOLS: tuple[Wanted, ...] = ("auto", "kitty", "iterm2", "sixel", "blocks", "off")

_ANSWER_SECONDS = 1.0
# The cursor is kept, as some terminals print what they do not know. Then: one
# pixel for kitty, the size of a cell, the name of the terminal, its kind.
_QUESTION = b"\x1b7\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[16t\x1b[>q\x1b[c"
_AFTER_QUESTION = b"\x1b8\x1b[K"
_KIND = re.compile(rb"\x1b\[\?([\d;]*)c")
_CELL = re.compile(rb"\x1b\[6;(\d{1,3});(\d{1,3})t")
_NAME = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_SIXEL = b"4"
_ITERM2_NAMES = (b"iTerm2", b"WezTerm")
# These print a question they do not know, or answer nothing.
_UNASKED_PROGRAMS = ("Apple_Terminal",)
_UNASKED_TERMS = ("linux", "eterm", "cons25", "vt52")
# A multiplexer does not know what an image covers.
_MULTIPLEXED_TERMS = ("screen", "tmux")


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """A terminal that shows images by `protocol`. `cell` is the width and the
    height of a letter in pixels; without `all_colours` it has 256 of them.
    """

    protocol: Protocol
    columns: int
    rows: int
    cell: tuple[int, int] = (10, 20)
    all_colours: bool = True


def find_terminal(number: int, wanted: Wanted, environ: Mapping[str, str]) -> Terminal | None:
    """Return the terminal behind a file descriptor, or None if it is none or
    shows no images. Blocking, for at most a second.
    """
    if wanted == "off" or not os.isatty(number) or environ.get("TERM", "dumb") == "dumb":
        return None
    answer = _ask(number) if _may_ask(wanted, environ) else b""
    protocol = _choose(answer, environ) if wanted == "auto" else wanted
    if wanted == "auto" and protocol == "blocks" and environ.get("NO_COLOR"):
        return None
    columns, rows = shutil.get_terminal_size()
    return Terminal(
        protocol=protocol,
        columns=columns,
        rows=rows,
        cell=_read_cell(answer),
        all_colours=_has_all_colours(environ),
    )


def _may_ask(wanted: Wanted, environ: Mapping[str, str]) -> bool:
    return not (
        wanted == "blocks"
        or _is_multiplexed(environ)
        or environ.get("TERM_PROGRAM") in _UNASKED_PROGRAMS
        or environ["TERM"].startswith(_UNASKED_TERMS)
    )


def _is_multiplexed(environ: Mapping[str, str]) -> bool:
    return "TMUX" in environ or "STY" in environ or environ["TERM"].startswith(_MULTIPLEXED_TERMS)


def _choose(answer: bytes, environ: Mapping[str, str]) -> Protocol:
    if b"\x1b_Gi=31;OK" in answer:
        return "kitty"
    name = _NAME.search(answer)
    if name is not None and name[1].startswith(_ITERM2_NAMES):
        return "iterm2"
    kind = _KIND.search(answer)
    if kind is not None and _SIXEL in kind[1].split(b";")[1:]:
        return "sixel"
    return "blocks"


def _read_cell(answer: bytes) -> tuple[int, int]:
    found = _CELL.search(answer)
    if found is None or not (int(found[1]) and int(found[2])):
        return 10, 20
    return int(found[2]), int(found[1])


def _has_all_colours(environ: Mapping[str, str]) -> bool:
    """Return False only if a terminal does not claim them; tmux converts them
    for the terminal around it.
    """
    return (
        environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
        or _is_multiplexed(environ)
        or environ["TERM"].endswith("direct")
        or environ.get("TERM_PROGRAM") in ("iTerm.app", "WezTerm", "vscode", "ghostty")
        or environ["TERM"] in ("xterm-kitty", "xterm-ghostty", "alacritty", "foot")
        or "WT_SESSION" in environ
    )


def _ask(number: int) -> bytes:
    """Return the answer of the terminal; nothing if it cannot be asked, as by a
    job in the background, which the terminal would stop.
    """
    try:
        import termios
        import tty
    except ImportError:
        return b""
    try:
        # By name: a standard output may be open for writing alone.
        asked = os.open(os.ttyname(number), os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        if not _is_in_front(asked):
            return b""
        before = termios.tcgetattr(asked)
        answer, way = b"", termios.TCSAFLUSH
        try:
            tty.setcbreak(asked)
            os.write(asked, _QUESTION)
            answer = _read_answer(asked)
            if _KIND.search(answer):
                way = termios.TCSADRAIN
        finally:
            termios.tcsetattr(asked, way, before)
            os.write(asked, _AFTER_QUESTION)
        return answer
    except (OSError, termios.error):
        return b""
    finally:
        os.close(asked)


def _is_in_front(asked: int) -> bool:
    try:
        return os.tcgetpgrp(asked) == os.getpgrp()
    except OSError:
        return True  # It controls no job, so it stops none.


def _read_answer(asked: int) -> bytes:
    answer, end = b"", time.monotonic() + _ANSWER_SECONDS
    while not _KIND.search(answer) and (left := end - time.monotonic()) > 0:
        if select.select([asked], [], [], left)[0]:
            chunk = os.read(asked, 4096)
            if not chunk:
                break
            answer += chunk
    return answer
