"""The command as a process, against the simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from imagen.testing.simulator import (
    Simulator,
    open_simulator,
)
from tests.support.paths import ROOT

IMAGE_KEYS = {
    "kind",
    "index",
    "id",
    "path",
    "media_type",
    "width",
    "height",
    "size_bytes",
    "model",
    "provider",
    "operation",
    "parent_id",
    "seed",
    "revised_prompt",
    "cost_usd",
    "cost_source",
    "seconds",
    "adjustments",
    "cached",
}


FAILURE_KEYS = {"kind", "index", "code", "message", "retryable", "billed", "model", "provider"}


KEPT_KEYS = IMAGE_KEYS | {"prompt", "created_at", "sha256", "tags", "rating", "notes", "trashed"}


SUMMARY_KEYS = {"kind", "requested", "succeeded", "failed", "cost_usd", "seconds"}


FOUR_CENTS = (
    '[models.four-cents]\nlike = "gpt-image-2"\nwire_name = "gpt-image-2"\nprice = { usd_per_image'
    ' = "0.04" }\n'
)


class Shell:
    """Runs `imagen` in a home of its own, with no setting of the machine's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "IMAGEN_HOME": str(home),
            "HOME": str(home),
            "COLUMNS": "100",
        }
        home.mkdir(parents=True, exist_ok=True)

    def use(self, simulator: Simulator) -> None:
        self.environ |= {
            "OPENAI_BASE_URL": simulator.base_url("openai"),
            "OPENAI_API_KEY": simulator.key,
            "NEXOS_API_BASE_URL": simulator.base_url("nexos"),
            "NEXOS_API_KEY": simulator.key,
        }
        (self.home / "imagen.toml").write_text(FOUR_CENTS)

    async def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        with trio.fail_after(30):
            done = await trio.run_process(
                [sys.executable, "-m", "imagen", *arguments],
                env=self.environ,
                cwd=self.home,
                stdin=stdin,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return done

    async def run_json(self, *arguments: str) -> tuple[int, list[dict[str, object]], str]:
        done = await self.run(*arguments, "--json")
        return (
            done.returncode,
            [json.loads(line) for line in done.stdout.splitlines()],
            done.stderr.decode(),
        )


@asynccontextmanager
async def simulated(shell: Shell, **options: object) -> AsyncIterator[Simulator]:
    async with open_simulator(image_bytes=2000, **options) as simulator:
        shell.use(simulator)
        yield simulator
