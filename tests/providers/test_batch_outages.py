"""Outages while a batch is waited for and fetched: the driver tells the
exchange, which asks again.
"""

from __future__ import annotations

import pytest

from imagen import Bounds, OutcomeUnknownError, RetryPolicy
from imagen._transport.driver import ExchangeDriver
from imagen.providers import PROVIDERS, GeneratedImages, HttpRequest, Wait
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from imagen.testing.simulator import Overloaded, Reset, Stall, Truncated, open_simulator
from tests.support.batch_files import DIALECTS, Collector, Dialect
from tests.support.drivers import RETRY, open_driver

IMPATIENT = Bounds(connect_seconds=5.0, reply_seconds=5.0, idle_seconds=0.5)


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.provider)
def dialect(request: pytest.FixtureRequest) -> Dialect:
    return request.param


def test_a_way_that_is_down_for_an_hour_does_not_end_a_batch(dialect):
    lost = [OutcomeUnknownError("No reply.")] * 100
    walk = dialect.run(1, *lost, dialect.ended, dialect.file(0))
    assert walk.run().keys() == {0}
    assert len(walk.of(Wait)) == 101


@pytest.mark.parametrize(
    "fault",
    [Truncated(), Truncated(chunked=True), Reset(), Overloaded(), Stall(sent="half")],
    ids=repr,
)
async def test_a_download_that_breaks_off_is_begun_again(dialect, fault):
    async with open_simulator(download_faults=[fault, None, fault]) as simulator:
        watch = Collector()
        base_url, provider = simulator.base_url(dialect.provider), PROVIDERS[dialect.provider]
        async with open_driver(
            base_url, provider=provider, key=simulator.key, bounds=IMPATIENT
        ) as driver:
            await driver.run(dialect.batch_api.run(dialect.calls(6, poll_seconds=0.01)), watch)
        assert [type(result) for result in watch.results.values()] == [GeneratedImages] * 6
        assert [received.kind for received in simulator.received].count("download") >= 2
        assert len(simulator.bills) == 1


async def test_a_download_that_is_refused_may_be_billed_and_is_not_ordered_again(
    dialect, autojump_clock
):
    def answer(request: HttpRequest) -> ScriptedReply:
        if request.stream:
            return ScriptedReply(fault="refused")
        return ScriptedReply(chunks=(dialect.ended.body,))

    transport = ScriptedTransport(answer)
    driver = ExchangeDriver(transport, bounds=Bounds(), retry=RETRY, workers=InlineWorkers())
    with pytest.raises(OutcomeUnknownError) as caught:
        await driver.run(dialect.batch_api.collect(dialect.calls(1), dialect.accepted), Collector())
    assert (caught.value.billed, caught.value.retryable) == ("unknown", False)
    assert transport.open_replies == 0


async def test_a_poll_that_is_cut_is_asked_again(dialect, autojump_clock):
    faults = iter(["refused"] * 40)

    def answer(request: HttpRequest) -> ScriptedReply:
        if next(faults, None):
            return ScriptedReply(fault="refused")
        if request.stream:
            return ScriptedReply(chunks=tuple(dialect.file(0).chunks))
        return ScriptedReply(chunks=(dialect.ended.body,))

    watch = Collector()
    retry = RetryPolicy(attempts=3)
    driver = ExchangeDriver(
        ScriptedTransport(answer), bounds=Bounds(), retry=retry, workers=InlineWorkers()
    )
    await driver.run(dialect.batch_api.collect(dialect.calls(1), dialect.accepted), watch)
    assert watch.results.keys() == {0}


async def test_an_older_reply_is_closed_when_the_next_one_is_opened(dialect, autojump_clock):
    lines = [dialect.line(str(position)) for position in range(4)]
    cuts = iter([1, 2, 3])
    open_at_once: list[int] = []

    def answer(request: HttpRequest) -> ScriptedReply:
        open_at_once.append(transport.open_replies)
        if not request.stream:
            return ScriptedReply(chunks=(dialect.ended.body,))
        cut = next(cuts, None)
        return ScriptedReply(chunks=tuple(lines[:cut]), fault="cut" if cut else None)

    transport = ScriptedTransport(answer)
    driver = ExchangeDriver(transport, bounds=Bounds(), retry=RETRY, workers=InlineWorkers())
    watch = Collector()
    await driver.run(dialect.batch_api.collect(dialect.calls(4), dialect.accepted), watch)
    assert watch.results.keys() == set(range(4))
    assert max(open_at_once) == 1


async def test_what_was_delivered_counts_no_more_for_the_size_of_a_reply(dialect, autojump_clock):
    lines = [dialect.line(str(position)) for position in range(50)]
    cuts = iter([49])

    def answer(request: HttpRequest) -> ScriptedReply:
        if not request.stream:
            return ScriptedReply(chunks=(dialect.ended.body,))
        cut = next(cuts, None)
        return ScriptedReply(chunks=tuple(lines[:cut]), fault="cut" if cut else None)

    bounds = Bounds(max_body_bytes=3 * len(lines[0]))
    driver = ExchangeDriver(
        ScriptedTransport(answer), bounds=bounds, retry=RETRY, workers=InlineWorkers()
    )
    watch = Collector()
    await driver.run(dialect.batch_api.collect(dialect.calls(50), dialect.accepted), watch)
    assert watch.results.keys() == set(range(50))
