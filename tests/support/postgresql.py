"""A PostgreSQL server of the tests' own, on loopback in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_START_SECONDS = 30.0


@cache
def tool(name: str) -> str | None:
    """The path of a program of the server; None if it is not installed."""
    return shutil.which(name, path=os.pathsep.join([*map(str, _FOLDERS), os.environ["PATH"]]))


def is_installed() -> bool:
    """True if a server can be started and spoken to."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return False
    return tool("initdb") is not None and tool("postgres") is not None


def _account() -> dict[str, object]:
    """The account for a server, which refuses to run as root."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Server:
    """Server that can be stopped and started again."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        self._fsync = "on" if fsync else "off"
        self._data = folder / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._databases = self._schemas = 0
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [tool("initdb"), "-D", self._data, "-U", "imagen", "-A", "trust", "-E", "UTF8", "-N"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **_account(),
        )

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": self._fsync,
            "max_connections": 60,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [tool("postgres"), "-D", self._data, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._data,
            **_account(),
        )
        self._wait()

    def _wait(self) -> None:
        import psycopg

        give_up_at = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.05)
            else:
                return

    @property
    def runs(self) -> bool:
        return self._process is not None

    def stop(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            # Immediate: no waiting for those that are connected.
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def url(self, name: str) -> str:
        return f"postgresql://imagen@127.0.0.1:{self.port}/{name}"

    def new_database(self) -> str:
        """Create an empty database and return its url."""
        import psycopg

        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def new_schema(self) -> str:
        """Create an empty schema and return the url of a database that has only
        this one: half the time of a database.
        """
        import psycopg

        self._schemas += 1
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA test_{self._schemas}")
        return f"{self.url('postgres')}?options=-csearch_path%3Dtest_{self._schemas}"


@contextmanager
def running_server(*, fsync: bool = False) -> Iterator[Server]:
    """Start a server for as long as the block lasts; one that a power cut may
    harm unless `fsync`.
    """
    folder = Path(tempfile.mkdtemp(prefix="imagen-postgresql-"))
    try:
        if account := _account():
            os.chown(folder, account["user"], account["group"])
        server = Server(folder, fsync=fsync)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
