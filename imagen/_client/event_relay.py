"""Event relay: subscribers are notified, and their errors lose no image."""

from __future__ import annotations

from collections.abc import Callable

from .._results.events import Event, EventHandler

__all__ = ["EventRelay"]


class EventRelay:
    """Subscribers of a client. An exception of a handler must not lose a paid
    image: the handler gets no further event, the others do, and the exception
    is raised at the end.
    """

    def __init__(self, *handlers: EventHandler) -> None:
        self._handlers = handlers
        self._error: Exception | None = None
        self._failed: list[EventHandler] = []

    def __call__(self, event: Event) -> None:
        for handler in self._handlers:
            self.tell(handler, event)

    def also_to(self, handler: EventHandler | None) -> Callable[[Event], None]:
        """Return a callable that notifies one more handler, e.g. of a single
        batch.
        """
        if handler is None:
            return self

        def tell_both(event: Event) -> None:
            self(event)
            self.tell(handler, event)

        return tell_both

    def tell(self, handler: EventHandler | None, event: Event) -> None:
        """Notify one handler, and keep its exception."""
        if handler is None or handler in self._failed:
            return
        try:
            handler(event)
        except Exception as error:
            self._failed.append(handler)
            self._error = self._error or error

    def raise_error(self) -> None:
        """Raises the first exception of a subscriber."""
        if self._error is not None:
            raise self._error

    def name_in(self, error: BaseException) -> None:
        """Name the first exception of a subscriber in the one that ends the
        client, which comes before it.
        """
        if self._error is not None:
            error.add_note(f"Before that, a handler of events raised {_name(self._error)}.")


def _name(error: Exception) -> str:
    try:
        return repr(error)
    except Exception:
        # The exception is of the caller's code, as is its repr.
        return type(error).__name__
