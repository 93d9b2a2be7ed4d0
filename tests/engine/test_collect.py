"""A job that outlives the process that ordered it is collected by the next one,
from every provider that has jobs.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen._requests.request import operation_of
from imagen._results.prices import cost_of
from imagen._transport.driver import ExchangeObserver
from imagen.metadata._image_header import read_image_header
from imagen.providers import PROVIDERS, Call, GeneratedImages, JobAccepted
from imagen.testing.simulator import JobFails, Simulator, Withheld, open_simulator
from tests.support.collected_jobs import Memory, call_for, open_process, order_and_die
from tests.support.drivers import failure, outcome
from tests.support.every_model import SIMULATED, request_for, works_on_its_own
from tests.support.simulated_client import open_simulated

COLLECTING = [name for name, provider in PROVIDERS.items() if provider.collect is not None]
# Of these providers' models only some take jobs; the others answer with the
# image.
JOBS_OF = {
    "stability": ("stability/upscale-creative", "stability/replace-background-and-relight"),
    "fireworks": ("fireworks/flux-kontext-pro", "fireworks/flux-kontext-max"),
}


def cases() -> list[tuple[imagen.Model, str]]:
    """One model for each operation of each provider."""
    found: dict[tuple[str, str], tuple[imagen.Model, str]] = {}
    for model in SIMULATED:
        takes_jobs = (
            model.id in JOBS_OF[model.provider]
            if model.provider in JOBS_OF
            else model.provider in COLLECTING
        )
        for operation in model.capabilities.operations if takes_jobs else ():
            if not works_on_its_own(model, operation):
                found.setdefault((model.provider, operation), (model, operation))
    return list(found.values())


CASES = cases()
FIRST_OF_EACH = list(
    {model.provider: (model, operation) for model, operation in reversed(CASES)}.values()
)


def every(cases: list[tuple[imagen.Model, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("model", "operation"), cases, ids=[f"{model.id}-{operation}" for model, operation in cases]
    )


def without_images(call: Call) -> Call:
    return msgspec.structs.replace(call, images=(), mask=None, references=())


async def order(simulator: Simulator, call: Call) -> GeneratedImages:
    """The operation as it is without an interruption."""
    provider = PROVIDERS[call.model.provider]
    async with open_process(simulator, provider.name) as driver:
        return await driver.run(
            provider.operations[operation_of(call.request)](call), ExchangeObserver()
        )


async def collect(simulator: Simulator, call: Call, accepted: JobAccepted) -> GeneratedImages:
    """The rest of the work, by the next process."""
    provider = PROVIDERS[call.model.provider]
    assert provider.collect is not None
    async with open_process(simulator, provider.name) as driver:
        memory = Memory()
        try:
            return await driver.run(
                provider.collect(without_images(call), accepted), memory, billable=True
            )
        finally:
            # The ledger knows the job already, and knows it better.
            assert not memory.accepted_jobs


def shown(images: GeneratedImages) -> GeneratedImages:
    """The result without what is another one each time."""
    return msgspec.structs.replace(
        images,
        images=tuple(
            (
                msgspec.structs.replace(made, provider_id=None, data=b"")
                if isinstance(made, imagen.providers.GeneratedImage)
                else made
            )
            for made in images.images
        ),
    )


def sizes(images: GeneratedImages) -> list[tuple[str, int, int]]:
    found = [
        read_image_header(made.data)
        for made in images.images
        if isinstance(made, imagen.providers.GeneratedImage)
    ]
    return [(made.media_type, made.width, made.height) for made in found]


def test_every_provider_with_jobs_can_collect_them():
    assert set(COLLECTING) >= {
        *(
            "bfl",
            "comfyui",
            "fal",
            "ideogram",
            "midjourney",
            "midjourney_gateway",
            "replicate",
            "stability",
        )
    }
    assert {model.provider for model, _ in CASES} == set(COLLECTING)


@every(CASES)
async def test_what_is_collected_is_what_the_operation_would_have_given(
    model: imagen.Model, operation: str
):
    call = call_for(model, operation)
    with trio.fail_after(20):
        async with open_simulator(latency=0.05) as simulator:
            whole = await order(simulator, call)
        async with open_simulator(latency=0.05) as simulator:
            accepted = await order_and_die(simulator, call)
            collected = await collect(simulator, call, accepted)
            (bill,) = simulator.bills
            assert bill.delivered
            assert not simulator.leaks
            assert not any(received.kind == "cancel" for received in simulator.received)
    assert shown(collected) == shown(whole)
    assert sizes(collected) == sizes(whole)
    assert len(sizes(collected)) == len(whole.images)
    assert cost_of(model, call.request, collected) == cost_of(model, call.request, whole)


@every(FIRST_OF_EACH)
async def test_an_unknown_job_may_have_been_billed(model: imagen.Model, operation: str):
    call = call_for(model, operation)
    async with open_simulator() as simulator:
        accepted = await order_and_die(simulator, call)
        old_url = simulator.url
    async with open_simulator() as simulator:
        # Where the address of the job names a host, it is that of the server
        # which has forgotten it.
        moved = msgspec.structs.replace(
            accepted, poll_url=accepted.poll_url.replace(old_url, simulator.url)
        )
        error = await failure(collect(simulator, call, moved))
        assert not simulator.bills
    assert "does not know" in error.message
    # On a machine of one's own nothing costs money.
    assert error.billed == ("no" if model.provider == "comfyui" else "unknown")


@every(FIRST_OF_EACH)
@pytest.mark.parametrize("fault", [JobFails(), Withheld()], ids=["fails", "withheld"])
async def test_a_job_that_ends_without_an_image_ends_as_it_would_have(
    model: imagen.Model, operation: str, fault: imagen.testing.simulator.Fault
):
    call = call_for(model, operation)
    async with open_simulator(faults=fault) as simulator:
        whole = await result_or_error(order(simulator, call))
    async with open_simulator(faults=fault) as simulator:
        accepted = await order_and_die(simulator, call)
        collected = await result_or_error(collect(simulator, call, accepted))
    assert collected == whole


async def result_or_error(running: object) -> object:
    """What can be compared of an end, whichever it is."""
    with trio.fail_after(20):
        try:
            return shown(await running)
        except imagen.ImagenError as error:
            return outcome(error)


async def test_a_job_that_never_arrived_cost_nothing():
    model, operation = next(case for case in CASES if case[0].provider == "comfyui")
    call = call_for(model, operation)
    async with open_simulator() as simulator:
        error = await failure(
            collect(simulator, call, JobAccepted(job_id="j1", poll_url="history/j1"))
        )
    assert "never arrived" in error.message
    assert error.billed == "no"


# --- whole clients ------------------------------------------------------------


@every(
    [
        case
        for case in FIRST_OF_EACH
        if case[0].provider in ("bfl", "ideogram", "midjourney", "stability")
    ]
)
async def test_the_next_client_has_the_images_that_the_last_one_ordered(
    tmp_path: Path, model: imagen.Model, operation: str
):
    """Of providers whose jobs cost something when they are stopped; others are
    stopped by a client that closes.
    """
    async with open_simulator(latency=1.0) as simulator:
        with trio.fail_after(20):
            async with open_simulated(tmp_path, simulator, salvage_seconds=0.0) as client:
                async with (
                    client.open_batch(request_for(model, operation)) as batch,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(anext, batch)
                    while not any(received.kind == "poll" for received in simulator.received):
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel("the program ends")
            async with open_simulated(tmp_path, simulator) as client:
                assert await client.collect() == 1
                images = await client.library.list()
                spending = await client.spending()
        (bill,) = simulator.bills
    assert bill.delivered
    assert {image.model for image in images} == {model.id}
    assert (spending.unknown_usd, spending.reserved_usd, spending.attempts.succeeded) == (0, 0, 1)
    if images[0].cost.source in ("reported", "computed"):
        assert spending.settled_usd == bill.usd
