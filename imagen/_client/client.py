"""The client: everything a caller needs, between `open_client` and the end of
its block.
"""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Final, Literal, Unpack

import msgspec
import trio

from .._engine.admission import CallContext
from .._errors import (
    BudgetExceededError,
    ConfigurationError,
    InvalidRequestError,
    ProviderNotFoundError,
    StorageError,
)
from .._policy.budget import Budget, BudgetStack, current_scopes, read_usd
from .._policy.quotas import BudgetStatus
from .._policy.settings import ProviderAccess, Settings
from .._requests.catalog import Catalog, Model
from .._requests.options import (
    GenerateFields,
    GenerateParameters,
    Parameters,
    RoutingOptions,
    take_options,
)
from .._requests.request import (
    Edit,
    Enhance,
    Generate,
    ImageSource,
    Request,
    Restyle,
    Vary,
    as_request,
)
from .._results.events import EventHandler
from .._results.images import Failure, Image
from .._results.prices import Quote
from .._results.replay import Replay, differences_of, replay_request
from .._storage.ledger import AttemptRecord
from .._storage.ledger_limits import read_budgets
from .._storage.spending import CacheHits, Spending, SpendingGroup, SpendingKey
from .._storage.statistics import Statistics, StatisticsKey
from .._storage.webhooks import BatchCompleted, Webhooks
from .._transport.catalog_overlay import (
    CatalogOverlay,
    CatalogRefresh,
    PriceDifference,
    read_overlay,
    refresh_overlay,
)
from .._transport.discovery import Discovery, discover_models
from .._transport.driver import ExchangeObserver
from .._transport.probe import ProviderStatus, probe_provider
from ..library._imaging.renditions import Renditions
from ..library._imaging.similar import Similar
from ..library._library import Library
from ..prompts._prompt_library import PromptLibrary
from ..prompts._style_files import load_styles
from ..prompts._styles import SharedStyle, Style, choose_styles
from ..providers._provider import Callback
from ..sharing._archive.archives import Archives
from ..sharing._links.shares import Shares
from ..sharing._publishing.publisher import Publisher
from .batch import (
    Batch,
    BatchSetup,
    RepeatedRequest,
    Requests,
    StoredBatch,
    open_batch,
    quote_all,
    repeat_request,
)
from .library_services import LibraryServices
from .services import Services
from .session import Session
from .sessions import Sessions
from .submissions import Submission

__all__ = ["Client"]

# How far back a refresh looks for bills above their quote.
_BILLS_SECONDS = 90 * 86400.0
# One write to the database.
_ANNOUNCE_SECONDS = 35.0


