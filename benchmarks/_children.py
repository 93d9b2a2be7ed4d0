"""Runs contenders, each in a fresh interpreter and an empty folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .server import Server, child_environment, pin_to

__all__ = ["machine", "run_contender"]

_LIMIT_SECONDS = 600


def run_contender(
    module: str, url: str, *options: str, server: Server | None, cores: Sequence[int], folder: Path
) -> dict[str, Any]:
    """The report of one contender, whose files are gone when this returns."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [
            sys.executable,
            "-m",
            f"benchmarks.contenders.{module}",
            url,
            "--folder",
            scratch,
            *options,
        ]
        done = subprocess.run(
            command,
            env=child_environment(server),
            preexec_fn=pin_to(cores),
            stdout=subprocess.PIPE,
            timeout=_LIMIT_SECONDS,
            check=True,
        )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def machine() -> str:
    """What to write beside a result."""
    names = [
        line.split(":", 1)[1].strip()
        for line in _read("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return (
        f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python"
        f" {platform.python_version()}"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
