"""Subscribers of events for production: traces, metrics, logs.

names        names of attributes and metrics
otel         OpenTelemetry (extra `otel`)
prometheus   Prometheus (extra `prometheus`)
logs         structured logs (extra `logs`)

Each is a handler of events, and several go together:
`open_client(on_event=(OpenTelemetry(), Prometheus(), Logs()))`. Nothing here is
imported before it is used.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
