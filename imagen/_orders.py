"""From a request to an order: in the words of its model, quoted, and fit to be sent."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Callable, Mapping

import msgspec

from ._catalog import Catalog, Model, Operation
from ._errors import ConfigurationError, InvalidRequestError, ProviderNotFoundError
from ._ledger import AttemptRecord
from ._prices import Quote, quote_request
from ._providers import Call, InputPicture, Provider
from ._requests import Edit, Generate, Request, Restyle, decode_request, encode_request, operation_of, sources_of
from ._sources import Inputs, SourceReader
from ._translation import Adjustment, translate

__all__ = ["Order", "Planner", "call_of"]


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
    economy: bool = False

    @property
    def operation(self) -> Operation:
        """What is done, which may be another operation than was asked for."""
        return operation_of(self.sent)


class Planner:
    """Makes orders; `check_access` raises where a provider cannot be used."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        providers: Mapping[str, Provider],
        check_access: Callable[[str], object],
        choose_model: Callable[[Request], str],
        sources: SourceReader,
    ) -> None:
        self._catalog = catalog
        self._providers = providers
        self._check_access = check_access
        self._choose_model = choose_model
        self._sources = sources

    def plan(
        self,
        request: Request,
        indexes: tuple[int, ...] = (0,),
        batch_id: str | None = None,
        *,
        model_id: str | None = None,
        economy: bool = False,
    ) -> Order:
        """Checks a request against the catalog, for its own model or another one; nothing is sent.

        Raises:
            ImagenError: it cannot be sent; the message says what to change.
        """
        today = datetime.datetime.now(datetime.UTC).date()
        model = self._catalog.select(model_id or request.model or self._choose_model(request), today=today)
        if model.capabilities.seed and request.seed is None:
            request = msgspec.structs.replace(request, seed=secrets.randbelow(2**31))
        return self._order(request, model, indexes, batch_id, economy=economy)

    async def read_inputs(self, order: Order) -> Order:
        """Reads the pictures that an order works on.

        Raises:
            InvalidRequestError: one of them is not there, or does not suit the model.
        """
        if order.request_json:
            return order
        # Read in the order of the asked request; an emulation takes the same pictures in the same order.
        inputs = await self._sources.read(order.request, order.model)
        return msgspec.structs.replace(
            order, request=inputs.request, inputs=inputs, request_json=encode_request(inputs.request)
        )

    def rebuild(self, row: AttemptRecord) -> Order:
        """The order of an attempt in the ledger, without the pictures that it worked on: they have been sent.

        Raises:
            ImagenError: its model or provider is not there any more, or is not set up.
        """
        request = decode_request(row.request_json)
        indexes = tuple(range(row.first_index, row.first_index + row.images))
        order = self._order(request, self._catalog.find(row.model), indexes, row.batch_id, economy=row.economy)
        sources = sources_of(request)
        first = sources[0] if sources and not hasattr(request, "references") else None
        inputs = Inputs(request=request, parent_id=getattr(first, "id", None))
        return msgspec.structs.replace(order, request_json=row.request_json, inputs=inputs)

    def _order(
        self, request: Request, model: Model, indexes: tuple[int, ...], batch_id: str | None, *, economy: bool
    ) -> Order:
        sent, adjustments = translate(request, model)
        provider = self._providers.get(model.provider)
        if provider is None:
            raise ProviderNotFoundError(
                f"{model.id} is at the provider {model.provider!r}, which imagen does not know."
            )
        if operation_of(sent) not in provider.operations:
            raise ConfigurationError(f"imagen cannot {operation_of(sent)} with {provider.name} yet.")
        if economy:
            _check_economy(model, provider, operation_of(sent))
        self._check_access(provider.name)
        return Order(
            request=request,
            sent=sent,
            adjustments=adjustments,
            model=model,
            provider=provider,
            indexes=indexes,
            quote=quote_request(model, sent, len(indexes), economy=economy),
            # One that works on pictures is encoded when they have been read.
            request_json="" if sources_of(request) else encode_request(request),
            inputs=Inputs(request=request),
            batch_id=batch_id,
            economy=economy,
        )


def _check_economy(model: Model, provider: Provider, operation: Operation) -> None:
    way = provider.economy
    if way is None or operation not in way.operations or model.price is None or model.price.economy is None:
        raise InvalidRequestError(
            f"{provider.name} does not {operation} with {model.id} for less: leave out economy, or take another model."
        )


def call_of(order: Order, base: Call) -> Call:
    """What the exchange is asked to do: `base` with the pictures where the exchange looks for them.

    They stand in the order of `sources_of`.
    """
    pictures: tuple[InputPicture, ...] = order.inputs.pictures
    match base.request:
        case Generate():
            return msgspec.structs.replace(base, references=pictures)
        case Edit(mask=mask) if mask is not None:
            return msgspec.structs.replace(base, images=pictures[:-1], mask=pictures[-1] if pictures else None)
        case Restyle():
            return msgspec.structs.replace(base, images=pictures[:1], references=pictures[1:])
        case _:
            return msgspec.structs.replace(base, images=pictures)
