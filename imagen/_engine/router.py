"""Routing: which models are tried for a request, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TypeVar

import msgspec
import trio

from .._errors import AllProvidersFailedError, BudgetExceededError, ConfigurationError, ImagenError
from .._policy.model_gate import fallback_reason
from .._requests.options import Routing, RoutingOptions
from .._requests.request import Request
from .._results.events import CacheHit, TryReason
from .._results.images import Image, Outcome, failure_of
from .._results.prices import Quote
from .._storage.statistics import StatisticsBy
from .._system.nursery import open_bare_nursery
from .admission import CallContext
from .cache import NO_SIBLINGS, ResultCache, Siblings, Wanted
from .engine import Engine
from .planning import PlannedRequest, Planner
from .runtime import Runtime

__all__ = ["Router"]

Result = TypeVar("Result")

# Fewer images do not show how long the slowest take.
_LEAST_TIMED = 10


class Router:
    """Router of requests: cache, fallback models, hedging."""

    def __init__(
        self, runtime: Runtime, planner: Planner, engine: Engine, cache: ResultCache | None
    ) -> None:
        self._statistics = StatisticsBy(runtime.database)
        self._policy = runtime.settings.routes
        self._planner = planner
        self._engine = engine
        self._cache = cache

    async def run(
        self,
        request: Request,
        context: CallContext,
        indexes: tuple[int, ...] = (0,),
        batch_id: str | None = None,
        *,
        siblings: Siblings = NO_SIBLINGS,
    ) -> tuple[Outcome, ...]:
        """Return one outcome per index, in order. Failures are values.

        Raises:
            BudgetExceededError: the money does not suffice; nothing was sent.
        """
        try:
            planned_requests, unfit = self._plan(request, context.options, indexes, batch_id)
            planned_requests = await self._sort(
                planned_requests, context.options.routing or self._policy.routing
            )
            if context.options.cache:
                wanted = Wanted(seed=request.seed, siblings=siblings)
                return await self._look_first(planned_requests, unfit, context, wanted)
        except BudgetExceededError:
            raise
        except ImagenError as error:
            return tuple(failure_of(request, index, error) for index in indexes)
        return await self._make(planned_requests, unfit, context)

    async def _make(
        self, planned_requests: list[PlannedRequest], unfit: list[ImagenError], context: CallContext
    ) -> tuple[Outcome, ...]:
        if context.ask is not None:
            await context.ask()
        return await self._try_each(planned_requests, unfit, context)

    async def _look_first(
        self,
        planned_requests: list[PlannedRequest],
        unfit: list[ImagenError],
        context: CallContext,
        wanted: Wanted,
    ) -> tuple[Outcome, ...]:
        if self._cache is None:
            raise ConfigurationError(
                "There is no library to look into: leave out cache, or library=None."
            )
        read = {}
        for planned in planned_requests:
            # Inputs that do not suit one model may suit the next; the attempt
            # raises the error if needed.
            with suppress(ImagenError):
                read[planned.model.id] = await self._planner.read_inputs(planned)
        make = partial(
            self._make,
            [read.get(planned.model.id, planned) for planned in planned_requests],
            unfit,
            context,
        )
        if not read:
            return await make()
        outcomes = await self._cache.run([*read.values()], wanted, make)
        for outcome in outcomes:
            if isinstance(outcome, Image) and outcome.cached:
                context.emit(_hit(outcome, planned_requests[0].batch_id))
        return outcomes

    def quote(self, request: Request, options: RoutingOptions) -> Quote | None:
        """Return the cost of the first model that can do the request; None if
        no model can, as nothing is sent then.
        """
        try:
            planned_requests, _ = self._plan(request, options, (0,), None)
        except ImagenError:
            return None
        return planned_requests[0].quote

    def _plan(
        self,
        request: Request,
        options: RoutingOptions,
        indexes: tuple[int, ...],
        batch_id: str | None,
    ) -> tuple[list[PlannedRequest], list[ImagenError]]:
        """Return a planned request for each model that can do it; raise if the
        request itself is invalid.
        """
        fallback = options.fallback
        if fallback is None:
            # A request that names a model falls back only if its options ask
            # for it.
            fallback = self._policy.fallback if request.model is None else ()
        planned_requests: list[PlannedRequest] = []
        errors: list[ImagenError] = []
        for name in (None, *fallback):
            try:
                planned = self._planner.plan(request, indexes, batch_id, model_id=name)
            except ConfigurationError as error:
                errors.append(error)
            except ImagenError as error:
                if name is None:
                    raise
                errors.append(error)
            else:
                if all(planned.model.id != other.model.id for other in planned_requests):
                    planned_requests.append(planned)
        if not planned_requests:
            raise errors[0]
        return planned_requests, errors

    async def _sort(
        self, planned_requests: list[PlannedRequest], routing: Routing
    ) -> list[PlannedRequest]:
        if len(planned_requests) == 1 or routing == "first":
            return planned_requests
        if routing == "cheapest":
            costs = {planned.model.id: planned.quote.expected_usd for planned in planned_requests}
            return sorted(planned_requests, key=lambda planned: _or_last(costs[planned.model.id]))
        medians = {
            planned.model.id: await self._median(planned.model.id) for planned in planned_requests
        }
        return sorted(planned_requests, key=lambda planned: _or_last(medians[planned.model.id]))

    async def _median(self, model: str) -> float | None:
        timing = await self._statistics.recent(model)
        return None if timing is None else timing.p50_seconds

    async def _try_each(
        self, planned_requests: list[PlannedRequest], unfit: list[ImagenError], context: CallContext
    ) -> tuple[Outcome, ...]:
        failures: list[ImagenError] = []
        for position, planned in enumerate(planned_requests):
            if not _fits(planned):
                return await self._try_in_parts(planned_requests[position:], unfit, context)
            try:
                others = planned_requests[position + 1 :]
                why: TryReason = "fallback" if failures else "first"
                return await self._attempt(planned, others, context, why)
            except BudgetExceededError:
                raise
            except ImagenError as error:
                failures.append(error)
                if fallback_reason(error) not in self._policy.fallback_on:
                    break
        last = planned_requests[len(failures) - 1]
        final = failures[0] if len(failures) == 1 else _all_failed(failures, unfit)
        return tuple(
            failure_of(
                last.request,
                index,
                final,
                model=last.model.id,
                provider=last.provider.name,
                first=index == last.indexes[0],
            )
            for index in last.indexes
        )

    async def _try_in_parts(
        self, planned_requests: list[PlannedRequest], unfit: list[ImagenError], context: CallContext
    ) -> tuple[Outcome, ...]:
        """Try several smaller requests, as the next model makes fewer images in
        one.
        """
        indexes, most = (
            planned_requests[0].indexes,
            planned_requests[0].model.capabilities.max_images_per_request,
        )
        outcomes: list[Outcome] = []
        while len(outcomes) < len(indexes):
            part = indexes[len(outcomes) : len(outcomes) + most]
            again = [
                self._replan(planned, part, seed_offset=len(outcomes))
                for planned in planned_requests
            ]
            try:
                outcomes += await self._try_each(again, unfit, context)
            except BudgetExceededError as error:
                if not outcomes:
                    raise
                # Images that have come are paid, and returned.
                outcomes += [
                    failure_of(planned_requests[0].request, index, error)
                    for index in indexes[len(outcomes) :]
                ]
        return tuple(outcomes)

    def _replan(
        self, planned: PlannedRequest, indexes: tuple[int, ...], *, seed_offset: int
    ) -> PlannedRequest:
        request = planned.request
        if request.seed is not None:
            # The same seed would make the same image again.
            request = msgspec.structs.replace(request, seed=request.seed + seed_offset)
        return self._planner.plan(request, indexes, planned.batch_id, model_id=planned.model.id)

    async def _attempt(
        self,
        planned: PlannedRequest,
        others: list[PlannedRequest],
        context: CallContext,
        why: TryReason,
    ) -> tuple[Outcome, ...]:
        first = partial(
            self._engine.attempt, planned, context, has_alternative=bool(others), why=why
        )
        after = context.options.hedge_after_seconds
        if after is None:
            after = self._policy.hedge_after_seconds
        if after == "p95":
            timing = await self._statistics.recent(planned.model.id)
            known = timing is not None and timing.images >= _LEAST_TIMED
            after = timing.p95_seconds if timing is not None and known else None
        if after is None or not others or not _fits(others[0]):
            return await first()
        # The second request is extra: it is sent only if money and a slot are
        # free now.
        at_once = context.without_waiting()
        second = partial(
            self._engine.attempt, others[0], at_once, has_alternative=True, why="hedge"
        )
        return await _hedge(first, second, after)


def _hit(image: Image, batch_id: str | None) -> CacheHit:
    return CacheHit(
        request=image.request,
        index=image.index,
        image_id=image.id,
        model=image.model,
        provider=image.provider,
        batch_id=batch_id,
    )


def _fits(planned: PlannedRequest) -> bool:
    """Return True if the model makes all the images in one request."""
    return len(planned.indexes) <= planned.model.capabilities.max_images_per_request


def _all_failed(failures: list[ImagenError], unfit: list[ImagenError]) -> AllProvidersFailedError:
    told = " ".join(error.message for error in failures + unfit)
    error = AllProvidersFailedError(f"Every model failed. {told}", failures=tuple(failures + unfit))
    if any(failure.billed != "no" for failure in failures):
        error.billed = "unknown"
    error.retryable = any(failure.retryable for failure in failures)
    return error


def _or_last(number: float | Decimal | None) -> float:
    return float("inf") if number is None else float(number)


async def _hedge(
    first: Callable[[], Awaitable[Result]],
    second: Callable[[], Awaitable[Result]],
    after_seconds: float,
) -> Result:
    """Return the result of the call that succeeds first; start `second` if
    `first` takes longer than `after_seconds`.

    The other one is cancelled then.

    Raises:
        ImagenError: both calls failed, or `first` did before `second` started.
            The error is that of `first`, unless only `second` may have been
            billed: then nothing more must be sent.
    """
    results: list[Result] = []
    errors: dict[str, ImagenError] = {}
    second_began = trio.Event()

    async def run(
        name: str, call: Callable[[], Awaitable[Result]], scope: trio.CancelScope
    ) -> None:
        try:
            results.append(await call())
        except ImagenError as error:
            errors[name] = error
            if name == "second" or second_began.is_set():
                return
        scope.cancel("the race is over")

    async def run_later(scope: trio.CancelScope) -> None:
        await trio.sleep(after_seconds)
        second_began.set()
        await run("second", second, scope)

    async with open_bare_nursery() as nursery:
        nursery.start_soon(run, "first", first, nursery.cancel_scope)
        nursery.start_soon(run_later, nursery.cancel_scope)
    if results:
        return results[0]
    raise next((error for error in errors.values() if error.billed != "no"), errors["first"])
