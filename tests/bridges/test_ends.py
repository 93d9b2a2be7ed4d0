"""A program that ends with requests in flight keeps what is paid."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import trio

import imagen
from imagen._bridges import blocking_bridge, trio_thread
from imagen.testing import ScriptedTransport
from tests.support.scripted_client import FakeProvider, books_balance, images_reply, make_settings

ROOT = Path(__file__).parents[2]
START = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
import imagen
from imagen.testing import ScriptedTransport
from tests.support.scripted_client import images_reply, make_settings

# A parent may ignore it, and a child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
transport = ScriptedTransport(lambda request: images_reply(after_seconds=0.7))
parts = dict(settings=make_settings(Path(sys.argv[1])), transport=lambda access: transport)


def wait_sent(count):
    while len(transport.requests) < count:
        time.sleep(0.005)
"""


def run(code: str, home: Path, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", START + code, str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **more,
    )


def kept_in(home: Path) -> tuple[int, imagen.Spending]:
    """The images of a home, and what its ledger says."""

    async def look() -> tuple[int, imagen.Spending]:
        async with imagen.open_client(make_settings(home)) as client:
            return len(await client.library.list(limit=100)), await client.spending()

    return trio.run(look)


@pytest.mark.parametrize(
    "code",
    [
        """
client = imagen.blocking.open_client(**parts)
batch = client.open_batch("a cat", n=4)
threading.Thread(target=lambda: next(batch), daemon=True).start()
wait_sent(4)
""",
        """
client = imagen.blocking.open_client(**parts)
for _ in range(4):
    threading.Thread(target=client.generate, args=["a cat"], daemon=True).start()
wait_sent(4)
raise SystemExit(0)
""",
        """
async def main():
    async with imagen.aio.open_client(**parts) as client:
        tasks = [asyncio.create_task(client.generate("a cat")) for _ in range(4)]
        while len(transport.requests) < 4:
            await asyncio.sleep(0.01)
asyncio.run(main())
""",
        """
async def main():
    async with imagen.aio.open_client(**parts) as client:
        tasks = [asyncio.create_task(client.generate("a cat")) for _ in range(4)]
        while len(transport.requests) < 4:
            await asyncio.sleep(0.01)
        loop.stop()
        await asyncio.sleep(60)
loop = asyncio.new_event_loop()
task = loop.create_task(main())
loop.run_forever()
task._log_destroy_pending = False
""",
    ],
    ids=["blocking batch", "blocking threads", "asyncio.run", "a loop that stops"],
)
def test_the_interpreter_ends_with_requests_in_flight(code, tmp_path):
    started = time.monotonic()
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Fatal" not in done.stderr
    images, spending = kept_in(tmp_path)
    assert images == 4
    assert spending.attempts.unknown == spending.attempts.in_flight == 0
    assert time.monotonic() - started < 30


def test_an_uncaught_exception_of_the_script_keeps_what_is_paid(tmp_path):
    done = run(
        """
client = imagen.blocking.open_client(**parts)
threading.Thread(target=client.generate, args=["a cat"], daemon=True).start()
wait_sent(1)
1 / 0
""",
        tmp_path,
    )
    assert "ZeroDivisionError" in done.stderr
    assert kept_in(tmp_path)[0] == 1


def test_ctrl_c_cancels_salvages_and_raises(tmp_path):
    done = run(
        """
threading.Timer(0.0, lambda: (wait_sent(2), os.kill(os.getpid(), signal.SIGINT))).start()
with imagen.blocking.open_client(**parts) as client:
    try:
        with client.open_batch("a cat", n=4, max_at_once=2) as batch:
            next(batch)
    except KeyboardInterrupt:
        print("interrupted", len(transport.requests))
    print(isinstance(client.generate("another"), imagen.Image))
""",
        tmp_path,
    )
    assert done.stdout == "interrupted 2\nTrue\n", done.stderr
    images, spending = kept_in(tmp_path)
    assert images == 3
    assert spending.attempts.unknown == 0


def test_ctrl_c_in_a_batch_goes_on_with_the_same_batch(tmp_path):
    done = run(
        """
threading.Timer(0.0, lambda: (wait_sent(2), os.kill(os.getpid(), signal.SIGINT))).start()
with imagen.blocking.open_client(**parts) as client:
    batch = client.open_batch("a cat", n=6, max_at_once=2)
    indexes = []
    try:
        for outcome in batch:
            indexes.append(outcome.index)
    except KeyboardInterrupt:
        print("interrupted")
    indexes += [outcome.index for outcome in batch]
    print(sorted(indexes))
""",
        tmp_path,
    )
    assert done.stdout == "interrupted\n[0, 1, 2, 3, 4, 5]\n", done.stderr


