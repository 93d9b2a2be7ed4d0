"""What a contender is asked to do, and what is measured while it does."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Run"]

_MEBIBYTE = 1 << 20


class Run:
    """The command line of a contender. Make it after the imports: memory is
    counted from there too.
    """

    def __init__(self) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("url", help="in place of https://api.openai.com/v1")
        parser.add_argument("--images", type=int, default=64)
        parser.add_argument(
            "--warm-up", type=int, default=32, help="images fetched before the clock starts"
        )
        parser.add_argument("--at-once", type=int, default=32)
        parser.add_argument(
            "--folder", type=Path, required=True, help="where files may be written; it exists"
        )
        parser.add_argument("--write", action="store_true", help="write every image to a file")
        parser.add_argument(
            "--delete", action="store_true", help="and delete it again when it is there"
        )
        parser.add_argument("--stamps", action="store_true", help="tell when each image was there")
        parser.add_argument(
            "--sample-every",
            type=int,
            default=0,
            help="tell the memory in use every so many images",
        )
        options = parser.parse_args()
        self.url: str = options.url
        self.images: int = options.images
        self.warm_up: int = options.warm_up
        self.at_once: int = options.at_once
        self.folder: Path = options.folder
        self.write: bool = options.write
        self.delete: bool = options.delete
        self._stamps = options.stamps
        self._sample_every: int = options.sample_every
        self._baseline = _memory("VmRSS")
        self._measuring = False
        self._got = 0
        self._bytes = 0
        self._times: list[int] = []
        self._samples: list[float] = []

    def image(self, size_bytes: int) -> None:
        """An image is there, whole."""
        if not self._measuring:
            return
        self._got += 1
        self._bytes += size_bytes
        if self._stamps:
            self._times.append(time.monotonic_ns())
        if self._sample_every and self._got % self._sample_every == 0:
            self._samples.append(_memory("VmRSS"))

    def keep(self, number: int, data: bytes) -> None:
        """Count an image, and write it to a plain file if that is asked for."""
        if self.write:
            path = self.folder / f"{number}.png"
            path.write_bytes(data)
            if self.delete:
                path.unlink()
        self.image(len(data))

    @contextmanager
    def measured(self) -> Iterator[None]:
        """The block fetches the images that count. Prints the report at its
        end.
        """
        self._measuring = True
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        self._measuring = False
        if self._got != self.images:
            sys.exit(f"{self._got} images came of {self.images}.")
        report: dict[str, object] = {
            "images": self._got,
            "image_bytes": self._bytes,
            "seconds": wall,
            "cpu_seconds": cpu,
            "baseline_mib": self._baseline,
            "peak_mib": _memory("VmHWM"),
        }
        if self._stamps:
            report["times_ns"] = self._times
        if self._sample_every:
            report["samples_mib"] = self._samples
        print(json.dumps(report), flush=True)


def _memory(field: str) -> float:
    """Resident memory in MiB: VmRSS is now, VmHWM was the most. Linux's
    ru_maxrss would begin with the parent's.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (_MEBIBYTE if sys.platform == "darwin" else 1024)
    (line,) = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024
