"""Batches for less, beside everything that may happen to them: closed clients,
cancellations, other processes.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import msgspec
import trio

import imagen
from imagen.providers import (
    BatchExchange,
    Call,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    ResultDelivered,
    Wait,
)
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport, cancel_at_every_step
from tests.support.images import PNG
from tests.support.scripted_client import virtual_time

PRICE = Decimal("0.02")


class Press:
    """A provider with a batch API: a job takes `seconds`, and what stands at a
    position in `unknown` has no known end.
    """

    def __init__(self, *, seconds: float = 100.0, unknown: frozenset[int] = frozenset()) -> None:
        self.orders = 0
        self.collected = 0
        self.seconds = seconds
        self.unknown = unknown

    def draw(self, call: Call) -> Exchange:
        response = yield HttpRequest(method="POST", url="draw")
        assert isinstance(response, HttpResponse)
        return GeneratedImages(images=(GeneratedImage(data=PNG),), reported_cost_usd=PRICE)

    def run(self, calls: Sequence[Call]) -> BatchExchange:
        yield HttpRequest(method="POST", url="batches")
        self.orders += len(calls)
        job = JobAccepted(job_id="b1", poll_url="batches/b1")
        yield job
        yield from self.collect(calls, job)

    def collect(self, calls: Sequence[Call], job: JobAccepted) -> BatchExchange:
        for position, _ in enumerate(calls):
            if position in self.unknown:
                yield ResultDelivered(
                    position=position, result=imagen.OutcomeUnknownError("Unknown.")
                )
        yield Wait(seconds=self.seconds)
        for position, _ in enumerate(calls):
            self.collected += 1
            yield ResultDelivered(
                position=position,
                result=GeneratedImages(images=(GeneratedImage(data=PNG),), reported_cost_usd=PRICE),
            )

    @asynccontextmanager
    async def open(
        self, home: Path, *, offers: bool = True, **changes: object
    ) -> AsyncIterator[imagen.Client]:
        economy = imagen.providers.BatchApi(
            operations=("generate",), most_requests=100, run=self.run, collect=self.collect
        )
        table = {
            "provider": "press",
            "price": {"usd_per_image": "0.04", "economy": "0.5"},
            "rate_limit": {"max_at_once": 2},
        }
        provider = imagen.providers.Provider(
            name="press",
            operations={"generate": self.draw},
            batch_api=economy if offers else None,
            base_url="https://press.example",
            key_required=False,
            models={"press-1": table},
        )
        environ = {"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": "press-1"}
        settings = imagen.load_settings(environ, providers=[provider])
        async with imagen.open_client(
            msgspec.structs.replace(settings, **changes),
            transport=lambda access: ScriptedTransport(lambda request: ScriptedReply()),
            workers=InlineWorkers(),
            clock=virtual_time,
        ) as client:
            yield client


async def test_a_job_whose_id_could_not_be_written_down_is_fetched_all_the_same(
    autojump_clock, tmp_path, monkeypatch
):
    async def fail(self: object, attempt_ids: object, job: object) -> None:
        raise imagen.StorageError("The database cannot be written.")

    monkeypatch.setattr("imagen._storage.ledger.Ledger.mark_accepted_together", fail)
    press = Press()
    async with press.open(tmp_path) as client:
        async with client.open_batch("x", n=3, economy=True) as batch:
            outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
        assert (await client.spending()).settled_usd == 3 * PRICE


async def test_a_batch_for_less_takes_no_slots_of_the_others(autojump_clock, tmp_path):
    press = Press(seconds=5000)
    async with (
        press.open(tmp_path) as client,
        client.open_batch("x", n=3, economy=True) as batch,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(anext, batch)
        await trio.sleep(1)
        with trio.fail_after(10):
            await client.generate("x")
        nursery.cancel_scope.cancel()


async def test_what_another_process_still_collects_is_left_to_it(autojump_clock, tmp_path):
    press = Press(seconds=100, unknown=frozenset({1}))
    async with press.open(tmp_path) as one:
        outcomes: list[imagen.Outcome] = []

        async def read() -> None:
            async with one.open_batch("x", n=3, economy=True) as batch:
                outcomes.extend([outcome async for outcome in batch])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.sleep(10)
            press.unknown = frozenset()
            async with press.open(tmp_path) as other:
                await other.collect()
                await trio.sleep(200)
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2]
        images = await one.library.list()
        assert sorted(image.index for image in images) == [0, 1, 2]
        assert (await one.spending()).settled_usd == 3 * PRICE


def test_a_cancellation_at_any_step_leaves_no_money_reserved(tmp_path):
    runs = itertools.count()

    async def work(scope: trio.CancelScope) -> None:
        budget = imagen.Budget("1")
        press = Press(seconds=10)
        async with press.open(tmp_path / str(next(runs))) as client:
            with scope:
                async with client.open_batch("x", n=3, economy=True, budget=budget) as batch:
                    async for _ in batch:
                        pass
            await trio.sleep(100)
            spending = await client.spending()
            assert (budget.reserved_usd, spending.attempts.in_flight) == (0, 0)
            assert budget.spent_usd == spending.settled_usd == press.orders * PRICE

    assert cancel_at_every_step(work) > 10


async def test_when_everything_in_flight_is_bounded_each_request_still_has_an_outcome(
    autojump_clock, tmp_path
):
    press = Press(seconds=5000)
    async with press.open(tmp_path) as client:
        async with (
            client.open_batch("x", n=3, economy=True) as batch,
            trio.open_nursery() as nursery,
        ):

            async def bound() -> None:
                await trio.sleep(10)
                client.bound_salvage(1)

            nursery.start_soon(bound)
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2]
        assert {type(outcome.error) for outcome in outcomes} == {imagen.OutcomeUnknownError}
        assert (await client.spending()).attempts.in_flight == 3


async def test_what_is_offered_for_less_no_more_is_unknown(autojump_clock, tmp_path):
    press = Press(seconds=5000)
    async with press.open(tmp_path) as client, client.open_batch("x", n=3, economy=True) as batch:
        with trio.move_on_after(10):
            await anext(batch)
    async with press.open(tmp_path, offers=False) as client:
        attempts = (await client.spending()).attempts
        assert (attempts.in_flight, attempts.unknown) == (0, 3)


async def test_a_line_that_cannot_be_read_is_searched_and_then_set_aside(autojump_clock, tmp_path):
    lines = (
        b'{"glyphs": ["i", "V"]}',
        b'{"made": {"made_file": "' + base64.b64encode(PNG) + b'"}}',
    )

    class Odd(Press):
        def collect(self, calls: Sequence[Call], job: JobAccepted) -> BatchExchange:
            yield Wait(seconds=1, job_id=job.job_id)
            for position, line in enumerate(lines):
                error = imagen.ProviderError("A line of unknown form.", billed="unknown")
                yield ResultDelivered(position=position, result=error, line=line)

    async with Odd().open(tmp_path) as client:
        async with client.open_batch("x", n=2, economy=True) as batch:
            outcomes = [outcome async for outcome in batch]
    failure, image = sorted(outcomes, key=lambda outcome: outcome.index)
    assert isinstance(image, imagen.Image)
    assert image.data == PNG
    assert isinstance(failure, imagen.Failure)
    kept = Path(failure.error.details["kept_at"]) / "reply-1.bin"
    assert kept.read_bytes() == lines[0]


async def test_every_start_has_its_end_where_the_next_client_collects(autojump_clock, tmp_path):
    heard: list[imagen.Event] = []
    async with Press(seconds=5000).open(tmp_path, salvage_seconds=1.0) as client:
        with trio.move_on_after(10):
            async with client.open_batch("x", n=2, economy=True, on_event=heard.append) as batch:
                await anext(batch)
    sent = [event.attempt_id for event in heard if isinstance(event, imagen.AttemptSent)]
    ended = [event for event in heard if isinstance(event, imagen.AttemptEnded)]
    assert len(sent) == 2
    assert sorted(sent) == sorted(event.attempt_id for event in ended)
    assert all(event.left and event.outcomes[0].error.billed == "unknown" for event in ended)
