"""The driver: what is sent twice and what never, and every kind of step."""

from __future__ import annotations

import socket

import pytest
import trio

import imagen
from imagen import Bounds, OutcomeUnknownError, ProviderError
from imagen._transport.driver import ExchangeDriver, ExchangeObserver
from imagen.providers import GeneratedImages, HttpRequest
from imagen.providers.openai import _nexos as nexos
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from imagen.testing.simulator import (
    ExpiredLink,
    Garbage,
    GzipBomb,
    HtmlError,
    NotAllowed,
    OpenAI,
    Overloaded,
    RateLimited,
    Redirect,
    Reset,
    ServerError,
    Stall,
    Truncated,
    open_simulator,
)
from tests.support.drivers import (
    DALLE,
    IMAGEN,
    KEY,
    RETRY,
    Previews,
    answering,
    bounds_for,
    failure,
    http_reply,
    open_driver,
    open_server,
    outcome,
    run_openai,
)
from tests.support.exchanges import call

# --- what is sent twice -------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Reset(),
        Stall(),
        Truncated(),
        Truncated(chunked=True),
        Overloaded(),
        ServerError(),
        HtmlError(status=502),
    ],
    ids=repr,
)
async def test_the_model_list_is_asked_again_and_the_creation_is_not(fault):
    async with open_simulator(list_faults=[fault, fault], key=KEY) as simulator:
        async with open_driver(
            simulator.base_url("nexos"), provider=nexos.PROVIDER, bounds=bounds_for(fault)
        ) as driver:
            assert (
                len((await driver.run(nexos.generate(call(IMAGEN)), ExchangeObserver())).images)
                == 1
            )
            # The second image needs no list.
            await driver.run(nexos.generate(call(IMAGEN)), ExchangeObserver())
        assert [received.kind for received in simulator.received] == ["list"] * 3 + ["create"] * 2


@pytest.mark.parametrize(
    "fault",
    [
        Reset(),
        Stall(),
        Truncated(),
        Garbage(),
        Overloaded(),
        ServerError(),
        GzipBomb(expands_to_bytes=4 << 20),
    ],
    ids=repr,
)
async def test_a_list_that_never_comes_costs_nothing_and_nothing_is_ordered(fault):
    watch = Previews()
    async with open_simulator(list_faults=fault, key=KEY) as simulator:
        async with open_driver(
            simulator.base_url("nexos"), provider=nexos.PROVIDER, bounds=bounds_for(fault)
        ) as driver:
            error = await failure(driver.run(nexos.generate(call(IMAGEN)), watch))
        assert error.billed == "no"
        assert type(error) is ProviderError
        assert watch.sent == 0
        assert {received.kind for received in simulator.received} == {"list"}
        assert len(simulator.received) == (
            1 if isinstance(fault, (Garbage, GzipBomb)) else RETRY.attempts
        )


@pytest.mark.parametrize(
    "fault", [Reset(), Stall(), Truncated(), RateLimited(), Overloaded(), ServerError()], ids=repr
)
async def test_a_finished_image_is_fetched_again(fault):
    async with open_simulator(
        OpenAI(retired=()), download_faults=[fault, fault], key=KEY
    ) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=bounds_for(fault)) as driver:
            (image,) = (await run_openai(driver, DALLE)).images
        await simulator.wait_closed()
        assert image.data.startswith(b"\x89PNG")
        assert image.revised_prompt is not None
        assert [received.kind for received in simulator.received] == ["create"] + ["download"] * 3
        assert not simulator.leaks


