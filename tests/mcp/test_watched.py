"""The server in production: metrics, logs on standard error, spans of tools."""

from __future__ import annotations

import json
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import trio
from mcp import Client

from tests.support.mcp_process import SERVER, process, read_url

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
]

ARGUMENTS = {"prompt": "PLANTED lighthouse", "model": "sketch", "size": "64x64"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACED = """
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter
tracers = TracerProvider()
write = lambda span: span.to_json(indent=None) + "\\n"
tracers.add_span_processor(
    SimpleSpanProcessor(ConsoleSpanExporter(out=open("spans", "w"), formatter=write))
)
trace.set_tracer_provider(tracers)
from imagen_mcp.__main__ import main
sys.exit(main(["--http", "127.0.0.1:0"]))
"""


def fetch(url: str, **headers: str) -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.headers["content-type"], reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", error.read().decode()


async def end(child: trio.Process) -> bytes:
    child.send_signal(signal.SIGTERM)
    assert await child.wait() == 0
    return b"".join([chunk async for chunk in child.stderr])


async def test_metrics_are_shown_to_this_machine_alone(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"]) as child:
            url = await read_url(child)
            async with Client(url) as client:
                assert not (await client.call_tool("generate_image", ARGUMENTS)).is_error
            there = url.removesuffix("/mcp") + "/metrics"

            async def ask(**headers: str) -> tuple[int, str, str]:
                return await trio.to_thread.run_sync(lambda: fetch(there, **headers))

            status, kind, text = await ask()
            refused = [
                (await ask(Host="evil.example"))[0],
                (await ask(Host="127.0.0.1.evil.example:1"))[0],
                (await ask(Origin="https://evil.example"))[0],
                (await ask(Origin="null"))[0],
            ]
            assert (await ask(Origin="http://localhost:3000"))[0] == 200
            errors = await end(child)
    assert (status, errors) == (200, b"")
    assert kind.startswith("text/plain")
    assert 'imagen_images_total{model="sketch",provider="sketch"} 1.0' in text
    assert 'imagen_attempts_in_flight{model="sketch",provider="sketch"} 0.0' in text
    assert "PLANTED" not in text
    assert refused == [421, 421, 403, 403]


async def test_logs_go_to_standard_error_where_they_are_asked_for(tmp_path: Path) -> None:
    more = {"IMAGEN_LOG_LEVEL": "INFO", "IMAGEN_LOG_FORMAT": "json"}
    with trio.fail_after(30):
        async with process(tmp_path, [*SERVER, "--http", "127.0.0.1:0"], more) as child:
            url = await read_url(child)
            async with Client(url) as client:
                await client.call_tool("generate_image", ARGUMENTS)
            errors = await end(child)
    lines = [json.loads(line) for line in errors.splitlines()]
    told = [(line["level"], line["event"]) for line in lines]
    names = ["session_started", "attempt_ended", "session_ended"]
    assert told == [("info", name) for name in names]
    assert b"PLANTED" not in errors


async def test_an_attempt_is_in_the_trace_of_the_assistant(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with process(tmp_path, ["-c", TRACED]) as child:
            url = await read_url(child)
            async with Client(url) as client:
                meta = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
                await client.call_tool("generate_image", ARGUMENTS, meta=meta)
            await end(child)
    text = (tmp_path / "spans").read_text()
    spans = {span["name"]: span for span in map(json.loads, text.splitlines())}
    tool, attempt = spans["tools/call generate_image"], spans["generate_content sketch"]
    assert tool["parent_id"] == "0x00f067aa0ba902b7"
    assert attempt["parent_id"] == tool["context"]["span_id"]
    assert tool["context"]["trace_id"] == attempt["context"]["trace_id"] == f"0x{TRACE}"
    assert "PLANTED" not in text
