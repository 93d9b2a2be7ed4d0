"""The caller's own code runs where the caller lives, not in the Trio run."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

import imagen
from tests.support.bridged_client import BRIDGES, open_bridged, run_bridged, scope_of
from tests.support.scripted_client import PRICE, FakeProvider, images_reply


def test_handlers_of_events_run_on_the_callers_loop_in_order():
    async def main():
        heard, threads = [], set()

        def hear(event):
            if isinstance(event, imagen.AttemptSent | imagen.AttemptEnded):
                heard.append(type(event).__name__)
            threads.add(threading.current_thread())
            asyncio.get_running_loop()

        async with open_bridged("aio", lambda request: images_reply(), on_event=hear) as (
            client,
            _,
        ):
            await client.generate("a cat")
            assert heard == ["AttemptSent", "AttemptEnded"]
            async with client.open_batch("a cat", n=2, max_at_once=1, on_event=hear) as batch:
                _ = [outcome async for outcome in batch]
        assert threads == {threading.current_thread()}
        assert len(heard) == 2 + 2 * 4

    run_bridged(main)


def test_handlers_of_a_blocking_client_have_a_thread_of_their_own():
    async def main():
        threads = []
        async with open_bridged(
            "blocking",
            lambda request: images_reply(),
            on_event=lambda event: threads.append(threading.current_thread().name),
        ) as (client, _):
            await client.generate("a cat")
        assert set(threads) == {"imagen events"}

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_a_handler_that_raises_loses_no_image_and_is_raised_at_the_end(kind):
    def fail(event):
        raise LookupError("a bug of the handler")

    async def main():
        with pytest.raises(LookupError, match="a bug of the handler"):
            async with open_bridged(kind, FakeProvider(), on_event=fail) as (client, _):
                assert isinstance(await client.generate("a cat"), imagen.Image)

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_consent_is_asked_outside_the_trio_run(kind):
    asked = []

    def note(quote, images):
        asked.append((threading.current_thread().name, images))
        return len(asked) == 1

    async def note_later(quote, images):
        await asyncio.sleep(0)
        return note(quote, images)

    async def main():
        async with open_bridged(
            kind,
            lambda request: images_reply(),
            confirm=note_later if kind == "aio" else note,
            confirm_above_usd=PRICE,
        ) as (client, _):
            async with client.open_batch("a cat", n=2) as batch:
                assert [type(outcome) async for outcome in batch] == [imagen.Image] * 2
            with pytest.raises(imagen.BudgetExceededError, match="not confirmed"):
                async with client.open_batch("a cat", n=3) as batch:
                    _ = [outcome async for outcome in batch]

    run_bridged(main)
    assert [images for _, images in asked] == [2, 3]
    assert "imagen" not in {name for name, _ in asked}


def test_requests_come_from_an_asynchronous_generator_of_the_loop():
    closed = False

    async def requests():
        nonlocal closed
        try:
            for number in range(100):
                await asyncio.sleep(0.001)
                assert asyncio.get_running_loop()
                yield f"image {number}"
        finally:
            closed = True

    async def main():
        async with open_bridged("aio", FakeProvider()) as (client, _):
            async with client.open_batch(requests(), max_at_once=2) as batch:
                prompts = {(await anext(batch)).prompt for _ in range(5)}
        assert len(prompts) == 5
        assert closed

    run_bridged(main)


def test_a_generator_of_a_blocking_caller_may_call_the_client():
    async def main():
        async with open_bridged("blocking", lambda request: images_reply()) as (client, _):
            target = client._target

            def requests():
                for number in range(3):
                    yield f"image {number} of ${target.quote('x').high_usd}"

            async with client.open_batch(requests()) as batch:
                assert len([outcome async for outcome in batch]) == 3

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_progress_comes_before_the_call_returns(kind, tmp_path):
    async def main():
        told = []
        async with open_bridged(kind, lambda request: images_reply()) as (client, _):
            for _ in range(3):
                await client.generate("a cat")
            archives = client.archives if kind == "aio" else client._target.archives
            made = archives.export_to(
                tmp_path / "images.zip",
                on_progress=lambda done: told.append((done, threading.current_thread())),
            )
            if kind == "aio":
                await made
            assert told == [(number, threading.current_thread()) for number in (1, 2, 3)]

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_images_may_come_from_a_generator(kind):
    async def main():
        async with open_bridged(kind, lambda request: images_reply()) as (client, _):
            images = [await client.generate("a cat") for _ in range(3)]
            assert await client.library.tag((image for image in images), add=["red"]) == 3

    run_bridged(main)


def test_a_budget_scope_goes_around_a_task_group():
    async def main():
        provider = FakeProvider()
        async with open_bridged("aio", provider) as (client, _):
            with scope_of("aio", "0.20") as budget:
                async with asyncio.TaskGroup() as group:
                    for _ in range(9):
                        group.create_task(client.generate("a cat"))
            assert budget.cancelled_caught
            assert not asyncio.current_task().cancelling()
            assert provider.billed_usd <= budget.limit_usd
            with pytest.raises(imagen.BudgetExceededError):
                with imagen.aio.fail_after_spending("0.01"):
                    await client.generate("a cat")

    run_bridged(main)


def test_one_scope_goes_around_clients_of_both_bridges():
    async def main():
        async with open_bridged("aio", FakeProvider()) as (one, _):
            async with open_bridged("blocking", FakeProvider()) as (other, _):
                with scope_of("aio", "0.08") as budget:
                    await one.generate("a cat")
                    await other.generate("a cat")
                    await other.generate("a cat")
                    raise AssertionError("the third one does not fit")
        assert budget.cancelled_caught
        assert budget.spent_usd == 2 * PRICE

    run_bridged(main)


def test_a_cancel_scope_of_anyio_waits_without_spinning():
    async def main():
        turns = 0
        loop = asyncio.get_running_loop()
        call_soon = loop.call_soon

        def counted(*args, **kwargs):
            nonlocal turns
            turns += 1
            return call_soon(*args, **kwargs)

        async with open_bridged("aio", lambda request: images_reply(after_seconds=30)) as (
            client,
            _,
        ):
            loop.call_soon = counted
            with anyio.move_on_after(0.01) as scope:
                await client.generate("a cat")
            assert scope.cancelled_caught
        assert turns < 500

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_a_session_is_followed(kind):
    async def main():
        async with open_bridged(kind, lambda request: images_reply()) as (client, _):
            start = client.start_session if kind == "aio" else client._target.start_session
            session = start("a cat", n=2)
            if kind == "aio":
                number, image = await session.wait_image()
                await session.wait_finished()
                again = await client.sessions.get(session.id)
            else:
                number, image = session.wait_image()
                session.wait_finished()
                again = client._target.sessions.get(session.id)
            assert number == 0
            assert again == session
            assert isinstance(image, imagen.Image)
            assert session.finished
            assert len(session.images) == 2

    run_bridged(main)


@pytest.mark.parametrize("kind", BRIDGES)
def test_an_outcome_passes_without_a_copy(kind):
    async def main():
        ended = []
        async with open_bridged(kind, lambda request: images_reply(), on_event=ended.append) as (
            client,
            _,
        ):
            image = await client.generate("a cat")
        assert ended[-1].outcomes[0] is image

    run_bridged(main)
