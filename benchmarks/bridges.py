"""The cost of a bridge: `imagen.aio` and `imagen.blocking` against Trio itself,
an outcome and a call, with a scripted provider that answers at once.

The rounds of the three ways take turns in one process; each figure is the
median over the rounds of the difference to Trio in the same round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pybase64
import trio

import imagen
from imagen.testing import ScriptedReply, ScriptedTransport

from ._children import machine

__all__ = ["main"]

_LIMIT_MS = 0.3
_CALLS = 300


class _Setup:
    """A home, and a provider that answers at once."""

    def __init__(self, folder: str, image: bytes) -> None:
        body = msgspec.json.encode({"data": [{"b64_json": pybase64.b64encode(image).decode()}]})
        self._reply = ScriptedReply(chunks=(body,), headers={"content-type": "application/json"})
        self.settings = imagen.load_settings({"IMAGEN_HOME": folder, "OPENAI_API_KEY": "sk-x"})
        self.folder = folder

    def open(self, open_client: Callable[..., Any]) -> Any:
        transport = ScriptedTransport(lambda request: self._reply)
        return open_client(self.settings, library=None, transport=lambda access: transport)


def _figures(started: float, middle: float, ended: float, count: int) -> dict[str, float]:
    return {
        "outcome": (middle - started) / count * 1e3,
        "call": (ended - middle) / _CALLS * 1e3,
    }


async def _awaiting(open_client: Callable[..., Any], setup: _Setup, count: int) -> dict[str, float]:
    async with setup.open(open_client) as client:
        await client.generate("warm")
        started = time.perf_counter()
        async with client.open_batch("x", n=count, max_at_once=8) as batch:
            async for outcome in batch:
                _check(outcome)
        middle = time.perf_counter()
        for _ in range(_CALLS):
            await client.prompts.get("none")
        return _figures(started, middle, time.perf_counter(), count)


def _with_blocking(setup: _Setup, count: int) -> dict[str, float]:
    with setup.open(imagen.blocking.open_client) as client:
        client.generate("warm")
        started = time.perf_counter()
        with client.open_batch("x", n=count, max_at_once=8) as batch:
            for outcome in batch:
                _check(outcome)
        middle = time.perf_counter()
        for _ in range(_CALLS):
            client.prompts.get("none")
        return _figures(started, middle, time.perf_counter(), count)


def _check(outcome: imagen.Outcome) -> None:
    assert isinstance(outcome, imagen.Image), outcome


_WAYS: dict[str, Callable[[_Setup, int], dict[str, float]]] = {
    "trio": lambda setup, count: trio.run(_awaiting, imagen.open_client, setup, count),
    "aio": lambda setup, count: asyncio.run(_awaiting(imagen.aio.open_client, setup, count)),
    "blocking": _with_blocking,
}


def _image(size: int) -> bytes:
    """A whole PNG, padded to that size by a chunk that readers skip."""
    from io import BytesIO

    from PIL import Image

    target = BytesIO()
    Image.new("RGB", (64, 64)).save(target, "PNG")
    data = target.getvalue()
    return data + bytes(max(0, size - len(data)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bridges", description=__doc__)
    parser.add_argument("--images", type=int, default=400, help="outcomes of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kib", type=int, default=4, help="size of an image")
    parser.add_argument("--quick", action="store_true", help="few of everything")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures here")
    options = parser.parse_args(arguments)
    count, rounds = (30, 1) if options.quick else (options.images, options.rounds)
    image = _image(options.kib * 1024)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in _WAYS}
    for _ in range(rounds):
        for name, way in _WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(way(_Setup(folder, image), count))
    print(f"{machine()}\n\n{count} images of {options.kib} KiB a round, {rounds} rounds\n")
    print(f"{'':10} {'ms an outcome':>15} {'more':>7} {'ms a call':>11} {'more':>7}")
    more: dict[str, dict[str, float]] = {}
    for name, figures in found.items():
        line = f"{name:10}"
        for what, width in (("outcome", 15), ("call", 11)):
            here = statistics.median(one[what] for one in figures)
            extra = statistics.median(
                one[what] - base[what] for one, base in zip(figures, found["trio"], strict=True)
            )
            more.setdefault(name, {})[what] = extra
            line += f" {here:{width}.3f} {extra:7.3f}"
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps({"rounds": found, "more_ms": more}, indent=1))
    if not options.quick:
        too_slow = [name for name, extra in more.items() if max(extra.values()) > _LIMIT_MS]
        raise SystemExit(f"above {_LIMIT_MS} ms: {', '.join(too_slow)}" if too_slow else 0)


if __name__ == "__main__":
    main()
