"""Metrics of Prometheus."""

from __future__ import annotations

from typing import NamedTuple

from .. import (
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
    ConfigurationError,
    Event,
    ImagePublished,
    PreviewReceived,
    RetryScheduled,
    SessionEnded,
    SessionStarted,
    WebhookDead,
    WebhookDelivered,
)
from . import names
from ._attempts import Clock, tokens_of

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
except ImportError as _error:
    raise ConfigurationError(
        'The client of Prometheus is missing: pip install "imagen-trio[prometheus]".'
    ) from _error

__all__ = ["Prometheus"]

_ON = ("provider", "model")


class _OfModel(NamedTuple):
    """Metrics of one model."""

    waiting: Gauge
    in_flight: Gauge
    wait: Histogram
    seconds: Histogram
    first: Histogram
    images: Counter
    bytes: Counter


class Prometheus:
    """Subscriber that counts for Prometheus. Labels have few values: no prompt,
    id or tag is among them.

    Args:
        registry: Where the metrics are registered, by default one of its own.
    """

    # Also under `imagen.aio`: the contexts of the callers are in the Trio run.
    in_engine = True

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._clock = Clock()
        self._reserved: set[str] = set()
        self._models: dict[tuple[str, str], _OfModel] = {}
        self._add_attempts()
        self._add_others()

    def _add_attempts(self) -> None:
        on, registry, buckets = _ON, self.registry, names.SECONDS_BUCKETS
        self._attempts = Counter(
            "imagen_attempts", "Attempts by state and error code.", (*on, "state", "code"),
            registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "imagen_attempt_seconds", "From sending to the end.", on, registry=registry,
            buckets=buckets,
        )  # fmt: skip
        self._first = Histogram(
            "imagen_first_image_seconds", "From sending to a preview or an image.", on,
            registry=registry, buckets=buckets,
        )  # fmt: skip
        self._wait = Histogram(
            "imagen_wait_seconds", "Until a place, money and a slot were free.", on,
            registry=registry, buckets=buckets,
        )  # fmt: skip
        self._waiting = Gauge("imagen_attempts_waiting", "Attempts in line.", on, registry=registry)
        self._flying = Gauge(
            "imagen_attempts_in_flight", "Attempts that hold money.", on, registry=registry
        )
        self._retries = Counter(
            "imagen_retries", "Retries by the error before.", (*on, "code"), registry=registry
        )
        self._ways = Counter(
            "imagen_sent", "Attempts that were sent, by reason.", (*on, "why"), registry=registry
        )

    def _add_others(self) -> None:
        on, registry = _ON, self.registry
        self._images = Counter("imagen_images", "Images that came.", on, registry=registry)
        self._bytes = Counter("imagen_image_bytes", "Bytes of these.", on, registry=registry)
        self._usd = Counter(
            "imagen_cost_usd", "US dollars by who says so.", (*on, "source"), registry=registry
        )
        self._tokens = Counter(
            "imagen_tokens", "Tokens of replies.", (*on, "kind"), registry=registry
        )
        self._hits = Counter("imagen_cache_hits", "Images from the library.", on, registry=registry)
        self._breaker = Gauge(
            "imagen_breaker_open", "1 while a model gets no requests.", on, registry=registry
        )
        self._alarms = Counter(
            "imagen_budget_alarms", "Budgets at 50, 80, 100 %.", ("budget", "share"),
            registry=registry,
        )  # fmt: skip
        self._sessions = Gauge("imagen_sessions_running", "Background batches.", registry=registry)
        self._webhooks = Counter("imagen_webhooks", "Messages.", ("state",), registry=registry)
        self._objects = Counter("imagen_objects", "Published.", ("state",), registry=registry)

    def _of(self, provider: str, model: str) -> _OfModel:
        """Return what every attempt at a model touches. To look each up by its
        labels takes a third of the time of an attempt.
        """
        if (found := self._models.get((provider, model))) is None:
            on = provider, model
            found = self._models[on] = _OfModel(
                waiting=self._waiting.labels(*on),
                in_flight=self._flying.labels(*on),
                wait=self._wait.labels(*on),
                seconds=self._seconds.labels(*on),
                first=self._first.labels(*on),
                images=self._images.labels(*on),
                bytes=self._bytes.labels(*on),
            )
        return found

    def render(self) -> tuple[bytes, str]:
        """Return the body and the content type of a scrape."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case AttemptQueued():
                self._of(event.provider, event.model).waiting.inc()
            case AttemptDropped() | AttemptReserved():
                self._end_wait(event)
            case AttemptSent():
                self._clock.sent(event)
                self._ways.labels(event.provider, event.model, event.why).inc()
            case PreviewReceived():
                self._clock.preview(event)
            case AttemptEnded():
                self._end(event)
            case AttemptRecovered():
                self._settle(event, "")
            case RetryScheduled():
                self._retries.labels(event.provider, event.model, event.error.code).inc()
            case CacheHit():
                self._hits.labels(event.provider, event.model).inc()
            case BreakerOpened() | BreakerClosed():
                opened = isinstance(event, BreakerOpened)
                self._breaker.labels(event.provider, event.model).set(opened)
            case _:
                self._count(event)

    def _count(self, event: Event) -> None:
        match event:
            case BudgetAlarm():
                self._alarms.labels(event.budget, f"{event.share:g}").inc()
            case SessionStarted():
                self._sessions.inc()
            case SessionEnded():
                self._sessions.dec()
            case WebhookDelivered():
                self._webhooks.labels("delivered").inc()
            case WebhookDead():
                self._webhooks.labels("dead").inc()
            case ImagePublished():
                self._objects.labels(event.state).inc()

    def _end_wait(self, event: AttemptDropped | AttemptReserved) -> None:
        model = self._of(event.provider, event.model)
        model.waiting.dec()
        model.wait.observe(event.waited_seconds)
        if isinstance(event, AttemptReserved):
            self._reserved.add(event.attempt_id)
            model.in_flight.inc()

    def _end(self, event: AttemptEnded) -> None:
        model, times = self._of(event.provider, event.model), self._clock.ended(event)
        if event.attempt_id in self._reserved:
            self._reserved.remove(event.attempt_id)
            model.in_flight.dec()
        if times.total is not None:
            model.seconds.observe(times.total)
        if times.first_image is not None:
            model.first.observe(times.first_image)
        if event.left:
            return
        self._settle(event, "" if event.error is None else event.error.code)
        model.images.inc(len(event.images))
        model.bytes.inc(sum(one.size_bytes for one in event.images))
        for kind, count in zip(("input", "output"), tokens_of(event), strict=True):
            if count:
                self._tokens.labels(event.provider, event.model, kind).inc(count)

    def _settle(self, event: AttemptEnded | AttemptRecovered, code: str) -> None:
        self._attempts.labels(event.provider, event.model, event.state, code).inc()
        if event.settled_usd:
            paid = self._usd.labels(event.provider, event.model, event.cost_source)
            paid.inc(float(event.settled_usd))
