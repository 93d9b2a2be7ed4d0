"""Jobs: progress on the way, stopping them at the provider, work on a device of
this machine, sockets.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import trio

import imagen
from imagen._transport.driver import ExchangeObserver
from imagen.providers import (
    Call,
    Cancellable,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    Meanwhile,
    PartialImage,
    Progress,
    ReadChunk,
    Render,
    Reporter,
)
from imagen.testing import ScriptedReply
from tests.support.cancellable_jobs import MODEL, answering, job, open_works
from tests.support.drivers import CALM, KEY, open_driver, open_server
from tests.support.images import PNG


async def leave_early(client: imagen.Client) -> None:
    with trio.move_on_after(3.5):
        await client.generate("x")
    while client.in_flight:
        await trio.sleep(0.1)


async def test_progress_is_an_event(tmp_path: Path, autojump_clock):
    async with open_works(tmp_path, job(stops_bill=False, waits=4), answering()) as (
        client,
        _,
        events,
    ):
        await client.generate("x")
    told = [event for event in events if isinstance(event, imagen.ProgressReported)]
    assert [event.fraction for event in told] == [0.0, 0.25, 0.5, 0.75]
    assert {(event.note, event.model) for event in told} == {("drawing", "works-1")}


async def test_a_job_whose_stop_costs_nothing_is_stopped_at_once(tmp_path: Path, autojump_clock):
    async with open_works(tmp_path, job(stops_bill=True), answering(), salvage_seconds=500.0) as (
        client,
        transport,
        _,
    ):
        await leave_early(client)
        assert trio.current_time() < 10
        assert [request.url for request in transport.requests] == ["jobs", "jobs/j1/cancel"]
        spending = await client.spending()
    assert (spending.settled_usd, spending.unknown_usd, spending.attempts.failed) == (0, 0, 1)


async def test_a_job_that_is_billed_anyway_is_waited_for_and_stopped_when_the_wait_is_over(
    tmp_path: Path, autojump_clock
):
    async with open_works(tmp_path, job(stops_bill=False), answering(), salvage_seconds=20.0) as (
        client,
        transport,
        _,
    ):
        started = trio.current_time()
        await leave_early(client)
        assert 20 < trio.current_time() - started < 30
        assert transport.requests[-1].url == "jobs/j1/cancel"
        spending = await client.spending()
    assert (spending.settled_usd, spending.unknown_usd, spending.attempts.unknown) == (
        0,
        Decimal("0.05"),
        1,
    )


async def test_a_stop_that_the_provider_refuses_leaves_the_outcome_unknown(
    tmp_path: Path, autojump_clock
):
    async with open_works(tmp_path, job(stops_bill=True), answering(cancel_status=400)) as (
        client,
        _,
        _,
    ):
        await leave_early(client)
        spending = await client.spending()
    assert (spending.unknown_usd, spending.attempts.unknown) == (Decimal("0.05"), 1)


async def test_a_stop_that_gets_no_answer_is_given_up(tmp_path: Path, autojump_clock):
    def answer(request: HttpRequest) -> ScriptedReply:
        return ScriptedReply(after_seconds=10_000 if request.url.endswith("cancel") else 0)

    async with open_works(tmp_path, job(stops_bill=True), answer) as (client, _, _):
        await leave_early(client)
        assert trio.current_time() < 60
        spending = await client.spending()
    assert spending.attempts.unknown == 1


async def test_a_long_answer_is_asked_about_meanwhile(tmp_path: Path, autojump_clock):
    def read(response: HttpResponse) -> PartialImage | Progress | None:
        share = float(response.body or 0)
        if share > 0.5:
            return PartialImage(data=PNG, number=0)
        return Progress(fraction=share) if share else None

    question = Meanwhile(
        request=HttpRequest(method="GET", url="progress", repeatable=True),
        every_seconds=2.0,
        read=read,
    )

    def work(call: Call) -> Exchange:
        response = yield HttpRequest(method="POST", url="draw", meanwhile=question)
        assert isinstance(response, HttpResponse)
        return GeneratedImages(images=(GeneratedImage(data=response.body),))

    shares = iter([b"", b"0.25", None, b"0.75"])

    def answer(request: HttpRequest) -> ScriptedReply:
        if request.url == "draw":
            return ScriptedReply(chunks=(PNG,), after_seconds=9.0)
        share = next(shares)
        return ScriptedReply(fault="lost") if share is None else ScriptedReply(chunks=(share,))

    async with open_works(tmp_path, work, answer) as (client, transport, events):
        await client.generate("x")
    told = [type(event).__name__ for event in events]
    waiting = ["AttemptQueued", "AttemptReserved"]
    sent = ["AttemptSent", "ProgressReported", "PreviewReceived", "AttemptEnded"]
    assert told == waiting + sent
    assert [request.url for request in transport.requests] == ["draw"] + ["progress"] * 4


async def test_work_on_a_device_reports_and_runs_one_at_a_time(tmp_path: Path):
    running: list[int] = []
    most: list[int] = []

    def render(reporter: Reporter) -> bytes:
        running.append(1)
        most.append(len(running))
        reporter.progress(0.5)
        reporter.preview(PNG, 0)
        running.pop()
        return PNG

    def work(call: Call) -> Exchange:
        data = yield Render(call=render, device="cpu")
        assert isinstance(data, bytes)
        return GeneratedImages(images=(GeneratedImage(data=data),))

    settings = imagen.load_settings(
        {"IMAGEN_HOME": str(tmp_path)},
        providers=[
            imagen.providers.Provider(
                name="works", operations={"generate": work}, models={"works-1": MODEL}
            )
        ],
    )
    events: list[imagen.Event] = []
    async with imagen.open_client(settings, on_event=events.append) as client:
        async with client.open_batch("x", n=4, model="works-1") as batch:
            outcomes = [outcome async for outcome in batch]
    assert all(isinstance(outcome, imagen.Image) for outcome in outcomes)
    assert max(most) == 1
    assert sum(isinstance(event, imagen.ProgressReported) for event in events) == 4
    assert sum(isinstance(event, imagen.PreviewReceived) for event in events) == 4


async def test_abandoned_work_on_a_device_ends_at_its_next_report(tmp_path: Path):
    steps: list[int] = []
    begun = trio.Event()

    def render(reporter: Reporter) -> bytes:
        for step in range(1000):
            steps.append(step)
            trio.from_thread.run_sync(begun.set)
            reporter.progress(step / 1000)
            trio.from_thread.run(trio.sleep, 0.005)
        return PNG

    def work(call: Call) -> Exchange:
        # Stopping costs nothing on a machine of one's own, so there is nothing
        # to wait for.
        yield Cancellable(request=None, stops_bill=True)
        data = yield Render(call=render, device="cpu")
        assert isinstance(data, bytes)
        return GeneratedImages(images=(GeneratedImage(data=data),))

    settings = imagen.load_settings(
        {"IMAGEN_HOME": str(tmp_path)},
        providers=[
            imagen.providers.Provider(
                name="works", operations={"generate": work}, models={"works-1": MODEL}
            )
        ],
    )
    async with imagen.open_client(settings) as client:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.generate, imagen.Generate(prompt="x", model="works-1"))
                await begun.wait()
                nursery.cancel_scope.cancel()
            while client.in_flight:
                await trio.sleep(0.01)
        spending = await client.spending()
    assert len(steps) < 1000
    assert (spending.settled_usd, spending.unknown_usd) == (0, 0)


# --- sockets ------------------------------------------------------------------

UPGRADE = {
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "x" * 22,
}


async def test_a_socket_is_read_while_other_requests_go_on():
    async def serve(stream: trio.abc.Stream, request: bytes) -> None:
        if request.startswith(b"GET"):
            head = (
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection:"
                b" Upgrade\r\n\r\n"
            )
            await stream.send_all(head + b"first")
            await trio.sleep(0.3)
            await stream.send_all(b"second")
        else:
            await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    heard: list[object] = []

    def listen() -> Exchange:
        response = yield HttpRequest(
            method="GET", url="ws", headers=UPGRADE, stream=True, repeatable=True
        )
        assert isinstance(response, HttpResponse)
        heard.append(response.status)
        answer = yield HttpRequest(method="POST", url="prompt")
        assert isinstance(answer, HttpResponse)
        heard.append(answer.body)
        while (chunk := (yield ReadChunk(wait_seconds=0.1))) != b"":
            if chunk is not None or heard[-1] is not None:
                heard.append(chunk)
        return GeneratedImages(images=())

    async with (
        open_server(serve, once=False) as server,
        open_driver(server.url, bounds=CALM) as driver,
    ):
        with trio.move_on_after(2):
            await driver.run(listen(), ExchangeObserver())
    assert heard[:5] == [101, b"{}", b"first", None, b"second"]
    assert KEY.encode() in server.requests[0]
