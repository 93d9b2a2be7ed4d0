"""Spans and metrics of OpenTelemetry, after its GenAI conventions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

import msgspec

from .. import (
    AttemptAccepted,
    AttemptDropped,
    AttemptEnded,
    AttemptQueued,
    AttemptRecovered,
    AttemptReserved,
    AttemptSent,
    BreakerClosed,
    BreakerOpened,
    CacheHit,
    ConfigurationError,
    Event,
    PreviewReceived,
    ProgressReported,
    RetryScheduled,
    version,
)
from . import names
from ._attempts import Clock, tokens_of

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.trace import SpanKind, StatusCode
except ImportError as _error:
    raise ConfigurationError(
        'OpenTelemetry is missing: pip install "imagen-trio[otel]".'
    ) from _error

__all__ = ["OpenTelemetry"]

_Attributes = Mapping[str, str | int | float | bool]


class OpenTelemetry:
    """Subscriber that makes a span of each attempt, below the span of its
    caller, and metrics of all. It needs the API of OpenTelemetry alone; without
    an SDK it does nothing.

    Args:
        tracer_provider: By default the global one.
        meter_provider: By default the global one.
        prompts: Write prompts into the spans. Otherwise a span has no text of
            the caller's but the tag, and no text of a provider's.
    """

    # Also under `imagen.aio`: the contexts of the callers are in the Trio run.
    in_engine = True

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        prompts: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer("imagen", version(), tracer_provider)
        self._meters = _Meters(metrics.get_meter("imagen", version(), meter_provider))
        self._prompts = prompts
        self._spans: dict[str, trace.Span] = {}
        self._reserved: set[str] = set()
        self._clock = Clock()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event:
            case AttemptQueued():
                self._meters.waiting.add(1, event.provider, event.model)
            case AttemptDropped():
                self._end_wait(event)
            case AttemptReserved():
                self._reserved.add(event.attempt_id)
                self._end_wait(event)
                self._meters.in_flight.add(1, event.provider, event.model)
            case AttemptSent():
                self._start(event)
            case AttemptEnded():
                self._end(event)
            case AttemptAccepted():
                self._note(event.attempt_id, "accepted", {})
            case PreviewReceived():
                self._clock.preview(event)
                facts = {"imagen.preview.number": event.number}
                self._note(event.attempt_id, "preview", facts)
            case ProgressReported(fraction=float() as fraction):
                self._note(event.attempt_id, "progress", {"imagen.progress.fraction": fraction})
            case AttemptRecovered():
                self._meters.settle(event)
            case RetryScheduled():
                self._meters.retries.add(1, event.provider, event.model, event.error.code)
            case CacheHit():
                self._meters.cache_hits.add(1, event.provider, event.model)
            case BreakerOpened() | BreakerClosed():
                opened = int(isinstance(event, BreakerOpened))
                self._meters.breaker_open.set(opened, event.provider, event.model)

    def _end_wait(self, event: AttemptDropped | AttemptReserved) -> None:
        self._meters.waiting.add(-1, event.provider, event.model)
        about = _about(event.provider, event.model)
        self._meters.wait.record(event.waited_seconds, about)

    def _start(self, event: AttemptSent) -> None:
        span = self._tracer.start_span(
            f"{names.OPERATION} {event.model}",
            kind=SpanKind.CLIENT,
            attributes=_about(event.provider, event.model),
        )
        if span.is_recording():
            span.set_attributes(_start_attributes(event, prompts=self._prompts))
        self._spans[event.attempt_id] = span
        self._clock.sent(event)
        if not event.economy:
            # An attempt has a task of its own, and so a context: what is sent
            # from it becomes a child of this span. A batch job has one for all.
            context.attach(trace.set_span_in_context(span))

    def _note(self, attempt_id: str, name: str, attributes: _Attributes) -> None:
        if (span := self._spans.get(attempt_id)) is not None:
            span.add_event(name, attributes)

    def _end(self, event: AttemptEnded) -> None:
        if event.attempt_id in self._reserved:
            self._reserved.remove(event.attempt_id)
            self._meters.in_flight.add(-1, event.provider, event.model)
        self._measure(event)
        if not event.left:
            self._meters.settle(event)
            self._meters.keep(event)
        if (span := self._spans.pop(event.attempt_id, None)) is not None:
            _end_span(span, event)

    def _measure(self, event: AttemptEnded) -> None:
        times, error = self._clock.ended(event), event.error
        about = _about(event.provider, event.model)
        if times.first_image is not None:
            self._meters.first_image.record(times.first_image, about)
        if times.total is not None:
            failed = about if error is None else {**about, names.ERROR_TYPE: str(error.code)}
            self._meters.duration.record(times.total, failed)


class _Total:
    """Values of a metric by provider, model and one more attribute. They are
    read when they are exported: to count costs the attempt nearly nothing.
    """

    def __init__(self, more: str = "") -> None:
        self._more = more
        self._values: dict[tuple[str, str, str], float] = {}

    def add(self, value: float, provider: str, model: str, more: str = "") -> None:
        """Add to a value."""
        key = provider, model, more
        self._values[key] = self._values.get(key, 0) + value

    def set(self, value: float, provider: str, model: str) -> None:
        """Replace a value."""
        self._values[provider, model, ""] = value

    def observe(self, options: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        """Return all values."""
        return [
            metrics.Observation(value, self._attributes(*key))
            for key, value in tuple(self._values.items())
        ]

    def _attributes(self, provider: str, model: str, more: str) -> _Attributes:
        about = _about(provider, model)
        return {**about, self._more: more} if self._more else about


class _Meters:
    """The instruments."""

    def __init__(self, meter: metrics.Meter) -> None:
        self.duration = _histogram(meter, names.DURATION, "From sending to the end.")
        self.first_image = _histogram(meter, names.FIRST_IMAGE, "Until a preview or an image.")
        self.wait = _histogram(meter, names.WAIT, "Until a place, money and a slot were free.")
        self.tokens = meter.create_histogram(names.USAGE, "{token}", "Tokens of replies.")
        self.cost = _counter(meter, names.COST, "{USD}", names.COST_SOURCE)
        self.attempts = _counter(meter, names.ATTEMPTS, "{attempt}", names.STATE)
        self.images = _counter(meter, names.MADE_IMAGES, "{image}")
        self.bytes = _counter(meter, names.MADE_BYTES, "By")
        self.retries = _counter(meter, names.RETRIES, "{attempt}", names.ERROR_TYPE)
        self.cache_hits = _counter(meter, names.CACHE_HITS, "{image}")
        self.in_flight, self.waiting, self.breaker_open = _Total(), _Total(), _Total()
        meter.create_observable_up_down_counter(
            names.IN_FLIGHT, [self.in_flight.observe], "{attempt}", "Attempts that hold money."
        )
        meter.create_observable_up_down_counter(
            names.WAITING, [self.waiting.observe], "{attempt}", "Attempts in line."
        )
        meter.create_observable_gauge(
            names.BREAKER_OPEN, [self.breaker_open.observe], "1", "1 if nothing is sent."
        )

    def settle(self, event: AttemptEnded | AttemptRecovered) -> None:
        """Count an attempt, and its cost if it is known."""
        self.attempts.add(1, event.provider, event.model, event.state)
        if event.settled_usd:
            usd = float(event.settled_usd)
            self.cost.add(usd, event.provider, event.model, event.cost_source)

    def keep(self, event: AttemptEnded) -> None:
        """Count the images and tokens of an attempt."""
        images = event.images
        self.images.add(len(images), event.provider, event.model)
        self.bytes.add(sum(one.size_bytes for one in images), event.provider, event.model)
        if event.usage is not None:
            about = _about(event.provider, event.model)
            for kind, count in zip(("input", "output"), tokens_of(event), strict=True):
                self.tokens.record(count, {**about, names.USAGE_TYPE: kind})


def _counter(meter: metrics.Meter, name: str, unit: str, more: str = "") -> _Total:
    total = _Total(more)
    meter.create_observable_counter(name, [total.observe], unit)
    return total


def _histogram(meter: metrics.Meter, name: str, description: str) -> metrics.Histogram:
    return meter.create_histogram(
        name, "s", description, explicit_bucket_boundaries_advisory=names.SECONDS_BUCKETS
    )


@cache
def _about(provider: str, model: str) -> _Attributes:
    """Return the attributes that everything of a model has."""
    return {
        names.OPERATION_NAME: names.OPERATION,
        names.PROVIDER_NAME: names.PROVIDERS.get(provider, provider),
        names.REQUEST_MODEL: model,
    }


def _start_attributes(event: AttemptSent, *, prompts: bool) -> _Attributes:
    request = event.request
    known = {
        names.SEED: request.seed,
        names.SERVER_ADDRESS: event.server,
        names.BATCH_ID: event.batch_id,
        names.TAG: event.tag or None,
        names.RESERVED_USD: None if event.reserved_usd is None else float(event.reserved_usd),
        names.INPUT_MESSAGES: _message(request.prompt) if prompts else None,
    }
    return {
        names.OUTPUT_TYPE: names.OUTPUT,
        names.CHOICE_COUNT: len(event.indexes),
        names.ATTEMPT_ID: event.attempt_id,
        names.IMAGEN_OPERATION: event.operation,
        names.TRY_NUMBER: event.try_number,
        names.TRY_REASON: event.why,
        **{name: value for name, value in known.items() if value is not None},
    }


def _message(prompt: str) -> str:
    part = {"type": "text", "content": prompt}
    return msgspec.json.encode([{"role": "user", "parts": [part]}]).decode()


def _end_span(span: trace.Span, event: AttemptEnded) -> None:
    error = event.error
    if span.is_recording():
        span.set_attributes(_end_attributes(event))
        if error is not None:
            # Without its message: a provider may repeat the prompt in it.
            span.set_status(StatusCode.ERROR, str(error.code))
    span.end()


def _end_attributes(event: AttemptEnded) -> _Attributes:
    tokens, error = tokens_of(event), event.error
    known: Mapping[str, str | int | float | None] = {
        names.STATE: event.state,
        names.IMAGES: len(event.images),
        names.COST_USD: None if event.settled_usd is None else float(event.settled_usd),
        names.COST_SOURCE: event.cost_source,
        names.HTTP_STATUS: event.status,
        names.PROVIDER_REQUEST_ID: event.provider_request_id,
        names.INPUT_TOKENS: tokens[0] or None,
        names.OUTPUT_TOKENS: tokens[1] or None,
        names.ERROR_TYPE: None if error is None else str(error.code),
        names.BILLED: None if error is None else error.billed,
    }
    return {name: value for name, value in known.items() if value is not None}
