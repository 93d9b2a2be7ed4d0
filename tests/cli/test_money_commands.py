"""What the command says of money before, while and after it is spent; a process
of its own, against the simulator.
"""

from __future__ import annotations

import csv
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path

import pytest
import trio

from imagen.testing.simulator import QuotaExhausted, Refused, Reset, Simulator
from tests.support.shell import FOUR_CENTS, Shell, simulated
from tests.support.terminal import at_terminal

MAKE = ("generate", "a cat", "--model", "four-cents")
SPENDING_KEYS = {
    "kind",
    "images",
    "unpriced",
    "settled_usd",
    "reserved_usd",
    "unknown_usd",
    "attempts",
    "by_source",
}
ATTEMPT_KEYS = {
    *("kind", "id", "created_at", "provider", "model", "operation", "images", "tag", "batch_id"),
    *("reserved_usd", "cost_usd", "remote_id", "message"),
}
TWO_CENTS = FOUR_CENTS.replace("four-cents", "two-cents").replace("0.04", "0.02")


def set_up(shell: Shell, toml: str) -> None:
    """Settings, before the tables of models."""
    (shell.home / "imagen.toml").write_text(f"{toml}\n{FOUR_CENTS}\n{TWO_CENTS}")


# --- before -------------------------------------------------------------------


async def test_a_dry_run_needs_no_key_sends_nothing_and_leaves_the_home_alone(shell):
    set_up(shell, "")
    before = sorted(shell.home.rglob("*"))
    status, (quote,), _ = await shell.run_json(*MAKE, "-n", "50", "--dry-run")
    assert status == 0
    assert quote == {
        "kind": "quote",
        "model": "four-cents",
        "n": 50,
        "low_usd": "2",
        "expected_usd": "2",
        "high_usd": "2",
    }
    assert sorted(shell.home.rglob("*")) == before


async def test_a_dry_run_says_the_cost_of_each_model_that_may_be_asked(shell):
    async with simulated(shell) as simulator:
        set_up(shell, 'confirm_above_usd = "0.10"')
        done = await shell.run(
            *MAKE, "-n", "5", "--fallback", "two-cents", "--fallback", "flux-1.1-pro", "--dry-run"
        )
        default = await shell.run("generate", "a cat", "--dry-run")
        nothing = await shell.run("generate", "a cat", "--model", "sketch", "--dry-run")
        assert not simulator.received
    assert done.returncode == default.returncode == nothing.returncode == 0
    words = [line.split() for line in done.stdout.decode().splitlines()]
    assert words[1:4] == [
        ["four-cents", "5", "$0.20", "$0.20", "$0.20"],
        ["two-cents", "5", "$0.10", "$0.10", "$0.10"],
        ["flux-1.1-pro", "5", "unknown", "unknown", "unknown"],
    ]
    assert b"--assume" in done.stdout
    assert b"--yes agrees" in done.stdout
    assert b"gpt-image-2" in default.stdout
    assert b"--yes" not in nothing.stdout


async def test_a_dry_run_of_an_edit_reads_no_image_and_refuses_what_the_model_cannot_do(shell):
    done = await shell.run("edit", "a dog", "nowhere.png", "--model", "gpt-image-2", "--dry-run")
    assert done.returncode == 0
    assert b"gpt-image-2" in done.stdout
    wrong = await shell.run(
        "generate", "x", "--model", "gpt-image-2", "--quality", "hq", "--dry-run"
    )
    assert wrong.returncode == 2
    assert b"choose one of" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([*MAKE, "--fallback", "two-cent"], "did you mean"),
        (["generate", "x", "--model", "four-cent", "--fallback", "two-cents"], "did you mean"),
        ([*MAKE, "--routing", "cheapest"], "--fallback"),
        ([*MAKE, "--hedge-after", "3"], "--fallback"),
        ([*MAKE, "--hedge-after", "soon"], "not a number of seconds above 0, and not p95"),
        (["spend", "--by", "colour"], "invalid choice"),
        (["spend", "--csv", "--json"], "not allowed with"),
        (["spend", "--by", "model", "--unknown"], "not allowed with"),
        (["reconcile", "1a2b"], "imagen reconcile 1a2b USD"),
        (["reconcile", "1a2b", "0.04"], "imagen spend --unknown"),
        (["reconcile", "", "0.04"], "imagen spend --unknown"),
        (["reconcile", "1a2b", "-1"], "not an amount of US dollars"),
        (["reconcile", "1a2b", "1e30"], "not an amount of US dollars"),
        (["reconcile", "1a2b", "nan"], "not an amount of US dollars"),
    ],
)
async def test_bad_input_gets_one_sentence_and_nothing_is_sent(shell, arguments, sentence):
    async with simulated(shell) as simulator:
        set_up(shell, "")
        done = await shell.run(*arguments)
        assert done.returncode == 2
        assert sentence in done.stderr.decode()
        assert not done.stdout
        assert not simulator.received


