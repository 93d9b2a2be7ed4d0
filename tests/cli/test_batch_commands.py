"""Batches for less, batches that are gone on with, and webhooks, by the
command; a process of its own each.
"""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal

import pytest
import trio

from imagen.testing.simulator import Refused, Simulator, Stall
from tests.support.drivers import Server, http_reply, open_server
from tests.support.shell import FAILURE_KEYS, IMAGE_KEYS, SUMMARY_KEYS, Shell, simulated
from tests.support.simulated_client import open_simulated
from tests.support.terminal import at_terminal

ECONOMY = (
    "generate",
    "a cat",
    "--model",
    "gpt-image-2",
    "--quality",
    "low",
    "-n",
    "3",
    "--economy",
)
NEVER = 3600.0
SOON = 0.05
WEBHOOK_KEYS = {
    "kind",
    "id",
    "state",
    "attempts",
    "next_try_at",
    "last_error",
    "created_at",
    "ended_at",
}


def ask_every(shell: Shell, seconds: float) -> None:
    """How often the provider is asked for a batch."""
    (shell.home / "imagen.toml").write_text(
        f"[providers.openai.settings]\neconomy_poll_seconds = {seconds}\n"
    )


async def read_all(stream: trio.abc.ReceiveStream) -> str:
    return b"".join([chunk async for chunk in stream]).decode()


async def wait_accepted(shell: Shell) -> None:
    """Waits until the ledger has it that the provider took the batch."""
    with closing(sqlite3.connect(shell.home / "imagen.sqlite3")) as database:
        while not database.execute("SELECT 1 FROM attempts WHERE state = 'accepted'").fetchall():
            await trio.sleep(0.02)


@asynccontextmanager
async def running(shell: Shell, *arguments: str) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "imagen", *arguments, "--json"],
        env=shell.environ,
        cwd=shell.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        with trio.fail_after(20):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def end_of(process: trio.Process) -> tuple[int, list[dict[str, object]], str]:
    """Status, objects, and what it said."""
    status = await process.wait()
    lines = (await read_all(process.stdout)).splitlines()
    return status, [json.loads(line) for line in lines], await read_all(process.stderr)


async def leave_batch(
    shell: Shell, simulator: Simulator
) -> tuple[int, list[dict[str, object]], str]:
    """A batch that is interrupted as soon as the provider has it."""
    ask_every(shell, NEVER)
    async with running(shell, *ECONOMY) as process:
        await simulator.wait_received(2)
        await wait_accepted(shell)
        # The row is there a moment before the command knows that it is.
        await trio.sleep(0.2)
        process.send_signal(signal.SIGINT)
        return await end_of(process)


# --- for less -----------------------------------------------------------------


async def test_a_batch_for_less_names_itself_first_and_costs_half(shell):
    async with simulated(shell, latency=0.1) as simulator:
        ask_every(shell, SOON)
        status, (batch, *images, summary), errors = await shell.run_json(*ECONOMY)
        assert sum(received.kind == "create" for received in simulator.received) == 1
        assert Decimal(str(summary["cost_usd"])) == simulator.billed_usd
        whole, _, _ = await shell.run_json(*ECONOMY[:-1])
        assert simulator.billed_usd == 3 * Decimal(str(summary["cost_usd"]))
    assert status == whole == 0
    assert batch == {"kind": "batch", "id": batch["id"]}
    assert sorted(image["index"] for image in images) == [0, 1, 2]
    assert set(summary) == SUMMARY_KEYS | {"left"}
    assert (summary["succeeded"], summary["failed"], summary["left"]) == (3, 0, 0)
    assert (
        errors == f"imagen: Batch {batch['id']} may take hours; Ctrl-C leaves it with the provider,"
        f" `imagen batch {batch['id']}` goes on.\n"
    )


async def test_a_dry_run_quotes_the_lower_price(shell):
    _, (whole,), _ = await shell.run_json(*ECONOMY[:-1], "--dry-run")
    status, (less,), _ = await shell.run_json(*ECONOMY, "--dry-run")
    assert status == 0
    for name in ("low_usd", "expected_usd", "high_usd"):
        assert 2 * Decimal(str(less[name])) == Decimal(str(whole[name]))


