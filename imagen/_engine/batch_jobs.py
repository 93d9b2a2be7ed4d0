"""Batch jobs: requests sent together through a provider's batch API.

Results come within hours, for less money. Each request is an attempt with a row
of its own, and all of one job share its remote id. When the client closes, the
job stays in the ledger as accepted, and the next client of that home collects
it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from .._errors import ImagenError, OutcomeUnknownError, ProviderError, StorageError
from .._results.images import Outcome
from .._transport.driver import ExchangeObserver
from .._transport.received import ReceivedReply
from ..providers._steps import HttpResponse, JobAccepted, Progress, ResultDelivered, Wait
from .admission import Admission, CallContext
from .attempt import RunningAttempt
from .in_flight import InFlight
from .planning import PlannedRequest, Planner
from .runtime import Runtime
from .settlement import Settlement
from .unread_replies import UnreadReplies

__all__ = ["BatchJobs"]


class _BatchJob(ExchangeObserver):
    """Attempts of one job, as the driver sees them; positions count from 0."""

    def __init__(
        self, runtime: Runtime, settlement: Settlement, attempts: Sequence[RunningAttempt]
    ) -> None:
        self.attempts = attempts
        self.scope = trio.CancelScope(shield=True)
        self.job: JobAccepted | None = None
        self.sent = False
        self._runtime = runtime
        self._settlement = settlement
        self._unread = UnreadReplies(runtime)

    @property
    def open_attempts(self) -> Sequence[RunningAttempt]:
        """Attempts without a result."""
        return [attempt for attempt in self.attempts if not attempt.done.is_set()]

    def abandon(self, salvage_seconds: float, *, closing: bool) -> None:
        """Drop what has not been sent, leave an accepted job, bound the rest."""
        if self.job is not None or not self.sent:
            self.scope.cancel("the client closes")
        else:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + salvage_seconds)

    async def before_sending(self) -> None:
        runtime = self._runtime
        ids = [attempt.id for attempt in self.attempts]
        await runtime.ledger.mark_sent(ids, runtime.owner, runtime.now())
        await trio.lowlevel.checkpoint_if_cancelled()
        self.sent = True
        for attempt in self.attempts:
            attempt.mark_sent()

    async def accepted(self, job: JobAccepted) -> None:
        try:
            await self._runtime.ledger.mark_accepted_together(
                [attempt.id for attempt in self.attempts], job
            )
        except StorageError:
            # The job is fetched here; no other process will know of it.
            return
        self.job = job
        for attempt in self.attempts:
            attempt.note_accepted(job)
        if self.scope.deadline < math.inf:
            self.scope.cancel("the next client collects it")

    async def wait(self, step: Wait) -> None:
        await trio.sleep(step.seconds)

    def progress(self, progress: Progress) -> None:
        for attempt in self.open_attempts:
            attempt.progress(progress)

    async def delivered(self, step: ResultDelivered) -> None:
        attempt = self.attempts[step.position]
        if attempt.done.is_set():
            # Delivered to an earlier process.
            return
        if step.line:
            response = HttpResponse(status=200, body=step.line)
            attempt.received.add(ReceivedReply.of("GET", "batch", response))
        try:
            result = step.result
            if isinstance(result, ImagenError):
                result = await self._unread.search(attempt, result)
            await self._settlement.succeed(attempt, result)
        except ImagenError as error:
            await self._settlement.fail(attempt, error)
        attempt.end()


class BatchJobs(InFlight[_BatchJob]):
    """Batch jobs of one client."""

    def __init__(
        self, runtime: Runtime, planner: Planner, admission: Admission, settlement: Settlement
    ) -> None:
        super().__init__(runtime)
        self._planner = planner
        self._admission = admission
        self._settlement = settlement

    def max_requests(self, planned: PlannedRequest) -> int:
        """Return the most requests for its model that go into one job."""
        assert planned.provider.batch_api is not None
        return planned.provider.batch_api.most_requests

    async def run(
        self,
        planned_requests: Sequence[PlannedRequest],
        context: CallContext,
        deliver: Callable[[Outcome], Awaitable[None]],
    ) -> None:
        """Send requests for one model in one job, and deliver each outcome as it comes.

        When cancelled, what was sent goes on until the client closes, and the
        next client collects it.
        """
        attempts: list[RunningAttempt] = []
        try:
            await self._reserve_all(planned_requests, context, deliver, attempts)
        except trio.Cancelled:
            if attempts:
                # The job gives the money back as it ends.
                self._run(attempts).scope.cancel("its caller has gone, and it has not been sent")
            raise
        if not attempts:
            return
        ended, wait_ended = trio.open_memory_channel[RunningAttempt](len(attempts))
        for attempt in attempts:
            attempt.on_end(partial(ended.send_nowait, attempt))
        job = self._run(attempts)
        try:
            for _ in attempts:
                for outcome in (await wait_ended.receive()).outcomes:
                    await deliver(outcome)
        except trio.Cancelled:
            if not job.sent:
                job.scope.cancel("its caller has gone, and it has not been sent")
            raise

    def collect(self, attempts: Sequence[RunningAttempt], accepted: JobAccepted) -> None:
        """Collect a job of another process.

        `attempts` are all of the job, with those that have ended.
        """
        self._run(attempts, accepted)

    async def _reserve_all(
        self,
        planned_requests: Sequence[PlannedRequest],
        context: CallContext,
        deliver: Callable[[Outcome], Awaitable[None]],
        attempts: list[RunningAttempt],
    ) -> None:
        # Waiting for money that the same job has reserved would never end.
        at_once = context.without_waiting()
        for planned in planned_requests:
            try:
                whole = await self._planner.read_inputs(planned)
                attempts.append(await self._admission.reserve(whole, at_once))
            except ImagenError as error:
                (index,) = planned.indexes
                await deliver(planned.failure(index, error))

    def _run(
        self, attempts: Sequence[RunningAttempt], accepted: JobAccepted | None = None
    ) -> _BatchJob:
        job = _BatchJob(self._runtime, self._settlement, attempts)
        job.job, job.sent = accepted, accepted is not None
        return self._start(job, self._carry_out, name=f"imagen batch job of {len(attempts)}")

    async def _carry_out(self, job: _BatchJob) -> None:
        error: ImagenError = OutcomeUnknownError(
            "The provider ended the batch without a result for this request."
        )
        try:
            with job.scope:
                try:
                    await self._exchange(job)
                except ImagenError as raised:
                    error = raised
            if job.scope.cancelled_caught:
                error = _cancelled(job)
            for attempt in job.open_attempts:
                await self._settle_open(job, attempt, error)
        finally:
            for attempt in job.open_attempts:
                attempt.end()

    async def _settle_open(
        self, job: _BatchJob, attempt: RunningAttempt, error: ImagenError
    ) -> None:
        copied = error.copy()
        # What the job cost as a whole is not the cost of each.
        copied.cost_usd = None
        if job.scope.cancelled_caught and job.job is not None:
            # The next client collects it.
            attempt.fail(copied, left=True)
        else:
            await self._settlement.fail(attempt, copied)

    async def _exchange(self, job: _BatchJob) -> None:
        planned = job.attempts[0].planned
        batch_api, driver = planned.provider.batch_api, planned.driver
        assert batch_api is not None
        calls = [self._planner.call_for(attempt.planned) for attempt in job.attempts]
        if job.job is None:
            await driver.run(batch_api.run(calls), job)
        else:
            await driver.run(batch_api.collect(calls, job.job), job, billable=True)


def _cancelled(job: _BatchJob) -> ImagenError:
    name = job.attempts[0].planned.provider.name
    if job.job is not None:
        return OutcomeUnknownError(
            f"{name} still works on the batch: imagen collects it when a client is opened the next"
            " time."
        )
    if job.sent:
        return OutcomeUnknownError(f"{name} did not confirm the batch in time; it may be billed.")
    return ProviderError("The batch was dropped before it was sent.", code="TIMEOUT")
