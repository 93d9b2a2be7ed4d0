"""`imagen tag`, `rate`, `note`, `trash`, `lineage`, `clean`, `library` and
`search`, each a process of its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.support.library import open_shelf
from tests.support.shell import KEPT_KEYS, Shell


async def make(shell: Shell, prompt: str = "a boat", count: int = 1) -> list[str]:
    # One after the other, so that the first to come is the oldest.
    one_by_one = ("-n", str(count), "--max-at-once", "1")
    _, records, _ = await shell.run_json(
        "generate", prompt, *one_by_one, "--model", "sketch", "--size", "64x64"
    )
    return [str(record["id"]) for record in records if record["kind"] == "image"]


async def test_a_backup_is_written_once(shell, tmp_path):
    await make(shell)
    target = tmp_path / "copy.sqlite3"
    status, (record,), _ = await shell.run_json("library", "backup", str(target))
    assert (status, record) == (0, {"kind": "backup", "path": str(target)})
    assert target.read_bytes().startswith(b"SQLite format 3")
    again = await shell.run("library", "backup", str(target))
    assert (again.returncode, b"a file of that name already" in again.stderr) == (2, True)


async def test_what_was_said_of_an_image_is_found_again(shell):
    boat, cat = *await make(shell, "a boat"), *await make(shell, "a cat")
    _, (tagged,), _ = await shell.run_json("tag", boat, "Sea", "Best Of")
    assert (set(tagged), tagged["tags"]) == (KEPT_KEYS, ["best of", "sea"])
    assert (await shell.run("rate", "5", boat[:8], cat[:8])).stdout == b"Rated 2 of 2.\n"
    _, (noted,), _ = await shell.run_json("note", cat, "for the calendar")
    assert (noted["notes"], noted["rating"]) == ("for the calendar", 5)
    for arguments, wanted in (
        (("search", "boat"), [boat]),
        (("search", "calendar", "--min-rating", "5"), [cat]),
        (("history", "--tag", "sea"), [boat]),
        (("history", "--order", "oldest"), [boat, cat]),
        (("search", "boat", "--tag", "other"), []),
    ):
        status, found, _ = await shell.run_json(*arguments)
        assert (status, [record["id"] for record in found]) == (0, wanted)
    _, tags, _ = await shell.run_json("library", "tags")
    assert [(one["name"], one["images"]) for one in tags] == [("best of", 1), ("sea", 1)]
    _, (untagged,), _ = await shell.run_json("tag", boat, "sea", "--remove")
    assert untagged["tags"] == ["best of"]


async def test_a_page_says_how_the_next_one_is_had(shell):
    ids = await make(shell, count=3)
    first = await shell.run("history", "--limit", "2")
    cursor = first.stderr.decode().strip().removeprefix("There are more: --after ")
    _, rest, _ = await shell.run_json("history", "--after", cursor)
    assert len(first.stdout.splitlines()) == 2
    assert [record["id"] for record in rest] == ids[:1]


async def test_the_trash_gives_back_what_deleting_does_not(shell):
    one, other = await make(shell, count=2)
    assert (await shell.run("trash", one)).stdout == b"Moved to the trash.\n"
    _, trashed, _ = await shell.run_json("history", "--trashed")
    assert [record["id"] for record in trashed] == [one]
    assert (await shell.run("restore", one)).stdout == b"Restored.\n"
    refused = await shell.run("delete", one, other)
    assert refused.returncode == 2
    assert b"Nothing was deleted: add --yes" in refused.stderr
    _, deleted, _ = await shell.run_json("delete", one, other, "--yes")
    assert deleted == [{"kind": "deleted", "id": one}, {"kind": "deleted", "id": other}]
    assert b"No images yet" in (await shell.run("history")).stdout


async def test_a_family_is_drawn_as_a_tree(shell):
    (root,) = await make(shell)
    async with open_shelf(shell.home) as shelf:
        child = (await shelf.list_row(prompt="a red boat", parent_id=root)).id
    _, family, _ = await shell.run_json("lineage", child)
    assert [(one["id"], one["depth"]) for one in family] == [(root, 0), (child, 1)]
    drawn = (await shell.run("lineage", root)).stdout.decode().splitlines()
    assert drawn == [f"{root}  generate  a boat  <", f"  {child}  generate  a red boat"]


async def test_cleaning_says_first_what_would_go(shell):
    first, *_ = await make(shell, count=3)
    _, planned, _ = await shell.run_json("clean", "--max-images", "2", "--dry-run")
    assert [(one["action"], one["image_id"], one["rule"], one["dry_run"]) for one in planned] == [
        ("trash", first, "count", True)
    ]
    assert len((await shell.run_json("history"))[1]) == 3
    done = await shell.run("clean", "--max-images", "2")
    assert b"1 image (" in done.stdout
    assert len((await shell.run_json("history"))[1]) == 2
    (shell.home / "imagen.toml").write_text("[cleanup]\nmax_images = 1\n")
    await shell.run("clean")
    assert len((await shell.run_json("history"))[1]) == 1
    _, (size,), _ = await shell.run_json("library", "size")
    assert (size["images"], size["trashed_images"]) == (1, 2)


async def test_what_is_damaged_is_said_and_mended(shell):
    (image_id,) = await make(shell)
    assert b"All is well" in (await shell.run("library", "check")).stdout
    _, (record,), _ = await shell.run_json("show", image_id)
    Path(str(record["path"])).write_bytes(b"damaged")
    found = await shell.run("library", "check")
    assert found.returncode == 1
    assert b"the file is damaged" in found.stdout
    assert b"imagen library check --repair" in found.stdout
    status, (finding,), _ = await shell.run_json("library", "check", "--repair")
    assert (status, finding["finding"], finding["repaired"]) == (
        0,
        "damaged",
        "its image is in the trash",
    )
    assert (await shell.run("library", "check")).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("tag", "0000", "sea"), "There is no image 0000"),
        (("search", "!!"), "There is no word to search for"),
        (("history", "--after", "x"), "Invalid cursor"),
        (("history", "--collection", "nope"), "Unknown collection 'nope'"),
        (("rate", "6", "0000"), "not a whole number from 0 to 5"),
        (("clean", "--max-age-days", "-1"), "not a number from 0 up"),
        (("clean", "--max-images", "many"), "not a whole number"),
    ],
)
async def test_bad_input_is_one_sentence_and_status_2(shell, arguments, sentence):
    done = await shell.run(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


async def test_every_line_of_json_is_one_object(shell):
    (image_id,) = await make(shell, 'a "boat"\nwith \x1b[31m red <b>sails</b>')
    for arguments in (
        ("history",),
        ("search", "boat"),
        ("show", image_id),
        ("lineage", image_id),
        ("library", "size"),
    ):
        done = await shell.run(*arguments, "--json")
        assert all(isinstance(json.loads(line), dict) for line in done.stdout.splitlines())
        shown = await shell.run(*arguments)
        assert b"\x1b" not in shown.stdout + shown.stderr


def spoil(shell: Shell) -> bytes:
    path = shell.home / "imagen.sqlite3"
    data = bytes(100) + path.read_bytes()[100:]
    path.write_bytes(data)
    return data


async def test_a_database_that_cannot_be_read_is_left_alone_without_repair(shell):
    await make(shell)
    data = spoil(shell)
    checked = await shell.run("library", "check")
    assert checked.returncode == 2
    assert b"imagen library check --repair" in checked.stderr
    assert b"is lost" in checked.stderr
    assert (shell.home / "imagen.sqlite3").read_bytes() == data
    assert not list(shell.home.glob("*.damaged-*"))


async def test_a_repair_says_what_is_lost_and_makes_the_database_anew(shell):
    ids = await make(shell, count=2)
    data = spoil(shell)
    repaired = await shell.run("library", "check", "--repair")
    assert repaired.returncode == 0
    (aside,) = shell.home.glob("imagen.sqlite3.damaged-*")
    assert aside.read_bytes() == data
    for lost in (b"renamed", b"not deleted", b"spent", b"attempts", b"tags", b"saved prompts"):
        assert lost in repaired.stderr
    assert repaired.stdout.splitlines()[0].startswith(str(aside).encode())
    _, listed, _ = await shell.run_json("history", "--tag", "recovered")
    assert len(listed) == len(ids)
    again = await shell.run("library", "check", "--repair")
    assert (again.returncode, again.stderr) == (0, b"")
    assert list(shell.home.glob("*.damaged-*")) == [aside]


async def test_a_repair_as_json_names_the_old_database(shell):
    await make(shell)
    spoil(shell)
    status, findings, _ = await shell.run_json("library", "check", "--repair")
    (aside,) = shell.home.glob("imagen.sqlite3.damaged-*")
    assert status == 0
    assert (findings[0]["finding"], findings[0]["path"]) == ("unreadable_database", str(aside))
    assert [one["finding"] for one in findings[1:]] == ["orphan"]


async def test_images_move_to_a_store(shell, tmp_path):
    (boat,) = await make(shell)
    refused = await shell.run("migrate", "images-to-store")
    assert (refused.returncode, b"set IMAGEN_IMAGES_URL" in refused.stderr) == (2, True)
    store = tmp_path / "store"
    shell.environ["IMAGEN_IMAGES_URL"] = store.as_uri()
    assert (await shell.run_json("library", "check"))[1][0]["finding"] == "waiting"
    _, (moved,), _ = await shell.run_json("migrate", "images-to-store")
    assert moved == {"kind": "uploaded", "images": 1}
    assert len([path for path in store.rglob("*") if path.is_file()]) == 1
    assert (await shell.run("library", "check")).returncode == 0
    # On a machine that has no copy yet it is fetched.
    shutil.rmtree(shell.home / "images")
    _, (shown,), _ = await shell.run_json("show", boat)
    assert (shown["problem"], shown["id"]) == (None, boat)
