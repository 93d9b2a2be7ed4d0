"""The client and its objects for asyncio; see `imagen/aio.py`.

Written by `python -m tests.support.bridge_stubs`: do not edit.
"""

import datetime
import time
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Literal, Unpack, overload

import httpx2
import pandas
import polars

from imagen._client.batch import BatchStatus, Requests
from imagen._client.event_relay import EventHandlers
from imagen._client.session_state import SessionState
from imagen._client.session_store import SessionSummary
from imagen._errors import ImagenError
from imagen._policy.budget import Budget, BudgetScope
from imagen._policy.cleanup import CleanupRules
from imagen._policy.confirmation import Confirm
from imagen._policy.quotas import BudgetStatus
from imagen._policy.settings import ProviderAccess, Settings
from imagen._requests.catalog import Catalog, JsonValue, Model
from imagen._requests.options import GenerateParameters, Parameters
from imagen._requests.request import ImageSource, Request
from imagen._results.events import EventHandler
from imagen._results.images import Failure, Image, Outcome
from imagen._results.prices import Quote
from imagen._results.replay import Replay
from imagen._storage.ledger import AttemptRecord
from imagen._storage.spending import CacheHits, Spending, SpendingGroup, SpendingKey
from imagen._storage.statistics import Statistics, StatisticsKey
from imagen._storage.webhooks import Webhook, WebhookState
from imagen._system.threads import Workers
from imagen._transport.catalog_overlay import CatalogOverlay, CatalogRefresh
from imagen._transport.discovery import Discovery
from imagen._transport.probe import ProviderStatus
from imagen.library._annotations import ImageRef
from imagen.library._check import Finding
from imagen.library._cleanup import CleanupPlan
from imagen.library._collections import Collection
from imagen.library._filters import Filters, SortOrder
from imagen.library._imaging.similar import MAX_DISTANCE, HashProgress
from imagen.library._imaging.transforms import Transform
from imagen.library._library import LibrarySize, Timeline
from imagen.library._query import Lineage, Page
from imagen.library._uploads import UploadProgress
from imagen.prompts._prompt import Prompt, PromptsImported
from imagen.prompts._styles import SharedStyle, Style
from imagen.providers._steps import Transport
from imagen.sharing._archive.format import ExportResult, ImportResult
from imagen.sharing._links.shares import Share, ShareTarget
from imagen.sharing._publishing.publications import Publication, PublicationState
from imagen.sharing._publishing.publisher import PublishingStatus, PublishProgress

__all__ = [
    "Archives",
    "Batch",
    "Client",
    "Collections",
    "Library",
    "PromptLibrary",
    "Publisher",
    "Renditions",
    "Session",
    "Sessions",
    "Shares",
    "Similar",
    "Webhooks",
    "fail_after_spending",
    "move_on_after_spending",
    "open_client",
]

