"""Requests that a provider does together, within hours, for less: its batch
API.

Each request is an attempt with a row of its own, and all of one job share its
remote id. The job runs in the client's nursery; when the client closes, it is
left in the ledger as accepted, and whoever opens that home next collects it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import trio

from .._errors import ImagenError, OutcomeUnknownError, ProviderError, StorageError
from .._results.images import Cost, Outcome, failure_of
from .._storage.ledger import Ledger
from .._transport.driver import ExchangeDriver, ExchangeObserver
from ..providers._steps import JobAccepted, Progress, ResultDelivered, Wait
from .attempt import RunningAttempt
from .engine import CallContext
from .planning import PlannedRequest, Planner
from .settling import FREE, Settler

__all__ = ["BatchJobs"]


class _Group(ExchangeObserver):
    """The tickets of one job, as the driver sees them; positions count from 0."""

    def __init__(
        self,
        attempts: Sequence[RunningAttempt],
        settler: Settler,
        ledger: Ledger,
        now: Callable[[], float],
    ) -> None:
        self.attempts = attempts
        self.scope = trio.CancelScope(shield=True)
        self.job: JobAccepted | None = None
        self.sent = False
        self._settler = settler
        self._ledger = ledger
        self._now = now

    @property
    def open_tickets(self) -> Sequence[RunningAttempt]:
        """Those that have no result yet."""
        return [attempt for attempt in self.attempts if not attempt.done.is_set()]

    def abandon(self, salvage_seconds: float) -> None:
        """Drops what has not been sent, leaves a job that was taken to the next
        client, bounds the rest.
        """
        if self.job is not None or not self.sent:
            self.scope.cancel("the client closes")
        else:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + salvage_seconds)

    async def before_sending(self) -> None:
        await self._ledger.mark_sent_together(
            [attempt.id for attempt in self.attempts], self._now()
        )
        await trio.lowlevel.checkpoint_if_cancelled()
        self.sent = True
        for attempt in self.attempts:
            attempt.mark_sent()

    async def accepted(self, job: JobAccepted) -> None:
        try:
            await self._ledger.mark_accepted_together(
                [attempt.id for attempt in self.attempts], job
            )
        except StorageError:
            # It is paid, and fetched here; only nobody else will ever know of
            # it.
            return
        self.job = job
        for attempt in self.attempts:
            attempt.job = job
        if self.scope.deadline < math.inf:
            self.scope.cancel("the next client collects it")

    async def wait(self, step: Wait) -> None:
        await trio.sleep(step.seconds)

    def progress(self, progress: Progress) -> None:
        for attempt in self.open_tickets:
            attempt.progress(progress)

    async def delivered(self, step: ResultDelivered) -> None:
        attempt = self.attempts[step.position]
        if attempt.done.is_set():
            # Delivered to an earlier process.
            return
        try:
            if isinstance(step.result, ImagenError):
                await self._settler.fail(attempt, step.result)
            else:
                await self._settler.succeed(attempt, step.result)
        except ImagenError as error:
            await self._settler.fail(attempt, error)
        attempt.end()


class BatchJobs:
    """Sends orders together; one per client."""

    def __init__(
        self,
        *,
        planner: Planner,
        admit: Callable[[PlannedRequest, CallContext], Awaitable[RunningAttempt]],
        driver_of: Callable[[str], ExchangeDriver],
        settler: Settler,
        ledger: Ledger,
        nursery: trio.Nursery,
        now: Callable[[], float],
        salvage_seconds: float,
    ) -> None:
        self._planner = planner
        self._admit = admit
        self._driver_of = driver_of
        self._settler = settler
        self._ledger = ledger
        self._nursery = nursery
        self._now = now
        self._salvage_seconds = salvage_seconds
        self._groups: set[_Group] = set()
        self._closed = False

    @property
    def in_flight(self) -> int:
        """How many requests wait for their result."""
        return len(self.attempts)

    def most_together(self, planned: PlannedRequest) -> int:
        """How many requests for its model go into one job."""
        assert planned.provider.batch_api is not None
        return planned.provider.batch_api.most_requests

    @property
    def attempts(self) -> Sequence[RunningAttempt]:
        """What waits for its result here."""
        return [attempt for group in self._groups for attempt in group.open_tickets]

    async def run(
        self,
        planned_requests: Sequence[PlannedRequest],
        context: CallContext,
        deliver: Callable[[Outcome], Awaitable[None]],
    ) -> None:
        """Sends orders for one model in one job, and delivers an outcome for
        each as it comes.

        When cancelled, what was sent goes on as long as the client is open, and
        the next client collects it then.
        """
        attempts: list[RunningAttempt] = []
        try:
            await self._admit_all(planned_requests, context, deliver, attempts)
        except trio.Cancelled:
            if attempts:
                # Dropped in the usual way, which gives the money back.
                self._start(attempts).scope.cancel("nobody waits for it, and it has not been sent")
            raise
        if not attempts:
            return
        ended, wait_ended = trio.open_memory_channel[RunningAttempt](len(attempts))
        for attempt in attempts:
            attempt.on_end(partial(ended.send_nowait, attempt))
        group = self._start(attempts)
        try:
            for _ in attempts:
                for outcome in (await wait_ended.receive()).outcomes:
                    await deliver(outcome)
        except trio.Cancelled:
            if not group.sent:
                group.scope.cancel("nobody waits for it, and it has not been sent")
            raise

    async def _admit_all(
        self,
        planned_requests: Sequence[PlannedRequest],
        context: CallContext,
        deliver: Callable[[Outcome], Awaitable[None]],
        attempts: list[RunningAttempt],
    ) -> None:
        # It cannot wait for money that its own group has reserved.
        at_once = context.without_waiting()
        for planned in planned_requests:
            try:
                attempts.append(
                    await self._admit(await self._planner.read_inputs(planned), at_once)
                )
            except ImagenError as error:
                (index,) = planned.indexes
                await deliver(
                    failure_of(
                        planned.request,
                        index,
                        error,
                        model=planned.model.id,
                        provider=planned.provider.name,
                    )
                )

    def collect(self, attempts: Sequence[RunningAttempt], job: JobAccepted) -> None:
        """Collects a job that another process submitted: `attempts` are all of
        it, those that have ended too.
        """
        self._start(attempts, job)

    def close(self) -> None:
        """The client closes: nothing new is sent."""
        self._closed = True
        self.bound_salvage(self._salvage_seconds)

    def bound_salvage(self, seconds: float) -> None:
        """Leaves jobs that were taken to the next client, and gives what is
        being sent so long, at the most.
        """
        for group in self._groups:
            group.abandon(seconds)

    def _start(self, attempts: Sequence[RunningAttempt], job: JobAccepted | None = None) -> _Group:
        group = _Group(attempts, self._settler, self._ledger, self._now)
        group.job, group.sent = job, job is not None
        self._groups.add(group)
        self._nursery.start_soon(
            self._carry_out, group, name=f"imagen economy job of {len(attempts)}"
        )
        if self._closed:
            # It was admitted while the client closed.
            group.abandon(self._salvage_seconds)
        return group

    @trio.lowlevel.enable_ki_protection
    async def _carry_out(self, group: _Group) -> None:
        error: ImagenError = OutcomeUnknownError(
            "The provider ended the batch without a word on this request."
        )
        try:
            with group.scope:
                try:
                    await self._exchange(group)
                except ImagenError as raised:
                    error = raised
            if group.scope.cancelled_caught:
                error = self._cancelled(group)
            for attempt in group.open_tickets:
                if not group.scope.cancelled_caught:
                    await self._settler.fail(attempt, _copy(error))
                    continue
                attempt.fail(error)
                if group.job is None and group.sent:
                    await self._settler.end(attempt, "unknown", Cost(), error)
                elif group.job is None:
                    await self._settler.end(attempt, "failed", FREE, error)
        finally:
            for attempt in group.open_tickets:
                attempt.end()
            self._groups.discard(group)

    async def _exchange(self, group: _Group) -> None:
        planned: PlannedRequest = group.attempts[0].planned
        provider = planned.provider
        economy = provider.batch_api
        assert economy is not None
        calls = [self._planner.call_for(attempt.planned) for attempt in group.attempts]
        driver = self._driver_of(provider.name)
        if group.job is None:
            await driver.run(economy.run(calls), group)
        else:
            await driver.run(economy.collect(calls, group.job), group, billable=True)

    def _cancelled(self, group: _Group) -> ImagenError:
        name = group.attempts[0].planned.provider.name
        if group.job is not None:
            return OutcomeUnknownError(
                f"{name} still works on it: imagen collects it when it is opened the next time."
            )
        if group.sent:
            return OutcomeUnknownError(
                f"{name} did not say in time that it took the batch; it may be billed."
            )
        return ProviderError("The batch was dropped before it was sent.", code="TIMEOUT")


def _copy(error: ImagenError) -> ImagenError:
    """An error for one more ticket: each is cleaned by itself."""
    copied = type(error)(error.message)
    copied.code, copied.retryable, copied.billed = error.code, error.retryable, error.billed
    copied.details = dict(error.details)
    return copied
