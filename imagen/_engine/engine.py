"""The way of one attempt: admit, exchange, settle, keep.

What can be billed runs as a *ticket* in the client's nursery from the start,
and whoever wants it only waits. So leaving a batch never tears down a request
that is on the meter: one that has not been sent is dropped, one that has been
sent is salvaged, shielded and bounded by `salvage_seconds`, and its image lands
in the library. A job that another process can collect is not even given up
then: it stays in the ledger as accepted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

import msgspec
import trio

from .._errors import ConfigurationError, ImagenError, OutcomeUnknownError, ProviderError
from .._policy.budget import BudgetStack
from .._policy.model_gate import ModelGate, ModelGates, is_lockout
from .._policy.retry import RetryPolicy, retry_attempts
from .._requests.options import RoutingOptions
from .._results.images import Cost, Outcome
from .._storage.ledger import AttemptRecord, Ledger
from .._transport.driver import ExchangeDriver
from .._transport.job_waiters import JobWaiters
from .admission import Admission
from .attempt import Emit, RunningAttempt
from .planning import PlannedRequest, Planner
from .settling import FREE, Settler

__all__ = ["Engine", "CallContext"]

_STOP_SECONDS = 10.0


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """On what terms a caller wants images: of whose money, and whether he waits
    for a slot.

    `lockouts` are errors by provider that further requests on the same terms
    would only meet again. Whoever has to agree to the cost is asked by `ask`,
    once it is known that something is to be made.
    """

    budget_stack: BudgetStack
    emit: Emit
    options: RoutingOptions = RoutingOptions()
    lockouts: dict[str, ImagenError] = {}
    ask: Callable[[], Awaitable[object]] | None = None

    @property
    def wait(self) -> bool:
        """Whether the caller waits for a slot."""
        return self.options.wait

    def without_waiting(self) -> CallContext:
        """The same terms for a request that goes now or never."""
        return msgspec.structs.replace(
            self, options=msgspec.structs.replace(self.options, wait=False)
        )


class Engine:
    """Turns orders into outcomes; one per client. Its tickets run in the
    client's nursery.
    """

    def __init__(
        self,
        *,
        planner: Planner,
        admission: Admission,
        driver_of: Callable[[str], ExchangeDriver],
        ledger: Ledger,
        settler: Settler,
        routes: ModelGates,
        job_waiters: JobWaiters,
        nursery: trio.Nursery,
        retry: RetryPolicy,
        salvage_seconds: float,
        now: Callable[[], float],
    ) -> None:
        self._planner = planner
        self._admission = admission
        self._driver_of = driver_of
        self._ledger = ledger
        self._settler = settler
        self._gates = routes
        self._job_waiters = job_waiters
        self._nursery = nursery
        self._retry = retry
        self._salvage_seconds = salvage_seconds
        self._now = now
        self._attempts: set[RunningAttempt] = set()
        self._closed = False

    async def attempt(
        self, planned: PlannedRequest, context: CallContext, *, has_alternative: bool = False
    ) -> tuple[Outcome, ...]:
        """Gives one outcome for each index, in order, after as many tries as
        cannot pay twice.

        With another way left (`has_alternative`), or for a caller who does not
        wait, there is one try. When cancelled, what has not been sent is
        dropped, and what has been sent is salvaged.

        Raises:
            BudgetExceededError: the money does not suffice; nothing was sent.
            ImagenError: there is no image.
        """
        planned = await self._planner.read_inputs(planned)
        once = has_alternative or not context.wait
        policy = msgspec.structs.replace(self._retry, attempts=1) if once else self._retry
        async for attempt in retry_attempts(policy, self._gates.allowance(planned.provider.name)):
            with attempt:
                return await self._try_once(planned, context, has_alternative=has_alternative)
        raise AssertionError("a retry loop ends in a result or an error")

    def collect(self, planned: PlannedRequest, row: AttemptRecord, emit: Emit) -> RunningAttempt:
        """Fetches the images of a job that another process submitted, in the
        background.
        """
        attempt = RunningAttempt.again(
            planned,
            row,
            ledger=self._ledger,
            job_waiters=self._job_waiters,
            emit=emit,
            now=self._now,
        )
        self._start(attempt)
        return attempt

    def close(self) -> None:
        """The client closes: nothing new is sent, and every ticket gets its
        last deadline.
        """
        self._closed = True
        self.bound_salvage(self._salvage_seconds)

    def bound_salvage(self, seconds: float) -> None:
        """Gives what is in flight so long to finish, at the most."""
        for attempt in self._attempts:
            attempt.abandon(seconds, closing=True)

    @property
    def attempts(self) -> Sequence[RunningAttempt]:
        """What is under way here."""
        return list(self._attempts)

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self._attempts)

    # --- one attempt ----------------------------------------------------------

    async def _try_once(
        self, planned: PlannedRequest, context: CallContext, *, has_alternative: bool
    ) -> tuple[Outcome, ...]:
        if (locked := context.lockouts.get(planned.provider.name)) is not None:
            raise type(locked)(locked.message, code=locked.code, details=locked.details)
        gate = self._gates.for_model(planned.model)
        patience = self._retry.total_seconds
        started = await gate.enter(
            wait=context.wait, has_alternative=has_alternative, patience_seconds=patience
        )
        attempt: RunningAttempt | None = None
        try:
            attempt = await self.admit(planned, context)
        finally:
            if attempt is None:
                gate.drop(started)
        self._start(attempt, gate, started)
        try:
            await attempt.done.wait()
        except trio.Cancelled:
            attempt.abandon(self._salvage_seconds)
            raise
        if attempt.error is None:
            return attempt.outcomes
        if is_lockout(attempt.error):
            context.lockouts[planned.provider.name] = attempt.error
        raise attempt.error

    async def admit(self, planned: PlannedRequest, context: CallContext) -> RunningAttempt:
        """Gets an order its money and its row in the ledger.

        Raises:
            BudgetExceededError: there is not enough money.
            RateLimitError: there is no slot, and the caller does not wait.
        """
        reservation = await context.budget_stack.admit(planned.quote, wait=context.wait)
        attempt = RunningAttempt(
            planned,
            reservation=reservation,
            ledger=self._ledger,
            job_waiters=self._job_waiters,
            emit=context.emit,
            now=self._now,
        )
        reserved = False
        try:
            if self._closed:
                raise ConfigurationError(
                    "The client is closed: use it inside its `async with open_client()` block."
                )
            await self._admission.reserve(attempt, wait=context.wait)
            reserved = True
        finally:
            if not reserved:
                reservation.settle(Decimal(0))
        for alarm in context.budget_stack.take_alarms():
            context.emit(alarm)
        return attempt

    def _start(
        self, attempt: RunningAttempt, gate: ModelGate | None = None, started: float = 0.0
    ) -> None:
        self._attempts.add(attempt)
        self._nursery.start_soon(
            self._carry_out, attempt, gate, started, name=f"imagen attempt {attempt.id}"
        )
        if self._closed:
            # It was admitted while the client closed.
            attempt.abandon(self._salvage_seconds, closing=True)

    @trio.lowlevel.enable_ki_protection
    async def _carry_out(
        self, attempt: RunningAttempt, gate: ModelGate | None, started: float
    ) -> None:
        """The whole life of a ticket. Whatever happens, the ledger is settled,
        the money released, the waiter woken.
        """
        try:
            with attempt.scope:
                try:
                    await self._exchange(attempt)
                except ImagenError as error:
                    await self._settler.fail(attempt, error)
            if attempt.scope.cancelled_caught:
                await self._settle_cancelled(attempt)
        finally:
            attempt.end()
            if gate is not None and attempt.sent and not attempt.scope.cancelled_caught:
                gate.leave(started, attempt.error, attempt.headers, self._now())
            elif gate is not None:
                gate.drop(started)
            self._attempts.discard(attempt)
            self._admission.settled()

    async def _exchange(self, attempt: RunningAttempt) -> None:
        planned = attempt.planned
        provider = planned.provider
        call = self._planner.call_for(planned)
        driver = self._driver_of(provider.name)
        if attempt.job is not None:
            assert provider.collect is not None
            result = await driver.run(provider.collect(call, attempt.job), attempt, billable=True)
        else:
            result = await driver.run(provider.operations[planned.operation](call), attempt)
        await self._settler.succeed(attempt, result)

    async def _settle_cancelled(self, attempt: RunningAttempt) -> None:
        name = attempt.planned.provider.name
        if attempt.sent and await self._stop_job(attempt):
            attempt.error = ProviderError(
                "The job was stopped at the provider before it cost anything.", code="TIMEOUT"
            )
            await self._settler.end(attempt, "failed", FREE, attempt.error)
        elif attempt.sent and attempt.collectable:
            # The row stays as it is: whoever opens this home next collects the
            # job.
            attempt.error = OutcomeUnknownError(
                f"{name} still works on it: imagen fetches the image when it is opened the next"
                " time."
            )
        elif attempt.sent:
            attempt.error = OutcomeUnknownError(
                f"No answer came within the {self._salvage_seconds:g} seconds of salvage; the image"
                " may be billed."
            )
            await self._settler.end(attempt, "unknown", Cost(), attempt.error)
        else:
            attempt.error = ProviderError(
                "The request was dropped before it was sent.", code="TIMEOUT"
            )
            await self._settler.end(attempt, "failed", FREE, attempt.error)

    async def _stop_job(self, attempt: RunningAttempt) -> bool:
        """Stops the job at the provider, where nobody will collect it. Gives
        whether it costs nothing then.
        """
        step = attempt.cancellable_by
        if step.request is None or (attempt.collectable and not step.stops_bill):
            return step.stops_bill
        with trio.move_on_after(_STOP_SECONDS, shield=True):
            try:
                response = await self._driver_of(attempt.planned.provider.name).send(step.request)
            except ImagenError:
                return False
            return step.stops_bill and response.status < 300
        return False