class Client:
    @property
    def settings(self) -> Settings: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def prompts(self) -> PromptLibrary: ...
    @property
    def renditions(self) -> Renditions: ...
    @property
    def library(self) -> Library:
        """The images that were made.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """

    @property
    def similar(self) -> Similar:
        """Images of the library that look alike.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """

    @property
    def archives(self) -> Archives:
        """Images of the library as one file, and back.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """

    @property
    def shares(self) -> Shares:
        """Links to images of the library that are given away.

        Raises:
            ConfigurationError: the client was opened with `library=None`.
        """

    @property
    def publisher(self) -> Publisher:
        """The images of the library in an object store.

        Raises:
            ConfigurationError: no store is set, or the client was opened with
                `library=None`.
        """

    @property
    def webhooks(self) -> Webhooks:
        """Outbox of the webhooks.

        Raises:
            ConfigurationError: no receiver is set.
        """

    async def styles(self) -> Mapping[str, Style]:
        """All styles by name: those that come with imagen, and those of
        styles.toml in the home.

        Raises:
            ConfigurationError: that file is wrong; the message names the style.
        """

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

    @property
    def default_model(self) -> Model:
        """The model of a generation that names none: the setting, else the
        first one that a key is there for, else `sketch`.
        """

    def model_for(self, request: Request) -> Model:
        """The model that a request goes to first: the one that it names, else
        the one that is chosen for it.

        Raises:
            ImagenError: no model can do the request.
        """

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

    async def vary(
        self,
        image: ImageSource,
        *,
        prompt: str = "",
        strength: float | None = None,
        **parameters: Unpack[Parameters],
    ) -> Image:
        """Makes another image like this one; see `Vary`. Else like `generate`."""

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

    def reopen_batch(self, batch_id: str) -> AbstractAsyncContextManager[Batch]:
        """Open a batch that was left, e.g. by an earlier process: its images,
        and those that still come.

        Yields an outcome for every request that was sent: images of the
        library, then what is collected now, then a failure for each of the
        rest. Sends nothing; requests that were never sent have no outcome.
        """

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

    async def resume_session(self, session_id: str) -> Session:
        """Make the missing images of a session that an earlier process did not
        finish, under the same id.

        Attempts in flight or of unknown outcome are not missing, as they may be
        paid. A running session is left alone.

        Raises:
            SessionError: the session is unknown, expired, or runs in another
                process.
        """

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

    async def spending(self, since: datetime.datetime | None = None) -> Spending:
        """Return what was spent since then (None: ever) by all processes that
        share this home.
        """

    async def spending_by(
        self, key: SpendingKey, since: datetime.datetime | None = None
    ) -> Sequence[SpendingGroup]:
        """Return the same by model, provider, day (UTC), tag or batch: days in
        order, else the highest first.
        """

    async def budgets(self) -> Sequence[BudgetStatus]:
        """Return the standing budgets, and what all processes that share this
        home have taken of them.
        """

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

    async def cache_hits(self, since: datetime.datetime | None = None) -> CacheHits:
        """Return what `cache=True` served since then (None: ever), in all
        processes that share this home.
        """

    async def unknown_attempts(self) -> Sequence[AttemptRecord]:
        """The requests that were sent and never heard of again, oldest first.
        They count as spent until `reconcile`d.
        """

    async def collect(self) -> int:
        """Collect attempts of unknown outcome, and those that earlier processes
        left; wait for them. Read again what was set aside.

        Return the number of attempts that ended with an image.
        """

    async def reconcile(self, attempt_id: str, usd: Decimal | str) -> None:
        """Record the cost of an attempt of unknown outcome, as the provider's
        account shows it.

        Raises:
            InvalidRequestError: no attempt of unknown outcome has that id.
        """

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

    async def probe(self, provider: str) -> ProviderStatus:
        """Check with a free request if a provider is configured and replies."""

    async def discover(self) -> Discovery:
        """Return the image models that the providers list for this account,
        with their catalog entries. Free.
        """

    async def refresh_catalog(self) -> CatalogRefresh:
        """Ask the providers for their models and prices, and keep what they
        list in the home, with the bills of 90 days that were above their
        quote. Free, and changes no quote.

        Raises:
            StorageError: the home cannot be written.
        """

    async def catalog_overlay(self) -> CatalogOverlay | None:
        """What the providers listed when the catalog was last refreshed; None
        if it never was.
        """

    @property
    def in_flight(self) -> int:
        """Number of provider requests in flight, those being salvaged included."""

    def bound_salvage(self, seconds: float) -> None:
        """Give everything in flight at most `seconds` to finish, and drop what
        has not been sent.

        The rest is then `unknown` in the ledger: it may be billed.
        """

class Batch:
    @property
    def id(self) -> str: ...
    def status(self) -> BatchStatus:
        """Return the counts and cost so far."""

    def drop(self, index: int) -> bool:
        """Drop one request, counted from 0. Its outcome is a failure of code
        "DROPPED"; the others go on.

        What has not been sent costs nothing. What has been sent is salvaged in
        the background, as when the batch is left.

        Return False if it has its outcome already, or cannot be dropped alone:
        it shares a provider request with others, or is in a batch at the
        provider.
        """

    def __aiter__(self) -> Batch: ...
    async def __anext__(self) -> Outcome: ...

