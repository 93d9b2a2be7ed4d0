"""Kills a process that spends money, again and again, and checks that nothing
is lost and nothing is paid twice.

Each run starts a simulator and, in a process of its own, a client that makes a
dozen images with several models at once. The process dies by SIGKILL, at a
random moment or at a chosen step of the journal; now and then the process that
takes up its work dies too. Then this process takes it up, and the bill, the
ledger and the library have to agree.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import random
import re
import signal
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from decimal import Decimal
from functools import partial
from pathlib import Path

import msgspec
import trio

import imagen
from imagen.providers import PROVIDERS
from imagen.testing.simulator import Received, Simulator, open_simulator
from tests.support.postgresql import running_server

from ._children import machine
from .crash_child import JOURNAL_STEPS, Task, finish

__all__ = ["Plan", "Report", "between_images", "main", "one_of_each", "plans", "run_once"]

# Three whose jobs another process can collect, and two that answer at once;
# each image has one price.
MODELS = (
    "flux-dev",
    "fal/flux-dev",
    "replicate/flux-dev",
    "stable-image-core",
    "grok-imagine-image",
)
_SEEDLESS = "grok-imagine-image"
_REQUESTS = 12
_LATENCY = (0.05, 0.3)
_QUICK = """
[providers.bfl.settings]
poll_seconds = 0.02
[providers.fal.settings]
poll_seconds = 0.02
[providers.replicate.settings]
poll_seconds = 0.02
"""
_STEPS = (
    *(
        (step, when)
        for step in JOURNAL_STEPS
        if step != "take_over"
        for when in ("before", "after")
    ),
    *((step, when) for step in ("store", "replace") for when in ("before", "after")),
    ("write", "half"),
)
_LATER_STEPS = (*_STEPS, ("take_over", "before"), ("take_over", "after"))
_LIMIT_SECONDS = 60.0
# From its start, all imported; undisturbed it lives about as long as the
# longest.
_LIFE_SECONDS = (0.05, 0.9)
_SEED = re.compile(rb'seed"(?::|\r\n\r\n)\s*(\d+)')
_PROMPT = re.compile(r"image-\d+")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run: when the first process dies, perhaps when the second does, and
    what they do.
    """

    number: int
    death: str
    second_death: str | None
    task: Task


class Report(msgspec.Struct, kw_only=True):
    """What one run, or several, came to. `wrong` says in words what should not
    be.
    """

    runs: int = 0
    killed: int = 0
    billed: int = 0
    images: int = 0
    collected: int = 0
    adopted: int = 0
    unknown: int = 0
    billed_twice: int = 0
    wrong: list[str] = []

    def add(self, other: Report) -> None:
        """Sums up."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt as it stands on the disk."""

    id: str
    batch_id: str | None
    first_index: int
    images: int
    state: str
    request: str
    remote_id: str | None
    receipt: str | None
    reserved_nanousd: int | None
    settled_nanousd: int | None

    @property
    def mark(self) -> str:
        """What its request can be known by: the seed, or where the model has
        none, the prompt.
        """
        request = msgspec.json.decode(self.request, type=imagen.Generate)
        return str(request.seed) if request.seed is not None else request.prompt

    @property
    def is_charged(self) -> bool:
        return self.state == "unknown" or bool(self.settled_nanousd)


# --- plans --------------------------------------------------------------------


def plans(runs: int, seed: int) -> Iterator[Plan]:
    """Half of the runs end at a random moment, half at a step of the journal,
    each of them in turn.
    """
    steps = itertools.cycle(_STEPS)
    for number in range(runs):
        chance = random.Random(f"{seed}/{number}")
        second = _at(chance, chance.choice(_LATER_STEPS), most=2) if chance.random() < 0.3 else None
        if number % 2:
            death = f"after {chance.uniform(*_LIFE_SECONDS):.3f}"
            yield Plan(
                number=number,
                death=death,
                second_death=second,
                task=_task(chance, sessions=chance.random() < 0.4),
            )
        else:
            yield _at_step(number, chance, next(steps), second)


