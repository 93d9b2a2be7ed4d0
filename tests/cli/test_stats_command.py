"""`imagen stats`: tables, JSON and CSV of how models do."""

from __future__ import annotations

import csv
import io

import pytest

SKETCH = ("--model", "sketch", "--size", "64x64")


@pytest.fixture
async def used(shell):
    await shell.run("generate", "a fox", *SKETCH, "-n", "3", "--tag", "foxes")
    await shell.run("generate", "a fox", *SKETCH, "--cache")
    _, records, _ = await shell.run_json("history")
    await shell.run("trash", str(records[0]["id"]))
    assert (await shell.run("rate", "5", str(records[1]["id"]))).returncode == 0
    return shell


async def test_the_same_figures_in_three_forms(used):
    status, (record,), _ = await used.run_json("stats")
    assert (status, record["kind"], record["name"]) == (0, "statistics", "sketch")
    counts = {name: record[name] for name in ("asked", "images", "kept", "starred", "cached")}
    assert counts == {"asked": 3, "images": 3, "kept": 2, "starred": 1, "cached": 1}
    assert (record["success_rate"], record["usd"], record["retries"]) == (1, "0", 0)
    assert record["p50_seconds"] <= record["p95_seconds"]
    (row,) = csv.DictReader(io.StringIO((await used.run("stats", "--csv")).stdout.decode()))
    del record["kind"]
    assert {name: "" if value is None else str(value) for name, value in record.items()} == row
    shown = (await used.run("stats")).stdout.decode().splitlines()
    assert shown[0].split()[:3] == ["MODEL", "IMAGES", "SUCCESS"]
    assert shown[1].split()[:3] == ["sketch", "3", "100%"]


async def test_by_tag_and_by_day(used):
    _, records, _ = await used.run_json("stats", "--by", "tag")
    assert {one["name"]: (one["images"], one["cached"]) for one in records} == {
        "foxes": (3, 0),
        "": (0, 1),
    }
    used.environ["COLUMNS"] = "200"
    shown = (await used.run("stats", "--by", "day", "--chart", "success")).stdout.decode()
    assert "█" * 40 in shown


async def test_nothing_is_a_sentence(shell):
    assert b"Nothing was sent" in (await shell.run("stats")).stdout
