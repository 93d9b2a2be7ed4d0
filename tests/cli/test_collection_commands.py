"""`imagen collection` and the filters of `imagen history`, each a process of
its own.
"""

from __future__ import annotations

import pytest


async def test_images_are_put_into_a_collection_by_its_name_its_id_or_a_new_name(shell):
    _, records, _ = await shell.run_json(
        "generate", "a boat", "--model", "sketch", "--size", "64x64"
    )
    image_id = records[0]["id"]
    _, (made,), _ = await shell.run_json("collection", "create", "trip")
    for name in (made["id"], "trip", "new/one"):
        done = await shell.run("collection", "add", name, image_id)
        assert done.returncode == 0, done.stderr
    _, collections, _ = await shell.run_json("collection", "list")
    assert [(one["name"], one["images"]) for one in collections] == [
        ("new", 0),
        ("new/one", 1),
        ("trip", 1),
    ]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00+14:00", "soon"])
async def test_a_moment_that_is_none_is_said_in_a_sentence(shell, moment):
    done = await shell.run("history", "--since", moment)
    assert done.returncode == 2
    assert b"is neither a date" in done.stderr
    assert b"Traceback" not in done.stderr
