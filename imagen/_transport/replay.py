"""Transport that answers by replies that came before.

An updated reader may read what an earlier one could not, without a second
order.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

from .._errors import OutcomeUnknownError
from ..providers._steps import HttpRequest, StreamedReply, Transport
from .received import ReceivedReply

__all__ = ["ReplayTransport"]


class ReplayTransport:
    """Replays the replies of one attempt, in their order; `live` fetches the
    images behind links.
    """

    def __init__(self, replies: Iterable[ReceivedReply], live: Transport) -> None:
        self._replies = list(replies)
        self._live = live

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[StreamedReply]:
        if request.collects:
            async with self._live.open(request) as live:
                yield live
            return
        found = next((reply for reply in self._replies if _answers(reply, request)), None)
        if found is None:
            raise OutcomeUnknownError("The earlier replies have no answer to this request.")
        # A poll gets the same reply again; the order gets its reply once.
        if not request.repeatable:
            self._replies.remove(found)
        yield _Replayed(found)

    async def aclose(self) -> None:
        """Leave the live transport open: it has another owner."""


class _Replayed:
    def __init__(self, reply: ReceivedReply) -> None:
        self.status: int = reply.status
        self.headers: Mapping[str, str] = reply.headers
        self._chunks = iter(reply.chunks)

    async def receive_some(self) -> bytes:
        return next(self._chunks, b"")


def _answers(reply: ReceivedReply, request: HttpRequest) -> bool:
    # A later version may order at another path: the method is enough.
    if not request.repeatable:
        return reply.method == request.method
    return (reply.method, reply.url) == (request.method, request.url)
