"""Admission: may this request be sent now?

Asked in this order; a request that may not be sent leaves nothing behind:

    lockout         the provider refused the account during this call
    model gate      pause, concurrency limit and circuit breaker of the model
    budget stack    budget scopes and budget of the caller
    client          is it still open, has the disk room
    ledger          standing budgets and rates, counted in the transaction that
                    writes the attempt's row
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal

import msgspec
import trio

from .._errors import BudgetExceededError, ConfigurationError, ImagenError, RateLimitError
from .._policy.budget import BudgetStack
from .._policy.model_gate import ModelGates
from .._policy.quotas import Admitted, OverBudget, OverRate, Rate
from .._policy.retry import RetryAllowance
from .._requests.catalog import Model
from .._requests.options import RoutingOptions
from .._requests.request import operation_of
from .._results.events import AttemptDropped, AttemptQueued, BudgetAlarm
from .._storage.ledger import Attempt
from .._system.ids import new_id
from .._system.signal import Signal
from ..providers._steps import Progress
from .attempt import FIRST, About, RunningAttempt, about_of
from .planning import PlannedRequest
from .runtime import Emit, Runtime

__all__ = ["Admission", "CallContext"]

# Other processes do not notify this one when their attempts end.
_POLL_SECONDS = 0.1
_LONGEST_POLL_SECONDS = 2.0


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """Circumstances of one call: who pays, who is notified, what may be waited for.

    `lockouts` are errors by provider that further requests of the call would
    only meet again. `ask` asks the caller to agree to the cost, once it is
    known that something will be sent.
    """

    budget_stack: BudgetStack
    emit: Emit
    options: RoutingOptions = RoutingOptions()
    lockouts: dict[str, ImagenError] = {}
    ask: Callable[[], Awaitable[object]] | None = None

    @property
    def wait(self) -> bool:
        """True if the caller waits for a slot."""
        return self.options.wait

    def without_waiting(self) -> CallContext:
        """Return the same context for a request that is sent now or never."""
        return msgspec.structs.replace(
            self, options=msgspec.structs.replace(self.options, wait=False)
        )


class Admission:
    """Admission of the attempts of one client.

    Args:
        resolve_dead: Settles the attempts of clients that died, as they hold
            money and slots.
    """

    def __init__(self, runtime: Runtime, resolve_dead: Callable[[], Awaitable[object]]) -> None:
        settings = runtime.settings
        self._runtime = runtime
        self._resolve_dead = resolve_dead
        self._gates = ModelGates(settings.routes, runtime.emit)
        self._patience_seconds = settings.retry.total_seconds
        self._rate_limits = {
            name: access.rate_limit for name, access in settings.access.items() if access.rate_limit
        }
        self._queues: dict[str, trio.Lock] = {}
        self._released = Signal()
        self._closed = False

    def close(self) -> None:
        """Admit nothing more."""
        self._closed = True
        self._gates.close()

    def retry_allowance(self, provider: str) -> RetryAllowance:
        """Return the retries that all requests to a provider share."""
        return self._gates.allowance(provider)

    async def admit(
        self,
        planned: PlannedRequest,
        context: CallContext,
        *,
        has_alternative: bool,
        about: About,
    ) -> RunningAttempt:
        """Reserve a place, money and a row for one request. The subscriber is
        notified of both ends of the wait.

        A cancellation leaves nothing reserved.

        Raises:
            BudgetExceededError: a budget does not suffice.
            RateLimitError: there is no slot, and the caller does not wait.
            ImagenError: the provider refused the account, or its model is down.
        """
        queued_at = trio.current_time()
        context.emit(AttemptQueued(**about))
        try:
            attempt = await self._admit(
                planned, context, has_alternative=has_alternative, about=about
            )
        except BaseException as error:
            context.emit(_dropped(about, queued_at, error))
            raise
        attempt.note_reserved(trio.current_time() - queued_at)
        return attempt

    async def _admit(
        self,
        planned: PlannedRequest,
        context: CallContext,
        *,
        has_alternative: bool,
        about: About,
    ) -> RunningAttempt:
        provider = planned.provider.name
        if (locked := context.lockouts.get(provider)) is not None:
            raise type(locked)(locked.message, code=locked.code, details=locked.details)
        entry = await self._gates.for_model(planned.model).enter(
            wait=context.wait,
            has_alternative=has_alternative,
            patience_seconds=self._patience_seconds,
        )
        try:
            attempt = await self._reserve(planned, context, about)
        except BaseException:
            entry.drop()
            raise
        attempt.gate_entry = entry
        return attempt

    async def reserve(self, planned: PlannedRequest, context: CallContext) -> RunningAttempt:
        """Reserve money and a row, without the gate of the model: for a batch API.

        Raises:
            BudgetExceededError: a budget does not suffice.
            RateLimitError: there is no slot, and the caller does not wait.
            StorageError: the disk is full.
        """
        about = about_of(new_id(), planned, FIRST, self._runtime)
        queued_at = trio.current_time()
        context.emit(AttemptQueued(**about))
        try:
            attempt = await self._reserve(planned, context, about)
        except BaseException as error:
            context.emit(_dropped(about, queued_at, error))
            raise
        attempt.note_reserved(trio.current_time() - queued_at)
        return attempt

    async def _reserve(
        self, planned: PlannedRequest, context: CallContext, about: About
    ) -> RunningAttempt:
        stack = context.budget_stack
        reservation = await stack.admit(planned.quote, wait=context.wait)
        attempt = RunningAttempt(self._runtime, planned, reservation, context.emit, about)
        try:
            if self._closed:
                raise ConfigurationError(
                    "The client is closed: use it inside its `async with open_client()` block."
                )
            await self._reserve_row(attempt, wait=context.wait)
        except BaseException:
            reservation.settle(Decimal(0))
            raise
        for alarm in stack.take_alarms():
            context.emit(alarm)
        return attempt

    def release(self, attempt: RunningAttempt) -> None:
        """Give the place of an attempt back that has ended."""
        given_up = attempt.scope.cancelled_caught or not attempt.sent
        if (entry := attempt.gate_entry) is not None and given_up:
            entry.drop()
        elif entry is not None:
            entry.leave(attempt.error, attempt.headers, self._runtime.now())
        self._released.send()

    # --- the ledger -----------------------------------------------------------

    async def _reserve_row(self, attempt: RunningAttempt, *, wait: bool) -> None:
        library = self._runtime.library
        if library is not None:
            await library.files.check_room()
        queue = self._queues.setdefault(attempt.planned.model.id, trio.Lock())
        # A caller who does not wait is admitted or refused at once, past the
        # queue.
        may_try = not wait or not queue.locked()
        if may_try and await self._try(attempt, wait=wait) is None:
            return
        # First come, first served; only the head of the queue polls the ledger.
        async with queue:
            poll_seconds = _POLL_SECONDS
            while (verdict := await self._try(attempt, wait=wait)) is not None:
                poll_seconds = await self._wait(attempt, verdict, poll_seconds)

    async def _try(self, attempt: RunningAttempt, *, wait: bool) -> OverBudget | OverRate | None:
        """Return the limit in the way, if it is worth waiting for."""
        planned, now = attempt.planned, self._runtime.now()
        tag = planned.request.tag or ""
        budgets = [
            one
            for one in self._runtime.settings.budgets
            if one.binds(planned.provider.name, planned.model.id, tag)
        ]
        if planned.quote.high_usd is None and any(one.usd is not None for one in budgets):
            raise BudgetExceededError(
                "The price of this request is unknown, and a budget is set in imagen.toml: set"
                " with assume_usd (--assume on the command line) the most that one image may cost."
            )
        verdict = await self._runtime.ledger.reserve(
            self._attempt(attempt, tag, now), budgets, self._rates(planned)
        )
        match verdict:
            case Admitted():
                for budget, share, taken in verdict.alarms:
                    attempt.emit(BudgetAlarm(budget=str(budget), share=share, taken=taken))
                return None
            case OverBudget() if verdict.hopeless or not wait:
                raise BudgetExceededError(
                    f"{verdict}, so the request was not sent. Raise it in imagen.toml, or wait."
                )
            case OverRate() if not wait:
                due = None if verdict.due_at is None else max(0.0, verdict.due_at - now)
                when = "when one has ended" if due is None else f"in {due:.0f} seconds"
                raise RateLimitError(f"{verdict}; a slot is due {when}.", retry_after_seconds=due)
        return verdict

    async def _wait(
        self, attempt: RunningAttempt, verdict: OverBudget | OverRate, poll_seconds: float
    ) -> float:
        """Wait until a retry is worthwhile; return the next polling interval."""
        if isinstance(verdict, OverRate) and verdict.due_at is not None:
            seconds = max(0.0, verdict.due_at - self._runtime.now())
            attempt.progress(Progress(note=f"waits {seconds:.0f} seconds for a slot: {verdict}"))
            await trio.sleep(seconds + 0.001)
            return _POLL_SECONDS
        if poll_seconds == _LONGEST_POLL_SECONDS:
            attempt.progress(Progress(note=f"waits for what is in flight: {verdict}"))
        with trio.move_on_after(poll_seconds) as timeout:
            await self._released.wait()
        if not timeout.cancelled_caught:
            return _POLL_SECONDS
        if poll_seconds >= _LONGEST_POLL_SECONDS:
            await self._resolve_dead()
        return min(2 * poll_seconds, _LONGEST_POLL_SECONDS)

    def _attempt(self, attempt: RunningAttempt, tag: str, now: float) -> Attempt:
        planned = attempt.planned
        return Attempt(
            id=attempt.id,
            batch_id=planned.batch_id,
            first_index=planned.indexes[0],
            provider=planned.provider.name,
            model=planned.model.id,
            operation=operation_of(planned.request),
            images=len(planned.indexes),
            tag=tag,
            request_json=planned.request_json,
            reserved_usd=planned.quote.high_usd,
            economy=planned.economy,
            why=attempt.why,
            owner=self._runtime.owner,
            created_at=now,
        )

    def _rates(self, planned: PlannedRequest) -> list[Rate]:
        rates: list[Rate] = []
        if planned.economy:
            # A batch API has limits of its own.
            return rates
        if (limit := self._rate_limits.get(planned.provider.name)) is not None:
            rates.append(Rate(column="provider", name=planned.provider.name, limit=limit))
        model: Model = planned.model
        if model.rate_limit is not None:
            rates.append(Rate(column="model", name=model.id, limit=model.rate_limit))
        return rates


def _dropped(about: About, queued_at: float, error: BaseException) -> AttemptDropped:
    return AttemptDropped(
        **about,
        waited_seconds=trio.current_time() - queued_at,
        error=error if isinstance(error, ImagenError) else None,
    )
