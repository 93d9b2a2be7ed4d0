"""The command as a person or a script runs it: a process of its own, against
the simulator on loopback.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from imagen.testing.simulator import (
    Garbage,
    NotAllowed,
    Refused,
    Reset,
    Truncated,
)
from tests.support.shell import (
    FAILURE_KEYS,
    IMAGE_KEYS,
    KEPT_KEYS,
    SUMMARY_KEYS,
    Shell,
    simulated,
)


async def test_images_come_in_order_of_completion_each_on_a_line_of_its_own(shell):
    async with simulated(shell, latency=[0.9, 0.1, 0.5], usd_per_image="0.04") as simulator:
        status, lines, _ = await shell.run_json(
            "generate", "a cat", "-n", "3", "--model", "four-cents"
        )
        assert status == 0
        assert [line["kind"] for line in lines] == ["image"] * 3 + ["summary"]
        assert sorted(line["index"] for line in lines[:3]) == [0, 1, 2]
        fast, middle, slow = (float(str(line["seconds"])) for line in lines[:3])
        assert fast < 0.5 <= middle < 0.9 <= slow
        for line in lines[:3]:
            assert set(line) == IMAGE_KEYS
            assert Path(str(line["path"])).stat().st_size == line["size_bytes"]
            assert (line["cost_usd"], line["cost_source"]) == ("0.04", "estimated")
        assert set(lines[3]) == SUMMARY_KEYS
        assert lines[3]["cost_usd"] == "0.12"
        bodies = [json.loads(received.body) for received in simulator.received]
        assert bodies == [{"model": "gpt-image-2", "prompt": "a cat", "n": 1}] * 3


async def test_each_line_is_written_when_its_image_is_done(shell):
    async with simulated(shell, latency=[0.2, 20.0]):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "imagen", "generate", "a cat", "-n", "2", "--json"],
            env=shell.environ,
            cwd=shell.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with trio.fail_after(10):
            first = await process.stdout.receive_some()
        assert json.loads(first)["kind"] == "image"
        assert process.poll() is None
        process.kill()
        await process.wait()


@pytest.mark.parametrize("at_once", ["1", "3", "8"])
async def test_a_budget_stops_before_the_request_that_does_not_fit(shell, at_once):
    async with simulated(shell, latency=(0.01, 0.1), usd_per_image="0.04") as simulator:
        status, lines, _ = await shell.run_json(
            *(
                "generate",
                "a cat",
                "-n",
                "5",
                "--model",
                "four-cents",
                "--budget",
                "0.10",
                "--max-at-once",
                at_once,
            )
        )
        assert status == 3
        assert [line["kind"] for line in lines].count("image") == 2
        assert [line.get("code") for line in lines].count("BUDGET") == 3
        assert str(simulator.billed_usd) == lines[-1]["cost_usd"] == "0.08"
        assert len(simulator.received) == 2


@pytest.mark.parametrize("again", [1, 2])
async def test_an_interruption_keeps_what_is_paid_and_balances_the_ledger(shell, again):
    slow = 60.0 if again == 2 else 1.0
    async with simulated(shell, latency=[0.0, slow, slow], usd_per_image="0.04") as simulator:
        process = await trio.lowlevel.open_process(
            [
                sys.executable,
                "-m",
                "imagen",
                "generate",
                "a cat",
                "-n",
                "9",
                "--max-at-once",
                "2",
                "--json",
            ],
            env=shell.environ | {"IMAGEN_DEFAULT_MODEL": "four-cents"},
            cwd=shell.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with trio.fail_after(20):
            await simulator.wait_received(3)
            for _ in range(again):
                process.send_signal(signal.SIGINT)
                await trio.sleep(0.2)
            started = trio.current_time()
            status = await process.wait()
            took = trio.current_time() - started
            output = b"".join([chunk async for chunk in process.stdout])
            errors = b"".join([chunk async for chunk in process.stderr]).decode()
        assert status == 130, errors
        assert took < 2 + (slow if again == 1 else 0)
        assert "Ctrl-C again" in errors
        lines = [json.loads(line) for line in output.splitlines()]
        assert lines[-1]["kind"] == "summary"
        kept = [line for line in lines if line["kind"] == "image"]
        _, (spend,), _ = await shell.run_json("spend")
        attempts = spend["attempts"]
        assert attempts["in_flight"] == 0
        assert attempts["succeeded"] == len(kept)
        assert attempts["succeeded"] + attempts["unknown"] == len(simulator.bills)
        if again == 1:
            assert len(kept) == len(simulator.bills)
            assert spend["settled_usd"] == str(simulator.billed_usd)
        assert not list(shell.home.rglob("*.part"))


async def test_history_spend_and_show_agree_with_what_was_made(shell):
    async with simulated(shell, usd_per_image="0.04", faults=[None, Refused(), None]) as simulator:
        _, made, _ = await shell.run_json(
            "generate", "a cat", "-n", "3", "--model", "four-cents", "--max-at-once", "1"
        )
        _, history, _ = await shell.run_json("history")
        _, (spend,), _ = await shell.run_json("spend", "--since", "1h")
    images = [line for line in made if line["kind"] == "image"]
    assert {line["id"] for line in history} == {line["id"] for line in images}
    assert all(set(line) == KEPT_KEYS for line in history)
    assert spend == {
        "settled_usd": str(simulator.billed_usd),
        "reserved_usd": "0",
        "unknown_usd": "0",
        "attempts": {"succeeded": 2, "failed": 0, "refused": 1, "unknown": 0, "in_flight": 0},
    }
    shown = await shell.run("show", str(images[0]["id"])[:10])
    assert shown.returncode == 0
    assert b"a cat" in shown.stdout
    assert (await shell.run("show", "beef")).returncode == 2


async def test_copies_get_readable_names_and_overwrite_nothing(shell):
    for _ in range(2):
        done = await shell.run("generate", "A Cat, asleep!", "--size", "64x64", "--out", "copies")
        assert done.returncode == 0
    assert sorted(path.name for path in (shell.home / "copies").iterdir()) == [
        "a-cat-asleep-1-2.png",
        "a-cat-asleep-1.png",
    ]


async def test_without_a_key_the_sketch_engine_draws_and_says_that_it_is_no_ai(shell):
    done = await shell.run("generate", "-", "--size", "64x64", stdin=b"a boat\n")
    assert done.returncode == 0
    assert b"no AI" in done.stderr
    assert b"1 of 1 made, $0.00" in done.stdout


async def test_the_first_live_model_with_a_key_is_the_default(shell):
    shell.environ["NEXOS_API_KEY"] = "k"
    _, models, _ = await shell.run_json("models")
    assert [model["id"] for model in models if model["default"]] == ["flux-1.1-pro"]
    shell.environ["OPENAI_API_KEY"] = "k"
    _, models, _ = await shell.run_json("models")
    assert [model["id"] for model in models if model["default"]] == ["gpt-image-2"]
    shell.environ["IMAGEN_DEFAULT_MODEL"] = "imagen-4"
    _, models, _ = await shell.run_json("models")
    assert [model["id"] for model in models if model["default"]] == ["imagen-4"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", ""], "The prompt is empty"),
        (["generate", "x" * 32001, "--model", "gpt-image-2"], "at most 32,000"),
        (["generate", "x", "--model", "gpt-imag-2"], "did you mean"),
        (["generate", "x", "--model", "openai/dall-e-3"], "Use gpt-image-2 instead"),
        (["generate", "x", "--size", "0x456", "--model", "gpt-image-2"], "WIDTHxHEIGHT"),
        (["generate", "x", "--size", "large"], "WIDTHxHEIGHT"),
        (
            ["generate", "x", "--quality", "hq", "--model", "gpt-image-2"],
            "choose one of auto, low, medium, high",
        ),
        (["generate", "x", "-n", "0"], "whole number from 1"),
        (["generate", "x", "-n", "1001"], "whole number from 1"),
        (["generate", "x", "--budget", "much"], "not an amount of US dollars"),
        (["generate", "x", "--deadline", "-1"], "not a number of seconds"),
        (["spend", "--since", "yesterday"], "neither a date"),
        (["paint"], "invalid choice"),
        ([], "required"),
    ],
)
async def test_bad_input_gets_one_sentence_and_nothing_is_sent(shell, arguments, sentence):
    async with simulated(shell) as simulator:
        done = await shell.run(*arguments)
        assert done.returncode == 2
        assert sentence in done.stderr.decode()
        assert not done.stdout
        assert not simulator.received


async def test_a_missing_key_is_named(shell):
    done = await shell.run("generate", "x", "--model", "gpt-image-2")
    assert done.returncode == 2
    assert "set OPENAI_API_KEY" in done.stderr.decode()


async def test_a_wrong_key_is_a_matter_of_configuration_and_is_not_repeated(shell):
    async with simulated(shell):
        shell.environ["OPENAI_API_KEY"] = "sk-wrong-key"
        status, lines, errors = await shell.run_json("generate", "x", "-n", "2")
    assert status == 2
    assert all(
        set(line) == FAILURE_KEYS and line["code"] == "AUTHENTICATION" for line in lines[:-1]
    )
    assert "sk-wrong-key" not in json.dumps(lines) + errors


async def test_an_unreachable_host_is_said_to_be_one(shell):
    shell.environ |= {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    (shell.home / "imagen.toml").write_text("[retry]\nattempts = 1\n")
    status, lines, _ = await shell.run_json("generate", "x")
    assert status == 1
    assert lines[0]["billed"] == "no"
    assert "Nothing was sent" in str(lines[0]["message"])


@pytest.mark.parametrize(
    ("fault", "code", "billed"),
    [
        (Garbage(), "API_ERROR", "unknown"),
        (Truncated(), "OUTCOME_UNKNOWN", "unknown"),
        (Reset(after_billing=True), "OUTCOME_UNKNOWN", "unknown"),
        (Refused(), "CONTENT_FILTER", "no"),
    ],
)
async def test_a_failure_loses_no_other_image(shell, fault, code, billed):
    async with simulated(shell, faults=[fault], usd_per_image="0.04") as simulator:
        status, lines, _ = await shell.run_json(
            *("generate", "x", "-n", "3", "--max-at-once", "1", "--model", "four-cents")
        )
        assert status == 1
        (failure,) = [line for line in lines if line["kind"] == "failure"]
        assert (failure["code"], failure["billed"]) == (code, billed)
        assert [line["kind"] for line in lines].count("image") == 2
        _, (spend,), _ = await shell.run_json("spend")
        assert spend["settled_usd"] == "0.08"
        assert spend["unknown_usd"] == ("0.04" if billed == "unknown" else "0")
        assert len(simulator.received) == 3


async def test_an_account_that_is_locked_out_is_asked_once(shell):
    async with simulated(shell, faults=[NotAllowed()]) as simulator:
        status, lines, _ = await shell.run_json(
            *("generate", "x", "-n", "3", "--max-at-once", "1", "--model", "four-cents")
        )
        assert len(simulator.received) == 1
    assert status == 2
    assert [line["code"] for line in lines[:-1]] == ["AUTHENTICATION"] * 3


async def test_a_home_that_cannot_be_written_is_said_before_anything_is_sent(shell, tmp_path):
    async with simulated(shell) as simulator:
        blocked = tmp_path / "file"
        blocked.write_text("")
        shell.environ["IMAGEN_HOME"] = str(blocked / "home")
        done = await shell.run("generate", "x")
        assert done.returncode == 2
        assert "IMAGEN_HOME" in done.stderr.decode()
        done = await shell.run("generate", "x", "--out", str(blocked / "out"))
        assert done.returncode == 2
        assert not simulator.received


async def test_doctor_tells_what_answers(shell):
    async with simulated(shell):
        done = await shell.run("doctor")
        assert done.returncode == 0
        assert done.stdout.decode().count("the key is accepted") == 2
        shell.environ["NEXOS_API_KEY"] = "wrong"
        status, (report,), _ = await shell.run_json("doctor")
    assert status == 1
    states = {
        provider["name"]: provider["usable"]
        for provider in report["providers"]
        if provider["configured"]
    }
    assert states == {"openai": True, "nexos": False, "sketch": True}


async def test_a_deadline_ends_the_waiting(shell):
    async with simulated(shell, latency=[0.0, 1.5], usd_per_image="0.04") as simulator:
        status, lines, _ = await shell.run_json(
            *(
                "generate",
                "x",
                "-n",
                "3",
                "--max-at-once",
                "1",
                "--deadline",
                "0.7",
                "--model",
                "four-cents",
            )
        )
        assert status == 1
        # The second was sent before the deadline: it is paid, so it is waited
        # for and kept.
        assert [line["kind"] for line in lines] == ["image", "image", "summary"]
        assert lines[-1]["failed"] == 1
        assert len(simulator.bills) == 2


async def test_a_folder_that_is_named_like_an_image_is_refused(shell):
    done = await shell.run("generate", "a cat", "--model", "sketch", "--out", "cat.png")
    assert done.returncode == 2
    assert b"--out names the folder" in done.stderr
    assert not (shell.home.parent / "cat.png").exists()


async def started(shell: Shell, *arguments: str, **options: object) -> trio.Process:
    return await trio.lowlevel.open_process(
        [sys.executable, "-m", "imagen", *arguments],
        env=shell.environ,
        cwd=shell.home,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


@pytest.fixture
def hangup_by_default():
    """Not ignored, as it is where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_by_default")
