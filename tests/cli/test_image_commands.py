"""`imagen transform`, `sheet` and `similar`, each a process of its own."""

from __future__ import annotations

import json
import os

import pytest

from tests.support.drawings import decoded, encoded, halves
from tests.support.shell import Shell


async def make(shell: Shell, *prompts: str) -> list[str]:
    """Images of the sketch engine: their ids."""
    ids = []
    for prompt in prompts:
        status, records, _ = await shell.run_json(
            "generate", prompt, "--model", "sketch", "--size", "square", "--seed", "5"
        )
        assert status == 0
        ids.append(next(str(record["id"]) for record in records if record["kind"] == "image"))
    return ids


async def test_an_image_of_the_library_and_a_file_are_transformed(shell):
    (one,) = await make(shell, "a boat")
    status, records, _ = await shell.run_json(
        "transform",
        one,
        "--out",
        "small.webp",
        "--width",
        "100",
        "--height",
        "60",
        "--fit",
        "cover",
    )
    data = (shell.home / "small.webp").read_bytes()
    assert (status, records) == (
        0,
        [{"kind": "file", "path": "small.webp", "size_bytes": len(data)}],
    )
    assert (decoded(data).format, decoded(data).size) == ("WEBP", (100, 60))
    (shell.home / "own.png").write_bytes(encoded(halves((64, 32))))
    done = await shell.run(
        "transform", "own.png", "--out", "turned.jpg", "--crop", "0,0,32,32", "--rotate", "90"
    )
    assert done.returncode == 0
    assert done.stdout.startswith(b"turned.jpg  ")
    assert decoded((shell.home / "turned.jpg").read_bytes()).size == (32, 32)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("missing", "--out", "a.png"), "There is no image and no file missing"),
        (("own.png", "--out", "a.bmp"), "a.bmp must end in .png"),
        (("own.png", "--out", "no/folder/a.png"), "cannot be written"),
        (("own.png", "--out", "a.png", "--crop", "0,0,999,1"), "exceeds the image"),
        (("own.png", "--out", "a.png", "--crop", "all"), "is not X,Y,WIDTH,HEIGHT"),
        (("text.png", "--out", "a.png"), "expected PNG, JPEG, WebP, GIF or SVG"),
    ],
)
async def test_what_cannot_be_transformed_is_said_in_a_sentence(shell, arguments, sentence):
    (shell.home / "own.png").write_bytes(encoded(halves()))
    (shell.home / "text.png").write_text("no image")
    done = await shell.run("transform", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert not (shell.home / "a.png").exists()


async def test_a_sheet_of_images_is_drawn(shell):
    ids = await make(shell, "a boat", "a tree")
    arguments = ("--out", "sheet.png", "--side", "100", "--columns", "1", "--captions", "prompt")
    status, records, _ = await shell.run_json("sheet", *ids, *arguments)
    assert status == 0
    assert records[0]["kind"] == "file"
    sheet = decoded((shell.home / "sheet.png").read_bytes())
    assert sheet.height > 2 * 100
    assert (await shell.run("sheet", ids[0], "--out", "sheet.webp")).returncode == 2


async def test_images_that_look_like_one_are_listed_and_so_are_groups(shell):
    boat, _, again = await make(shell, "a boat", "a red tree on a hill", "a boat")
    status, records, _ = await shell.run_json("similar", boat)
    assert status == 0
    assert [(record["kind"], record["id"], record["distance"]) for record in records] == [
        ("similar", again, 0)
    ]
    await shell.run("transform", boat, "--out", "small.png", "--width", "300")
    status, records, _ = await shell.run_json("similar", "small.png", "--limit", "1")
    assert status == 0
    assert len(records) == 1
    assert records[0]["id"] in (boat, again)
    status, records, _ = await shell.run_json("similar", "--groups")
    assert (status, records) == (0, [{"kind": "group", "ids": [again, boat]}])
    assert (await shell.run("similar")).returncode == 2


@pytest.mark.parametrize("command", [("similar",), ("transform", "--out", "x.png")])
async def test_a_name_that_no_file_can_have_is_no_image(shell, command):
    done = await shell.run(*command, "a" * 300)
    assert done.returncode == 2
    assert b"There is no image and no file" in done.stderr
    assert b"Traceback" not in done.stderr


async def test_a_folder_whose_name_is_no_text_is_told_all_the_same(shell):
    folder = os.fsdecode(os.fsencode(shell.home) + b"/d\xff")
    done = await shell.run(
        "generate", "a boat", "--model", "sketch", "--size", "64x64", "--json", "--out", folder
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["kind"] for record in records] == ["image", "summary"]
    assert os.path.isfile(records[0]["path"])
