"""Batch files: requests are uploaded and results downloaded, one JSON object a
line.

A line of results holds an image in base64, so the file is read as it comes and
never held as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

import msgspec

from ..._errors import ImagenError, InvalidRequestError, OutcomeUnknownError, ProviderError
from ..._requests.catalog import JsonValue
from .._provider import BatchApi, Call
from .._replies.decoding import trace
from .._steps import (
    BatchExchange,
    Exchange,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    Progress,
    ReadChunk,
    ResultDelivered,
    Step,
    Wait,
)
from .http import send
from .polling import Job

__all__ = [
    "MOST_REQUESTS",
    "Results",
    "SETTINGS",
    "as_batch_api",
    "encode_requests",
    "patient_call",
    "patient_job",
]

MOST_REQUESTS = 100
"""In one batch. The file of its results is begun again where its download
breaks off, and a hundred images are 250 MB.
"""

SETTINGS: Mapping[str, JsonValue] = {"economy_poll_seconds": 30.0}
"""Settings of every provider with a batch API."""

_LONGEST_SECONDS = 50 * 3600.0
_MOST_BAD_ANSWERS = 120
_MOST_BROKEN_DOWNLOADS = 10
# OpenAI's maximum (API reference, batches); Google's is ten times as much, too
# much for memory.
_MOST_BYTES = 200_000_000

_encode = msgspec.json.Encoder().encode


def as_batch_api(
    submit: Callable[[Sequence[Call]], Generator[Step, HttpResponse | bytes | None, JobAccepted]],
    collect: Callable[[Sequence[Call], JobAccepted], BatchExchange],
) -> BatchApi:
    """A batch API, by its two halves. Calls are of one model, and generations
    only.

    Edits would put all their images into one file, which memory would have to
    hold.
    """

    def run(calls: Sequence[Call]) -> BatchExchange:
        assert len({call.model.wire_name for call in calls}) == 1, "a batch is of one model"
        accepted = yield from submit(calls)
        yield accepted
        yield from collect(calls, accepted)

    return BatchApi(operations=("generate",), most_requests=MOST_REQUESTS, run=run, collect=collect)


def encode_requests(requests: Iterable[Mapping[str, JsonValue]], provider: str) -> bytes:
    """The file of requests.

    Raises:
        InvalidRequestError: larger than one batch may be.
    """
    lines = bytearray()
    for request in requests:
        lines += _encode(request) + b"\n"
        if len(lines) > _MOST_BYTES:
            raise InvalidRequestError(
                f"These requests are more than {_MOST_BYTES:,} bytes together, which is too much"
                f" for one batch of {provider}: give smaller images to refer to."
            )
    return bytes(lines)


def patient_call(call: Call) -> Call:
    """The call with the pace at which a batch is asked for."""
    return msgspec.structs.replace(
        call, settings={**call.settings, "poll_seconds": call.settings["economy_poll_seconds"]}
    )


def patient_job(accepted: JobAccepted, provider: str) -> Job:
    """Return the job with the patience of a batch: one or two days
    (ai.google.dev, batch-api), and an hour of failed polls.
    """
    return Job(
        id=accepted.job_id,
        url=accepted.poll_url,
        provider=provider,
        longest_seconds=_LONGEST_SECONDS,
        most_bad_answers=_MOST_BAD_ANSWERS,
    )


class Results:
    """Results of one batch, each delivered once, whatever the files hold.

    `read` returns the name of a line's request, i.e. its position as text, and
    an exchange that reads the result; or None if the line is not a result.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        accepted: JobAccepted,
        provider: str,
        read: Callable[[bytes], tuple[str, Exchange] | None],
    ) -> None:
        self._missing = {str(position): position for position in range(len(calls))}
        self._pause_seconds = float(str(calls[0].settings["economy_poll_seconds"]))
        self._accepted = accepted
        self._provider = provider
        self._read = read

    def deliver_file(self, url: str) -> Generator[Step, HttpResponse | bytes | None, None]:
        """Deliver the results of a file. An interrupted download is resumed.

        Raises:
            OutcomeUnknownError: it breaks off again and again. The batch can be
                collected later.
        """
        broken = 0
        while self._missing:
            missing = len(self._missing)
            try:
                yield from self._deliver_stream(url)
                return
            except ProviderError as error:
                if not (error.retryable or isinstance(error, OutcomeUnknownError)):
                    raise
                broken = broken + 1 if missing == len(self._missing) else 1
                if broken == _MOST_BROKEN_DOWNLOADS:
                    raise OutcomeUnknownError(
                        f"{self._provider} has done the batch {self._accepted.job_id}, and its"
                        f" results cannot be fetched; they may be billed. {error.message}",
                        details={
                            "job_id": self._accepted.job_id,
                            "poll_url": self._accepted.poll_url,
                        },
                    ) from error
            yield Wait(seconds=self._pause_seconds)

    def deliver_missing(self, explain: Callable[[int], ImagenError]) -> Iterator[Step]:
        """Delivers an error for each request that no line spoke of."""
        for position in self._missing.values():
            yield ResultDelivered(position=position, result=explain(position))
        self._missing.clear()

    def _deliver_stream(self, url: str) -> Generator[Step, HttpResponse | bytes | None, None]:
        response = yield from send(HttpRequest(method="GET", url=url, repeatable=True, stream=True))
        if response.status != 200:
            said = f"{self._provider} answers {response.status} when it is asked for the results."
            raise ProviderError(said, retryable=True, details=trace(response))
        pieces: list[bytes] = []
        while self._missing and (chunk := (yield ReadChunk())):
            assert isinstance(chunk, bytes)
            *ended, rest = chunk.split(b"\n")
            for piece in ended:
                line = b"".join((*pieces, piece))
                pieces.clear()
                yield from self._deliver_line(line)
            pieces.append(rest)
        last = b"".join(pieces)
        if self._missing and last.strip() and not (yield from self._deliver_line(last)):
            raise ProviderError(
                f"{self._provider}'s results break off in the middle of a line.", retryable=True
            )

    def _deliver_line(self, line: bytes) -> Generator[Step, HttpResponse | bytes | None, bool]:
        """Return True if the line is a result, expected or not."""
        found = self._read(line)
        if found is None:
            return False
        name, result = found
        position = self._missing.pop(name, None)
        if position is None:
            # Any step ends a line: the bytes read of a file are counted from
            # one to the next.
            yield Progress(note="fetching the results again")
        else:
            outcome = yield from _outcome(result)
            yield ResultDelivered(position=position, result=outcome, line=line)
        return True


def _outcome(
    exchange: Exchange,
) -> Generator[Step, HttpResponse | bytes | None, GeneratedImages | ImagenError]:
    try:
        return (yield from exchange)
    except ImagenError as error:
        return error