class Client:
    """Client of one Trio run, usable from all of its tasks."""

    def __init__(self, services: Services) -> None:
        self.settings: Final[Settings] = services.runtime.settings
        self.catalog: Final[Catalog] = services.runtime.catalog
        self.sessions: Final[Sessions] = services.sessions
        self.prompts: Final[PromptLibrary] = services.prompts
        self.renditions: Final[Renditions] = services.renditions
        self._services = services

    @property
    def _library_services(self) -> LibraryServices:
        if self._services.library_services is None:
            raise ConfigurationError(
                "This client was opened without a library: leave out library=None."
            )
        return self._services.library_services

    @property
    def library(self) -> Library:
        """The images that were made.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """
        return self._library_services.library

    @property
    def similar(self) -> Similar:
        """Images of the library that look alike.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """
        return self._library_services.similar

    @property
    def archives(self) -> Archives:
        """Images of the library as one file, and back.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """
        return self._library_services.archives

    @property
    def shares(self) -> Shares:
        """Links to images of the library that are given away.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """
        return self._library_services.shares

    @property
    def publisher(self) -> Publisher:
        """The images of the library in an object store.

        Raises:
            ConfigurationError: no store is set, or the client was opened with
                `library=None`.
        """
        if (publisher := self._library_services.publisher) is None:
            raise ConfigurationError(
                "No store is set to publish to: set IMAGEN_STORE_URL, or [store] in imagen.toml."
            )
        return publisher

    @property
    def webhooks(self) -> Webhooks:
        """Outbox of the webhooks.

        Raises:
            ConfigurationError: no receiver is set.
        """
        if self._services.webhooks is None:
            raise ConfigurationError(
                "No receiver of webhooks is set: set IMAGEN_WEBHOOK_URL and IMAGEN_WEBHOOK_SECRET."
            )
        return self._services.webhooks

    async def styles(self) -> Mapping[str, Style]:
        """All styles by name: those that come with imagen, and those of
        styles.toml in the home.

        Raises:
            ConfigurationError: that file is wrong; the message names the style.
        """
        return await self._services.runtime.workers.run(partial(load_styles, self.settings.home))

    async def look(
        self, *styles: Style | str, seed: int | None = None, references: Sequence[ImageSource] = ()
    ) -> SharedStyle:
        """A look that is kept from image to image: `look.request("a harbour")`
        is a generation in it.

        Args:
            styles: By name, or as they are.
            seed: The seed of the first prompt; each further prompt has the next
                one.
            references: Images that lend the look to all; `look.keep(image)`
                adds one that was made.

        Raises:
            InvalidRequestError: unknown style.
        """
        known = await self.styles() if any(isinstance(style, str) for style in styles) else {}
        chosen = (
            choose_styles(known, (style,))[0] if isinstance(style, str) else style
            for style in styles
        )
        return SharedStyle(
            tuple(chosen), seed=seed, references=references, model_for=self.model_for
        )

    @property
    def default_model(self) -> Model:
        """The model of a generation that names none: the setting, else the
        first one that a key is there for, else `sketch`.
        """
        return self.model_for(Generate(prompt="x"))

    def model_for(self, request: Request) -> Model:
        """The model that a request goes to first: the one that it names, else
        the one that is chosen for it.

        Raises:
            ImagenError: no model can do the request.
        """
        return self._services.planner.model_for(request)

    async def generate(
        self, request: str | Request, **parameters: Unpack[GenerateParameters]
    ) -> Image:
        """Makes one image, and keeps it in the library.

        Args:
            request: A prompt, with the parameters of `Generate` as keyword
                arguments, or a whole request of any operation.

        Raises:
            ImagenError: the request failed; `.code`, `.retryable` and `.billed`
                tell more.

        A cancellation before the request is sent costs nothing. After that the
        request continues in the background for `salvage_seconds`, and its image
        goes into the library.
        """
        fields, options = take_options(parameters)
        return await self._make(_as_request(request, fields), options)

    async def edit(
        self,
        prompt: str,
        *images: ImageSource,
        mask: ImageSource | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Change an image as the prompt describes; see `Edit`. Otherwise like
        `generate`.
        """
        fields, options = take_options(parameters)
        return await self._make(Edit(prompt=prompt, images=images, mask=mask, **fields), options)

    async def vary(
        self,
        image: ImageSource,
        *,
        prompt: str = "",
        strength: float | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Makes another image like this one; see `Vary`. Else like `generate`."""
        fields, options = take_options(parameters)
        return await self._make(
            Vary(image=image, prompt=prompt, strength=strength, **fields), options
        )

    async def enhance(
        self,
        image: ImageSource,
        *,
        scale: float | None = None,
        mode: Literal["fast", "conservative", "creative"] | None = None,
        prompt: str = "",
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Makes the same image larger and finer; see `Enhance`. Else like
        `generate`.
        """
        fields, options = take_options(parameters)
        return await self._make(
            Enhance(image=image, scale=scale, mode=mode, prompt=prompt, **fields), options
        )

    async def restyle(
        self,
        image: ImageSource,
        reference: ImageSource,
        *,
        prompt: str = "",
        strength: float | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Draws the content of one image in the look of another; see `Restyle`.
        Else like `generate`.
        """
        fields, options = take_options(parameters)
        return await self._make(
            Restyle(image=image, reference=reference, prompt=prompt, strength=strength, **fields),
            options,
        )

    async def replay(
        self, image: Image, *, model: str | None = None, seed: int | None = None
    ) -> Replay:
        """Makes an image again: the same request, with the seed that the image
        reports, by the model that made it.

        Args:
            model: Another model; the options of the request are sent to the
                same provider only.
            seed: Another seed.

        Return the new image and how it differs. It is paid like any other.
        Otherwise like `generate`.

        Raises:
            ImagenError: the request failed, or an input image is no longer
                kept.
        """
        chosen = self.catalog.find(model or image.model)
        again = await self._make(replay_request(image, chosen, seed), RoutingOptions())
        return Replay(
            image=again,
            differences=differences_of(image, again),
            same_bytes=again.sha256 == image.sha256,
        )

    async def _make(self, request: Request, options: RoutingOptions) -> Image:
        ask = None
        if self._services.confirmation is not None:
            ask = partial(
                self._services.confirmation.ask, self._services.planner.plan(request).quote, 1
            )
        budget_stack = BudgetStack(current_scopes())
        try:
            context = msgspec.structs.replace(self._context(budget_stack, options), ask=ask)
            (outcome,) = await self._services.router.run(request, context)
        except BudgetExceededError as error:
            refusal = error
        else:
            if isinstance(outcome, Failure):
                raise outcome.error
            return outcome
        if (scope := budget_stack.exhausted_scope) is not None:
            await scope.wait_settled()
            await scope.leave()
        raise refusal

    def _context(
        self,
        budget_stack: BudgetStack,
        options: RoutingOptions,
        on_event: EventHandler | None = None,
    ) -> CallContext:
        return CallContext(
            budget_stack=budget_stack,
            emit=self._services.events.also_to(on_event),
            options=options,
            lockouts={},
        )

    def _batch_parts(
        self, context: CallContext, max_at_once: int, batch_id: str | None = None
    ) -> BatchSetup:
        return BatchSetup(
            planner=self._services.planner,
            router=self._services.router,
            context=context,
            confirmation=self._services.confirmation,
            max_at_once=max_at_once,
            batch_id=batch_id,
            is_sent=self._is_sent,
        )

    def _is_sent(self, batch_id: str, index: int) -> bool:
        return any(
            attempt.sent and index in attempt.planned.indexes
            for attempt in self._services.engine.attempts
            if attempt.planned.batch_id == batch_id
        )

    def open_batch(
        self,
        requests: str | Request | Requests,
        *,
        n: int = 1,
        max_at_once: int = 4,
        together: bool = False,
        economy: bool = False,
        budget: Budget | None = None,
        on_event: EventHandler | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> AbstractAsyncContextManager[Batch]:
        """Opens a batch: iterate over it for one outcome per request, each as
        it finishes.

        Args:
            requests: A prompt or one request, made `n` times; or many of
                either, as an iterable or an async iterable, which is read no
                faster than slots come free.
            max_at_once: How many provider requests run side by side.
            together: Ask for several images in one provider request, if the
                model can. They then arrive together.
            economy: Send the requests through the provider's batch API for less
                money (half, with OpenAI and Gemini). It may take hours;
                `reopen_batch` with the batch's `id` continues after a restart.
            budget: Requests that do not fit into it come out as failures with
                `BudgetExceededError`.
            on_event: Notified of requests sent, previews and outcomes of this
                batch.

        Opening spends nothing until the first outcome is asked for. Every
        request has exactly one outcome, in order of completion, and a failure
        never stops the others. A slow reader slows the spending. Leaving the
        block drops what has not been sent and salvages what has, in the
        background.
        """
        fields, options = take_options(parameters)
        source = self._source(requests, n, together, fields)
        context = self._context(BudgetStack(current_scopes(), budget), options, on_event)
        parts = self._batch_parts(context, max_at_once)
        if economy and (together or options != RoutingOptions()):
            raise InvalidRequestError(
                "economy sends everything to one model and waits: leave out together, fallback,"
                " routing, hedge_after_seconds, cache and wait."
            )
        if economy:
            parts = msgspec.structs.replace(parts, batch_jobs=self._services.batch_jobs)
        return self._announced(open_batch(source, parts))

    def reopen_batch(self, batch_id: str) -> AbstractAsyncContextManager[Batch]:
        """Open a batch that was left, e.g. by an earlier process: its images,
        and those that still come.

        Yields an outcome for every request that was sent: images of the
        library, then what is collected now, then a failure for each of the
        rest. Sends nothing; requests that were never sent have no outcome.
        """
        source = StoredBatch(partial(self._services.recovery.outcomes_of, batch_id))
        parts = self._batch_parts(self._context(BudgetStack(), RoutingOptions()), 1, batch_id)
        return self._announced(
            open_batch(source, msgspec.structs.replace(parts, confirmation=None))
        )

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
        """Start a batch in the background, to be read with `sessions.get(id)`.
        It runs until the client closes.

        It outlives the block around the call, so budget scopes do not bind it;
        a `budget` does.

        Raises:
            SessionError: too many run at once.
            ImagenError: the request cannot be sent.
        """
        fields, options = take_options(parameters)
        whole = _as_request(request, fields)
        self._services.planner.plan(whole)
        source = repeat_request(whole, n, together=together)
        context = self._context(BudgetStack(budget=budget), options)
        return self.sessions.start(source, self._batch_parts(context, max_at_once), budget)

    async def submit(
        self,
        request: str | Request,
        *,
        n: int = 1,
        max_at_once: int = 4,
        together: bool = False,
        budget: Budget | None = None,
        priority: int = 0,
        **parameters: Unpack[GenerateParameters],
    ) -> Session:
        """Leave a batch to the workers (`imagen worker`) of this database, and
        follow it as if it ran here.

        Args:
            priority: Those of a higher one are begun first. Requests of one
                priority take turns by their `tag`, and within it come in order.

        Return once it is on the disk. It does not end with this client:
        `sessions.get(id)` finds it in any other, and `cancel` ends it. Budget
        scopes do not bind it; a `budget` does, and so do standing budgets.
        Above `confirm_above_usd` this client's `confirm` is asked.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
            ImagenError: the request cannot be sent.
        """
        fields, options = take_options(parameters)
        whole = _as_request(request, fields)
        source = repeat_request(whole, n, together=together)
        quote = self.quote(whole, n=n)
        if self._services.confirmation is not None:
            await self._services.confirmation.ask(quote, n)
        context = self._context(BudgetStack(budget=budget), options)
        submission = Submission(tag=whole.tag or "", priority=priority)
        return await self.sessions.submit(
            source, self._batch_parts(context, max_at_once), budget, submission
        )

    async def resume_session(self, session_id: str) -> Session:
        """Make the missing images of a session that an earlier process did not
        finish, under the same id.

        Attempts in flight or of unknown outcome are not missing, as they may be
        paid. A running session is left alone.

        Raises:
            SessionError: the session is unknown, expired, or runs in another
                process.
        """
        context = self._context(BudgetStack(), RoutingOptions())
        return await self.sessions.resume(session_id, self._batch_parts(context, 1))

    async def _resume_submitted(self, session_id: str) -> Session:
        """Make a submitted session, for a worker."""
        context = self._context(BudgetStack(), RoutingOptions())
        parts = self._batch_parts(context, 1)
        return await self.sessions.resume(session_id, parts, submitted=True)

    def quote(
        self,
        requests: str | Request | Iterable[Request | str],
        *,
        n: int = 1,
        economy: bool = False,
        **parameters: Unpack[GenerateParameters],
    ) -> Quote:
        """Return the cost of requests before anything is sent; figures are None
        if a price is unknown.

        Args:
            requests: As for `open_batch`, and so are `n` and `economy`.

        Raises:
            ImagenError: a request cannot be sent.
        """
        planner = self._services.planner
        if isinstance(requests, (str, Request)):
            fields, _ = take_options(parameters)
            return planner.plan(
                _as_request(requests, fields), tuple(range(n)), economy=economy
            ).quote
        return quote_all(planner, (as_request(item) for item in requests), economy=economy)

    async def spending(self, since: datetime.datetime | None = None) -> Spending:
        """Return what was spent since then (None: ever) by all processes that
        share this home.
        """
        return await self._services.spending.total(since)

    async def spending_by(
        self, key: SpendingKey, since: datetime.datetime | None = None
    ) -> Sequence[SpendingGroup]:
        """Return the same by model, provider, day (UTC), tag or batch: days in
        order, else the highest first.
        """
        return await self._services.spending.groups(key, since)

    async def budgets(self) -> Sequence[BudgetStatus]:
        """Return the standing budgets, and what all processes that share this
        home have taken of them.
        """
        runtime = self._services.runtime
        read = partial(read_budgets, budgets=self.settings.budgets, now=runtime.now())
        return await runtime.database.look(read)

    async def statistics(
        self,
        key: StatisticsKey = "model",
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
    ) -> Sequence[Statistics]:
        """Return success, speed and cost by model, provider, operation, tag, day
        or month (UTC), of all processes that share this home: times in order,
        else the most images first. `until` is exclusive.
        """
        return await self._services.statistics.groups(key, since, until)

    async def cache_hits(self, since: datetime.datetime | None = None) -> CacheHits:
        """Return what `cache=True` served since then (None: ever), in all
        processes that share this home.
        """
        return await self._services.spending.cache_hits(since)

    async def unknown_attempts(self) -> Sequence[AttemptRecord]:
        """The requests that were sent and never heard of again, oldest first.
        They count as spent until `reconcile`d.
        """
        return await self._services.runtime.ledger.unknown()

    async def collect(self) -> int:
        """Collect attempts of unknown outcome, and those that earlier processes
        left; wait for them. Read again what was set aside.

        Return the number of attempts that ended with an image.
        """
        await self._services.recovery.resolve_dead()
        await self._services.recovery.collect_unknown()
        # Batches for less may take hours: `reopen_batch` waits for those.
        attempts = [
            attempt
            for attempt in self._services.recovery.collecting()
            if not attempt.planned.economy
        ]
        for attempt in attempts:
            await attempt.done.wait()
        kept = await self._services.kept_images.read_again()
        return sum(attempt.error is None for attempt in attempts) + len(
            {image.attempt_id for image in kept}
        )

    async def reconcile(self, attempt_id: str, usd: Decimal | str) -> None:
        """Record the cost of an attempt of unknown outcome, as the provider's
        account shows it.

        Raises:
            InvalidRequestError: no attempt of unknown outcome has that id.
        """
        amount = read_usd(usd)
        if not await self._services.runtime.ledger.reconcile(
            attempt_id, amount, self._services.runtime.now()
        ):
            raise InvalidRequestError(
                f"There is no attempt {attempt_id!r} of unknown outcome: `imagen spend --unknown`"
                " lists them."
            )

    async def receive_callback(
        self, provider: str, headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Takes a request that came to the callback URL of a provider, and asks
        at once how far its job is.

        Return True if this client waits for the job. Any web server can pass
        requests on to it.

        Raises:
            AuthenticationError: the provider has not signed it.
            InvalidRequestError: the request is not a callback of the provider.
        """
        access = self._access(provider)
        read = access.provider.read_callback
        if read is None:
            raise InvalidRequestError(f"{provider} sends no callbacks.")
        secret = self.settings.callback_secret
        callback = Callback(
            headers=headers,
            body=body,
            now=self._services.runtime.now(),
            secret=None if secret is None else secret.reveal(),
        )
        job_id = await self._services.runtime.connections.driver(provider).run(
            read(callback), ExchangeObserver()
        )
        return self._services.runtime.job_waiters.wake(provider, job_id)

    async def probe(self, provider: str) -> ProviderStatus:
        """Check with a free request if a provider is configured and replies."""
        access = self._access(provider)
        return await probe_provider(
            access,
            self._services.runtime.connections.driver(provider) if access.configured else None,
        )

    def _access(self, provider: str) -> ProviderAccess:
        access = self.settings.access.get(provider)
        if access is None:
            known = ", ".join(self.settings.access)
            raise ProviderNotFoundError(f"There is no provider {provider!r}; imagen knows {known}.")
        return access

    async def discover(self) -> Discovery:
        """Return the image models that the providers list for this account,
        with their catalog entries. Free.
        """
        return await discover_models(
            self.settings.access.values(), self.catalog, self._services.runtime.connections.driver
        )

    async def refresh_catalog(self) -> CatalogRefresh:
        """Ask the providers for their models and prices, and keep what they
        list in the home, with the bills of 90 days that were above their
        quote. Free, and changes no quote.

        Raises:
            StorageError: the home cannot be written.
        """
        runtime = self._services.runtime
        discovery = await discover_models(
            self.settings.access.values(), self.catalog, runtime.connections.driver, prices=True
        )
        now = datetime.datetime.fromtimestamp(runtime.now(), datetime.UTC)
        # What is reserved for other models is the caller's own assumption.
        priced = {model.id for model in self.catalog if model.price is not None}
        bills = [
            PriceDifference(
                model=bill.model,
                provider=bill.provider,
                unit="image",
                listed_usd=bill.settled_usd,
                catalog_usd=bill.reserved_usd,
                listed_on=now.date(),
                billed=True,
            )
            for bill in await runtime.ledger.billed_above(runtime.now() - _BILLS_SECONDS)
            if bill.model in priced
        ]
        try:
            return await runtime.workers.run(
                partial(refresh_overlay, self.settings.home, discovery, now, bills)
            )
        except OSError as error:
            raise StorageError(
                f"What the providers list cannot be kept in {self.settings.home}:"
                f" {error.strerror or error}."
            ) from error

    async def catalog_overlay(self) -> CatalogOverlay | None:
        """What the providers listed when the catalog was last refreshed; None
        if it never was.
        """
        return await self._services.runtime.workers.run(partial(read_overlay, self.settings.home))

    @property
    def in_flight(self) -> int:
        """Number of provider requests in flight, those being salvaged included."""
        return self._services.engine.in_flight + self._services.batch_jobs.in_flight

    def bound_salvage(self, seconds: float) -> None:
        """Give everything in flight at most `seconds` to finish, and drop what
        has not been sent.

        The rest is then `unknown` in the ledger: it may be billed.
        """
        self._services.engine.bound_salvage(seconds)
        self._services.batch_jobs.bound_salvage(seconds)

    @asynccontextmanager
    async def _announced(self, opening: AbstractAsyncContextManager[Batch]) -> AsyncIterator[Batch]:
        """Announce a batch by webhook when it is left."""
        completed: BatchCompleted | None = None
        try:
            async with opening as batch:
                try:
                    yield batch
                finally:
                    # A batch that the provider still works on is not over: the
                    # client that reopens it announces its end.
                    with_provider = any(
                        attempt.planned.batch_id == batch.id
                        for attempt in self._services.batch_jobs.attempts
                    )
                    completed = None if with_provider else batch.completed()
        finally:
            if self._services.webhooks is not None and completed is not None:
                with trio.move_on_after(_ANNOUNCE_SECONDS, shield=True):
                    await self._services.webhooks.enqueue(completed)

    def _source(
        self, requests: str | Request | Requests, n: int, together: bool, parameters: GenerateFields
    ) -> Requests | RepeatedRequest:
        if isinstance(requests, (str, Request)):
            return repeat_request(_as_request(requests, parameters), n, together=together)
        if n != 1 or together or parameters:
            raise InvalidRequestError(
                "n, together and parameters go with one prompt; many requests carry their own."
            )
        return requests


def _as_request(request: str | Request, parameters: GenerateFields) -> Request:
    if isinstance(request, str):
        return Generate(prompt=request, **parameters)
    if parameters:
        raise InvalidRequestError(
            f"{', '.join(parameters)}: put these into the request itself, or give a prompt."
        )
    return request
