"""Whatever is cancelled, and whenever: the ledger balances, and each file is
whole or absent.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import trio

import imagen
from imagen.testing import ScriptedReply, cancel_at_every_step
from tests.support.lengths import length
from tests.support.scripted_client import PRICE, FakeProvider, books_balance, open_test_client
from tests.support.three_providers import BROKEN, BUSY, DOWN, PRICES, Town, image_reply, open_town


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

    runs = cancel_at_every_step(scenario, every=length(1, short=3))
    assert runs > length(50, short=16)
    assert delivered > length(20, short=6)


def test_a_single_image_survives_a_cancellation_at_every_step():
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

    assert cancel_at_every_step(scenario, every=length(1, short=3)) > length(40, short=13)


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


async def test_salvage_keeps_the_image_of_a_caller_who_left(autojump_clock, tmp_path):
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


async def test_a_subscriber_that_raises_loses_no_image_and_is_heard_at_the_end(
    autojump_clock, tmp_path
):
    def broken(event: imagen.Event) -> None:
        raise LookupError(type(event).__name__)

    with pytest.raises(LookupError, match="AttemptQueued"):
        async with open_test_client(FakeProvider(), home=tmp_path, on_event=broken) as (client, _):
            assert (await client.generate("a cat")).width == 8


# --- the whole way: retries, fallback, hedging, budgets, rates ----------------


class BillingTown(Town):
    """Three providers that keep their bill: an image is paid for when it is
    begun, for any caller.
    """

    def __init__(self, **scripts: list[ScriptedReply]) -> None:
        super().__init__(
            **{name: self._billing(name, scripts.get(name, [image_reply()])) for name in PRICES}
        )
        self.billed_usd = Decimal(0)

    def _billing(self, name: str, script: list[ScriptedReply]) -> Callable[[int], ScriptedReply]:
        def answer(number: int) -> ScriptedReply:
            reply = script[number % len(script)]
            if reply.fault != "refused" and reply.status in (200, 500):
                self.billed_usd += Decimal(PRICES[name])
            return reply

        return answer


WAYS = {"fallback": ("right-1", "third-1"), "hedge_after_seconds": 2.0}
REFUSED = ScriptedReply(fault="refused")
LOST = ScriptedReply(fault="lost", after_seconds=1.0)
# Two at once of any model, and so few in a while that a batch has to wait.
RATE = {"rate_limit": {"images": 2, "period_seconds": 3, "max_at_once": 2}}


@asynccontextmanager
async def open_ruled_town(town: Town, home: Path) -> AsyncIterator[imagen.Client]:
    """A client with a standing budget, rates that make it wait, and waits
    between tries that are short.
    """
    async with open_town(
        town,
        home,
        models={f"{name}-1": RATE for name in PRICES},
        budgets=(imagen.StandingBudget(per="day", usd=Decimal("0.50")),),
        retry=imagen.RetryPolicy(attempts=3, wait_initial_seconds=0.5, wait_max_seconds=1.0),
        salvage_seconds=5.0,
    ) as client:
        yield client
    for transport in town.transports.values():
        assert transport.open_replies == 0
        assert transport.closed


async def check_town(home: Path, town: BillingTown) -> None:
    """What a later client finds: everything billed is in the ledger, what is
    settled has its image, files are whole.
    """
    files = {path for path in (home / "images").rglob("*") if path.is_file()}
    for path in files:
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()
    async with open_town(Town(), home) as client:
        spending = await client.spending()
        images = await client.library.list(limit=100)
        assert (spending.attempts.in_flight, spending.reserved_usd, client.in_flight) == (0, 0, 0)
        assert spending.settled_usd == sum(image.cost.usd for image in images)
        assert (
            spending.settled_usd <= town.billed_usd <= spending.settled_usd + spending.unknown_usd
        )
        assert spending.settled_usd + spending.unknown_usd <= Decimal("0.50")
        assert {image.path for image in images} == files


def cancel_in_town(
    work: Callable[[imagen.Client], Awaitable[None]],
    scripts: dict[str, list[ScriptedReply]],
    *,
    every: int = 1,
) -> int:
    """Cancels the work at each step, looks at what is left, and gives how many
    runs that took. All in the scripts are asked.
    """
    asked: set[str] = set()

    async def scenario(scope: trio.CancelScope) -> None:
        town = BillingTown(**scripts)
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            with scope:
                async with open_ruled_town(town, home) as client:
                    await work(client)
            await check_town(home, town)
            asked.update(name for name in PRICES if town.sent(name))

    runs = cancel_at_every_step(scenario, every=every)
    assert asked >= scripts.keys()
    return runs


FAULTS = {
    "a retry that is waited for": {
        "left": [DOWN, BUSY, image_reply()],
        "right": [BUSY],
        "third": [REFUSED],
    },
    "falling back twice": {"left": [DOWN], "right": [REFUSED], "third": [image_reply()]},
    "an outcome that is unknown": {"left": [REFUSED], "right": [BROKEN, LOST]},
    "a slow model that is overtaken": {"left": [image_reply(9.0)], "right": [image_reply(0.5)]},
    "two that are slow": {"left": [image_reply(9.0)], "right": [image_reply(9.0)]},
    "a slow one alone": {"left": [image_reply(9.0)], "right": [DOWN]},
}


@pytest.mark.parametrize("scripts", FAULTS.values(), ids=FAULTS.keys())
def test_one_request_on_its_way_round_survives_a_cancellation_at_every_step(scripts):
    async def work(client: imagen.Client) -> None:
        try:
            await client.generate("x", **WAYS)
        except imagen.ImagenError:
            # What came out of it stands in the ledger; here no caller is to lose
            # it.
            return

    assert cancel_in_town(work, scripts, every=length(2, short=6)) > length(15, short=5)


def test_a_batch_over_all_ways_survives_a_cancellation_at_every_step():
    async def work(client: imagen.Client) -> None:
        with imagen.move_on_after_spending("0.30"):
            async with client.open_batch("x", n=6, max_at_once=3, **WAYS) as batch:
                async for _ in batch:
                    pass

    scripts = {
        "left": [DOWN, image_reply(5.0), BUSY, image_reply()],
        "right": [BUSY, image_reply(), REFUSED],
        "third": [LOST],
    }
    assert cancel_in_town(work, scripts, every=length(5, short=15)) > length(30, short=10)


def test_a_session_over_all_ways_survives_a_cancellation_at_every_step():
    async def work(client: imagen.Client) -> None:
        session = client.start_session(
            "x", n=4, max_at_once=2, budget=imagen.Budget("0.25"), **WAYS
        )
        await session.wait_finished()

    scripts = {
        "left": [image_reply(5.0), DOWN],
        "right": [DOWN, image_reply(), LOST],
        "third": [BUSY, image_reply()],
    }
    assert cancel_in_town(work, scripts, every=length(5, short=15)) > length(25, short=8)


def test_a_caller_that_waits_for_a_slot_leaves_it_at_every_step():
    async def work(client: imagen.Client) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(client.generate, imagen.Generate(prompt="x", model="left-1"))

    assert cancel_in_town(work, {"left": [image_reply(0.5)]}, every=length(2, short=6)) > length(
        30, short=10
    )
