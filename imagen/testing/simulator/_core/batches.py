"""Batch APIs: a file of requests is executed when its time has come, for half
the price, and the results are files too.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from .jobs import Job, RemoteJob
from .messages import Drawing, Reply

_FACTOR = Decimal("0.5")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch and its result: an image, or the reply that
    refuses it.
    """

    name: str
    answer: Drawing | Reply


class Batch:
    """A batch on its way, which is the `result` of its `RemoteJob`.

    Everything is billed when it is ordered, so a cancelled batch returns what
    it would have returned.

    Attributes:
        lines: those that are executed.
        skipped: names of those that are not, because the time is over before.
        errors: the reasons why it is not executed at all.
    """

    def __init__(
        self,
        lines: Sequence[Line],
        *,
        skipped: Sequence[str] = (),
        errors: Sequence[dict[str, object]] = (),
    ) -> None:
        self.lines = lines
        self.skipped = skipped
        self.errors = errors
        self._results: list[tuple[Line, Reply]] | None = None

    @property
    def drawings(self) -> list[Drawing]:
        return (
            [line.answer for line in self.lines if isinstance(line.answer, Drawing)]
            if not self.errors
            else []
        )

    @property
    def refusals(self) -> list[Line]:
        return [line for line in self.lines if isinstance(line.answer, Reply)]

    @property
    def images(self) -> int:
        return sum(drawing.images for drawing in self.drawings)

    @property
    def usd(self) -> Decimal:
        return sum((drawing.usd for drawing in self.drawings), Decimal(0)) * _FACTOR

    def results(self) -> list[tuple[Line, Reply]]:
        """The replies, painted once, so that a second download is the same as
        the first.
        """
        if self._results is None:
            answers = [(line, line.answer) for line in self.lines]
            self._results = [
                (line, got.paint() if isinstance(got, Drawing) else got) for line, got in answers
            ]
        return self._results


def submit_batch(job: Job, batch: Batch, *, prefix: str) -> RemoteJob:
    """Take a batch, which is ready after the latency of the order."""
    remote = job.remote.submit(job, lambda: batch, id=f"{prefix}{job.chance.getrandbits(96):024x}")
    remote.painted()
    return remote


def find_batch(job: Job, id: str) -> tuple[RemoteJob, Batch] | None:
    remote = job.remote.find(id)
    return (
        (remote, remote.result) if remote is not None and isinstance(remote.result, Batch) else None
    )


def keep_file(job: Job, content: bytes, *, prefix: str) -> str:
    """Keep an uploaded file, and return its id."""
    kept = job.remote.submit(job, lambda: content, id=f"{prefix}{job.chance.getrandbits(96):024x}")
    kept.painted()
    return kept.id


def find_file(job: Job, id: str) -> bytes | None:
    kept = job.remote.find(id)
    return kept.result if kept is not None and isinstance(kept.result, bytes) else None


def body_of(reply: Reply) -> msgspec.Raw:
    """The body of a reply in JSON, to be put into a line."""
    return msgspec.Raw(b"".join(reply.pieces))


def shuffled(job: Job, lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """Lines of results are in no order."""
    return tuple(job.chance.sample(lines, len(lines)))


Execute = Callable[[bytes], Drawing | Reply]
"""Looks at the body of one request, like the synchronous call would."""
