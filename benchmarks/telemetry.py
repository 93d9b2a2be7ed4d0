"""What a subscriber of `imagen.telemetry` costs an attempt.

`python -m benchmarks.telemetry` makes a batch, keeps its events, and gives them
to each subscriber again and again. The least of all rounds counts: what else
the machine does only adds to it.
"""

from __future__ import annotations

import argparse
import contextvars
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import trio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import imagen
from imagen.telemetry import Logs, OpenTelemetry, Prometheus

from ._children import machine

__all__: list[str] = []

_IMAGES = 200
_LIMITS_US = {"OpenTelemetry, API alone": 10, "OpenTelemetry with SDK, and Prometheus": 100}
_Subscribers = Sequence[imagen.EventHandler]


class _Drop(SpanExporter):
    def export(self, spans: Sequence[object]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def _with_sdk() -> _Subscribers:
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Drop()))
    meters = MeterProvider([InMemoryMetricReader()])
    return OpenTelemetry(tracer_provider=tracers, meter_provider=meters), Prometheus()


def _logs() -> _Subscribers:
    return (Logs(level="INFO", format="json", stream=io.StringIO()),)


_WAYS: dict[str, Callable[[], _Subscribers]] = {
    "OpenTelemetry, API alone": lambda: (OpenTelemetry(),),
    "OpenTelemetry with SDK, and Prometheus": _with_sdk,
    "Prometheus": lambda: (Prometheus(),),
    "lines of JSON": _logs,
}


async def _events(images: int) -> list[imagen.Event]:
    heard: list[imagen.Event] = []
    with tempfile.TemporaryDirectory() as home:
        settings = imagen.load_settings({"IMAGEN_HOME": home})
        async with (
            imagen.open_client(settings, on_event=heard.append) as client,
            client.open_batch("a boat", model="sketch", size="16x16", n=images) as batch,
        ):
            async for _ in batch:
                pass
    return heard


def _renamed(events: Sequence[imagen.Event], number: int) -> list[imagen.Event]:
    """Return the events as those of other attempts."""
    return [
        msgspec.structs.replace(event, attempt_id=f"{number}-{event.attempt_id}")
        if hasattr(event, "attempt_id")
        else event
        for event in events
    ]


def _give(subscribers: _Subscribers, events: Sequence[imagen.Event]) -> float:
    start = time.perf_counter()
    for event in events:
        for subscriber in subscribers:
            subscriber(event)
    return time.perf_counter() - start


def _measure(subscribers: _Subscribers, events: Sequence[imagen.Event], rounds: int) -> float:
    """Return the seconds of the fastest round."""
    return min(
        # Each attempt has a context of its own in a batch.
        contextvars.copy_context().run(_give, subscribers, _renamed(events, number))
        for number in range(rounds)
    )


def main(rounds: int, images: int) -> None:
    events = trio.run(partial(_events, images))
    attempts = sum(isinstance(event, imagen.AttemptEnded) for event in events)
    each = len(events) / attempts
    print(f"{machine()}\n\n{attempts} attempts of {each:.1f} events, {rounds} rounds\n")
    print(f"{'':<42}{'us an attempt':>14}{'wanted':>9}")
    for name, make in _WAYS.items():
        microseconds = 1e6 * _measure(make(), events, rounds) / attempts
        wanted = _LIMITS_US.get(name)
        print(f"{name:<42}{microseconds:>14.1f}{'' if wanted is None else f'< {wanted}':>9}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--images", type=int, default=_IMAGES)
    arguments = parser.parse_args()
    main(arguments.rounds, arguments.images)
