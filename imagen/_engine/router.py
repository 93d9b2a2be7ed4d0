"""Which way a request goes: its own model, then those to fall back on, perhaps two at once."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from functools import partial

import msgspec

from .._errors import AllProvidersFailedError, BudgetExceededError, ConfigurationError, ImagenError
from .._policy.model_gate import RoutingPolicy, fallback_reason
from .._requests.options import Routing, RoutingOptions
from .._requests.request import Request
from .._results.images import Outcome, failure_of
from .._results.prices import Quote
from .._storage.ledger import Ledger
from .cache import NO_SIBLINGS, ResultCache, Siblings, Wanted
from .engine import CallContext, Engine
from .hedging import hedge, quantile
from .planning import PlannedRequest, Planner

__all__ = ["Router"]

# From fewer pictures nobody can tell how long the slowest take.
_LEAST_TIMED = 10


class Router:
    """Gives the outcomes of requests, over whichever way they come."""

    def __init__(
        self, *, planner: Planner, engine: Engine, ledger: Ledger, policy: RoutingPolicy, cache: ResultCache | None
    ) -> None:
        self._planner = planner
        self._engine = engine
        self._ledger = ledger
        self._policy = policy
        self._cache = cache

    async def fulfil(
        self,
        request: Request,
        terms: CallContext,
        indexes: tuple[int, ...] = (0,),
        batch_id: str | None = None,
        *,
        siblings: Siblings = NO_SIBLINGS,
    ) -> tuple[Outcome, ...]:
        """Gives one outcome for each index, in order. Failures are values.

        Raises:
            BudgetExceededError: the money does not suffice; nothing was sent.
        """
        try:
            orders, unfit = self._plan(request, terms.options, indexes, batch_id)
            orders = await self._sort(orders, terms.options.routing or self._policy.routing)
            if terms.options.cache:
                wanted = Wanted(seed=request.seed, siblings=siblings)
                return await self._look_first(orders, unfit, terms, wanted)
        except BudgetExceededError:
            raise
        except ImagenError as error:
            return tuple(failure_of(request, index, error) for index in indexes)
        return await self._make(orders, unfit, terms)

    async def _make(
        self, orders: list[PlannedRequest], unfit: list[ImagenError], terms: CallContext
    ) -> tuple[Outcome, ...]:
        if terms.ask is not None:
            await terms.ask()
        return await self._try_each(orders, unfit, terms)

    async def _look_first(
        self, orders: list[PlannedRequest], unfit: list[ImagenError], terms: CallContext, wanted: Wanted
    ) -> tuple[Outcome, ...]:
        if self._cache is None:
            raise ConfigurationError("There is no library to look into: leave out cache, or library=None.")
        read = {}
        for order in orders:
            # Pictures that do not suit one model may suit the next: the attempt says so, where it comes to that.
            with suppress(ImagenError):
                read[order.model.id] = await self._planner.read_inputs(order)
        make = partial(self._make, [read.get(order.model.id, order) for order in orders], unfit, terms)
        return await (self._cache.fulfil([*read.values()], wanted, make) if read else make())

    def quote(self, request: Request, options: RoutingOptions) -> Quote | None:
        """What the first model that can take it will cost; None where none can, as nothing will be sent then."""
        try:
            orders, _ = self._plan(request, options, (0,), None)
        except ImagenError:
            return None
        return orders[0].quote

    def _plan(
        self, request: Request, options: RoutingOptions, indexes: tuple[int, ...], batch_id: str | None
    ) -> tuple[list[PlannedRequest], list[ImagenError]]:
        """An order for each way that can take the request; what is wrong with the request itself is wrong everywhere."""
        fallback = options.fallback
        if fallback is None:
            # Whoever names a model wants that one, and says so if another will do.
            fallback = self._policy.fallback if request.model is None else ()
        orders: list[PlannedRequest] = []
        errors: list[ImagenError] = []
        for name in (None, *fallback):
            try:
                order = self._planner.plan(request, indexes, batch_id, model_id=name)
            except ConfigurationError as error:
                errors.append(error)
            except ImagenError as error:
                if name is None:
                    raise
                errors.append(error)
            else:
                if all(order.model.id != other.model.id for other in orders):
                    orders.append(order)
        if not orders:
            raise errors[0]
        return orders, errors

    async def _sort(self, orders: list[PlannedRequest], routing: Routing) -> list[PlannedRequest]:
        if len(orders) == 1 or routing == "first":
            return orders
        if routing == "cheapest":
            costs = {order.model.id: order.quote.expected_usd for order in orders}
            return sorted(orders, key=lambda order: _or_last(costs[order.model.id]))
        medians = {
            order.model.id: quantile(list(await self._ledger.seconds_of(order.model.id)), 0.5) for order in orders
        }
        return sorted(orders, key=lambda order: _or_last(medians[order.model.id]))

    async def _try_each(
        self, orders: list[PlannedRequest], unfit: list[ImagenError], terms: CallContext
    ) -> tuple[Outcome, ...]:
        failures: list[ImagenError] = []
        for position, order in enumerate(orders):
            if not _fits(order):
                return await self._try_in_parts(orders[position:], unfit, terms)
            try:
                return await self._attempt(order, orders[position + 1 :], terms)
            except BudgetExceededError:
                raise
            except ImagenError as error:
                failures.append(error)
                if fallback_reason(error) not in self._policy.fallback_on:
                    break
        last = orders[len(failures) - 1]
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
        self, orders: list[PlannedRequest], unfit: list[ImagenError], terms: CallContext
    ) -> tuple[Outcome, ...]:
        """The same in several requests, as the next model makes fewer pictures in one."""
        indexes, most = orders[0].indexes, orders[0].model.capabilities.max_images_per_request
        outcomes: list[Outcome] = []
        while len(outcomes) < len(indexes):
            part = indexes[len(outcomes) : len(outcomes) + most]
            again = [self._replan(order, part, seed_offset=len(outcomes)) for order in orders]
            try:
                outcomes += await self._try_each(again, unfit, terms)
            except BudgetExceededError as error:
                if not outcomes:
                    raise
                # What has come is paid, and handed over.
                outcomes += [failure_of(orders[0].request, index, error) for index in indexes[len(outcomes) :]]
        return tuple(outcomes)

    def _replan(self, order: PlannedRequest, indexes: tuple[int, ...], *, seed_offset: int) -> PlannedRequest:
        request = order.request
        if request.seed is not None:
            # The same seed would give the same picture again.
            request = msgspec.structs.replace(request, seed=request.seed + seed_offset)
        return self._planner.plan(request, indexes, order.batch_id, model_id=order.model.id)

    async def _attempt(
        self, order: PlannedRequest, others: list[PlannedRequest], terms: CallContext
    ) -> tuple[Outcome, ...]:
        first = partial(self._engine.attempt, order, terms, elsewhere=bool(others))
        after = terms.options.hedge_after_seconds
        if after is None:
            after = self._policy.hedge_after_seconds
        if after == "p95":
            timed = list(await self._ledger.seconds_of(order.model.id))
            after = quantile(timed, 0.95) if len(timed) >= _LEAST_TIMED else None
        if after is None or not others or not _fits(others[0]):
            return await first()
        # The second is an extra: only if there is money and a slot for it now.
        at_once = terms.without_waiting()
        return await hedge(first, partial(self._engine.attempt, others[0], at_once, elsewhere=True), after)


def _fits(order: PlannedRequest) -> bool:
    """Whether its model makes so many pictures in one request."""
    return len(order.indexes) <= order.model.capabilities.max_images_per_request


def _all_failed(failures: list[ImagenError], unfit: list[ImagenError]) -> AllProvidersFailedError:
    told = " ".join(error.message for error in failures + unfit)
    error = AllProvidersFailedError(f"Every model failed. {told}", failures=tuple(failures + unfit))
    if any(failure.billed != "no" for failure in failures):
        error.billed = "unknown"
    error.retryable = any(failure.retryable for failure in failures)
    return error


def _or_last(number: float | Decimal | None) -> float:
    return float("inf") if number is None else float(number)
