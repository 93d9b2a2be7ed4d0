"""Gates in front of the models, and the table `[routes]` of the settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec
import trio

from .._errors import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    ImagenError,
    OutcomeUnknownError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from .._requests.catalog import Model
from .._requests.options import Routing
from .._results.events import BreakerClosed, BreakerOpened, EventHandler
from .._system.numbers import check_numbers
from .._system.retry_after import read_rate_headers
from .._system.signal import Signal
from .breaker import Breaker
from .concurrency import AdaptiveLimit, Pause
from .retry import RetryAllowance

__all__ = [
    "FallbackReason",
    "GateEntry",
    "ModelGate",
    "ModelGates",
    "RoutingPolicy",
    "fallback_reason",
    "is_lockout",
]

FallbackReason = Literal[
    "outage", "rate_limit", "quota", "authentication", "content_filter", "outcome_unknown"
]


class RoutingPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Table `[routes]` of imagen.toml.

    `fallback` lists models for requests that name none and whose own model
    fails for a reason in `fallback_on`. `content_filter` and `outcome_unknown`
    must be asked for: the first sends a refused prompt to another provider, the
    second may pay twice. `routing` is the order of the models. With
    `hedge_after_seconds` a second model is asked if the first has not replied
    by then ("p95": the time in which 95 of 100 images came), and the first
    image wins. After `failures` outages in a row a model gets no requests for
    `cooldown_seconds`, and twice as long after each failed probe, at most
    `longest_cooldown_seconds`.
    """

    fallback: tuple[str, ...] = ()
    fallback_on: tuple[FallbackReason, ...] = ("outage", "rate_limit", "quota", "authentication")
    routing: Routing = "first"
    hedge_after_seconds: float | Literal["p95"] | None = None
    failures: int = 3
    cooldown_seconds: float = 30.0
    longest_cooldown_seconds: float = 300.0

    def __post_init__(self) -> None:
        check_numbers(self, above_zero=("failures",))


def fallback_reason(error: ImagenError) -> FallbackReason | None:
    """Return the reason to try another model; None if none would help."""
    match error:
        case AuthenticationError() | ConfigurationError():
            return "authentication"
        case QuotaExceededError():
            return "quota"
        case RateLimitError():
            return "rate_limit"
        case ContentFilterError():
            return "content_filter"
        case ProviderError() if error.billed == "no":
            return "outage"
        case ProviderError():
            return "outcome_unknown"
        case _:
            return None


def is_lockout(error: ImagenError) -> bool:
    """Return True if the account is locked out: further requests to the
    provider would fail too.
    """
    return isinstance(error, (AuthenticationError, QuotaExceededError))


def _is_outage(error: ImagenError) -> bool:
    return isinstance(error, ProviderError) and (
        error.retryable or isinstance(error, OutcomeUnknownError)
    )


class GateEntry(msgspec.Struct, frozen=True):
    """Place of one request in the gate of its model, from the time `started`."""

    gate: ModelGate
    started: float

    def leave(self, error: ImagenError | None, headers: Mapping[str, str], unix_now: float) -> None:
        """Leave the gate, and learn from how the request ended."""
        self.gate._leave(self.started, error, headers, unix_now)

    def drop(self) -> None:
        """Leave the gate without a result: the request was not sent, or was
        given up.
        """
        self.gate._drop(self.started)


