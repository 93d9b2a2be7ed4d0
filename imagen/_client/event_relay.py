"""Tells subscribers what happens, and loses no image where one of them fails."""

from __future__ import annotations

from collections.abc import Callable

from .._results.events import Event, EventHandler

__all__ = ["EventRelay"]


class EventRelay:
    """Tells the subscriber of a client. An exception of his must not lose a
    paid image, so it waits for the end.
    """

    def __init__(self, handler: EventHandler | None) -> None:
        self._handler = handler
        self._error: Exception | None = None

    def __call__(self, event: Event) -> None:
        self._tell(self._handler, event)

    def also_to(self, handler: EventHandler | None) -> Callable[[Event], None]:
        """Tells one more, of a single batch say."""
        if handler is None:
            return self

        def tell_both(event: Event) -> None:
            self(event)
            self._tell(handler, event)

        return tell_both

    def _tell(self, handler: EventHandler | None, event: Event) -> None:
        if handler is None or self._error is not None:
            return
        try:
            handler(event)
        except Exception as error:
            self._error = error

    def raise_error(self) -> None:
        """Raises the first exception of a subscriber."""
        if self._error is not None:
            raise self._error
