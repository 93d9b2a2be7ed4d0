"""One attempt: admit, exchange, settle, keep."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from .._errors import ImagenError, OutcomeUnknownError, ProviderError
from .._policy.model_gate import is_lockout
from .._policy.retry import retry_attempts
from .._results.events import RetryScheduled, TryReason
from .._results.images import Outcome
from .._storage.ledger import AttemptRecord
from .._system.ids import new_id
from .._transport.received import ReceivedReply
from ..providers._steps import UnmadeImage
from .admission import Admission, CallContext
from .attempt import RunningAttempt, Trial, about_of
from .in_flight import InFlight
from .planning import PlannedRequest, Planner
from .runtime import Runtime
from .settlement import Settlement
from .unread_replies import UnreadReplies

__all__ = ["Engine"]

_STOP_SECONDS = 10.0


class Engine(InFlight[RunningAttempt]):
    """Attempts of one client at single requests.

    An attempt whose caller leaves is dropped if it has not been sent. If it
    has, it is salvaged: shielded, for at most `salvage_seconds`, and its images
    go into the library. A job that another process can collect is left in the
    ledger as accepted.
    """

    def __init__(
        self, runtime: Runtime, planner: Planner, admission: Admission, settlement: Settlement
    ) -> None:
        super().__init__(runtime)
        self._planner = planner
        self._admission = admission
        self._settlement = settlement
        self._unread = UnreadReplies(runtime)
        self._retry = runtime.settings.retry

    async def attempt(
        self,
        planned: PlannedRequest,
        context: CallContext,
        *,
        has_alternative: bool = False,
        why: TryReason = "first",
    ) -> tuple[Outcome, ...]:
        """Return one outcome per index, in order; retry what cannot be paid twice.

        There is one try if another model is left (`has_alternative`), or if the
        caller does not wait. A cancellation drops what has not been sent and
        salvages what has.

        Raises:
            BudgetExceededError: the money does not suffice; nothing was sent.
            ImagenError: there is no image.
        """
        planned = await self._planner.read_inputs(planned)
        policy = self._retry
        if has_alternative or not context.wait:
            policy = msgspec.structs.replace(policy, attempts=1)
        allowance = self._admission.retry_allowance(planned.provider.name)
        about = about_of(new_id(), planned, Trial(why=why), self._runtime)

        def tell_retry(error: ImagenError, wait_seconds: float) -> None:
            nonlocal about
            again = Trial(about["try_number"] + 1, "retry")
            about = about_of(new_id(), planned, again, self._runtime)
            context.emit(RetryScheduled(**about, error=error, wait_seconds=wait_seconds))

        async for retry in retry_attempts(policy, allowance, tell_retry):
            with retry:
                attempt = await self._admission.admit(
                    planned, context, has_alternative=has_alternative, about=about
                )
                self._run(attempt)
                return await self._wait(attempt, context)
        raise AssertionError("a retry loop ends in a result or an error")

    def collect(
        self, planned: PlannedRequest, row: AttemptRecord, replies: Sequence[ReceivedReply]
    ) -> RunningAttempt:
        """Fetch the images of a job that another process submitted, in the background.

        `replies` are those that it set aside: if the job is gone, they are searched.
        """
        attempt = RunningAttempt.from_ledger(self._runtime, planned, row)
        for reply in replies:
            attempt.received.add(reply)
        return self._run(attempt)

    def read_again(
        self, planned: PlannedRequest, row: AttemptRecord, replies: Sequence[ReceivedReply]
    ) -> RunningAttempt:
        """Read the replies that an attempt set aside, in the background."""
        row = msgspec.structs.replace(row, remote_id=None)
        return self.collect(planned, row, replies)

    def _run(self, attempt: RunningAttempt) -> RunningAttempt:
        return self._start(attempt, self._carry_out, name=f"imagen attempt {attempt.id}")

    async def _wait(self, attempt: RunningAttempt, context: CallContext) -> tuple[Outcome, ...]:
        try:
            await attempt.done.wait()
        except trio.Cancelled:
            attempt.abandon(self._salvage_seconds)
            raise
        if attempt.error is None:
            return attempt.outcomes
        if is_lockout(attempt.error):
            context.lockouts[attempt.planned.provider.name] = attempt.error
        raise attempt.error

    async def _carry_out(self, attempt: RunningAttempt) -> None:
        """Run an attempt to its end.

        The ledger is settled, the money released and the caller woken, whatever
        happens.
        """
        try:
            with attempt.scope:
                try:
                    await self._exchange(attempt)
                except ImagenError as error:
                    await self._settlement.fail(attempt, error)
            if attempt.scope.cancelled_caught:
                await self._settle_cancelled(attempt)
        finally:
            attempt.end()
            self._admission.release(attempt)

    async def _exchange(self, attempt: RunningAttempt) -> None:
        planned = attempt.planned
        provider = planned.provider
        call = self._planner.call_for(planned)
        driver = planned.driver
        if attempt.job is not None:
            assert provider.collect is not None
            exchange = provider.collect(call, attempt.job)
        else:
            exchange = provider.operations[planned.operation](call)
            if attempt.recovered:
                driver = driver.replaying(attempt.received)
        try:
            result = await driver.run(exchange, attempt, billable=attempt.recovered)
        except ImagenError as error:
            result = await self._unread.search(attempt, error)
        if all(isinstance(image, UnmadeImage) for image in result.images):
            result = await self._unread.look_again(attempt, result)
        await self._settlement.succeed(attempt, result)

    async def _settle_cancelled(self, attempt: RunningAttempt) -> None:
        name = attempt.planned.provider.name
        if not attempt.sent:
            error: ImagenError = ProviderError(
                "The request was dropped before it was sent.", code="TIMEOUT"
            )
        elif await self._stop_job(attempt):
            error = ProviderError(
                "The job was stopped at the provider before it cost anything.", code="TIMEOUT"
            )
        elif attempt.collectable:
            # The row stays as it is: the next client of this home collects the
            # job.
            error = OutcomeUnknownError(
                f"{name} still works on the image: imagen fetches it when a client is opened the"
                " next time."
            )
            attempt.fail(error, left=True)
            return
        else:
            error = OutcomeUnknownError(
                "No reply came before its caller stopped waiting for it; the image may be billed."
            )
        await self._settlement.fail(attempt, error)

    async def _stop_job(self, attempt: RunningAttempt) -> bool:
        """Stop a job that no process will collect; return True if it costs nothing then."""
        step = attempt.cancellable_by
        if step.request is None or (attempt.collectable and not step.stops_bill):
            return step.stops_bill
        with trio.move_on_after(_STOP_SECONDS, shield=True):
            try:
                response = await attempt.planned.driver.send(step.request)
            except ImagenError:
                return False
            return step.stops_bill and response.status < 300
        return False