class Session:
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> SessionState:
        """State of the session."""

    @property
    def requested(self) -> int:
        """Number of images asked for."""

    @property
    def finished(self) -> bool:
        """True if no more outcomes will come."""

    @property
    def outcomes(self) -> Sequence[Outcome]:
        """Outcomes so far, in order of completion."""

    @property
    def images(self) -> Sequence[tuple[int, Image]]:
        """The images so far, each with its number."""

    @property
    def failures(self) -> Sequence[tuple[int, Failure]]:
        """The failures so far, each with its number."""

    @property
    def error(self) -> ImagenError | None:
        """Error that broke the batch itself, if any."""

    def status(self) -> BatchStatus:
        """Counts and cost."""

    async def wait_image(self, after: int | None = None) -> tuple[int, Image] | None:
        """The first image with a number above `after`, and that number; None
        when none will come any more.

        Changes nothing, so it can be repeated and cancelled freely.
        """

    async def wait_changed(self) -> None:
        """Waits until an outcome comes or the state changes."""

    async def wait_finished(self) -> None:
        """Waits until nothing more will come."""

    def cancel(self) -> None:
        """Stop what has not been sent, and salvage what has. Does nothing to a
        finished session.

        The worker of a submitted session heeds it within a second;
        `sessions.stop(id)` returns once the wish is on the disk.
        """

class Sessions:
    async def list(self, *, limit: int = 20) -> Sequence[SessionSummary]:
        """Return the sessions of all processes that share this home, the latest
        first: those that run, and those that can still be read.
        """

    async def follow(self, session_id: str) -> Session:
        """The session of that id like `get`, also while it runs in another
        process: what that process makes can be pulled here too.

        Raises:
            SessionNotFoundError: there never was one.
            SessionExpiredError: the session was not used for too long.
        """

    async def stop(self, session_id: str) -> Session:
        """Cancel a session, and return it. One of another process ends when
        that process heeds it: see `heed_stops`.
        """

    async def heed_stops(self) -> None:
        """Cancel the sessions of this client that other processes want
        cancelled, until cancelled itself.
        """

    async def get(self, session_id: str) -> Session:
        """The session of that id; asking keeps it alive for another time to
        live.

        A session of an earlier process is loaded with its outcomes;
        `Client.resume_session` makes the rest. One that was submitted is
        followed.

        Raises:
            SessionNotFoundError: there never was one.
            SessionExpiredError: the session was not used for too long.
            SessionError: it runs in another process.
        """

