"""imagen: batches of generated images, streamed as they finish, in structured
concurrency.

::

    async with imagen.open_client() as client:
        async with client.open_batch("a lighthouse at dusk", n=8) as batch:
            async for outcome in batch:          # Image | Failure, each as it finishes
                ...

Where things are, from the bottom up; each module imports only from those above
it in this list:

_errors, _secrets, _workers, _nurseries    the exception tree; keys; threads; a nursery
_version, _asgi, _whole_files              this version; web applications; files that are there whole
_cleanup_rules                             how much may pile up
_measure, _owners, _callbacks              the head of an image; who is alive; whom a callback wakes
_search_terms, _tags                       words as search has them; words that people put on things
_catalog, _requests                        what models there are, and what is asked of them
_shapes, _translation                      a portable request in the words of one model
_exchange, records/, _images               the words that providers speak; what files say of themselves; what comes out
_prices, _retry, _breaker, _limits         arithmetic: money, what is sent again, what is left alone
_quotas, _routes                           standing budgets and rates; the way to a model
_events, _budget, _confirm, _event_relay   what happens on the way; money as a scope; who is asked and told
_providers, providers/                     the shape of a provider, and each of them as pure generators
_driver, _transport, _network              carry out an exchange, over any transport; the one over HTTP
_store_settings, _settings, _ways          the environment and imagen.toml; one way to each provider
_probe, _discovery, _routing               whether a provider answers, what it lists; which model does a request
_database, _admission, _ledger             the SQLite file, whether there is room, the journal of attempts
_spending, _webhooks                       the sums; who is told
images/, library/, prompts/              thumbnails and the like; the images that were made; what is asked again and again
publishing/, sharing/, _housekeeping       an object store; links and archives; what is done while nobody waits
_library_rooms                             all that stands on the library, put together
_sources, _orders, _tickets                images to work on; a request fit to be sent; an attempt on its way
_admittance, _keeping, _settling           gets a row; keeps what came; ends it in the ledger
_engine, _economy, _cache, _replay         the way of one attempt; many together for less; what was made before, and again
_hedging, _dispatch, _recovery             which way a request goes; what a process that died left behind
_batch, _session_*, _sessions              many requests, and batches in the background
_parameters, _client, _opening             what callers say, what they hold, and how it is put together
_callback_app                              takes callbacks in a web server
cli, testing/                              the outer rooms
"""

from __future__ import annotations

from . import library, metadata, prompts, providers, sharing
from ._client.assembly import open_client
from ._client.batch import Batch, BatchStatus
from ._client.callback_app import callback_app
from ._client.client import Client
from ._client.sessions import Session, Sessions
from ._errors import (
    AllProvidersFailedError,
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    OutcomeUnknownError,
    ProviderError,
    ProviderNotFoundError,
    QuotaExceededError,
    RateLimitError,
    SessionCompletedError,
    SessionError,
    SessionExpiredError,
    SessionNotFoundError,
    StorageError,
)
from ._policy.bounds import Bounds
from ._policy.budget import Budget, BudgetScope, fail_after_spending, move_on_after_spending
from ._policy.confirmation import Confirm
from ._policy.model_gate import RoutingPolicy
from ._policy.quotas import StandingBudget
from ._policy.retry import RetryPolicy
from ._policy.settings import ProviderAccess, Settings, load_settings
from ._policy.store_settings import StoreSettings
from ._requests.catalog import JsonValue, Model, Operation
from ._requests.options import CallOptions, GenerateParameters, Parameters
from ._requests.request import (
    Edit,
    Enhance,
    Generate,
    ImageSource,
    InputImage,
    LibraryImage,
    Request,
    Restyle,
    Vary,
)
from ._requests.sizes import PRESETS
from ._requests.translation import Adjustment
from ._results.events import (
    AttemptEnded,
    AttemptSent,
    BudgetAlarm,
    Event,
    EventHandler,
    PreviewReceived,
    ProgressReported,
)
from ._results.images import Cost, Failure, Image, Outcome
from ._results.prices import Quote
from ._results.replay import Difference, Replay
from ._storage.ledger import AttemptRecord
from ._storage.spending import AttemptCounts, CacheHits, Spending, SpendingGroup
from ._storage.webhooks import BatchCompleted, Webhook, Webhooks, verify_webhook
from ._system.secret import Secret
from ._system.threads import Workers
from ._system.version import version
from ._transport.discovery import DiscoveredModel, Discovery
from ._transport.probe import ProviderStatus

__all__ = [
    "Adjustment",
    "AllProvidersFailedError",
    "AttemptCounts",
    "AttemptEnded",
    "AttemptRecord",
    "AttemptSent",
    "AuthenticationError",
    "Batch",
    "BatchCompleted",
    "BatchStatus",
    "Bounds",
    "Budget",
    "BudgetAlarm",
    "BudgetExceededError",
    "BudgetScope",
    "CacheHits",
    "CallOptions",
    "Client",
    "ConfigurationError",
    "Confirm",
    "ContentFilterError",
    "Cost",
    "Difference",
    "DiscoveredModel",
    "Discovery",
    "Edit",
    "Enhance",
    "Event",
    "EventHandler",
    "Failure",
    "Generate",
    "GenerateParameters",
    "Image",
    "ImageSource",
    "ImagenError",
    "InputImage",
    "InvalidRequestError",
    "JsonValue",
    "LibraryImage",
    "Model",
    "ModelNotFoundError",
    "Operation",
    "Outcome",
    "OutcomeUnknownError",
    "PRESETS",
    "Parameters",
    "PreviewReceived",
    "ProgressReported",
    "ProviderAccess",
    "ProviderError",
    "ProviderNotFoundError",
    "ProviderStatus",
    "QuotaExceededError",
    "Quote",
    "RateLimitError",
    "Replay",
    "Request",
    "Restyle",
    "RetryPolicy",
    "RoutingPolicy",
    "Secret",
    "Session",
    "SessionCompletedError",
    "SessionError",
    "SessionExpiredError",
    "SessionNotFoundError",
    "Sessions",
    "Settings",
    "Spending",
    "SpendingGroup",
    "StandingBudget",
    "StorageError",
    "StoreSettings",
    "Vary",
    "Webhook",
    "Webhooks",
    "Workers",
    "callback_app",
    "fail_after_spending",
    "library",
    "load_settings",
    "metadata",
    "move_on_after_spending",
    "open_client",
    "prompts",
    "providers",
    "sharing",
    "verify_webhook",
    "version",
]
