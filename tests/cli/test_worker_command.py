"""`imagen worker` as a process of its own, ended by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

import imagen


def start(home, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "imagen", "worker", *arguments],
        env={**os.environ, "IMAGEN_HOME": str(home), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def test_a_process_makes_what_another_one_submits_until_sigterm(tmp_path):
    worker = start(tmp_path, "--concurrency", "2")
    try:
        async with imagen.open_client(
            imagen.load_settings({"IMAGEN_HOME": str(tmp_path)})
        ) as client:
            session = await client.submit("a lighthouse", n=2, model="sketch")
            with trio.fail_after(30):
                await session.wait_finished()
            assert [image.path.exists() for _, image in session.images] == [True, True]
        worker.send_signal(signal.SIGTERM)
        said, noted = await trio.to_thread.run_sync(worker.communicate)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0
    assert said == "The worker makes up to 2 sessions at once.\n"
    assert noted == "The worker takes nothing more, and ends once what is paid has come.\n"


@pytest.mark.parametrize("words", [("--concurrency", "0"), ("--per-tag", "x")])
def test_numbers_are_checked(tmp_path, words):
    done = start(tmp_path, *words)
    _, noted = done.communicate()
    assert done.returncode == 2
    assert "is not a whole number from 1 to 1000" in noted


async def test_a_worker_whose_queue_is_away_says_so_and_ends_at_sigterm(tmp_path):
    worker = start(tmp_path, IMAGEN_QUEUE_URL="redis://127.0.0.1:1")
    try:
        assert worker.stdout is not None
        assert worker.stderr is not None
        assert worker.stdout.readline() == "The worker makes up to 8 sessions at once.\n"
        assert "IMAGEN_QUEUE_URL is away" in worker.stderr.readline()
        worker.send_signal(signal.SIGTERM)
        await trio.to_thread.run_sync(worker.communicate)
    finally:
        worker.kill()
        worker.wait()
    assert worker.returncode == 0
