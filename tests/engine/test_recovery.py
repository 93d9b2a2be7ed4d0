"""What a process that died leaves behind, found by the next one: each state of
the journal, for each kind of provider."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

import imagen
from tests.support.images import PNG
from tests.support.job_provider import PRICE, Works, die_at

STEPS = (
    "reserve after",
    "mark_sent after",
    "mark_accepted after",
    "mark_received after",
    "settle before",
    "settle after",
)


@pytest.mark.parametrize("step", STEPS)
async def test_a_job_is_collected_whenever_the_process_died(
    step, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    await die_at(works, tmp_path, "job-1", step, monkeypatch)
    async with works.open(tmp_path) as client:
        await client.collect()
        spending = await client.spending()
        images = await client.library.list()
        assert spending.attempts.in_flight == 0
        assert spending.reserved_usd == 0
        match step:
            case "reserve after":
                assert (works.orders, len(images), spending.settled_usd) == (0, 0, 0)
            case "mark_sent after":
                # The id of the job is lost, if there is one.
                assert (len(images), spending.unknown_usd) == (0, PRICE)
            case _:
                assert (works.orders, len(images), spending.settled_usd, spending.unknown_usd) == (
                    1,
                    1,
                    PRICE,
                    0,
                )
                assert images[0].data == PNG
                assert images[0].cost.usd == PRICE
                assert images[0].prompt == "x"


@pytest.mark.parametrize("step", [step for step in STEPS if "accepted" not in step])
async def test_without_a_job_what_was_received_is_adopted_and_the_rest_is_unknown(
    step, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    await die_at(works, tmp_path, "sync-1", step, monkeypatch)
    async with works.open(tmp_path) as client:
        spending = await client.spending()
        images = await client.library.list()
        assert spending.attempts.in_flight == 0
        match step:
            case "reserve after":
                assert (len(images), spending.settled_usd, spending.unknown_usd) == (0, 0, 0)
            case "mark_sent after":
                assert (len(images), spending.unknown_usd) == (0, PRICE)
            case _:
                assert (len(images), spending.settled_usd, spending.unknown_usd) == (1, PRICE, 0)


async def test_what_was_received_and_had_no_file_yet_has_its_cost(
    autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    await die_at(works, tmp_path, "sync-1", "mark_received after", monkeypatch)
    (file,) = (path for path in (tmp_path / "images").rglob("*.png"))
    file.unlink()
    async with works.open(tmp_path) as client:
        (unknown,) = await client.unknown_attempts()
        spending = await client.spending()
        assert (unknown.settled_usd, spending.settled_usd, spending.unknown_usd) == (
            PRICE,
            PRICE,
            0,
        )
        assert "billed" in unknown.error_message
        assert await client.library.list() == []


async def test_a_job_that_the_provider_has_forgotten_is_unknown_and_can_be_booked_by_hand(
    autojump_clock, tmp_path, monkeypatch
):
    works = Works(forgets=True)
    await die_at(works, tmp_path, "job-1", "mark_accepted after", monkeypatch)
    async with works.open(tmp_path) as client:
        assert await client.collect() == 0
        (unknown,) = await client.unknown_attempts()
        assert (unknown.remote_id, unknown.model, unknown.reserved_usd) == ("j1", "job-1", PRICE)
        assert (await client.spending()).unknown_usd == PRICE
        with pytest.raises(imagen.InvalidRequestError, match="spend --unknown"):
            await client.reconcile("unknown", "0.01")
        await client.reconcile(unknown.id, "0.03")
        spending = await client.spending()
        assert (spending.settled_usd, spending.unknown_usd) == (Decimal("0.03"), 0)
        assert await client.unknown_attempts() == []


async def test_a_job_of_unknown_outcome_is_collected_when_it_is_asked_for(
    autojump_clock, tmp_path, monkeypatch
):
    works = Works(forgets=True)
    await die_at(works, tmp_path, "job-1", "mark_accepted after", monkeypatch)
    async with works.open(tmp_path) as client:
        await client.collect()
        works.forgets = False
        assert await client.collect() == 1
        assert len(await client.library.list()) == 1
        assert (await client.spending()).settled_usd == PRICE
        assert await client.collect() == 0


async def test_a_job_waits_for_a_process_that_has_the_key(autojump_clock, tmp_path, monkeypatch):
    works = Works()
    await die_at(works, tmp_path, "job-1", "mark_accepted after", monkeypatch)
    async with works.open(tmp_path, key=False) as client:
        await client.collect()
        assert (await client.spending()).attempts.in_flight == 1
    async with works.open(tmp_path) as client:
        assert await client.collect() == 1


async def test_a_job_of_a_removed_model_is_unknown(autojump_clock, tmp_path, monkeypatch):
    works = Works()
    await die_at(works, tmp_path, "job-1", "mark_accepted after", monkeypatch)
    works.model = "job-2"
    async with works.open(tmp_path) as client:
        assert [record.model for record in await client.unknown_attempts()] == ["job-1"]
        assert (await client.spending()).attempts.in_flight == 0


async def test_what_is_in_flight_elsewhere_is_left_alone(autojump_clock, tmp_path):
    works = Works(seconds=100)
    async with works.open(tmp_path) as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.generate, "x")
            await trio.sleep(5)
            async with works.open(tmp_path) as other:
                assert await other.collect() == 0
                assert (await other.spending()).attempts.in_flight == 1
    assert works.orders == 1


async def test_a_job_that_outlives_its_client_is_collected_by_the_next(autojump_clock, tmp_path):
    works = Works(seconds=500)
    async with works.open(tmp_path) as client:
        with trio.move_on_after(5):
            await client.generate("x", model="job-1")
    assert trio.current_time() < 60
    async with works.open(tmp_path) as client:
        assert (await client.spending()).attempts.in_flight == 1
        assert await client.collect() == 1
        assert len(await client.library.list()) == 1
    assert works.orders == 1


async def test_a_job_is_waited_for_as_long_as_the_client_is_open(autojump_clock, tmp_path):
    works = Works(seconds=500)
    async with works.open(tmp_path) as client:
        with trio.move_on_after(5):
            await client.generate("x", model="job-1")
        while client.in_flight:
            await trio.sleep(10)
        assert len(await client.library.list()) == 1


async def test_looking_at_the_history_does_not_wait_for_jobs(autojump_clock, tmp_path, monkeypatch):
    works = Works(seconds=10_000)
    await die_at(works, tmp_path, "job-1", "mark_accepted after", monkeypatch)
    began = trio.current_time()
    async with works.open(tmp_path) as client:
        await client.library.list()
    assert trio.current_time() - began < 2


async def test_a_session_is_there_again_under_its_id_and_goes_on_when_asked(
    autojump_clock, tmp_path
):
    works = Works(seconds=5)
    async with works.open(tmp_path, salvage_seconds=0.01) as client:
        session = client.start_session("x", n=9, max_at_once=2, model="sync-1")
        while len(session.images) < 3:
            await trio.sleep(0.1)
        before = [image.id for _, image in session.images]
    made = works.orders
    async with works.open(tmp_path) as client:
        again = await client.sessions.get(session.id)
        await again.wait_finished()
        assert [image.id for _, image in again.images][: len(before)] == before
        assert again.state == "CANCELLED"
        assert works.orders == made
        resumed = await client.resume_session(session.id)
        await resumed.wait_finished()
        assert resumed.id == session.id
        outcomes = resumed.outcomes
        assert sorted(outcome.index for outcome in outcomes) == list(range(9))
        assert [image.id for _, image in resumed.images][: len(before)] == before
        unknown = [outcome for outcome in outcomes if isinstance(outcome, imagen.Failure)]
        assert {type(outcome.error) for outcome in unknown} <= {imagen.OutcomeUnknownError}
        assert works.orders == 9
        # Asked once more, it is complete.
        assert await client.resume_session(session.id) is resumed


async def test_a_session_of_jobs_loses_nothing_and_pays_nothing_twice(autojump_clock, tmp_path):
    works = Works(seconds=50)
    async with works.open(tmp_path, salvage_seconds=0.01) as client:
        session = client.start_session("x", n=5, max_at_once=2, model="job-1")
        await trio.sleep(70)
    async with works.open(tmp_path) as client:
        session = await client.resume_session(session.id)
        await session.wait_finished()
        assert session.state == "COMPLETED"
        assert sorted(image.index for _, image in session.images) == list(range(5))
    assert works.orders == 5


async def test_a_session_that_runs_elsewhere_is_not_taken_over(autojump_clock, tmp_path):
    works = Works(seconds=50)
    async with works.open(tmp_path) as one, works.open(tmp_path) as other:
        session = one.start_session("x", n=2, model="job-1")
        await trio.sleep(2)
        with pytest.raises(imagen.SessionError, match="another process"):
            await other.sessions.get(session.id)
        await session.wait_finished()


async def test_a_budget_of_a_session_holds_across_the_restart(autojump_clock, tmp_path):
    works = Works()
    async with works.open(tmp_path, salvage_seconds=100.0) as client:
        session = client.start_session(
            "x", n=5, max_at_once=1, model="sync-1", budget=imagen.Budget("0.15")
        )
        await trio.sleep(1.5)
    async with works.open(tmp_path) as client:
        session = await client.resume_session(session.id)
        await session.wait_finished()
        assert len(session.images) == 3
    assert works.orders == 3
