"""Jobs: a request in the hands of a provider, with the account's terms and the
means to draw.
"""

import random
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

import msgspec
import pybase64

from .faults import BrokenBase64, ExpiredLink, Fault, FewerImages, WrongMedia
from .images import make_image
from .messages import Received

_NOT_A_IMAGE = b"<!DOCTYPE html><html><body><h1>Sign in to continue</h1></body></html>"


class FileStore(Protocol):
    """Store of the images that are handed out as links."""

    def keep(self, content: bytes, format: str, *, expired_status: int | None) -> str:
        """Store one file and return its URL."""
        ...


class RemoteJob(msgspec.Struct, kw_only=True):
    """A job that a provider took, as its polls find it.

    Attributes:
        id: the client's id of it.
        number: of the request that submitted it, which is the one that is
            billed.
        started_at, ready_at: seconds on the simulator's clock.
        paint: makes the result when it is ready; called once, and kept in
            `result`.
        fault: planned fault of the submission: `JobFails`, `Withheld` and
            `Spoil`s apply here.
    """

    id: str
    number: int
    started_at: float
    ready_at: float
    paint: Callable[[], object]
    fault: Fault | None = None
    cancelled: bool = False
    result: object = None

    def progress(self, now: float) -> float:
        """Return the progress from 0 to 1."""
        span = self.ready_at - self.started_at
        return 1.0 if now >= self.ready_at else max(0.0, (now - self.started_at) / span)

    def painted(self) -> object:
        """Return the result."""
        if self.result is None:
            self.result = self.paint()
        return self.result


class RemoteJobs:
    """The jobs of one provider in one simulator."""

    def __init__(self) -> None:
        self._jobs: dict[str, RemoteJob] = {}

    def submit(
        self, job: "Job", paint: Callable[[], object], *, id: str | None = None
    ) -> RemoteJob:
        """Take a job, which is ready after the latency of this request."""
        remote = RemoteJob(
            id=id or f"{job.chance.getrandbits(128):032x}",
            number=job.received.number,
            started_at=job.now,
            ready_at=job.now + job.seconds,
            paint=paint,
            fault=job.fault,
        )
        self._jobs[remote.id] = remote
        return remote

    def find(self, id: str) -> RemoteJob | None:
        return self._jobs.get(id)

    def all(self) -> list[RemoteJob]:
        return list(self._jobs.values())


class Job:
    """One request in the hands of a provider.

    Attributes:
        path: the request's path after the provider's base path.
        key: the key that this provider accepts.
        usd_per_image: a fixed price, or None to bill by the provider's own
            list.
        seconds: how long the drawing takes.
        created: unix time, for the reply.
        origin: scheme, host and port of this provider, for the addresses in its
            replies.
        now: seconds on the simulator's clock.
        remote: the jobs that this provider has taken in this simulator.
        fault: planned fault of this request.
        spoiled: True once a fault has made an image of this job useless.
        delivered_later: True if the images are collected by other requests.
    """

    def __init__(
        self,
        received: Received,
        *,
        path: str,
        key: str,
        usd_per_image: Decimal | None,
        image_bytes: int | None,
        seconds: float,
        seed: int,
        shelf: FileStore,
        fault: Fault | None,
        now: float,
        remote: RemoteJobs,
        origin: str,
        on_collected: Callable[[int], None],
    ) -> None:
        self.received = received
        self.path = path
        self.key = key
        self.usd_per_image = usd_per_image
        self.seconds = seconds
        self.created = int(time.time())
        self.spoiled = False
        self.delivered_later = False
        self.chance = random.Random(f"{seed}/{received.number}")
        self._image_bytes = image_bytes
        self._shelf = shelf
        self.fault = fault
        self.now = now
        self.remote = remote
        self.origin = origin
        self._on_collected = on_collected

    def collected(self, remote: RemoteJob) -> None:
        """Note that the client is given the images of a job, whose bill is
        delivered by that.
        """
        if not self.spoiled and not isinstance(remote.fault, WrongMedia):
            self._on_collected(remote.number)

    def count(self, asked: int) -> int:
        """Return how many of the images will be drawn."""
        return max(0, asked - self.fault.missing) if isinstance(self.fault, FewerImages) else asked

    def draw(self, width: int, height: int, *, format: str = "png", frames: int = 1) -> bytes:
        """Return a new image at every call."""
        if isinstance(self.fault, WrongMedia):
            self.spoiled = True
            return _NOT_A_IMAGE
        seed = self.chance.getrandbits(64)
        return make_image(
            format, width, height, seed=seed, size_bytes=self._image_bytes, frames=frames
        )

    def as_base64(self, content: bytes) -> str:
        text = pybase64.b64encode_as_string(content)
        if isinstance(self.fault, BrokenBase64):
            self.spoiled = True
            middle = len(text) // 2
            return f"{text[:middle]}*!*{text[middle + 1 : -1]}"
        return text

    def as_link(self, content: bytes, *, format: str = "png") -> str:
        if isinstance(self.fault, ExpiredLink):
            self.spoiled = True
            return self._shelf.keep(content, format, expired_status=self.fault.status)
        return self._shelf.keep(content, format, expired_status=None)
