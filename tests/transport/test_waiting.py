"""How long a reply is waited for: its first byte, silence within it, the whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

import imagen
from imagen import Bounds
from imagen._transport.driver import ExchangeDriver
from imagen.providers import HttpRequest
from imagen.testing import InlineWorkers

ORDER = HttpRequest(method="POST", url="images")
BOUNDS = Bounds(reply_seconds=600, idle_seconds=60)


class SlowTransport:
    """Headers at once, each chunk after a pause, and the end at once."""

    status, headers = 200, dict[str, str]()

    def __init__(self, chunks: tuple[bytes, ...], pause: float) -> None:
        self._chunks, self._pause = list(chunks), pause

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[SlowTransport]:
        yield self

    async def receive_some(self) -> bytes:
        if not self._chunks:
            return b""
        await trio.sleep(self._pause)
        return self._chunks.pop(0)

    async def aclose(self) -> None: ...


async def seconds_and_error(
    chunks: tuple[bytes, ...], pause: float, bounds: Bounds = BOUNDS
) -> tuple[float, imagen.ImagenError | None]:
    """How long a body of these chunks was read, each after a pause, and how that
    ended.
    """
    transport = SlowTransport(chunks, pause)
    driver = ExchangeDriver(
        transport, bounds=bounds, retry=imagen.RetryPolicy(), workers=InlineWorkers()
    )
    start = trio.current_time()
    try:
        await driver.send(ORDER)
    except imagen.ImagenError as error:
        return trio.current_time() - start, error
    return trio.current_time() - start, None


WORKING = {
    "headers at once, the body later": (b'{"data": []}',),
    "blanks keep the connection open": (b" ", b"\n", b"  ", b'{"data": []}'),
    "comments between events": (b": ping\n\n", b": ping\n\n", b"data: {}\n\n"),
    "events with CRLF": (b": ping\r\n\r\n", b"event: a\r\ndata: {}\r\n\r\n"),
    "events with CR": (b": ping\r\r", b"data: {}\r\r"),
}


@pytest.mark.parametrize("chunks", WORKING.values(), ids=WORKING.keys())
async def test_a_model_at_work_is_waited_for(autojump_clock, chunks):
    # Each pause is longer than the silence that ends a body.
    _, error = await seconds_and_error(chunks, pause=75)
    assert error is None


ENDS = {
    "nothing comes": ((b"late",), 700, BOUNDS, 600),
    "blanks without end": ((b" ",) * 10_000, 1, BOUNDS, 600),
    "silence within the body": ((b'{"data": ', b"[]}"), 75, BOUNDS, 75 + 60),
    "a byte now and then": ((b"x",) * 10_000, 1, BOUNDS, 600),
    "events without end": ((b": ping\n\n",) * 10_000, 1, BOUNDS, 600),
    "a bound of the caller's": ((b"x",) * 99, 1, Bounds(reply_seconds=9, total_seconds=20), 20),
    "small bounds": ((b"x",) * 99, 0.2, Bounds(reply_seconds=3, idle_seconds=2), 3),
}


@pytest.mark.parametrize(("chunks", "pause", "bounds", "seconds"), ENDS.values(), ids=ENDS.keys())
async def test_every_wait_ends_and_may_be_billed(autojump_clock, chunks, pause, bounds, seconds):
    waited, error = await seconds_and_error(chunks, pause, bounds)
    assert isinstance(error, imagen.OutcomeUnknownError)
    assert error.billed == "unknown"
    assert waited == pytest.approx(seconds, abs=2)


def test_the_defaults_outlast_a_slow_model():
    bounds = Bounds()
    assert (bounds.reply_seconds, bounds.idle_seconds, bounds.whole_seconds) == (600, 180, 600)
