"""Sheet of one batch: pulls in the background, and does what its buttons ask."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Protocol

from .._client.batch import BatchStatus
from .._errors import ImagenError, InvalidRequestError
from .._policy.budget import Budget
from .._requests.request import Enhance, LibraryImage, Request, Vary
from .._results.events import Event
from .._results.images import Image, Outcome
from ._cells import Cell, Cells
from ._display import in_marimo, open_front
from ._front import Front

__all__ = ["Sheet", "sheet"]


class SheetBatch(Protocol):
    """What a sheet needs of a batch: that of `imagen.blocking`."""

    id: str

    def __iter__(self) -> Iterator[Outcome]: ...

    def drop(self, index: int) -> bool: ...

    def status(self) -> BatchStatus: ...

    def close(self) -> None: ...

    def listen(self, handler: Callable[[Event], object]) -> None: ...

    @property
    def budget(self) -> Budget | None: ...

    @property
    def client(self) -> SheetClient: ...


class SheetLibrary(Protocol):
    """What a sheet needs of a library."""

    def rate(self, images: str, stars: int) -> int: ...


class SheetClient(Protocol):
    """What a sheet needs of a client."""

    @property
    def library(self) -> SheetLibrary: ...

    def open_batch(self, requests: Sequence[Request], *, budget: Budget | None) -> SheetBatch: ...


def sheet(batch: SheetBatch) -> Sheet:
    """Show a batch of `imagen.blocking` as a live sheet, and return it.

    Pulling begins at once, in the background: the cell returns. Stopping it, or
    closing the client, keeps what is paid.

    Raises:
        InvalidRequestError: it is not such a batch.
    """
    if not hasattr(batch, "listen"):
        raise InvalidRequestError(
            f"A sheet shows a batch of imagen.blocking, not {type(batch).__name__}: open a client"
            " with imagen.blocking.open_client, in notebooks too."
        )
    shown = Sheet(batch)
    shown.show()
    return shown


class Sheet:
    """Live sheet of a batch. Iterate over it for the outcomes.

    `outcomes` are those so far, by index; requests that a button makes have the
    indexes after those of the batch.
    """

    def __init__(self, batch: SheetBatch) -> None:
        self._batch = batch
        self._cells = Cells(self._changed)
        self._lock = threading.RLock()
        self._running: list[SheetBatch] = [batch]
        self._front: Front | None = None
        self._is_over = False
        self._over = threading.Event()
        self._came: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._error: ImagenError | None = None
        batch.listen(lambda event: self._notice(event, 0))

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """The outcomes so far, by index."""
        return dict(self._cells.outcomes)

    @property
    def images(self) -> Sequence[Image]:
        """The images so far, in the order of their requests."""
        outcomes = self.outcomes
        found = (outcomes[index] for index in sorted(outcomes))
        return [outcome for outcome in found if isinstance(outcome, Image)]

    def show(self) -> None:
        """Display the sheet and begin to pull."""
        self._front = open_front(self)
        self._start(self._pull, self._batch, 0)

    def _repr_html_(self) -> str:
        return self.html()

    def _display_(self) -> object:
        # marimo shows what this returns.
        return self._front if in_marimo() else self.html()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the batch is over; return False if the time is over first."""
        return self._over.wait(seconds)

    def __iter__(self) -> Iterator[Outcome]:
        while (outcome := self._came.get()) is not None:
            yield outcome
        # For the next loop over it.
        self._came.put(None)
        if self._error is not None:
            raise self._error

    # --- for the front end ----------------------------------------------------

    @property
    def cells(self) -> Sequence[Cell]:
        """The cells so far; `status` names how many there will be."""
        with self._lock:
            return self._cells.all

    def status(self) -> dict[str, object]:
        """Return the counts and costs of the sheet."""
        with self._lock:
            limit: Decimal | None = None
            if self._batch.budget is not None:
                limit = self._batch.budget.limit_usd
            return self._cells.status(self._batch.status(), over=self._is_over, limit=limit)

    def html(self) -> str:
        """Return the sheet as it is now, for the saved notebook."""
        with self._lock:
            return self._cells.html()

    def figure(self, cell: Cell) -> str:
        """Return one cell as HTML."""
        with self._lock:
            return self._cells.figure(cell)

    def press(self, button: str, index: int, value: int = 0) -> None:
        """Do what a button of the front end asks, in the background."""
        actions: dict[str, Callable[[], None]] = {
            "stop": self._stop,
            "drop": lambda: self._drop(index),
            "again": lambda: self._make(index, lambda outcome: outcome.request),
            "vary": lambda: self._make(index, lambda outcome: Vary(image=_library_image(outcome))),
            "enhance": lambda: self._make(
                index, lambda outcome: Enhance(image=_library_image(outcome))
            ),
            "rate": lambda: self._rate(index, value),
        }
        if (action := actions.get(button)) is not None:
            self._start(self._act, action)

    def _act(self, action: Callable[[], None]) -> None:
        try:
            action()
        except (ImagenError, RuntimeError) as error:
            self._say(str(error))

    def _stop(self) -> None:
        for batch in list(self._running):
            batch.close()

    def _drop(self, index: int) -> None:
        self._batch.drop(index)

    def _rate(self, index: int, stars: int) -> None:
        outcome = self._cells.outcomes.get(index)
        if isinstance(outcome, Image):
            self._batch.client.library.rate(outcome.id, stars)
            with self._lock:
                self._cells.rate(index, stars)

    def _make(self, index: int, request_of: Callable[[Outcome], Request]) -> None:
        outcome = self._cells.outcomes.get(index)
        if outcome is None:
            return
        request = request_of(outcome)
        with self._lock:
            offset = self._cells.add_extra(request)
        batch = self._batch.client.open_batch([request], budget=self._batch.budget)
        batch.listen(lambda event: self._notice(event, offset))
        self._running.append(batch)
        self._pull(batch, offset)

    # --- threads --------------------------------------------------------------

    def _start(self, function: Callable[..., None], *args: object) -> None:
        # Nothing is lost with such a thread: the client keeps what is paid.
        threading.Thread(target=function, args=args, name="imagen sheet", daemon=True).start()

    def _pull(self, batch: SheetBatch, offset: int) -> None:
        error: Exception | None = None
        try:
            for outcome in batch:
                with self._lock:
                    self._cells.take(outcome, offset)
                if batch is self._batch:
                    self._came.put(outcome)
            batch.close()
        except Exception as raised:
            error = raised
        self._running.remove(batch)
        if batch is self._batch:
            self._error = error if isinstance(error, ImagenError) else None
            self._is_over = True
        if error is not None:
            self._say(_ending(error))
        self._changed(None)
        if batch is self._batch:
            # Last: who waited finds the whole sheet shown.
            self._over.set()
            self._came.put(None)

    def _notice(self, event: Event, offset: int) -> None:
        with self._lock:
            self._cells.notice(event, offset)

    def _changed(self, cell: Cell | None) -> None:
        if self._front is not None:
            self._front.update(cell)

    def _say(self, sentence: str) -> None:
        if self._front is not None:
            self._front.say(sentence)


def _library_image(outcome: Outcome) -> LibraryImage | bytes:
    if not isinstance(outcome, Image):
        raise InvalidRequestError("This request has no image.")
    return outcome if outcome.path is not None else outcome.data


def _ending(error: Exception) -> str:
    if isinstance(error, ImagenError):
        return str(error)
    return "Stopped: what was sent is kept in the library, the rest was not sent."
