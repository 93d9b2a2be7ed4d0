"""Kills what a cluster is made of while it makes images, and compares the bill
with the books.

Each run starts a provider that bills on receipt, PostgreSQL, Redis and three
workers, submits sessions, and follows them. On the way a worker is killed, Redis,
PostgreSQL, another worker; one is frozen until others have its work and goes on;
and the queue is emptied. Then each place has one outcome, none was billed twice,
and what was billed is an image or listed as unknown. `--without-fence` takes away
what keeps a frozen worker from going on, and must fail.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import trio
from PIL import Image

import imagen
from imagen.cli import main as run_command
from tests.support.postgresql import Server, running_server
from tests.support.redis_server import RedisServer

from ._children import machine
from .server import free_port

__all__ = ["main"]

_FAULTS = ("worker", "redis", "postgresql", "worker", "freeze", "flush")
_WORKERS = 3
_EACH = 5
_LATENCY = 0.3
_LIMIT_SECONDS = 240
_MODEL = "test-model"
_TOML = f"""
[models.{_MODEL}]
provider = "openai"
price = {{ usd_per_image = "0.04" }}
capabilities = {{ sizes = ["64x64"] }}
"""


# --- the children -------------------------------------------------------------


def serve_provider(port: int) -> None:
    """Bill each order by its prompt when it comes, and answer later."""
    image = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(image, "PNG")
    data = base64.b64encode(image.getvalue()).decode()
    reply = json.dumps({"created": 1, "data": [{"b64_json": data}]}).encode()
    bills: Counter[str] = Counter()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bills[body["prompt"]] += 1
            time.sleep(_LATENCY)
            self._answer(reply)

        def do_GET(self) -> None:
            with lock:
                self._answer(json.dumps(bills).encode())

        def _answer(self, data: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    class ProviderServer(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

    ProviderServer(("127.0.0.1", port), Handler).serve_forever()


def take_fence_out() -> None:
    """Let a client send and number what another one has taken over."""
    from imagen._client import session_store
    from imagen._storage.ledger import Ledger

    async def mark_sent(
        self: Ledger, attempt_ids: Sequence[str], owner: str, now: float, **_: object
    ) -> None:
        sql = "UPDATE attempts SET state = 'sent', sent_at = ? WHERE id = ?"
        await self._database.write([(sql, (now, each)) for each in attempt_ids])

    Ledger.mark_sent = mark_sent  # type: ignore[method-assign, assignment]
    session_store._TOUCH = "UPDATE sessions SET touched_at = ? WHERE id = ? AND ? <> ''"


# --- one run ------------------------------------------------------------------


class Cluster:
    """Servers and workers of one run."""

    def __init__(self, folder: Path, postgresql: Server, chance: random.Random, *, fence: bool):
        self.folder, self.postgresql, self._chance, self._fence = folder, postgresql, chance, fence
        self.database = postgresql.new_database()
        self.redis = RedisServer(folder)
        self.redis.start()
        self._provider_port = free_port()
        self.provider = self._start("provider", str(self._provider_port))
        self.workers: list[subprocess.Popen[bytes]] = []
        # A user each, so that the connections of one can be told.
        for number in range(_WORKERS):
            self._query(f"CREATE ROLE w{number} SUPERUSER LOGIN", may_fail=True)

    def environ(self, user: str) -> dict[str, str]:
        home = self.folder / f"home-{user}"
        home.mkdir(exist_ok=True)
        (home / "imagen.toml").write_text(_TOML)
        return {
            "IMAGEN_HOME": str(home),
            "IMAGEN_DATABASE_URL": self.database.replace("imagen@", f"{user}@"),
            "IMAGEN_QUEUE_URL": self.redis.url,
            "IMAGEN_DEFAULT_MODEL": _MODEL,
            "OPENAI_API_KEY": "sk-x",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{self._provider_port}/v1",
        }

    def settings(self) -> imagen.Settings:
        return imagen.load_settings(self.environ("imagen"))

    def start_worker(self, number: int) -> None:
        options = () if self._fence else ("--without-fence",)
        library = str(self.folder / "images")
        process = self._start("worker", library, *options, env=self.environ(f"w{number}"))
        self.workers[number : number + 1] = [process]

    def _start(self, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / "children.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "benchmarks.cluster", "--role", *words],
                env={**os.environ, **(env or {})},
                cwd=Path(__file__).parents[1],
                stdout=log,
                stderr=log,
            )

    def bills(self) -> Counter[str]:
        url = f"http://127.0.0.1:{self._provider_port}/"
        for _ in range(100):
            with suppress(OSError):
                return Counter(json.load(urllib.request.urlopen(url)))
            time.sleep(0.05)
        raise RuntimeError("The provider does not answer.")

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.database) as connection:
            return connection.execute(sql).fetchall()

    def _query(self, sql: str, *, may_fail: bool = False) -> None:
        may_be = (psycopg.Error,) if may_fail else ()
        with psycopg.connect(self.database, autocommit=True) as connection, suppress(*may_be):
            connection.execute(sql)

    async def disturb(self, fault: str) -> None:
        number = self._chance.randrange(_WORKERS)
        match fault:
            case "worker":
                self.workers[number].kill()
                self.workers[number].wait()
                self.start_worker(number)
            case "redis":
                self.redis.kill()
                await trio.sleep(1)
                self.redis.start()
            case "postgresql":
                self.postgresql.stop()
                await trio.sleep(2)
                self.postgresql.start()
            case "freeze":
                os.kill(self.workers[number].pid, signal.SIGSTOP)
                # Its server has given it up, as after a cut of the network.
                sql = f"pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'w{number}'"
                self._query(f"SELECT {sql}")
                await trio.sleep(12)
                os.kill(self.workers[number].pid, signal.SIGCONT)
            case "flush":
                self.redis.command("FLUSHALL")

    def close(self) -> None:
        for process in (*self.workers, self.provider):
            process.kill()
            process.wait()
        self.redis.kill()


@contextmanager
def cluster(chance: random.Random, *, fence: bool) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="imagen-cluster-") as name, running_server() as server:
        made = Cluster(Path(name), server, chance, fence=fence)
        try:
            yield made
        finally:
            made.close()


async def run_once(images: int, seed: int, faults: Sequence[str], *, fence: bool) -> list[str]:
    """Return what is wrong after one run; empty if nothing is."""
    chance = random.Random(seed)
    order = list(faults)
    chance.shuffle(order)
    with cluster(chance, fence=fence) as made:
        async with imagen.open_client(made.settings(), library=made.folder / "images") as client:
            sessions = [
                await client.submit(f"p{number}", n=_EACH, max_at_once=2)
                for number in range(images // _EACH)
            ]
            for number in range(_WORKERS):
                made.start_worker(number)
            begun, seen = time.perf_counter(), {}
            with trio.move_on_after(_LIMIT_SECONDS) as limit:
                async with trio.open_nursery() as nursery:
                    for session in sessions:
                        nursery.start_soon(_follow, session, seen)
                    nursery.start_soon(_disturb, made, order, sessions, chance)
            seconds = time.perf_counter() - begun
            # A thawed worker has a moment to do what it must not.
            await trio.sleep(3)
            wrong = _compare(made, sessions, timed_out=limit.cancelled_caught)
        delays = _delays(made, sessions, seen)
        outcomes = [outcome for session in sessions for outcome in session.outcomes]
        failed = Counter(o.error.code for o in outcomes if isinstance(o, imagen.Failure))
        print(
            f"seed {seed} ({', '.join(order) or 'undisturbed'}): {len(outcomes)} outcomes in"
            f" {seconds:.0f} s, {sum(made.bills().values())} billed, failures {dict(failed)};"
            f" outcome to follower p50 {statistics.median(delays) * 1000:.1f} ms, p95"
            f" {statistics.quantiles(delays, n=20)[-1] * 1000:.1f} ms; wrong: {len(wrong)}",
            flush=True,
        )
    return wrong


async def _follow(session: imagen.Session, seen: dict[str, float]) -> None:
    while len(session.outcomes) < session.requested and not session.finished:
        await session.wait_changed()
    seen[session.id] = time.time()
    await session.wait_finished()


async def _disturb(
    made: Cluster, faults: Sequence[str], sessions: Sequence[imagen.Session], chance: random.Random
) -> None:
    images = sum(session.requested for session in sessions)
    for place, fault in enumerate(faults, 1):
        share = (place - chance.random() * 0.5) / (len(faults) + 1)
        while sum(len(session.outcomes) for session in sessions) < share * images:  # noqa: ASYNC110
            await trio.sleep(0.05)
        await made.disturb(fault)


def _compare(made: Cluster, sessions: Sequence[imagen.Session], *, timed_out: bool) -> list[str]:
    wrong = ["it did not end in time"] if timed_out else []
    bills = made.bills()
    for number, session in enumerate(sessions):
        billed = bills[f"p{number}"]
        places = sorted(outcome.index for outcome in session.outcomes)
        unknown = sum(failure.error.billed != "no" for _, failure in session.failures)
        if billed > _EACH:
            wrong.append(f"p{number} was billed {billed} times for {_EACH} images")
        if places != list(range(_EACH)):
            wrong.append(f"p{number} is {session.state} with the places {places}")
        if billed > len(session.images) + unknown:
            wrong.append(f"p{number}: {billed} billed, {len(session.images)} images came")
    numbers = made.rows(
        "SELECT session_id FROM session_outcomes GROUP BY session_id, batch_index"
        " HAVING count(*) > 1"
    )
    return wrong + [f"{session_id} has a place twice" for (session_id,) in numbers]


def _delays(
    made: Cluster, sessions: Sequence[imagen.Session], seen: dict[str, float]
) -> list[float]:
    """Seconds from the last outcome of each session to its follower, its commit
    included.
    """
    written = dict(made.rows("SELECT id, touched_at FROM sessions"))
    return [seen[one.id] - float(str(written[one.id])) for one in sessions if one.id in seen]


# --- the command --------------------------------------------------------------


async def _run_all(options: argparse.Namespace) -> int:
    faults = () if options.undisturbed else _FAULTS
    failures = 0
    for seed in options.seeds:
        wrong = await run_once(options.images, seed, faults, fence=not options.without_fence)
        failures += bool(wrong)
        print(*wrong[:10], sep="\n", flush=True)
    return failures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--without-fence", action="store_true", help="must fail")
    parser.add_argument("--undisturbed", action="store_true", help="no faults: for the times")
    parser.add_argument("--role", nargs=2, metavar=("ROLE", "ARGUMENT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.role is None:
        print(f"{machine()}; {options.images} images\n", flush=True)
        raise SystemExit(trio.run(partial(_run_all, options)))
    role, argument = options.role
    if role == "provider":
        serve_provider(int(argument))
    if options.without_fence:
        take_fence_out()
    _use_library(argument)
    raise SystemExit(run_command(["worker"]))


def _use_library(folder: str) -> None:
    """Workers of all machines see one folder of images."""
    from imagen.cli._commands import worker

    worker.open_client = partial(imagen.open_client, library=folder)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
