"""Images in the terminal, below the lines that name them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

from ... import Image, ImagenError
from ...library import contact_sheet
from .._console import Console
from .terminal import PROTOCOLS, Terminal, Wanted, find_terminal
from .terminal_images import draw_image

__all__ = ["Preview", "add_preview"]

_COLUMNS = 60
_GRID_COLUMNS = 24
_GAP = 2
_BLOCKS = "\N{UPPER HALF BLOCK}"
_GRID_CELL = 240


def add_preview(parser: argparse._ActionsContainer) -> None:
    """`--preview`."""
    parser.add_argument(
        "--preview",
        choices=PROTOCOLS,
        default="auto",
        help="how the terminal shows the image (default: as it says itself)",
    )


class Preview:
    """Writer of images to the terminal. The terminal is asked before the first
    image; where there is none, and with JSON, nothing is written.
    """

    def __init__(self, console: Console, wanted: Wanted) -> None:
        self._console = console
        self._wanted: Wanted = "off" if console.json else wanted
        self._terminal: Terminal | None = None

    async def show(self, source: Image | Path) -> None:
        """Draw one image."""
        terminal = await self.find()
        if terminal is not None:
            await self._draw(source, terminal, min(_COLUMNS, terminal.columns))

    async def find(self) -> Terminal | None:
        """Return the terminal, if it shows images."""
        if self._wanted == "off" or not sys.stdout.isatty():
            await trio.lowlevel.checkpoint()
            return None
        if self._terminal is None:
            self._console.clear_live()
            number = sys.stdout.fileno()
            self._terminal = await self._console.alone(
                partial(find_terminal, number, self._wanted, os.environ)
            )
        if self._terminal is None or not self._can_write(self._terminal):
            self._wanted = "off"
            return None
        return self._terminal

    async def show_grid(self, images: Sequence[Image], terminal: Terminal) -> None:
        """Draw images side by side, with their ids and prompts below."""
        across = max(1, terminal.columns // _GRID_COLUMNS)
        for start in range(0, len(images), across):
            await self._show_row(images[start : start + across], terminal)

    async def _show_row(self, images: Sequence[Image], terminal: Terminal) -> None:
        sheet = await trio.to_thread.run_sync(
            partial(contact_sheet, images, columns=len(images), side=_GRID_CELL)
        )
        await self._draw(sheet, terminal, min(terminal.columns, _GRID_COLUMNS * len(images)))
        for texts in ([one.id for one in images], [one.prompt for one in images]):
            self._console.say("".join(_cell(text) for text in texts).rstrip())

    async def _draw(self, source: Image | Path | bytes, terminal: Terminal, columns: int) -> None:
        rows = max(1, terminal.rows - _GAP)
        try:
            drawn = await trio.to_thread.run_sync(
                lambda: draw_image(_source(source), terminal, columns=columns, rows=rows)
            )
        except ImagenError as error:
            self._console.note(f"imagen: No preview: {error.message}")
        else:
            await self._console.draw(drawn)

    def _can_write(self, terminal: Terminal) -> bool:
        try:
            _BLOCKS.encode(self._console.encoding)
        except UnicodeEncodeError:
            return terminal.protocol != "blocks"
        return True


def _source(source: Image | Path | bytes) -> bytes | Path:
    if not isinstance(source, Image):
        return source
    return source.data if source.path is None else source.fetch()


def _cell(text: str) -> str:
    width = _GRID_COLUMNS - _GAP
    words = text if len(text) <= width else text[: width - 1] + "…"
    return f" {words}".ljust(_GRID_COLUMNS)
