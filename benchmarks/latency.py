"""What is waited for: the import, the way from a reply's last byte to the
loop's body, and the end of all connections; and memory over a long batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._children import machine, run_contender
from .server import child_environment, free_port, pin_to, serve, split_cores, wait_until_open

__all__ = ["main"]

_IMPORT_LIMIT = 0.5
_CLOSED_MS = 25
# What is left when a batch of this size has warmed up must not grow: a leak of
# one image in a hundred would show.
_FLAT_MIB = 16.0
_TIMED_IMPORT = (
    "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"
)
_IMPORTS = {"imagen": "imagen", "its three largest parts": "trio, httpx2, msgspec"}
_OTHER_IMPORTS = {"openai": "openai", "litellm": "litellm"}
_WAYS = {
    "imagen, no library": ("imagen_batch", []),
    "imagen, library": ("imagen_batch", ["--write"]),
    "openai SDK": ("openai_sdk", []),
    "openai SDK, files": ("openai_sdk", ["--write"]),
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--repetitions", type=int, default=40, help="of each import")
    parser.add_argument(
        "--images", type=int, default=2000, help="in the batch whose memory is watched"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few of everything: shows that it works, not more"
    )
    parser.add_argument(
        "--dir", type=Path, default=None, help="where images are written, a disk worth measuring"
    )
    parser.add_argument(
        "--json", type=Path, default=None, help="also write the figures to this file"
    )
    options = parser.parse_args(arguments)
    repetitions, images = (6, 200) if options.quick else (options.repetitions, options.images)
    print(f"{machine()}\n")
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(prefix="imagen-bench-", dir=options.dir) as name:
        folder = Path(name)
        found["import_seconds"] = _time_imports(repetitions)
        found["last_byte_ms"] = _time_last_bytes(20 if options.quick else 200, folder)
        found["closed_ms"] = _time_closing(3 if options.quick else 10, folder)
        found["memory_mib"] = _watch_memory(images, folder)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


# --- import -------------------------------------------------------------------


def _time_imports(repetitions: int) -> dict[str, list[float]]:
    """Fresh interpreters, one after the other in turn; the first of each warms
    the disk and does not count.
    """
    _say("imports")
    times: dict[str, list[float]] = {name: [] for name in _IMPORTS | _OTHER_IMPORTS}
    for number in range(repetitions + 1):
        for name, modules in (_IMPORTS | (_OTHER_IMPORTS if number <= 5 else {})).items():
            seconds = _time_import(modules)
            if number:
                times[name].append(seconds)
    print("| import | median ms | least ms |\n|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {1000 * statistics.median(values):.0f} | {1000 * min(values):.0f} |")
    ours, parts = (times[name] for name in _IMPORTS)
    median_ratio, least_ratio = (
        statistics.median(ours) / statistics.median(parts),
        min(ours) / min(parts),
    )
    verdict = "PASS" if median_ratio <= _IMPORT_LIMIT else "short"
    print(
        f"\nimport: at most {_IMPORT_LIMIT} x wanted, {median_ratio:.2f} x found (least:"
        f" {least_ratio:.2f} x): {verdict}\n"
    )
    return times


def _time_import(modules: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _TIMED_IMPORT.format(modules)],
        env=child_environment(),
        preexec_fn=pin_to(split_cores()[0]),
        stdout=subprocess.PIPE,
        timeout=120,
        check=True,
    )
    return float(done.stdout)


# --- from the last byte to the loop's body ------------------------------------


def _time_last_bytes(images: int, folder: Path) -> dict[str, list[float]]:
    """One image at a time. The server notes when it lets go of the last byte,
    the contender when the image is there; the clock is the same, as both run on
    this machine.
    """
    found: dict[str, list[float]] = {}
    print(
        "| from the last byte to the image in hand, ms | median | 95 of 100 within |\n|---|---|---|"
    )
    for size, label in (("large", "2 MB"), ("small", "4 KB")):
        for way, (module, more) in _WAYS.items():
            _say(f"last byte, {label}: {way}")
            with _running_server("python_server", "--tell-last-byte") as (port, server):
                counts = ["--images", str(images), "--warm-up", "5", "--at-once", "1", "--stamps"]
                url = f"http://127.0.0.1:{port}/{size}/v1"
                cores = split_cores()[0]
                report = run_contender(
                    module, url, *counts, *more, server=None, cores=cores, folder=folder
                )
                server.terminate()
                told, _ = server.communicate(timeout=10)
            left = [int(line) for line in told.split()][-images:]
            waits = [
                (there - gone) / 1e6 for gone, there in zip(left, report["times_ns"], strict=True)
            ]
            found[f"{label}, {way}"] = waits
            print(
                f"| {label}, {way} | {statistics.median(waits):.2f} |"
                f" {statistics.quantiles(waits, n=20)[-1]:.2f} |"
            )
    print()
    return found


# --- from leaving the client to the last socket -------------------------------


def _time_closing(repetitions: int, folder: Path) -> dict[str, list[float]]:
    """200 requests are in flight when the client is left with a salvage of 0.
    The server notes the end of the last connection.
    """
    _say("closing")
    sockets: list[float] = []
    clients: list[float] = []
    for _ in range(repetitions):
        with _running_server("silent_server") as (port, server):
            report = run_contender(
                "imagen_cancel",
                f"http://127.0.0.1:{port}/v1",
                server=None,
                cores=split_cores()[0],
                folder=folder,
            )
            told, _ = server.communicate(timeout=70)
        connections, ended = map(int, told.split())
        assert connections == 200, f"{connections} connections"
        sockets.append((ended - report["left_ns"]) / 1e6)
        clients.append((report["closed_ns"] - report["left_ns"]) / 1e6)
    print(
        "| from leaving a client with 200 requests in flight, ms | median | most |\n|---|---|---|\n"
        f"| every socket is closed | {statistics.median(sockets):.0f} | {max(sockets):.0f} |\n"
        f"| the block has ended | {statistics.median(clients):.0f} | {max(clients):.0f} |\n"
    )
    verdict = "PASS" if statistics.median(sockets) <= _CLOSED_MS else "short"
    print(f"sockets: within {_CLOSED_MS} ms wanted: {verdict}\n")
    return {"sockets": sockets, "client": clients}


@contextmanager
def _running_server(module: str, *options: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [sys.executable, "-m", f"benchmarks.{module}", "--port", str(port), *options]
    with subprocess.Popen(
        command, preexec_fn=pin_to(split_cores()[1]), stdout=subprocess.PIPE
    ) as process:
        try:
            wait_until_open(port)
            yield port, process
        finally:
            process.terminate()


# --- memory -------------------------------------------------------------------


def _watch_memory(images: int, folder: Path) -> dict[str, list[float]]:
    """Resident memory while one batch of 2 MB replies runs, 32 at once; files
    are deleted as they come, for the disk's sake.
    """
    found: dict[str, list[float]] = {}
    client_cores, server_cores = split_cores()
    print(
        f"| memory over a batch of {images:,}, MiB | after a tenth | in the middle | at the end |"
        " most | |"
    )
    print("|---|---|---|---|---|---|")
    with serve(folder / "server", server_cores) as server:
        for way, (module, more) in _WAYS.items():
            _say(f"memory: {way}")
            counts = ["--images", str(images), "--sample-every", str(images // 40), "--delete"]
            url = server.base_url("large", tls=False)
            report = run_contender(
                module, url, *counts, *more, server=server, cores=client_cores, folder=folder
            )
            samples: list[float] = report["samples_mib"]
            found[way] = samples
            # Windows of a tenth: single samples catch more or fewer replies in
            # the making.
            tenth = max(1, len(samples) // 10)
            early, late = (
                statistics.mean(part)
                for part in (samples[tenth : 3 * tenth], samples[-2 * tenth :])
            )
            middle = statistics.mean(samples[len(samples) // 2 - tenth :][: 2 * tenth])
            verdict = "flat" if late - early <= _FLAT_MIB else "grows"
            peak = report["peak_mib"]
            print(
                f"| {way} | {early:.0f} | {middle:.0f} | {late:.0f} | {peak:.0f} | {verdict} |",
                flush=True,
            )
    return found


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
