"""Widget of a sheet: anywidget, with thumbnails as binary buffers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import anywidget
import traitlets
from IPython.display import HTML, display

from ._cells import Cell
from ._front import ShownSheet

__all__ = ["SheetWidget", "open_widget"]

_HERE = Path(__file__).parent


class SheetWidget(anywidget.AnyWidget):
    """The front end is `sheet.js`. Each cell is a message; a view that opens
    late asks for all of them.
    """

    _esm = _HERE / "sheet.js"
    _css = _HERE / "sheet.css"
    status = traitlets.Dict().tag(sync=True)
    sentence = traitlets.Unicode().tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)

    def __init__(self, sheet: ShownSheet) -> None:
        self._sheet = sheet
        super().__init__(status=sheet.status(), key=uuid4().hex)
        self.on_msg(self._receive)

    def update(self, cell: Cell | None) -> None:
        """Show a cell that has changed, and the counts."""
        if cell is not None:
            self._send_cell(cell)
        self.status = self._sheet.status()

    def say(self, sentence: str) -> None:
        """Show a sentence about the whole sheet."""
        self.sentence = sentence

    def _send_cell(self, cell: Cell) -> None:
        buffers = [] if cell.thumbnail is None else [cell.thumbnail]
        self.send(cell.message(), buffers)

    def _receive(self, _: object, content: dict[str, Any], buffers: object) -> None:
        if content.get("kind") == "ready":
            for cell in self._sheet.cells:
                self._send_cell(cell)
        else:
            index, value = int(content.get("index", 0)), int(content.get("value", 0))
            self._sheet.press(str(content.get("kind")), index, value)


class _WidgetFront:
    """The widget, and beneath it the sheet as HTML for the saved notebook, which
    loses widgets. The widget hides it.
    """

    def __init__(self, sheet: ShownSheet) -> None:
        self._sheet = sheet
        self._lock = threading.Lock()
        self._widget = SheetWidget(sheet)
        display(self._widget)  # type: ignore[no-untyped-call]
        self._saved = display(self._html(), display_id=True)  # type: ignore[no-untyped-call]

    def update(self, cell: Cell | None) -> None:
        """Show a cell that has changed, and the counts."""
        with self._lock:
            self._widget.update(cell)
            if self._widget.status["over"]:
                self._saved.update(self._html())

    def say(self, sentence: str) -> None:
        """Show a sentence about the whole sheet."""
        self._widget.say(sentence)

    def _html(self) -> HTML:
        saved = f'<div data-imagen-sheet="{self._widget.key}">{self._sheet.html()}</div>'
        return HTML(saved)  # type: ignore[no-untyped-call]


def open_widget(sheet: ShownSheet) -> _WidgetFront:
    """Display the widget of a sheet."""
    return _WidgetFront(sheet)
