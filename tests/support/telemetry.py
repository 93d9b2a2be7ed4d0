"""OpenTelemetry, Prometheus and logs that keep what they are given."""

from __future__ import annotations

import io
import json
from collections import Counter
from decimal import Decimal

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import imagen
from imagen.telemetry import Logs, OpenTelemetry, Prometheus


class Watch:
    """All three, and what they have seen."""

    def __init__(self, *, prompts: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.otel = OpenTelemetry(
            tracer_provider=self.tracers,
            meter_provider=MeterProvider([self.reader]),
            prompts=prompts,
        )
        self.prometheus = Prometheus()
        self.text = io.StringIO()
        self.logs = Logs(level="DEBUG", format="json", stream=self.text, prompts=prompts)

    @property
    def handlers(self) -> tuple[imagen.EventHandler, ...]:
        return self.otel, self.prometheus, self.logs

    def append(self, event: imagen.Event) -> None:
        """Take one event, as a list of events would."""
        for handler in self.handlers:
            handler(event)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text.getvalue().splitlines()]

    def scraped(self, name: str, **labels: str) -> float:
        """Return the sum of a metric over all its other labels."""
        return sum(
            sample.value
            for family in self.prometheus.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        found: Counter[str] = Counter()
        for family in self.prometheus.registry.collect():
            for sample in family.samples:
                if sample.name == name and sample.value:
                    found[sample.labels[label]] += sample.value
        return dict(found)

    def metered(self) -> dict[str, list[tuple[dict[str, object], object]]]:
        """Return the points of each instrument."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[tuple[dict[str, object], object]]] = {}
        for resource in [] if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        found.setdefault(metric.name, []).append((dict(point.attributes), point))
        return found

    def check_agrees(self, spending: imagen.Spending) -> None:
        """Check that nothing is under way, and that all agree with the ledger."""
        metered = self.metered()
        for name in ("imagen_attempts_waiting", "imagen_attempts_in_flight"):
            assert self.scraped(name) == 0
        for name in ("waiting", "in_flight"):
            for _, point in metered.get(f"imagen.client.attempts.{name}", []):
                assert point.value == 0
        counts = {
            state: count
            for state in ("succeeded", "failed", "refused", "unknown")
            if (count := getattr(spending.attempts, state))
        }
        assert self.by("imagen_attempts_total", "state") == counts
        states: Counter[object] = Counter()
        for attributes, point in metered.get("imagen.client.attempts", []):
            states[attributes["imagen.attempt.state"]] += point.value
        assert states == counts
        usd = sum(point.value for _, point in metered.get("imagen.client.cost", []))
        assert round(Decimal(usd), 6) == round(spending.settled_usd, 6)
        sources = {source: float(amount) for source, amount in spending.by_source.items()}
        scraped = self.by("imagen_cost_usd_total", "source")
        assert {source: round(amount, 6) for source, amount in scraped.items()} == {
            source: round(amount, 6) for source, amount in sources.items()
        }

    def check_at_rest(self) -> None:
        """Check that no gauge is above 0 once every client is closed, and that
        every span has ended.
        """
        for family in self.prometheus.registry.collect():
            if family.type == "gauge":
                assert [sample for sample in family.samples if sample.value] == []
        for name in ("attempts.waiting", "attempts.in_flight", "breaker.open"):
            points = self.metered().get(f"imagen.client.{name}", [])
            assert [attributes for attributes, point in points if point.value] == []
        assert all(span.end_time is not None for span in self.spans)


def known_metrics() -> set[str]:
    """Return the names that a query of Prometheus may use."""
    found: set[str] = set()
    for family in Prometheus().registry.collect():
        match family.type:
            case "counter":
                found.add(f"{family.name}_total")
            case "histogram":
                found |= {f"{family.name}{end}" for end in ("", "_bucket", "_sum", "_count")}
            case _:
                found.add(family.name)
    return found
