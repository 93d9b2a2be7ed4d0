"""What every test needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagen._storage.database import Database
from imagen._system.secret import Secret
from imagen._system.threads import Workers
from tests.support.postgresql import Server, is_installed, running_server


@pytest.fixture(autouse=True)
def no_proxy_around_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The server of this run; without PostgreSQL the test is skipped."""
    if not is_installed():
        pytest.skip("PostgreSQL or psycopg is not installed.")
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine in turn, in place of the SQLite file that a test opens: one
    PostgreSQL schema for each path.
    """
    if request.param == "postgresql":
        use_postgresql(monkeypatch, request.getfixturevalue("postgresql"))
    return request.param


@pytest.fixture
def on_postgresql(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL in place of each SQLite file."""
    use_postgresql(monkeypatch, postgresql)


def use_postgresql(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Open a schema of a server in place of each SQLite file."""
    urls: dict[Path, Secret] = {}

    async def open_other(cls: type[Database], path: Path, workers: Workers) -> Database:
        from imagen._storage.postgresql import PostgresEngine

        if path not in urls:
            urls[path] = Secret(server.new_schema())
        engine = await workers.run_serially(lambda: PostgresEngine(urls[path]))
        return cls(engine, workers)

    monkeypatch.setattr(Database, "open", classmethod(open_other))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL, and leave out what is not run there."""
    left_out = {"sqlite"} if os.environ.get("IMAGEN_LONG") else {"sqlite", "long_on_postgresql"}
    wanted: list[pytest.Item] = []
    for item in items:
        engine = item.callspec.params.get("engine") if hasattr(item, "callspec") else None
        if engine == "postgresql" or "postgresql" in getattr(item, "fixturenames", ()):
            item.add_marker("postgresql")
        if engine != "postgresql" or not left_out & {mark.name for mark in item.iter_markers()}:
            wanted.append(item)
    items[:] = wanted
