"""Planning: a request checked, translated for its model, and quoted."""

from __future__ import annotations

import datetime
import secrets

import msgspec

from .._errors import ConfigurationError, ImagenError, InvalidRequestError, ProviderNotFoundError
from .._policy.model_choice import choose_model
from .._requests.catalog import Model, Operation
from .._requests.request import (
    Edit,
    Generate,
    Request,
    Restyle,
    decode_request,
    encode_request,
    operation_of,
    sources_of,
)
from .._requests.translation import Adjustment, translate
from .._results.images import Failure, failure_of
from .._results.prices import Quote, quote_request
from .._storage.ledger import AttemptRecord
from .._transport.driver import ExchangeDriver
from ..providers._provider import Call, EncodedImage, Provider
from .inputs import InputReader, Inputs, parent_of
from .runtime import Runtime

__all__ = ["PlannedRequest", "Planner"]


class PlannedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request that can be sent, for one image per index.

    `request` is what the caller asked for, `sent` its translation for the
    model; emulation makes its `operation` another one. `inputs` are empty until
    `Planner.read_inputs`.
    """

    request: Request
    sent: Request
    adjustments: tuple[Adjustment, ...]
    operation: Operation
    model: Model
    provider: Provider
    driver: ExchangeDriver
    indexes: tuple[int, ...]
    quote: Quote
    request_json: str
    inputs: Inputs
    batch_id: str | None = None
    economy: bool = False

    def failure(self, index: int, error: ImagenError, *, first: bool = True) -> Failure:
        """Return the error as the outcome of one index.

        The `first` of several bears what they cost together.
        """
        return failure_of(
            self.request,
            index,
            error,
            model=self.model.id,
            provider=self.provider.name,
            first=first,
        )

    def failures(self, error: ImagenError) -> tuple[Failure, ...]:
        """Return the error as the outcome of each index."""
        return tuple(
            self.failure(index, error, first=index == self.indexes[0]) for index in self.indexes
        )


class Planner:
    """Planner of the requests of one client."""

    def __init__(self, runtime: Runtime) -> None:
        self._settings = runtime.settings
        self._catalog = runtime.catalog
        self._connections = runtime.connections
        self._inputs = InputReader(runtime)
        self._now = runtime.now
        self._last: PlannedRequest | None = None

    def model_for(self, request: Request) -> Model:
        """Return the first model of a request: the one it names, or the
        default.

        Raises:
            ImagenError: no model can do the request.
        """
        return self._catalog.find(request.model or self._choose_model(request, self._today()))

    def _choose_model(self, request: Request, today: datetime.date) -> str:
        return choose_model(self._settings, self._catalog, request, today)

    def _today(self) -> datetime.date:
        return datetime.datetime.fromtimestamp(self._now(), datetime.UTC).date()

    def plan(
        self,
        request: Request,
        indexes: tuple[int, ...] = (0,),
        batch_id: str | None = None,
        *,
        model_id: str | None = None,
        economy: bool = False,
    ) -> PlannedRequest:
        """Check, translate and quote a request for its model, or for another.

        Raises:
            ImagenError: the request cannot be sent; the message tells what to
                change.
        """
        today = self._today()
        chosen = model_id or request.model or self._choose_model(request, today)
        model = self._catalog.select(chosen, today=today)
        if model.capabilities.seed and request.seed is None:
            request = msgspec.structs.replace(request, seed=secrets.randbelow(2**31))
        last = self._last
        if (
            last is not None
            and last.request is request
            and last.model is model
            and last.economy == economy
            and len(last.indexes) == len(indexes)
        ):
            # A batch of one request: translation and quote are those of its first image.
            return msgspec.structs.replace(last, indexes=indexes, batch_id=batch_id)
        planned = self._plan_for(request, model, indexes, batch_id, economy=economy)
        self._last = None if sources_of(request) else planned
        return planned

    async def read_inputs(self, planned: PlannedRequest) -> PlannedRequest:
        """Read the input images of a planned request.

        Raises:
            InvalidRequestError: an image is missing, or does not suit the
                model.
        """
        if planned.request_json:
            return planned
        # In the order of the caller's request: an emulation takes the same
        # images in the same order.
        inputs = await self._inputs.read(planned.request, planned.model)
        return msgspec.structs.replace(
            planned,
            request=inputs.request,
            inputs=inputs,
            request_json=encode_request(inputs.request),
        )

    def rebuild(self, row: AttemptRecord) -> PlannedRequest:
        """Return the planned request of an attempt in the ledger.

        Its input images are left out, as they have been sent.

        Raises:
            ImagenError: the model or provider no longer exists, or is not set
                up.
        """
        request = decode_request(row.request_json)
        indexes = tuple(range(row.first_index, row.first_index + row.images))
        planned = self._plan_for(
            request, self._catalog.find(row.model), indexes, row.batch_id, economy=row.economy
        )
        inputs = Inputs(request=request, parent_id=parent_of(request))
        return msgspec.structs.replace(planned, request_json=row.request_json, inputs=inputs)

    async def rebuild_with_inputs(self, row: AttemptRecord) -> PlannedRequest:
        """Return the same with the input images, where the library has them.

        Raises:
            ImagenError: as `rebuild`, or an image is gone.
        """
        planned = self.rebuild(row)
        inputs = await self._inputs.read(planned.request, planned.model)
        return msgspec.structs.replace(
            planned, inputs=msgspec.structs.replace(inputs, parent_id=planned.inputs.parent_id)
        )

    def call_for(self, planned: PlannedRequest) -> Call:
        """Return the input of the provider's exchange."""
        settings, name = self._settings, planned.provider.name
        call = Call(
            request=planned.sent,
            model=planned.model,
            count=len(planned.indexes),
            settings=settings.access[name].settings,
        )
        if settings.callback_url is not None and planned.provider.read_callback is not None:
            secret = settings.callback_secret
            call = msgspec.structs.replace(
                call,
                callback_url=f"{settings.callback_url}/{name}",
                callback_secret=None if secret is None else secret.reveal(),
            )
        return _with_inputs(call, planned.inputs.encoded)

    def _plan_for(
        self,
        request: Request,
        model: Model,
        indexes: tuple[int, ...],
        batch_id: str | None,
        *,
        economy: bool,
    ) -> PlannedRequest:
        sent, adjustments = translate(request, model)
        access = self._settings.access.get(model.provider)
        if access is None:
            raise ProviderNotFoundError(
                f"{model.id} is at the provider {model.provider!r}, which imagen does not know."
            )
        provider, operation = access.provider, operation_of(sent)
        if operation not in provider.operations:
            raise ConfigurationError(f"imagen cannot {operation} with {provider.name} yet.")
        if economy:
            _check_economy(model, provider, operation)
        return PlannedRequest(
            request=request,
            sent=sent,
            adjustments=adjustments,
            operation=operation,
            model=model,
            provider=provider,
            driver=self._connections.driver(provider.name),
            indexes=indexes,
            quote=quote_request(model, sent, len(indexes), economy=economy),
            # A request with input images is encoded when they have been read.
            request_json="" if sources_of(request) else encode_request(request),
            inputs=Inputs(request=request),
            batch_id=batch_id,
            economy=economy,
        )


def _check_economy(model: Model, provider: Provider, operation: Operation) -> None:
    batch_api = provider.batch_api
    if (
        batch_api is None
        or operation not in batch_api.operations
        or model.price is None
        or model.price.economy is None
    ):
        raise InvalidRequestError(
            f"{provider.name} does not {operation} with {model.id} for less: leave out economy, or"
            " take another model."
        )


def _with_inputs(call: Call, images: tuple[EncodedImage, ...]) -> Call:
    """Put the images, in the order of `sources_of`, into the fields of the
    call.
    """
    match call.request:
        case Generate():
            return msgspec.structs.replace(call, references=images)
        case Edit(mask=mask) if mask is not None:
            return msgspec.structs.replace(
                call, images=images[:-1], mask=images[-1] if images else None
            )
        case Restyle():
            return msgspec.structs.replace(call, images=images[:1], references=images[1:])
        case _:
            return msgspec.structs.replace(call, images=images)
