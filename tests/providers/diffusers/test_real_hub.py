"""What huggingface_hub and diffusers make of a hub that refuses, and what is
made of that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("torch", reason="torch is not installed; make test-diffusers has it")
pytest.importorskip("diffusers", reason="diffusers is not installed; make test-diffusers has it")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and "proxy" not in name.lower()
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.diffusers.hub"],
        cwd=ROOT,
        env={**environ, "HF_HOME": str(tmp_path_factory.mktemp("hub"))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "kind", "retryable", "words"),
    [
        (
            "unknown",
            "ModelNotFoundError",
            False,
            "no such repository or revision, or shows it to others only",
        ),
        ("private", "ModelNotFoundError", False, "HF_TOKEN where it is private"),
        (
            "wrong-token",
            "AuthenticationError",
            False,
            "refuses to give acme/wrong-token (401): look at HF_TOKEN",
        ),
        ("no-such-revision", "ModelNotFoundError", False, "no such repository or revision"),
        (
            "gated",
            "AuthenticationError",
            False,
            "accept its terms at https://huggingface.co/acme/gated",
        ),
        ("broken", "ProviderError", True, "it answers 500"),
        ("closed", "ProviderError", True, "cannot be downloaded from huggingface.co: [Errno"),
    ],
)
def test_a_hub_that_refuses_is_explained(
    told: dict[str, list[object]], name: str, kind: str, retryable: bool, words: str
):
    assert told[name][:2] == [kind, retryable]
    assert words in str(told[name][2])
