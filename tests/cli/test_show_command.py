"""`imagen show` as a person runs it, for files and for images of the library."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagen.metadata._embed import embed_record
from tests.support.metadata_files import image_bytes, make_record, root_pem, sealed


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "IMAGEN_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, "-m", "imagen", *arguments],
        env=environ | {"PYTHONIOENCODING": "utf-8", "TZ": "WEST8"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def facts(shown: str) -> dict[str, str]:
    return {line[:17].strip(): line[17:] for line in shown.splitlines()}


def test_an_image_and_its_copy_show_the_same(tmp_path):
    made = run(tmp_path, "generate", "a red fox", "--model", "sketch", "--size", "64x64", "--json")
    image = json.loads(made.stdout.splitlines()[0])
    made = run(
        tmp_path, "generate", "a red fox", "--model", "sketch", "--size", "64x64", "--out", "out"
    )
    (copy,) = (tmp_path / "out").iterdir()
    by_id = facts(run(tmp_path, "show", image["id"]).stdout)
    of_file = facts(run(tmp_path, "show", str(copy)).stdout)
    assert by_id["prompt"] == of_file["prompt"] == "a red fox"
    assert by_id["model"] == of_file["model"] == "sketch at sketch"
    assert of_file["record"] == "in the file"
    assert Path(by_id["file"]).read_bytes()


def test_a_sealed_file_says_who_signed_it(tmp_path):
    path = tmp_path / "night.jpeg"
    path.write_bytes(sealed(image_bytes("jpeg"), "jpeg"))
    (tmp_path / "roots.pem").write_text(root_pem())
    shown = facts(run(tmp_path, "show", "night.jpeg").stdout)
    assert shown["provenance"].startswith("valid: ")
    assert (shown["signed by"], shown["claimed by"]) == (
        "Test signer, Test House",
        "Their engine 7",
    )
    assert shown["made by AI"] == "yes, by its manifest"
    shown = facts(run(tmp_path, "show", "night.jpeg", "--trust", "roots.pem").stdout)
    assert shown["provenance"].startswith("trusted: ")
    emitted = json.loads(run(tmp_path, "show", "night.jpeg", "--json").stdout)
    assert (emitted["kind"], emitted["sealed"], emitted["provenance"]["state"]) == (
        "file",
        True,
        "valid",
    )


def test_no_file_can_drive_the_terminal(tmp_path):
    path = tmp_path / "night.png"
    record = make_record("red\x1b[31m\rgone\nsecond line", notes="\x07")
    path.write_bytes(embed_record(image_bytes("png"), record))
    shown = run(tmp_path, "show", "night.png")
    assert shown.returncode == 0
    assert not set(shown.stdout) & {"\x1b", "\r", "\x07"}
    assert "red [31m gone second line" in shown.stdout


def test_a_time_that_no_calendar_here_has_is_shown_as_it_is(tmp_path):
    first_moment = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)
    path = tmp_path / "night.png"
    path.write_bytes(embed_record(image_bytes("png"), make_record(created_at=first_moment)))
    assert facts(run(tmp_path, "show", "night.png").stdout)["made"].startswith("0001-01-01T00:00")


@pytest.mark.parametrize("name", ["beef", "gone.png", "../gone.png", "", "x" * 5000])
def test_what_is_neither_a_file_nor_an_image_is_a_sentence(tmp_path, name):
    shown = run(tmp_path, "show", name)
    assert shown.returncode == 2
    assert "imagen history" in shown.stderr
    assert "Traceback" not in shown.stderr