async def test_a_hangup_keeps_what_is_paid(shell):
    async with simulated(shell, latency=3.0, usd_per_image="0.04") as simulator:
        process = await started(shell, "generate", "a cat", "--model", "four-cents")
        with trio.fail_after(20):
            await simulator.wait_received(1)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 130
        _, history, _ = await shell.run_json("history")
        assert [line["kind"] for line in history] == ["image"]


async def test_a_hangup_that_nohup_ignores_changes_nothing(shell):
    code = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        " os.execv(sys.executable, [sys.executable, '-m', 'imagen', 'generate', 'a cat',"
        " '--model', 'four-cents'])"
    )
    async with simulated(shell, latency=3.0, usd_per_image="0.04") as simulator:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", code], env=shell.environ, cwd=shell.home
        )
        with trio.fail_after(20):
            await simulator.wait_received(1)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() == 0


@pytest.mark.usefixtures("hangup_by_default")
async def test_a_terminal_that_is_gone_is_not_written_to(shell):
    master, terminal = pty.openpty()
    async with simulated(shell, latency=3.0, usd_per_image="0.04") as simulator:
        process = await started(
            shell, "generate", "a cat", "--model", "four-cents", stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        with trio.fail_after(20):
            await simulator.wait_received(1)
            os.close(master)
            process.send_signal(signal.SIGHUP)
            assert await process.wait() in (1, 130)
        _, history, _ = await shell.run_json("history")
        assert [line["kind"] for line in history] == ["image"]


@pytest.mark.parametrize("form", ["--json", None])
async def test_a_reader_that_leaves_ends_the_command_without_a_traceback(shell, form):
    arguments = ("a cat", "--model", "sketch", "--size", "64x64", "-n", "6", "--max-at-once", "1")
    process = await started(shell, "generate", *arguments, *([form] if form else []))
    with trio.fail_after(20):
        assert await process.stdout.receive_some(1)
        await process.stdout.aclose()
        errors = b"".join([chunk async for chunk in process.stderr]).decode()
        assert await process.wait() == 1
    assert "Traceback" not in errors
    assert "Exception" not in errors


@pytest.mark.parametrize("seconds", [0.08, 0.15, 0.3])
async def test_an_interrupt_at_the_start_is_no_traceback(shell, seconds):
    process = await started(shell, "models")
    with trio.fail_after(20):
        await trio.sleep(seconds)
        process.send_signal(signal.SIGINT)
        errors = b"".join([chunk async for chunk in process.stderr]).decode()
        status = await process.wait()
    # Before the package is imported Python itself answers.
    assert "imagen/" not in errors
    assert status in (0, 130, -signal.SIGINT)


async def test_a_reader_that_leaves_loses_nothing_that_is_paid(shell):
    async with simulated(shell, latency=[0.0, 1.0, 1.0], usd_per_image="0.04") as simulator:
        arguments = ("a cat", "--model", "four-cents", "-n", "3", "--json")
        process = await started(shell, "generate", *arguments)
        with trio.fail_after(20):
            await simulator.wait_received(3)
            assert await process.stdout.receive_some(1)
            await process.stdout.aclose()
            assert await process.wait() == 1
        _, history, _ = await shell.run_json("history")
        assert len(history) == len(simulator.bills) == 3
