"""The way of one request: quote, admit, exchange, settle, keep.

What can be billed runs as a *ticket* in the client's nursery from the start, and whoever wants it only waits. So leaving a
batch never tears down a request that is on the meter: one that has not been sent is dropped, one that has been sent is
salvaged, shielded and bounded by `salvage_seconds`, and its picture lands in the library.
"""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

import msgspec
import trio

from ._budget import Hold, Purse
from ._catalog import Catalog, JsonValue, Model
from ._driver import ExchangeDriver, Watch
from ._errors import (
    BudgetExceededError,
    ConfigurationError,
    ContentFilterError,
    ImagenError,
    OutcomeUnknownError,
    ProviderError,
    ProviderNotFoundError,
    StorageError,
)
from ._events import AttemptEnded, AttemptSent, Event, PreviewReceived, ProgressReported
from ._exchange import Accepted, Cancellable, Lost, Partial, Picture, Pictures, Progress, Withheld
from ._images import Cost, Failure, Image, Outcome
from ._ledger import Attempt, Ledger, State
from ._library import Library, StoredPicture, image_row
from ._measure import Measure, measure
from ._prices import Quote, cost_of, quote_request, share_cost, tidy_usd
from ._providers import Call, InputPicture, Provider
from ._requests import Edit, Generate, Request, Restyle, encode_request, operation_of, sources_of
from ._retry import RetryPolicy, retry_attempts
from ._sources import Inputs, SourceReader
from ._translation import Adjustment, translate
from ._workers import Workers

__all__ = ["Engine", "Order", "new_id"]

_ZERO = Cost(usd=Decimal(0), source="reported")
_CLEANUP_SECONDS = 35.0
_STOP_SECONDS = 10.0


