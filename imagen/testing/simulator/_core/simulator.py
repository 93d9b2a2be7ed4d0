"""Simulator as a test sees it: its address, the requests, the bills."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal

import msgspec
import trio

from .faults import Fault
from .messages import Bill, Drawing, Received, Submission


class Simulator:
    """A running simulator. Made by `open_simulator`; the `note_` methods are
    for its server.

    Attributes:
        url: the origin of the simulated APIs.
        elsewhere_url: a second origin, which links and redirects point to. It
            wants to see no key.
        key: the one that every provider accepts.
        received: every request, in order of arrival.
        bills: in the order in which the drawings started.
        max_in_flight: the most requests in flight at once.
        open_sockets: connections that are open now.
    """

    def __init__(
        self, *, url: str, elsewhere_url: str, base_urls: Mapping[str, str], key: str
    ) -> None:
        self.url = url
        self.elsewhere_url = elsewhere_url
        self.key = key
        self.received: list[Received] = []
        self.bills: list[Bill] = []
        self.max_in_flight = 0
        self.open_sockets = 0
        self.opened_at = trio.current_time()
        self._base_urls = base_urls
        self._bill_places: dict[int, int] = {}  # by the number of the request
        self._outages: dict[str, Fault] = {}
        self._in_flight = 0
        self._changed = trio.Event()

    def base_url(self, provider: str) -> str:
        """Return the base URL for a client of this provider."""
        return self._base_urls[provider]

    @property
    def billed_usd(self) -> Decimal:
        return sum((bill.usd for bill in self.bills), Decimal(0))

    @property
    def leaks(self) -> list[Received]:
        """Requests that brought a key to an origin that must not see it."""
        return [
            received
            for received in self.received
            if received.provider == "files" and received.carries_key
        ]

    def bill_for(self, received: Received) -> Bill | None:
        """Return the bill of a request; None if nothing was billed."""
        place = self._bill_places.get(received.number)
        return None if place is None else self.bills[place]

    def summary(self) -> dict[str, object]:
        """The record in three numbers, ready for JSON."""
        return {
            "requests": len(self.received),
            "images": sum(bill.images for bill in self.bills),
            "billed_usd": str(self.billed_usd),
        }

    async def wait_received(self, n: int) -> None:
        """Wait until `n` requests have arrived since the simulator was opened."""
        await self._wait_until(lambda: len(self.received) >= n)

    async def wait_closed(self) -> None:
        """Wait until no connection is open. A client's close takes a moment to
        arrive here.
        """
        await self._wait_until(lambda: self.open_sockets == 0)

    @contextmanager
    def outage(self, provider: str, fault: Fault) -> Iterator[None]:
        """Apply this fault to every request to a provider for the duration of
        the block.
        """
        self._outages[provider] = fault
        try:
            yield
        finally:
            del self._outages[provider]

    def outage_of(self, provider: str) -> Fault | None:
        """Return the fault of the provider's outage, if there is one."""
        return self._outages.get(provider)

    def note_received(self, received: Received) -> None:
        self.received.append(received)
        self._tell_change()

    def note_bill(self, received: Received, drawing: Drawing | Submission) -> None:
        bill = Bill(
            number=received.number,
            provider=received.provider,
            model=drawing.model,
            images=drawing.images,
            usd=drawing.usd,
        )
        self._bill_places[received.number] = len(self.bills)
        self.bills.append(bill)

    def note_delivered(self, received: Received, *, delivered: bool) -> None:
        place = self._bill_places.get(received.number)
        if place is not None:
            self.bills[place] = msgspec.structs.replace(self.bills[place], delivered=delivered)

    def note_collected(self, number: int) -> None:
        """The images of a job, submitted by this request, have been handed out."""
        place = self._bill_places.get(number)
        if place is not None:
            self.bills[place] = msgspec.structs.replace(self.bills[place], delivered=True)

    def note_in_flight(self, change: int) -> None:
        self._in_flight += change
        self.max_in_flight = max(self.max_in_flight, self._in_flight)

    def note_open_sockets(self, change: int) -> None:
        self.open_sockets += change
        self._tell_change()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_until(self, true_now: Callable[[], bool]) -> None:
        await trio.lowlevel.checkpoint()
        while not true_now():
            await self._changed.wait()
