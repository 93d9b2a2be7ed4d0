"""A disk or a database that fails in the middle: nothing that is paid is lost,
and nothing is booked as free.
"""

from __future__ import annotations

import pytest
import trio

import imagen
from imagen._storage.database import Database
from imagen._storage.ledger import Attempt, Ledger
from imagen.testing import InlineWorkers, ScriptedTransport
from tests.support.job_provider import PRICE, Works, die_at
from tests.support.scripted_client import virtual_time


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The database cannot be written the first time that this is to be done."""
    method = getattr(Ledger, name)
    failed = False

    async def broken(self: Ledger, *args: object, **kwargs: object) -> object:
        nonlocal failed
        if not failed:
            failed = True
            await trio.lowlevel.checkpoint()
            raise imagen.StorageError("The database cannot be written.")
        return await method(self, *args, **kwargs)

    monkeypatch.setattr(Ledger, name, broken)


@pytest.mark.parametrize("model", ["job-1", "sync-1"])
@pytest.mark.parametrize(
    "step", ["reserve", "mark_sent", "mark_accepted", "mark_received", "settle"]
)
async def test_a_write_that_fails_loses_no_image_and_no_money(
    step, model, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    fail_once(monkeypatch, step)
    budget = imagen.Budget("1")
    async with works.open(tmp_path) as client:
        async with client.open_batch("x", n=3, max_at_once=1, model=model, budget=budget) as batch:
            outcomes = [outcome async for outcome in batch]
        assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2]
        images = [outcome for outcome in outcomes if isinstance(outcome, imagen.Image)]
        assert len(images) == works.orders
        assert (budget.reserved_usd, budget.spent_usd) == (0, PRICE * works.orders)
    async with works.open(tmp_path) as client:
        await client.collect()
        spending = await client.spending()
        assert spending.attempts.in_flight == 0
        assert spending.settled_usd + spending.unknown_usd == PRICE * works.orders


@pytest.mark.parametrize("library", [None, "elsewhere"])
async def test_a_receipt_is_enough_for_a_client_with_another_library_or_none(
    library, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    await die_at(works, tmp_path, "sync-1", "settle before", monkeypatch)
    async with imagen.open_client(
        works.settings(tmp_path),
        library=None if library is None else tmp_path / library,
        transport=lambda access: ScriptedTransport(works.answer),
        workers=InlineWorkers(),
        clock=virtual_time,
    ) as client:
        assert (await client.spending()).settled_usd == PRICE
    async with works.open(tmp_path) as client:
        assert len(await client.library.list()) == 1
        assert (await client.spending()).settled_usd == PRICE


async def test_a_write_that_was_given_up_is_not_made_later(autojump_clock, tmp_path, monkeypatch):
    works = Works()
    async with works.open(tmp_path) as client:
        database = client._services.runtime.database
        run_serially = InlineWorkers.run_serially

        async def hang(self: InlineWorkers, call: object) -> object:
            result = await run_serially(self, call)
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds.pop())
            return result

        async def write(statement: str) -> None:
            try:
                await database.write([(statement, ())])
            except imagen.StorageError:
                refused.append(statement)

        seconds = [0, 40]
        refused: list[str] = []
        await database.write([("CREATE TABLE kept (word TEXT)", ())])
        with monkeypatch.context() as patched:
            patched.setattr(InlineWorkers, "run_serially", hang)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write, "INSERT INTO kept VALUES ('first')")
                await trio.sleep(1)
                nursery.start_soon(write, "INSERT INTO kept VALUES ('second')")
                await trio.sleep(35)
                nursery.start_soon(write, "INSERT INTO kept VALUES ('third')")
        kept = [word for (word,) in await database.read("SELECT word FROM kept")]
        assert refused == ["INSERT INTO kept VALUES ('second')"]
        assert kept == ["first", "third"]


@pytest.mark.parametrize("model", ["job-1", "sync-1"])
async def test_an_end_that_could_not_be_written_blocks_no_budget_permanently(
    model, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    fail_once(monkeypatch, "settle")
    budget = imagen.StandingBudget(per="ever", usd=2 * PRICE)
    async with works.open(tmp_path, budgets=(budget,)) as client:
        with trio.fail_after(1000):
            async with client.open_batch("x", n=3, max_at_once=1, model=model) as batch:
                outcomes = [outcome async for outcome in batch]
        assert [type(outcome) for outcome in outcomes] == [
            imagen.Image,
            imagen.Image,
            imagen.Failure,
        ]
        assert isinstance(outcomes[2].error, imagen.BudgetExceededError)
        spending = await client.spending()
        assert (spending.settled_usd, spending.attempts.in_flight) == (2 * PRICE, 0)
        assert len(await client.library.list()) == 2


TAKEN = {
    "another owner": "UPDATE attempts SET owner = 'another'",
    "ended": "UPDATE attempts SET state = 'failed'",
    "sent": "UPDATE attempts SET state = 'sent'",
    "accepted": "UPDATE attempts SET state = 'accepted'",
    "gone": "DELETE FROM attempts",
}


@pytest.mark.parametrize("model", ["job-1", "sync-1"])
@pytest.mark.parametrize("change", TAKEN.values(), ids=TAKEN.keys())
async def test_a_request_whose_attempt_is_not_reserved_any_more_stays_here(
    change, model, autojump_clock, tmp_path, monkeypatch
):
    works = Works()
    mark_sent = Ledger.mark_sent

    async def late(self: Ledger, *args: object, **more: object) -> None:
        await self._database.write([(change, ())])
        await mark_sent(self, *args, **more)

    async with works.open(tmp_path) as client:
        monkeypatch.setattr(Ledger, "mark_sent", late)
        with pytest.raises(imagen.StorageError, match="was not sent") as caught:
            await client.generate("x", model=model)
    assert works.orders == 0
    assert caught.value.billed == "no"


async def test_a_batch_is_marked_as_a_whole_or_not_at_all(tmp_path):
    database = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    ledger = Ledger(database)
    for name, owner in (("a", "me"), ("b", "another"), ("c", "me")):
        await ledger.reserve(
            Attempt(
                id=name,
                batch_id=None,
                provider="p",
                model="m",
                operation="generate",
                images=1,
                request_json="{}",
                reserved_usd=None,
                owner=owner,
                created_at=1.0,
            )
        )
    for ids in (["a", "b", "c"], ["a", "gone"]):
        with pytest.raises(imagen.StorageError, match="was not sent"):
            await ledger.mark_sent(ids, "me", 2.0)
    assert await database.read("SELECT DISTINCT state FROM attempts") == [("reserved",)]
    await ledger.mark_sent(["a", "c"], "me", 2.0)
    rows = await database.read("SELECT id, state FROM attempts ORDER BY id")
    assert rows == [("a", "sent"), ("b", "reserved"), ("c", "sent")]
    with pytest.raises(imagen.StorageError, match="was not sent"):
        await ledger.mark_sent(["a"], "me", 3.0)
    await database.aclose()


async def test_a_full_temporary_folder_keeps_no_image_out(tmp_path):
    database = await Database.open(tmp_path / "imagen.sqlite3", InlineWorkers())
    # 2: what a statement may have to undo is kept in memory.
    assert await database.read("PRAGMA temp_store") == [(2,)]
    await database.aclose()
