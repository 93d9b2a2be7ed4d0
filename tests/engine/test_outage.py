"""A provider goes down in the middle of 200 images, over real sockets: the
batch goes on elsewhere, and comes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen.testing.simulator import Fault, HtmlError, Overloaded, Reset, Simulator, open_simulator
from tests.support.simulated_client import open_simulated, simulated_settings

FIRST, SECOND = "gpt-image-2", "grok-imagine-image"
N = 200
AT_ONCE = 4
LATENCY = 0.005
COOLDOWN = 0.3
ROUTES = imagen.RoutingPolicy(failures=3, cooldown_seconds=COOLDOWN, longest_cooldown_seconds=60.0)


class Sent(Counter[str]):
    """How many requests went to which provider."""

    def note(self, event: imagen.Event) -> None:
        if isinstance(event, imagen.AttemptSent):
            self[event.provider] += 1


async def make_200(
    client: imagen.Client, outage: AbstractAsyncContextManager[None], sent: Sent
) -> tuple[list[imagen.Outcome], int]:
    """The outcomes of a batch that has an outage from the 50th to the 120th,
    and how often that provider was asked in it.
    """
    requests = (
        imagen.Generate(prompt="x", model=FIRST, quality="low", size="1024x1024") for _ in range(N)
    )
    outcomes: list[imagen.Outcome] = []
    asked_while_down, under_way, before, went_down_at = 0, 0, 0, 0.0
    with trio.fail_after(60):
        async with AsyncExitStack() as stack:
            async with client.open_batch(requests, max_at_once=AT_ONCE, fallback=[SECOND]) as batch:
                async for outcome in batch:
                    outcomes.append(outcome)
                    if len(outcomes) == 50:
                        under_way = client.in_flight
                        await stack.enter_async_context(outage)
                        before, went_down_at = sent["openai"], trio.current_time()
                    elif len(outcomes) == 120:
                        asked_while_down = sent["openai"] - before
                        # What was under way when it went fails too.
                        assert asked_while_down + under_way >= ROUTES.failures
                        await stack.aclose()
                        # The cooldown doubles, so the next is no longer than
                        # all before it and two of the first.
                        await trio.sleep(trio.current_time() - went_down_at + 2 * COOLDOWN)
    return outcomes, asked_while_down


def images_of(outcomes: list[imagen.Outcome], *, lost: int) -> list[imagen.Image]:
    """The images, when each request has one outcome, the work came back, and at
    most so many may have been paid in vain.
    """
    images = [outcome for outcome in outcomes if isinstance(outcome, imagen.Image)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, imagen.Failure)]
    assert sorted(outcome.index for outcome in outcomes) == list(range(N))
    assert {image.model for image in images} == {FIRST, SECOND}
    assert [image.model for image in images[-20:]] == [FIRST] * 20
    assert {failure.error.billed for failure in failures} <= {"unknown"}
    assert len(failures) <= lost
    return images


@asynccontextmanager
async def faulty(simulator: Simulator, fault: Fault) -> AsyncGenerator[None]:
    with simulator.outage("openai", fault):
        yield


@pytest.mark.parametrize("fault", [Overloaded(), HtmlError(), Reset(after_billing=True)], ids=repr)
async def test_two_hundred_images_outlast_an_outage(tmp_path: Path, fault: Fault):
    sent = Sent()
    async with (
        open_simulator(latency=LATENCY) as simulator,
        open_simulated(tmp_path, simulator, routes=ROUTES, on_event=sent.note) as client,
    ):
        outcomes, asked_while_down = await make_200(client, faulty(simulator, fault), sent)
        spending = await client.spending()
    assert asked_while_down < 10
    # Of what is declined nothing is lost; what may have been accepted, under
    # way when it began too, is ordered nowhere else.
    images = images_of(
        outcomes, lost=0 if isinstance(fault, Overloaded) else asked_while_down + AT_ONCE
    )
    delivered = [bill.usd for bill in simulator.bills if bill.delivered]
    assert len(delivered) == len(images)
    assert spending.settled_usd == sum(delivered)
    assert spending.settled_usd + spending.unknown_usd >= simulator.billed_usd
    assert spending.attempts.unknown == N - len(images)


class Service:
    """A simulator that can be stopped like a process, and comes back under the
    same port.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._port = 0
        self._stop, self._stopped = trio.Event(), trio.Event()

    async def start(self) -> Simulator:
        simulator: Simulator = await self._nursery.start(self._serve)
        self._port = int(simulator.url.rpartition(":")[2])
        return simulator

    async def stop(self) -> None:
        self._stop.set()
        await self._stopped.wait()

    @asynccontextmanager
    async def down(self) -> AsyncGenerator[None]:
        await self.stop()
        yield
        await self.start()

    async def _serve(self, *, task_status: trio.TaskStatus[Simulator]) -> None:
        self._stop, self._stopped = trio.Event(), trio.Event()
        async with open_simulator(latency=LATENCY, port=self._port) as simulator:
            task_status.started(simulator)
            await self._stop.wait()
        self._stopped.set()


async def test_two_hundred_images_outlast_a_server_that_is_gone(tmp_path: Path):
    sent = Sent()
    async with open_simulator(latency=LATENCY) as elsewhere, trio.open_nursery() as nursery:
        service = Service(nursery)
        first = await service.start()
        settings = simulated_settings(elsewhere, tmp_path)
        openai = msgspec.structs.replace(
            settings.access["openai"], base_url=first.base_url("openai")
        )
        access = {**settings.access, "openai": openai}
        async with open_simulated(
            tmp_path, elsewhere, routes=ROUTES, access=access, on_event=sent.note
        ) as client:
            outcomes, asked_while_down = await make_200(client, service.down(), sent)
        await service.stop()
    assert asked_while_down < 10
    # What was under way when it went, or was sent into a connection that had
    # just been closed.
    images_of(outcomes, lost=2 * AT_ONCE)