async def test_above_the_limit_the_user_must_agree(shell):
    async with simulated(shell, usd_per_image="0.04") as simulator:
        set_up(shell, 'confirm_above_usd = "0.10"')
        refused, lines, errors = await shell.run_json(*MAKE, "-n", "3")
        assert not simulator.received
        below = await shell.run(*MAKE, "-n", "2")
        agreed = await shell.run(*MAKE, "-n", "3", "--yes")
        assert len(simulator.received) == 5
    assert (refused, below.returncode, agreed.returncode) == (3, 0, 0)
    assert [line["kind"] for line in lines] == ["summary"]
    assert lines[0]["succeeded"] == 0
    assert re.fullmatch(
        r"imagen: 3 images may cost up to \$0\.12, and above \$0\.10 .* Add --yes to agree to"
        r" it\.\n",
        errors,
    )


# --- at a terminal ------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "status", "requests"),
    [(b"y\n", 0, 3), (b"Yes\n", 0, 3), (b"n\n", 3, 0), (b"\n", 3, 0), (b"\x04", 3, 0)],
    ids=["y", "yes", "n", "enter", "end"],
)
async def test_a_person_is_asked_once_and_anything_but_yes_is_no(shell, keys, status, requests):
    async with simulated(shell, usd_per_image="0.04") as simulator:
        set_up(shell, 'confirm_above_usd = "0.10"')
        async with at_terminal(shell, *MAKE, "-n", "3") as terminal:
            await terminal.wait_shown("imagen: 3 images may cost up to $0.12. Make them? [y/N] ")
            assert not simulator.received
            await terminal.type(keys)
            assert await terminal.finish() == status
        assert len(simulator.received) == requests
    assert terminal.shown.count("[y/N]") == 1
    assert "Traceback" not in terminal.shown
    assert "--yes" not in terminal.shown
    assert terminal.result.decode().endswith("s\n")


async def test_an_interruption_is_an_answer_too(shell):
    async with simulated(shell) as simulator:
        set_up(shell, 'confirm_above_usd = "0.10"')
        async with at_terminal(shell, *MAKE, "-n", "3") as terminal:
            await terminal.wait_shown("[y/N] ")
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.finish() == 130
        assert not simulator.received
    assert b"interrupted: 0 of 3 made" in terminal.result
    assert "Traceback" not in terminal.shown
    assert "Fatal" not in terminal.shown


async def test_the_changing_line_says_what_is_waited_for(shell):
    async with simulated(shell, usd_per_image="0.04"):
        limited = (
            FOUR_CENTS.replace("four-cents", "slow")
            + "rate_limit = { images = 1, period_seconds = 60 }\n"
        )
        (shell.home / "imagen.toml").write_text(limited)
        async with at_terminal(shell, "generate", "x", "--model", "slow", "-n", "2") as terminal:
            await terminal.wait_shown("waits 60 seconds for a slot: slow")
            terminal.process.send_signal(signal.SIGINT)
            assert await terminal.finish() == 130
    assert b"1 of 2 made" in terminal.result


# --- while --------------------------------------------------------------------


