"""A batch whose id was lost is found again; an equal request that is repeated
while the first one runs is paid once; and servers see the batches of others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from mcp import Client
from mcp.types import CallToolResult

import imagen
from imagen_mcp.server import make_server
from tests.support.mcp_client import ERAS, MODEL, Painter, connect, settings, text_of

BATCH = {"prompt": "a lighthouse", "model": MODEL, "count": 3, "timeout": 0}


@asynccontextmanager
async def two_servers(
    home: Path, painter: Painter, *, seconds: float = 20.0
) -> AsyncIterator[tuple[Client, Client]]:
    """Clients of two servers with one home."""
    open_client = partial(imagen.open_client, transport=lambda _: painter)
    servers = [make_server(settings(home), open_client=open_client) for _ in range(2)]
    with trio.fail_after(seconds):
        async with Client(servers[0]) as one, Client(servers[1]) as other:
            yield one, other


async def batches(client: Client) -> list[dict[str, object]]:
    result = await client.call_tool("get_batch_status", {})
    assert not result.is_error, text_of(result)
    return result.structured_content["batches"]


async def pull_all(client: Client, session_id: str) -> list[str]:
    """The ids of all images of a batch, in the order of their numbers."""
    ids: list[str] = []
    after: dict[str, int] = {}
    while True:
        result = await client.call_tool("get_next_image", {"session_id": session_id, **after})
        image = result.structured_content["image"]
        if image is None:
            return ids
        ids.append(image["id"])
        after = {"after": image["index"]}


# --- found again --------------------------------------------------------------


@pytest.mark.parametrize("mode", ERAS)
async def test_batches_are_listed_with_state_counts_and_next_call(
    tmp_path: Path, mode: str
) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter, mode=mode) as client:
        assert await batches(client) == []
        started = await client.call_tool("start_image_batch", BATCH)
        session_id = started.structured_content["session_id"]
        painter.answer()
        await client.call_tool("get_next_image", {"session_id": session_id})
        done = await client.call_tool("generate_image", {"prompt": "a boat", "model": "sketch"})
        listed = await client.call_tool("get_batch_status", {})
        running, finished = listed.structured_content["batches"]
        painter.answer(2)
    assert not done.is_error
    assert (running["session_id"], running["status"]) == (session_id, "generating")
    assert (running["prompt"], running["model"]) == ("a lighthouse", MODEL)
    assert (running["requested_count"], running["completed_count"]) == (3, 1)
    assert running["next"] == f'get_next_image(session_id="{session_id}")'
    assert (finished["prompt"], finished["status"]) == ("a boat", "completed")
    assert f"{session_id} is generating, 1 of 3 images" in text_of(listed)


async def test_a_batch_that_a_host_gave_up_on_is_listed_at_once(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        with trio.move_on_after(0.3):
            await client.call_tool("start_image_batch", {**BATCH, "timeout": 55})
        (row,) = await batches(client)
        painter.answer(3)
    assert row["prompt"] == "a lighthouse"
    assert row["requested_count"] == 3
    assert row["status"] == "cancelled"
    assert row["next"] == f'resume_batch(session_id="{row["session_id"]}")'


async def test_a_batch_of_a_server_that_ended_is_listed_by_the_next(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        await client.call_tool("start_image_batch", {**BATCH, "count": 8})
        await painter.wait_asked(4)
        painter.answer(4)
    async with connect(tmp_path, Painter()) as client:
        (row,) = await batches(client)
        assert row["status"] == "cancelled"
        resumed = await client.call_tool("resume_batch", {"session_id": row["session_id"]})
        assert not resumed.is_error
        assert len(await pull_all(client, row["session_id"])) >= 4


# --- twins --------------------------------------------------------------------


async def call_twice(client: Client, tool: str, arguments: dict[str, object]) -> CallToolResult:
    await client.call_tool(tool, {**arguments, "timeout": 0})
    return await client.call_tool(tool, {**arguments, "timeout": 0})


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("start_image_batch", BATCH),
        ("generate_image", {"prompt": "a lighthouse", "model": MODEL}),
        ("edit_image", {"prompt": "red", "model": MODEL, "images": ["SOURCE"]}),
        ("create_variations", {"image": "SOURCE", "model": MODEL, "count": 3}),
    ],
)
async def test_an_equal_request_is_answered_with_the_one_that_runs(
    tmp_path: Path, tool: str, arguments: dict[str, object]
) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        made = await client.call_tool("generate_image", {"prompt": "a boat", "model": "sketch"})
        source = made.structured_content["image"]["id"]
        named = {
            name: source if value == "SOURCE" else [source] if value == ["SOURCE"] else value
            for name, value in arguments.items()
        }
        again = await call_twice(client, tool, named)
        running = [row for row in await batches(client) if row["status"] != "completed"]
        asked = painter.requests
        painter.answer(8)
    assert len(running) == 1
    assert running[0]["session_id"] in text_of(again)
    assert asked <= running[0]["requested_count"]
    if not again.is_error:
        assert "An equal request runs already" in text_of(again)


async def start_together(client: Client, *, apart: float = 0.0) -> list[str]:
    """The sessions of three equal calls, each before the others are answered."""
    ids: list[str] = []

    async def start() -> None:
        result = await client.call_tool("start_image_batch", {**BATCH, "timeout": 3})
        ids.append(result.structured_content["session_id"])

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(start)
            await trio.sleep(apart)
    return ids


async def test_equal_calls_at_the_same_time_are_several_batches(tmp_path: Path) -> None:
    painter = Painter()
    async with connect(tmp_path, painter) as client:
        assert len(set(await start_together(client))) == 3


async def test_a_call_that_a_host_repeats_without_ending_the_first_meets_it(
    tmp_path: Path,
) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        ids = await start_together(client, apart=1.1)
        assert len(set(ids)) == 1
        painter.answer(3)
        assert len(await pull_all(client, ids[0])) == 3
    assert painter.requests == 3


@pytest.mark.parametrize(
    "change",
    [
        {"new": True},
        {"count": 2},
        {"prompt": "a lighthouse at night"},
        {"seed": 7},
        {"quality": "low"},
    ],
)
async def test_another_request_is_another_batch(tmp_path: Path, change: dict[str, object]) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        one = await client.call_tool("start_image_batch", BATCH)
        other = await client.call_tool("start_image_batch", {**BATCH, **change})
        painter.answer(6)
    assert one.structured_content["session_id"] != other.structured_content["session_id"]
    assert "equal request" not in text_of(other)


async def test_a_request_that_is_done_is_made_again(tmp_path: Path) -> None:
    painter = Painter()
    async with connect(tmp_path, painter) as client:
        for _ in range(2):
            result = await client.call_tool(
                "generate_image", {"prompt": "a lighthouse", "model": MODEL}
            )
            assert not result.is_error
    assert painter.requests == 2


async def test_a_host_that_gives_up_on_the_second_call_does_not_end_the_first(
    tmp_path: Path,
) -> None:
    painter = Painter(gated=True)
    async with connect(tmp_path, painter) as client:
        first = await client.call_tool("start_image_batch", BATCH)
        with trio.move_on_after(0.3):
            await client.call_tool("start_image_batch", {**BATCH, "timeout": 55})
        painter.answer(3)
        assert len(await pull_all(client, first.structured_content["session_id"])) == 3


# --- other servers ------------------------------------------------------------


async def test_a_batch_is_known_to_another_server_with_its_answer(tmp_path: Path) -> None:
    async with two_servers(tmp_path, painter := Painter(gated=True)) as (one, other):
        for number in range(3):
            started = await one.call_tool("start_image_batch", {**BATCH, "prompt": f"{number}"})
            asked = {"session_id": started.structured_content["session_id"]}
            found = await other.call_tool("get_batch_status", asked)
            assert not found.is_error, text_of(found)
        painter.answer(9)


async def test_a_batch_of_another_server_is_followed_to_its_end(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with two_servers(tmp_path, painter) as (one, other):
        started = await one.call_tool("start_image_batch", BATCH)
        session_id = started.structured_content["session_id"]
        await painter.wait_asked(3)
        (row,) = await batches(other)
        assert (row["session_id"], row["status"]) == (session_id, "generating")
        painter.answer(3)
        assert await pull_all(other, session_id) == await pull_all(one, session_id)
        # And once more, when it is over.
        assert len(await pull_all(other, session_id)) == 3
    assert painter.requests == 3


async def test_a_batch_of_another_server_is_cancelled(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with two_servers(tmp_path, painter) as (one, other):
        started = await one.call_tool("start_image_batch", {**BATCH, "count": 10})
        session_id = started.structured_content["session_id"]
        await painter.wait_asked(4)
        cancelled = await other.call_tool("cancel_batch", {"session_id": session_id})
        assert not cancelled.is_error
        while (await batches(one))[0]["status"] != "cancelled":
            await trio.sleep(0.1)
        assert (await batches(other))[0]["status"] == "cancelled"
        painter.answer(10)
    assert painter.requests == 4


async def test_an_equal_request_to_another_server_is_paid_once(tmp_path: Path) -> None:
    painter = Painter(gated=True)
    async with two_servers(tmp_path, painter) as (one, other):
        started = await one.call_tool("start_image_batch", BATCH)
        await painter.wait_asked(3)
        again = await other.call_tool("start_image_batch", BATCH)
        assert again.structured_content["session_id"] == started.structured_content["session_id"]
        painter.answer(3)
    assert painter.requests == 3


async def test_a_finished_batch_of_another_server_is_read(tmp_path: Path) -> None:
    async with two_servers(tmp_path, Painter()) as (one, other):
        started = await one.call_tool("start_image_batch", {**BATCH, "timeout": 10})
        session_id = started.structured_content["session_id"]
        made = await pull_all(one, session_id)
        assert len(made) == 3
        assert await pull_all(other, session_id) == made