def one_of_each(seed: int) -> Iterator[Plan]:
    """One run for each step at which the first process can die, and two in
    which the second dies taking up its work.
    """
    second_deaths = ("take_over before 1", "take_over after 1")
    deaths = [
        *((step, None) for step in _STEPS),
        *((("mark_accepted", "after"), death) for death in second_deaths),
    ]
    for number, (step, second) in enumerate(deaths):
        yield _at_step(number, random.Random(f"{seed}/{number}"), step, second)


def between_images() -> Iterator[Plan]:
    """Runs that end when the first of three images of one request has its file,
    of a job and of an answer at once.
    """
    for number, model in enumerate(("replicate/flux-dev", _SEEDLESS)):
        request = imagen.Generate(prompt="image-0", model=model)
        task = Task(sessions=(request,), together=True)
        yield Plan(number=number, death="store before 2", second_death=None, task=task)


def _at_step(
    number: int, chance: random.Random, step: tuple[str, str], second: str | None = None
) -> Plan:
    # Only sessions number their outcomes.
    task = _task(chance, sessions=step[0] == "add_outcome" or chance.random() < 0.4)
    return Plan(number=number, death=_at(chance, step), second_death=second, task=task)


def _at(chance: random.Random, step: tuple[str, str], *, most: int = 3) -> str:
    return f"{step[0]} {step[1]} {chance.randint(1, most)}"


def _task(chance: random.Random, *, sessions: bool) -> Task:
    seeds = iter(chance.sample(range(10**6), _REQUESTS))
    if sessions:
        together = chance.random() < 0.5
        # Its requests have no seed to tell one from the other.
        models = [model for model in MODELS if together or model != _SEEDLESS]
        requests = (
            imagen.Generate(prompt=f"image-{number}", model=model)
            for number, model in enumerate(models)
        )
        return Task(sessions=tuple(requests), together=together)
    models = [model for _, model in zip(range(_REQUESTS), itertools.cycle(MODELS), strict=False)]
    chance.shuffle(models)
    return Task(
        requests=tuple(
            imagen.Generate(
                prompt=f"image-{number}",
                model=model,
                seed=None if model == _SEEDLESS else next(seeds),
            )
            for number, model in enumerate(models)
        )
    )


# --- one run ------------------------------------------------------------------


class _Home(msgspec.Struct, frozen=True):
    """Folder of a home, and its PostgreSQL database if it is not SQLite's."""

    folder: Path
    database_url: str | None

    @property
    def environ(self) -> dict[str, str]:
        """The variables that lead to it."""
        url = {} if self.database_url is None else {"IMAGEN_DATABASE_URL": self.database_url}
        return {"IMAGEN_HOME": str(self.folder), **url}

    def query(self, sql: str) -> Sequence[Sequence[object]]:
        """Return rows; none if the process died before there was a table."""
        if self.database_url is not None:
            return _query_postgresql(self.database_url, sql)
        file = self.folder / "imagen.sqlite3"
        if not file.exists():
            return []
        with closing(sqlite3.connect(file)) as connection, suppress(sqlite3.OperationalError):
            return connection.execute(sql).fetchall()
        return []


def _query_postgresql(url: str, sql: str) -> Sequence[Sequence[object]]:
    import psycopg

    with psycopg.connect(url) as connection, suppress(psycopg.errors.UndefinedTable):
        return connection.execute(sql.encode()).fetchall()
    return []


async def run_once(plan: Plan, database_url: str | None = None) -> Report:
    """Lets a process die, perhaps a second one, takes up its work, and says
    what is wrong then. `database_url` is that of an empty PostgreSQL database.
    """
    with tempfile.TemporaryDirectory(prefix="imagen-crash-") as name:
        home = _Home(Path(name), database_url)
        (home.folder / "imagen.toml").write_text(_QUICK)
        async with open_simulator(
            latency=_LATENCY, seed=plan.number, image_bytes=20_000
        ) as simulator:
            environ = _environ(simulator, home)
            with trio.fail_after(_LIMIT_SECONDS):
                killed = await _run_child(environ, plan.task, plan.death)
                if plan.second_death is not None:
                    await _run_child(environ, Task(), plan.second_death, *_session_ids(home))
                before = _rows(home)
                async with imagen.open_client(imagen.load_settings(environ)) as client:
                    await finish(client, _session_ids(home))
                    report = await _check(client, simulator, home, plan.task)
        report.runs, report.killed = 1, int(killed)
        ended = {row.id: row.state for row in _rows(home)}
        succeeded = [row for row in before if ended.get(row.id) == "succeeded"]
        report.adopted = sum(
            row.state != "succeeded" and row.receipt is not None for row in succeeded
        )
        report.collected = sum(row.state == "accepted" and row.receipt is None for row in succeeded)
        report.wrong = [
            f"run {plan.number} ({plan.death}; {plan.second_death}): {text}"
            for text in report.wrong
        ]
        return report