async def test_a_quote_for_less_is_half_for_one_request_and_for_many(tmp_path):
    async with (
        simulated(Shell(tmp_path)) as simulator,
        open_simulated(tmp_path, simulator) as client,
    ):
        whole = client.quote("a cat", n=3, model="gpt-image-2", quality="low")
        less = client.quote("a cat", n=3, economy=True, model="gpt-image-2", quality="low")
        assert less.high_usd is not None
        assert 2 * less.high_usd == whole.high_usd
        many = client.quote(["a cat", "a dog"], economy=True)
        assert many.high_usd is not None
        assert 2 * many.high_usd == client.quote(["a cat", "a dog"]).high_usd


async def test_an_interruption_leaves_at_once_and_a_later_command_goes_on(shell):
    async with simulated(shell) as simulator:
        status, (batch, summary), errors = await leave_batch(shell, simulator)
        assert status == 130
        assert (summary["succeeded"], summary["failed"], summary["left"]) == (0, 0, 3)
        assert "waiting" not in errors
        assert errors.endswith(
            f"`imagen batch {batch['id']}` goes on with what the provider has taken.\n"
        )
        _, (spend,), _ = await shell.run_json("spend")
        assert spend["attempts"]["in_flight"] == 3

        ask_every(shell, SOON)
        status, (*images, end), _ = await shell.run_json(
            "batch", str(batch["id"]), "--out", "copies"
        )
        assert status == 0
        assert all(set(image) == IMAGE_KEYS for image in images)
        assert sorted(image["index"] for image in images) == [0, 1, 2]
        assert set(end) == SUMMARY_KEYS
        assert (end["requested"], end["succeeded"], end["failed"]) == (3, 3, 0)
        assert Decimal(str(end["cost_usd"])) == simulator.billed_usd
        assert sum(received.kind == "create" for received in simulator.received) == 1
    names = sorted(path.name for path in (shell.home / "copies").iterdir())
    assert names == ["a-cat-1.png", "a-cat-2.png", "a-cat-3.png"]


async def test_a_deadline_leaves_a_batch_with_the_provider_too(shell):
    async with simulated(shell):
        ask_every(shell, NEVER)
        done = await shell.run(*ECONOMY, "--deadline", "3")
    assert done.returncode == 1
    assert done.stdout.startswith(b"out of time: 0 of 3 made, 3 left with the provider, $0.00, ")
    assert b"goes on with what the provider has taken" in done.stderr


async def test_what_is_given_up_before_the_provider_took_it_is_of_unknown_cost(shell):
    async with (
        simulated(shell, faults=[Stall(sent="nothing")]) as simulator,
        running(shell, *ECONOMY) as process,
    ):
        await simulator.wait_received(2)
        process.send_signal(signal.SIGINT)
        said = ""
        while "Ctrl-C again" not in said:
            said += (await process.stderr.receive_some()).decode()
        process.send_signal(signal.SIGINT)
        status, lines, _ = await end_of(process)
        _, (spend,), _ = await shell.run_json("spend")
    assert status == 130
    assert (lines[-1]["succeeded"], lines[-1]["left"], lines[-1]["cost_usd"]) == (0, 0, None)
    assert (spend["attempts"]["unknown"], spend["attempts"]["in_flight"]) == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        *[
            ([*ECONOMY, *others], "leave out --together")
            for others in (
                ["--together"],
                ["--fallback", "sketch"],
                ["--routing", "cheapest"],
                ["--hedge-after", "3"],
                ["--no-wait"],
                ["--previews", "2"],
                ["--no-wait", "--dry-run"],
            )
        ],
        (["generate", "x", "--model", "sketch", "--economy"], "for less"),
        (["generate", "x", "--model", "sketch", "--economy", "--dry-run"], "for less"),
        (["batch", "beef"], "There is no batch 'beef': `imagen spend --by batch` lists them."),
        (["batch"], "required: ID"),
        (["webhooks"], "set IMAGEN_WEBHOOK_URL"),
        (["webhooks", "--retry", "msg_1"], "set IMAGEN_WEBHOOK_URL"),
        (["webhooks", "--retry", "msg_1", "--dead"], "not allowed with"),
    ],
)
async def test_bad_input_gets_one_sentence_and_nothing_is_sent(shell, arguments, sentence):
    async with simulated(shell) as simulator:
        done = await shell.run(*arguments)
        assert done.returncode == 2
        assert sentence in done.stderr.decode()
        assert not done.stdout
        assert not simulator.received


# --- what was left ------------------------------------------------------------


