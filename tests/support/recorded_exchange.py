"""Exchanges with the simulator, recorded, and played again with one reply
changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

import imagen
from imagen._policy.settings import ProviderAccess
from imagen._transport.connections import open_http
from imagen.providers import HttpRequest, StreamedReply, Transport
from imagen.testing import ScriptedReply, ScriptedTransport
from imagen.testing.simulator import open_simulator
from tests.support.every_model import MODELS
from tests.support.simulated_client import simulated_settings

__all__ = ["Recording", "record"]


class Recording(msgspec.Struct, frozen=True):
    """Settings and request of an exchange, and its requests with their
    replies.
    """

    settings: imagen.Settings
    request: imagen.Request
    steps: Sequence[tuple[HttpRequest, ScriptedReply]]

    def play(self, changed: int, reply: ScriptedReply) -> ScriptedTransport:
        """Return a transport that gives the replies again, with number
        `changed` replaced.
        """
        replies: dict[tuple[str, str], list[ScriptedReply]] = defaultdict(list)
        for number, (request, recorded) in enumerate(self.steps):
            replies[_key(request)].append(reply if number == changed else recorded)

        def answer(request: HttpRequest) -> ScriptedReply:
            left = replies[_key(request)]
            if not left:
                return ScriptedReply(status=404)
            return left.pop(0) if len(left) > 1 else left[0]

        return ScriptedTransport(answer)


class _Recorder:
    def __init__(self, inner: Transport, steps: list[tuple[HttpRequest, ScriptedReply]]) -> None:
        self._inner, self._steps = inner, steps

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[StreamedReply]:
        async with self._inner.open(request) as reply:
            chunks: list[bytes] = []
            while chunk := await reply.receive_some():
                chunks.append(chunk)
            headers = {"content-type": reply.headers.get("content-type", "")}
            recorded = ScriptedReply(
                status=reply.status, headers=headers, chunks=(b"".join(chunks),)
            )
            self._steps.append((request, recorded))
            async with ScriptedTransport([recorded]).open(request) as again:
                yield again

    async def aclose(self) -> None:
        await self._inner.aclose()


async def record(home: Path, request: imagen.Request) -> Recording:
    """Run a request against the simulator."""
    steps: list[tuple[HttpRequest, ScriptedReply]] = []
    async with open_simulator(latency=0.0) as simulator:
        settings = msgspec.structs.replace(simulated_settings(simulator, home), models=MODELS)
        open_transport: Callable[[ProviderAccess], Transport] = lambda access: _Recorder(  # noqa: E731
            open_http(settings, None, access), steps
        )
        async with imagen.open_client(settings, transport=open_transport) as client:
            await client.generate(request)
    return Recording(settings, request, tuple(steps))


def _key(request: HttpRequest) -> tuple[str, str]:
    return request.method, request.url
