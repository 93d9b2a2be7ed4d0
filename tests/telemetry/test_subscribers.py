"""What each subscriber makes of events."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from opentelemetry import trace

import imagen
from imagen.telemetry import SECONDS_BUCKETS, Logs
from tests.support.scripted_client import MODEL, error_reply, images_reply, open_test_client
from tests.support.three_providers import DOWN, Town, image_reply, open_town


async def test_a_span_has_the_names_of_the_conventions(autojump_clock, watch):
    usage = {"input_tokens": 7, "output_tokens": 100, "input_tokens_details": {"text_tokens": 7}}
    seen = []

    def answer(request: object) -> object:
        seen.append(trace.get_current_span().get_span_context().span_id)
        return images_reply(usage=usage)

    async with open_test_client(answer, on_event=watch.handlers) as (client, _):
        image = await client.generate("a fox", tag="animals")
    (span,) = watch.spans
    assert seen == [span.context.span_id]
    assert (span.name, span.kind) == (f"generate_content {MODEL}", trace.SpanKind.CLIENT)
    found = dict(span.attributes)
    assert found.pop("imagen.attempt.id") == image.attempt_id
    assert found == {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": MODEL,
        "gen_ai.output.type": "image",
        "gen_ai.request.choice.count": 1,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 100,
        "server.address": "api.openai.com",
        "http.response.status_code": 200,
        "imagen.operation": "generate",
        "imagen.try.number": 1,
        "imagen.try.reason": "first",
        "imagen.tag": "animals",
        "imagen.attempt.state": "succeeded",
        "imagen.cost.reserved_usd": 0.04,
        "imagen.cost.usd": 0.04,
        "imagen.cost.source": "estimated",
        "imagen.images": 1,
    }


async def test_a_failure_is_an_error_of_its_span(autojump_clock, watch):
    reply = error_reply(401, {"error": {"message": "No key."}})
    async with open_test_client(lambda request: reply, on_event=watch.handlers) as (client, _):
        with pytest.raises(imagen.AuthenticationError):
            await client.generate("a fox")
    (span,) = watch.spans
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes["error.type"] == "AUTHENTICATION"
    assert watch.by("imagen_attempts_total", "code") == {"AUTHENTICATION": 1}


async def test_times_reach_to_ten_minutes(autojump_clock, watch):
    async with open_test_client(lambda request: images_reply(), on_event=watch.handlers) as (
        client,
        _,
    ):
        await client.generate("a fox")
    text = watch.prometheus.render()[0].decode()
    for name in ("attempt", "first_image", "wait"):
        assert f'imagen_{name}_seconds_bucket{{le="600.0",' in text
    ((_, point),) = watch.metered()["gen_ai.client.operation.duration"]
    assert tuple(point.explicit_bounds) == SECONDS_BUCKETS


async def test_a_breaker_is_a_gauge(autojump_clock, tmp_path, watch):
    replies = [DOWN, DOWN, image_reply()]
    town = Town(left=lambda number: replies[min(number, 2)])
    routes = imagen.RoutingPolicy(failures=2, cooldown_seconds=5)
    retry = imagen.RetryPolicy(attempts=1)
    async with open_town(town, tmp_path, events=watch, routes=routes, retry=retry) as client:
        for _ in range(2):
            with pytest.raises(imagen.ImagenError):
                await client.generate("x")
        assert watch.scraped("imagen_breaker_open", model="left-1") == 1
        await client.generate("x")
    assert watch.scraped("imagen_breaker_open") == 0


async def test_levels_of_lines(autojump_clock, watch):
    replies = [error_reply(503, {"error": {"message": "busy"}}), images_reply()]
    replies.append(error_reply(401, {"error": {"message": "No key."}}))
    async with open_test_client(lambda request: replies.pop(0), on_event=watch.handlers) as (
        client,
        _,
    ):
        await client.generate("x")
        with pytest.raises(imagen.AuthenticationError):
            await client.generate("x")
    told = [(line["level"], line["event"]) for line in watch.lines]
    assert told == [
        ("debug", "attempt_queued"),
        ("debug", "attempt_reserved"),
        ("debug", "attempt_sent"),
        ("warning", "attempt_ended"),
        ("warning", "retry_scheduled"),
        ("debug", "attempt_queued"),
        ("debug", "attempt_reserved"),
        ("debug", "attempt_sent"),
        ("info", "attempt_ended"),
        ("debug", "attempt_queued"),
        ("debug", "attempt_reserved"),
        ("debug", "attempt_sent"),
        ("error", "attempt_ended"),
    ]
    assert all(line["timestamp"].endswith("Z") for line in watch.lines)


async def test_the_environment_chooses_level_and_format(autojump_clock, monkeypatch):
    monkeypatch.setenv("IMAGEN_LOG_LEVEL", "error")
    monkeypatch.setenv("IMAGEN_LOG_FORMAT", "console")
    text = io.StringIO()
    logs = Logs(stream=text)
    reply = error_reply(401, {"error": {"message": "No key."}})
    async with open_test_client(lambda request: reply, on_event=logs) as (client, _):
        with pytest.raises(imagen.AuthenticationError):
            await client.generate("x")
    (line,) = text.getvalue().splitlines()
    assert "attempt_ended" in line
    assert "error=AUTHENTICATION" in line
    for name, value in (("IMAGEN_LOG_LEVEL", "loud"), ("IMAGEN_LOG_FORMAT", "xml")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            with pytest.raises(imagen.ConfigurationError, match=name):
                Logs(stream=text)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("OpenTelemetry", "opentelemetry", "otel"),
        ("Prometheus", "prometheus_client", "prometheus"),
        ("Logs", "structlog", "logs"),
    ],
)
def test_what_is_not_installed_is_named(name, package, extra):
    code = (
        f"import sys; sys.modules[{package!r}] = None; import imagen, imagen.telemetry\n"
        f"try: imagen.telemetry.{name}\n"
        "except imagen.ConfigurationError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"imagen-trio[{extra}]" in done.stdout


def test_nothing_is_imported_that_is_not_used():
    code = (
        "import sys, imagen, imagen.telemetry; imagen.open_client; "
        "print([one for one in ('opentelemetry', 'prometheus_client', 'structlog')"
        " if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
