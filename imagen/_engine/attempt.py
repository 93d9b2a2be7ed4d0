"""State of one attempt, as the driver and the waiting task see it.

    reserved --before_sending--> sent --accepted--> accepted --end--> done
        |                          |                   |
        +------------- abandon, failure, result -------+

An attempt runs in the client's nursery, so that a caller who leaves never tears
down a request that may be billed. `abandon` is that caller's last word:

    reserved            cancelled; it costs nothing
    sent                gets a deadline of `salvage_seconds`
    sent, free to stop  cancelled, and the job is stopped at the provider
    accepted            goes on until the client closes, if another process can
                        collect the job; bounded like `sent` if not
    collected           cancelled when the client closes: the next one collects
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final, NamedTuple, TypedDict
from urllib.parse import urlsplit

import trio

from .._errors import ImagenError, StorageError
from .._policy.budget import Reservation
from .._policy.model_gate import GateEntry
from .._requests.request import Request
from .._results.events import (
    AttemptAccepted,
    AttemptEnded,
    AttemptReserved,
    AttemptSent,
    Event,
    PreviewReceived,
    ProgressReported,
    TryReason,
)
from .._results.images import Cost, Outcome
from .._storage.ledger import AttemptRecord, State
from .._system.ids import new_id
from .._transport.driver import ExchangeObserver
from .._transport.received import ReceivedReplies, ReceivedReply
from ..providers._steps import (
    Cancellable,
    HttpResponse,
    JobAccepted,
    PartialImage,
    Progress,
    Usage,
    Wait,
)
from .planning import PlannedRequest
from .runtime import Emit, Runtime

__all__ = ["FIRST", "About", "RunningAttempt", "Trial", "about_of"]

# Names of the id that a provider gives a request, the most common first.
_REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-goog-request-id",
    "x-fal-request-id",
)


class Trial(NamedTuple):
    """Place of an attempt among those at one model."""

    number: int = 1
    why: TryReason = "first"


FIRST: Final = Trial()


class About(TypedDict):
    """The fields that every event of an attempt has."""

    attempt_id: str
    indexes: tuple[int, ...]
    request: Request
    model: str
    provider: str
    batch_id: str | None
    try_number: int
    why: TryReason
    reserved_usd: Decimal | None
    server: str | None
    economy: bool


def about_of(attempt_id: str, planned: PlannedRequest, trial: Trial, runtime: Runtime) -> About:
    """Return the fields of every event of an attempt."""
    base_url = runtime.settings.access[planned.provider.name].base_url
    return {
        "attempt_id": attempt_id,
        "indexes": planned.indexes,
        "request": planned.request,
        "model": planned.model.id,
        "provider": planned.provider.name,
        "batch_id": planned.batch_id,
        "try_number": trial.number,
        "why": trial.why,
        "reserved_usd": planned.quote.high_usd,
        "server": None if base_url is None else urlsplit(base_url).hostname,
        "economy": planned.economy,
    }


class RunningAttempt(ExchangeObserver):
    """One attempt from its reservation to its settlement.

    The caller waits for `done` and then reads `outcomes` or `error`. `job` is
    the provider's id of it, if there is one.
    """

    def __init__(
        self,
        runtime: Runtime,
        planned: PlannedRequest,
        reservation: Reservation,
        emit: Emit,
        about: About | None = None,
    ) -> None:
        self._about: About = about or about_of(new_id(), planned, FIRST, runtime)
        self.id = self._about["attempt_id"]
        self.planned = planned
        self.reservation = reservation
        self.gate_entry: GateEntry | None = None
        self.scope = trio.CancelScope(shield=True)
        self.done = trio.Event()
        self.sent = False
        self.sent_at = 0.0
        self.recovered = False
        self.job: JobAccepted | None = None
        self.cancellable_by = Cancellable(request=None)
        self.headers: Mapping[str, str] = {}
        self.status: int | None = None
        self.state: State = "reserved"
        self.cost = Cost()
        self.usage: Usage | None = None
        self.received = ReceivedReplies()
        self.outcomes: tuple[Outcome, ...] = ()
        self.error: ImagenError | None = None
        self._runtime = runtime
        self._emit = emit
        self._may_outlive_salvage = True
        self._expected: set[str] = set()
        self._at_end: list[Callable[[], object]] = []

    @classmethod
    def from_ledger(
        cls, runtime: Runtime, planned: PlannedRequest, row: AttemptRecord
    ) -> RunningAttempt:
        """Return the attempt of a row in the ledger, whose job is to be collected,
        or whose replies are to be read again.
        """
        about = about_of(row.id, planned, Trial(why="collect"), runtime)
        about["reserved_usd"] = row.reserved_usd
        attempt = cls(runtime, planned, Reservation((), Decimal(0)), runtime.emit, about)
        attempt.state = row.state
        attempt.sent = attempt.recovered = True
        now = runtime.now()
        attempt.sent_at = trio.current_time() - max(0.0, now - (row.sent_at or now))
        if row.remote_id is not None:
            attempt.job = JobAccepted(
                job_id=row.remote_id,
                poll_url=row.poll_url or "",
                reported_cost_usd=row.accepted_usd,
            )
            attempt._expect(row.remote_id)
        return attempt

    @property
    def why(self) -> TryReason:
        """Reason for the attempt."""
        return self._about["why"]

    @property
    def open_attempts(self) -> tuple[RunningAttempt, ...]:
        """This attempt; a batch job has many."""
        return (self,)

    @property
    def collectable(self) -> bool:
        """True if another process can fetch the images of the job."""
        provider = self.planned.provider
        can = provider.batch_api if self.planned.economy else provider.collect
        return self.job is not None and can is not None

    # --- notifications of the driver ------------------------------------------

    async def before_sending(self) -> None:
        if self.sent:
            # One image after another is computed for the same attempt.
            return
        runtime = self._runtime
        await runtime.ledger.mark_sent(
            [self.id],
            runtime.owner,
            runtime.now(),
            state="reserved" if self.job is None else "accepted",
        )
        # The last cancellation point: the request leaves after this.
        await trio.lowlevel.checkpoint_if_cancelled()
        self.mark_sent()

    async def accepted(self, job: JobAccepted) -> None:
        self._expect(job.job_id)
        try:
            await self._runtime.ledger.mark_accepted(self.id, job)
        except StorageError:
            # The job is fetched here; no other process will know of it.
            return
        self.note_accepted(job)
        if self.collectable and self._may_outlive_salvage:
            # The job is polled until it ends.
            self.scope.deadline = math.inf

    async def wait(self, step: Wait) -> None:
        if step.job_id is None:
            await trio.sleep(step.seconds)
        else:
            await self._runtime.job_waiters.wait(
                self.planned.provider.name, step.job_id, step.seconds
            )

    def answered(self, response: HttpResponse) -> None:
        self.headers, self.status = response.headers, response.status

    def downloading(self, url: str) -> None:
        self.received.tried_links.add(url.strip())

    def receiving(self, reply: ReceivedReply) -> None:
        if self.sent:
            self.received.add(reply)

    def cancellable(self, step: Cancellable) -> None:
        self.cancellable_by = step

    def preview(self, partial: PartialImage) -> None:
        indexes = self.planned.indexes
        shown = indexes[partial.image : partial.image + 1] or indexes
        about: About = {**self._about, "indexes": shown}
        self._emit(PreviewReceived(**about, data=partial.data, number=partial.number))

    def progress(self, progress: Progress) -> None:
        self._emit(ProgressReported(**self._about, fraction=progress.fraction, note=progress.note))

    # --- changes by the engine ------------------------------------------------

    def emit(self, event: Event) -> None:
        """Notify the subscriber of the caller."""
        self._emit(event)

    def note_reserved(self, waited_seconds: float) -> None:
        """Note that the row is written, and notify the subscriber."""
        self._emit(AttemptReserved(**self._about, waited_seconds=waited_seconds))

    def note_accepted(self, job: JobAccepted) -> None:
        """Note that the provider knows the job, and notify the subscriber."""
        self.job, self.state = job, "accepted"
        self._emit(AttemptAccepted(**self._about, job_id=job.job_id))

    def note_settled(self, state: State, cost: Cost) -> None:
        """Note how the attempt stands in the ledger."""
        self.state, self.cost = state, cost

    def mark_sent(self) -> None:
        """Note that the request leaves: from here it may be billed."""
        self.sent = True
        self.state = "sent" if self.job is None else "accepted"
        self.sent_at = trio.current_time()
        self._emit(AttemptSent(**self._about))

    def emit_ended(self, *, left: bool = False) -> None:
        """Notify the subscriber of the outcomes."""
        self._emit(
            AttemptEnded(
                **self._about,
                outcomes=self.outcomes,
                left=left,
                state=self.state,
                settled_usd=self.cost.usd,
                cost_source=self.cost.source,
                seconds=trio.current_time() - self.sent_at if self.sent else 0.0,
                usage=self.usage,
                status=self.status,
                provider_request_id=_find_request_id(self.headers),
            )
        )

    def abandon(self, salvage_seconds: float, *, closing: bool = False) -> None:
        """Drop, stop or bound the attempt, as its caller has gone.

        See the table at the top of this module.
        """
        self._may_outlive_salvage = not closing
        if self.recovered and closing:
            # Another client submitted the job: this one must not stop it.
            self.cancellable_by = Cancellable(request=None)
            self.scope.cancel("the next client collects it")
        elif self.sent and self.cancellable_by.stops_bill:
            self.scope.cancel("its caller has gone, and stopping it costs nothing")
        elif self.sent and self.collectable and not closing:
            return
        elif self.sent:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + salvage_seconds)
        else:
            self.scope.cancel("its caller has gone, and it has not been sent")

    def fail(self, error: ImagenError, *, left: bool = False) -> None:
        """End with the error as the outcome of each index, and notify the
        subscriber. The job of an attempt that is `left` goes on.
        """
        self.error = error
        self.outcomes = self.planned.failures(error)
        self.emit_ended(left=left)

    def end(self) -> None:
        """Wake the caller: everything is settled."""
        self.reservation.settle(None if self.sent else Decimal(0))
        for job_id in self._expected:
            self._runtime.job_waiters.forget(self.planned.provider.name, job_id)
        self.done.set()
        for call in self._at_end:
            call()

    def on_end(self, call: Callable[[], object]) -> None:
        """Call `call` when everything is settled."""
        self._at_end.append(call)

    def _expect(self, job_id: str) -> None:
        self._expected.add(job_id)
        self._runtime.job_waiters.expect(self.planned.provider.name, job_id)


def _find_request_id(headers: Mapping[str, str]) -> str | None:
    return next((headers[name] for name in _REQUEST_ID_HEADERS if name in headers), None)
