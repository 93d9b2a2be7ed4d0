"""Public names, and where they are: `imagen/__init__.py` loads each when it is
first used.
"""

from . import aio, blocking, library, metadata, notebook, prompts, providers, sharing, web
from ._client.assembly import open_client
from ._client.batch import Batch, BatchStatus
from ._client.callback_app import callback_app
from ._client.client import Client
from ._client.session import Session
from ._client.session_store import SessionSummary
from ._client.sessions import Sessions
from ._client.worker import run_worker
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
from ._policy.quotas import BudgetStatus, StandingBudget
from ._policy.retry import RetryPolicy
from ._policy.settings import ProviderAccess, Settings, load_settings
from ._policy.store_settings import ImageStoreSettings, StoreSettings
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
from ._requests.tables import requests_from
from ._requests.translation import Adjustment
from ._results.events import (
    AttemptAccepted,
    AttemptDropped,
    AttemptEnded,
    AttemptQueued,
    AttemptRecovered,
    AttemptReserved,
    AttemptSent,
    BreakerClosed,
    BreakerOpened,
    BudgetAlarm,
    CacheHit,
    Event,
    EventHandler,
    ImagePublished,
    LibraryCleaned,
    PreviewReceived,
    ProgressReported,
    RetryScheduled,
    SessionEnded,
    SessionExpired,
    SessionStarted,
    TryReason,
    WebhookDead,
    WebhookDelivered,
)
from ._results.images import Cost, Failure, Image, Outcome
from ._results.prices import Quote
from ._results.replay import Difference, Replay
from ._storage.ledger import AttemptRecord
from ._storage.spending import AttemptCounts, CacheHits, Spending, SpendingGroup
from ._storage.statistics import Statistics, StatisticsKey
from ._storage.webhooks import BatchCompleted, Webhook, Webhooks, verify_webhook
from ._system.secret import Secret
from ._system.threads import Workers
from ._system.version import version
from ._transport.catalog_overlay import (
    CatalogOverlay,
    CatalogRefresh,
    PriceDifference,
    catalog_age_note,
)
from ._transport.discovery import DiscoveredModel, Discovery
from ._transport.probe import ProviderStatus
from .blocking import edit, enhance, generate, restyle, vary
from .metadata import describe_file

__all__ = [
    "Adjustment",
    "AllProvidersFailedError",
    "AttemptAccepted",
    "AttemptCounts",
    "AttemptDropped",
    "AttemptEnded",
    "AttemptQueued",
    "AttemptRecord",
    "AttemptRecovered",
    "AttemptReserved",
    "AttemptSent",
    "AuthenticationError",
    "Batch",
    "BatchCompleted",
    "BatchStatus",
    "Bounds",
    "BreakerClosed",
    "BreakerOpened",
    "Budget",
    "BudgetAlarm",
    "BudgetExceededError",
    "BudgetScope",
    "BudgetStatus",
    "CacheHit",
    "CacheHits",
    "CallOptions",
    "CatalogOverlay",
    "CatalogRefresh",
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
    "ImagePublished",
    "ImageSource",
    "ImageStoreSettings",
    "ImagenError",
    "InputImage",
    "InvalidRequestError",
    "JsonValue",
    "LibraryCleaned",
    "LibraryImage",
    "Model",
    "ModelNotFoundError",
    "Operation",
    "Outcome",
    "OutcomeUnknownError",
    "PRESETS",
    "Parameters",
    "PreviewReceived",
    "PriceDifference",
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
    "RetryScheduled",
    "RoutingPolicy",
    "Secret",
    "Session",
    "SessionCompletedError",
    "SessionEnded",
    "SessionError",
    "SessionExpired",
    "SessionExpiredError",
    "SessionNotFoundError",
    "SessionStarted",
    "SessionSummary",
    "Sessions",
    "Settings",
    "Spending",
    "SpendingGroup",
    "StandingBudget",
    "Statistics",
    "StatisticsKey",
    "StorageError",
    "StoreSettings",
    "TryReason",
    "Vary",
    "Webhook",
    "WebhookDead",
    "WebhookDelivered",
    "Webhooks",
    "Workers",
    "aio",
    "blocking",
    "callback_app",
    "catalog_age_note",
    "describe_file",
    "edit",
    "enhance",
    "fail_after_spending",
    "generate",
    "library",
    "load_settings",
    "metadata",
    "move_on_after_spending",
    "notebook",
    "open_client",
    "prompts",
    "providers",
    "requests_from",
    "restyle",
    "run_worker",
    "sharing",
    "vary",
    "verify_webhook",
    "version",
    "web",
]
