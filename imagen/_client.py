"""The client: everything a caller needs, between `open_client` and the end of its block."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict, Unpack

import msgspec
import trio

from ._batch import Batch, RepeatedRequest, Requests, open_batch, repeat_request
from ._budget import Budget, Purse, current_scopes
from ._catalog import Catalog, JsonValue, Model
from ._database import Database
from ._discovery import Discovery, discover_models
from ._driver import ExchangeDriver
from ._engine import Engine
from ._errors import (
    BudgetExceededError,
    ConfigurationError,
    InvalidRequestError,
    ProviderError,
    ProviderNotFoundError,
)
from ._events import Event, EventHandler
from ._exchange import HttpRequest, Transport
from ._images import Failure, Image
from ._ledger import Ledger, Spending
from ._library import Library
from ._nurseries import open_bare_nursery
from ._prices import Quote
from ._probe import ProviderStatus, probe_provider
from ._providers import Provider
from ._requests import Edit, Enhance, Generate, ImageSource, Request, Restyle, Vary, as_request
from ._routing import choose_model
from ._sessions import Session, Sessions
from ._settings import ProviderAccess, Settings, load_settings
from ._sources import SourceReader
from ._transport import HttpTransport
from ._version import version
from ._workers import ThreadWorkers, Workers

if TYPE_CHECKING:
    import httpx2

__all__ = ["Client", "GenerateParameters", "Parameters", "open_client"]

_CLOSE_SECONDS = 5.0
# Stands for nobody's server, so that every link leads elsewhere and gets no key.
_LINKS = ProviderAccess(provider=Provider(name="The server", operations={}), base_url=None, key=None, configured=True)


class Parameters(TypedDict, total=False):
    """The fields that every operation has, beside its prompt and pictures, as keyword arguments."""

    model: str | None
    size: str | None
    aspect_ratio: str | None
    resolution: str | None
    quality: str | None
    style: str | None
    seed: int | None
    negative_prompt: str | None
    guidance: float | None
    steps: int | None
    safety: Literal["strict", "standard", "relaxed"] | None
    background: str | None
    output_format: str | None
    previews: int
    options: Mapping[str, JsonValue]
    strict: bool
    emulate: bool
    assume_usd: Decimal | None


class GenerateParameters(Parameters, total=False):
    """Those of `Generate`."""

    references: tuple[ImageSource, ...]


class Client:
    """What `open_client` gives. All of it belongs to one Trio run, and may be used from any of its tasks."""

    def __init__(
        self,
        *,
        settings: Settings,
        catalog: Catalog,
        engine: Engine,
        ledger: Ledger,
        library: Library | None,
        sessions: Sessions,
        events: _Events,
        ways: _Ways,
    ) -> None:
        self.settings: Final = settings
        self.catalog: Final = catalog
        self.sessions: Final = sessions
        self._engine = engine
        self._ledger = ledger
        self._library = library
        self._events = events
        self._ways = ways

    @property
    def library(self) -> Library:
        """The pictures that were made.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """
        if self._library is None:
            raise ConfigurationError("This client was opened without a library: leave out library=None.")
        return self._library

    @property
    def default_model(self) -> Model:
        """The model of a generation that names none: the setting, else the first one that a key is there for, else `sketch`."""
        return self.catalog.find(choose_model(self.settings, self.catalog, Generate(prompt="x")))

    async def generate(self, request: str | Request, **parameters: Unpack[GenerateParameters]) -> Image:
        """Makes one picture, and keeps it in the library.

        Args:
            request: A prompt, with the parameters of `Generate` as keyword arguments, or a whole request of any operation.

        Raises:
            ImagenError: there is no picture; `.code`, `.retryable` and `.billed` say more.

        A cancellation before the request is sent costs nothing. After that the request goes on in the background for
        `salvage_seconds`, and its picture lands in the library.
        """
        return await self._make(_as_request(request, parameters))

    async def edit(
        self,
        prompt: str,
        *images: ImageSource,
        mask: ImageSource | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Changes a picture as the prompt says; `Edit` says what the pictures and the mask are. Else like `generate`."""
        return await self._make(Edit(prompt=prompt, images=images, mask=mask, **parameters))

    async def vary(
        self,
        image: ImageSource,
        *,
        prompt: str = "",
        strength: float | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Makes another picture like this one; see `Vary`. Else like `generate`."""
        return await self._make(Vary(image=image, prompt=prompt, strength=strength, **parameters))

    async def enhance(
        self,
        image: ImageSource,
        *,
        scale: float | None = None,
        mode: Literal["fast", "conservative", "creative"] | None = None,
        prompt: str = "",
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Makes the same picture larger and finer; see `Enhance`. Else like `generate`."""
        return await self._make(Enhance(image=image, scale=scale, mode=mode, prompt=prompt, **parameters))

    async def restyle(
        self,
        image: ImageSource,
        reference: ImageSource,
        *,
        prompt: str = "",
        strength: float | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Draws the content of one picture in the look of another; see `Restyle`. Else like `generate`."""
        return await self._make(
            Restyle(image=image, reference=reference, prompt=prompt, strength=strength, **parameters)
        )

    async def _make(self, request: Request) -> Image:
        order = self._engine.plan(request)
        purse = Purse(current_scopes())
        try:
            (outcome,) = await self._engine.fulfil(order, purse)
        except BudgetExceededError as error:
            refusal = error
        else:
            if isinstance(outcome, Failure):
                raise outcome.error
            return outcome
        if (scope := purse.exhausted_scope) is not None:
            await scope.wait_settled()
            await scope.leave()
        raise refusal

    def open_batch(
        self,
        requests: str | Request | Requests,
        *,
        n: int = 1,
        max_at_once: int = 4,
        together: bool = False,
        budget: Budget | None = None,
        on_event: EventHandler | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> AbstractAsyncContextManager[Batch]:
        """Opens a batch: iterate over it for one outcome per request, each as it finishes.

        Args:
            requests: A prompt or one request, made `n` times; or many of either, as an iterable or an async iterable, which
                is read no faster than slots come free.
            max_at_once: How many provider requests run side by side.
            together: Ask for several pictures in one provider request, where the model can. They then arrive together.
            budget: Requests that do not fit into it come out as failures with `BudgetExceededError`.
            on_event: Is told of requests sent, previews, and outcomes of this batch.

        Opening spends nothing until the first outcome is asked for. Every request gives exactly one outcome, in order of
        completion, and a failure never stops the others. A slow reader slows the spending. Leaving the block drops what
        has not been sent and salvages what has, in the background.
        """
        source = self._source(requests, n, together, parameters)
        emit = self._events if on_event is None else partial(self._tell_both, on_event)
        purse = Purse(current_scopes(), budget)
        return open_batch(self._engine, source, max_at_once=max_at_once, purse=purse, emit=emit)

    def start_session(
        self,
        request: str | Request,
        *,
        n: int = 1,
        max_at_once: int = 4,
        together: bool = False,
        budget: Budget | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> Session:
        """Starts a batch in the background, to be pulled from later by `sessions.get(id)`. It goes on until the client closes.

        It outlives the block that it was started in, so the budget scopes around that do not bind it; a `budget` does.

        Raises:
            SessionError: too many run at once.
            ImagenError: the request cannot be sent as it is.
        """
        whole = _as_request(request, parameters)
        self._engine.plan(whole)
        source = repeat_request(whole, n, together=together)
        purse = Purse(budget=budget)
        batch = partial(open_batch, self._engine, source, max_at_once=max_at_once, purse=purse, emit=self._events)
        return self.sessions.start(batch, n)

    def quote(
        self, requests: str | Request | Iterable[Request | str], *, n: int = 1, **parameters: Unpack[GenerateParameters]
    ) -> Quote:
        """What requests will cost, before anything is sent; figures are None where a price is unknown.

        Raises:
            ImagenError: one of the requests cannot be sent as it is.
        """
        if isinstance(requests, (str, Request)):
            whole = _as_request(requests, parameters)
            return self._engine.plan(whole, tuple(range(n))).quote
        zero = Decimal(0)
        quotes = [self._engine.plan(as_request(item)).quote for item in requests]
        return sum(quotes, start=Quote(low_usd=zero, expected_usd=zero, high_usd=zero))

    async def spending(self, since: datetime.datetime | None = None) -> Spending:
        """What was spent since then (None: ever), out of the ledger: all processes that share this home."""
        return await self._ledger.spending(since)

    async def probe(self, provider: str) -> ProviderStatus:
        """Whether a provider is configured and answers, found out by a request that costs nothing."""
        access = self.settings.access.get(provider)
        if access is None:
            known = ", ".join(self.settings.access)
            raise ProviderNotFoundError(f"There is no provider {provider!r}; imagen knows {known}.")
        return await probe_provider(access, self._ways.driver(provider) if access.configured else None)

    async def discover(self) -> Discovery:
        """The image models that the providers list for this account, beside what the catalog knows. It costs nothing."""
        return await discover_models(self.settings.access.values(), self.catalog, self._ways.driver)

    @property
    def in_flight(self) -> int:
        """How many provider requests are under way, those that are being salvaged included."""
        return self._engine.in_flight

    def bound_salvage(self, seconds: float) -> None:
        """Gives everything in flight so many seconds to finish, and drops what has not been sent.

        What is not finished by then is `unknown` in the ledger: it may be billed.
        """
        self._engine.bound_salvage(seconds)

    def _tell_both(self, on_event: EventHandler, event: Event) -> None:
        self._events(event)
        self._events.tell(on_event, event)

    def _source(
        self, requests: str | Request | Requests, n: int, together: bool, parameters: GenerateParameters
    ) -> Requests | RepeatedRequest:
        if isinstance(requests, (str, Request)):
            return repeat_request(_as_request(requests, parameters), n, together=together)
        if n != 1 or together or parameters:
            raise InvalidRequestError("n, together and parameters go with one prompt; many requests carry their own.")
        return requests


def _as_request(request: str | Request, parameters: GenerateParameters) -> Request:
    if isinstance(request, str):
        return Generate(prompt=request, **parameters)
    if parameters:
        raise InvalidRequestError(f"{', '.join(parameters)}: put these into the request itself, or give a prompt.")
    return request


# --- opening --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_client(
    settings: Settings | None = None,
    *,
    library: str | Path | Literal["home"] | None = "home",
    on_event: EventHandler | None = None,
    http: httpx2.AsyncClient | None = None,
    transport: Callable[[ProviderAccess], Transport] | None = None,
    workers: Workers | None = None,
) -> AsyncIterator[Client]:
    """Opens a client for as long as the block lasts.

    Args:
        settings: By default what the environment and imagen.toml say, by `load_settings`.
        library: The folder for pictures; "home" is the one in IMAGEN_HOME, None keeps the bytes in memory only. The ledger
            is always there.
        on_event: Is told of everything that this client sends and gets.
        http: An `httpx2.AsyncClient` of the caller's, with proxies and certificates to taste; it stays the caller's to close.
        transport: Makes the way to each provider, in place of HTTP: `imagen.testing.ScriptedTransport` for tests.
        workers: Runs blocking work; `imagen.testing.InlineWorkers` for tests under virtual time.

    Raises:
        ConfigurationError: a setting is wrong.
        StorageError: the home folder cannot be used.

    Leaving the block, also by an exception or a cancellation, cancels the sessions and waits for the salvage of what has
    been sent: at most `salvage_seconds`.
    """
    settings = load_settings() if settings is None else settings
    catalog = settings.load_catalog()
    workers = ThreadWorkers() if workers is None else workers
    events = _Events(on_event)
    ways = _Ways(settings, transport or partial(_open_http, settings, http), workers)
    database = await Database.open(settings.home / "imagen.sqlite3", workers)
    try:
        ledger = Ledger(database)
        shelf = _open_library(settings, library, database, workers)
        async with open_bare_nursery() as nursery:
            engine = Engine(
                catalog=catalog,
                providers={name: access.provider for name, access in settings.access.items()},
                driver_of=ways.driver,
                settings_of=lambda provider: settings.access[provider].settings,
                sources=SourceReader(library=shelf, workers=workers, fetch=ways.fetch, bounds=settings.bounds),
                ledger=ledger,
                library=shelf,
                workers=workers,
                nursery=nursery,
                emit=events,
                choose_model=partial(choose_model, settings, catalog),
                retry=settings.retry,
                salvage_seconds=settings.salvage_seconds,
                max_pixels=settings.bounds.max_pixels,
                hide_secrets=ways.hide_secrets,
            )
            sessions = Sessions(
                nursery, ttl_seconds=settings.session_ttl_seconds, max_concurrent=settings.max_concurrent_sessions
            )
            client = Client(
                settings=settings,
                catalog=catalog,
                engine=engine,
                ledger=ledger,
                library=shelf,
                sessions=sessions,
                events=events,
                ways=ways,
            )
            try:
                yield client
            finally:
                sessions.cancel_all()
                engine.close()
    finally:
        with trio.move_on_after(_CLOSE_SECONDS, shield=True):
            await ways.aclose()
            await database.aclose()
    events.raise_error()


def _open_library(
    settings: Settings, library: str | Path | None, database: Database, workers: Workers
) -> Library | None:
    if library is None:
        return None
    folder = settings.home / "images" if library == "home" else Path(library).absolute()
    return Library(folder, database, workers)


class _Events:
    """Tells the subscriber. An exception of his must not lose a paid picture, so it waits for the end."""

    def __init__(self, handler: EventHandler | None) -> None:
        self._handler = handler
        self._error: Exception | None = None

    def __call__(self, event: Event) -> None:
        self.tell(self._handler, event)

    def tell(self, handler: EventHandler | None, event: Event) -> None:
        if handler is None or self._error is not None:
            return
        try:
            handler(event)
        except Exception as error:
            self._error = error

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


class _Ways:
    """The ways to the providers: one driver and one transport each, made when first needed."""

    def __init__(
        self, settings: Settings, open_transport: Callable[[ProviderAccess], Transport], workers: Workers
    ) -> None:
        self._settings = settings
        self._open_transport = open_transport
        self._workers = workers
        self._drivers: dict[str, ExchangeDriver] = {}
        self._transports: list[Transport] = []
        self._links: ExchangeDriver | None = None

    def driver(self, provider: str) -> ExchangeDriver:
        if (driver := self._drivers.get(provider)) is None:
            access = self._settings.access[provider]
            if not access.configured:
                raise ConfigurationError(_what_is_missing(access))
            transport = self._open_transport(access)
            self._transports.append(transport)
            driver = ExchangeDriver(
                transport, bounds=self._settings.bounds, retry=self._settings.retry, workers=self._workers
            )
            self._drivers[provider] = driver
        return driver

    async def fetch(self, url: str) -> bytes:
        """What is behind a link that a caller gave."""
        if self._links is None:
            bounds = msgspec.structs.replace(
                self._settings.bounds, max_body_bytes=self._settings.bounds.max_input_bytes
            )
            transport = self._open_transport(_LINKS)
            self._transports.append(transport)
            self._links = ExchangeDriver(transport, bounds=bounds, retry=self._settings.retry, workers=self._workers)
        response = await self._links.send(HttpRequest(method="GET", url=url, repeatable=True))
        if response.status != 200:
            raise ProviderError(f"The link answers {response.status}.")
        return response.body

    def hide_secrets(self, provider: str, text: str) -> str:
        key = self._settings.access[provider].key
        return text if key is None else key.hide_in(text)

    async def aclose(self) -> None:
        for transport in self._transports:
            await transport.aclose()


def _what_is_missing(access: ProviderAccess) -> str:
    provider = access.provider
    if provider.packages:
        return f'{provider.name} needs packages that are not installed: pip install "imagen-trio[{provider.name}]".'
    where = f" (from {provider.home_page})" if provider.home_page else ""
    if access.base_url is None:
        return f"{provider.name} needs the address of its server: set {provider.base_url_variable}{where}."
    variables = " or ".join(provider.key_variables)
    return f"{provider.name} needs a key: set {variables}{where}, or use the model sketch, which needs none."


def _open_http(settings: Settings, http: httpx2.AsyncClient | None, access: ProviderAccess) -> Transport:
    return HttpTransport(
        access.provider,
        base_url=access.base_url or "https://nowhere.invalid",
        key=access.key,
        bounds=settings.bounds,
        user_agent=f"imagen-trio/{version()}",
        http=http,
    )
