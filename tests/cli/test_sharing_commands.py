"""`imagen export`, `import` and `share`, as a person runs them."""

from __future__ import annotations

import os
import sys
import zipfile

import pytest

from imagen.cli._console import Console
from tests.support.images import png
from tests.support.sharing import zip_of
from tests.support.shell import Shell


async def make(shell: Shell, count: int = 1, prompt: str = "a boat") -> list[str]:
    arguments = ("--model", "sketch", "--size", "64x64", "-n", str(count))
    status, records, _ = await shell.run_json("generate", prompt, *arguments)
    assert status == 0
    return [str(record["id"]) for record in records if record["kind"] == "image"]


async def test_a_library_goes_out_and_comes_back_into_another_home(shell, tmp_path):
    ids = await make(shell, 2)
    await shell.run("tag", ids[0], "sea")
    await shell.run("collection", "add", "boats", *ids)
    path = tmp_path / "all.zip"
    done = await shell.run("export", "--all", "--out", str(path))
    assert (done.returncode, done.stdout.decode()[:10]) == (0, "2 images, ")
    other = Shell(tmp_path / "other")
    done = await other.run("import", str(path), "--trusted")
    assert (done.returncode, done.stdout.decode()) == (0, f"{path}: 2 images added.\n")
    done = await other.run("import", str(path))
    assert done.stdout.decode() == f"{path}: 0 images added, 2 were there already.\n"
    _, records, _ = await other.run_json("collection", "show", "boats")
    assert [record["id"] for record in records] == ids
    assert [record["tags"] for record in records] == [["sea"], []]
    assert (await other.run("library", "check")).returncode == 0


async def test_what_is_exported_is_named_one_way(shell, tmp_path):
    ids = await make(shell, 2)
    await shell.run("collection", "add", "boats", ids[1])
    status, (record,), _ = await shell.run_json("export", ids[0], "--out", "one.zip", "--public")
    assert (status, record["kind"], record["images"], record["left_out"]) == (0, "export", 1, [])
    assert record["size_bytes"] == (shell.home / "one.zip").stat().st_size
    _, (record,), _ = await shell.run_json("export", "--collection", "boats", "--out", "boats.zip")
    assert record["images"] == 1
    with zipfile.ZipFile(shell.home / "boats.zip") as archive:
        assert [ids[1] in name for name in archive.namelist() if name.startswith("pictures/")] == [
            True
        ]
    for arguments in ((), (ids[0], "--all"), (ids[0], "--collection", "boats")):
        done = await shell.run("export", *arguments, "--out", "x.zip")
        assert (done.returncode, b"Say which images" in done.stderr) == (2, True)


async def test_what_was_not_taken_in_is_said_and_is_the_exit_status(shell):
    (shell.home / "theirs.zip").write_bytes(
        zip_of({"a.png": b"none\x1b[2J", "b\x1b.png": b"", "c.png": png()})
    )
    done = await shell.run("import", "theirs.zip")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [
        "theirs.zip: 1 image added.",
        "Not taken:",
        "  a.png is not a PNG, JPEG, WebP, GIF or SVG image.",
        "  b\ufffd.png is not a PNG, JPEG, WebP, GIF or SVG image.",
    ]
    status, (record,), _ = await shell.run_json("import", "theirs.zip")
    assert (status, record["kind"], record["added"], record["already_there"]) == (1, "import", 0, 1)
    assert [refusal["name"] for refusal in record["refused"]] == ["a.png", "b\ufffd.png"]
    done = await shell.run("import", "nothing.zip")
    assert (done.returncode, b"nothing.zip cannot be read" in done.stderr) == (2, True)


async def test_links_are_made_listed_and_taken_back(shell):
    shell.environ |= {
        "IMAGEN_SHARE_SECRET": "a-secret-of-this-test",
        "IMAGEN_SHARE_URL": "https://images.example/look",
    }
    (image_id,) = await make(shell)
    await shell.run("collection", "add", "boats", image_id)
    done = await shell.run("share", image_id[:8], "--expires", "12h")
    assert done.returncode == 0
    url = done.stdout.decode().strip()
    assert url.startswith("https://images.example/look/")
    status, (made,), _ = await shell.run_json("share", "--collection", "boats")
    assert (status, made["kind"], made["image_id"]) == (0, "share", None)
    assert made["url"] == f"https://images.example/look/{made['token']}"
    _, shares, _ = await shell.run_json("share", "--list")
    assert [share["url"] for share in shares] == [made["url"], url]
    done = await shell.run("share", "--list")
    assert url in done.stdout.decode()
    done = await shell.run("share", "--revoke", str(shares[1]["id"]))
    assert (done.returncode, done.stdout) == (0, b"Taken back.\n")
    assert (await shell.run("share", "--revoke", str(shares[1]["id"]))).returncode == 2
    _, shares, _ = await shell.run_json("share", "--list")
    assert [share["id"] for share in shares] == [made["id"]]


async def test_what_is_missing_for_a_link_is_said(shell):
    (image_id,) = await make(shell)
    done = await shell.run("share", image_id)
    assert (done.returncode, b"set IMAGEN_SHARE_SECRET" in done.stderr) == (2, True)
    shell.environ["IMAGEN_SHARE_SECRET"] = "a-secret-of-this-test"
    done = await shell.run("share", image_id)
    assert (done.returncode, len(done.stdout.strip()), b"set IMAGEN_SHARE_URL" in done.stderr) == (
        0,
        60,
        True,
    )
    for arguments in ((), (image_id, "--list"), (image_id, "--expires", "soon")):
        assert (await shell.run("share", *arguments)).returncode == 2


def test_the_name_of_a_file_does_not_drive_the_terminal_while_it_is_read(capsys, monkeypatch):
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((80, 24)))
    console = Console(json=False)
    console.shows_live = True
    monkeypatch.setattr(sys.stderr, "fileno", lambda: 2)
    console.live("\x1b]0;owned\x07.zip: 3 images looked at")
    assert capsys.readouterr().err == "\r\x1b[K ]0;owned .zip: 3 images looked at"


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"no image"}])
async def test_an_archive_without_an_image_is_no_success(shell, files):
    (shell.home / "theirs.zip").write_bytes(zip_of(files))
    done = await shell.run("import", "theirs.zip")
    assert (done.returncode, done.stdout.decode().splitlines()[0]) == (
        1,
        "theirs.zip: there is no image in it.",
    )
    status, (record,), _ = await shell.run_json("import", "theirs.zip")
    assert (status, [one["name"] for one in record["ignored"]]) == (1, list(files))
