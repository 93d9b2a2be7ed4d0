"""A server on loopback that is fast enough not to be what is measured: nginx
with canned replies, plain and over TLS.

Where there is no nginx, `python_server` takes its place, and may well be the
limit: the floor shows by how much.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from .replies import SIZES, split_reply

__all__ = [
    "Server",
    "child_environment",
    "free_port",
    "pin_to",
    "serve",
    "split_cores",
    "wait_until_open",
]

_START_SECONDS = 10.0

_CONFIG = """\
daemon off;
worker_processes {workers};
user {user};
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path tmp;
    proxy_temp_path tmp;
    fastcgi_temp_path tmp;
    uwsgi_temp_path tmp;
    scgi_temp_path tmp;
    default_type application/json;
    sendfile on;
    tcp_nopush on;
    open_file_cache max=8;
    keepalive_timeout 300s;
    keepalive_requests 1000000;
    server {{
        listen 127.0.0.1:{plain_port} backlog=1024;
        listen 127.0.0.1:{tls_port} ssl backlog=1024;
        ssl_certificate certificate.pem;
        ssl_certificate_key certificate.pem;
        root .;
{locations}
    }}
}}
"""
# A POST to a static file is a 405, whose error page, with status 200, is the
# reply. Its first part holds the request's id.
_LOCATION = """\
        location = /{size}/v1/images/generations {{ error_page 405 =200 /{size}.tail; return 405; }}
        location = /{size}.tail {{
            internal; add_before_body /{size}.head; addition_types application/json;
        }}
        location = /{size}.head {{ internal; return 200 '{head}$request_id'; }}
"""


@dataclass(frozen=True)
class Server:
    """Where it listens, and who speaks for its certificate."""

    name: str
    plain_port: int
    tls_port: int
    certificate_authority: Path

    def base_url(self, size: str, *, tls: bool) -> str:
        """What takes the place of https://api.openai.com/v1."""
        scheme, port = ("https", self.tls_port) if tls else ("http", self.plain_port)
        return f"{scheme}://127.0.0.1:{port}/{size}/v1"


@contextmanager
def serve(folder: Path, cores: Sequence[int]) -> Iterator[Server]:
    """Runs the server, on those cores, for as long as the block lasts; its
    files are below the folder.
    """
    folder.mkdir(parents=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(folder / "certificate.pem")
    plain_port, tls_port = free_port(), free_port()
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if nginx is not None:
        _write_nginx_files(folder, plain_port, tls_port, workers=max(1, len(cores)))
        name = "nginx"
        commands = [[nginx, "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]]
    else:
        name = "the Python server, as there is no nginx: it may be the limit"
        python = [sys.executable, "-m", "benchmarks.python_server", "--processes", "2", "--port"]
        commands = [
            [*python, str(plain_port)],
            [*python, str(tls_port), "--certificate", str(folder / "certificate.pem")],
        ]
    processes = [subprocess.Popen(command, preexec_fn=pin_to(cores)) for command in commands]
    try:
        for port in (plain_port, tls_port):
            wait_until_open(port)
        yield Server(name, plain_port, tls_port, folder / "authority.pem")
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(_START_SECONDS)


def child_environment(server: Server | None = None) -> dict[str, str]:
    """The environment of a contender: no proxies, nothing that asks the network
    on import, and the server's CA trusted.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    environment["OPENAI_API_KEY"] = "no-key-is-needed"
    if server is not None:
        environment["SSL_CERT_FILE"] = str(server.certificate_authority)
    return environment


def split_cores() -> tuple[list[int], list[int]]:
    """One core for the contender and up to two others for the server; both
    lists are empty where nothing can be pinned.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [], []
    cores = sorted(os.sched_getaffinity(0))
    return (cores[:1], cores[1:3]) if len(cores) > 1 else ([], [])


def pin_to(cores: Sequence[int]) -> Callable[[], None] | None:
    """For `preexec_fn`: the child, and all its threads and children, run on
    those cores only.
    """
    return (lambda: os.sched_setaffinity(0, cores)) if cores else None


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_until_open(port: int) -> None:
    """Return when a server listens there."""
    give_up_at = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)


def _write_nginx_files(folder: Path, plain_port: int, tls_port: int, workers: int) -> None:
    (folder / "tmp").mkdir()
    locations = ""
    for size in SIZES:
        head, tail = split_reply(size)
        locations += _LOCATION.format(size=size, head=head)
        (folder / f"{size}.tail").write_bytes(tail)
    config = _CONFIG.format(
        workers=workers,
        user=getpass.getuser(),
        plain_port=plain_port,
        tls_port=tls_port,
        locations=locations,
    )
    (folder / "nginx.conf").write_text(config)