async def test_a_budget_that_runs_low_is_told_and_one_that_is_spent_ends_with_status_3(shell):
    async with simulated(shell, usd_per_image="0.04") as simulator:
        set_up(shell, '[[budgets]]\nper = "day"\nusd = "0.09"\ntag = "cats"')
        arguments = (*MAKE, "-n", "3", "--tag", "cats", "--max-at-once", "1")
        told = await shell.run(*arguments)
        # Another tag has another purse.
        other, _, _ = await shell.run_json(*MAKE, "--tag", "dogs")
        status, lines, _ = await shell.run_json(*arguments)
        assert len(simulator.bills) == 3
    assert told.returncode == status == 3
    assert other == 0
    assert (
        "imagen: 80% of the budget of $0.09 per day for tag cats is spent or reserved."
        in told.stderr.decode()
    )
    assert b"2 of 3 made" in told.stdout
    assert {line["code"] for line in lines if line["kind"] == "failure"} == {"BUDGET"}


async def test_an_alarm_is_an_event_for_programs(shell):
    async with simulated(shell, usd_per_image="0.04"):
        set_up(shell, "")
        _, lines, errors = await shell.run_json(*MAKE, "-n", "1", "--budget", "0.045")
    alarms = [line for line in lines if line["kind"] == "budget_alarm"]
    assert alarms == [
        {"kind": "budget_alarm", "budget": "$0.045", "share": share, "taken": "0.04"}
        for share in (0.5, 0.8)
    ]
    assert errors == ""


async def test_another_model_is_asked_where_the_first_has_no_money_left(shell):
    async with simulated(shell, usd_per_image="0.02", faults=[QuotaExhausted()]):
        set_up(shell, "")
        status, lines, _ = await shell.run_json(
            *MAKE, "-n", "2", "--max-at-once", "1", "--fallback", "flux-1.1-pro"
        )
    assert status == 0
    assert [line["model"] for line in lines if line["kind"] == "image"] == ["flux-1.1-pro"] * 2


async def test_another_model_is_asked_where_the_first_is_not_set_up(shell):
    status, lines, _ = await shell.run_json(
        "generate", "x", "--model", "gpt-image-2", "--fallback", "sketch"
    )
    assert (status, lines[0]["model"]) == (0, "sketch")
    alone = await shell.run("generate", "x", "--model", "gpt-image-2")
    assert alone.returncode == 2
    assert b"set OPENAI_API_KEY" in alone.stderr


async def test_the_cheapest_model_goes_first_when_asked_to(shell):
    async with simulated(shell, usd_per_image="0.02"):
        set_up(shell, "")
        _, lines, _ = await shell.run_json(
            *MAKE, "--fallback", "two-cents", "--routing", "cheapest"
        )
    assert lines[0]["model"] == "two-cents"


async def test_a_second_model_is_asked_after_a_while_and_both_are_paid_and_told(shell):
    async with simulated(shell, latency=[2.0, 0.0], usd_per_image="0.04") as simulator:
        set_up(shell, "")
        done = await shell.run(*MAKE, "--fallback", "two-cents", "--hedge-after", "0.2")
        _, lines, _ = await shell.run_json("spend", "--by", "model")
        assert len(simulator.bills) == 2
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 2
    assert b"1 of 1 made, $0.06" in done.stdout
    assert b"1 request(s) that may be paid; Ctrl-C gives them up" in done.stderr
    assert {line["name"]: line["settled_usd"] for line in lines[:2]} == {
        "four-cents": "0.04",
        "two-cents": "0.02",
    }


async def test_who_does_not_wait_is_told_when_a_slot_is_due(shell):
    async with simulated(shell, usd_per_image="0.04") as simulator:
        limited = (
            FOUR_CENTS.replace("four-cents", "slow")
            + "rate_limit = { images = 1, period_seconds = 60 }\n"
        )
        (shell.home / "imagen.toml").write_text(limited)
        status, lines, _ = await shell.run_json(
            "generate", "x", "--model", "slow", "-n", "2", "--no-wait"
        )
        assert len(simulator.received) == 1
    assert status == 1
    (failure,) = [line for line in lines if line["kind"] == "failure"]
    assert failure["code"] == "RATE_LIMIT"
    assert "a slot is due in" in str(failure["message"])


