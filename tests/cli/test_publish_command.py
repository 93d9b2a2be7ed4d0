"""`imagen publish`, as a person runs it; the store is a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.shell import Shell


def use_folder(shell: Shell, **more: str) -> Path:
    folder = shell.home / "bucket"
    lines = {"url": folder.as_uri(), "public_url": "https://cdn.example.com", **more}
    (shell.home / "imagen.toml").write_text(
        "[store]\n" + "".join(f'{name} = "{value}"\n' for name, value in lines.items())
    )
    return folder


async def make(shell: Shell, count: int = 1) -> list[str]:
    arguments = ("--model", "sketch", "--size", "square", "-n", str(count))
    status, records, _ = await shell.run_json("generate", "a boat", *arguments)
    assert status == 0
    return [str(record["id"]) for record in records if record["kind"] == "image"]


async def test_images_are_published_listed_and_taken_away(shell):
    folder = use_folder(shell)
    ids = await make(shell, 2)
    assert not list(folder.rglob("*.png"))
    status, records, _ = await shell.run_json("publish", *ids)
    assert status == 0
    assert [(record["id"], record["state"]) for record in records] == [
        (one, "published") for one in ids
    ]
    files = sorted(folder.rglob("*.png"))
    assert sorted(str(record["url"]).rpartition("/")[2] for record in records) == [
        path.name for path in files
    ]
    done = await shell.run("publish", "--status")
    assert "published  2" in done.stdout.decode()
    done = await shell.run("publish", "--unpublish", ids[0])
    assert done.stdout.decode() == f"removed    {ids[0]}\n"
    assert len(list(folder.rglob("*.png"))) == 1
    status, records, _ = await shell.run_json("publish", "--status")
    assert (status, records[0]["published"], records[0]["removed"]) == (0, 1, 1)


async def test_all_images_or_those_of_every_new_batch_are_published(shell):
    folder = use_folder(shell)
    await make(shell, 2)
    done = await shell.run("publish", "--all")
    assert done.returncode == 0
    assert done.stdout.count(b"published") == 2
    use_folder(shell, publish="always")
    await make(shell)
    assert len(list(folder.rglob("*.png"))) == 3


async def test_a_failure_is_said_and_is_the_exit_status(shell):
    folder = use_folder(shell)
    (one,) = await make(shell)
    next((shell.home / "images").rglob("*.png")).write_bytes(b"damaged")
    status, records, _ = await shell.run_json("publish", one)
    assert (status, records[0]["state"]) == (1, "failed")
    assert "damaged" in str(records[0]["message"])
    done = await shell.run("publish", "--status")
    assert b"failed     The file of the image is damaged" in done.stdout
    status, records, _ = await shell.run_json("publish", "--status")
    assert records[1]["state"] == "failed"
    assert not list(folder.rglob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Say which images"),
        (("3f2a", "--all"), "not by both"),
        (("3f2a",), "There is no image 3f2a"),
        (("--unpublish", "3f2a"), "There is no image 3f2a"),
    ],
)
async def test_what_makes_no_sense_is_said_in_a_sentence(shell, arguments, sentence):
    use_folder(shell)
    done = await shell.run("publish", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr.decode()


async def test_without_a_store_the_sentence_says_what_to_set(shell):
    done = await shell.run("publish", "--status")
    assert done.returncode == 2
    assert "set IMAGEN_STORE_URL" in done.stderr.decode()
