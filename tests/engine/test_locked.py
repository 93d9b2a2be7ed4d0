"""A database that another process holds while paid images come: each is handed
over, and the library has them all in the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio

import imagen
from imagen._storage import database
from imagen._storage.ledger import Ledger
from imagen.testing.simulator import open_simulator
from tests.support.simulated_client import open_simulated

MODEL = "bedrock/stable-image-core"
IS_LONG = bool(os.environ.get("IMAGEN_LONG"))
# A client waits for a database for so long: as shipped, or much shorter.
BUSY_SECONDS = database._BUSY_SECONDS if IS_LONG else 0.3
LIMIT_SECONDS = 40 + 10 * BUSY_SECONDS
HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None)
held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_SECONDS", BUSY_SECONDS)


@contextmanager
def held(home: Path) -> Iterator[None]:
    """Another process holds the database for as long as the block lasts."""
    command = [sys.executable, "-c", HOLD, str(home / "imagen.sqlite3")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            yield
        finally:
            holder.communicate(timeout=10)


async def drawn_under_a_lock(home: Path) -> list[imagen.Image]:
    """Draw three images while the database takes nothing."""
    got: list[imagen.Image] = []
    with ExitStack() as lock:
        async with open_simulator(latency=1.0) as simulator:
            async with open_simulated(home, simulator) as client, trio.open_nursery() as nursery:

                async def draw(number: int) -> None:
                    got.append(await client.generate(f"a cat, {number}", model=MODEL))
                    if len(got) == 3:
                        lock.close()

                for number in range(3):
                    nursery.start_soon(draw, number)
                await simulator.wait_received(3)
                lock.enter_context(held(home))
            assert len(simulator.bills) == 3
    return got


async def test_a_lock_while_images_come_loses_none(tmp_path):
    with trio.fail_after(LIMIT_SECONDS):
        got = await drawn_under_a_lock(tmp_path)
        assert all("Another program holds it" in (image.storage_error or "") for image in got)
        assert all(image.data for image in got)
        async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
            listed = await client.library.list()
            spending = await client.spending()
            assert await client.unknown_attempts() == []
            assert await client.library.check() == []
            assert not simulator.received
    wanted = {(image.id, image.sha256, image.prompt, image.cost) for image in got}
    assert {(image.id, image.sha256, image.prompt, image.cost) for image in listed} == wanted
    assert (spending.settled_usd, spending.attempts.succeeded) == (Decimal("0.12"), 3)
    assert not list((tmp_path / "set-aside").glob("*/*"))


async def test_a_lock_of_twice_the_wait_loses_none(tmp_path):
    """The lock ends while the images are written: which write meets it differs
    from one image to the next.
    """
    starts = (0.0, 0.5 * BUSY_SECONDS, 1.5 * BUSY_SECONDS)
    got: list[imagen.Image] = []
    with trio.fail_after(LIMIT_SECONDS):
        # All are sent before the lock, and come in it one after the other.
        async with open_simulator(latency=starts[-1] + 1) as simulator:
            async with (
                open_simulated(tmp_path, simulator) as client,
                trio.open_nursery() as nursery,
            ):

                async def draw(start: float) -> None:
                    await trio.sleep(start)
                    got.append(await client.generate(f"a cat at {start}", model=MODEL))

                for start in starts:
                    nursery.start_soon(draw, start)
                await simulator.wait_received(3)
                with held(tmp_path):
                    await trio.sleep(2 * BUSY_SECONDS + 1)
            assert len(simulator.bills) == len(got) == 3
        async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
            listed = await client.library.list()
            spending = await client.spending()
            assert await client.unknown_attempts() == []
            assert await client.library.check() == []
            assert not simulator.received
    assert all(image.data for image in got)
    assert {(image.id, image.cost) for image in listed} == {(image.id, image.cost) for image in got}
    assert (spending.settled_usd, spending.attempts.succeeded) == (Decimal("0.12"), 3)
    assert not list((tmp_path / "set-aside").glob("*/*"))


async def test_a_lock_that_ends_between_two_writes_leaves_nothing_beside(tmp_path, monkeypatch):
    mark_received = Ledger.mark_received

    async def fail_once(self: Ledger, attempt_id: str, receipt: str) -> None:
        monkeypatch.setattr(Ledger, "mark_received", mark_received)
        raise imagen.StorageError("database is locked")

    monkeypatch.setattr(Ledger, "mark_received", fail_once)
    async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
        image = await client.generate("a cat", model=MODEL)
        assert image.storage_error is None
        assert [one.id for one in await client.library.list()] == [image.id]
    assert not list((tmp_path / "set-aside").glob("*/*"))


async def test_a_lock_that_begins_between_two_writes_loses_none(tmp_path, monkeypatch):
    async def fail(self: Ledger, *values: object, **named: object) -> None:
        raise imagen.StorageError("database is locked")

    async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "settle", fail)
            image = await client.generate("a cat", model=MODEL)
    assert image.data
    assert "locked" in (image.storage_error or "")
    async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
        (found,) = await client.library.list()
        assert (found.id, found.data, found.cost) == (image.id, image.data, image.cost)
        assert not simulator.received


async def test_what_else_is_set_aside_stays_when_a_receipt_is_adopted(tmp_path):
    with trio.fail_after(LIMIT_SECONDS):
        got = await drawn_under_a_lock(tmp_path)
        receipts = sorted((tmp_path / "set-aside").glob("*/receipt.json"))
        reply = receipts[0].with_name("reply-1.bin")
        reply.write_bytes(b"an image that could not be read")
        async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
            assert len(await client.library.list()) == len(got) == 3
    assert not any(receipt.exists() for receipt in receipts)
    assert list((tmp_path / "set-aside").glob("*/*")) == [reply]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"state": 7}'])
async def test_a_damaged_receipt_beside_is_no_obstacle(tmp_path, damage):
    with trio.fail_after(LIMIT_SECONDS):
        got = await drawn_under_a_lock(tmp_path)
        (first, *_) = sorted((tmp_path / "set-aside").glob("*/receipt.json"))
        first.write_bytes(damage)
        async with open_simulator() as simulator, open_simulated(tmp_path, simulator) as client:
            assert len(await client.library.list()) == 2
            (unknown,) = await client.unknown_attempts()
            assert unknown.id == first.parent.name
            # Its file is there, and the check lists it again.
            await client.library.check(repair=True)
            listed = {image.sha256 for image in await client.library.list()}
    assert listed == {image.sha256 for image in got}
