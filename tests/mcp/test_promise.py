"""The promise: whatever pulls are cut off by time-outs, no image is lost and
none is paid twice.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from mcp import Client

from tests.support.mcp_client import ERAS, MODEL, Painter, connect
from tests.support.mcp_process import stdio_client

PER_BATCH = 10


class Counts:
    def __init__(self) -> None:
        self.pulls = 0
        self.cut_off = 0


async def pull_all(
    client: Client, start: dict[str, object], dice: random.Random, longest: float, counts: Counts
) -> list[str]:
    """Pulls a batch to its end with an impatient client, by nothing but what a
    host knows: the id and the last index.
    """
    batch = (
        await client.call_tool("start_image_batch", {**start, "count": PER_BATCH, "timeout": 0})
    ).structured_content
    session_id, got = batch["session_id"], dict[int, str]()
    after = None
    while True:
        counts.pulls += 1
        answer = None
        with trio.move_on_after(dice.uniform(0, longest)):
            arguments = {"session_id": session_id, "after": after}
            answer = (await client.call_tool("get_next_image", arguments)).structured_content
        if answer is None:
            counts.cut_off += 1
            # Impatience grows less, so that a slow machine gets to the end,
            # too.
            longest *= 1.02
        elif answer["image"] is not None:
            after = answer["image"]["index"]
            assert after not in got
            got[after] = answer["image"]["id"]
        elif answer["status"] == "completed":
            assert answer["completed_count"] == PER_BATCH
            return list(got.values())


@pytest.mark.parametrize("mode", ERAS)
async def test_no_image_of_200_is_lost_to_time_outs(tmp_path: Path, mode: str) -> None:
    dice, counts, got = random.Random(7), Counts(), list[str]()
    painter = Painter(pause=lambda number: dice.uniform(0, 0.04))

    async def one_batch(client: Client) -> None:
        # An equal batch would be the one that runs.
        start = {"prompt": f"x{dice.random()}", "model": MODEL}
        got.extend(await pull_all(client, start, dice, 0.02, counts))

    async with connect(tmp_path, painter, mode=mode, seconds=30) as client:
        for _ in range(4):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(one_batch, client)
    print(f"{mode}: {counts.pulls} pulls, {counts.cut_off} cut off, {len(set(got))} images")
    assert len(got) == len(set(got)) == 200
    assert painter.requests == 200
    assert counts.cut_off > 50


async def test_no_image_is_lost_to_time_outs_over_stdio(tmp_path: Path) -> None:
    dice, counts, got = random.Random(11), Counts(), list[str]()
    # Large enough that an image takes longer than most of the time-outs, on a
    # fast machine too.
    start = {"prompt": "x", "model": "sketch", "size": "256x256"}
    with trio.fail_after(30):
        async with stdio_client(tmp_path) as client:
            for _ in range(4):
                got += await pull_all(client, start, dice, 0.02, counts)
    print(f"stdio: {counts.pulls} pulls, {counts.cut_off} cut off, {len(set(got))} images")
    assert len(got) == len(set(got)) == 40
    assert counts.cut_off > 10