# --- after --------------------------------------------------------------------


@asynccontextmanager
async def spent(shell: Shell) -> AsyncIterator[Simulator]:
    """Two images for the cats, one of them refused; one without a tag, whose
    answer was lost.
    """
    async with simulated(
        shell, usd_per_image="0.04", faults=[None, Refused(), None, Reset(after_billing=True)]
    ) as simulator:
        set_up(shell, "")
        await shell.run(*MAKE, "-n", "3", "--tag", "cats", "--max-at-once", "1")
        await shell.run(*MAKE)
        yield simulator


@pytest.mark.parametrize("key", ["model", "provider", "day", "tag", "batch"])
async def test_spending_is_split_by_whatever_one_asks_for(shell, key):
    async with spent(shell) as simulator:
        status, (*groups, total), _ = await shell.run_json("spend", "--by", key, "--since", "1h")
        done = await shell.run("spend", "--by", key)
        table = await shell.run("spend", "--by", key, "--csv")
        assert simulator.billed_usd == Decimal("0.12")
    assert status == done.returncode == table.returncode == 0
    assert total["kind"] == "total"
    assert set(total) == SPENDING_KEYS
    assert all(set(group) == SPENDING_KEYS | {"by", "name"} for group in groups)
    assert (total["images"], total["settled_usd"], total["unknown_usd"]) == (2, "0.08", "0.04")
    assert total["by_source"] == {"estimated": "0.08"}
    for name in ("settled_usd", "unknown_usd"):
        assert sum(Decimal(str(group[name])) for group in groups) == Decimal(str(total[name]))
    rows = list(csv.DictReader(table.stdout.decode().splitlines()))
    assert [row["name"] for row in rows] == [group["name"] for group in groups]
    assert [row["settled_usd"] for row in rows] == [group["settled_usd"] for group in groups]
    assert [int(row["refused"]) for row in rows] == [
        group["attempts"]["refused"] for group in groups
    ]
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith(key.upper())
    assert len(lines) == len(groups) + 2
    assert lines[-1].split()[:5] == ["total", "2", "$0.08", "$0.00", "$0.04"]
    assert lines[-1].endswith("1 refused, 1 unknown")


async def test_each_row_has_a_bar_as_long_as_its_share(shell):
    async with spent(shell):
        shell.environ["COLUMNS"] = "200"
        wide = (await shell.run("spend", "--by", "tag")).stdout.decode().splitlines()
        shell.environ["COLUMNS"] = "40"
        narrow = (await shell.run("spend", "--by", "tag")).stdout.decode()
        del shell.environ["COLUMNS"]
        unset = (await shell.run("spend", "--by", "tag")).stdout.decode().splitlines()
        shell.environ |= {"PYTHONIOENCODING": "ascii", "COLUMNS": "200"}
        plain = (await shell.run("spend", "--by", "tag")).stdout.decode("ascii").splitlines()
    assert [line.split()[0] for line in wide] == ["TAG", "cats", "(no", "total"]
    assert [line.count("█") for line in wide] == [0, 40, 20, 0]
    assert [line.count("#") for line in plain] == [0, 40, 20, 0]
    assert "█" not in narrow
    assert max(map(len, unset)) == 80


async def test_nothing_spent_is_a_table_without_bars(shell):
    done = await shell.run("spend", "--by", "day")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.decode().splitlines()] == ["DAY", "total"]


async def test_the_sum_says_where_its_figures_come_from(shell):
    async with simulated(shell):
        await shell.run("generate", "a cat", "--quality", "low")
        (row,) = csv.DictReader((await shell.run("spend", "--csv")).stdout.decode().splitlines())
        text = (await shell.run("spend")).stdout.decode()
    assert row["name"] == "total"
    assert f"spent      ${row['settled_usd']}\n" in text
    assert (
        f"${row['settled_usd']} of it computed from the usage that the provider reported\n" in text
    )
    assert "estimated" not in text