def _environ(simulator: Simulator, home: _Home) -> dict[str, str]:
    environ = home.environ
    for provider in PROVIDERS.values():
        if provider.name in ("bfl", "fal", "replicate", "stability", "xai"):
            assert provider.base_url_variable is not None
            environ |= {provider.base_url_variable: simulator.base_url(provider.name)}
            environ |= {provider.key_variables[0]: simulator.key}
    return environ


async def _run_child(environ: Mapping[str, str], task: Task, death: str, *session_ids: str) -> bool:
    """Runs a process to its end; whether that was a violent one."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.crash_child",
        msgspec.json.encode(task).decode(),
        *session_ids,
    ]
    done = await trio.run_process(
        command,
        env={**os.environ, **environ, "IMAGEN_CRASH": death},
        cwd=Path(__file__).parents[1],
        capture_stderr=True,
        check=False,
    )
    if done.returncode not in (0, -signal.SIGKILL):
        raise RuntimeError(done.stderr.decode())
    return done.returncode != 0


def _rows(home: _Home) -> list[_Row]:
    names = _Row.__struct_fields__
    rows = home.query(f"SELECT {', '.join(names)} FROM attempts")
    return [msgspec.convert(dict(zip(names, row, strict=True)), _Row) for row in rows]


def _session_ids(home: _Home) -> list[str]:
    return [str(session_id) for (session_id,) in home.query("SELECT id FROM sessions")]


# --- the checks ---------------------------------------------------------------


async def _check(client: imagen.Client, simulator: Simulator, home: _Home, task: Task) -> Report:
    """The bill, the ledger and the library, request by request."""
    rows = _rows(home)
    spending = await client.spending()
    images = await client.library.list(limit=1000)
    unknown = {attempt.id for attempt in await client.unknown_attempts()}
    report = Report(billed=len(simulator.bills), images=len(images), unknown=len(unknown))
    say = report.wrong.append
    if client.in_flight or spending.attempts.in_flight or spending.reserved_usd:
        say(f"{spending.attempts.in_flight} attempts are in flight at the end")
    if spending.settled_usd + spending.unknown_usd < simulator.billed_usd:
        say(
            f"billed {simulator.billed_usd}, and {spending.settled_usd} settled,"
            f" {spending.unknown_usd} unknown"
        )
    report.wrong += _check_bills(
        simulator, rows, unknown, Counter(image.attempt_id for image in images)
    )
    report.wrong += _check_polls(simulator, rows)
    report.wrong += _check_files(home.folder / "images", images)
    twice = _paid_twice(simulator, rows)
    report.billed_twice = len(twice)
    report.wrong += twice
    for session_id in _session_ids(home):
        session = await client.sessions.get(session_id)
        found = sorted(outcome.index for outcome in session.outcomes)
        if found != list(range(task.n)) or session.error is not None:
            say(f"session {session_id} is {session.state} with outcomes {found}: {session.error}")
    return report


def _check_bills(
    simulator: Simulator, rows: Sequence[_Row], unknown: set[str], images: Mapping[str, int]
) -> Iterator[str]:
    """What was billed has an attempt each, with exactly its cost, and its
    images or a place among the unknown.
    """
    by_mark = {row.mark: row for row in rows if row.is_charged}
    for bill in simulator.bills:
        row = by_mark.pop(_mark(simulator.received[bill.number]), None)
        if row is None:
            yield f"a request to {bill.provider} was billed, and no attempt is charged"
        elif (
            row.settled_nanousd is not None and Decimal(row.settled_nanousd).scaleb(-9) != bill.usd
        ):
            yield (
                f"{bill.model} billed {bill.usd}, and {row.settled_nanousd} nanodollars are settled"
            )
        elif (
            row.settled_nanousd is None and Decimal(row.reserved_nanousd or 0).scaleb(-9) < bill.usd
        ):
            yield f"{bill.model} billed {bill.usd}, and less is reserved"
        elif row.id not in unknown and (row.state, images[row.id]) != ("succeeded", bill.images):
            yield (
                f"{bill.model} billed {bill.images} images; {images[row.id]} are there, and it is"
                f" {row.state}"
            )
        elif row.id in unknown and row.remote_id is not None:
            yield f"the job {row.remote_id} of {bill.model} was accepted, and not collected"
    for row in by_mark.values():
        if row.state != "unknown":
            yield f"attempt {row.id} is {row.state} and charged, and nothing was billed"


def _check_polls(simulator: Simulator, rows: Sequence[_Row]) -> Iterator[str]:
    """A job that was asked for once is known to the ledger, so that it is never
    asked for in vain.
    """
    known = [row.remote_id for row in rows if row.remote_id is not None]
    for received in simulator.received:
        if received.kind == "poll" and not any(
            job in f"{received.path}?{received.query}" for job in known
        ):
            yield f"{received.path} was asked for, and is not in the ledger"


def _paid_twice(simulator: Simulator, rows: Sequence[_Row]) -> list[str]:
    orders = Counter(
        _mark(received) for received in simulator.received if received.kind == "create"
    )
    places = Counter(
        (row.batch_id, index)
        for row in rows
        if row.is_charged and row.batch_id is not None
        for index in range(row.first_index, row.first_index + row.images)
    )
    charged = Counter(row.mark for row in rows if row.is_charged)
    counts = [*orders.items(), *places.items(), *charged.items()]
    return [f"{what} was paid {times} times" for what, times in counts if times > 1]


def _mark(received: Received) -> str:
    seed = _SEED.search(received.body)
    if seed is not None:
        return seed[1].decode()
    found = _PROMPT.search(received.body.decode("latin-1"))
    assert found is not None
    return found[0]


def _check_files(folder: Path, images: Sequence[imagen.Image]) -> Iterator[str]:
    """A file is whole and listed, or bears the name of one that was never
    finished.
    """
    found = {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part"}
    for path in found:
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            yield f"{path.name} is half an image"
    listed = {image.path for image in images}
    yield from (f"{path} is listed, and not there" for path in listed - found)
    yield from (f"{path} is there, and not listed" for path in found - listed)


# --- the command --------------------------------------------------------------


async def _run_all(
    planned: Sequence[Plan], at_once: int, new_database: Callable[[], str | None]
) -> dict[str, Report]:
    reports: dict[str, Report] = {}
    slots = trio.CapacityLimiter(at_once)

    async def run(plan: Plan) -> None:
        async with slots:
            report = await run_once(plan, new_database())
        step = (
            "at a random moment"
            if plan.death.startswith("after")
            else plan.death.rpartition(" ")[0]
        )
        reports.setdefault(step, Report()).add(report)
        for text in report.wrong:
            print(text, flush=True)

    async with trio.open_nursery() as nursery:
        for plan in planned:
            nursery.start_soon(run, plan)
    return reports


def _table(reports: Mapping[str, Report]) -> str:
    total = Report()
    for report in reports.values():
        total.add(report)
    names = (
        "runs",
        "killed",
        "billed",
        "images",
        "collected",
        "adopted",
        "unknown",
        "billed_twice",
    )
    lines = [
        f"| died | {' | '.join(name.replace('_', ' ') for name in names)} | wrong |",
        "|---" * 10 + "|",
    ]
    for step, report in [*sorted(reports.items()), ("**all**", total)]:
        figures = " | ".join(str(getattr(report, name)) for name in names)
        lines.append(f"| {step} | {figures} | {len(report.wrong)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="the run of this number alone")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args(arguments)
    planned = [
        plan for plan in plans(options.runs, options.seed) if options.only in (None, plan.number)
    ]
    print(f"{machine()}; {options.engine}; seed {options.seed}\n", flush=True)
    with ExitStack() as stack:
        new_database: Callable[[], str | None] = lambda: None  # noqa: E731
        if options.engine == "postgresql":
            new_database = stack.enter_context(running_server(fsync=True)).new_database
        reports = trio.run(partial(_run_all, planned, options.at_once, new_database))
    print(_table(reports))
    if any(report.wrong for report in reports.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
