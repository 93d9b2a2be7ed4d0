"""A provider goes down in the middle of 200 pictures, over real sockets: the batch goes on elsewhere, and comes back."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
import trio

import imagen
from imagen.testing.simulator import HtmlError, Overloaded, Reset, Simulator, open_simulator
from tests.simulated import open_simulated

FIRST, SECOND = "gpt-image-2", "grok-imagine-image"
N = 200
AT_ONCE = 4
COOLDOWN = 0.1
ROUTES = imagen.RoutePolicy(failures=3, cooldown_seconds=COOLDOWN, longest_cooldown_seconds=60.0)


async def wait_for_a_probe(went_down_at: float) -> None:
    """Waits out the breaker. Its cooldown doubles, so the next is no longer than all before it and two of the first."""
    await trio.sleep(trio.current_time() - went_down_at + 2 * COOLDOWN)


def count_sent(simulator: Simulator, provider: str) -> int:
    return sum(received.provider == provider for received in simulator.received)


@pytest.mark.parametrize("fault", [Overloaded(), HtmlError(), Reset(), Reset(after_billing=True)], ids=repr)
async def test_two_hundred_pictures_outlast_an_outage(tmp_path: Path, fault):
    asked_while_down = 0
    outcomes: list[imagen.Outcome] = []
    async with open_simulator(latency=0.005) as simulator, open_simulated(tmp_path, simulator, routes=ROUTES) as client:
        with trio.fail_after(60), ExitStack() as outage:
            async with client.open_batch(
                (imagen.Generate(prompt="x", model=FIRST, quality="low", size="1024x1024") for _ in range(N)),
                max_at_once=AT_ONCE,
                fallback=[SECOND],
            ) as batch:
                async for outcome in batch:
                    outcomes.append(outcome)
                    if len(outcomes) == 50:
                        outage.enter_context(simulator.outage("openai", fault))
                        before, went_down_at = count_sent(simulator, "openai"), trio.current_time()
                    elif len(outcomes) == 120:
                        outage.close()
                        asked_while_down = count_sent(simulator, "openai") - before
                        await wait_for_a_probe(went_down_at)
        spending = await client.spending()
    images = [outcome for outcome in outcomes if isinstance(outcome, imagen.Image)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, imagen.Failure)]
    assert sorted(outcome.index for outcome in outcomes) == list(range(N))
    assert 3 <= asked_while_down < 10
    assert {image.model for image in images} == {FIRST, SECOND}
    # It came back, and got the work again.
    assert [image.model for image in images[-20:]] == [FIRST] * 20
    # What may have been accepted is ordered nowhere else; each of the others has its picture.
    assert len(lost) == spending.attempts.unknown <= (0 if isinstance(fault, Overloaded) else asked_while_down)
    assert all(isinstance(failure.error, imagen.OutcomeUnknownError) for failure in lost)
    delivered = [bill.usd for bill in simulator.bills if bill.delivered]
    assert len(delivered) == len(images)
    assert spending.settled_usd == sum(delivered)
    assert spending.settled_usd + spending.unknown_usd >= simulator.billed_usd


async def test_two_hundred_pictures_outlast_a_server_that_is_gone(tmp_path: Path):
    """Nobody listens any more, and connections are refused: that costs nothing, so no picture is missing."""
    outcomes: list[imagen.Outcome] = []
    async with open_simulator(latency=0.005) as elsewhere, trio.open_nursery() as nursery:
        gone, back = trio.Event(), trio.Event()

        async def serve(port: int, down: trio.Event, task_status: trio.TaskStatus[Simulator]) -> None:
            async with open_simulator(latency=0.005, port=port) as simulator:
                task_status.started(simulator)
                await down.wait()

        first = await nursery.start(serve, 0, gone)
        port = int(first.url.rpartition(":")[2])
