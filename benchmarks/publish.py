"""Publishes images to an S3 where one request in ten fails, and kills the
process that does it, again and again.

Each image must be in the store in the end, with its own bytes; how often each
was put says what the faults and the kills did cost. The store is moto on
loopback, in a process of its own, so the images a second are its limit as much
as ours.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import trio

import imagen
from tests.support.store_server import StoreServer, open_store_server

from ._children import machine

__all__ = ["main"]

_BUCKET = "bench"
_AT_ONCE = 16
# Longer than the lease of what a killed process was doing.
_LATER_SECONDS = 1000.0
_LIFE_SECONDS = (0.3, 0.9)


def _settings(home: Path, endpoint: str) -> imagen.Settings:
    settings = imagen.load_settings({"IMAGEN_HOME": str(home)})
    options = {"endpoint": endpoint, "region": "us-east-1"}
    store = imagen.StoreSettings(url=f"s3://{_BUCKET}", options=options, max_at_once=_AT_ONCE)
    return msgspec.structs.replace(settings, store=store)


async def _make(home: Path, count: int) -> None:
    settings = imagen.load_settings({"IMAGEN_HOME": str(home)})
    async with (
        imagen.open_client(settings) as client,
        client.open_batch("a boat", n=count, model="sketch", size="64x64") as batch,
    ):
        async for outcome in batch:
            assert isinstance(outcome, imagen.Image)


async def _publish(home: Path, endpoint: str, later: float) -> Counter[str]:
    """Publishes every image of a home, and gives how many ended how."""
    async with imagen.open_client(
        _settings(home, endpoint), clock=lambda: time.time() + later
    ) as client:
        images = [image async for image in client.library.find()]
        return Counter(one.state for one in await client.publisher.publish(images))


async def _kill_some(home: Path, endpoint: str, kills: int, chance: random.Random) -> int:
    """How many died before they were done."""
    died = 0
    for number in range(kills):
        later = str(_LATER_SECONDS * number)
        arguments = [
            sys.executable,
            "-m",
            "benchmarks.publish",
            "--child",
            str(home),
            endpoint,
            later,
        ]
        process = await trio.lowlevel.open_process(arguments, stderr=None)
        with trio.move_on_after(_LIFE_SECONDS[0] + chance.random() * _LIFE_SECONDS[1]):
            await process.wait()
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            died += 1
    return died


def _report(
    name: str, server: StoreServer, count: int, seconds: float, states: Counter[str], died: int
) -> bool:
    objects, log = server.objects(_BUCKET), server.log()
    whole = sum(found["sha256"] in key for key, found in objects.items())
    puts = Counter(log["puts"].values())
    again = sum(times - 1 for times in log["puts"].values())
    fine = whole == len(objects) == count == states["published"]
    print(
        f"{name:<28} {whole:>6} of {count} whole  {count / seconds:>7.0f}/s "
        f" {log['asked'].get('PUT', 0):>6} requests  {again:>4} put again, at most"
        f" {max(puts, default=0)} times  {died} killed  {'' if fine else 'WRONG'}"
    )
    return fine


def _run(count: int, share: float, kills: int, seed: int) -> bool:
    with tempfile.TemporaryDirectory() as folder, open_store_server() as server:
        home = Path(folder)
        trio.run(_make, home, count)
        server.make_bucket(_BUCKET)
        server.faults(share, seed=seed)
        begun = time.perf_counter()
        died = trio.run(_kill_some, home, server.endpoint, kills, random.Random(seed))
        states = trio.run(_publish, home, server.endpoint, _LATER_SECONDS * (kills + 1))
        name = f"{share:.0%} faults, {kills} kills"
        return _report(name, server, count, time.perf_counter() - begun, states, died)


def main() -> int:
    """Runs the cases, and says whether all of them ended well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--child", nargs=3, metavar=("HOME", "ENDPOINT", "LATER"), help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    # moto looks at no signature.
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    if options.child:
        home, endpoint, later = options.child
        trio.run(_publish, Path(home), endpoint, float(later))
        return 0
    print(machine())
    cases = ((0.0, 0), (0.1, 0), (0.1, options.kills))
    fine = [_run(options.images, share, kills, options.seed) for share, kills in cases]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
