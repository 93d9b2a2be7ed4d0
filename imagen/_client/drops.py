"""Requests of a batch that are dropped one by one."""

from __future__ import annotations

from collections.abc import Callable

import trio

from .._errors import ImagenError, OutcomeUnknownError, ProviderError
from .._requests.request import Request
from .._results.images import Failure, failure_of

__all__ = ["Droppable", "Drops"]


class Droppable:
    """One request that may be dropped while it runs."""

    def __init__(self, index: int, is_sent: Callable[[int], bool]) -> None:
        self.scope = trio.CancelScope()
        self._index = index
        self._is_sent = is_sent
        self._sent = False

    def drop(self) -> None:
        """Cancel the request. A cancellation salvages what has been sent."""
        self._sent = self._is_sent(self._index)
        self.scope.cancel("the request is dropped")

    def failure(self, request: Request) -> Failure:
        """Return the outcome of the request that was dropped."""
        error: ImagenError = ProviderError(
            "The request was dropped before it was sent; it costs nothing.", code="DROPPED"
        )
        if self._sent or self._is_sent(self._index):
            error = OutcomeUnknownError(
                "The request was dropped after it was sent: it may be billed, and its image goes"
                " into the library if it comes soon.",
                code="DROPPED",
            )
        return failure_of(request, self._index, error)


class Drops:
    """Requests of one batch, which begin in the order of their indexes.

    Args:
        is_sent: Returns True if the request with that index is at the provider.
    """

    def __init__(self, is_sent: Callable[[int], bool]) -> None:
        self._is_sent = is_sent
        self._begun = 0
        self._early: set[int] = set()
        self._running: dict[int, Droppable] = {}

    def drop(self, index: int) -> bool:
        """Drop a request; return False if it cannot be dropped any more."""
        if (running := self._running.get(index)) is not None:
            running.drop()
            return True
        if index < self._begun:
            return False
        self._early.add(index)
        return True

    def begin(self, indexes: tuple[int, ...]) -> Droppable:
        """Begin a request. One for several images cannot be dropped in part."""
        first = indexes[0]
        self._begun = indexes[-1] + 1
        droppable = Droppable(first, self._is_sent)
        if len(indexes) == 1:
            self._running[first] = droppable
            if first in self._early:
                droppable.scope.cancel("the request is dropped")
        self._early.difference_update(indexes)
        return droppable

    def end(self, indexes: tuple[int, ...]) -> None:
        """End a request: it has its outcome."""
        self._running.pop(indexes[0], None)