def test_ctrl_c_under_asyncio_run_keeps_what_is_paid(tmp_path):
    done = run(
        """
async def main():
    async with imagen.aio.open_client(**parts) as client:
        async with client.open_batch("a cat", n=4, max_at_once=2) as batch:
            async for outcome in batch:
                pass
threading.Timer(0.0, lambda: (wait_sent(2), os.kill(os.getpid(), signal.SIGINT))).start()
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""",
        tmp_path,
    )
    assert done.stdout == "interrupted\n", done.stderr
    images, spending = kept_in(tmp_path)
    assert images == 2
    assert spending.attempts.unknown == 0


def open_answering(home: Path) -> imagen.blocking.Client:
    """A client whose provider answers at once."""
    transport = ScriptedTransport(lambda request: images_reply())
    return imagen.blocking.open_client(make_settings(home), transport=lambda access: transport)


def test_a_client_that_is_dropped_is_closed(tmp_path):
    provider = FakeProvider()
    transport = ScriptedTransport(provider)
    client = imagen.blocking.open_client(
        make_settings(tmp_path), transport=lambda access: transport
    )
    library = client.library
    client.generate("a cat")
    del client
    assert len(library.list()) == 1
    del library
    for _ in range(200):
        if not any(thread.name == "imagen" for thread in threading.enumerate()):
            return
        time.sleep(0.05)
    raise AssertionError("the client is still open")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_is_refused_with_a_sentence_and_may_open_its_own(tmp_path):
    done = run(
        """
client = imagen.blocking.open_client(**parts)
client.generate("a cat")
child = os.fork()
if child == 0:
    try:
        client.generate("a cat")
    except RuntimeError as error:
        print(error, flush=True)
    with imagen.blocking.open_client(**parts) as own:
        print(len(own.library.list()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
client.close()
""",
        tmp_path,
    )
    assert done.stdout == (
        "This client belongs to the process that forked this one: open another one here.\n1\n"
    ), done.stderr


def test_many_threads_share_one_client(tmp_path):
    provider = FakeProvider(max_seconds=0.02)
    transport = ScriptedTransport(provider)
    with imagen.blocking.open_client(
        make_settings(tmp_path), transport=lambda access: transport
    ) as client:
        with ThreadPoolExecutor(16) as pool:
            images = list(pool.map(client.generate, [f"image {n}" for n in range(64)]))
        assert len({image.id for image in images}) == 64
        batch = client.open_batch("a cat", n=40)
        with ThreadPoolExecutor(8) as pool:
            indexes = list(pool.map(lambda _: next(batch).index, range(40)))
        assert sorted(indexes) == list(range(40))
        books_balance(client.spending(), provider)


def test_closing_a_client_ends_the_calls_of_other_threads(tmp_path):
    transport = ScriptedTransport(lambda request: images_reply(after_seconds=0.5))
    client = imagen.blocking.open_client(
        make_settings(tmp_path), transport=lambda access: transport
    )
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.generate, "a cat")
        while not transport.requests:
            time.sleep(0.005)
        client.close()
        with pytest.raises(RuntimeError, match="closed while this call"):
            future.result()
    assert kept_in(tmp_path)[0] == 1


def test_work_at_the_end_goes_on_without_new_threads(tmp_path):
    """From Python 3.12 on, no thread starts while the interpreter ends."""
    done = run(
        """
import trio._core._thread_cache as cache
def refuse(*args, **kwargs):
    if not threading.main_thread().is_alive():
        raise RuntimeError("can't create new thread at interpreter shutdown")
    return start(*args, **kwargs)
start, cache.start_thread_soon = cache.start_thread_soon, refuse
import trio._threads
trio._threads.start_thread_soon = refuse
client = imagen.blocking.open_client(**parts)
threading.Thread(target=client.generate, args=["a cat"], daemon=True).start()
wait_sent(1)
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    images, spending = kept_in(tmp_path)
    assert images == 1
    assert spending.attempts.unknown == 0


def test_ctrl_c_in_the_moment_of_a_result_loses_no_outcome(monkeypatch, tmp_path):
    real = blocking_bridge._wait
    interrupts = iter([True, False, True, False, False, True])

    def wait(messages):
        result = real(messages)
        if next(interrupts, False):
            raise KeyboardInterrupt
        return result

    with open_answering(tmp_path) as client, client.open_batch("a cat", n=4) as batch:
        monkeypatch.setattr(blocking_bridge, "_wait", wait)
        indexes = []
        while len(indexes) < 4:
            with suppress(KeyboardInterrupt):
                indexes.append(next(batch).index)
        assert sorted(indexes) == [0, 1, 2, 3]
        monkeypatch.undo()


def test_ctrl_c_before_a_call_has_started_is_raised_at_once(monkeypatch, tmp_path):
    def interrupted(call, nursery, function):
        raise KeyboardInterrupt

    with open_answering(tmp_path) as client:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(trio_thread.Call, "start", interrupted)
            client.generate("a cat")
        assert isinstance(client.generate("a cat"), imagen.Image)
