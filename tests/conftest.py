"""What every test needs."""

from __future__ import annotations

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
    PostgreSQL database for each path.
    """
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        urls: dict[Path, Secret] = {}

        async def open_other(cls: type[Database], path: Path, workers: Workers) -> Database:
            from imagen._storage.postgresql import PostgresEngine

            if path not in urls:
                urls[path] = Secret(server.new_database())
            engine = await workers.run_serially(lambda: PostgresEngine(urls[path]))
            return cls(engine, workers)

        monkeypatch.setattr(Database, "open", classmethod(open_other))
    return request.param
