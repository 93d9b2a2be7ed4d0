"""`imagen web` as users start and end it, also by a kill in the middle of a batch; and the page
mounted in a service.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Mount

import imagen
from tests.support.web import settings_of, sketch

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are ended by signals")
SECONDS = 20.0


class Server:
    """A process of `imagen web`, and its page as a browser would call it."""

    def __init__(self, process: subprocess.Popen, url: str) -> None:
        self.process = process
        self.url = url
        self.origin = url.rpartition("/")[0].rpartition("/")[0]
        self.http = httpx2.Client(
            base_url=f"{url}api/1/", headers={"origin": self.origin}, timeout=SECONDS
        )

    def read(self, path: str) -> dict:
        return self.http.get(path).raise_for_status().json()

    def done(self, path: str, body: object = None) -> dict:
        return self.http.post(path, json=body).raise_for_status().json()

    def until(self, batch_id: str, is_so) -> dict:
        end = time.monotonic() + SECONDS
        while not is_so(view := self.read(f"batches/{batch_id}")):
            assert time.monotonic() < end, view
            time.sleep(0.02)
        return view

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@contextmanager
def serving(home: Path, *options: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "imagen", "web", "--json", *options]
    environ = {"PATH": os.environ["PATH"], "IMAGEN_HOME": str(home), "PYTHONPATH": os.getcwd()}
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        server = Server(process, json.loads(line)["url"])
        with server.http:
            yield server
    finally:
        process.kill()
        process.communicate()


def done(view: dict) -> int:
    return sum(place["state"] == "done" for place in view["places"])


def test_a_killed_server_comes_back_at_its_address_with_its_batch(tmp_path):
    request = sketch(size="1024x1024")
    with serving(tmp_path) as first:
        begun = first.done("batches", {"requests": [request], "n": 200, "max_at_once": 2})
        first.until(begun["id"], lambda view: done(view) >= 2)
        first.end(signal.SIGKILL)
    with serving(tmp_path) as second:
        assert second.url == first.url
        (listed,) = second.read("state")["batches"]
        assert [listed["id"], listed["state"]] == [begun["id"], "interrupted"]
        assert listed["succeeded"] >= 2
        second.done(f"batches/{begun['id']}/reopen")
        view = second.until(begun["id"], lambda view: view["state"] != "running")
        assert view["state"] == "finished"
        # What was being drawn at the kill has failed; the rest was not sent.
        assert {place["state"] for place in view["places"]} <= {"done", "failed", "lost"}
        assert done(view) == second.read("state")["images"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_streams_and_batches(tmp_path, number):
    with serving(tmp_path) as server:
        begun = server.done("batches", {"requests": [sketch(size="1024x1024")], "n": 100})
        server.until(begun["id"], lambda view: done(view) >= 1)
        with server.http.stream("GET", "events") as stream:
            parts = stream.iter_text()
            assert "event: hello" in next(parts)
            assert server.end(number) == 0
            assert "event: ending" in "".join(parts)


async def test_a_second_end_is_asked_for_while_the_first_waits(tmp_path):
    asked: list[str] = []
    urls: list[str] = []

    async def stop() -> None:
        asked.append("once more" if asked else "once")

    with trio.fail_after(SECONDS):
        await imagen.web.serve(
            settings=settings_of(tmp_path), stop=stop, on_listening=lambda url, _: urls.append(url)
        )
    assert len(urls) == 1
    assert asked[:1] == ["once"]
    assert len(asked) <= 2


def test_two_homes_have_two_addresses_and_a_home_has_one_server(tmp_path):
    with serving(tmp_path / "one") as one, serving(tmp_path / "two") as two:
        assert one.url != two.url
        again = subprocess.run(
            [sys.executable, "-m", "imagen", "web"],
            env={"PATH": os.environ["PATH"], "IMAGEN_HOME": str(tmp_path / "one")},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert again.returncode == 2
        assert str(tmp_path / "one" / "web" / "open.html") in again.stderr
    with serving(tmp_path / "one", "--port", "0") as other:
        assert other.url.split("/")[3] == one.url.split("/")[3]
    with serving(tmp_path / "one") as later:
        assert later.url == one.url


def test_a_port_in_use_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "imagen", "web", "--port", port],
            env={"PATH": os.environ["PATH"], "IMAGEN_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    assert done.returncode == 2
    assert port in done.stderr
    assert "--port" in done.stderr


async def test_one_home_has_one_page_at_a_time(tmp_path):
    async with imagen.open_client(settings_of(tmp_path)) as client:
        async with imagen.web.open_app(client):
            with pytest.raises(imagen.ConfigurationError, match="open already"):
                async with imagen.web.open_app(client):
                    pass
        async with imagen.web.open_app(client):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.com", ""])
def test_only_this_machine_is_served(tmp_path, host):
    done = subprocess.run(
        [sys.executable, "-m", "imagen", "web", "--host", host],
        env={"PATH": os.environ["PATH"], "IMAGEN_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2
    assert "127.0.0.1" in done.stderr


# --- mounted ------------------------------------------------------------------


class Login:
    """The login of a service."""

    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http" and (b"x-user", b"ann") not in scope["headers"]:
            await Response("log in", 401)(scope, receive, send)
            return
        await self._app(scope, receive, send)


@asynccontextmanager
async def open_service(home: Path, user: str):
    async with (
        imagen.open_client(settings_of(home)) as client,
        imagen.web.open_app(client) as page,
    ):
        service = Starlette(
            routes=[Mount("/tools/{team}/images", app=page)], middleware=[Middleware(Login)]
        )
        headers = {"x-user": user, "origin": "https://intern.example"}
        transport = httpx2.ASGITransport(app=service)
        async with httpx2.AsyncClient(
            transport=transport, base_url="https://intern.example", headers=headers
        ) as http:
            yield http


async def test_the_page_is_mounted_behind_a_login(tmp_path):
    base = "/tools/red/images"
    async with open_service(tmp_path, "ann") as http:
        made = await http.post(f"{base}/api/1/batches", json={"requests": [sketch()]})
        assert made.status_code == 201, made.text
        with trio.fail_after(SECONDS):
            path = f"{base}/api/1/batches/{made.json()['id']}"
            while (view := (await http.get(path)).json())["state"] == "running":
                await trio.sleep(0.02)
        image = view["places"][0]["image"]["id"]
        assert (await http.get(f"{base}/api/1/images/{image}/file")).content[:4] == b"\x89PNG"
        assert (await http.get(f"{base}/")).headers["content-security-policy"]
        other = {"origin": "https://evil.example"}
        reply = await http.post(f"{base}/api/1/batches", json={}, headers=other)
        assert reply.status_code == 403
        assert (await http.get("/api/1/state")).status_code == 404
    async with open_service(tmp_path, "eve") as http:
        assert (await http.get(f"{base}/api/1/state")).status_code == 401
