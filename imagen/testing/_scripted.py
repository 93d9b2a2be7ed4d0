"""A transport without a network: replies by script, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
import trio

from .._errors import OutcomeUnknownError, ProviderError
from ..providers._steps import HttpRequest, StreamedReply

__all__ = ["Fault", "ScriptedReply", "ScriptedTransport"]

Fault = Literal["refused", "lost", "cut"]


class ScriptedReply(msgspec.Struct, frozen=True, kw_only=True):
    """Scripted reply: its headers come `after_seconds`, its chunks
    `chunk_seconds` apart.

    `fault` "refused" means that nothing was sent, "lost" that it was sent and
    no reply came, "cut" that the connection breaks after the chunks.
    """

    status: int = 200
    headers: Mapping[str, str] = {}
    chunks: tuple[bytes, ...] = ()
    after_seconds: float = 0.0
    chunk_seconds: float = 0.0
    fault: Fault | None = None


class ScriptedTransport:
    """Transport that replies with the next entry of a script, or with the
    result of a function of the request.

    `requests` are the requests so far, `open_replies` the replies being read
    now, `most_at_once` the most requests in flight together.

    Raises:
        AssertionError: a request came after the script's end.
    """

    def __init__(
        self, script: Iterable[ScriptedReply] | Callable[[HttpRequest], ScriptedReply]
    ) -> None:
        self.requests: list[HttpRequest] = []
        self.open_replies = 0
        self.most_at_once = 0
        self.closed = False
        self._answer = script if callable(script) else _next_of(script)

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[StreamedReply]:
        self.requests.append(request)
        self.open_replies += 1
        self.most_at_once = max(self.most_at_once, self.open_replies)
        try:
            reply = self._answer(request)
            if reply.fault == "refused":
                await trio.lowlevel.checkpoint()
                raise ProviderError("The connection was refused; nothing was sent.", retryable=True)
            await trio.sleep(reply.after_seconds)
            if reply.fault == "lost":
                raise OutcomeUnknownError("The connection broke before an answer came.")
            yield _ScriptedBody(reply)
        finally:
            self.open_replies -= 1

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()
        self.closed = True


class _ScriptedBody:
    def __init__(self, reply: ScriptedReply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._chunks = iter(reply.chunks)
        self._chunk_seconds = reply.chunk_seconds
        self._cut = reply.fault == "cut"

    async def receive_some(self) -> bytes:
        await trio.sleep(self._chunk_seconds)
        chunk = next(self._chunks, b"")
        if not chunk and self._cut:
            raise OutcomeUnknownError("The connection broke in the middle of the answer.")
        return chunk


def _next_of(script: Iterable[ScriptedReply]) -> Callable[[HttpRequest], ScriptedReply]:
    replies = iter(script)

    def answer(request: HttpRequest) -> ScriptedReply:
        reply = next(replies, None)
        assert reply is not None, f"the script has no reply for {request!r}"
        return reply

    return answer
