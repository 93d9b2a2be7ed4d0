"""Every fault of the simulator, at every step, in every provider's protocol:
one outcome each, and books that agree.

The rules are the same everywhere, so the matrix is made and not written.
`IMAGEN_WHOLE_MATRIX=1` runs all of it; without, each step of each protocol
meets a sample.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio

import imagen
from imagen.testing.simulator import (
    NAMED,
    Drip,
    ExpiredLink,
    Fault,
    Garbage,
    GzipBomb,
    HtmlError,
    Overloaded,
    RateLimited,
    Reset,
    ServerError,
    Simulator,
    Stall,
    Truncated,
    open_simulator,
)
from tests.support.every_model import MODELS
from tests.support.images import png
from tests.support.simulated_client import open_simulated

BOUNDS = imagen.Bounds(
    connect_seconds=5.0, reply_seconds=0.5, idle_seconds=0.5, max_body_bytes=8 << 20
)
# One more than a fault needs: a busy machine may let a try pass unanswered.
RETRY = imagen.RetryPolicy(
    attempts=3, total_seconds=5.0, wait_initial_seconds=0.001, wait_max_seconds=0.002
)
SAMPLE = None if os.environ.get("IMAGEN_WHOLE_MATRIX") else 6
LIMIT_SECONDS = 30.0
AT_ONCE = 8

GENERATIONS = (
    "gpt-image-2",
    "azure/gpt-image-2",
    "flux-1.1-pro",
    "gemini-3.1-flash-lite-image",
    "vertex/imagen-4.0-generate-001",
    "flux-dev",
    "stable-image-core",
    "ideogram-3",
    "ideogram-4",
    "grok-imagine-image",
    "openrouter/gemini-3.1-flash-lite-image",
    "together/flux-1-schnell",
    "seedream-4-0",
    "recraft-v4.1",
    "qwen-image-plus",
    "fireworks/flux-1-schnell",
    "fireworks/flux-kontext-pro",
    "bedrock/stable-image-core",
    "fal/flux-dev",
    "replicate/flux-dev",
    "localai",
    "vllm-omni",
    "sglang",
    "sd-server",
    "comfyui",
    "automatic1111",
    "midjourney",
    "midjourney-gateway",
)
# One model for each protocol, and what is asked of it; the last two are
# answered by a stream and by a job.
REQUESTS: Mapping[str, imagen.Request] = {
    **{
        model: imagen.Generate(prompt="x", model=model, assume_usd=Decimal(1))
        for model in GENERATIONS
    },
    "gpt-image-2, streamed": imagen.Generate(prompt="x", model="gpt-image-2", previews=2),
    "stability/upscale-creative": imagen.Enhance(
        prompt="x", model="stability/upscale-creative", image=png(size=(256, 256)), mode="creative"
    ),
}
# The steps beside the creation, by the place in the simulator's log.
JOBS = frozenset({"poll", "download"})
MORE_STEPS: Mapping[str, frozenset[str]] = {
    "flux-1.1-pro": frozenset({"list"}),
    **dict.fromkeys(
        (
            "flux-dev",
            "ideogram-3",
            "ideogram-4",
            "qwen-image-plus",
            "fireworks/flux-kontext-pro",
            "fal/flux-dev",
            "replicate/flux-dev",
        ),
        JOBS,
    ),
    **dict.fromkeys(("midjourney", "midjourney-gateway"), JOBS),
    "comfyui": JOBS | {"list"},
    "stability/upscale-creative": frozenset({"poll"}),
}
LEFT_OUT = {
    # It locks an account out for a minute that asks too often, and so it is
    # left alone for as long.
    ("stability/upscale-creative", "poll", "rate-limited"),
    ("stability/upscale-creative", "poll", "rate-limited-text"),
    # In its own words a job that is refused is not charged, and the simulator
    # has booked it by then.
    ("stability/upscale-creative", "poll", "refused"),
}
# The price of their images is undocumented.
USD_PER_IMAGE = {"flux-1.1-pro": "0.05", "midjourney": "0.01", "midjourney-gateway": "0.01"}
CASES = [
    (name, step) for name in REQUESTS for step in ("create", *sorted(MORE_STEPS.get(name, ())))
]
FAULTS: Mapping[str, Fault] = {
    **NAMED,
    # As those of the same name, only smaller and sooner over.
    "drip": Drip(piece_bytes=8192, pause_seconds=0.002),
    "gzip-bomb": GzipBomb(expands_to_bytes=32 << 20),
    "rate-limited": RateLimited(wait_seconds=0.02),
    "rate-limited-text": RateLimited(wait_seconds=0.02, told="text"),
    "expired-link-404": ExpiredLink(status=404),
    "garbage-for-nothing": Garbage(after_billing=False),
    "html-after-billing": HtmlError(after_billing=True),
    "html-503": HtmlError(status=503),
    "html-504": HtmlError(status=504),
}
# One of them on the way to a job or its image loses nothing.
PASSING = (Drip, HtmlError, Overloaded, RateLimited, Reset, ServerError, Truncated)


async def meet(name: str, step: str, fault: Fault, *, once: bool) -> Iterable[str]:
    """What is wrong after a request met a fault at one step."""
    plan = [fault] if once else fault
    plans: dict[str, Any] = {"create": {"faults": plan}}.get(step, {f"{step}_faults": plan})
    with tempfile.TemporaryDirectory() as folder, trio.move_on_after(LIMIT_SECONDS) as limit:
        async with open_simulator(
            latency=0.02, usd_per_image=USD_PER_IMAGE.get(name), **plans
        ) as simulator:
            async with open_simulated(
                Path(folder),
                simulator,
                bounds=BOUNDS,
                retry=RETRY,
                models=MODELS,
                salvage_seconds=1.0,
            ) as client:
                async with client.open_batch([REQUESTS[name]]) as batch:
                    outcomes = [outcome async for outcome in batch]
                spending, has_price = await client.spending(), name not in USD_PER_IMAGE
                problems = list(
                    judge(simulator, outcomes, spending, client.in_flight, has_price=has_price)
                )
            with trio.move_on_after(5) as closing:
                await simulator.wait_closed()
            if closing.cancelled_caught:
                problems.append(f"{simulator.open_sockets} connections are open at the end")
    if limit.cancelled_caught:
        return [f"it took more than {LIMIT_SECONDS:g} seconds"]
    if (
        once
        and step != "create"
        and isinstance(fault, PASSING)
        and not isinstance(outcomes[0], imagen.Image)
    ):
        problems.append(f"one such fault lost the image: {outcomes[0].error}")
    return problems


def judge(
    simulator: Simulator,
    outcomes: list[imagen.Outcome],
    spending: imagen.Spending,
    in_flight: int,
    *,
    has_price: bool,
) -> Iterator[str]:
    """The rules: one outcome, what it says of the bill is true, the ledger says
    the same, and nothing goes on.
    """
    billed = [bill for bill in simulator.bills if bill.usd]
    if len(outcomes) != 1:
        yield f"{len(outcomes)} outcomes"
        return
    (outcome,) = outcomes
    if len(billed) > 1:
        yield f"billed {len(billed)} times"
    if in_flight or spending.attempts.in_flight or spending.reserved_usd:
        yield "something is in flight at the end"
    # An estimate is near.
    exact = has_price and "estimated" not in spending.by_source
    if exact and spending.settled_usd + spending.unknown_usd < simulator.billed_usd:
        yield (
            f"billed {simulator.billed_usd}, {spending.settled_usd} settled, {spending.unknown_usd}"
            " unknown"
        )
    if isinstance(outcome, imagen.Failure):
        yield from judge_failure(outcome.error, bool(billed), spending, has_price=has_price)
    elif (
        outcome.cost.source in ("reported", "computed")
        and spending.settled_usd != simulator.billed_usd
    ):
        yield f"billed {simulator.billed_usd}, and {spending.settled_usd} settled"
    if simulator.leaks:
        yield "a key has leaked"


def judge_failure(
    error: imagen.ImagenError, billed: bool, spending: imagen.Spending, *, has_price: bool
) -> Iterator[str]:
    said = f"{type(error).__name__}, billed {error.billed!r}: {error.message}"
    charged = spending.settled_usd or spending.attempts.unknown
    if type(error) is imagen.ImagenError:
        yield f"an error of no kind: {said}"
    if billed and (error.billed == "no" or (has_price and not charged)):
        yield f"it was billed: {said}"
    if not billed and error.billed == "yes" and spending.settled_usd:
        yield f"it was not billed: {said}"
    if error.billed == "no" and charged:
        yield (
            f"the ledger has {spending.settled_usd} settled and {spending.unknown_usd} unknown:"
            f" {said}"
        )
    if error.billed == "unknown" and not spending.attempts.unknown:
        yield f"no attempt is unknown: {said}"


@pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")
@pytest.mark.parametrize("once", [True, False], ids=["once", "always"])
@pytest.mark.parametrize(("name", "step"), CASES, ids=[f"{name}-{step}" for name, step in CASES])
async def test_a_fault_gives_one_outcome_and_books_that_agree(name: str, step: str, once: bool):
    assert await meet_some(name, step, once=once) == {}


@pytest.mark.usefixtures("on_postgresql")
@pytest.mark.parametrize(
    ("name", "step"),
    [("gpt-image-2", "create"), ("flux-dev", "poll"), ("flux-dev", "download")],
    ids=lambda value: value,
)
async def test_the_books_of_postgresql_agree_too(name: str, step: str):
    assert (name, step) in CASES
    assert await meet_some(name, step, once=True) == {}


async def meet_some(name: str, step: str, *, once: bool) -> dict[str, list[str]]:
    """What is wrong after the faults of a step, or after a sample of them."""
    chosen = [item for item in FAULTS.items() if (name, step, item[0]) not in LEFT_OUT]
    if SAMPLE is not None:
        # Ten polls that get no answer are ten times the patience.
        chosen = [
            item for item in chosen if once or step != "poll" or not isinstance(item[1], Stall)
        ]
        chosen = random.Random(f"{name}/{step}/{once}").sample(chosen, SAMPLE)
    problems: dict[str, list[str]] = {}
    slots = trio.CapacityLimiter(AT_ONCE)

    async def meet_one(fault_name: str, fault: Fault) -> None:
        async with slots:
            if found := list(await meet(name, step, fault, once=once)):
                problems[fault_name] = found

    async with trio.open_nursery() as nursery:
        for fault_name, fault in chosen:
            nursery.start_soon(meet_one, fault_name, fault)
    return problems


@pytest.mark.filterwarnings("ignore::imagen.providers.ModelRetiringWarning")
@pytest.mark.parametrize("name", REQUESTS)
async def test_the_matrix_has_every_step_of_a_protocol(name: str, tmp_path: Path):
    async with (
        open_simulator(latency=0.02) as simulator,
        open_simulated(tmp_path, simulator, models=MODELS) as client,
    ):
        await client.generate(REQUESTS[name])
        assert {received.kind for received in simulator.received} - {"other"} == {
            "create",
            *MORE_STEPS.get(name, ()),
        }


STOPPED = ("fal/flux-dev", "replicate/flux-dev", "comfyui", "automatic1111")


@pytest.mark.parametrize("fault", [Overloaded(), Reset(), HtmlError(), ServerError()], ids=repr)
@pytest.mark.parametrize("name", STOPPED)
async def test_a_stop_that_fails_leaves_books_that_agree(name: str, fault: Fault, tmp_path: Path):
    """The caller of the job has gone, and the client closes: what the
    provider does not stop may be billed.
    """
    async with open_simulator(latency=5.0, usd_per_image="0.04", cancel_faults=fault) as simulator:
        with trio.fail_after(20):
            async with open_simulated(
                tmp_path, simulator, bounds=BOUNDS, retry=RETRY, models=MODELS, salvage_seconds=1.0
            ) as client:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(client.generate, REQUESTS[name])
                    while not simulator.bills:
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()
            await simulator.wait_closed()
    assert "cancel" in {received.kind for received in simulator.received}
    async with open_simulated(tmp_path, simulator, models=MODELS, access={}) as client:
        attempts = (await client.spending()).attempts
        assert (attempts.unknown, attempts.in_flight, attempts.failed) in ((1, 0, 0), (0, 1, 0))


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read as Linux tells it"
)
async def test_a_reply_that_unpacks_to_a_gibibyte_takes_bounded_memory(tmp_path: Path):
    # Packing it keeps the event loop busy for longer than the others are given.
    patient = imagen.Bounds(max_body_bytes=BOUNDS.max_body_bytes)
    async with (
        open_simulator(faults=GzipBomb()) as simulator,
        open_simulated(tmp_path, simulator, bounds=patient) as client,
    ):
        Path("/proc/self/clear_refs").write_text("5")
        before = peak_mib()
        with pytest.raises(imagen.ProviderError, match="larger than") as caught:
            await client.generate("x", model="gpt-image-2")
        assert caught.value.billed == "unknown"
        assert peak_mib() - before < 100


def peak_mib() -> float:
    (line,) = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1024
