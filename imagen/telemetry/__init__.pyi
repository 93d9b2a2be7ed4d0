from .logs import Logs
from .names import SECONDS_BUCKETS
from .otel import OpenTelemetry
from .prometheus import Prometheus

__all__ = ["Logs", "OpenTelemetry", "Prometheus", "SECONDS_BUCKETS"]
