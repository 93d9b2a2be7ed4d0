"""Notebooks in a real kernel: those of the documents, and one that is
interrupted.
"""

from __future__ import annotations

import gc
import os
import threading
import warnings
from pathlib import Path

import nbclient
import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

ROOT = Path(__file__).parents[2]
BOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SETUP = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import threading, time
from pathlib import Path
import imagen
from imagen.testing import ScriptedTransport
from tests.support.scripted_client import FakeProvider, images_reply, make_settings
provider = FakeProvider(max_seconds=0.6)
transport = ScriptedTransport(provider)
parts = dict(settings=make_settings(Path({{home!r}})), transport=lambda access: transport)
"""
# Of pyzmq and the kernel, in the process of the test.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def environ(monkeypatch, tmp_path):
    monkeypatch.setenv("IMAGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in list(os.environ):
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_of_the_documents_runs(path, tmp_path):
    book = nbformat.read(path, 4)
    assert not any(cell.get("outputs") for cell in book.cells)
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute(cwd=str(tmp_path))
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    shown = [output["data"] for output in outputs if "data" in output]
    assert any("<img" in data.get("text/html", "") for data in shown)
    if path.stem == "sheet":
        assert any("application/vnd.jupyter.widget-view+json" in data for data in shown)
        (saved,) = [
            data["text/html"]
            for data in shown
            if "imagen-sheet-static" in data.get("text/html", "")
        ]
        assert saved.count("<img") == 4


@pytest.fixture(autouse=True)
def collected():
    """The client of a kernel leaves loops and sockets to the garbage collector,
    whose warnings would be those of a later test.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


class Kernel:
    """A kernel that runs code, and can be interrupted meanwhile."""

    def __init__(self, home: Path) -> None:
        self._manager, self._client = start_new_kernel(kernel_name="python3")
        self.run(SETUP.format(home=str(home)))

    def run(self, code: str, interrupt_after: float | None = None) -> str:
        """What the code prints; an exception by its name."""
        sent = self._client.execute(code)
        if interrupt_after is not None:
            threading.Timer(interrupt_after, self._manager.interrupt_kernel).start()
        printed = ""
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                printed += content["text"]
            elif message["msg_type"] == "error":
                printed += content["ename"] + "\n"
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=False)
        self._manager.cleanup_resources()


@pytest.fixture
def kernel(tmp_path):
    kernel = Kernel(tmp_path / "scripted")
    yield kernel
    kernel.close()


BOOKS_BALANCE = """
while client.in_flight:
    time.sleep(0.01)
spending = client.spending()
print(spending.settled_usd == provider.billed_usd, spending.attempts.unknown, spending.reserved_usd)
"""


def test_an_interrupted_cell_keeps_what_is_paid_and_the_next_goes_on(kernel):
    interrupted = kernel.run(
        "client = imagen.blocking.open_client(**parts)\n"
        "batch = client.open_batch('a cat', n=12, max_at_once=2)\n"
        "seen = []\n"
        "for outcome in batch: seen.append(outcome.index)",
        interrupt_after=0.8,
    )
    assert interrupted == "KeyboardInterrupt\n"
    rest = "seen += [outcome.index for outcome in batch]\nprint(sorted(seen) == list(range(12)))"
    assert kernel.run(rest) == "True\n"
    assert kernel.run(BOOKS_BALANCE) == "True 0 0\n"


def test_an_interrupted_cell_with_await_keeps_what_is_paid(kernel):
    interrupted = kernel.run(
        "async with imagen.aio.open_client(**parts) as held:\n"
        "    async with held.open_batch('a cat', n=12, max_at_once=2) as batch:\n"
        "        async for outcome in batch: pass",
        interrupt_after=0.8,
    )
    assert "CancelledError" in interrupted or "KeyboardInterrupt" in interrupted
    assert kernel.run("print('alive')") == "alive\n"
    kernel.run("client = imagen.blocking.open_client(**parts)")
    assert kernel.run(BOOKS_BALANCE) == "True 0 0\n"


def test_a_kernel_that_is_shut_down_keeps_what_is_paid(tmp_path):
    home = tmp_path / "scripted"
    kernel = Kernel(home)
    kernel.run(
        "client = imagen.blocking.open_client(**parts)\n"
        "make = lambda: client.generate('x')\n"
        "for _ in range(3): threading.Thread(target=make, daemon=True).start()\n"
        "while len(transport.requests) < 3: time.sleep(0.01)"
    )
    kernel.close()
    kernel = Kernel(home)
    try:
        printed = kernel.run(
            "client = imagen.blocking.open_client(**parts)\n"
            "print(len(client.library.list()), client.spending().attempts.unknown)"
        )
    finally:
        kernel.close()
    assert printed == "3 0\n"
