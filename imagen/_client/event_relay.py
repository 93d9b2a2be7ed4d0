"""Event relay: subscribers are notified, and their errors lose no image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .._results.events import Event, EventHandler

__all__ = ["EventHandlers", "EventRelay", "handlers_of", "split_handlers"]

EventHandlers = EventHandler | Sequence[EventHandler] | None


def handlers_of(on_event: EventHandlers) -> tuple[EventHandler, ...]:
    """Return the handlers that a caller gave: none, one or several."""
    if on_event is None:
        return ()
    return (on_event,) if callable(on_event) else tuple(on_event)


def split_handlers(
    on_event: EventHandlers,
) -> tuple[tuple[EventHandler, ...], tuple[EventHandler, ...]]:
    """Return the handlers that run where the caller is, and those that run in
    the Trio run, as they have a true attribute `in_engine`.
    """
    handlers = handlers_of(on_event)
    inside = tuple(one for one in handlers if getattr(one, "in_engine", False))
    return tuple(one for one in handlers if one not in inside), inside


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
