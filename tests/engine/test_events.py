"""Events: each start has its end, and a handler that raises harms nothing else
and is named once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
import trio

import imagen
from imagen._storage.ledger import Ledger
from imagen.testing import ScriptedReply
from tests.support.scripted_client import (
    REFUSED,
    FakeProvider,
    error_reply,
    images_reply,
    open_test_client,
)
from tests.support.three_providers import Town, image_reply, open_town


def sent_and_ended(heard: list[imagen.Event]) -> tuple[list[str], list[str]]:
    sent = [event.attempt_id for event in heard if isinstance(event, imagen.AttemptSent)]
    ended = [event.attempt_id for event in heard if isinstance(event, imagen.AttemptEnded)]
    return sorted(sent), sorted(ended)


def check_pairs(heard: list[imagen.Event], attempts: int) -> None:
    sent, ended = sent_and_ended(heard)
    assert len(sent) == len(set(sent)) == attempts
    assert sent == ended
    for name in sent:
        kinds = [type(event) for event in heard if getattr(event, "attempt_id", None) == name]
        if kinds[0] is imagen.RetryScheduled:
            kinds.pop(0)
        assert kinds[0] is imagen.AttemptQueued
        place = kinds.index(imagen.AttemptReserved)
        assert all(kind is imagen.ProgressReported for kind in kinds[1:place])
        assert kinds[place + 1] is imagen.AttemptSent
        assert kinds[-1] is imagen.AttemptEnded
    check_queue(heard)


def check_queue(heard: list[imagen.Event]) -> None:
    """Every wait ends once, and every reservation too."""

    def ids(*kinds: type) -> list[str]:
        return sorted(event.attempt_id for event in heard if isinstance(event, kinds))

    queued = ids(imagen.AttemptQueued)
    assert len(queued) == len(set(queued))
    assert queued == ids(imagen.AttemptReserved, imagen.AttemptDropped)
    assert ids(imagen.AttemptReserved) == ids(imagen.AttemptEnded)


# --- each start has its end ---------------------------------------------------

REPLIES: dict[str, tuple[ScriptedReply, int]] = {
    "an image": (images_reply(), 1),
    "a refusal": (error_reply(400, REFUSED), 1),
    "a wrong key": (error_reply(401, {"error": {"message": "No key."}}), 1),
    "no money": (error_reply(429, {"error": {"code": "insufficient_quota", "message": "0"}}), 1),
    "an outage that may be billed": (error_reply(500, {"error": {"message": "oops"}}), 1),
    "an outage that is asked again": (
        error_reply(503, {"error": {"message": "busy"}}),
        imagen.RetryPolicy().attempts,
    ),
    "no images": (images_reply(0), 1),
    "garbage": (ScriptedReply(chunks=(b"<html>",)), 1),
    "no image": (images_reply(data=b"\x89PNG\r\n\x1a\nno image"), 1),
    "a broken connection": (ScriptedReply(fault="lost"), 1),
}


@pytest.mark.parametrize(("reply", "attempts"), REPLIES.values(), ids=REPLIES.keys())
async def test_every_start_has_its_end_after(autojump_clock, reply, attempts):
    heard: list[imagen.Event] = []
    async with open_test_client(lambda request: reply, on_event=heard.append) as (client, _):
        with suppress(imagen.ImagenError):
            await client.generate("x")
    check_pairs(heard, attempts)


async def test_every_start_has_its_end_where_the_caller_leaves(autojump_clock):
    heard: list[imagen.Event] = []
    reply = images_reply(after_seconds=5)
    async with open_test_client(lambda request: reply, on_event=heard.append) as (client, _):
        with trio.move_on_after(1):
            await client.generate("x")
    check_pairs(heard, 1)


async def test_every_start_has_its_end_where_the_block_raises(autojump_clock):
    heard: list[imagen.Event] = []
    reply = images_reply(after_seconds=5)
    with pytest.raises(ExceptionGroup):
        async with open_test_client(lambda request: reply, on_event=heard.append) as (client, _):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(client.generate, "x")
                await trio.sleep(1)
                raise LookupError("a fault of the caller")
    check_pairs(heard, 3)


@pytest.mark.parametrize("step", ["mark_received", "settle"])
async def test_every_start_has_its_end_where_the_disk_fails(autojump_clock, monkeypatch, step):
    heard: list[imagen.Event] = []

    async def fail(self: Ledger, *values: object, **named: object) -> None:
        raise imagen.StorageError("the disk is full")

    async with open_test_client(lambda request: images_reply(), on_event=heard.append) as (
        client,
        _,
    ):
        monkeypatch.setattr(Ledger, step, fail)
        assert (await client.generate("x")).data
        monkeypatch.undo()
    check_pairs(heard, 1)


async def test_every_start_has_its_end_where_two_ways_race(autojump_clock, tmp_path):
    heard: list[imagen.Event] = []
    town = Town(left=image_reply(after_seconds=25), right=image_reply(after_seconds=1))
    async with open_town(town, tmp_path, events=heard) as client:
        await client.generate("x", fallback=["right-1"], hedge_after_seconds=10)
        while client.in_flight:
            await trio.sleep(1)
    check_pairs(heard, 2)


@pytest.mark.parametrize("seed", range(5))
async def test_every_start_has_its_end_whatever_comes(autojump_clock, seed):
    heard: list[imagen.Event] = []
    faults = ("refusal", "busy", "down", "broken", "garbage", "refused", "lost", "cut", "foreign")
    provider = FakeProvider(seed, faults=faults)
    async with open_test_client(provider, on_event=heard.append) as (client, _):
        with trio.move_on_after(4):
            async with client.open_batch("x", n=20, max_at_once=7) as batch:
                async for _ in batch:
                    pass
    sent, ended = sent_and_ended(heard)
    assert sent
    assert sent == ended


# --- a handler that raises ----------------------------------------------------


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


FAULTS: dict[str, Callable[[], Exception]] = {
    "a plain one": lambda: ZeroDivisionError("of the handler"),
    "one like ours": lambda: imagen.AuthenticationError("of the handler"),
    "one that looks retryable": lambda: imagen.ProviderError("of the handler", retryable=True),
    "a group": lambda: ExceptionGroup("of the handler", [KeyError("x")]),
    "one of Trio": lambda: trio.TooSlowError("of the handler"),
    "one without a text": UnspeakableError,
}
KINDS = (imagen.AttemptSent, imagen.AttemptEnded)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", FAULTS.values(), ids=FAULTS.keys())
async def test_a_handler_that_raises_is_isolated_and_named_once(autojump_clock, make, kind):
    fault = make()
    heard: list[imagen.Event] = []
    calls: list[imagen.Event] = []

    def broken(event: imagen.Event) -> None:
        calls.append(event)
        if isinstance(event, kind):
            raise fault

    def answer(request: imagen.providers.HttpRequest) -> ScriptedReply:
        return images_reply(after_seconds=1)

    with pytest.raises(type(fault)) as caught:
        async with open_test_client(answer, on_event=broken) as (client, _):
            async with client.open_batch("x", n=3, on_event=heard.append) as batch:
                outcomes = [outcome async for outcome in batch]
            assert [type(outcome) for outcome in outcomes] == [imagen.Image] * 3
            assert (await client.spending()).attempts.succeeded == 3
    assert caught.value is fault
    assert sum(isinstance(event, kind) for event in calls) == 1
    check_pairs(heard, 3)


async def test_the_handler_of_a_batch_that_raises_silences_no_other(autojump_clock):
    heard: list[imagen.Event] = []

    def broken(event: imagen.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with open_test_client(lambda request: images_reply(), on_event=heard.append) as (
            client,
            _,
        ):
            for _ in range(2):
                async with client.open_batch("x", n=2, on_event=broken) as batch:
                    assert [type(one) async for one in batch] == [imagen.Image] * 2
    check_pairs(heard, 4)


@pytest.mark.parametrize("make", FAULTS.values(), ids=FAULTS.keys())
async def test_an_error_of_the_block_names_the_handler_that_raised_before(autojump_clock, make):
    def broken(event: imagen.Event) -> None:
        raise make()

    with pytest.raises(LookupError) as caught:
        async with open_test_client(lambda request: images_reply(), on_event=broken) as (client, _):
            await client.generate("x")
            raise LookupError("a fault of the caller")
    (note,) = caught.value.__notes__
    assert type(make()).__name__ in note
