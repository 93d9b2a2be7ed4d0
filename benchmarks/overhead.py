"""What fetching an image costs beside the network: images per second, CPU and
memory, of this library and of others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ._children import machine, new_file_seconds, run_contender
from .replies import image_bytes
from .server import Server, serve, split_cores

__all__ = ["main"]


@dataclass(frozen=True)
class Contender:
    name: str
    module: str
    write: bool = False


@dataclass(frozen=True)
class Case:
    name: str
    size: str
    tls: bool
    at_once: int
    images: int


@dataclass(frozen=True)
class Target:
    """How many times as good, in one measure, this library should be as another
    contender.
    """

    case: str
    measure: str
    ours: str
    theirs: str
    times: float


FLOOR = Contender("bare Trio socket", "floor")
MEMORY = Contender("imagen, no library", "imagen_batch")
LIBRARY = Contender("imagen, library", "imagen_batch", write=True)
SDK = Contender("openai SDK", "openai_sdk")
SDK_FILES = Contender("openai SDK, files", "openai_sdk", write=True)
LITELLM = Contender("litellm", "litellm_sdk")
HTTPX2_FILES = Contender("httpx2 on Trio, files", "httpx2_files", write=True)
AIOHTTP_FILES = Contender("aiohttp, files", "aiohttp_files", write=True)
CONTENDERS = (FLOOR, MEMORY, LIBRARY, SDK, SDK_FILES, HTTPX2_FILES, AIOHTTP_FILES, LITELLM)
PEERS = ("openai", "httpx2", "aiohttp", "litellm")

CASES = (
    Case("2 MB", "large", tls=False, at_once=32, images=256),
    Case("2 MB, TLS", "large", tls=True, at_once=32, images=256),
    Case("350 KB", "middle", tls=False, at_once=64, images=512),
    Case("4 KB", "small", tls=False, at_once=200, images=2000),
    Case("4 KB, TLS", "small", tls=True, at_once=200, images=2000),
)

# Seconds; 30 us are usual on ext4 (see run_contender).
_NEW_FILE = 150e-6
SPEED, MEMORY_USE = "images per second", "peak memory"
# Both ways against the SDK that writes files: a bare decode keeps nothing.
_SPEEDS = {
    "2 MB": (3.0, 4.5),
    "2 MB, TLS": (3.0, 4.5),
    "350 KB": (2.0, 3.5),
    "4 KB": (2.0, 2.8),
    "4 KB, TLS": (2.0, 2.8),
}
_MEMORY_TIMES = 1 / 0.6
TARGETS = tuple(
    Target(case, measure, ours.name, SDK_FILES.name, times)
    for case, speeds in _SPEEDS.items()
    for ours, speed in zip((LIBRARY, MEMORY), speeds, strict=True)
    for measure, times in ((SPEED, speed), (MEMORY_USE, _MEMORY_TIMES))
)

Report = dict[str, float]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="each contender runs once a round; medians are reported",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of few images: shows that it works, not more",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        help="cases whose name begins so: '2 MB', '4 KB, TLS'",
    )
    parser.add_argument(
        "--one-core",
        action="store_true",
        help="pin each contender to one core and the server to others",
    )
    parser.add_argument(
        "--dir", type=Path, default=None, help="where images are written, a disk worth measuring"
    )
    parser.add_argument(
        "--json",
        type=Path,
        default=None,
        help="also write every figure of every round to this file",
    )
    options = parser.parse_args(arguments)
    cases = [
        case for case in CASES if not options.only or case.name.startswith(tuple(options.only))
    ]
    rounds = 1 if options.quick else options.rounds
    client_cores, server_cores = split_cores() if options.one_core else ([], [])
    reports: dict[str, dict[str, list[Report]]] = {}
    with tempfile.TemporaryDirectory(prefix="imagen-bench-", dir=options.dir) as name:
        folder = Path(name)
        with serve(folder / "server", server_cores) as server:
            pinned = (
                f"contender on core {client_cores}, server on {server_cores}"
                if client_cores
                else "nothing pinned"
            )
            print(f"{machine()}; server: {server.name}; {pinned}; rounds: {rounds}")
            print("; ".join(f"{name} {version(name)}" for name in PEERS))
            new_file = new_file_seconds(folder)
            slow = "; files were deleted there lately, use --dir" if new_file > _NEW_FILE else ""
            print(f"a new file takes {new_file * 1e6:.0f} us{slow}\n")
            for case in cases:
                reports[case.name] = _run_case(
                    case, rounds, options.quick, server, client_cores, folder
                )
                print(_table(case, reports[case.name]), flush=True)
    print(_targets(reports))
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "reports": reports}, indent=1))


def _run_case(
    case: Case, rounds: int, quick: bool, server: Server, cores: Sequence[int], folder: Path
) -> dict[str, list[Report]]:
    images = case.images // 4 if quick else case.images
    counts = [
        "--images",
        str(images),
        "--warm-up",
        str(case.at_once),
        "--at-once",
        str(case.at_once),
    ]
    found: dict[str, list[Report]] = {contender.name: [] for contender in CONTENDERS}
    for number in range(rounds):
        # Every other round the other way round: what the machine does meanwhile
        # then hits no contender in particular.
        for contender in CONTENDERS[:: -1 if number % 2 else 1]:
            print(
                f"{case.name}, round {number + 1} of {rounds}: {contender.name}",
                file=sys.stderr,
                flush=True,
            )
            url = server.base_url(case.size, tls=case.tls)
            write = ["--write"] if contender.write else []
            report = run_contender(
                contender.module, url, *counts, *write, server=server, cores=cores, folder=folder
            )
            assert report["image_bytes"] == images * image_bytes(case.size), (
                "an image is missing or cut"
            )
            found[contender.name].append(report)
    return found


def _speed(report: Report) -> float:
    return report["images"] / report["seconds"]


def _median_speed(reports: list[Report]) -> float:
    return statistics.median(_speed(report) for report in reports)


def _median_cpu_ms(reports: list[Report]) -> float:
    return statistics.median(1000 * report["cpu_seconds"] / report["images"] for report in reports)


def _median_busy(reports: list[Report]) -> float:
    """How much of its core: well below 1, it was the server or the disk that
    was waited for.
    """
    return statistics.median(report["cpu_seconds"] / report["seconds"] for report in reports)


def _median_mib(reports: list[Report]) -> float:
    return statistics.median(report["peak_mib"] for report in reports)


def _median_growth_mib(reports: list[Report]) -> float:
    return statistics.median(report["peak_mib"] - report["baseline_mib"] for report in reports)


def _table(case: Case, reports: dict[str, list[Report]]) -> str:
    rows = [
        f"{case.name}, {case.at_once} at once",
        "",
        (
            "| | images/s | slowest - fastest round | of the floor | CPU ms/image | core busy |"
            " peak MiB | over idle MiB |"
        ),
        "|---|---|---|---|---|---|---|---|",
    ]
    floor = _median_speed(reports[FLOOR.name])
    for name, found in reports.items():
        speeds = [_speed(report) for report in found]
        speed = _median_speed(found)
        rows.append(
            f"| {name} | {speed:,.0f} | {min(speeds):,.0f} - {max(speeds):,.0f} |"
            f" {speed / floor:.0%} | {_median_cpu_ms(found):.2f} | {_median_busy(found):.0%} |"
            f" {_median_mib(found):.0f} | {_median_growth_mib(found):.0f} |"
        )
    return "\n".join([*rows, ""])


def _targets(reports: dict[str, dict[str, list[Report]]]) -> str:
    rows = ["| target | wanted | found | |", "|---|---|---|---|"]
    for target in TARGETS:
        if target.case not in reports:
            continue
        found = reports[target.case]
        # Within a round: what the machine does meanwhile hits both.
        pairs = zip(found[target.ours], found[target.theirs], strict=True)
        if target.measure == SPEED:
            ratio = statistics.median(_speed(ours) / _speed(theirs) for ours, theirs in pairs)
        else:
            ratio = statistics.median(
                theirs["peak_mib"] / ours["peak_mib"] for ours, theirs in pairs
            )
        verdict = "PASS" if ratio >= target.times else "short"
        if target.measure == SPEED:
            wanted, shown = f"at least {target.times:.1f} x", f"{ratio:.2f} x"
        else:
            wanted, shown = f"below {1 / target.times:.2f} x", f"{1 / ratio:.2f} x"
        rows.append(
            f"| {target.case}: {target.measure}, {target.ours} to {target.theirs} | {wanted} |"
            f" {shown} | {verdict} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
