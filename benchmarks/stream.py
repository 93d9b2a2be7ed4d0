"""A long stream of requests: whether memory stays flat, and time and disk per
request the same, from ten thousand to a million.

The requests come from an async iterable, the provider is free and answers at
once, no library is open: what is left is the library's own way of a request,
and the three durable writes of its journal.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

import imagen

from ._children import machine

__all__ = ["Report", "main", "run_stream"]

_MODEL = "instant-1"
# The smallest PNG that says of itself what it is.
_IMAGE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\x0a"
    b"IDATx\x9cc\x00\x01\x00\x00\x05\x00\x01\x0d\x0a\x2d\xb4\x00\x00\x00\x00IEND\xaeB`\x82"
)
_SAMPLES = 20


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One stream. `seconds` and `rss_mib` are samples at even distances, after
    each twentieth of the requests.
    """

    requests: int
    seconds: list[float]
    rss_mib: list[float]
    cpu_seconds: float
    ledger_bytes: int

    @property
    def microseconds(self) -> float:
        """Per request, all in all."""
        return 1e6 * sum(self.seconds) / self.requests

    @property
    def slowdown(self) -> float:
        """How much longer a request takes in the second half than in the first."""
        half = len(self.seconds) // 2
        return statistics.median(self.seconds[half:]) / statistics.median(self.seconds[:half])


class _Instant:
    """A transport that is nowhere."""

    status = 200
    headers: Mapping[str, str] = {}

    @asynccontextmanager
    async def open(self, request: imagen.providers.HttpRequest) -> AsyncIterator[_OneChunk]:
        await trio.lowlevel.checkpoint()
        yield _OneChunk()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class _OneChunk:
    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self) -> None:
        self._left = _IMAGE

    async def receive_some(self) -> bytes:
        await trio.lowlevel.checkpoint()
        chunk, self._left = self._left, b""
        return chunk


def _draw(call: imagen.providers.Call) -> imagen.providers.Exchange:
    response = yield imagen.providers.HttpRequest(method="POST", url="draw")
    assert isinstance(response, imagen.providers.HttpResponse)
    return imagen.providers.GeneratedImages(
        images=(imagen.providers.GeneratedImage(data=response.body),)
    )


def _settings(home: Path) -> imagen.Settings:
    provider = imagen.providers.Provider(
        name="instant",
        operations={"generate": _draw},
        base_url="https://instant.example",
        key_required=False,
        models={_MODEL: {"provider": "instant", "price": {"usd_per_image": "0"}}},
    )
    return imagen.load_settings(
        {"IMAGEN_HOME": str(home), "IMAGEN_DEFAULT_MODEL": _MODEL}, providers=[provider]
    )


async def _requests(count: int) -> AsyncIterator[imagen.Generate]:
    for number in range(count):
        await trio.lowlevel.checkpoint()
        yield imagen.Generate(prompt=f"image {number}")


async def run_stream(count: int, at_once: int, folder: Path) -> Report:
    """Streams so many requests through one batch."""
    seconds: list[float] = []
    rss_mib: list[float] = []
    step = max(1, count // _SAMPLES)
    async with imagen.open_client(
        _settings(folder), library=None, transport=lambda access: _Instant()
    ) as client:
        cpu_began, began, done = time.process_time(), time.perf_counter(), 0
        async with client.open_batch(_requests(count), max_at_once=at_once) as batch:
            async for outcome in batch:
                assert isinstance(outcome, imagen.Image)
                done += 1
                if done % step == 0:
                    now = time.perf_counter()
                    seconds.append(now - began)
                    rss_mib.append(_rss_mib())
                    began = now
        cpu_seconds = time.process_time() - cpu_began
        assert (await client.spending()).attempts.succeeded == count
    size = (folder / "imagen.sqlite3").stat().st_size
    return Report(
        requests=count, seconds=seconds, rss_mib=rss_mib, cpu_seconds=cpu_seconds, ledger_bytes=size
    )


def _rss_mib() -> float:
    """What is resident now, of Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


# --- the command --------------------------------------------------------------


def _run_child(count: int, options: argparse.Namespace) -> Report:
    command = [sys.executable, "-m", "benchmarks.stream", "--child", "--requests", str(count)]
    command += ["--at-once", str(options.at_once)]
    if options.dir is not None:
        command += ["--dir", str(options.dir)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)


def _table(reports: Sequence[Report]) -> str:
    lines = [
        (
            "| requests | seconds | µs a request | CPU µs a request | second half to first | MiB"
            " after a twentieth | at the end | ledger, bytes a request |"
        ),
        "|---" * 8 + "|",
    ]
    for report in reports:
        lines.append(
            f"| {report.requests:,} | {sum(report.seconds):,.1f} | {report.microseconds:,.0f} |"
            f" {1e6 * report.cpu_seconds / report.requests:,.0f} | {report.slowdown:.2f} x |"
            f" {report.rss_mib[0]:.1f} | {report.rss_mib[-1]:.1f} |"
            f" {report.ledger_bytes / report.requests:,.0f} |"
        )
    first = reports[0]
    for report in reports[1:]:
        lines.append(
            f"\n{report.requests / first.requests:,.0f} times as many:"
            f" {report.microseconds / first.microseconds:.2f} x the time a request,"
            f" {report.rss_mib[-1] / first.rss_mib[-1]:.2f} x the memory"
        )
    return "\n".join(lines)


def _profile(count: int, at_once: int, folder: Path) -> str:
    profile = cProfile.Profile()
    profile.runcall(trio.run, run_stream, count, at_once, folder)
    text = io.StringIO()
    pstats.Stats(profile, stream=text).sort_stats("tottime").print_stats(35)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument("--requests", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument(
        "--dir", type=Path, default=None, help="where the ledger is written, a disk worth measuring"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="where the event loop's own time goes, for the first number",
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child or options.profile:
        with tempfile.TemporaryDirectory(prefix="imagen-stream-", dir=options.dir) as name:
            if options.profile:
                print(_profile(options.requests[0], options.at_once, Path(name)))
            else:
                report = trio.run(run_stream, options.requests[0], options.at_once, Path(name))
                print(json.dumps(msgspec.to_builtins(report)))
        return
    print(f"{machine()}; {options.at_once} at once\n", flush=True)
    reports = [_run_child(count, options) for count in options.requests]
    print(_table(reports))


if __name__ == "__main__":
    main()
