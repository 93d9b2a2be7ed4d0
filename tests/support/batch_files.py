"""Batch APIs stepped by hand, and what OpenAI and Google say there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

import msgspec
import pybase64

import imagen
from imagen import ImagenError
from imagen._transport.driver import ExchangeObserver
from imagen.providers import (
    PROVIDERS,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    ReadChunk,
    ResultDelivered,
)
from tests.support.exchanges import IMAGE, call, reply

Result = GeneratedImages | ImagenError


class File(msgspec.Struct):
    """The answer to a download: its chunks, and the error that it breaks off
    with.
    """

    chunks: Iterable[bytes]
    error: ImagenError | None = None


class BatchWalk:
    """One exchange of a batch API on its way; `answers` answer its requests in
    their order, an error by being raised.
    """

    def __init__(
        self, exchange: imagen.providers.BatchExchange, *answers: HttpResponse | ImagenError | File
    ) -> None:
        self.steps: list[object] = []
        self.delivered: list[ResultDelivered] = []
        self._exchange = exchange
        self._answers = iter(answers)
        self._chunks: Iterator[bytes] = iter(())
        self._error: ImagenError | None = None

    def run(self) -> dict[int, Result]:
        """Steps to the end, and gives what was delivered by position; what the
        exchange raises comes out.
        """
        answer: HttpResponse | bytes | ImagenError | None = None
        while True:
            try:
                thrown = isinstance(answer, ImagenError)
                step = self._exchange.throw(answer) if thrown else self._exchange.send(answer)
            except StopIteration:
                assert len({step.position for step in self.delivered}) == len(self.delivered), (
                    "delivered twice"
                )
                return {step.position: step.result for step in self.delivered}
            self.steps.append(step)
            answer = self._answer(step)

    def _answer(self, step: object) -> HttpResponse | bytes | ImagenError | None:
        if isinstance(step, HttpRequest):
            found = next(self._answers, None)
            assert found is not None, f"there is no answer to {step!r}"
            if not isinstance(found, File):
                return found
            if not step.stream:
                return found.error or HttpResponse(status=200, body=b"".join(found.chunks))
            self._chunks, self._error = iter(found.chunks), found.error
            return HttpResponse(status=200)
        if isinstance(step, ReadChunk):
            return next(self._chunks, b"") or self._error or b""
        if isinstance(step, ResultDelivered):
            self.delivered.append(step)
        return None

    @property
    def requests(self) -> list[HttpRequest]:
        return [step for step in self.steps if isinstance(step, HttpRequest)]

    def of(self, kind: type) -> list[object]:
        return [step for step in self.steps if isinstance(step, kind)]


class Collector(ExchangeObserver):
    """What the driver tells of a batch."""

    def __init__(self) -> None:
        self.accepted_job: JobAccepted | None = None
        self.results: dict[int, Result] = {}
        self.shown: list[imagen.providers.Progress] = []
        self.stop: HttpRequest | None = None
        self.sent = 0

    async def before_sending(self) -> None:
        self.sent += 1

    async def accepted(self, job: JobAccepted) -> None:
        self.accepted_job = job

    async def delivered(self, step: ResultDelivered) -> None:
        assert step.position not in self.results
        self.results[step.position] = step.result

    def progress(self, progress: imagen.providers.Progress) -> None:
        self.shown.append(progress)

    def cancellable(self, step: imagen.providers.Cancellable) -> None:
        self.stop = step.request


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider says; `line` is a result with an image and `refused`
    one without, by the name of its request.
    """

    provider: str
    model: str
    submission: tuple[HttpResponse, ...]
    accepted: JobAccepted
    running: HttpResponse
    ended: HttpResponse
    line: Callable[..., bytes]
    refused: Callable[[str], bytes]

    def calls(
        self, count: int, *, poll_seconds: float = 30.0, **fields: object
    ) -> list[imagen.providers.Call]:
        settings = {"economy_poll_seconds": poll_seconds}
        return [
            call(self.model, prompt=f"cat {place}", settings=settings, **fields)
            for place in range(count)
        ]

    @property
    def batch_api(self) -> imagen.providers.BatchApi:
        found = PROVIDERS[self.provider].batch_api
        assert found is not None
        return found

    def run(self, count: int, *answers: HttpResponse | ImagenError | File) -> BatchWalk:
        """A batch that is submitted, and then gets these answers."""
        return BatchWalk(self.batch_api.run(self.calls(count)), *self.submission, *answers)

    def collect(self, count: int, *answers: HttpResponse | ImagenError | File) -> BatchWalk:
        return BatchWalk(self.batch_api.collect(self.calls(count), self.accepted), *answers)

    def file(self, *names: object) -> File:
        """A download of these results, each with an image of its own."""
        return File([self.line(str(name), image_of(name)) for name in names])


def image_of(name: object) -> bytes:
    """The image that the result of this name holds."""
    return IMAGE + str(name).encode()


def json_line(payload: object) -> bytes:
    return json.dumps(payload).encode() + b"\n"


def openai_batch(status: str, **more: object) -> HttpResponse:
    return reply({"id": "batch_1", "object": "batch", "status": status, **more})


def openai_line(name: str, data: bytes = IMAGE) -> bytes:
    return openai_answer(
        name, 200, {"created": 1, "data": [{"b64_json": pybase64.b64encode_as_string(data)}]}
    )


def openai_answer(name: str, status: object, body: object) -> bytes:
    response = {"status_code": status, "request_id": "req_1", "body": body}
    return json_line({"id": "batch_req_1", "custom_id": name, "response": response, "error": None})


def google_batch(state: str, **more: object) -> HttpResponse:
    return reply({"name": "batches/1", "metadata": {"state": state}, **more})


def google_line(name: str, data: bytes = IMAGE) -> bytes:
    part = {"inlineData": {"mimeType": "image/png", "data": pybase64.b64encode_as_string(data)}}
    return google_answer(
        name, response={"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]}
    )


def google_answer(name: str, **more: object) -> bytes:
    return json_line({"key": name, **more})


OPENAI = Dialect(
    provider="openai",
    model="gpt-image-2",
    submission=(reply({"id": "file-1", "object": "file"}), openai_batch("validating")),
    accepted=JobAccepted(job_id="batch_1", poll_url="batches/batch_1"),
    running=openai_batch("in_progress", request_counts={"total": 4, "completed": 1, "failed": 0}),
    ended=openai_batch("completed", output_file_id="file-2", error_file_id=""),
    line=openai_line,
    refused=lambda name: openai_answer(
        name, 400, {"error": {"code": "moderation_blocked", "message": "No."}}
    ),
)
GOOGLE = Dialect(
    provider="google",
    model="gemini-3.1-flash-lite-image",
    submission=(
        HttpResponse(
            status=200,
            headers={"x-goog-upload-url": "https://generativelanguage.googleapis.com/upload/1"},
        ),
        reply({"file": {"name": "files/1"}}),
        google_batch("BATCH_STATE_PENDING"),
    ),
    accepted=JobAccepted(job_id="batches/1", poll_url="batches/1"),
    running=reply(
        {
            "name": "batches/1",
            "metadata": {
                "state": "BATCH_STATE_RUNNING",
                "batchStats": {"requestCount": "4", "pendingRequestCount": "3"},
            },
        }
    ),
    ended=google_batch(
        "BATCH_STATE_SUCCEEDED", done=True, response={"responsesFile": "files/batch-1"}
    ),
    line=google_line,
    refused=lambda name: google_answer(
        name, response={"promptFeedback": {"blockReason": "SAFETY"}}
    ),
)
DIALECTS = (OPENAI, GOOGLE)
