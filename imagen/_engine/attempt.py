"""One attempt on its way, as the driver and the waiting task see it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TypedDict

import trio

from .._errors import ImagenError, StorageError
from .._policy.budget import Reservation
from .._requests.request import Request
from .._results.events import AttemptEnded, AttemptSent, Event, PreviewReceived, ProgressReported
from .._results.images import Outcome, failure_of
from .._storage.ledger import AttemptRecord, Ledger
from .._transport.driver import ExchangeObserver
from .._transport.job_waiters import JobWaiters
from ..providers._steps import Cancellable, HttpResponse, JobAccepted, PartialImage, Progress, Wait
from .planning import PlannedRequest

__all__ = ["Emit", "RunningAttempt", "new_id"]

Emit = Callable[[Event], None]


class _About(TypedDict):
    attempt_id: str
    indexes: tuple[int, ...]
    request: Request
    model: str
    provider: str


def new_id() -> str:
    """Sixteen hexadecimal digits that nobody else has."""
    return secrets.token_hex(8)


class RunningAttempt(ExchangeObserver):
    """Whoever wants the outcomes waits for `done`; the ticket itself runs in
    the client's nursery.

    `job` is where the provider has it, if it says so. One that is `collectable`
    is left to a later process rather than given up, as its images can still be
    had.
    """

    def __init__(
        self,
        planned: PlannedRequest,
        *,
        reservation: Reservation,
        ledger: Ledger,
        job_waiters: JobWaiters,
        emit: Emit,
        now: Callable[[], float],
    ) -> None:
        self.id = new_id()
        self.planned = planned
        self.reservation = reservation
        self.scope = trio.CancelScope(shield=True)
        self.done = trio.Event()
        self.sent = False
        self.sent_at = 0.0
        self.recovered = False
        self.job: JobAccepted | None = None
        self.cancellable_by = Cancellable(request=None)
        self.headers: Mapping[str, str] = {}
        self.outcomes: tuple[Outcome, ...] = ()
        self.error: ImagenError | None = None
        self._ledger = ledger
        self._job_waiters = job_waiters
        self._emit = emit
        self._now = now
        self._may_outlive_salvage = True
        self._expected: set[str] = set()
        self._at_end: list[Callable[[], object]] = []

    @classmethod
    def again(
        cls,
        planned: PlannedRequest,
        row: AttemptRecord,
        *,
        ledger: Ledger,
        job_waiters: JobWaiters,
        emit: Emit,
        now: Callable[[], float],
    ) -> RunningAttempt:
        """The ticket of an attempt in the ledger, whose job is to be collected."""
        assert row.remote_id is not None
        attempt = cls(
            planned,
            reservation=Reservation((), Decimal(0)),
            ledger=ledger,
            job_waiters=job_waiters,
            emit=emit,
            now=now,
        )
        attempt.id = row.id
        attempt.sent = attempt.recovered = True
        attempt.sent_at = trio.current_time() - max(0.0, now() - (row.sent_at or now()))
        attempt.job = JobAccepted(
            job_id=row.remote_id, poll_url=row.poll_url or "", reported_cost_usd=row.accepted_usd
        )
        attempt._expect(row.remote_id)
        return attempt

    @property
    def collectable(self) -> bool:
        """Whether another process could get the images."""
        provider = self.planned.provider
        can = provider.batch_api if self.planned.economy else provider.collect
        return self.job is not None and can is not None

    # --- what the driver tells ------------------------------------------------

    async def before_sending(self) -> None:
        await self._ledger.mark_sent(self.id, self._now())
        # The last moment to turn back: after this the request leaves.
        await trio.lowlevel.checkpoint_if_cancelled()
        self.mark_sent()

    async def accepted(self, job: JobAccepted) -> None:
        self._expect(job.job_id)
        try:
            await self._ledger.mark_accepted(self.id, job)
        except StorageError:
            # It is paid, and fetched here; only nobody else will ever know of
            # it.
            return
        self.job = job
        if self.collectable and self._may_outlive_salvage:
            # It asks now and then how far the job is, and ends by itself.
            self.scope.deadline = math.inf

    async def wait(self, step: Wait) -> None:
        if step.job_id is None:
            await trio.sleep(step.seconds)
        else:
            await self._job_waiters.wait(self.planned.provider.name, step.job_id, step.seconds)

    def answered(self, response: HttpResponse) -> None:
        self.headers = response.headers

    def cancellable(self, step: Cancellable) -> None:
        self.cancellable_by = step

    def preview(self, partial: PartialImage) -> None:
        indexes = self.planned.indexes
        shown = indexes[partial.image : partial.image + 1] or indexes
        about: _About = {**self._about, "indexes": shown}
        self._emit(PreviewReceived(**about, data=partial.data, number=partial.number))

    def progress(self, progress: Progress) -> None:
        self._emit(ProgressReported(**self._about, fraction=progress.fraction, note=progress.note))

    # --- what the engine does -------------------------------------------------

    def emit(self, event: Event) -> None:
        self._emit(event)

    def mark_sent(self) -> None:
        """The request leaves: from here it may be billed."""
        self.sent = True
        self.sent_at = trio.current_time()
        self._emit(AttemptSent(**self._about))

    def emit_ended(self) -> None:
        self._emit(AttemptEnded(**self._about, outcomes=self.outcomes))

    def abandon(self, salvage_seconds: float, *, closing: bool = False) -> None:
        """Nobody waits any more: drop what has not been sent, stop what costs
        nothing when it is stopped, bound the rest.

        A job that can be collected goes on until the client closes.
        """
        self._may_outlive_salvage = not closing
        if self.recovered and closing:
            # Somebody else ordered it: it is not this client's to stop.
            self.cancellable_by = Cancellable(request=None)
            self.scope.cancel("the next client collects it")
        elif self.sent and self.cancellable_by.stops_bill:
            self.scope.cancel("nobody waits for it, and stopping it costs nothing")
        elif self.sent and self.collectable and not closing:
            return
        elif self.sent:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + salvage_seconds)
        else:
            self.scope.cancel("nobody waits for it, and it has not been sent")

    def fail(self, error: ImagenError) -> None:
        """There is no image: that is the outcome for each index."""
        planned = self.planned
        self.error = error
        self.outcomes = tuple(
            failure_of(
                planned.request,
                index,
                error,
                model=planned.model.id,
                provider=planned.provider.name,
                first=index == planned.indexes[0],
            )
            for index in planned.indexes
        )

    def end(self) -> None:
        """Everything is settled: whoever waits goes on."""
        self.reservation.settle(None if self.sent else Decimal(0))
        for job_id in self._expected:
            self._job_waiters.forget(self.planned.provider.name, job_id)
        self.done.set()
        for call in self._at_end:
            call()

    def on_end(self, call: Callable[[], object]) -> None:
        """Calls that when everything is settled."""
        self._at_end.append(call)

    def _expect(self, job_id: str) -> None:
        self._expected.add(job_id)
        self._job_waiters.expect(self.planned.provider.name, job_id)

    @property
    def _about(self) -> _About:
        planned = self.planned
        return {
            "attempt_id": self.id,
            "indexes": planned.indexes,
            "request": planned.request,
            "model": planned.model.id,
            "provider": planned.provider.name,
        }
