"""Front ends of a sheet: a widget, or plain outputs where there is none."""

from __future__ import annotations

import importlib.util
import sys
import threading
from typing import Any

from .._results.html import escape
from ._cells import Cell
from ._front import Front, ShownSheet

__all__ = ["in_marimo", "open_front", "status_line"]


def open_front(sheet: ShownSheet) -> Front:
    """Display a sheet by the best means there is."""
    if importlib.util.find_spec("anywidget") is not None:
        from ._widget import SheetWidget, open_widget

        if in_marimo():
            # It shows the value of a cell; see `Sheet._display_`.
            return SheetWidget(sheet)
        if _in_kernel():
            return open_widget(sheet)
    return PlainFront(sheet)


def in_marimo() -> bool:
    """Return True if the code runs in a cell of marimo."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def _in_kernel() -> bool:
    """Return True if the code runs in a kernel, whose front end shows widgets."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return hasattr(shell, "kernel")


class PlainFront:
    """Each image as an output of its own, as it arrives, and a line of counts."""

    def __init__(self, sheet: ShownSheet) -> None:
        self._sheet = sheet
        self._lock = threading.Lock()
        self._shown: set[int] = set()
        self._sentences: list[str] = []
        self._handle: Any = None
        self._show_line()

    def update(self, cell: Cell | None) -> None:
        """Show an image that has arrived, and the counts."""
        with self._lock:
            arrived = cell is not None and cell.state in ("done", "failed")
            if cell is not None and arrived and cell.index not in self._shown:
                self._shown.add(cell.index)
                _display(_Shown(self._sheet.figure(cell), cell.text))
            self._show_line()

    def say(self, sentence: str) -> None:
        """Show a sentence about the whole sheet."""
        self._sentences.append(sentence)
        self.update(None)

    def _show_line(self) -> None:
        line = " ".join([status_line(self._sheet.status()), *self._sentences])
        shown = _Shown(f"<p>{escape(line)}</p>", line)
        if self._handle is None:
            self._handle = _display(shown, with_id=True)
        else:
            self._handle.update(shown)


def status_line(status: dict[str, object]) -> str:
    """Return the counts and costs as a line."""
    done = int(str(status["succeeded"])) + int(str(status["failed"]))
    line = f"{done} of {status['requested']}, {status['cost']}"
    if status["limit"] is not None:
        line += f" of {status['limit']}"
    return line + (f", {status['failed']} failed" if status["failed"] else "")


class _Shown:
    """HTML, and its text for front ends that show none."""

    def __init__(self, html: str, text: str) -> None:
        self._html = html
        self._text = text

    def _repr_html_(self) -> str:
        return self._html

    def __repr__(self) -> str:
        return self._text


class _Printed:
    """Stands for an output outside of IPython: only changes are printed."""

    def update(self, shown: _Shown) -> None:
        """Print nothing: each image has its line already."""


def _display(shown: _Shown, *, with_id: bool = False) -> Any:
    try:
        from IPython.display import display
    except ImportError:
        print(repr(shown))
        return _Printed()
    return display(shown, display_id=True) if with_id else display(shown)  # type: ignore[no-untyped-call]
