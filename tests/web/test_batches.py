"""Batches live in the server: tabs come and go, servers end, and nothing paid is lost.

Time is virtual, and replies are scripted.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from imagen.testing import ScriptedReply
from imagen.web._app import open_page as open_page_parts
from imagen.web._desk.events import EventLog
from tests.support.scripted_client import (
    MODEL,
    REFUSED,
    error_reply,
    images_reply,
    open_test_client,
)
from tests.support.web import PageCaller, page_of


def asked(prompt: str = "a harbour", **fields: object) -> dict[str, object]:
    return {"operation": "generate", "prompt": prompt, "model": MODEL, "size": "64x64", **fields}


@asynccontextmanager
async def open_page(answer=None, *, home: Path | None = None, confirm=None, **settings):
    """A page whose provider takes ten seconds an image."""
    answer = answer or (lambda request: images_reply(after_seconds=10.0))
    async with (
        open_test_client(answer, home=home, **settings) as (client, transport),
        page_of(client, confirm=confirm) as page,
    ):
        page.transport = transport
        yield page


async def start(page: PageCaller, **body: object) -> dict:
    return await page.done("batches", {"requests": [asked()], **body})


def states(view: dict) -> list[str]:
    return [place["state"] for place in view["places"]]


async def test_places_are_there_at_once_and_follow_the_requests(autojump_clock):
    async with open_page() as page:
        begun = await start(page, n=3, max_at_once=2)
        assert [begun["state"], states(begun)] == ["running", ["waiting"] * 3]
        await trio.sleep(5)
        view = await page.read(f"batches/{begun['id']}")
        assert states(view) == ["sent", "sent", "waiting"]
        assert view["in_flight"] == 2
        (listed,) = (await page.read("batches"))["batches"]
        assert "places" not in listed
        await trio.sleep(10)
        view = await page.read(f"batches/{begun['id']}")
        assert states(view) == ["done", "done", "sent"]
        assert view["cost_usd"] == "0.08"
        view = await page.until(begun["id"], lambda view: view["state"] == "finished")
        assert view["places"][0]["image"]["id"] != view["places"][1]["image"]["id"]
        assert view["places"][0]["cost_usd"] == "0.04"


async def test_a_press_that_is_repeated_starts_one_batch(autojump_clock):
    async with open_page() as page:
        begun = [None] * 3

        async def press(number: int) -> None:
            begun[number] = (await start(page, n=2, key="press"))["id"]

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(press, number)
        assert len(set(begun)) == 1
        await page.until(begun[0], lambda view: view["state"] == "finished")
        assert (await start(page, n=2, key="press"))["id"] == begun[0]
        assert len(page.transport.requests) == 2


async def test_a_cancelled_batch_keeps_what_was_sent(autojump_clock):
    async with open_page() as page:
        begun = await start(page, n=4, max_at_once=2)
        await trio.sleep(5)
        await page.done(f"batches/{begun['id']}/cancel")
        await trio.sleep(1)
        view = await page.read(f"batches/{begun['id']}")
        assert view["state"] == "cancelled"
        assert states(view) == ["sent", "sent", "dropped", "dropped"]
        view = await page.until(begun["id"], lambda view: "sent" not in states(view))
        assert states(view) == ["done", "done", "dropped", "dropped"]
        assert (await page.read("state"))["images"] == 2
        assert len(page.transport.requests) == 2


async def test_one_place_is_dropped_and_the_others_go_on(autojump_clock):
    async with open_page() as page:
        begun = await start(page, n=3, max_at_once=1)
        await trio.sleep(5)
        place = f"batches/{begun['id']}/places"
        assert await page.done(f"{place}/2/drop") == {"dropped": True}
        assert await page.done(f"{place}/9/drop") == {"dropped": False}
        view = await page.until(begun["id"], lambda view: view["state"] == "finished")
        assert states(view) == ["done", "done", "dropped"]
        assert len(page.transport.requests) == 2


async def test_a_failure_is_one_sentence_at_its_place(autojump_clock):
    replies = iter([images_reply(), error_reply(400, REFUSED), images_reply()])
    async with open_page(lambda request: next(replies)) as page:
        begun = await start(page, n=3, max_at_once=1)
        view = await page.until(begun["id"], lambda view: view["state"] == "finished")
        assert states(view) == ["done", "failed", "done"]
        error = view["places"][1]["error"]
        assert error["code"] == "CONTENT_FILTER"
        assert error["sentence"]
        assert view["places"][1]["request"]["prompt"] == "a harbour"


async def test_above_the_limit_the_user_agrees_to_the_price(autojump_clock):
    async with open_page(confirm="0.05") as page:
        assert not (await page.done("quote", {"requests": [asked()]}))["needs_consent"]
        quote = await page.done("quote", {"requests": [asked()], "n": 2})
        assert [quote["needs_consent"], quote["high_usd"]] == [True, "0.08"]
        for consent in (None, "0", "0.07"):
            reply = await page.post(
                "batches", {"requests": [asked()], "n": 2, "consent_usd": consent}
            )
            problem = reply.json()
            assert (reply.status_code, problem["code"]) == (409, "CONSENT")
            assert problem["details"] == {"high_usd": "0.08", "above_usd": "0.05"}
        for wrong in ("much", "-1", "NaN"):
            body = {"requests": [asked()], "n": 2, "consent_usd": wrong}
            assert (await page.post("batches", body)).status_code in (400, 422)
        assert not page.transport.requests
        begun = await start(page, n=2, consent_usd="0.08")
        await page.until(begun["id"], lambda view: view["state"] == "finished")


async def test_a_budget_of_a_batch_is_kept(autojump_clock):
    async with open_page() as page:
        begun = await start(page, n=3, budget_usd="0.08", max_at_once=1)
        view = await page.until(begun["id"], lambda view: view["state"] != "running")
        assert states(view) == ["done", "done", "failed"]
        assert view["places"][2]["error"]["code"] == "BUDGET"


async def test_a_batch_outlives_its_server_and_is_reopened(autojump_clock, tmp_path):
    async with open_page(home=tmp_path) as page:
        begun = await start(page, n=6, max_at_once=2)
        await trio.sleep(15)
    async with open_page(home=tmp_path) as page:
        (listed,) = (await page.read("state"))["batches"]
        assert [listed["id"], listed["state"]] == [begun["id"], "interrupted"]
        view = await page.read(f"batches/{begun['id']}")
        # What was in flight at the end was salvaged.
        assert states(view) == ["done"] * 4 + ["waiting"] * 2
        await page.done(f"batches/{begun['id']}/reopen")
        view = await page.until(begun["id"], lambda view: view["state"] != "running")
        assert view["state"] == "finished"
        assert states(view) == ["done"] * 4 + ["lost"] * 2
        assert not page.transport.requests
        again = await page.post(f"batches/{begun['id']}/reopen")
        assert (again.status_code, again.json()["code"]) == (409, "SESSION")
        lost = [place["request"] for place in view["places"] if place["state"] == "lost"]
        made = await page.done("batches", {"requests": lost})
        await page.until(made["id"], lambda view: view["state"] == "finished")
        assert (await page.read("state"))["images"] == 6
    async with open_page(home=tmp_path) as page:
        assert (await page.read("state"))["batches"] == []


async def test_a_batch_that_is_over_is_forgotten(autojump_clock, tmp_path):
    async with open_page(home=tmp_path) as page:
        begun = await start(page)
        busy = await page.post(f"batches/{begun['id']}/forget")
        assert (busy.status_code, busy.json()["code"]) == (409, "SESSION")
        await page.until(begun["id"], lambda view: view["state"] == "finished")
        assert await page.done(f"batches/{begun['id']}/forget") == {"batches": []}
        assert (await page.get(f"batches/{begun['id']}")).status_code == 404
        assert (await page.read("state"))["images"] == 1
        assert not list((tmp_path / "web" / "batches").iterdir())


async def test_a_damaged_file_of_a_batch_stops_no_server(autojump_clock, tmp_path):
    folder = tmp_path / "web" / "batches"
    folder.mkdir(parents=True)
    for number, text in enumerate((b"", b"{", b"[]", b'{"id": 7}', b"\xff", b"null")):
        (folder / f"{number}.json").write_bytes(text)
    async with open_page(home=tmp_path) as page:
        assert (await page.read("state"))["batches"] == []


async def test_a_lost_reply_is_said_to_be_lost(autojump_clock):
    async with open_page(lambda request: ScriptedReply(fault="lost")) as page:
        begun = await start(page)
        view = await page.until(begun["id"], lambda view: view["state"] == "finished")
        assert states(view) == ["lost"]
        assert view["places"][0]["error"]["code"] == "OUTCOME_UNKNOWN"
        (unknown,) = (await page.read("unknown"))["attempts"]
        await page.done(f"unknown/{unknown['id']}/reconcile", {"usd": "0.04"})
        assert (await page.read("unknown"))["attempts"] == []
        assert (await page.read("spending"))["total"]["settled_usd"] == "0.04"


# --- events -------------------------------------------------------------------


async def take(log: EventLog, after: str | None, count: int) -> list[bytes]:
    """The first parts of a stream that have events."""
    found: list[bytes] = []
    stream = log.read(after)
    try:
        with trio.fail_after(60):
            async for part in stream:
                found += [event for event in part.split(b"\n\n") if b"data:" in event]
                if len(found) >= count:
                    return found[:count]
    finally:
        await stream.aclose()
    return found


def numbers(events: list[bytes]) -> list[int]:
    lines = [line for event in events for line in event.split(b"\n") if line.startswith(b"id:")]
    return [int(line.rpartition(b"-")[2]) for line in lines]


async def test_a_stream_goes_on_where_it_broke(autojump_clock):
    log = EventLog()
    for number in range(10):
        log.add("n", {"n": number})
    hello, *rest = await take(log, f"{log.run}-4", 7)
    assert b"event: hello" in hello
    assert numbers(rest) == [5, 6, 7, 8, 9, 10]
    assert await take(log, log.last_id, 1) == [hello]


@pytest.mark.parametrize("after", ["other-4", "x", "", "-", "{run}-99", "{run}-x", "{run}--1"])
async def test_a_place_that_is_unknown_starts_anew(autojump_clock, after):
    log = EventLog()
    log.add("n", {})
    _, reset = await take(log, after.format(run=log.run), 2)
    assert b"event: reset" in reset
    assert numbers([reset]) == [1]


async def test_a_reader_that_is_too_slow_starts_anew(autojump_clock):
    log = EventLog()
    for number in range(10_000):
        log.add("n", {"n": number})
    _, reset = await take(log, f"{log.run}-1", 2)
    assert b"event: reset" in reset


async def test_long_prompts_do_not_fill_the_memory(autojump_clock):
    log = EventLog()
    for number in range(200):
        log.add("n", {"n": number, "prompt": "x" * 1_000_000})
    assert sum(len(entry.text) for entry in log._entries) <= 16 << 20
    _, reset = await take(log, f"{log.run}-1", 2)
    assert b"event: reset" in reset
    log.add("n", {"prompt": "x" * (17 << 20)})
    _, reset = await take(log, f"{log.run}-200", 2)
    assert b"event: reset" in reset


async def test_a_stream_ends_with_the_server_and_is_alive_until_then(autojump_clock):
    log = EventLog()
    parts: list[bytes] = []

    async def read() -> None:
        async for part in log.read(None):
            parts.append(part)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.sleep(40)
        log.close()
    assert parts.count(b": still here\n\n") == 2
    assert b"event: ending" in parts[-1]


async def test_nothing_is_missed_while_the_first_part_is_sent():
    log = EventLog()
    stream = log.read(None)
    assert b"event: hello" in await anext(stream)
    log.add("n", {})
    log.close()
    rest = b"".join([part async for part in stream])
    assert [line for line in rest.split(b"\n") if line.startswith(b"event:")] == [
        b"event: n",
        b"event: ending",
    ]


async def test_images_of_other_programs_are_heard_of(autojump_clock):
    async with (
        open_test_client(lambda request: images_reply()) as (client, _),
        open_page_parts(client, None, None, None) as (_, log),
    ):
        heard: list[bytes] = []

        async def listen() -> None:
            heard.extend(await take(log, None, 2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(5)
            await client.generate("a harbour")
        assert b"event: library" in heard[1]
        assert b'{"images":1,"trashed":0}' in heard[1]
        assert not log.is_read


async def test_two_tabs_hear_the_same(autojump_clock):
    async with open_page() as page:
        after = (await page.read("state"))["last_event_id"]
        begun = await start(page, n=2)
        await page.until(begun["id"], lambda view: view["state"] == "finished")
        image = (await page.read(f"batches/{begun['id']}"))["places"][0]["image"]
        await page.done("images/change", {"ids": [image["id"]], "stars": 5})
        await page.done("images/change", {"ids": [image["id"]], "trashed": True})
        end = (await page.read("state"))["last_event_id"]
        assert int(end.rpartition("-")[2]) > int(after.rpartition("-")[2]) + 6