class ModelGate:
    """Gate in front of one model: circuit breaker, concurrency limit, pause.

    A request enters when the provider asked for no pause, fewer requests than
    the adaptive limit are in flight, and the breaker is closed or lets a probe
    through. How it ends moves all three.
    """

    def __init__(
        self, model: Model, policy: RoutingPolicy, most: int | None, emit: EventHandler
    ) -> None:
        self._model = model
        self._emit = emit
        self._breaker = Breaker(
            policy.failures, policy.cooldown_seconds, policy.longest_cooldown_seconds
        )
        self._limit = AdaptiveLimit(most)
        self._pause = Pause()
        self._in_flight = 0
        self._changed = Signal()
        self._is_closed = False

    def close(self) -> None:
        """Notify the subscriber that an open breaker is gone, with the client."""
        if self._breaker.retry_at is not None:
            self._emit(BreakerClosed(model=self._model.id, provider=self._model.provider))
        self._is_closed = True

    async def enter(
        self, *, wait: bool, has_alternative: bool, patience_seconds: float
    ) -> GateEntry:
        """Wait until a request may be sent, and return its place.

        Waits without a bound while too many requests are in flight, unless
        `wait` is False. Waits for the end of a pause or of an open breaker only
        if it comes within `patience_seconds` and no other model is left to try.

        Raises:
            RateLimitError: the request would have to wait, and must not.
            ProviderError: the breaker is open.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        give_up_at = (
            trio.current_time() + patience_seconds if wait and not has_alternative else -math.inf
        )
        while True:
            now = trio.current_time()
            wake_at = math.inf
            if (paused_until := self._pause.until(now)) is not None:
                if paused_until >= give_up_at:
                    raise self._paused(paused_until - now)
                wake_at = paused_until
            elif not self._limit.allows(self._in_flight):
                if not wait:
                    raise RateLimitError(
                        f"{self._model.id} takes {self._limit.limit} requests at once now: try"
                        " again when one has ended."
                    )
            elif self._breaker.admit(now):
                self._in_flight += 1
                return GateEntry(self, now)
            else:
                # While a probe is in flight the time is unknown.
                probe_at = self._breaker.retry_at or now
                if max(probe_at, now) >= give_up_at:
                    raise self._left_alone(max(0.0, probe_at - now))
                wake_at = probe_at if probe_at > now else give_up_at
            with trio.move_on_at(wake_at):
                await self._changed.wait()

    def _leave(
        self, started: float, error: ImagenError | None, headers: Mapping[str, str], unix_now: float
    ) -> None:
        now = trio.current_time()
        retry_at = self._breaker.retry_at
        match error:
            case RateLimitError():
                self._limit.limited(self._in_flight, started, now)
                self._pause.extend(now, error.retry_after_seconds or 0.0)
                self._breaker.released(started)
            case ImagenError() if _is_outage(error):
                self._breaker.failed(started, now)
            case ImagenError() if is_lockout(error):
                self._breaker.released(started)
            case _:
                self._limit.succeeded()
                self._breaker.succeeded(started)
        self._tell_breaker(retry_at, now)
        if (news := read_rate_headers(headers, unix_now)) is not None:
            self._pause.extend(now, news.pause_seconds)
        self._end()

    def _tell_breaker(self, before: float | None, now: float) -> None:
        """Notify the subscriber if the breaker has opened, again, or closed."""
        after = self._breaker.retry_at
        if after == before or self._is_closed:
            return
        about = {"model": self._model.id, "provider": self._model.provider}
        self._emit(
            BreakerClosed(**about)
            if after is None
            else BreakerOpened(**about, cooldown_seconds=after - now)
        )

    def _drop(self, started: float) -> None:
        self._breaker.released(started)
        self._end()

    def _end(self) -> None:
        self._in_flight -= 1
        self._changed.send()

    def _paused(self, seconds: float) -> RateLimitError:
        return RateLimitError(
            f"{self._model.provider} asked to be left alone: {self._model.id} takes requests again"
            f" in {seconds:.0f} seconds.",
            retry_after_seconds=seconds,
        )

    def _left_alone(self, seconds: float) -> ProviderError:
        return ProviderError(
            f"{self._model.id} has failed again and again, so nothing is sent to it for another"
            f" {seconds:.0f} seconds.",
            retry_after_seconds=seconds,
            details={"fault": "left alone"},
        )


class ModelGates:
    """Gates of one client, by model."""

    def __init__(self, policy: RoutingPolicy, emit: EventHandler = lambda event: None) -> None:
        self.policy = policy
        self._emit = emit
        self._gates: dict[str, ModelGate] = {}
        self._allowances: dict[str, RetryAllowance] = {}

    def for_model(self, model: Model) -> ModelGate:
        """The way to a model."""
        if (gate := self._gates.get(model.id)) is None:
            most = model.rate_limit.max_at_once if model.rate_limit is not None else None
            gate = self._gates[model.id] = ModelGate(model, self.policy, most, self._emit)
        return gate

    def close(self) -> None:
        """Close all gates, as nothing more is sent."""
        for gate in self._gates.values():
            gate.close()

    def allowance(self, provider: str) -> RetryAllowance:
        """Return the retries that all requests to a provider share."""
        return self._allowances.setdefault(provider, RetryAllowance())
