"""`imagen replay` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "IMAGEN_HOME": str(tmp_path / "home"),
        "HOME": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, "-m", "imagen", *arguments],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_image_is_made_again_and_compared(tmp_path):
    made = run(tmp_path, "generate", "a red fox", "--model", "sketch", "--size", "64x64", "--json")
    image = json.loads(made.stdout.splitlines()[0])
    again = run(tmp_path, "replay", image["id"], "--out", "out")
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == "The files are the same."
    assert len(list((tmp_path / "out").iterdir())) == 1
    other = run(tmp_path, "replay", image["id"][:10], "--seed", "5", "--json")
    decoded, comparison = (json.loads(line) for line in other.stdout.splitlines())
    assert (decoded["kind"], decoded["seed"]) == ("image", 5)
    assert comparison == {
        "kind": "replay",
        "of": image["id"],
        "same_bytes": False,
        "differences": [{"field": "seed", "before": str(image["seed"]), "after": "5"}],
    }


def test_an_image_that_is_not_there_is_a_sentence(tmp_path):
    done = run(tmp_path, "replay", "beef")
    assert done.returncode == 2
    assert "no image beef" in done.stderr
