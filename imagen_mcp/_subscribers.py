"""Subscribers of the server's client: traces, and logs on standard error where
the user asks for them. Standard output belongs to the protocol.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import imagen

if TYPE_CHECKING:
    from imagen.telemetry import Prometheus

__all__ = ["open_metrics", "open_watched_client"]

_LOG_VARIABLES = ("IMAGEN_LOG_LEVEL", "IMAGEN_LOG_FORMAT")


@asynccontextmanager
async def open_watched_client(
    settings: imagen.Settings, more: Sequence[imagen.EventHandler] = ()
) -> AsyncIterator[imagen.Client]:
    """Open a client with the subscribers of the server, and more of them."""
    async with imagen.open_client(settings, on_event=(*_subscribers(), *more)) as client:
        yield client


def _subscribers() -> Sequence[imagen.EventHandler]:
    """Return the subscribers. The SDK of MCP brings the API of OpenTelemetry,
    and makes a span of each call of a tool, below that of the caller.
    """
    from imagen.telemetry import OpenTelemetry

    found: list[imagen.EventHandler] = [OpenTelemetry()]
    if any(os.environ.get(name) for name in _LOG_VARIABLES):
        from imagen.telemetry import Logs

        found.append(Logs())
    return found


def open_metrics() -> Prometheus | None:
    """Return metrics, if the client of Prometheus is installed."""
    with suppress(imagen.ConfigurationError):
        from imagen.telemetry import Prometheus

        return Prometheus()
    return None