async def test_any_batch_is_told_again_with_its_failures_and_makes_nothing(shell):
    async with simulated(shell, usd_per_image="0.04", faults=[None, Refused(), None]) as simulator:
        await shell.run(
            "generate", "a cat", "-n", "3", "--model", "four-cents", "--max-at-once", "1"
        )
        _, (group, _), _ = await shell.run_json("spend", "--by", "batch")
        status, lines, _ = await shell.run_json("batch", str(group["name"]))
        told = await shell.run("batch", str(group["name"]))
        assert len(simulator.received) == 3
    assert status == told.returncode == 1
    assert [line["kind"] for line in lines] == ["image", "image", "failure", "summary"]
    assert set(lines[2]) == FAILURE_KEYS
    text = told.stdout.decode().splitlines()
    assert [line.split()[0] for line in text[:3]] == ["1", "2", "3"]
    assert "failed [" in text[2]
    assert text[3].startswith("2 of 3 made, 1 not made, $0.08")


async def test_going_on_can_be_interrupted_and_loses_nothing(shell):
    async with simulated(shell) as simulator:
        _, (batch, _), _ = await leave_batch(shell, simulator)
        async with at_terminal(shell, "batch", str(batch["id"])) as terminal:
            await terminal.wait_shown("Ctrl-C leaves it there")
            await terminal.wait_shown("0 there, 3 under way")
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.finish() == 130
        assert terminal.result.startswith(b"interrupted: 0 made, $0.00, ")
        assert f"`imagen batch {batch['id']}` goes on" in terminal.shown
        ask_every(shell, SOON)
        done = await shell.run("batch", str(batch["id"]))
    assert done.returncode == 0
    assert b"3 of 3 made" in done.stdout


# --- who was told -------------------------------------------------------------


@asynccontextmanager
async def told_by_webhook(shell: Shell, *statuses: str) -> AsyncIterator[Server]:
    """A server that answers with these, one after the other, and then the last one again."""
    answers = itertools.chain(statuses, itertools.repeat(statuses[-1]))

    async def answer(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(http_reply(b"", next(answers)))

    async with open_server(answer) as server:
        shell.environ |= {
            "IMAGEN_WEBHOOK_URL": (f"http://127.0.0.1:{server.port}/imagen?token=must-stay-secret"),
            "IMAGEN_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 5,
        }
        yield server


async def test_a_message_that_is_dead_is_listed_and_sent_again(shell):
    async with told_by_webhook(shell, "410 Gone", "204 No Content") as server:
        assert (
            await shell.run("webhooks")
        ).stdout == b"No message yet: each batch that is over makes one.\n"
        await shell.run("generate", "x", "--size", "64x64")
        status, (message,), errors = await shell.run_json("webhooks", "--dead")
        table = (await shell.run("webhooks")).stdout.decode()
        assert len(server.requests) == 1

        retried, (answer,), _ = await shell.run_json("webhooks", "--retry", str(message["id"]))
        _, (delivered,), _ = await shell.run_json("webhooks")
        none = await shell.run("webhooks", "--dead")
        again = await shell.run("webhooks", "--retry", str(message["id"]))
        assert len(server.requests) == 2
    assert status == retried == none.returncode == 0
    assert set(message) == WEBHOOK_KEYS
    assert (message["state"], message["attempts"], message["next_try_at"]) == ("dead", 1, None)
    assert "410" in str(message["last_error"])
    for words in (str(message["id"]), "dead", "410"):
        assert words in table
    assert answer == {"kind": "retried", "id": message["id"]}
    assert (delivered["id"], delivered["state"], delivered["last_error"]) == (
        message["id"],
        "delivered",
        None,
    )
    assert none.stdout == b"No message is dead.\n"
    assert again.returncode == 2
    assert b"There is no webhook" in again.stderr
    assert "must-stay-secret" not in table + errors + json.dumps(message)


async def test_a_message_that_is_tried_again_says_when(shell):
    async with told_by_webhook(shell, "503 Busy") as server:
        await shell.run("generate", "x", "--size", "64x64")
        _, (message,), _ = await shell.run_json("webhooks")
        tries = len(server.requests)
        _, dead, _ = await shell.run_json("webhooks", "--dead")
    # A command that opens a client tries again what is due by then.
    assert message["state"] == "pending"
    assert 1 <= int(str(message["attempts"])) <= tries
    assert str(message["next_try_at"]) > str(message["created_at"])
    assert "503" in str(message["last_error"])
    assert not dead
