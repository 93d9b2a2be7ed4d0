"""Batches for less: `open_batch(economy=True)` over the simulated batch APIs,
with restarts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio

import imagen
from imagen.testing.simulator import JobFails, RateLimited, Reset, Simulator, open_simulator
from tests.support.simulated_client import open_simulated

MODELS = {"openai": "gpt-image-2", "google": "gemini-3.1-flash-lite-image"}


@asynccontextmanager
async def opened(home: Path, **options: object) -> AsyncIterator[tuple[Simulator, imagen.Client]]:
    with trio.fail_after(30):
        async with (
            open_simulator(**options) as simulator,
            open_simulated(home, simulator) as client,
        ):
            yield simulator, client


async def outcomes_of(
    client: imagen.Client, requests: object, **options: object
) -> list[imagen.Outcome]:
    async with client.open_batch(requests, economy=True, **options) as batch:
        return [outcome async for outcome in batch]


@pytest.mark.parametrize("provider", MODELS)
async def test_many_images_come_for_half_the_price(provider, tmp_path):
    model = MODELS[provider]
    async with opened(tmp_path, latency=(0.05, 0.2)) as (simulator, client):
        outcomes = await outcomes_of(
            client, "a cat", n=5, model=model, quality="low" if provider == "openai" else None
        )
        assert sorted(outcome.index for outcome in outcomes) == list(range(5))
        assert all(isinstance(outcome, imagen.Image) for outcome in outcomes)
        spending = await client.spending()
        assert spending.settled_usd == simulator.billed_usd
        assert spending.attempts.succeeded == 5
        assert spending.reserved_usd == 0
        creates = [received for received in simulator.received if received.kind == "create"]
        assert len(creates) == 1
        whole = client.quote(
            imagen.Generate(prompt="a cat", model=model, quality=outcomes[0].request.quality), n=5
        )
        assert spending.settled_usd < whole.expected_usd


async def test_requests_for_several_models_go_in_a_job_each(tmp_path):
    requests = [
        imagen.Generate(prompt=f"{number}", model=model)
        for number in range(3)
        for model in MODELS.values()
    ]
    async with opened(tmp_path, latency=0.05) as (_, client):
        outcomes = await outcomes_of(client, requests)
        assert sorted(
            (outcome.index, outcome.model, outcome.prompt) for outcome in outcomes
        ) == sorted(
            (index, request.model, request.prompt) for index, request in enumerate(requests)
        )


async def test_a_model_without_a_batch_api_fails_alone(tmp_path):
    requests = [
        imagen.Generate(prompt="a cat", model=MODELS["openai"]),
        imagen.Generate(prompt="x", model="flux-dev"),
        imagen.Generate(prompt="", model=MODELS["openai"]),
    ]
    async with opened(tmp_path, latency=0.05) as (_, client):
        outcomes = await outcomes_of(client, requests)
        by_index = {outcome.index: outcome for outcome in outcomes}
        assert isinstance(by_index[0], imagen.Image)
        assert "for less" in by_index[1].error.message
        assert by_index[2].error.code == "INVALID_PROMPT"


async def test_a_budget_lets_through_what_fits(tmp_path):
    async with opened(tmp_path, latency=0.05) as (simulator, client):
        high = client.quote("a cat", model=MODELS["openai"], quality="low").high_usd
        budget = imagen.Budget(high * Decimal("1.2"))
        outcomes = await outcomes_of(
            client, "a cat", n=4, model=MODELS["openai"], quality="low", budget=budget
        )
        images = [outcome for outcome in outcomes if isinstance(outcome, imagen.Image)]
        assert len(images) == 2
        assert {type(outcome.error) for outcome in outcomes if outcome not in images} == {
            imagen.BudgetExceededError
        }
        assert budget.reserved_usd == 0
        assert budget.spent_usd == simulator.billed_usd


@pytest.mark.parametrize("provider", MODELS)
async def test_a_later_process_goes_on_by_the_id_of_the_batch(provider, tmp_path):
    model = MODELS[provider]
    async with open_simulator(latency=2.0) as simulator, trio.open_nursery() as bound:
        bound.cancel_scope.deadline = trio.current_time() + 30
        async with open_simulated(tmp_path, simulator) as client:
            async with client.open_batch("a cat", n=4, model=model, economy=True) as batch:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(anext, batch)
                    while not any(received.kind == "poll" for received in simulator.received):
                        await trio.sleep(0.01)
                    nursery.cancel_scope.cancel()
        async with open_simulated(tmp_path, simulator) as client:
            assert (await client.spending()).attempts.in_flight == 4
            async with client.reopen_batch(batch.id) as again:
                outcomes = [outcome async for outcome in again]
            assert sorted(outcome.index for outcome in outcomes) == list(range(4))
            assert all(isinstance(outcome, imagen.Image) for outcome in outcomes)
            assert (await client.spending()).settled_usd == simulator.billed_usd
        # And once more, when everything is there.
        async with open_simulated(tmp_path, simulator) as client:
            async with client.reopen_batch(batch.id) as again:
                assert len([outcome async for outcome in again]) == 4
        assert sum(received.kind == "create" for received in simulator.received) == 1


async def test_a_batch_that_is_left_goes_on_while_the_client_is_open(tmp_path):
    pull = trio.CancelScope()

    def leave_once_accepted(event: imagen.Event) -> None:
        if isinstance(event, imagen.AttemptAccepted):
            pull.cancel()

    async with opened(tmp_path, latency=0.5) as (simulator, client):
        async with client.open_batch(
            "a cat", n=3, model=MODELS["openai"], economy=True, on_event=leave_once_accepted
        ) as batch:
            with pull:
                await anext(batch)
        assert pull.cancelled_caught
        async with client.reopen_batch(batch.id) as again:
            images = [outcome async for outcome in again if isinstance(outcome, imagen.Image)]
        assert len(images) == 3
        assert (await client.spending()).settled_usd == simulator.billed_usd


@pytest.mark.parametrize(
    ("fault", "billed"),
    [(RateLimited(), "no"), (Reset(after_billing=True), "unknown"), (JobFails(), None)],
)
async def test_a_job_that_fails_has_a_failure_for_each_request(fault, billed, tmp_path):
    async with opened(tmp_path, latency=0.05, faults=fault) as (simulator, client):
        outcomes = await outcomes_of(client, "a cat", n=3, model=MODELS["openai"])
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2]
        assert all(isinstance(outcome, imagen.Failure) for outcome in outcomes)
        if billed is not None:
            assert {outcome.error.billed for outcome in outcomes} == {billed}
        spending = await client.spending()
        assert spending.attempts.in_flight == 0
        assert spending.settled_usd + spending.unknown_usd >= simulator.billed_usd


async def test_a_batch_for_less_takes_no_other_way(tmp_path):
    async with opened(tmp_path) as (_, client):
        for options in ({"together": True}, {"fallback": ["flux-dev"]}, {"wait": False}):
            with pytest.raises(imagen.InvalidRequestError, match="leave out"):
                client.open_batch("a cat", economy=True, **options)
