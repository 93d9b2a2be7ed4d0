"""A Redis server of the tests' own, on loopback in a temporary folder."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

_START_SECONDS = 10.0


def is_installed() -> bool:
    """True if a server can be started and spoken to."""
    try:
        import streaq  # noqa: F401
    except ImportError:
        return False
    return shutil.which("redis-server") is not None


class RedisServer:
    """Server that can be killed and started again, and keeps what it holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "appendonly": "yes",
            "save": "",
            "loglevel": "warning",
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(["redis-server", *words], stdout=subprocess.DEVNULL)
        give_up_at = time.monotonic() + _START_SECONDS
        while not self._answers():
            assert time.monotonic() < give_up_at
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False

    def command(self, words: str) -> bytes:
        """Send one command, e.g. FLUSHALL, and return the beginning of the
        reply.
        """
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(words.encode() + b"\r\n")
            return connection.recv(4096)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