def new_id() -> str:
    """Sixteen hexadecimal digits that nobody else has."""
    return secrets.token_hex(8)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is fit to be sent, for as many pictures as there are indexes.

    `request` is what was asked, `sent` the same in the words of the model. `inputs` are there once they have been read.
    """

    request: Request
    sent: Request
    adjustments: tuple[Adjustment, ...]
    model: Model
    provider: Provider
    indexes: tuple[int, ...]
    quote: Quote
    request_json: str
    inputs: Inputs
    batch_id: str | None = None


class _Ticket(Watch):
    """One attempt on its way, as the driver and the waiting task see it."""

    def __init__(self, order: Order, hold: Hold, ledger: Ledger, emit: Callable[[Event], None]) -> None:
        self.id = new_id()
        self.order = order
        self.hold = hold
        self.scope = trio.CancelScope(shield=True)
        self.done = trio.Event()
        self.sent = False
        self.sent_at = 0.0
        self.cancellable_by = Cancellable(request=None)
        self.outcomes: tuple[Outcome, ...] = ()
        self.error: Exception | None = None
        self._ledger = ledger
        self._emit = emit

    async def before_sending(self) -> None:
        await self._ledger.mark_sent(self.id, time.time())
        # The last moment to turn back: after this the request leaves.
        await trio.lowlevel.checkpoint_if_cancelled()
        self.sent = True
        self.sent_at = trio.current_time()
        self.emit(AttemptSent)

    async def accepted(self, job: Accepted) -> None:
        await self._ledger.mark_accepted(self.id, job)

    def cancellable(self, step: Cancellable) -> None:
        self.cancellable_by = step

    def preview(self, partial: Partial) -> None:
        order = self.order
        self._emit(
            PreviewReceived(
                attempt_id=self.id,
                indexes=order.indexes[partial.picture : partial.picture + 1] or order.indexes,
                request=order.request,
                model=order.model.id,
                provider=order.provider.name,
                data=partial.data,
                number=partial.number,
            )
        )

    def progress(self, progress: Progress) -> None:
        order = self.order
        self._emit(
            ProgressReported(
                attempt_id=self.id,
                indexes=order.indexes,
                request=order.request,
                model=order.model.id,
                provider=order.provider.name,
                fraction=progress.fraction,
                note=progress.note,
            )
        )

    def emit(self, kind: type[AttemptSent] | type[AttemptEnded], **more: tuple[Outcome, ...]) -> None:
        order = self.order
        self._emit(
            kind(
                attempt_id=self.id,
                indexes=order.indexes,
                request=order.request,
                model=order.model.id,
                provider=order.provider.name,
                **more,
            )
        )

    def let_go(self, salvage_seconds: float) -> None:
        """Nobody waits any more: drop what has not been sent, stop what costs nothing when it is stopped, bound the rest."""
        if self.sent and self.cancellable_by.stops_bill:
            self.scope.cancel("nobody waits for it, and stopping it costs nothing")
        elif self.sent:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + salvage_seconds)
        else:
            self.scope.cancel("nobody waits for it, and it has not been sent")


class Engine:
    """Turns requests into outcomes; one per client. Its tickets run in the client's nursery."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        providers: dict[str, Provider],
        driver_of: Callable[[str], ExchangeDriver],
        settings_of: Callable[[str], Mapping[str, JsonValue]],
        sources: SourceReader,
        ledger: Ledger,
        library: Library | None,
        workers: Workers,
        nursery: trio.Nursery,
        emit: Callable[[Event], None],
        choose_model: Callable[[Request], str],
        retry: RetryPolicy,
        salvage_seconds: float,
        max_pixels: int,
        hide_secrets: Callable[[str, str], str],
    ) -> None:
        self.catalog = catalog
        self.salvage_seconds = salvage_seconds
        self._max_pixels = max_pixels
        self.nursery = nursery
        self._providers = providers
        self._driver_of = driver_of
        self._settings_of = settings_of
        self._sources = sources
        self._ledger = ledger
        self._library = library
        self._workers = workers
        self._emit = emit
        self._choose_model = choose_model
        self._retry = retry
        self._hide_secrets = hide_secrets
        self._tickets: set[_Ticket] = set()
        self._owner = new_id()
        self._closed = False

    def plan(self, request: Request, indexes: tuple[int, ...] = (0,), batch_id: str | None = None) -> Order:
        """Checks a request against the catalog; nothing is sent.

        Raises:
            ImagenError: it cannot be sent; the message says what to change.
        """
        today = datetime.datetime.now(datetime.UTC).date()
        model = self.catalog.select(request.model or self._choose_model(request), today=today)
        if model.capabilities.seed and request.seed is None:
            request = msgspec.structs.replace(request, seed=secrets.randbelow(2**31))
        sent, adjustments = translate(request, model)
        provider = self._providers.get(model.provider)
        if provider is None:
            raise ProviderNotFoundError(
                f"{model.id} is at the provider {model.provider!r}, which imagen does not know."
            )
        if operation_of(sent) not in provider.operations:
            raise ConfigurationError(f"imagen cannot {operation_of(sent)} with {provider.name} yet.")
        self._driver_of(provider.name)
        return Order(
            request=request,
            sent=sent,
            adjustments=adjustments,
            model=model,
            provider=provider,
            indexes=indexes,
            quote=quote_request(model, sent, len(indexes)),
            # One that works on pictures is encoded when they have been read.
            request_json="" if sources_of(request) else encode_request(request),
            inputs=Inputs(request=request),
            batch_id=batch_id,
        )

    async def fulfil(
        self, order: Order, purse: Purse, emit: Callable[[Event], None] | None = None
    ) -> tuple[Outcome, ...]:
        """Gives one outcome for each index, in order. Failures are values.

        When cancelled, what has not been sent is dropped, and what has been sent is salvaged.

        Raises:
            BudgetExceededError: the money does not suffice; nothing was sent.
        """
        try:
            order = await self._read_inputs(order)
            async for attempt in retry_attempts(self._retry):
                with attempt:
                    return await self._try_once(order, purse, emit or self._emit)
        except BudgetExceededError:
            raise
        except ImagenError as error:
            return tuple(self._failure(order, index, error) for index in order.indexes)
        raise AssertionError("a retry loop ends in a result or an error")

    def close(self) -> None:
        """The client closes: nothing new is sent, and every ticket gets its last deadline."""
        self._closed = True
        self.bound_salvage(self.salvage_seconds)

    def bound_salvage(self, seconds: float) -> None:
        """Gives what is in flight so long to finish, at the most."""
        for ticket in self._tickets:
            ticket.let_go(seconds)

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self._tickets)

    async def _read_inputs(self, order: Order) -> Order:
        if order.request_json:
            return order
        # Read in the order of the asked request; an emulation takes the same pictures in the same order.
        inputs = await self._sources.read(order.request, order.model)
        return msgspec.structs.replace(
            order, request=inputs.request, inputs=inputs, request_json=encode_request(inputs.request)
        )

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _try_once(self, order: Order, purse: Purse, emit: Callable[[Event], None]) -> tuple[Outcome, ...]:
        hold = await purse.admit(order.quote)
        if self._closed:
            hold.settle(Decimal(0))
            raise ConfigurationError("The client is closed: use it inside its `async with open_client()` block.")
        ticket = _Ticket(order, hold, self._ledger, emit)
        self._tickets.add(ticket)
        self.nursery.start_soon(self._carry_out, ticket, name=f"imagen attempt {ticket.id}")
        try:
            await ticket.done.wait()
        except trio.Cancelled:
            ticket.let_go(self.salvage_seconds)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.outcomes

    @trio.lowlevel.enable_ki_protection
    async def _carry_out(self, ticket: _Ticket) -> None:
        """The whole life of a ticket. Whatever happens, the ledger is settled, the money released, the waiter woken."""
        try:
            with ticket.scope:
                try:
                    await self._attempt(ticket)
                except ImagenError as error:
                    error = self._clean(error, ticket.order.provider.name)
                    ticket.error = error
                    await self._settle_failure(ticket, error)
            if ticket.scope.cancelled_caught:
                await self._settle_cancelled(ticket)
        finally:
            ticket.hold.settle(None if ticket.sent else Decimal(0))
            self._tickets.discard(ticket)
            ticket.done.set()

    async def _attempt(self, ticket: _Ticket) -> None:
        order = ticket.order
        if self._library is not None:
            await self._library.check_room()
        await self._ledger.reserve(
            Attempt(
                id=ticket.id,
                batch_id=order.batch_id,
                provider=order.provider.name,
                model=order.model.id,
                operation=operation_of(order.request),
                images=len(order.indexes),
                request_json=order.request_json,
                reserved_usd=order.quote.high_usd,
                owner=self._owner,
                created_at=time.time(),
            )
        )
        operation = order.provider.operations[operation_of(order.sent)]
        settings = self._settings_of(order.provider.name)
        call = Call(request=order.sent, model=order.model, count=len(order.indexes), settings=settings)
        call = _with_pictures(call, order.inputs.pictures)
        result = await self._driver_of(order.provider.name).run(operation(call), ticket)
        # Paid: from here nothing may cut it short but the bound on cleanup.
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True) as bound:
            await self._settle_success(ticket, result)
        if bound.cancelled_caught:
            raise StorageError(
                f"The disk did not answer for {_CLEANUP_SECONDS:g} seconds; the picture is paid.", billed="yes"
            )

    async def _settle_success(self, ticket: _Ticket, result: Pictures) -> None:
        order = ticket.order
        cost = cost_of(order.model, order.sent, result)
        ticket.hold.settle(cost.usd)
        shares = list(share_cost(cost, result.pictures))
        indexes = [*order.indexes, *[order.indexes[-1]] * (len(result.pictures) - len(order.indexes))]
        outcomes: list[Outcome] = []
        for picture, share, index in zip(result.pictures, shares, indexes, strict=False):
            if isinstance(picture, Withheld):
                outcomes.append(self._withhold(order, picture, share, index))
            elif isinstance(picture, Lost):
                lost = ProviderError(f"{order.provider.name} made the picture: {picture.reason}", billed="yes")
                outcomes.append(msgspec.structs.replace(self._failure(order, index, lost), cost=share))
            else:
                outcomes.append(await self._keep(ticket, picture, share, index, result.adjustments))
        images = [outcome for outcome in outcomes if isinstance(outcome, Image)]
        along = [image_row(image) for image in images if image.path is not None]
        errors = [outcome.error for outcome in outcomes if isinstance(outcome, Failure)]
        refused = any(isinstance(error, ContentFilterError) for error in errors)
        state: State = "succeeded" if images else "refused" if refused else "failed"
        code, message = (errors[0].code, errors[0].message) if errors and not images else (None, None)
        try:
            await self._ledger.settle(
                ticket.id, state, cost, now=time.time(), error_code=code, error_message=message, along=along
            )
        except StorageError as error:
            # The pictures are there and paid: they are handed over with the news that the disk failed.
            outcomes = [_with_storage_error(outcome, error) for outcome in outcomes]
        short = ProviderError(f"{order.provider.name} gave {len(outcomes)} pictures of {len(order.indexes)} asked for.")
        outcomes += [self._failure(order, index, short) for index in order.indexes[len(outcomes) :]]
        ticket.outcomes = tuple(outcomes[: len(order.indexes)])
        ticket.emit(AttemptEnded, outcomes=ticket.outcomes)

    def _withhold(self, order: Order, picture: Withheld, cost: Cost, index: int) -> Failure:
        error = ContentFilterError(
            f"{order.provider.name} made the picture and withholds it: {picture.reason}",
            billed="yes" if picture.billed and cost.usd != 0 else "no",
        )
        return msgspec.structs.replace(self._failure(order, index, error), cost=cost)

    async def _keep(
        self, ticket: _Ticket, picture: Picture, cost: Cost, index: int, adjustments: tuple[Adjustment, ...]
    ) -> Outcome:
        order = ticket.order
        stored: StoredPicture | None = None
        storage_error: str | None = None
        try:
            try:
                stored = await self._store(picture.data)
            except StorageError as error:
                storage_error = error.message
            found = measure(picture.data) if stored is None else stored.measure
            self._check_pixels(found)
        except ProviderError as error:
            await self._set_aside(ticket, picture.data, error)
            return msgspec.structs.replace(self._failure(order, index, error), cost=cost)
        return Image(
            id=new_id(),
            index=index,
            request=order.request,
            media_type=found.media_type,
            width=found.width,
            height=found.height,
            size_bytes=len(picture.data),
            stored_sha256=None if stored is None else stored.sha256,
            path=None if stored is None else stored.path,
            inline_data=picture.data if stored is None else None,
            revised_prompt=picture.revised_prompt,
            model=order.model.id,
            provider=order.provider.name,
            seed=picture.seed,
            cost=cost,
            adjustments=order.adjustments + adjustments,
            created_at=datetime.datetime.now(datetime.UTC),
            seconds=trio.current_time() - ticket.sent_at,
            attempt_id=ticket.id,
            parent_id=order.inputs.parent_id,
            provider_id=picture.provider_id,
            storage_error=storage_error,
        )

    def _check_pixels(self, found: Measure) -> None:
        """Nobody who opens the picture later, to make a thumbnail say, shall run out of memory."""
        if found.width * found.height > self._max_pixels:
            raise ProviderError(
                f"The reply claims to be a picture of {found.width} x {found.height} pixels, which is more than imagen opens.",
                billed="yes",
            )

    async def _store(self, data: bytes) -> StoredPicture | None:
        if self._library is None:
            return None
        return await self._workers.run(partial(self._library.store, data))

    async def _set_aside(self, ticket: _Ticket, data: bytes, error: ProviderError) -> None:
        """Keeps bytes that were paid for and that nobody can read yet, and says where."""
        if self._library is None:
            return
        try:
            path = await self._workers.run(partial(self._library.store_unreadable, ticket.id, data))
        except StorageError:
            return
        error.message += f" They are kept at {path}."
        error.args = (error.message,)

    async def _settle_failure(self, ticket: _Ticket, error: ImagenError) -> None:
        order = ticket.order
        billed = error.billed if ticket.sent else "no"
        state: State = "failed"
        cost = _ZERO
        match billed:
            case "unknown":
                state, cost = "unknown", Cost()
            case "yes":
                cost = cost_of(order.model, order.sent, Pictures(pictures=(Picture(data=b""),) * len(order.indexes)))
        if error.cost_usd is not None:
            cost = Cost(usd=tidy_usd(error.cost_usd), source="reported")
        if isinstance(error, ContentFilterError) and billed != "unknown":
            state = "refused"
        ticket.hold.settle(cost.usd)
        await self._end(ticket, state, cost, error)
        ticket.emit(AttemptEnded, outcomes=tuple(self._failure(order, index, error) for index in order.indexes))

    async def _settle_cancelled(self, ticket: _Ticket) -> None:
        if ticket.sent and await self._stop_job(ticket):
            ticket.error = ProviderError("The job was stopped at the provider before it cost anything.", code="TIMEOUT")
            await self._end(ticket, "failed", _ZERO, ticket.error)
        elif ticket.sent:
            ticket.error = OutcomeUnknownError(
                f"No answer came within the {self.salvage_seconds:g} seconds of salvage; the picture may be billed."
            )
            await self._end(ticket, "unknown", Cost(), ticket.error)
        else:
            ticket.error = ProviderError("The request was dropped before it was sent.", code="TIMEOUT")
            await self._end(ticket, "failed", _ZERO, ticket.error)

    async def _stop_job(self, ticket: _Ticket) -> bool:
        """Stops the job at the provider, where that can be done. Gives whether it costs nothing then."""
        step = ticket.cancellable_by
        if step.request is None:
            return step.stops_bill
        with trio.move_on_after(_STOP_SECONDS, shield=True):
            try:
                response = await self._driver_of(ticket.order.provider.name).send(step.request)
            except ImagenError:
                return False
            return step.stops_bill and response.status < 300
        return False

    async def _end(self, ticket: _Ticket, state: State, cost: Cost, error: ImagenError) -> None:
        with trio.move_on_after(_CLEANUP_SECONDS, shield=True):
            try:
                await self._ledger.settle(
                    ticket.id, state, cost, now=time.time(), error_code=error.code, error_message=error.message
                )
            except StorageError:
                # The row stays as it was before, in flight, and the caller gets the first error.
                return

    def _failure(self, order: Order, index: int, error: ImagenError) -> Failure:
        cost = _ZERO if error.billed == "no" else Cost()
        if error.cost_usd is not None:
            cost = Cost(usd=tidy_usd(error.cost_usd), source="reported")
        return Failure(
            index=index,
            request=order.request,
            error=error,
            model=order.model.id,
            provider=order.provider.name,
            cost=cost,
        )

    def _clean(self, error: ImagenError, provider: str) -> ImagenError:
        """A provider may repeat the key in its error text."""
        error.message = self._hide_secrets(provider, error.message)
        error.args = (error.message,)
        error.details = {name: self._hide_secrets(provider, value) for name, value in error.details.items()}
        return error


def _with_pictures(call: Call, pictures: tuple[InputPicture, ...]) -> Call:
    """Puts the pictures where the exchange looks for them; they stand in the order of `sources_of`."""
    match call.request:
        case Generate():
            return msgspec.structs.replace(call, references=pictures)
        case Edit(mask=mask) if mask is not None:
            return msgspec.structs.replace(call, images=pictures[:-1], mask=pictures[-1])
        case Restyle():
            return msgspec.structs.replace(call, images=pictures[:1], references=pictures[1:])
        case _:
            return msgspec.structs.replace(call, images=pictures)


def _with_storage_error(outcome: Outcome, error: StorageError) -> Outcome:
    return msgspec.structs.replace(outcome, storage_error=error.message) if isinstance(outcome, Image) else outcome
