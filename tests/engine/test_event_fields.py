"""Events: their fields agree with the ledger, and each thing that happens is
told once.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

import imagen
from imagen.library import CleanupRules
from imagen.testing import ScriptedReply
from tests.support.scripted_client import (
    MODEL,
    PRICE,
    REFUSED,
    error_reply,
    images_reply,
    open_test_client,
)
from tests.support.three_providers import BROKEN, DOWN, Town, image_reply, open_town


def of(heard: list[imagen.Event], kind: type) -> list[imagen.Event]:
    return [event for event in heard if type(event) is kind]


async def test_an_attempt_tells_its_fields_from_end_to_end(autojump_clock):
    heard: list[imagen.Event] = []
    usage = {"input_tokens": 7, "output_tokens": 100, "input_tokens_details": {"text_tokens": 7}}
    body = images_reply(after_seconds=3, usage=usage)
    reply = ScriptedReply(chunks=body.chunks, headers={"x-request-id": "req_1"}, after_seconds=3)
    async with open_test_client(lambda request: reply, on_event=heard.append) as (client, _):
        async with client.open_batch("a fox", tag="animals") as batch:
            (outcome,) = [one async for one in batch]
            name = batch.id
    _, reserved, _, ended = heard
    for event in heard:
        assert (event.batch_id, event.operation, event.tag) == (name, "generate", "animals")
        assert (event.model, event.provider, event.server) == (MODEL, "openai", "api.openai.com")
        assert (event.try_number, event.why, event.reserved_usd) == (1, "first", PRICE)
        assert event.attempt_id == outcome.attempt_id
    assert [type(one) for one in heard] == [
        imagen.AttemptQueued,
        imagen.AttemptReserved,
        imagen.AttemptSent,
        imagen.AttemptEnded,
    ]
    assert (ended.state, ended.settled_usd, ended.status) == ("succeeded", PRICE, 200)
    assert (ended.provider_request_id, ended.images, ended.error) == ("req_1", (outcome,), None)
    assert ended.usage.text_input_tokens == 7
    assert 3 <= ended.seconds < 4
    assert reserved.waited_seconds == 0


@pytest.mark.parametrize(
    ("reply", "state", "usd", "status"),
    [
        (error_reply(400, REFUSED), "refused", Decimal(0), 400),
        (error_reply(500, {"error": {"message": "oops"}}), "unknown", None, 500),
        (error_reply(401, {"error": {"message": "No key."}}), "failed", Decimal(0), 401),
        (ScriptedReply(fault="refused"), "failed", Decimal(0), None),
    ],
)
async def test_a_failure_ends_as_the_ledger_has_it(autojump_clock, reply, state, usd, status):
    heard: list[imagen.Event] = []
    async with open_test_client(
        lambda request: reply,
        on_event=heard.append,
        retry=imagen.RetryPolicy(attempts=1),
    ) as (client, _):
        with pytest.raises(imagen.ImagenError) as caught:
            await client.generate("x")
        spending = await client.spending()
    (ended,) = of(heard, imagen.AttemptEnded)
    assert (ended.state, ended.settled_usd, ended.status) == (state, usd, status)
    assert ended.error.code == caught.value.code
    assert getattr(spending.attempts, state) == 1
    assert spending.settled_usd == (usd or 0)


async def test_a_retry_is_told_before_it_waits(autojump_clock):
    heard: list[tuple[float, imagen.Event]] = []
    replies = [error_reply(503, {"error": {"message": "busy"}}), images_reply()]
    async with open_test_client(
        lambda request: replies.pop(0),
        on_event=lambda event: heard.append((trio.current_time(), event)),
    ) as (client, _):
        await client.generate("x")
    ((told_at, retry),) = [one for one in heard if type(one[1]) is imagen.RetryScheduled]
    assert (retry.try_number, retry.why, retry.error.code) == (2, "retry", "API_ERROR")
    tries = [
        (at, event.try_number, event.why, event.attempt_id)
        for at, event in heard
        if type(event) is imagen.AttemptSent
    ]
    assert [one[1:3] for one in tries] == [(1, "first"), (2, "retry")]
    assert tries[1][3] == retry.attempt_id
    assert tries[1][0] == pytest.approx(told_at + retry.wait_seconds)


async def test_the_last_try_schedules_no_other(autojump_clock):
    heard: list[imagen.Event] = []
    async with open_test_client(
        lambda request: error_reply(503, {"error": {"message": "busy"}}), on_event=heard.append
    ) as (client, _):
        with pytest.raises(imagen.ImagenError):
            await client.generate("x")
    tries = len(of(heard, imagen.AttemptSent))
    assert len(of(heard, imagen.RetryScheduled)) == tries - 1


async def test_fallback_and_hedge_are_reasons(autojump_clock, tmp_path):
    heard: list[imagen.Event] = []
    town = Town(left=BROKEN, right=image_reply())
    routes = imagen.RoutingPolicy(fallback_on=("outage", "outcome_unknown"))
    async with open_town(town, tmp_path / "a", events=heard, routes=routes) as client:
        await client.generate("x", fallback=["right-1"])
    assert [(one.model, one.why) for one in of(heard, imagen.AttemptSent)] == [
        ("left-1", "first"),
        ("right-1", "fallback"),
    ]
    heard.clear()
    town = Town(left=image_reply(after_seconds=25), right=image_reply())
    async with open_town(town, tmp_path / "b", events=heard) as client:
        await client.generate("x", fallback=["right-1"], hedge_after_seconds=10)
    assert [one.why for one in of(heard, imagen.AttemptSent)] == ["first", "hedge"]


async def test_a_breaker_tells_that_it_opens_and_closes(autojump_clock, tmp_path):
    heard: list[imagen.Event] = []
    replies = [DOWN, DOWN, image_reply()]
    town = Town(left=lambda number: replies[min(number, 2)])
    routes = imagen.RoutingPolicy(failures=2, cooldown_seconds=5)
    retry = imagen.RetryPolicy(attempts=1)
    async with open_town(town, tmp_path, events=heard, routes=routes, retry=retry) as client:
        for _ in range(2):
            with pytest.raises(imagen.ImagenError):
                await client.generate("x")
        assert of(heard, imagen.BreakerClosed) == []
        await client.generate("x")
    about = {"model": "left-1", "provider": "left"}
    assert of(heard, imagen.BreakerOpened) == [imagen.BreakerOpened(**about, cooldown_seconds=5)]
    assert of(heard, imagen.BreakerClosed) == [imagen.BreakerClosed(**about)]


async def test_a_breaker_that_is_open_closes_with_its_client(autojump_clock, tmp_path):
    heard: list[imagen.Event] = []
    town = Town(left=lambda number: DOWN if number < 3 else image_reply())
    routes = imagen.RoutingPolicy(failures=2, cooldown_seconds=5)
    retry = imagen.RetryPolicy(attempts=1)
    async with open_town(town, tmp_path, events=heard, routes=routes, retry=retry) as client:
        for _ in range(3):
            with pytest.raises(imagen.ImagenError):
                await client.generate("x")
        # A failed probe opens it again.
        assert len(of(heard, imagen.BreakerOpened)) == 2
        assert of(heard, imagen.BreakerClosed) == []
    assert of(heard, imagen.BreakerClosed) == [
        imagen.BreakerClosed(model="left-1", provider="left")
    ]


async def test_one_that_is_not_admitted_is_dropped(autojump_clock):
    heard: list[imagen.Event] = []
    async with open_test_client(lambda request: images_reply(), on_event=heard.append) as (
        client,
        _,
    ):
        async with client.open_batch("x", budget=imagen.Budget("0.01")) as batch:
            (failure,) = [one async for one in batch]
    queued, dropped = heard
    assert isinstance(queued, imagen.AttemptQueued)
    assert isinstance(dropped, imagen.AttemptDropped)
    assert dropped.error.code == failure.error.code == "BUDGET"


async def test_an_image_of_the_library_is_a_hit(autojump_clock):
    heard: list[imagen.Event] = []
    async with open_test_client(lambda request: images_reply(), on_event=heard.append) as (
        client,
        _,
    ):
        made = await client.generate("x")
        assert of(heard, imagen.CacheHit) == []
        await client.generate("x", cache=True)
    (hit,) = of(heard, imagen.CacheHit)
    assert (hit.image_id, hit.model, hit.index) == (made.id, MODEL, 0)
    assert len(of(heard, imagen.AttemptSent)) == 1


async def test_a_session_starts_and_ends_once(autojump_clock):
    heard: list[imagen.Event] = []
    async with open_test_client(lambda request: images_reply(), on_event=heard.append) as (
        client,
        _,
    ):
        session = client.start_session("x", n=2)
        await session.wait_finished()
        other = client.start_session("y", n=2)
        other.cancel()
        while not heard or len(of(heard, imagen.SessionEnded)) < 2:
            await trio.sleep(0.1)
        await trio.sleep(client.settings.session_ttl_seconds + 1)
        assert len(client.sessions) == 0
    assert [one.session_id for one in of(heard, imagen.SessionStarted)] == [session.id, other.id]
    ended = {one.session_id: one for one in of(heard, imagen.SessionEnded)}
    assert (ended[session.id].state, ended[session.id].succeeded) == ("COMPLETED", 2)
    assert ended[session.id].cost_usd == 2 * PRICE
    assert ended[other.id].state == "CANCELLED"
    assert {one.session_id for one in of(heard, imagen.SessionExpired)} == {session.id, other.id}
    assert {one.batch_id for one in of(heard, imagen.AttemptEnded)} <= {session.id, other.id}


async def test_a_cleanup_tells_what_went(autojump_clock):
    heard: list[imagen.Event] = []
    async with open_test_client(lambda request: images_reply(), on_event=heard.append) as (
        client,
        _,
    ):
        for _ in range(3):
            await client.generate("x")
        await client.library.clean(CleanupRules(max_images=1), dry_run=True)
        assert of(heard, imagen.LibraryCleaned) == []
        await client.library.clean(CleanupRules(max_images=1))
    (cleaned,) = of(heard, imagen.LibraryCleaned)
    assert (cleaned.trashed, cleaned.deleted) == (2, 0)


async def test_several_subscribers_are_told_and_one_that_raises_harms_none(autojump_clock):
    first: list[imagen.Event] = []
    last: list[imagen.Event] = []

    def broken(event: imagen.Event) -> None:
        raise LookupError("a bug in a dashboard")

    with pytest.raises(LookupError):
        async with open_test_client(
            lambda request: images_reply(), on_event=(first.append, broken, last.append)
        ) as (client, _):
            await client.generate("x")
    assert first == last
    assert len(first) == 4
