"""An S3 that fails as it is told: moto behind a layer of faults, in a process
of its own.

`python -m tests.support.store_server` prints its port. Beside S3 it answers
`/-/faults?share=0.1&seed=3&status=` (what is to fail from now on), `/-/log`
(how often each object was put, in JSON) and `/-/objects?bucket=` (their bytes
and headers, hashed).
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import random
import socket
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.paths import ROOT

if TYPE_CHECKING:
    import pytest

WRONG_KEY = "wrong-key"
_NUMBERS = itertools.count()
FAULTS = ("500 before", "503 before", "cut before", "500 after", "503 after", "cut after")


class FaultyStore:
    """A WSGI application around another one."""

    def __init__(self, inner: Callable[..., Iterable[bytes]]) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._chance = random.Random(0)
        self._share = 0.0
        self._status = ""
        self.puts: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"].startswith("/-/"):
            return self._control(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self._lock:
            self.asked[environ["REQUEST_METHOD"]] += 1
            fault = self._chance.choice(FAULTS) if self._chance.random() < self._share else ""
        if WRONG_KEY in environ.get("HTTP_AUTHORIZATION", ""):
            return answer(
                start_response, "403 Forbidden", b"<Error><Code>InvalidAccessKeyId</Code></Error>"
            )
        if self._status:
            return answer(start_response, self._status, b"<Error><Code>AsAsked</Code></Error>")
        if fault.endswith("before"):
            return fail(fault, environ, start_response)
        status, headers, reply = self._ask(environ, body)
        if environ["REQUEST_METHOD"] == "PUT" and status.startswith("200"):
            with self._lock:
                self.puts[environ["PATH_INFO"]] += 1
        if fault:
            return fail(fault, environ, start_response)
        start_response(status, headers)
        return [reply]

    def _ask(self, environ, body: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
        import io

        found: list[tuple[str, list[tuple[str, str]]]] = []
        environ["wsgi.input"] = io.BytesIO(body)
        reply = b"".join(
            self._inner(
                environ, lambda status, headers, error=None: found.append((status, headers))
            )
        )
        return (*found[0], reply)

    def _control(self, environ, start_response):
        query = dict(urllib.parse.parse_qsl(environ["QUERY_STRING"]))
        match environ["PATH_INFO"]:
            case "/-/faults":
                with self._lock:
                    self._share, self._status = (
                        float(query.get("share", 0)),
                        query.get("status", ""),
                    )
                    self._chance.seed(int(query.get("seed", 0)))
                    self.puts.clear()
                    self.asked.clear()
                reply: object = {}
            case "/-/log":
                reply = {"puts": self.puts, "asked": self.asked}
            case _:
                reply = objects_of(query["bucket"])
        return answer(start_response, "200 OK", json.dumps(reply).encode())


def objects_of(bucket: str) -> dict[str, dict[str, str]]:
    from moto.s3.models import s3_backends

    (backend,) = [
        account["aws"] for account in s3_backends.values() if bucket in account["aws"].buckets
    ]
    return {
        name: {
            "sha256": hashlib.sha256(key.value).hexdigest(),
            "content_type": key.metadata.get("Content-Type", ""),
            "cache_control": key.metadata.get("Cache-Control", ""),
            "disposition": key.metadata.get("Content-Disposition", ""),
        }
        for name, key in backend.buckets[bucket].keys.items()
    }


def answer(start_response, status: str, body: bytes) -> list[bytes]:
    start_response(
        status, [("content-type", "application/xml"), ("content-length", str(len(body)))]
    )
    return [body]


def fail(fault: str, environ, start_response) -> list[bytes]:
    if fault.startswith("cut"):
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return answer(start_response, "200 OK", b"")
    reason = {"500": "500 Internal Server Error", "503": "503 Slow Down"}[fault[:3]]
    return answer(start_response, reason, b"<Error><Code>SlowDown</Code></Error>")


def main() -> None:
    argparse.ArgumentParser().parse_args()
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_error(self, *ignored: object) -> None:
            """A connection that was cut on purpose."""

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    store = FaultyStore(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Handler)
    server.handle_error = lambda *ignored: None  # type: ignore[method-assign]
    print(server.server_port, flush=True)
    server.serve_forever()


class StoreServer:
    """The other end: what a test tells it and asks of it."""

    def __init__(self, port: int) -> None:
        self.endpoint = f"http://127.0.0.1:{port}"

    def faults(self, share: float = 0.0, *, seed: int = 0, status: str = "") -> None:
        self._ask(f"/-/faults?share={share}&seed={seed}&status={urllib.parse.quote(status)}")

    def log(self) -> dict[str, dict[str, int]]:
        return self._ask("/-/log")

    def objects(self, bucket: str) -> dict[str, dict[str, str]]:
        return self._ask(f"/-/objects?bucket={bucket}")

    def make_bucket(self, bucket: str) -> None:
        headers = {
            "authorization": "AWS4-HMAC-SHA256 Credential=test/20270101/us-east-1/s3/aws4_request"
        }
        request = urllib.request.Request(f"{self.endpoint}/{bucket}", method="PUT", headers=headers)
        with urllib.request.urlopen(request, timeout=20) as reply:
            assert reply.status == 200

    def _ask(self, path: str):
        with urllib.request.urlopen(self.endpoint + path, timeout=20) as reply:
            return json.loads(reply.read())


def fresh_bucket(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set keys, end the faults of before, make a bucket, and return its name."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-tell")
    name = f"bucket-{next(_NUMBERS)}"
    server.faults()
    server.make_bucket(name)
    server.faults()
    return name


@contextmanager
def open_store_server() -> Iterator[StoreServer]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.store_server"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield StoreServer(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


if __name__ == "__main__":
    main()
