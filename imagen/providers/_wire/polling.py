"""Polling of an accepted job: outlasts outages, and gives up in bounded time.

The job may be billed, so no fault of a poll counts as not billed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from ..._errors import AuthenticationError, ImagenError, OutcomeUnknownError, ProviderError
from ..._requests.catalog import JsonValue
from ..._system.retry_after import read_wait_seconds
from .._provider import Call
from .._replies.decoding import trace
from .._steps import HttpRequest, HttpResponse, Step, Wait
from .http import json_request, send

__all__ = ["Ended", "Job", "await_end"]

Answer = TypeVar("Answer")

_LONGEST_WAIT_SECONDS = 60.0
_CALLED_BACK_POLL_SECONDS = 10.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Accepted job: `provider` by its display name, its poll URL, and the
    longest wait.

    Right after the submission not every server of a provider knows the job: a
    few first 404s mean nothing. A job continues while its state cannot be read,
    so `most_bad_answers` in a row are tolerated. `busy_seconds` is the wait
    after a 429 without one. With a `question`, a poll is a POST of it as JSON.
    For a job that is `called_back` polls are the
    fallback.
    """

    id: str
    url: str
    provider: str
    headers: Mapping[str, str] = {}
    question: Mapping[str, JsonValue] | None = None
    longest_seconds: float = 3600.0
    grace_polls: int = 3
    most_bad_answers: int = 10
    busy_seconds: float | None = None
    called_back: bool = False


class Ended(Generic[Answer]):
    """Reply that ends the wait."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def await_end(
    call: Call,
    job: Job,
    read: Callable[[HttpResponse, bool], Ended[Answer] | Iterable[Step] | None],
    say: Callable[[HttpResponse], str] = lambda response: "",
) -> Generator[Step, HttpResponse | bytes | None, Answer]:
    """Poll every `poll_seconds` of the provider's settings until the job has
    ended, less often if it is called back.

    `read` returns the end of the job, the steps to show while it continues, or
    None if the reply has no state; it raises for an end without images. It also
    gets True if the job may not be known yet. `say` returns the words of a
    refusing reply.

    Raises:
        ImagenError: raised by `read`, or the state of the job cannot be read
            any more: then it may be billed.
    """
    poll_seconds = max(0.001, float(str(call.settings["poll_seconds"])))
    if job.called_back:
        poll_seconds = max(poll_seconds, _CALLED_BACK_POLL_SECONDS)
    waited, bad_answers, polls, pause, seen = 0.0, 0, 0, poll_seconds, False
    while waited < job.longest_seconds and bad_answers < job.most_bad_answers:
        yield Wait(seconds=pause, job_id=job.id)
        waited, polls, pause = waited + pause, polls + 1, poll_seconds
        try:
            response = yield from send(_poll(job))
        except ProviderError:
            # The network is down; the job continues.
            bad_answers += 1
            continue
        early = polls <= job.grace_polls and not seen
        verdict = read(response, early)
        if isinstance(verdict, Ended):
            return verdict.answer
        if verdict is not None:
            bad_answers, seen = 0, seen or bool(verdict)
            yield from verdict
        elif response.status == 404 and early:
            continue
        elif 300 <= response.status < 500 and response.status not in (408, 429):
            raise _cannot_ask(job, response, say(response))
        else:
            bad_answers += 1
            asked = read_wait_seconds(response.headers, body=response.body) or (
                job.busy_seconds if response.status == 429 else None
            )
            pause = (
                poll_seconds
                if asked is None
                else min(max(asked, poll_seconds), _LONGEST_WAIT_SECONDS)
            )
    raise OutcomeUnknownError(
        f"{job.provider} took the job {job.id} and did not say within {waited:g} seconds that it"
        " ended; it may be billed.",
        details={"job_id": job.id, "poll_url": job.url},
    )


def _poll(job: Job) -> HttpRequest:
    if job.question is not None:
        return json_request(job.url, job.question, repeatable=True)
    return HttpRequest(method="GET", url=job.url, headers=job.headers, repeatable=True)


def _cannot_ask(job: Job, response: HttpResponse, said: str) -> ImagenError:
    """Raise: the job continues or is forgotten, and further polls are useless."""
    kind = AuthenticationError if response.status in (401, 403) else ProviderError
    text = (
        f"{job.provider} took the job {job.id} and answers {response.status} when it is asked for"
        " it; it may be billed."
    )
    if response.status in (404, 410):
        text = (
            f"{job.provider} does not know the job {job.id} any more: it ran out, or is another"
            " account's; it may be billed."
        )
    return kind(
        f"{text} {said}".strip(), billed="unknown", details={**trace(response), "job_id": job.id}
    )
