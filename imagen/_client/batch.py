"""Many requests, one outcome each, handed over as they finish.

A feeder takes a slot for each request, then starts its task. The task delivers
its outcome through a channel of size 0, and only then releases the slot. So a
slow reader slows the spending, and memory holds at most `max_at_once` outcomes.

A batch ends in one of these ways. Everything is delivered: the channel closes
and the iteration ends. The reader leaves early or is cancelled: the tasks are
cancelled, their attempts are abandoned (see the engine), and the block does not
wait for them. A budget scope is exhausted: the feeder stops, what is in flight
is delivered, and the scope is cancelled when the reader asks for the next
outcome. The source of requests raises: what is in flight is delivered, then the
reader gets the exception.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Final, TypeVar

import msgspec
import trio

from .._engine.admission import CallContext
from .._engine.batch_jobs import BatchJobs
from .._engine.cache import NO_SIBLINGS, Siblings
from .._engine.planning import PlannedRequest, Planner
from .._engine.router import Router
from .._errors import BudgetExceededError, ImagenError, InvalidRequestError
from .._policy.confirmation import Confirmation
from .._requests.request import Request, as_request
from .._results.html import table, usd_text
from .._results.images import Failure, Image, Outcome, failure_of
from .._results.prices import Quote
from .._storage.webhooks import MOST_IMAGE_IDS, BatchCompleted
from .._system.ids import new_id
from .._system.nursery import open_bare_nursery
from .drops import Drops

__all__ = [
    "Batch",
    "BatchSetup",
    "BatchStatus",
    "RepeatedRequest",
    "Requests",
    "open_batch",
    "quote_all",
    "repeat_request",
]

_NOTHING = Quote(low_usd=Decimal(0), expected_usd=Decimal(0), high_usd=Decimal(0))

Requests = Iterable[Request | str] | AsyncIterable[Request | str]
Item = TypeVar("Item")


class BatchStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and cost of a batch. `requested` is None while requests still come
    from an iterable.

    `cost_usd` sums the known costs of finished requests; `unknown_costs` counts
    the others.
    """

    requested: int | None
    in_flight: int
    succeeded: int
    failed: int
    cost_usd: Decimal
    unknown_costs: int

    def _repr_html_(self) -> str:
        requested = "unknown" if self.requested is None else self.requested
        row = (requested, self.in_flight, self.succeeded, self.failed, usd_text(self.cost_usd))
        return table([row], ("requested", "in flight", "succeeded", "failed", "cost"))

    def completed(
        self, batch_id: str, image_ids: Iterable[str], tag: str | None = None
    ) -> BatchCompleted:
        """Return the content of the webhook for the end of the batch."""
        return BatchCompleted(
            batch_id=batch_id,
            requested=self.requested,
            succeeded=self.succeeded,
            failed=self.failed,
            cost_usd=self.cost_usd,
            unknown_costs=self.unknown_costs,
            image_ids=tuple(islice(image_ids, MOST_IMAGE_IDS)),
            tag=tag,
        )


class RepeatedRequest(msgspec.Struct, frozen=True):
    """One request made n times, one by one or together, without the `done`
    indexes of an earlier process.
    """

    request: Request
    n: int
    together: bool
    done: frozenset[int] = frozenset()


class StoredBatch(msgspec.Struct, frozen=True):
    """Outcomes of a batch of an earlier process, those that still come
    included.
    """

    outcomes: Callable[[], AsyncGenerator[Outcome]]


class BatchSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a batch is made with. With `batch_jobs` the requests are sent
    together, as many as the provider takes in one job.

    With an `economy` batch_jobs the requests go together, as many as the
    provider takes in one job.
    """

    planner: Planner
    router: Router
    batch_jobs: BatchJobs | None = None
    context: CallContext
    confirmation: Confirmation | None = None
    max_at_once: int = 4
    batch_id: str | None = None
    is_sent: Callable[[str, int], bool] = lambda batch_id, index: False


def repeat_request(request: Request, n: int, *, together: bool = False) -> RepeatedRequest:
    """A source of n images of one request; `together` asks for as many in one
    provider request as the model allows.
    """
    if n < 1:
        raise InvalidRequestError(f"n must be 1 or more, not {n}.")
    return RepeatedRequest(request, n, together)


Source = Requests | RepeatedRequest | StoredBatch


class Batch:
    """Batch: iterate over it for the outcomes. Nothing is sent before the first
    is asked for.
    """

    def __init__(self, parts: BatchSetup) -> None:
        self.id: Final[str] = parts.batch_id or new_id()
        self._parts = parts
        self._budget_stack = parts.context.budget_stack
        self._slots = trio.Semaphore(parts.max_at_once)
        self._send, self._receive = trio.open_memory_channel[Outcome](0)
        self._wanted = trio.Event()
        self._source_error: Exception | None = None
        self._requested: int | None = None
        self._in_flight = self._succeeded = self._failed = self._unknown_costs = 0
        self._cost_usd = Decimal(0)
        self._image_ids: list[str] = []
        self._handed: set[str] = set()
        self._drops = Drops(partial(parts.is_sent, self.id))
        self._tag: str | None = None

    def completed(self) -> BatchCompleted | None:
        """Return the content of the webhook when the batch is left; None if it
        never began.
        """
        return (
            self.status().completed(self.id, self._image_ids, self._tag)
            if self._wanted.is_set()
            else None
        )

    def status(self) -> BatchStatus:
        """Return the counts and cost so far."""
        return BatchStatus(
            requested=self._requested,
            in_flight=self._in_flight,
            succeeded=self._succeeded,
            failed=self._failed,
            cost_usd=self._cost_usd,
            unknown_costs=self._unknown_costs,
        )

    def drop(self, index: int) -> bool:
        """Drop one request, counted from 0. Its outcome is a failure of code
        "DROPPED"; the others go on.

        What has not been sent costs nothing. What has been sent is salvaged in
        the background, as when the batch is left.

        Return False if it has its outcome already, or cannot be dropped alone:
        it shares a provider request with others, or is in a batch at the
        provider.
        """
        if self._parts.batch_jobs is not None or index < 0:
            return False
        if self._requested is not None and index >= self._requested:
            return False
        return self._drops.drop(index)

    def __aiter__(self) -> Batch:
        return self

    async def __anext__(self) -> Outcome:
        self._wanted.set()
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            pass
        if (scope := self._budget_stack.exhausted_scope) is not None:
            await scope.leave()
        if self._source_error is not None:
            error, self._source_error = self._source_error, None
            raise error
        raise StopAsyncIteration

    # --- the tasks ------------------------------------------------------------

    async def _feed(self, source: Source) -> None:
        await self._wanted.wait()
        async with self._send, trio.open_nursery() as nursery:
            try:
                await self._confirm(source)
            except ImagenError as error:
                self._source_error = error
            else:
                await self._feed_from(source, nursery)

    async def _feed_from(self, source: Source, nursery: trio.Nursery) -> None:
        batch_jobs = self._parts.batch_jobs
        if isinstance(source, StoredBatch):
            await self._feed_stored(source)
        elif batch_jobs is not None:
            requests = _spread(source) if isinstance(source, RepeatedRequest) else source
            await self._feed_together(requests, batch_jobs, nursery)
        elif isinstance(source, RepeatedRequest):
            await self._feed_repeated(source, nursery)
        else:
            await self._feed_each(source, nursery)

    async def _feed_stored(self, source: StoredBatch) -> None:
        try:
            async with aclosing(source.outcomes()) as outcomes:
                async for outcome in outcomes:
                    await self._hand_over(outcome)
        except ImagenError as error:
            self._source_error = error

    async def _feed_together(
        self, source: Requests, batch_jobs: BatchJobs, nursery: trio.Nursery
    ) -> None:
        groups: dict[str, list[PlannedRequest]] = {}
        index = 0
        try:
            async with _iterate(source) as requests:
                async for item in requests:
                    request = as_request(item)
                    try:
                        planned = self._parts.planner.plan(request, (index,), self.id, economy=True)
                    except ImagenError as error:
                        await self._hand_over(failure_of(request, index, error))
                    else:
                        group = groups.setdefault(planned.model.id, [])
                        group.append(planned)
                        if len(group) == batch_jobs.max_requests(planned):
                            await self._start_together(
                                groups.pop(planned.model.id), batch_jobs, nursery
                            )
                    index += 1
        except Exception as error:
            self._source_error = error
        self._requested = index
        for group in groups.values():
            await self._start_together(group, batch_jobs, nursery)

    async def _start_together(
        self, planned_requests: list[PlannedRequest], batch_jobs: BatchJobs, nursery: trio.Nursery
    ) -> None:
        await self._slots.acquire()
        self._in_flight += len(planned_requests)
        nursery.start_soon(
            self._run_together,
            planned_requests,
            batch_jobs,
            name=f"imagen batch {self.id}, together",
        )

    async def _run_together(
        self, planned_requests: list[PlannedRequest], batch_jobs: BatchJobs
    ) -> None:
        async def deliver(outcome: Outcome) -> None:
            self._in_flight -= 1
            await self._hand_over(outcome)

        try:
            await batch_jobs.run(planned_requests, self._parts.context, deliver)
        finally:
            self._slots.release()

    async def _confirm(self, source: Source) -> None:
        """Ask for consent to the cost of the whole batch before the first
        request, if its length is known.
        """
        confirmation = self._parts.confirmation
        if confirmation is None:
            return
        requests: list[Request] = []
        if isinstance(source, RepeatedRequest):
            requests = [source.request] * (source.n - len(source.done))
        elif isinstance(source, Sequence):
            requests = [as_request(item) for item in source]
        if requests:
            await self._ask(confirmation, requests)

    async def _ask(self, confirmation: Confirmation, requests: Sequence[Request]) -> None:
        # What cannot be sent costs nothing, and comes out as a failure a moment
        # later.
        quotes = [quote for one in requests if (quote := self._quote(one)) is not None]
        await confirmation.ask(sum(quotes, start=_NOTHING), len(quotes))

    def _quote(self, request: Request) -> Quote | None:
        if self._parts.batch_jobs is None:
            return self._parts.router.quote(request, self._parts.context.options)
        try:
            return self._parts.planner.plan(request, economy=True).quote
        except ImagenError:
            return None

    async def _feed_repeated(self, source: RepeatedRequest, nursery: trio.Nursery) -> None:
        self._requested, self._tag = source.n, source.request.tag
        most = self._most_together(source.request, together=source.together)
        for indexes in _missing(source, most):
            request = source.request
            # Those without a seed are alike, and each is to be another image.
            siblings = (
                Siblings(before=indexes[0], handed=self._handed)
                if request.seed is None
                else NO_SIBLINGS
            )
            if request.seed is not None:
                # The same seed would make the same image n times.
                request = msgspec.structs.replace(request, seed=request.seed + indexes[0])
            if not await self._start(request, indexes, nursery, siblings):
                return

    def _most_together(self, request: Request, *, together: bool) -> int:
        """Return the number of images in one provider request."""
        try:
            can = self._parts.planner.plan(request).model.capabilities
        except ImagenError:
            # The same error comes out as an outcome a moment later.
            return 1
        if can.sold_together:
            return can.max_images_per_request
        # How several images come in one stream is not documented, and a break
        # would lose those that are whole.
        return can.max_images_per_request if together and not request.previews else 1

    async def _feed_each(self, source: Requests, nursery: trio.Nursery) -> None:
        index = 0
        # One whose length is known was asked about as a whole.
        confirmation = None if isinstance(source, Sequence) else self._parts.confirmation
        try:
            async with _iterate(source) as requests:
                async for item in requests:
                    if confirmation is not None:
                        await self._ask(confirmation, [as_request(item)])
                    if not await self._start(as_request(item), (index,), nursery):
                        return
                    index += 1
        except Exception as error:
            self._source_error = error
        self._requested = index

    async def _start(
        self,
        request: Request,
        indexes: tuple[int, ...],
        nursery: trio.Nursery,
        siblings: Siblings = NO_SIBLINGS,
    ) -> bool:
        """Takes a slot and starts one provider request; False when no more
        should be started.
        """
        await self._slots.acquire()
        if self._budget_stack.exhausted_scope is not None:
            return False
        nursery.start_soon(
            self._run_request,
            request,
            indexes,
            siblings,
            name=f"imagen batch {self.id} request {indexes[0]}",
        )
        return True

    async def _run_request(
        self, request: Request, indexes: tuple[int, ...], siblings: Siblings
    ) -> None:
        droppable = self._drops.begin(indexes)
        try:
            self._in_flight += len(indexes)
            try:
                outcomes: tuple[Outcome, ...] = ()
                with droppable.scope:
                    await trio.lowlevel.checkpoint_if_cancelled()
                    outcomes = await self._outcomes(request, indexes, siblings)
                if droppable.scope.cancelled_caught:
                    outcomes = (droppable.failure(request),)
            finally:
                self._in_flight -= len(indexes)
                self._drops.end(indexes)
            for outcome in outcomes:
                await self._hand_over(outcome)
        finally:
            self._slots.release()

    async def _outcomes(
        self, request: Request, indexes: tuple[int, ...], siblings: Siblings
    ) -> tuple[Outcome, ...]:
        parts = self._parts
        try:
            return await parts.router.run(
                request, parts.context, indexes, self.id, siblings=siblings
            )
        except BudgetExceededError as error:
            if self._budget_stack.exhausted_scope is not None:
                # The scope around the reader ends the iteration once everything
                # in flight is handed over.
                return ()
            return tuple(Failure(index=index, request=request, error=error) for index in indexes)

    async def _hand_over(self, outcome: Outcome) -> None:
        self._count(outcome)
        await self._send.send(outcome)

    def _count(self, outcome: Outcome) -> None:
        if isinstance(outcome, Image):
            self._succeeded += 1
            if len(self._image_ids) < MOST_IMAGE_IDS:
                self._image_ids.append(outcome.id)
        else:
            self._failed += 1
        if outcome.cost.usd is None:
            self._unknown_costs += 1
        else:
            self._cost_usd += outcome.cost.usd


def _missing(source: RepeatedRequest, most: int) -> Iterator[tuple[int, ...]]:
    """Yield the missing indexes in groups of at most `most` neighbours, as the
    ledger stores the first only.
    """
    run: list[int] = []
    for index in range(source.n):
        if index not in source.done:
            run.append(index)
        if run and (len(run) == most or index in source.done):
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _spread(source: RepeatedRequest) -> Iterator[Request]:
    """Yield a repeated request n times; the same seed would make the same
    image.
    """
    for index in range(source.n):
        seed = source.request.seed
        yield (
            source.request
            if seed is None
            else msgspec.structs.replace(source.request, seed=seed + index)
        )


def quote_all(planner: Planner, requests: Iterable[Request], *, economy: bool = False) -> Quote:
    """Return the cost of all requests together."""
    quotes = (planner.plan(request, economy=economy).quote for request in requests)
    return sum(quotes, start=_NOTHING)


@asynccontextmanager
async def open_batch(source: Source, parts: BatchSetup) -> AsyncIterator[Batch]:
    """Run a batch for the duration of the block; `Client.open_batch` documents
    the contract.
    """
    if parts.max_at_once < 1:
        raise InvalidRequestError(f"max_at_once must be 1 or more, not {parts.max_at_once}.")
    batch = Batch(parts)
    async with open_bare_nursery() as nursery:
        nursery.start_soon(batch._feed, source)
        try:
            yield batch
        finally:
            # In this order: a blocked sender must be cancelled, not find a
            # closed channel.
            nursery.cancel_scope.cancel("the batch is left")
            batch._receive.close()


def _iterate(source: Requests) -> AbstractAsyncContextManager[AsyncIterable[Request | str]]:
    if isinstance(source, AsyncGenerator):
        return _closing(source)
    return (
        nullcontext(source)
        if isinstance(source, AsyncIterable)
        else _closing(_iterate_sync(source))
    )


@asynccontextmanager
async def _closing(
    generator: AsyncGenerator[Request | str],
) -> AsyncIterator[AsyncIterable[Request | str]]:
    try:
        yield generator
    finally:
        with trio.move_on_after(1, shield=True):
            await generator.aclose()


async def _iterate_sync(source: Iterable[Item]) -> AsyncGenerator[Item]:
    for item in source:
        yield item
