"""The services of the documents are started and called; one is flooded."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

import imagen
from imagen.testing import ScriptedTransport
from tests.support.lengths import length
from tests.support.scripted_client import PRICE, FakeProvider, books_balance, make_settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "services.md").read_text("utf-8")
PROGRAMS = dict(re.findall(r"```python\n# (\w+\.py).*?\n(.*?)```", PAGE, re.DOTALL))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def running(name: str, folder: Path, command: list[str], port: int):
    (folder / name).write_text(PROGRAMS[name])
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "IMAGEN_HOME": str(folder / "home"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, server.stderr.read().decode()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.communicate(timeout=60)


def get(url: str) -> tuple[int, str, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.status, reply.headers["content-type"], reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["content-type"], error.read()


PNG_START = b"\x89PNG"


def test_fastapi(tmp_path):
    port = free_port()
    command = ["uvicorn", "fastapi_service:app", "--host", "127.0.0.1", "--port", str(port)]
    with running("fastapi_service.py", tmp_path, command, port) as url:
        status, kind, body = get(f"{url}/image?prompt=a+mill")
        assert (status, kind, body[:4]) == (200, "image/png", PNG_START)
        status, kind, body = get(f"{url}/image?prompt=")
        assert status == 422
        assert b"prompt" in body
        status, kind, body = get(f"{url}/images?prompt=a+mill&n=3")
        assert kind.startswith("text/event-stream")
        assert sorted(re.findall(rb"event: (\w+)", body)) == [b"end", *[b"image"] * 3]


def test_page(tmp_path, monkeypatch):
    port = free_port()
    command = ["hypercorn", "--worker-class", "trio", "--bind", f"127.0.0.1:{port}"]
    monkeypatch.setitem(
        PROGRAMS,
        "page_service.py",
        PROGRAMS["page_service.py"].replace('os.environ["PAGE_PASSWORD"]', '"secret"'),
    )
    with running("page_service.py", tmp_path, [*command, "page_service:app"], port) as url:
        assert get(f"{url}/images/api/1/state")[0] == 401
        login = base64.b64encode(b"ann:secret").decode()
        headers = {"Authorization": f"Basic {login}"}
        request = urllib.request.Request(f"{url}/images/api/1/state", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            assert b"last_event_id" in reply.read()


def test_django(tmp_path):
    port = free_port()
    command = ["django", "runserver", "--settings", "django_service", "--noreload"]
    with running("django_service.py", tmp_path, [*command, f"127.0.0.1:{port}"], port) as url:
        for path in ("image", "image-async"):
            status, kind, body = get(f"{url}/{path}?prompt=a+mill")
            assert (status, kind, body[:4]) == (200, "image/png", PNG_START)
        assert get(f"{url}/image?prompt=")[0] == 422


def test_flask(tmp_path):
    port = free_port()
    command = ["flask", "--app", "flask_service", "run", "--port", str(port)]
    with running("flask_service.py", tmp_path, command, port) as url:
        status, kind, body = get(f"{url}/image?prompt=a+mill")
        assert (status, kind, body[:4]) == (200, "image/png", PNG_START)
        assert get(f"{url}/image?prompt=")[0] == 422
        assert get(f"{url}/images?prompt=a+mill")[2].count(b"data: Image") == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_worker_that_forks(tmp_path):
    (tmp_path / "tasks.py").write_text(PROGRAMS["tasks.py"])
    code = """
import os, tasks
for number in range(2):
    child = os.fork()
    if child == 0:
        print(len(tasks.make_image(f"mill {number}")), flush=True)
        tasks.client().close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
session = tasks.client().start_session("a mill", n=2, size="256x256")
print(len(tasks.continue_images(session.id)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "IMAGEN_HOME": str(tmp_path / "home"),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["16", "16", "2"], done.stderr


async def call(port: int, chance: random.Random) -> bool:
    """One caller; some leave before the answer. True if an image came."""
    await asyncio.sleep(chance.random() * 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        path = chance.choice((b"/image", b"/images"))
        writer.write(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        if chance.random() < 0.4:
            await asyncio.sleep(chance.random() * 0.4)
            return False
        return PNG_START in await reader.read()
    finally:
        writer.close()


def test_callers_that_disconnect_at_random_leave_balanced_books(tmp_path):
    """200 callers of a FastAPI service under uvicorn."""
    provider = FakeProvider(7, faults=("refusal",), max_seconds=0.5)
    transport = ScriptedTransport(provider)
    settings = make_settings(tmp_path)
    callers = length(200, short=80)

    @asynccontextmanager
    async def lifespan(app):
        async with imagen.aio.open_client(
            settings, transport=lambda access: transport
        ) as app.state.client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/image")
    async def image(request: Request) -> Response:
        try:
            made = await request.app.state.client.generate("a cat")
        except imagen.ImagenError as error:
            return Response(error.code, status_code=502)
        return Response(made.data, media_type=made.media_type)

    @app.get("/images")
    async def images(request: Request) -> StreamingResponse:
        async def parts():
            async with request.app.state.client.open_batch("a cat", n=3, max_at_once=2) as batch:
                async for outcome in batch:
                    yield outcome.data if isinstance(outcome, imagen.Image) else b"-"

        # A caller who disconnects cancels it.
        return StreamingResponse(parts())

    async def main():
        port = free_port()
        server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="on")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        chance = random.Random(3)
        calls = [call(port, random.Random(chance.random())) for _ in range(callers)]
        came = sum(await asyncio.gather(*calls))
        server.should_exit = True
        await serving
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left
        return came

    came = asyncio.run(main())
    assert came > callers // 8
    assert transport.open_replies == 0
    assert not [thread for thread in threading.enumerate() if thread.name == "imagen"]
    with imagen.blocking.open_client(settings, transport=lambda access: transport) as client:
        spending = client.spending()
        books_balance(spending, provider)
        kept = sum(1 for _ in client.library.find())
        assert kept * PRICE == spending.settled_usd
        assert kept >= came