async def test_unknown_attempts_are_listed_and_reconciled_by_hand(shell):
    async with spent(shell) as simulator:
        _, (attempt,), _ = await shell.run_json("spend", "--unknown")
        text = (await shell.run("spend", "--unknown")).stdout.decode()
        (row,) = csv.DictReader(
            (await shell.run("spend", "--unknown", "--csv")).stdout.decode().splitlines()
        )
        assert set(attempt) == ATTEMPT_KEYS
        assert (attempt["model"], attempt["images"], attempt["reserved_usd"]) == (
            "four-cents",
            1,
            "0.04",
        )
        assert row["id"] == attempt["id"]
        for words in (str(attempt["id"]), "four-cents", "up to $0.04", "imagen reconcile ID USD"):
            assert words in text
        assert (await shell.run("spend", "--unknown", "--since", "2099-01-01")).stdout.startswith(
            b"No request"
        )

        status, (booked,), _ = await shell.run_json("reconcile", str(attempt["id"])[:6], "0.03")
        assert status == 0
        assert booked == {"kind": "reconciled", "id": attempt["id"], "cost_usd": "0.03"}
        assert (await shell.run("reconcile", str(attempt["id"]), "0.03")).returncode == 2
        _, (spend,), _ = await shell.run_json("spend")
        assert (spend["settled_usd"], spend["unknown_usd"]) == ("0.11", "0")
        assert (
            await shell.run("spend", "--unknown")
        ).stdout == b"No request is of unknown outcome.\n"
        assert len(simulator.received) == 4


async def test_a_beginning_that_several_ids_have_books_none(shell):
    async with spent(shell):
        _, (attempt,), _ = await shell.run_json("spend", "--unknown")
        with closing(sqlite3.connect(shell.home / "imagen.sqlite3")) as database, database:
            database.execute(
                "CREATE TEMP TABLE twin AS SELECT * FROM attempts WHERE id = ?", (attempt["id"],)
            )
            database.execute("UPDATE twin SET id = id || '0'")
            database.execute("INSERT INTO attempts SELECT * FROM twin")
        done = await shell.run("reconcile", str(attempt["id"])[:4], "0")
        _, left, _ = await shell.run_json("spend", "--unknown")
    assert done.returncode == 2
    assert "give more of it" in done.stderr.decode()
    assert len(left) == 2


async def test_a_job_of_a_process_that_was_killed_is_fetched(shell):
    async with simulated(shell, latency=1.0) as simulator:
        shell.environ |= {"BFL_BASE_URL": simulator.base_url("bfl"), "BFL_API_KEY": simulator.key}
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "imagen", "generate", "a cat", "--model", "flux-2-pro"],
            env=shell.environ,
            cwd=shell.home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with trio.fail_after(20):
            await simulator.wait_received(2)
        process.kill()
        await process.wait()
        status, (image, summary), errors = await shell.run_json("reconcile")
        again = await shell.run("reconcile")
    assert status == again.returncode == 0
    assert (image["kind"], image["model"]) == ("image", "flux-2-pro")
    assert Path(str(image["path"])).stat().st_size == image["size_bytes"]
    assert summary == {"kind": "summary", "fetched": 1, "unknown": 0}
    assert "This can take minutes" in errors
    assert again.stdout == b"0 images fetched, 0 requests stay unknown\n"


async def test_what_cannot_be_fetched_is_listed_with_status_1(shell):
    async with spent(shell):
        done = await shell.run("reconcile")
        status, (attempt, summary), _ = await shell.run_json("reconcile")
    assert done.returncode == status == 1
    assert attempt["kind"] == "unknown_attempt"
    assert summary == {"kind": "summary", "fetched": 0, "unknown": 1}
    assert done.stdout.decode().splitlines()[0] == "0 images fetched, 1 requests stay unknown"
    assert str(attempt["id"]) in done.stdout.decode()
    assert json.dumps(attempt["message"])[1:-1] in done.stdout.decode()
