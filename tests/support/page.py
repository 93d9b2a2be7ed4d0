"""The page in a browser: its bundle, its server as a process, and Chromium."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FRONT = ROOT / "imagen" / "web" / "frontend"
BUNDLE = ROOT / "imagen" / "web" / "_dist"
AXE = FRONT / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# The machine may be shared by others: a limit for a page that hangs, no measure.
PATIENCE = 30.0


def build_bundle() -> None:
    """Build the bundle if its sources are newer; skip the test without Node."""
    with _alone():
        _build_bundle()


@contextmanager
def _alone() -> Iterator[None]:
    """Let one worker of the tests build at a time."""
    fcntl = pytest.importorskip("fcntl")
    with open(FRONT / ".building", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build_bundle() -> None:
    newest = max(path.stat().st_mtime for path in _sources())
    index = BUNDLE / "sizes.json"
    if index.exists() and index.stat().st_mtime > newest and AXE.exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("The page is not built, and there is no npm to build it.")
    if not AXE.exists():
        subprocess.run([npm, "ci", "--silent"], cwd=FRONT, check=True)
    subprocess.run([npm, "run", "--silent", "build"], cwd=FRONT, check=True)


def _sources() -> Iterator[Path]:
    yield from (path for path in (FRONT / "src").rglob("*") if path.is_file())
    yield from (FRONT / "public").iterdir()
    yield from (FRONT / name for name in ("build.mjs", "package.json", "tsconfig.json"))


class Served:
    """A process that says its address as JSON in its first line."""

    def __init__(self, command: Sequence[str], environ: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.said: dict[str, Any] = json.loads(self._process.stdout.readline())
        # Nothing else is read, and a full pipe would stop it.
        self._drain = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._drain.start()

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait for the end."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._drain.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Site:
    """A home with a page; its models are `sketch` and those of a simulator."""

    def __init__(self, home: Path, keys: dict[str, str], settings: str = "") -> None:
        home.mkdir()
        (home / "imagen.toml").write_text(settings)
        environ = {
            name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")
        }
        self._environ = environ | keys | {"IMAGEN_HOME": str(home), "PYTHONPATH": str(ROOT)}
        self._served: Served | None = None
        self._port = "0"
        self.url = ""

    def start(self) -> None:
        """Serve the page; its address is the same each time."""
        command = [sys.executable, "-m", "imagen", "web", "--json", "--port", self._port]
        self._served = Served(command, self._environ)
        self.url = self._served.said["url"]
        self._port = self.url.split(":")[2].split("/")[0]

    def kill(self) -> None:
        """Kill the server, as a crash does."""
        assert self._served is not None
        self._served.end(signal.SIGKILL)

    def close(self) -> None:
        """End the server, as Ctrl-C does."""
        if self._served is not None:
            self._served.end(signal.SIGINT)


@contextmanager
def open_simulator(*options: str) -> Iterator[dict[str, str]]:
    """Run the simulator; yield the variables that lead to it."""
    served = Served(
        [sys.executable, "-m", "imagen.testing.simulator", "--json", *options],
        os.environ | {"PYTHONPATH": str(ROOT)},
    )
    try:
        yield served.said["env"]
    finally:
        served.end(signal.SIGINT)


def until(found: Callable[[], object], what: str) -> None:
    """Wait until it is true. Playwright's own way needs eval, which our page
    refuses.
    """
    end = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > end:
            pytest.fail(f"It did not happen within {PATIENCE:.0f} seconds: {what}.")
        time.sleep(0.05)
