"""Whether a library of a million images is as quick as one of ten thousand:
finding, listing, and taking images in.

The rows are made up, and have no files: words as often as in any language
(Zipf), five models of which one is rare, tags, stars and prices. Everything
goes through the library's own methods, threads and durable commits included.
Each query runs many times, on words that differ, and the plan of every
statement that it leads to is looked at.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from unittest import mock

import trio

import imagen
from imagen._storage.database import Database, Row, SqliteEngine, Transaction
from imagen._storage.engines import open_database
from imagen._system.secret import Secret
from imagen._system.threads import ThreadWorkers
from imagen.library import Library
from imagen.library._rows import insert_image, row_of
from tests.support.postgresql import running_server

_MODELS = ("gpt-image-1", "flux-2-pro", "imagen-4", "stable-image-core", "rare-model")
_SHARES = (40, 30, 20, 9.99, 0.01)
_COSTS = (None, *(Decimal(cents) / 1000 for cents in (0, 8, 20, 39, 40, 55, 80, 120, 240)))
_WORDS = [f"word{number:05d}" for number in range(20_000)]
_WEIGHTS = list(itertools.accumulate(1 / (rank + 5) for rank in range(len(_WORDS))))
_GROUP = 500
_ROUNDS = 100
_START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)

Listing = Callable[[random.Random], Awaitable[object]]


def _image(rnd: random.Random, number: int) -> imagen.Image:
    side = rnd.choice((512, 768, 1024, 1536))
    return imagen.Image(
        id=f"{rnd.getrandbits(64):016x}",
        request=imagen.Generate(prompt=" ".join(rnd.choices(_WORDS, cum_weights=_WEIGHTS, k=20))),
        media_type="image/png",
        width=side,
        height=1024,
        size_bytes=1_500_000,
        stored_sha256=f"{rnd.getrandbits(256):064x}",
        model=rnd.choices(_MODELS, _SHARES)[0],
        provider="provider",
        seed=rnd.getrandbits(31),
        cost=imagen.Cost(usd=rnd.choice(_COSTS), source="reported"),
        created_at=_START + datetime.timedelta(seconds=number * 60 + rnd.random()),
        tags=tuple(sorted({rnd.choice(("sea", "city", "fog", "night", "best")) for _ in range(2)})),
        rating=rnd.choice((0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5)),
    )


async def _insert(database: Database, rnd: random.Random, numbers: Iterable[int]) -> float:
    """Gives images a second, by the time that the database took."""
    seconds, count = 0.0, 0
    for group in _groups(numbers):
        statements = [insert_image(row_of(_image(rnd, number))) for number in group]
        start = time.perf_counter()
        await database.write(statements)
        seconds += time.perf_counter() - start
        count += len(statements)
    return count / seconds if count else 0.0


def _groups(numbers: Iterable[int]) -> Iterable[tuple[int, ...]]:
    iterator = iter(numbers)
    while group := tuple(itertools.islice(iterator, _GROUP)):
        yield group


def _listings(library: Library) -> dict[str, Listing]:
    since = _START + datetime.timedelta(days=2)

    def two(rnd: random.Random) -> str:
        return " ".join(rnd.choices(_WORDS, cum_weights=_WEIGHTS, k=2))

    return {
        "search: two words": lambda rnd: library.search(two(rnd)),
        "search: two words, a model": lambda rnd: library.search(
            two(rnd), model=rnd.choice(_MODELS)
        ),
        "search: two words, a tag": lambda rnd: library.search(two(rnd), tags=["best"]),
        "search: two words, stars": lambda rnd: library.search(two(rnd), min_rating=4),
        "search: two words, a price": lambda rnd: library.search(two(rnd), min_usd=Decimal("0.1")),
        "search: two words, a span of time": lambda rnd: library.search(
            two(rnd), since=since, until=since + datetime.timedelta(days=3)
        ),
        "search: two words, the dearest first": lambda rnd: library.search(two(rnd), order="cost"),
        "list: newest": lambda rnd: library.list(),
        "list: oldest": lambda rnd: library.list(order="oldest"),
        "list: best": lambda rnd: library.list(order="rating"),
        "list: dearest": lambda rnd: library.list(order="cost"),
        "list: largest": lambda rnd: library.list(order="pixels"),
        "list: of a rare model": lambda rnd: library.list(model="rare-model"),
        "list: of a rare model, dearest": lambda rnd: library.list(
            model="rare-model", order="cost"
        ),
        "list: of a model, best": lambda rnd: library.list(model="flux-2-pro", order="rating"),
        "list: two tags, five stars": lambda rnd: library.list(tags=["sea", "night"], min_rating=5),
        "list: long ago": lambda rnd: library.list(
            since=since, until=since + datetime.timedelta(hours=5)
        ),
        "list: one seed": lambda rnd: library.list(seed=rnd.getrandbits(31)),
        "list: the trash": lambda rnd: library.list(state="trashed"),
        "list: a collection": lambda rnd: library.collections.images("thousand"),
        "list: a collection, searched": lambda rnd: library.list(
            collection="thousand", tags=["sea"]
        ),
        "list: tags": lambda rnd: library.tags(),
    }


async def _measure(listing: Listing, seed: int) -> tuple[float, float]:
    """The median and the 95th percentile, in milliseconds."""
    rnd = random.Random(seed)
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        await listing(rnd)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


async def _scans(listing: Listing) -> list[str]:
    """The steps of the plans that read a whole table."""
    found: list[str] = []
    run, fetch = Transaction.run, SqliteEngine.fetch

    def explain(
        run_it: Callable[..., list[Row]], owner: object, sql: str, values: Row
    ) -> list[Row]:
        for row in run_it(owner, f"EXPLAIN QUERY PLAN {sql}", values):
            step = str(row[3])
            if (
                step.startswith("SCAN")
                and "VIRTUAL TABLE INDEX" not in step
                and "USING" not in step
            ):
                found.append(step)
        return run_it(owner, sql, values)

    with (
        mock.patch.object(
            Transaction, "run", lambda self, sql, values=(): explain(run, self, sql, values)
        ),
        mock.patch.object(
            SqliteEngine, "fetch", lambda self, sql, values: explain(fetch, self, sql, values)
        ),
    ):
        await listing(random.Random(0))
    return [step for step in found if step not in ("SCAN CONSTANT ROW", "SCAN tags")]


async def _prepare(library: Library) -> None:
    await library.collections.create("thousand")
    ids: list[str] = []
    async for image in library.find(model="gpt-image-1"):
        ids.append(image.id)
        if len(ids) == 1000:
            break
    await library.collections.add("thousand", ids)
    await library.trash(ids[:200])


async def _megabytes(path: Path, database: Database, url: Secret | None) -> float:
    if url is None:
        return (await trio.Path(path).stat()).st_size / 1e6
    await database.write([("ANALYZE", ())])
    ((size,),) = await database.read("SELECT pg_database_size(current_database())")
    return int(str(size)) / 1e6


async def _run(sizes: list[int], url: Secret | None) -> None:
    workers, rnd = ThreadWorkers(), random.Random(1)
    results: dict[str, list[tuple[float, float]]] = {}
    rates: list[float] = []
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "imagen.sqlite3"
        database = await open_database(path, url, workers)
        library = Library(Path(home) / "images", database, workers)
        made = 0
        for size in sizes:
            last = max(made, size - 50_000)
            await _insert(database, rnd, range(made, last))
            rates.append(await _insert(database, rnd, range(last, size)))
            if not made:
                await _prepare(library)
            made = size
            megabytes = await _megabytes(path, database, url)
            print(
                f"{size:,} images, {megabytes:,.0f} MB: {rates[-1]:,.0f} taken in a second",
                flush=True,
            )
            for name, listing in _listings(library).items():
                results.setdefault(name, []).append(await _measure(listing, seed=2))
        scans = {
            name: found
            for name, listing in _listings(library).items()
            if url is None and (found := await _scans(listing))
        }
        await database.aclose()
    header = "".join(f"{f'p50 / p95 ms at {size:,}':>28}" for size in sizes)
    print(f"{'':40}{header}")
    for name, measured in results.items():
        print(f"{name:40}" + "".join(f"{f'{p50:.2f} / {p95:.2f}':>28}" for p50, p95 in measured))
    if url is None:
        print("plans that read a whole table:", scans or "none")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument(
        "--engine",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="postgresql: the empty database of IMAGEN_DATABASE_URL, or a server of its own",
    )
    options = parser.parse_args()
    if options.engine == "sqlite":
        trio.run(_run, options.rows, None)
    elif given := os.environ.get("IMAGEN_DATABASE_URL"):
        trio.run(_run, options.rows, Secret(given))
    else:
        with running_server() as server:
            trio.run(_run, options.rows, Secret(server.new_database()))
