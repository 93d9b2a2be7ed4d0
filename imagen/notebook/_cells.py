"""Cells of a sheet: one for each request, filled in as outcomes arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import msgspec

from .._client.batch import BatchStatus
from .._errors import StorageError
from .._requests.request import Request
from .._results.events import AttemptSent, Event, PreviewReceived
from .._results.html import PREVIEW, data_link, escape, figure, preview, usd_text
from .._results.images import Image, Outcome

__all__ = ["Cell", "Cells"]

State = Literal["waiting", "sent", "preview", "done", "failed"]
# Of a thumbnail; a sheet of 60 images is then 0.75 MB.
_SIDE = 256
# First index of the requests that buttons make; a batch may have no end.
_EXTRA = 1 << 30


class Cell(msgspec.Struct, kw_only=True):
    """Place of one request. `started_at` is Unix time in seconds."""

    index: int
    state: State = "waiting"
    prompt: str = ""
    caption: str = ""
    sentence: str = ""
    image_id: str = ""
    stars: int = 0
    started_at: float | None = None
    thumbnail: bytes | None = msgspec.field(default=None)

    @property
    def text(self) -> str:
        """The cell in words."""
        return f"image {self.index + 1}: {self.sentence or self.caption or self.state}"

    def message(self) -> dict[str, object]:
        """Return what a front end needs, without the thumbnail."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        del fields["thumbnail"]
        return fields | {"kind": "cell", "type": PREVIEW}


class Cells:
    """All cells of a sheet. `changed` is called with each cell that changes."""

    def __init__(self, changed: Callable[[Cell], object]) -> None:
        self._changed = changed
        self._cells: dict[int, Cell] = {}
        self._extra = 0
        self.outcomes: dict[int, Outcome] = {}

    @property
    def all(self) -> list[Cell]:
        """The cells in the order of their requests."""
        return [self._cells[index] for index in sorted(self._cells)]

    def add(self, index: int, request: Request | None = None) -> Cell:
        """Return the cell of a request, made if there is none."""
        cell = self._cells.setdefault(index, Cell(index=index))
        if request is not None:
            cell.prompt = request.prompt
        return cell

    def add_extra(self, request: Request) -> int:
        """Make a cell behind all those of the batch, and return its index."""
        cell = self.add(_EXTRA + self._extra, request)
        self._extra += 1
        self._changed(cell)
        return cell.index

    def notice(self, event: Event, offset: int = 0) -> None:
        """Show that a request was sent, or its preview."""
        if not isinstance(event, AttemptSent | PreviewReceived):
            return
        for index in event.indexes:
            cell = self.add(index + offset, event.request)
            if cell.index in self.outcomes:
                continue
            if isinstance(event, PreviewReceived):
                cell.state, cell.thumbnail = "preview", preview(event.data, _SIDE)
            else:
                cell.state, cell.started_at = "sent", cell.started_at or time.time()
            self._changed(cell)

    def take(self, outcome: Outcome, offset: int = 0) -> None:
        """Show an outcome. Blocking: a thumbnail is made."""
        cell = self.add(outcome.index + offset, outcome.request)
        self.outcomes[cell.index] = outcome
        if isinstance(outcome, Image):
            cell.state, cell.image_id, cell.stars = "done", outcome.id, outcome.rating
            cell.thumbnail = _thumbnail_of(outcome)
            cell.caption = f"{usd_text(outcome.cost.usd)}, {outcome.seconds:.1f} s"
        else:
            cell.state, cell.sentence = "failed", str(outcome.error)
            cell.caption = outcome.error.code
        self._changed(cell)

    def rate(self, index: int, stars: int) -> None:
        """Show the stars of an image."""
        cell = self.add(index)
        cell.stars = stars
        self._changed(cell)

    def status(self, batch: BatchStatus, *, over: bool, limit: Decimal | None) -> dict[str, object]:
        """Return the counts and costs of the sheet."""
        costs = [outcome.cost.usd for outcome in self.outcomes.values()]
        known = sum((usd for usd in costs if usd is not None), Decimal(0))
        done = sum(isinstance(outcome, Image) for outcome in self.outcomes.values())
        return {
            "places": batch.requested or 0,
            "requested": (batch.requested or len(self._cells) - self._extra) + self._extra,
            "in_flight": batch.in_flight,
            "succeeded": done,
            "failed": len(costs) - done,
            "cost_usd": float(known),
            "cost": usd_text(known),
            "limit": None if limit is None else usd_text(limit),
            "limit_usd": None if limit is None else float(limit),
            "unknown_costs": costs.count(None),
            "over": over,
        }

    def html(self) -> str:
        """Return the sheet as it is now, for the saved notebook."""
        shown = "".join(self.figure(cell) for cell in self.all)
        return f'<div class="imagen-sheet-static">{shown}</div>'

    def figure(self, cell: Cell) -> str:
        """Return one cell as HTML."""
        outcome = self.outcomes.get(cell.index)
        if isinstance(outcome, Image):
            stars = " " + "★" * cell.stars if cell.stars else ""
            link = None if cell.thumbnail is None else data_link(PREVIEW, cell.thumbnail)
            return figure(link, cell.prompt, cell.caption + stars)
        if outcome is None:
            return f"<p>{escape(cell.prompt)}: no image</p>"
        return outcome._repr_html_()


def _thumbnail_of(image: Image) -> bytes | None:
    try:
        return preview(image.data, _SIDE)
    except StorageError:
        return None
