"""What providers list, beside what the catalog knows."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen.testing.simulator import Overloaded, open_simulator


def settings_for(simulator: object, home: Path, **more: str) -> imagen.Settings:
    environ = {
        "IMAGEN_HOME": str(home),
        "OPENAI_API_KEY": simulator.key,
        "OPENAI_BASE_URL": simulator.base_url("openai"),
        "NEXOS_API_KEY": simulator.key,
        "NEXOS_API_BASE_URL": simulator.base_url("nexos"),
        **more,
    }
    settings = imagen.load_settings(environ)
    retry = imagen.RetryPolicy(attempts=2, wait_initial_seconds=0.001, wait_max_seconds=0.002)
    return msgspec.structs.replace(settings, retry=retry)


async def test_lists_and_catalog_are_merged_and_retirement_dates_come_along(tmp_path: Path):
    async with (
        open_simulator() as simulator,
        imagen.open_client(settings_for(simulator, tmp_path)) as client,
    ):
        discovery = await client.discover()
    assert not discovery.failures
    found = {(one.provider, one.wire_name): one for one in discovery.models}
    live = found["openai", "gpt-image-2"]
    assert (live.listed, live.model and live.model.id, live.retires_on) == (
        True,
        "gpt-image-2",
        None,
    )
    assert found["openai", "gpt-image-1.5"].retires_on == datetime.date(2026, 12, 1)
    assert found["openai", "dall-e-3"].listed is False
    assert found["nexos", "Flux 1.1 pro"].listed is True
    assert found["sketch", "sketch"].listed is None
    assert ("openai", "gpt-4.1") not in found
    assert ("nexos", "GPT 4.1") not in found
    assert not simulator.bills


async def test_a_provider_that_fails_does_not_hide_the_others(tmp_path: Path):
    async with open_simulator(list_faults=Overloaded()) as simulator:
        async with imagen.open_client(
            settings_for(simulator, tmp_path, NEXOS_API_KEY="")
        ) as client:
            discovery = await client.discover()
    assert set(discovery.failures) >= {"openai"}
    assert any(one.provider == "sketch" for one in discovery.models)


@pytest.mark.parametrize("json", [False, True])
async def test_the_command_asks_the_providers(tmp_path: Path, json: bool):
    async with open_simulator() as simulator:
        environ = {
            "IMAGEN_HOME": str(tmp_path),
            "OPENAI_API_KEY": simulator.key,
            "OPENAI_BASE_URL": simulator.base_url("openai"),
        }
        command = [sys.executable, "-m", "imagen", "models", "--refresh", "--provider", "openai"]
        done = await trio.run_process(
            command + ["--json"] * json,
            env=environ,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    if json:
        records = [msgspec.json.decode(line) for line in text.splitlines()]
        assert {record["kind"] for record in records} == {"discovered_model"}
        assert {record["provider"] for record in records} == {"openai"}
    else:
        assert "retires on 2026-12-01, use gpt-image-2" in text
        assert "not listed for this key" in text


def test_the_command_lists_what_can_do_an_operation(tmp_path):
    command = [sys.executable, "-m", "imagen", "models", "--operation", "enhance", "--json"]
    done = subprocess.run(
        command, env={"IMAGEN_HOME": str(tmp_path)}, capture_output=True, check=True
    )
    records = [msgspec.json.decode(line) for line in done.stdout.splitlines()]
    assert records
    assert all("enhance" in record["capabilities"]["operations"] for record in records)


def test_a_price_by_the_unit_is_shown_by_the_image(tmp_path):
    command = [sys.executable, "-m", "imagen", "models", "--provider", "fal"]
    done = subprocess.run(
        command, env={"IMAGEN_HOME": str(tmp_path)}, capture_output=True, check=True, text=True
    )
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if "fal/" in line}
    assert " 0.04 to 0.075 " in rows["fal/qwen-image-3"]
    assert " 0.04 to 0.08 " in rows["fal/grok-imagine-2"]
    assert " about 0.12 " in rows["fal/clarity-upscaler"]