@pytest.mark.parametrize(
    "fault",
    [
        Reset(),
        Stall(),
        Truncated(),
        Overloaded(),
        NotAllowed(),
        GzipBomb(expands_to_bytes=4 << 20),
        Redirect(),
    ],
    ids=repr,
)
async def test_a_finished_image_that_cannot_be_fetched_was_billed(fault):
    async with open_simulator(OpenAI(retired=()), download_faults=fault, key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai"), bounds=bounds_for(fault)) as driver:
            error = await failure(run_openai(driver, DALLE))
        assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")
        assert [received.kind for received in simulator.received].count("create") == 1
        assert not simulator.leaks


async def test_a_link_to_a_server_that_is_down_was_billed_and_is_not_ordered_again():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        link = f"http://127.0.0.1:{closed.getsockname()[1]}/1.png"
        async with open_server(answering(http_reply({"data": [{"url": link}]}))) as server:
            async with open_driver(server.url) as driver:
                error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")
    assert len(server.requests) == 1


async def test_an_expired_link_was_billed():
    async with open_simulator(OpenAI(retired=()), faults=ExpiredLink(), key=KEY) as simulator:
        async with open_driver(simulator.base_url("openai")) as driver:
            error = await failure(run_openai(driver, DALLE))
    assert outcome(error) == (ProviderError, "API_ERROR", False, "yes")
    assert error.details["status"] == "403"


async def test_a_server_that_is_not_there_is_told_at_once_and_nothing_was_sent():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        async with open_driver(f"http://127.0.0.1:{port}/v1") as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (ProviderError, "API_ERROR", True, "no")
    assert f"127.0.0.1:{port}" in error.message


# --- the other steps, without a network ---------------------------------------


class Told(ExchangeObserver):
    """Keeps what the driver tells, and when."""

    def __init__(self) -> None:
        self.told: list[object] = []

    async def before_sending(self) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append("sending")

    async def accepted(self, job: imagen.providers.JobAccepted) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append((job.job_id, trio.current_time()))

    def preview(self, partial: imagen.providers.PartialImage) -> None:
        self.told.append(partial.number)


def scripted(*replies: ScriptedReply) -> tuple[ExchangeDriver, ScriptedTransport]:
    transport = ScriptedTransport(replies)
    return (
        ExchangeDriver(transport, bounds=Bounds(), retry=RETRY, workers=InlineWorkers()),
        transport,
    )


def polled_job() -> imagen.providers.Exchange:
    yield HttpRequest(method="POST", url="jobs", body=b"{}")
    yield imagen.providers.JobAccepted(job_id="j1", poll_url="jobs/j1")
    poll = HttpRequest(method="GET", url="jobs/j1", repeatable=True)
    yield imagen.providers.Wait(seconds=3)
    while (reply := (yield poll)).body != b"done":
        yield imagen.providers.Wait(seconds=10)
    yield imagen.providers.PartialImage(data=b"", number=7)
    return GeneratedImages(images=(imagen.providers.GeneratedImage(data=reply.body),))


async def test_a_job_is_waited_for_and_announced(autojump_clock):
    lost = ScriptedReply(fault="lost")
    driver, transport = scripted(
        *[ScriptedReply(chunks=(body,)) for body in (b"", b"wait")],
        lost,
        ScriptedReply(chunks=(b"done",)),
    )
    watch, started = Told(), trio.current_time()
    result = await driver.run(polled_job(), watch)
    assert result.images[0].data == b"done"
    assert watch.told == ["sending", ("j1", started), 7]
    assert 13 <= trio.current_time() - started < 14
    assert [request.method for request in transport.requests] == ["POST", "GET", "GET", "GET"]
    assert transport.open_replies == 0


async def test_a_job_whose_polls_fail_may_be_billed(autojump_clock):
    driver, _ = scripted(ScriptedReply(), *[ScriptedReply(fault="refused")] * RETRY.attempts)
    with pytest.raises(ProviderError, match="its state cannot be read any more") as caught:
        await driver.run(polled_job(), Told())
    assert outcome(caught.value) == (OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown")


async def test_a_finished_image_behind_a_dead_link_was_billed(autojump_clock):
    def exchange() -> imagen.providers.Exchange:
        yield HttpRequest(method="POST", url="jobs")
        yield HttpRequest(
            method="GET", url="https://files.example/a.png", repeatable=True, collects=True
        )
        raise AssertionError("there is no image")

    driver, _ = scripted(ScriptedReply(), *[ScriptedReply(fault="refused")] * RETRY.attempts)
    with pytest.raises(ProviderError, match="could not be fetched") as caught:
        await driver.run(exchange(), Told())
    assert outcome(caught.value) == (ProviderError, "API_ERROR", False, "yes")


async def test_work_on_this_machine_is_announced_and_done_by_the_workers():
    def exchange() -> imagen.providers.Exchange:
        data = yield imagen.providers.Compute(call=lambda: b"drawn")
        return GeneratedImages(images=(imagen.providers.GeneratedImage(data=data),))

    driver, transport = scripted()
    watch = Told()
    assert (await driver.run(exchange(), watch)).images[0].data == b"drawn"
    assert watch.told == ["sending"]
    assert not transport.requests


@pytest.mark.parametrize("step", [None, b"step", imagen.providers.ReadChunk()])
async def test_what_is_no_step_or_comes_too_early_is_a_bug_that_shows(step):
    closed = False

    def exchange() -> imagen.providers.Exchange:
        nonlocal closed
        try:
            yield step
        finally:
            closed = True

    driver, _ = scripted()
    with pytest.raises(AssertionError):
        await driver.run(exchange(), ExchangeObserver())
    assert closed


async def test_a_watch_that_listens_to_nothing_is_fine(autojump_clock):
    driver, _ = scripted(ScriptedReply(), ScriptedReply(chunks=(b"done",)))
    assert len((await driver.run(polled_job(), ExchangeObserver())).images) == 1


async def test_an_answer_is_kept_only_as_long_as_it_says_and_only_if_it_is_good(autojump_clock):
    def ask() -> imagen.providers.Exchange:
        reply = yield HttpRequest(method="GET", url="models", repeatable=True, cache_seconds=60)
        return GeneratedImages(images=(imagen.providers.GeneratedImage(data=reply.body),))

    replies = [
        ScriptedReply(status=401),
        *[ScriptedReply(chunks=(body,)) for body in (b"one", b"two")],
    ]
    driver, _ = scripted(*replies)
    got = []
    for seconds in (0, 0, 59, 2):
        await trio.sleep(seconds)
        got.append((await driver.run(ask(), ExchangeObserver())).images[0].data)
    assert got == [b"", b"one", b"one", b"two"]


# --- what is created once, however often it is sent ---------------------------

_ONCE = HttpRequest(method="POST", url="draw", idempotent=True)
_LOST = ScriptedReply(fault="lost")
_DOWN = ScriptedReply(status=503)


def create_once() -> imagen.providers.Exchange:
    response = yield _ONCE
    assert isinstance(response, imagen.providers.HttpResponse)
    if response.status != 200:
        raise imagen.RateLimitError("Not now.")
    return GeneratedImages(images=())


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([_LOST, _DOWN, ScriptedReply()], None),
        ([_DOWN, _DOWN, _DOWN, _DOWN], imagen.RateLimitError),
        ([_LOST, ScriptedReply(status=429)] * 2, OutcomeUnknownError),
        ([_LOST, ScriptedReply(status=400)], OutcomeUnknownError),
        ([_LOST] * 4, OutcomeUnknownError),
        ([_LOST, *[ScriptedReply(fault="refused")] * 3], OutcomeUnknownError),
        ([ScriptedReply(fault="refused")] * 4, ProviderError),
    ],
)
async def test_a_step_with_a_key_of_its_own_is_sent_again_and_never_forgets_a_lost_try(
    script, error, autojump_clock
):
    transport = ScriptedTransport(script)
    driver = ExchangeDriver(
        transport, bounds=Bounds(), retry=imagen.RetryPolicy(), workers=InlineWorkers()
    )
    if error is None:
        await driver.run(create_once(), ExchangeObserver())
    else:
        with pytest.raises(error) as caught:
            await driver.run(create_once(), ExchangeObserver())
        assert type(caught.value) is error
        assert caught.value.billed == ("unknown" if error is OutcomeUnknownError else "no")
    assert len(transport.requests) == len(script)
