"""Waits for a job that a provider took: asks again and again, outlasts outages,
and gives up in bounded time.

A job is on the meter, so nothing that goes wrong while it is asked for says
that it is not billed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Generic, TypeVar

import msgspec

from ..._errors import AuthenticationError, ImagenError, OutcomeUnknownError, ProviderError
from ..._system.retry_after import read_wait_seconds
from .._provider import Call
from .._steps import HttpRequest, HttpResponse, Step, Wait
from .http import send, trace

__all__ = ["Ended", "Job", "await_end"]

Answer = TypeVar("Answer")

_LONGEST_WAIT_SECONDS = 60.0
_CALLED_BACK_POLL_SECONDS = 10.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job that was taken: `provider` as people call it, where to ask, and for
    how long at the most.

    Right after the submission not every server of a provider knows the job: so
    many first answers of 404 mean nothing. A job goes on while nobody can say
    how far it is, so `most_bad_answers` in a row are borne. `busy_seconds` is
    how long a 429 asks to wait that does not say it. Of a job that is
    `called_back` polls are for what no callback says.
    """

    id: str
    url: str
    provider: str
    headers: Mapping[str, str] = {}
    longest_seconds: float = 3600.0
    grace_polls: int = 3
    most_bad_answers: int = 10
    busy_seconds: float | None = None
    called_back: bool = False


class Ended(Generic[Answer]):
    """The answer that ends the waiting."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def await_end(
    call: Call,
    job: Job,
    read: Callable[[HttpResponse, bool], Ended[Answer] | Iterable[Step] | None],
    say: Callable[[HttpResponse], str] = lambda response: "",
) -> Generator[Step, HttpResponse | bytes | None, Answer]:
    """Asks every `poll_seconds` of the provider's settings until the job has
    ended, less often where it is called back.

    `read` makes of each answer its end, or the steps to show while it goes on,
    or None where the answer says nothing of the job; an end without images it
    raises. It is told too whether it is so early that the job may not be known
    yet. `say` gives the words of an answer that refuses.

    Raises:
        ImagenError: what `read` raised, or nobody says any more how far the job
            is: then it may be billed.
    """
    poll_seconds = max(0.001, float(str(call.settings["poll_seconds"])))
    if job.called_back:
        poll_seconds = max(poll_seconds, _CALLED_BACK_POLL_SECONDS)
    waited, bad_answers, polls, pause, seen = 0.0, 0, 0, poll_seconds, False
    while waited < job.longest_seconds and bad_answers < job.most_bad_answers:
        yield Wait(seconds=pause, job_id=job.id)
        waited, polls, pause = waited + pause, polls + 1, poll_seconds
        try:
            response = yield from send(
                HttpRequest(method="GET", url=job.url, headers=job.headers, repeatable=True)
            )
        except ProviderError:
            # The way to the provider is down; the job goes on.
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
            asked = read_wait_seconds(response.headers) or (
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


def _cannot_ask(job: Job, response: HttpResponse, said: str) -> ImagenError:
    """The job goes on, or is forgotten, and the answer says that asking again
    is of no use.
    """
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
