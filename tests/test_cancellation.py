"""Whatever is cancelled, and whenever: the ledger balances, and each file is whole or absent."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
import trio

import imagen
from imagen.testing import cancel_at_every_step
from tests.support import PRICE, FakeProvider, books_balance, open_test_client


async def check_home(home: Path, provider: FakeProvider) -> None:
    """What a later client finds: balanced books, and nothing but whole files."""
    files = [path for path in (home / "images").rglob("*") if path.is_file()]
    for path in files:
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    async with open_test_client(provider, home=home) as (client, _):
        spending = await client.spending()
        books_balance(spending, provider)
        assert spending.settled_usd + spending.unknown_usd >= provider.billed_usd
        for image in await client.library.list(limit=100):
            assert image.path in files


def test_a_batch_survives_a_cancellation_at_every_step():
    delivered = 0

    async def scenario(scope: trio.CancelScope) -> None:
        nonlocal delivered
        provider = FakeProvider(3, faults=("refusal", "busy"), max_seconds=1.0)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            with scope:
                async with open_test_client(provider, home=home) as (client, _):
                    with imagen.move_on_after_spending("0.10"):
                        async with client.open_batch("a cat", n=3, max_at_once=2) as batch:
                            async for _ in batch:
                                delivered += 1
            await check_home(home, provider)

    runs = cancel_at_every_step(scenario)
    assert runs > 50
    assert delivered > 20


def test_a_single_picture_survives_a_cancellation_at_every_step():
    async def scenario(scope: trio.CancelScope) -> None:
        provider = FakeProvider(1)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            with scope:
                async with open_test_client(provider, home=home) as (client, _):
                    await client.generate("a cat")
            await check_home(home, provider)

    assert cancel_at_every_step(scenario) > 20


def test_nothing_is_sent_any_more_once_its_caller_has_left():
    dropped = 0

    async def scenario(scope: trio.CancelScope) -> None:
        nonlocal dropped
        async with open_test_client(FakeProvider(1)) as (client, transport):
            with scope:
                await client.generate("a cat")
            sent = len(transport.requests)
            while client.in_flight:
                await trio.sleep(0.1)
            assert len(transport.requests) == sent
            dropped += sent == 0

    cancel_at_every_step(scenario)
    assert dropped > 3


def test_a_session_survives_a_cancellation_at_every_step():
    async def scenario(scope: trio.CancelScope) -> None:
        provider = FakeProvider(7, faults=("lost",), max_seconds=1.0)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            with scope:
                async with open_test_client(provider, home=home) as (client, _):
                    session = client.start_session("a cat", n=3, max_at_once=2)
                    await session.wait_image()
                    await session.wait_finished()
            await check_home(home, provider)

    assert cancel_at_every_step(scenario) > 40


async def test_salvage_is_bounded_and_what_outlives_it_is_unknown(autojump_clock, tmp_path):
    provider = FakeProvider(1, max_seconds=1000.0)
    async with open_test_client(provider, home=tmp_path) as (client, _):
        with trio.move_on_after(0.5):
            await client.generate("a cat")
        assert client.in_flight == 1
    assert trio.current_time() <= 31
    async with open_test_client(provider, home=tmp_path) as (client, _):
        spending = await client.spending()
        assert spending.unknown_usd == provider.billed_usd == PRICE
        assert spending.attempts.unknown == 1


async def test_salvage_is_bounded_too_while_the_client_stays_open(autojump_clock):
    async with open_test_client(FakeProvider(1, max_seconds=1000.0)) as (client, _):
        with trio.move_on_after(0.5):
            await client.generate("a cat")
        await trio.sleep(31)
        assert client.in_flight == 0
        assert (await client.spending()).attempts.unknown == 1


async def test_salvage_keeps_the_picture_of_a_caller_who_left(autojump_clock, tmp_path):
    provider = FakeProvider(1, max_seconds=20.0)
    async with open_test_client(provider, home=tmp_path) as (client, _):
        with trio.move_on_after(0.5) as left:
            await client.generate("a cat")
        assert left.cancelled_caught
    async with open_test_client(provider, home=tmp_path) as (client, _):
        assert len(await client.library.list()) == 1
        assert (await client.spending()).settled_usd == PRICE


async def test_salvage_can_be_cut_short(autojump_clock):
    provider = FakeProvider(1, max_seconds=1000.0)
    async with open_test_client(provider) as (client, _):
        with trio.move_on_after(0.5):
            await client.generate("a cat")
        client.bound_salvage(0)
        await trio.testing.wait_all_tasks_blocked()
        assert client.in_flight == 0


async def test_a_closed_client_says_so(autojump_clock):
    async with open_test_client(FakeProvider()) as (client, transport):
        pass
    with pytest.raises(imagen.ConfigurationError, match="closed"):
        await client.generate("a cat")
    assert not transport.requests


async def test_a_crash_of_a_sibling_task_still_salvages(autojump_clock, tmp_path):
    provider = FakeProvider(1, max_seconds=20.0)
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:

            async def crash() -> None:
                await trio.sleep(0.5)
                raise ZeroDivisionError

            nursery.start_soon(crash)
            async with open_test_client(provider, home=tmp_path) as (client, _):
                await client.generate("a cat")
    assert [type(error) for error in caught.value.exceptions] == [ZeroDivisionError]
    async with open_test_client(provider, home=tmp_path) as (client, _):
        assert len(await client.library.list()) == 1


async def test_a_subscriber_that_raises_loses_no_picture_and_is_heard_at_the_end(autojump_clock, tmp_path):
    def broken(event: imagen.Event) -> None:
        raise LookupError(type(event).__name__)

    with pytest.raises(LookupError, match="AttemptSent"):
        async with open_test_client(FakeProvider(), home=tmp_path, on_event=broken) as (client, _):
            assert (await client.generate("a cat")).width == 8
