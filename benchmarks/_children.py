"""Runs contenders, each in a fresh interpreter and an empty folder."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .server import Server, child_environment, pin_to

__all__ = ["machine", "new_file_seconds", "run_contender"]

_LIMIT_SECONDS = 600
_NEW_FILES = 50


def run_contender(
    module: str, url: str, *options: str, server: Server | None, cores: Sequence[int], folder: Path
) -> dict[str, Any]:
    """The report of one contender, whose files are empty when this returns.

    They are not deleted: ext4 steps over the inodes that were deleted in the last
    minutes one by one, so a contender that deletes makes the next ones slow.
    """
    scratch = tempfile.mkdtemp(dir=folder)
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
    for path in Path(scratch).rglob("*"):
        if path.is_file():
            os.truncate(path, 0)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def new_file_seconds(folder: Path) -> float:
    """Time to create a file there, the median of some, which stay too."""
    times = []
    scratch = tempfile.mkdtemp(dir=folder)
    for number in range(_NEW_FILES):
        start = time.perf_counter()
        os.close(os.open(f"{scratch}/{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


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
