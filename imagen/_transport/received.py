"""Replies as they come in, kept until their attempt is settled.

The driver notes each reply of an exchange before its provider's code reads it,
chunk by chunk. So a reply that cannot be read, or that broke off, is still
there when the attempt fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..providers._steps import HttpResponse

__all__ = ["ReceivedReplies", "ReceivedReply"]

_MOST_REPLIES = 4


class ReceivedReply:
    """Reply with as much of its body as has come."""

    def __init__(self, method: str, url: str, status: int, headers: Mapping[str, str]) -> None:
        self.method = method
        self.url = url
        self.status = status
        self.headers = headers
        self.chunks: list[bytes] = []

    @classmethod
    def of(cls, method: str, url: str, response: HttpResponse) -> ReceivedReply:
        """Return a reply that is complete."""
        reply = cls(method, url, response.status, response.headers)
        reply.chunks.append(response.body)
        return reply

    def with_body(self, body: bytes) -> ReceivedReply:
        """Return the same reply with another body."""
        reply = ReceivedReply(self.method, self.url, self.status, self.headers)
        reply.chunks.append(body)
        return reply

    def response(self) -> HttpResponse:
        """Return the reply with the body so far."""
        return HttpResponse(status=self.status, headers=self.headers, body=b"".join(self.chunks))


class ReceivedReplies:
    """Replies of one attempt: the last of each URL, oldest first.

    `tried_links` are those from which an image was fetched, or was to be.
    """

    def __init__(self) -> None:
        self.tried_links: set[str] = set()
        self._replies: dict[tuple[str, str], ReceivedReply] = {}

    def add(self, reply: ReceivedReply) -> None:
        place = reply.method, reply.url
        self._replies.pop(place, None)
        self._replies[place] = reply
        while len(self._replies) > _MOST_REPLIES:
            del self._replies[next(iter(self._replies))]

    def clear(self) -> None:
        self._replies.clear()

    def __iter__(self) -> Iterator[ReceivedReply]:
        return iter(list(self._replies.values()))
