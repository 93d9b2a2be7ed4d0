"""A batch as the page sees it: a place for each image from the first moment."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from ..._requests.request import Request
from ..._results.images import Failure, Image, Outcome
from .._wire.errors import Problem, problem_of
from .._wire.requests import write_request
from .._wire.rows import Row, row_of

__all__ = ["BatchState", "BatchView", "PlaceState", "PlaceView", "places_of"]

PlaceState = Literal["waiting", "queued", "sent", "done", "failed", "dropped", "lost"]
BatchState = Literal["running", "finished", "cancelled", "failed", "interrupted"]


class PlaceView(msgspec.Struct, kw_only=True):
    """Place of one image in a batch."""

    index: int
    state: PlaceState = "waiting"
    request: dict[str, Any]
    model: str | None = None
    sent_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    fraction: float | None = None
    note: str = ""
    previews: int = 0
    image: Row | None = None
    error: Problem | None = None
    cost_usd: Decimal | None = None
    cost_source: str | None = None
    cached: bool = False

    def take(self, outcome: Outcome, now: datetime.datetime) -> None:
        """Note the outcome of the request."""
        self.ended_at = self.ended_at or now
        self.cost_usd, self.cost_source = outcome.cost.usd, outcome.cost.source
        self.model = outcome.model or self.model
        if isinstance(outcome, Image):
            self.state, self.error = "done", None
            self.image, self.cached = row_of(outcome), outcome.cached
        else:
            self._take_failure(outcome)

    def _take_failure(self, failure: Failure) -> None:
        self.error = problem_of(failure.error)
        self.state = "failed"
        if failure.error.code == "DROPPED":
            self.state = "dropped"
        elif failure.error.billed == "unknown":
            self.state = "lost"


class BatchView(msgspec.Struct, kw_only=True):
    """A batch: its counts, and its places where they are asked for."""

    id: str
    state: BatchState = "running"
    requested: int
    succeeded: int = 0
    failed: int = 0
    in_flight: int = 0
    cost_usd: Decimal = Decimal(0)
    unknown_costs: int = 0
    started_at: datetime.datetime
    ended_at: datetime.datetime | None = None
    error: Problem | None = None
    prompt: str
    operation: str
    models: list[str]
    places: list[PlaceView] | msgspec.UnsetType = msgspec.UNSET

    def count(self, places: list[PlaceView]) -> None:
        """Count the places anew."""
        ended = [place for place in places if place.cost_source is not None]
        self.succeeded = sum(place.state == "done" for place in places)
        self.failed = sum(place.state in ("failed", "lost", "dropped") for place in places)
        self.in_flight = sum(place.state == "sent" for place in places)
        self.cost_usd = sum((place.cost_usd or Decimal(0) for place in ended), Decimal(0))
        self.unknown_costs = sum(place.cost_usd is None for place in ended)


def places_of(requests: list[Request]) -> list[PlaceView]:
    """Return a place for each request."""
    return [
        PlaceView(index=index, request=write_request(request), model=request.model)
        for index, request in enumerate(requests)
    ]