class Library:
    @property
    def collections(self) -> Collections: ...
    @property
    def folder(self) -> Path:
        """The folder of the files."""

    async def get(self, image_id: str) -> Image | None:
        """Return the image with this id, or with the only id that has this
        prefix; trashed images too.

        Raises:
            InvalidRequestError: several ids have this prefix.
        """

    async def of_ids(self, ids: Iterable[str]) -> Sequence[Image]:
        """Return the images with these ids, in their order; unknown ones are
        left out.
        """

    async def of_file(self, path: Path | str) -> Image | None:
        """Return the newest image whose file has this path; trashed images too.
        The file itself is not opened.
        """

    async def list(
        self,
        *,
        limit: int = 50,
        after: str | None = None,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Return a page of at most `limit` images; `after` is the cursor of the
        previous page.

        Raises:
            InvalidRequestError: a filter, the limit or the cursor is invalid.
        """

    async def search(
        self,
        query: str,
        *,
        limit: int = 50,
        after: str | None = None,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> Page:
        """Search prompts, revised prompts, tags and notes; otherwise like
        `list`.

        All words must match. "A phrase" matches as it is, -word excludes, and
        begin* matches a prefix of at least three letters. Case and accents are
        ignored.

        Raises:
            InvalidRequestError: the query has no word to search for, or as for
                `list`.
        """

    def find(
        self, query: str | None = None, *, order: SortOrder = "newest", **filters: Unpack[Filters]
    ) -> AsyncIterator[Image]:
        """Yield all images that `search` or `list` would return, page by page."""

    @overload
    async def to_frame(
        self,
        library: Literal["pandas"],
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> pandas.DataFrame: ...
    @overload
    async def to_frame(
        self,
        library: Literal["polars"],
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> polars.DataFrame: ...
    @overload
    async def to_frame(
        self,
        library: None = None,
        query: str | None = None,
        *,
        order: SortOrder = "newest",
        **filters: Unpack[Filters],
    ) -> pandas.DataFrame | polars.DataFrame: ...
    async def timeline(
        self, query: str | None = None, *, most: int | None = None, **filters: Unpack[Filters]
    ) -> Timeline:
        """Return the days on which images were made, and how many, without
        reading them; query and filters are those of `search`.

        Args:
            most: Number of the latest images that are counted. Then the last
                day may have more, and `is_whole` says that images are left out.

        Raises:
            InvalidRequestError: as for `search`.
        """

    async def of_day(
        self,
        day: datetime.date,
        query: str | None = None,
        *,
        offset: int = 0,
        limit: int = 200,
        **filters: Unpack[Filters],
    ) -> Sequence[Image]:
        """Return images of a day (UTC) of the `timeline` by their position
        there, the latest first.

        Raises:
            InvalidRequestError: as for `search`, or the position is invalid.
        """

    async def of_batch(self, batch_id: str) -> Sequence[Image]:
        """Return the images of a batch, oldest first."""

    async def made_of(
        self,
        fingerprint: str,
        seed: int | None,
        *,
        limit: int,
        without: Sequence[str] = (),
        but_of_batch: str | None = None,
    ) -> Sequence[Image]:
        """Return images of a request whose files exist, oldest first; with this
        seed, if given.

        Images with ids in `without`, and those of `but_of_batch`, are left out.
        """

    async def lineage(self, image: ImageRef) -> Lineage | None:
        """Return the tree of images that this image belongs to, from its root;
        None if it is unknown.
        """

    async def tags(self) -> Sequence[tuple[str, int]]:
        """Return all tags by name, each with its number of images."""

    async def size(self) -> LibrarySize:
        """Return the number and bytes of all images."""

    async def tag(
        self,
        images: ImageRef | Iterable[ImageRef],
        add: Iterable[str] = (),
        *,
        remove: Iterable[str] = (),
    ) -> int:
        """Add tags to images and remove others. Tags are stored in lower case.

        Raises:
            InvalidRequestError: a tag is invalid.
        """

    async def rate(self, images: ImageRef | Iterable[ImageRef], stars: int) -> int:
        """Rate images with 1 to 5 stars; 0 removes the rating.

        Raises:
            InvalidRequestError: the rating is out of range.
        """

    async def annotate(self, images: ImageRef | Iterable[ImageRef], notes: str) -> int:
        """Replace the notes of images; an empty text removes them.

        Raises:
            InvalidRequestError: the text has more than 100,000 characters.
        """

    async def trash(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Move images to the trash. Only queries with `state="trashed"` or
        "any" find them there, until the cleanup deletes them.
        """

    async def restore(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Restore images from the trash, unchanged."""

    async def delete(self, images: ImageRef | Iterable[ImageRef]) -> int:
        """Permanently delete images: their rows, and files that no other row
        uses. Their costs stay in the ledger.
        """

    async def clean(self, rules: CleanupRules, *, dry_run: bool = False) -> CleanupPlan:
        """Apply the rules: trash images that exceed them, and permanently
        delete those whose term in the trash has ended.

        Leftovers of killed processes are removed too. With `dry_run`, only
        return the plan.
        """

    async def upload(self, on_progress: UploadProgress = lambda done, total: None) -> int:
        """Put every file that is only on this machine into the object store, and
        return their number. It can be repeated after it was interrupted.

        Args:
            on_progress: Receives the number of files that are there, and of all.

        Raises:
            ConfigurationError: no store is set, or it refuses a file.
            ImagenError: the store cannot be reached.
        """

    async def trim_copies(self) -> None:
        """Remove the least recently used copies of what is in the object store,
        if they are too large together. Without a store it does nothing.
        """

    async def check(
        self, *, repair: bool = False, on_progress: Callable[[int], None] = lambda checked: None
    ) -> Sequence[Finding]:
        """Read every file and return all findings, repaired if `repair` is set:
        see `Finding`.

        `on_progress` receives the number of images checked.
        """

    async def back_up(self, target: Path | str) -> None:
        """Write a copy of the database, with ledger and library but without the
        files of images, to a new file that only its user can read.

        Raises:
            StorageError: there is such a file already, or it cannot be written.
        """

    async def keep_input(self, data: bytes, *, sha256: str, media_type: str) -> None:
        """Keep an input image, so that its request can be made again.

        Raises:
            StorageError: the file cannot be written.
        """

    async def remove_inputs(self, inputs: Iterable[tuple[str, str]]) -> None:
        """Remove input images, given by hash and media type, that no image,
        session or attempt in flight refers to.

        Raises:
            StorageError: the database cannot be written.
        """

class Collections:
    async def create(self, name: str, *, notes: str = "") -> Collection:
        """Create a collection; for "outer/inner" create the outer one too if
        missing.

        Raises:
            InvalidRequestError: the name exists or is invalid.
        """

    async def get(self, name: str) -> Collection:
        """Return the collection with this name or id.

        Raises:
            InvalidRequestError: it does not exist.
        """

    async def list(self) -> Sequence[Collection]:
        """Return all collections, by name."""

    async def of_image(self, image: ImageRef) -> Sequence[Collection]:
        """Return the collections that contain an image."""

    async def those_in(self, name: str, images: ImageRef | Iterable[ImageRef]) -> Sequence[str]:
        """Return the ids of the images that the collection itself holds."""

    async def rename(self, name: str, new_name: str) -> Collection:
        """Rename a collection in place: `new_name` has no slash.

        Raises:
            InvalidRequestError: the collection does not exist, or the new name
                does.
        """

    async def annotate(self, name: str, notes: str) -> None:
        """Replace the notes of a collection."""

    async def delete(self, name: str) -> None:
        """Delete a collection and those nested in it. The images stay."""

    async def add(self, name: str, images: ImageRef | Iterable[ImageRef]) -> int:
        """Append images to a collection, and return the number added. Unknown
        images are skipped.
        """

    async def remove(self, name: str, images: ImageRef | Iterable[ImageRef]) -> int:
        """Remove images from a collection, and return the number removed."""

    async def arrange(self, name: str, images: Iterable[ImageRef]) -> None:
        """Move these images of a collection to its start, in this order; the
        others keep theirs.
        """

    async def images(self, name: str, *, limit: int = 50, after: str | None = None) -> Page:
        """Return a page of a collection in its order, without trashed images;
        `after` is the cursor of the previous page.
        """

    async def ids_within(self, name: str) -> Sequence[str]:
        """Return the ids of a collection and of those nested in it."""

class PromptLibrary:
    async def save(
        self,
        name: str,
        text: str,
        *,
        negative_prompt: str | None = None,
        tags: Iterable[str] | None = None,
        notes: str | None = None,
        styles: Iterable[str] = (),
        parameters: Mapping[str, JsonValue] | None = None,
    ) -> Prompt:
        """Save a prompt; if the name exists and the prompt differs, as a new
        version.

        Args:
            name: 1 to 100 printable characters.
            text: The prompt, or the text of a template.
            tags: None keeps the current ones; likewise for `notes`.
            styles: Names of the styles of the prompt.
            parameters: Fields of its requests, e.g. `aspect_ratio`.

        Raises:
            InvalidRequestError: the name, a tag or a parameter is invalid.
        """

    async def get(self, name: str, version: int | None = None) -> Prompt | None:
        """Return the newest or the given version of a prompt; None if unknown."""

    async def history(self, name: str) -> Sequence[Prompt]:
        """Return all versions of a prompt, the newest first."""

    async def list(
        self,
        query: str = "",
        *,
        tag: str | None = None,
        favourites: bool = False,
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Prompt]:
        """Return at most `limit` prompts by name, each in its newest version.

        Args:
            query: Words that must occur in the name, text, tags or notes: "a
                phrase", -without, begin*.
            after: The last name of the previous page.

        Raises:
            InvalidRequestError: the query has no word to search for, or the
                limit is out of range.
        """

    async def favour(self, name: str, favourite: bool = True) -> bool:
        """Mark or unmark a prompt as favourite; return False if it is unknown."""

    async def rename(self, name: str, new_name: str) -> bool:
        """Rename a prompt with all its versions; return False if it is unknown.

        Raises:
            InvalidRequestError: another prompt has that name.
        """

    async def delete(self, name: str, *, all_versions: bool = False) -> bool:
        """Delete a prompt; return False if it is unknown. Several versions need
        `all_versions`.

        Raises:
            InvalidRequestError: it has several versions, and `all_versions` is
                not set.
        """

    async def import_file(self, path: Path) -> PromptsImported:
        """Save the prompts of a file: all, or none if one is invalid.

        A .csv has the columns name and prompt, and optionally negative_prompt
        and tags. Any other file has a prompt per line, named after file and
        line: "ideas 12". An existing prompt that differs gets a new version.

        Raises:
            InvalidRequestError: the file cannot be read, or is invalid; the
                message gives the line.
        """

    async def export_csv(self, path: Path) -> int:
        """Write the newest versions of all prompts as a .csv for `import_file`,
        and return their number.

        Raises:
            StorageError: the file cannot be written; it is atomic.
        """

class Archives:
    async def export_to(
        self,
        path: str | Path,
        images: Image | Iterable[Image] | AsyncIterable[Image] | None = None,
        *,
        collection: str | None = None,
        public: bool = False,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> ExportResult:
        """Export images to a zip file: the provider's bytes, their records, and
        a gallery, `index.html`.

        Args:
            images: The images to export. Without these and without a
                `collection`, the whole library except the trash, and all
                collections.
            collection: Exports the images of this collection and of those
                nested in it, in their order.
            public: Omits private data: costs, tags, stars, notes, and options
                passed to the provider verbatim.
            on_progress: Receives the number of images written.

        The file is written atomically; a cancellation leaves nothing. Only one
        image is in memory at a time.

        Raises:
            InvalidRequestError: the collection is unknown, or both it and
                images are given.
            StorageError: the archive cannot be written.
        """

    async def import_from(
        self,
        path: str | Path,
        *,
        trusted: bool = False,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> ImportResult:
        """Import images from an archive of `export_to`, any other zip file or
        folder, or one image file.

        Known images are skipped, so an interrupted import can be repeated. An
        image keeps its metadata: the record of the archive, of its file or its
        sidecar, or that of another program.

        Args:
            trusted: The archive is the user's own. Its images may then be cache
                hits (`cache=True`), and their requests keep `options`, `tag`
                and `assume_usd`. In an untrusted archive these could call a
                foreign server at each repetition, or hide the cost of an image.
            on_progress: Receives the number of images processed.

        Raises:
            InvalidRequestError: the path has nothing to import.
            StorageError: it cannot be read, or the library cannot be written.
                Images added before stay.
        """

class Shares:
    async def share(
        self,
        image: Image | str | None = None,
        *,
        collection: str | None = None,
        expires: datetime.timedelta = datetime.timedelta(days=7),
    ) -> Share:
        """Create a link to an image, or to a collection with its current images
        at each visit.

        The link shows the images without their metadata: no prompt, cost or
        tags.

        Raises:
            ConfigurationError: IMAGEN_SHARE_SECRET is not set.
            InvalidRequestError: the image or collection is unknown, or the
                lifetime is not from one second to ten years.
        """

    async def revoke(self, share_id: str) -> bool:
        """Revoke a link at once and permanently; return whether it was active."""

    async def list(self, *, limit: int = 100, ended: bool = False) -> Sequence[Share]:
        """Return the newest active links; with `ended` also expired and revoked
        ones.

        Raises:
            ConfigurationError: IMAGEN_SHARE_SECRET is not set.
        """

    async def resolve(self, token: str) -> ShareTarget | None:
        """Return the target of a token; None if it is forged, expired or
        revoked, or if the image is deleted or trashed.
        """

    async def images(self, collection: Collection, *, after: str | None = None) -> Page:
        """Return a page of a shared collection, in its order.

        Raises:
            InvalidRequestError: the collection was deleted, or `after` is not a
                cursor.
        """

    async def image(self, collection: Collection, image_id: str) -> Image | None:
        """Return one image of a shared collection."""

    def remaining(self, shared: ShareTarget) -> int:
        """Return the seconds until the link expires."""

class Publisher:
    def url_of(self, image: Image) -> str | None:
        """Return the public URL of an image; None without `store_public_url`."""

    async def sign(self, image: Image, *, expires_seconds: int = 3600) -> str:
        """Return a public link to a published image, valid for at most seven
        days.

        Raises:
            InvalidRequestError: the image is not published, the lifetime is too
                long, or the store is a folder.
            ConfigurationError: the extra `store` is not installed.
            AuthenticationError: there are no keys to sign with.
        """

    async def publish(
        self, images: Iterable[Image], *, wait: bool = True, progress: PublishProgress | None = None
    ) -> list[Publication]:
        """Queue images, and wait until each is published or has failed.

        Args:
            wait: False returns once they are queued; they are published in the
                background, if necessary by another process.
            progress: Receives the number of finished images, and the total.

        Published images are not uploaded again, and failed ones are retried.
        Network failures are retried for up to hours: limit it with
        `trio.move_on_after`. A cancellation leaves the images queued.

        Raises:
            ConfigurationError: the extra `store` is not installed, or the store
                cannot be opened.
            StorageError: the database cannot be written.
        """

    async def unpublish(
        self, images: Iterable[Image], *, wait: bool = True, progress: PublishProgress | None = None
    ) -> list[Publication]:
        """Remove images from the store; otherwise like `publish`. Intermediate
        caches may keep them until they expire.

        If the store refuses, e.g. for wrong keys, the images are returned as
        `removing` with the `last_error`. They stay queued and are retried
        periodically, or at once by another call.

        Raises:
            ConfigurationError: the extra `store` is not installed, or the store
                cannot be opened.
            StorageError: the database cannot be written.
        """

    async def find(self, images: Iterable[Image]) -> list[Publication]:
        """Return the publications of images; images that were never queued are
        left out.
        """

    async def status(self) -> PublishingStatus:
        """Return the number of images of this store by state."""

    async def of_state(self, state: PublicationState, *, limit: int = 100) -> Sequence[Publication]:
        """Return the images in a state, the most recently queued first."""

class Webhooks:
    async def list(
        self, state: WebhookState | None = None, *, limit: int = 100
    ) -> Sequence[Webhook]:
        """Messages, the newest first, also those to other URLs.

        Raises:
            StorageError: the database cannot be read.
        """

    async def retry(self, message_id: str) -> None:
        """Queue a message again, with all its tries: a dead one, or one for an
        earlier URL.

        Raises:
            InvalidRequestError: there is no such message.
            StorageError: the database cannot be written.
        """

class Similar:
    async def to(
        self,
        image: Image | bytes,
        *,
        limit: int = 20,
        max_distance: int = MAX_DISTANCE,
        progress: HashProgress | None = None,
    ) -> list[tuple[str, int]]:
        """Return the ids of similar images, each with the number of differing
        bits, the nearest first.

        Args:
            image: An image of the library, which is not among the results, or
                the bytes of any other.
            limit: From 1 to 1000.
            max_distance: From 0 to 7; all images within it are found. Beyond,
                images have little in common.
            progress: Receives the progress of hashing, which comes first if
                images lack a hash.

        A cancellation keeps the hashes computed so far.

        Raises:
            InvalidRequestError: an argument is out of range, or the image
                cannot be decoded.
            ConfigurationError: the extra is not installed.
            StorageError: the image or the database cannot be read.
        """

    async def groups(
        self, *, max_distance: int = 4, progress: HashProgress | None = None
    ) -> list[tuple[str, ...]]:
        """Return the ids of nearly identical images by group: the largest group
        first, within a group the newest image first.

        Two images belong to one group if a chain of images connects them, each
        at most `max_distance` from the next. A million images take seconds and
        about 100 MB.

        Raises:
            InvalidRequestError: the distance is not from 0 to 7.
            ConfigurationError: the extra is not installed.
            StorageError: the database cannot be read.
        """

    async def hash_missing(self, progress: HashProgress | None = None) -> None:
        """Hash the images without a hash, the newest first. A missing or
        damaged file gets none.

        A cancellation keeps the hashes computed so far.

        Raises:
            ConfigurationError: the extra is not installed.
            StorageError: the database cannot be read or written.
        """

class Renditions:
    async def get(self, image: Image, transform: Transform) -> Path:
        """Return the file of a rendition, created if missing. Concurrent calls
        create it once. An SVG that cannot be drawn has a grey one with its name.

        A cancellation waits until the file is written, and leaves a complete
        file or none.

        Raises:
            InvalidRequestError: the image is in memory only, cannot be decoded,
                or its crop exceeds it.
            StorageError: the image cannot be read, or the rendition cannot be
                written.
            ConfigurationError: this Pillow cannot write AVIF.
        """

    async def read(self, image: Image, transform: Transform) -> bytes:
        """Return the bytes of a rendition. Those of an image in memory are
        created at each call and not cached.

        Raises:
            ImagenError: as for `get`, except for images in memory.
        """

    async def remove(self, sha256: str) -> int:
        """Delete the renditions of the image with this hash, and return their
        number.

        Raises:
            InvalidRequestError: the hash is invalid.
            StorageError: a file cannot be deleted.
        """

    async def trim(self, max_bytes: int) -> int:
        """Delete the least recently used files until at most `max_bytes` are
        left; return the number of bytes freed.
        """

def open_client(
    settings: Settings | None = None,
    *,
    library: str | Path | Literal["home"] | None = "home",
    on_event: EventHandlers = None,
    confirm: Confirm | None = None,
    http: httpx2.AsyncClient | None = None,
    transport: Callable[[ProviderAccess], Transport] | None = None,
    workers: Workers | None = None,
    clock: Callable[[], float] = time.time,
) -> AbstractAsyncContextManager[Client]:
    """Opens a client for as long as the block lasts.

    Args:
        settings: By default those of the environment and imagen.toml, by
            `load_settings`.
        library: The folder for images; "home" is the one in IMAGEN_HOME, None
            keeps the bytes in memory only. The ledger is always there.
        on_event: Notified of every event of the client; several are notified
            in their order.
        confirm: Is asked, with a quote and the number of images, where
            `confirm_above_usd` of the settings is passed.
        http: An `httpx2.AsyncClient` of the caller's, with proxies and
            certificates to taste; it stays the caller's to close.
        transport: Makes the way to each provider, in place of HTTP:
            `imagen.testing.ScriptedTransport` for tests.
        workers: Runs blocking work; `imagen.testing.InlineWorkers` for tests
            under virtual time.
        clock: Unix time for the ledger; tests under virtual time pass another
            one.

    Raises:
        RuntimeError: it is called outside a Trio run.
        ConfigurationError: a setting is wrong.
        StorageError: the home folder cannot be used.

    Attempts that earlier processes left in flight are settled: jobs that the
    provider still has are collected in the background, the rest is `unknown` in
    the ledger. Leaving the block, also by an exception or a cancellation,
    cancels the sessions and waits at most `salvage_seconds` for what has been
    sent.
    """

@contextmanager
def move_on_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]: ...
@contextmanager
def fail_after_spending(usd: Decimal | str | int) -> Iterator[BudgetScope]: ...
