"""Services of one client, each built on those above it."""

from __future__ import annotations

from typing import Final

from .._engine.admission import Admission
from .._engine.batch_jobs import BatchJobs
from .._engine.cache import ResultCache
from .._engine.engine import Engine
from .._engine.kept_images import KeptImages
from .._engine.planning import Planner
from .._engine.recovery import Recovery
from .._engine.router import Router
from .._engine.runtime import Runtime
from .._engine.settlement import Settlement
from .._policy.confirmation import Confirmation
from .._storage.spending import SpendingBy
from .._storage.statistics import StatisticsBy
from .._storage.webhooks import BatchCompleted, Webhooks
from ..library._imaging.renditions import Renditions
from ..prompts import PromptLibrary
from .event_relay import EventRelay
from .library_services import LibraryServices, open_library_services
from .session_news import SessionNews
from .session_store import SessionStore
from .sessions import Sessions
from .submissions import Submissions

__all__ = ["RENDITIONS_FOLDER", "Services"]

RENDITIONS_FOLDER: Final = "renditions"


class Services:
    """Everything that a client is made of."""

    def __init__(
        self, runtime: Runtime, events: EventRelay, confirmation: Confirmation | None
    ) -> None:
        settings, library = runtime.settings, runtime.library
        self.runtime: Final = runtime
        self.events: Final = events
        self.confirmation: Final = confirmation

        self.planner: Final = Planner(runtime)
        self.settlement: Final = Settlement(runtime)
        self.admission: Final = Admission(runtime, self._resolve_dead)
        on = (runtime, self.planner, self.admission, self.settlement)
        self.engine: Final = Engine(*on)
        self.batch_jobs: Final = BatchJobs(*on)
        self.recovery: Final = Recovery(
            runtime, self.planner, self.settlement, self.engine, self.batch_jobs
        )
        self.kept_images: Final = KeptImages(runtime)
        cache = None if library is None else ResultCache(runtime, library, self.engine)
        self.router: Final = Router(runtime, self.planner, self.engine, cache)

        self.spending: Final = SpendingBy(runtime.database)
        self.statistics: Final = StatisticsBy(runtime.database)
        self.prompts: Final = PromptLibrary(runtime.database, runtime.workers, runtime.now)
        self.renditions: Final = Renditions(settings.home / RENDITIONS_FOLDER, runtime.workers)
        self.library_services: Final[LibraryServices | None] = (
            None if library is None else open_library_services(runtime, library, self.renditions)
        )
        self.webhooks: Final = _open_webhooks(runtime)
        self.news: Final = SessionNews(runtime)
        self.submissions: Final = Submissions(runtime)
        self.sessions: Final = Sessions(
            runtime,
            store=None if library is None else SessionStore(runtime, library, self.submissions),
            recovery=self.recovery,
            announce=self.announce,
            news=self.news,
        )

    async def start(self) -> None:
        """Start the background tasks, and settle what dead clients left."""
        nursery = self.runtime.nursery
        if self.library_services is not None:
            await self.library_services.start(nursery)
        if self.webhooks is not None:
            nursery.start_soon(self.webhooks.run, name="imagen webhooks")

    def close(self) -> None:
        """Send nothing more, and bound what is in flight."""
        self.sessions.cancel_all()
        self.news.close()
        self.admission.close()
        self.engine.close()
        self.batch_jobs.close()
        if self.library_services is not None:
            self.library_services.close()
        if self.webhooks is not None:
            self.webhooks.close()

    async def announce(self, completed: BatchCompleted) -> None:
        """Queue a webhook for a batch that is complete, if a receiver is set."""
        if self.webhooks is not None:
            await self.webhooks.enqueue(completed)

    async def _resolve_dead(self) -> None:
        await self.recovery.resolve_dead()


def _open_webhooks(runtime: Runtime) -> Webhooks | None:
    url, secret = runtime.settings.webhook_url, runtime.settings.webhook_secret
    if url is None or secret is None:
        return None
    return Webhooks(
        runtime.database,
        runtime.connections.post_webhook,
        secret=secret,
        url=url.reveal(),
        now=runtime.now,
        emit=runtime.emit,
    )
