"""One batch of the page, while it runs and after."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable

import msgspec
import trio

from ..._client.batch import Batch
from ..._errors import ImagenError
from ..._requests.request import operation_of
from ..._results.events import (
    AttemptEnded,
    AttemptQueued,
    AttemptSent,
    BudgetAlarm,
    Event,
    PreviewReceived,
    ProgressReported,
    RetryScheduled,
)
from ..._results.images import Outcome
from ..._system.signal import Signal
from .._wire.errors import FAULT, problem_of
from .._wire.rows import MOST_LETTERS
from .batch_files import BegunBatch
from .events import EventLog
from .places import BatchView, PlaceState, PlaceView, places_of

__all__ = ["PageBatch"]

_OPEN = ("waiting", "queued")
_log = logging.getLogger("imagen.web")


class PageBatch:
    """Batch with a place for each image. It tells the event log each change."""

    def __init__(self, begun: BegunBatch, events: EventLog, now: Callable[[], float]) -> None:
        self._events = events
        self._now = now
        self._scope = trio.CancelScope()
        self._batch: Batch | None = None
        self._changed = Signal()
        self.begun = begun
        self.places = places_of(begun.requests)
        self.previews: dict[int, bytes] = {}
        first = begun.requests[0]
        self.view = BatchView(
            id=begun.id,
            requested=len(self.places),
            started_at=begun.started_at,
            prompt=first.prompt[:MOST_LETTERS],
            operation=operation_of(first),
            models=list(dict.fromkeys(request.model or "" for request in begun.requests)),
        )

    @property
    def is_running(self) -> bool:
        """Whether outcomes still come."""
        return self.view.state == "running"

    @property
    def is_open(self) -> bool:
        """Whether a later server would have something to collect."""
        return self.view.state in ("running", "interrupted") or self._has("sent")

    @property
    def is_done(self) -> bool:
        """Whether every image is there."""
        return all(place.state == "done" for place in self.places)

    def _has(self, state: PlaceState) -> bool:
        return any(place.state == state for place in self.places)

    def whole(self) -> BatchView:
        """Return the view with its places."""
        return msgspec.structs.replace(self.view, places=self.places)

    # --- running --------------------------------------------------------------

    async def run(self, batch: Batch) -> None:
        """Take the outcomes of the batch until it is over or cancelled."""
        self.view.state, self.view.error, self.view.ended_at = "running", None, None
        self._batch, self._scope = batch, trio.CancelScope()
        self._tell_batch()
        try:
            with self._scope:
                async for outcome in batch:
                    self.take([outcome])
                self.view.state = "finished"
        except ImagenError as error:
            self.view.state, self.view.error = "failed", problem_of(error)
        except Exception:
            # A fault of ours must not end the other batches.
            _log.exception("The batch %s failed", self.view.id)
            self.view.state, self.view.error = "failed", FAULT
        finally:
            self._batch = None
            self._end()

    async def wait_settled(self) -> None:
        """Wait for what was sent before a cancellation."""
        while self.is_open:
            await self._changed.wait()

    def cancel(self) -> None:
        """Drop what was not sent; what was sent goes on to its end."""
        if self.is_running:
            self.view.state = "cancelled"
            self._scope.cancel("the user cancels the batch")

    def drop(self, index: int) -> bool:
        """Drop one that was not sent; return False if it is too late."""
        place = self._place(index)
        return self._batch is not None and place is not None and self._batch.drop(index)

    def _end(self) -> None:
        if self.is_running:
            # The server ends. The next one reads the file of this batch.
            self.view.state = "interrupted"
        self.view.ended_at = self._moment()
        for place in self.places:
            if place.state in _OPEN:
                place.state = "dropped" if self.view.state == "cancelled" else "lost"
                self._tell_place(place)
        self._tell_batch()

    def interrupt(self) -> None:
        """Say that an earlier server began it, and that it is not over."""
        self.view.state = "interrupted"
        self.view.count(self.places)

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """Note outcomes: each belongs to the place of its index."""
        for outcome in outcomes:
            if (place := self._place(outcome.index)) is not None:
                was_done = place.state == "done"
                place.take(outcome, self._moment())
                self.previews.pop(outcome.index, None)
                self._tell_place(place)
                if place.image is not None and not was_done and not place.cached:
                    self._events.add("added", {"images": [place.image]})
        self._tell_batch()

    # --- events ---------------------------------------------------------------

    def notice(self, event: Event) -> None:
        """Follow what happens to the requests."""
        match event:
            case AttemptQueued():
                self._move(event.indexes, "queued", event.model)
            case AttemptSent():
                self._move(event.indexes, "sent", event.model)
            case ProgressReported():
                self._progress(event)
            case PreviewReceived():
                self._preview(event)
            case RetryScheduled():
                self._note(event.indexes, f"Tried again: {event.error.message}")
            case AttemptEnded():
                # After a cancellation the outcomes come this way only.
                self._take_late(event)
            case BudgetAlarm():
                self._events.add(
                    "alarm", {"budget": event.budget, "share": event.share, "taken": event.taken}
                )
            case _:
                pass

    def _take_late(self, event: AttemptEnded) -> None:
        if not self.is_running and not event.left:
            self.take(event.outcomes)

    def _move(self, indexes: Iterable[int], state: PlaceState, model: str) -> None:
        for place in self._unfinished(indexes):
            place.model, place.fraction = model, None
            if state == "sent":
                place.state, place.sent_at = "sent", place.sent_at or self._moment()
            elif place.state == "waiting":
                place.state = "queued"
            self._tell_place(place)
        self._tell_batch()

    def _progress(self, event: ProgressReported) -> None:
        for place in self._unfinished(event.indexes):
            place.fraction, place.note = event.fraction, event.note
            self._tell_place(place)

    def _note(self, indexes: Iterable[int], note: str) -> None:
        for place in self._unfinished(indexes):
            place.note = note
            self._tell_place(place)

    def _preview(self, event: PreviewReceived) -> None:
        for place in self._unfinished(event.indexes):
            self.previews[place.index] = event.data
            place.previews = event.number + 1
            data = {"batch_id": self.view.id, "index": place.index, "number": place.previews}
            self._events.add("preview", data)

    def _unfinished(self, indexes: Iterable[int]) -> list[PlaceView]:
        places = (self._place(index) for index in indexes)
        return [place for place in places if place is not None and place.state != "done"]

    def _place(self, index: int) -> PlaceView | None:
        return self.places[index] if 0 <= index < len(self.places) else None

    def _tell_place(self, place: PlaceView) -> None:
        self._events.add("place", {"batch_id": self.view.id, "place": place})

    def _tell_batch(self) -> None:
        self.view.count(self.places)
        self._events.add("batch", self.view)
        self._changed.send()

    def _moment(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
