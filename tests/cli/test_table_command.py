"""`imagen generate --from`: requests from tables."""

from __future__ import annotations

import json

import pytest

SKETCH = ("--model", "sketch", "--size", "64x64")


async def test_each_row_is_a_request(shell):
    (shell.home / "prompts.csv").write_text(
        "\ufeffprompt;size;seed;n;tag\na fox, red;;7;2;animals\nan owl;128x64;;;\n", "utf-8"
    )
    status, records, _ = await shell.run_json("generate", "--from", "prompts.csv", *SKETCH)
    assert status == 0
    assert records[-1]["requested"] == records[-1]["succeeded"] == 3
    sizes = sorted((one["width"], one["height"], one["seed"]) for one in records[:-1])
    assert sizes[0][:2] == sizes[1][:2] == (64, 64)
    assert sizes[2][:2] == (128, 64)
    done = await shell.run("history")
    assert done.stdout.count(b"a fox, red") == 2
    assert done.stdout.count(b"an owl") == 1
    assert b"animals" in (await shell.run("spend", "--by", "tag")).stdout


async def test_json_lines_come_from_standard_input(shell):
    done = await shell.run(
        "generate", "--from", "-", *SKETCH, "--json", stdin=b'{"prompt": "a"}\n{"prompt": "b"}\n'
    )
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["succeeded"] == 2


async def test_a_dry_run_quotes_the_table(shell):
    (shell.home / "p.csv").write_text("prompt,model,quality\na,gpt-image-2,low\nb,sketch,\n")
    status, (quote,), _ = await shell.run_json("generate", "--from", "p.csv", "--dry-run")
    assert (status, quote["model"], quote["n"]) == (0, "*", 2)
    assert not (shell.home / "imagen.sqlite3").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--from"),
        (("a fox", "--from", "p.csv"), "leave out PROMPT"),
        (("--from", "p.csv", "--set", "a=b"), "--set"),
        (("--from", "p.csv", "--together"), "--together"),
        (("--from", "gone.csv"), "gone.csv"),
        (("--from", "wrong.csv"), "'sede'"),
    ],
)
async def test_what_does_not_fit_is_refused(shell, arguments, words):
    (shell.home / "p.csv").write_text("prompt\na fox\n")
    (shell.home / "wrong.csv").write_text("prompt,sede\na fox,1\n")
    done = await shell.run("generate", *arguments, "--model", "sketch")
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
