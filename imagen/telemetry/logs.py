"""Structured logs by structlog, in JSON or for a console."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Literal, TextIO

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
    BudgetAlarm,
    CacheHit,
    ConfigurationError,
    Event,
    ImagenError,
    ImagePublished,
    LibraryCleaned,
    PreviewReceived,
    ProgressReported,
    RetryScheduled,
    SessionEnded,
    SessionExpired,
    SessionStarted,
    WebhookDead,
    WebhookDelivered,
)

try:
    import structlog
except ImportError as _error:
    raise ConfigurationError('structlog is missing: pip install "imagen-trio[logs]".') from _error

__all__ = ["Logs"]

LogFormat = Literal["json", "console"]
_Fields = dict[str, object]
_AttemptEvent = (
    AttemptQueued
    | AttemptDropped
    | AttemptReserved
    | AttemptSent
    | AttemptAccepted
    | PreviewReceived
    | ProgressReported
    | AttemptEnded
    | RetryScheduled
)

_LEVELS: Mapping[str, int] = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
}
_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]*://|data:)\S+", re.IGNORECASE)
# Shorter ones are words and ids.
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]{48,}")


class Logs:
    """Subscriber that writes a line for each event: DEBUG for the steps of an
    attempt, INFO for sessions and images, WARNING for retries, limits and
    alarms, ERROR for failures.

    A line never holds a key, a URL, or the bytes of an image.

    Args:
        level: DEBUG, INFO, WARNING or ERROR; by default IMAGEN_LOG_LEVEL, else
            INFO.
        format: By default IMAGEN_LOG_FORMAT, else "console" on a terminal and
            "json" elsewhere.
        stream: Where lines go; standard error by default.
        prompts: Write prompts too, and the messages of errors, in which a
            provider may repeat them.

    Raises:
        ConfigurationError: another level or format.
    """

    # Also under `imagen.aio`: the contexts of the callers are in the Trio run.
    in_engine = True

    def __init__(
        self,
        *,
        level: str | None = None,
        format: LogFormat | None = None,
        stream: TextIO | None = None,
        prompts: bool = False,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        chosen = (level or os.environ.get("IMAGEN_LOG_LEVEL") or "INFO").upper()
        if chosen not in _LEVELS:
            raise ConfigurationError(
                f"IMAGEN_LOG_LEVEL is one of {', '.join(_LEVELS)}, not {chosen[:40]!r}."
            )
        self._least = _LEVELS[chosen]
        self._prompts = prompts
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(stream),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                _renderer(format or os.environ.get("IMAGEN_LOG_FORMAT") or "", stream),
            ],
            wrapper_class=structlog.BoundLogger,
        )

    def __call__(self, event: Event) -> None:
        """Take one event."""
        level, fields = self._read(event)
        if level < self._least:
            return
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
        write = getattr(self._log, logging.getLevelName(level).lower())
        write(name, **{key: value for key, value in fields.items() if value is not None})

    def _read(self, event: Event) -> tuple[int, _Fields]:
        match event:
            case AttemptEnded():
                return self._read_end(event)
            case RetryScheduled():
                error = self._error(event.error)
                wait = round(event.wait_seconds, 3)
                return logging.WARNING, {**self._about(event), **error, "wait_seconds": wait}
            case AttemptDropped():
                level = logging.DEBUG if event.error is None else logging.WARNING
                return level, {
                    **self._about(event),
                    **self._error(event.error),
                    "waited_seconds": round(event.waited_seconds, 3),
                }
            case AttemptReserved():
                waited = round(event.waited_seconds, 3)
                reserved = None if event.reserved_usd is None else str(event.reserved_usd)
                fields = {"waited_seconds": waited, "reserved_usd": reserved}
                return logging.DEBUG, {**self._about(event), **fields}
            case PreviewReceived():
                fields = {"number": event.number, "size_bytes": len(event.data)}
                return logging.DEBUG, {**self._about(event), **fields}
            case ProgressReported():
                note = _scrub(event.note) if self._prompts else None
                return logging.DEBUG, {
                    **self._about(event), "fraction": event.fraction, "note": note
                }  # fmt: skip
            case AttemptQueued() | AttemptSent() | AttemptAccepted():
                return logging.DEBUG, self._about(event)
            case _:
                return _read_other(event)

    def _read_end(self, event: AttemptEnded) -> tuple[int, _Fields]:
        fields: _Fields = {
            **self._about(event),
            "state": event.state,
            "images": [one.id for one in event.images],
            "cost_usd": None if event.settled_usd is None else str(event.settled_usd),
            "cost_source": event.cost_source,
            "seconds": round(event.seconds, 3),
            "http_status": event.status,
            "provider_request_id": event.provider_request_id,
            "left": event.left or None,
            **self._error(event.error),
        }
        error = event.error
        if error is None or event.left:
            return logging.INFO, fields
        if event.seconds == 0 and error.code == "TIMEOUT":
            # Its caller left before it was sent.
            return logging.DEBUG, fields
        again = error.retryable and error.billed == "no"
        return logging.WARNING if again else logging.ERROR, fields

    def _about(self, event: _AttemptEvent) -> _Fields:
        return {
            "attempt_id": event.attempt_id,
            "batch_id": event.batch_id,
            "provider": event.provider,
            "model": event.model,
            "operation": event.operation,
            "try_number": event.try_number,
            "why": event.why,
            "tag": event.tag or None,
            "prompt": event.request.prompt if self._prompts else None,
        }

    def _error(self, error: ImagenError | None) -> _Fields:
        if error is None:
            return {}
        return {
            "error": error.code,
            "billed": error.billed,
            "retryable": error.retryable,
            "message": _scrub(error.message) if self._prompts else None,
        }


def _renderer(format: str, stream: TextIO) -> structlog.typing.Processor:
    if format not in ("json", "console", ""):
        raise ConfigurationError(f"IMAGEN_LOG_FORMAT is json or console, not {format[:40]!r}.")
    if format == "console" or (not format and stream.isatty()):
        return structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return structlog.processors.JSONRenderer()


def _read_other(event: Event) -> tuple[int, _Fields]:
    match event:
        case BreakerOpened():
            about: _Fields = {"provider": event.provider, "model": event.model}
            return logging.WARNING, {**about, "cooldown_seconds": round(event.cooldown_seconds, 3)}
        case BreakerClosed():
            return logging.INFO, {"provider": event.provider, "model": event.model}
        case BudgetAlarm():
            taken = str(event.taken)
            return logging.WARNING, {"budget": event.budget, "share": event.share, "taken": taken}
        case CacheHit():
            return logging.INFO, {"image": event.image_id, "model": event.model}
        case AttemptRecovered():
            usd = None if event.settled_usd is None else str(event.settled_usd)
            level = logging.ERROR if event.state == "unknown" else logging.INFO
            return level, {
                "attempt_id": event.attempt_id,
                "model": event.model,
                "state": event.state,
                "cost_usd": usd,
            }
        case WebhookDead():
            fields = {"message_id": event.message_id, "tries": event.tries}
            return logging.ERROR, {**fields, "reason": _scrub(event.error)}
        case ImagePublished():
            level = logging.ERROR if event.state == "failed" else logging.INFO
            return level, {"sha256": event.sha256, "state": event.state}
        case _:
            return logging.INFO, _plain(event)


def _plain(event: Event) -> _Fields:
    """Return the fields of an event that has no text of another's."""
    match event:
        case SessionStarted() | SessionEnded() | SessionExpired():
            pass
        case WebhookDelivered() | LibraryCleaned():
            pass
        case _:
            return {}
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return {
        name: value if isinstance(value, (str, int, float, bool)) else str(value)
        for name, value in values.items()
    }


def _scrub(text: str) -> str:
    """Return a text without URLs, which may hold a signature, and without
    base64.
    """
    return _BASE64.sub("[data]", _URL.sub("[URL]", text))
