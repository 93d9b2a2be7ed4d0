"""The application that takes callbacks: its replies to any sender, and
that a true callback brings the image.
"""

from __future__ import annotations

import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import hypercorn.config
import hypercorn.trio
import msgspec
import pytest
import trio
import trio.testing
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.providers import PROVIDERS
from imagen.testing import InlineWorkers, ScriptedReply, ScriptedTransport
from imagen.testing.simulator import Fault, JobFails, Simulator, Withheld, open_simulator
from imagen.testing.simulator._core.callback_sender import call_back
from imagen.testing.simulator._core.messages import Callback
from imagen.testing.simulator._providers.fal.server import Fal
from imagen.testing.simulator._providers.ideogram.server import Ideogram
from tests.support.callbacks import KEY, NOW, PUBLISHED, SECRET, SENDERS, Sender, each_sender
from tests.support.collected_jobs import call_for, order_and_die
from tests.support.drivers import Server, http_reply, open_server
from tests.support.exchanges import CATALOG
from tests.support.images import PNG
from tests.support.simulated_client import simulated_settings

Application = Callable[..., Awaitable[None]]
Message = dict[str, object]
BFL = SENDERS[0]
# How long a job takes, and how long it would be until the first poll.
SECONDS = 0.2
LONG_SECONDS = 600.0


def published(request: imagen.providers.HttpRequest) -> ScriptedReply:
    """What the providers tell who checks their signatures."""
    sender = next(
        sender
        for sender in SENDERS
        if sender.answers and ("jwks" in request.url) is (sender.name != "replicate")
    )
    return ScriptedReply(chunks=(sender.answers[0].body,))


def down(request: imagen.providers.HttpRequest) -> ScriptedReply:
    return ScriptedReply(status=503)


def read_settings(home: Path, **environ: str) -> imagen.Settings:
    keys = {PROVIDERS[sender.name].key_variables[0]: "k" for sender in SENDERS}
    settings = imagen.load_settings({"IMAGEN_HOME": str(home), **keys, **environ})
    return msgspec.structs.replace(settings, callback_secret=imagen.Secret(SECRET))


@asynccontextmanager
async def open_scripted(
    answer: Callable[[imagen.providers.HttpRequest], ScriptedReply] = published, **environ: str
) -> AsyncIterator[imagen.Client]:
    """A client without a network, at the time at which the senders sign."""
    with tempfile.TemporaryDirectory() as folder:
        async with imagen.open_client(
            read_settings(Path(folder), **environ),
            transport=lambda access: ScriptedTransport(answer),
            workers=InlineWorkers(),
            clock=lambda: NOW,
        ) as client:
            yield client


async def converse(
    app: Application, scope: Mapping[str, object], *messages: Message
) -> list[Message]:
    """What an application says to these messages. Where it asks for more, the
    connection is silent.
    """
    coming = iter(messages)
    said: list[Message] = []

    async def receive() -> Message:
        await trio.lowlevel.checkpoint()
        message = next(coming, None)
        if message is None:
            await trio.sleep_forever()
        return message

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        said.append(message)

    await app({"asgi": {"version": "3.0"}, **scope}, receive, send)
    return said


async def post(
    app: Application,
    path: str,
    headers: Mapping[str, str] | None = None,
    *parts: bytes,
    method: str = "POST",
    ends: bool = True,
) -> int:
    """The status of the answer, which says nothing else."""
    fields = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()
    ]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": fields}
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": True} for part in parts
    ]
    if ends:
        messages.append({"type": "http.request"})
    start, end = await converse(app, scope, *messages)
    assert start.keys() == {"type", "status", "headers"}
    assert set(start["headers"]) <= {(b"content-length", b"0"), (b"allow", b"POST")}
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}
    return start["status"]


# --- answers ------------------------------------------------------------------


@each_sender
@pytest.mark.parametrize("folder", ["", "/callbacks", "/a/b/c"])
async def test_a_signed_callback_is_accepted_also_for_a_job_without_a_waiter(
    sender: Sender, folder: str
):
    headers, body = sender.sign(True)
    async with open_scripted() as client:
        assert (
            await post(imagen.callback_app(client), f"{folder}/{sender.name}", headers, body) == 204
        )


@each_sender
async def test_what_is_wrong_with_it_shows_in_the_status_alone(
    sender: Sender, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    headers, body = sender.sign(True)
    async with open_scripted() as client:
        app = imagen.callback_app(client)
        url = f"/callbacks/{sender.name}"
        assert await post(app, url, *sender.sign(False)) == 401
        assert await post(app, url, headers, body, b" ") == 401
        assert await post(app, url, {}, body) == 401
        assert await post(app, url, *sender.nameless) == 400
        assert await post(app, url, headers, body, method="GET") == 405
        assert await post(app, f"{url}/", headers, body) == 404
    assert not caplog.records


@pytest.mark.parametrize(
    "path", ["", "/", "/callbacks", "/callbacks/unknown", "/callbacks/openai", "/bfl/callbacks"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_there_is_nothing_at_other_paths(path: str, method: str):
    async with open_scripted() as client:
        assert await post(imagen.callback_app(client), path, *BFL.sign(True), method=method) == 404


async def test_a_body_comes_in_pieces_and_is_at_most_a_mebibyte():
    padding = b" " * (1 << 20)
    headers, body = BFL.sign(True)
    async with open_scripted() as client:
        app = imagen.callback_app(client)
        assert (
            await post(
                app, "/bfl", headers, *(body[place : place + 1] for place in range(len(body)))
            )
            == 204
        )
        assert await post(app, "/bfl", {}, padding) == 401
        # What comes after that is not waited for.
        assert await post(app, "/bfl", headers, padding, b"x", ends=False) == 413


@pytest.mark.parametrize("name", ["fal", "ideogram", "replicate"])
async def test_one_that_cannot_be_checked_now_may_come_again(name: str, autojump_clock):
    sender = next(sender for sender in SENDERS if sender.name == name)
    async with open_scripted(down) as client:
        assert await post(imagen.callback_app(client), f"/{name}", *sender.sign(True)) == 503
    assert trio.current_time() <= 10


async def test_no_caller_holds_it_for_longer_than_ten_seconds(autojump_clock):
    headers, body = BFL.sign(True)
    async with open_scripted() as client:
        started = trio.current_time()
        assert await post(imagen.callback_app(client), "/bfl", headers, body, ends=False) == 503
        assert trio.current_time() - started == 10


async def test_who_hangs_up_in_the_middle_gets_no_answer():
    scope = {"type": "http", "method": "POST", "path": "/bfl", "headers": []}
    async with open_scripted() as client:
        app = imagen.callback_app(client)
        messages = (
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        )
        assert await converse(app, scope, *messages) == []


async def test_it_starts_and_stops_with_any_server():
    async with open_scripted() as client:
        app = imagen.callback_app(client)
        said = await converse(
            app, {"type": "lifespan"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
        )
        assert said == [
            {"type": "lifespan.startup.complete"},
            {"type": "lifespan.shutdown.complete"},
        ]
        said = await converse(
            app, {"type": "websocket", "path": "/bfl"}, {"type": "websocket.connect"}
        )
        assert said == [{"type": "websocket.close", "code": 1000, "reason": None}]
        with pytest.raises(NotImplementedError):
            await converse(app, {"type": "carrier pigeon"})


NAMES = st.sampled_from(["bfl", "fal", "ideogram", "replicate", "openai", "callbacks"]) | st.text()
FIELDS = sorted({name for sender in SENDERS for name in sender.sign(True)[0]})
VALUES = st.binary() | st.sampled_from([str(NOW).encode(), b"v1,", b"sha256=", b"00" * 64])


@given(
    path=st.lists(NAMES, max_size=4).map("/".join),
    method=st.sampled_from(["POST", "POST", "GET"]) | st.text(),
    headers=st.lists(st.tuples(st.sampled_from(FIELDS).map(str.encode) | st.binary(), VALUES)),
    parts=st.lists(st.binary() | st.sampled_from([b'{"id": "j1"}', b"[" * 100_000]), max_size=3),
)
@settings(max_examples=60, deadline=None)
async def test_anything_at_all_gets_a_plain_answer(
    path: str, method: str, headers: list[tuple[bytes, bytes]], parts: Iterable[bytes]
):
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    async with open_scripted() as client:
        status = await post(imagen.callback_app(client), path, fields, *parts, method=method)
    assert status in (401, 404, 405)


# --- what it changes ----------------------------------------------------------


def drawing(request: imagen.providers.HttpRequest) -> ScriptedReply:
    """Black Forest Labs, whose job j1 is ready at the first poll."""
    if request.method == "POST":
        body: object = {"id": "j1", "polling_url": "https://api.bfl.ai/v1/get_result?id=j1"}
    elif "get_result" in request.url:
        body = {
            "id": "j1",
            "status": "Ready",
            "result": {"sample": "https://delivery.bfl.ai/1.png"},
        }
    else:
        return ScriptedReply(chunks=(PNG,))
    return ScriptedReply(chunks=(msgspec.json.encode(body),))


@pytest.mark.parametrize(("true", "seconds"), [(True, 5), (False, 10)])
async def test_only_a_true_callback_ends_the_wait(true: bool, seconds: int, autojump_clock):
    async with open_scripted(
        drawing, IMAGEN_CALLBACK_URL="https://atelier.example/callbacks"
    ) as client:
        app = imagen.callback_app(client)

        async def tell() -> None:
            await trio.sleep(5)
            assert await post(app, "/callbacks/bfl", *BFL.sign(true)) == (204 if true else 401)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await client.generate("a lighthouse", model="flux-2-pro")
        assert trio.current_time() == seconds


# --- over real sockets --------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@asynccontextmanager
async def serving(
    app: Application, listener: socket.socket, certificate: Path
) -> AsyncIterator[None]:
    """Serves an application by hypercorn, which closes the listener in the end."""
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.certfile = config.keyfile = str(certificate)
    config.loglevel = "ERROR"
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait))
        yield
        stop.set()


def asking_seldom(settings: imagen.Settings) -> imagen.Settings:
    access = {
        name: msgspec.structs.replace(
            access,
            settings={
                **access.settings,
                **dict.fromkeys({"poll_seconds"} & access.settings.keys(), LONG_SECONDS),
            },
        )
        for name, access in settings.access.items()
    }
    return msgspec.structs.replace(settings, access=access)


def publish(request: httpx2.Request) -> httpx2.Response:
    """fal.ai has its keys at an address of its own."""

    async def pieces() -> AsyncIterator[bytes]:
        yield PUBLISHED[0].body

    return httpx2.Response(200, content=pieces())


@asynccontextmanager
async def open_called_back(
    home: Path, authority: trustme.CA, trusting: ssl.SSLContext, **simulated: Any
) -> AsyncIterator[tuple[imagen.Client, Simulator]]:
    """A client that asks every ten minutes, and is called back by the
    simulator.
    """
    certificate = home / "certificate.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    services = (Fal(callback_keys=(KEY,)), Ideogram(callback_keys=(KEY,)))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/callbacks"
    async with (
        open_simulator(*services, latency=SECONDS, callback_tls=trusting, **simulated) as simulator,
        httpx2.AsyncClient(mounts={"https://rest.fal.ai": httpx2.MockTransport(publish)}) as http,
        imagen.open_client(
            msgspec.structs.replace(
                asking_seldom(simulated_settings(simulator, home)), callback_url=url
            ),
            http=http,
        ) as client,
        serving(imagen.callback_app(client), listener, certificate),
    ):
        yield client, simulator


each_service = pytest.mark.parametrize(
    ("name", "model"),
    [
        ("bfl", "flux-2-pro"),
        ("fal", "fal/flux-schnell"),
        ("ideogram", "ideogram-4"),
        ("replicate", "replicate/flux-schnell"),
    ],
)


@each_service
async def test_an_image_comes_with_its_callback(
    name: str, model: str, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path
):
    async with open_called_back(tmp_path, authority, trusting) as (client, simulator):
        with trio.fail_after(30):
            image = await client.generate("a lighthouse", model=model)
        assert image.provider == name
        # It was asked for when it was over, and not before.
        assert (
            min(received.at_seconds for received in simulator.received if received.kind == "poll")
            >= SECONDS
        )
        assert [bill.delivered for bill in simulator.bills] == [True]


@each_service
async def test_a_job_that_failed_is_known_with_its_callback(
    name: str, model: str, authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path
):
    async with open_called_back(tmp_path, authority, trusting, faults=lambda _: JobFails()) as (
        client,
        _,
    ):
        with trio.fail_after(30), pytest.raises(imagen.ProviderError):
            await client.generate("a lighthouse", model=model)


# --- the simulator calls back -------------------------------------------------


@asynccontextmanager
async def open_postbox(authority: trustme.CA, *answers: int | None) -> AsyncIterator[Server]:
    """Takes callbacks by script, where None hangs up, and every one of them
    after that.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    coming = iter(answers)

    async def answer(stream: trio.abc.Stream, request: bytes) -> None:
        status = next(coming, 204)
        await stream.send_all(b"" if status is None else http_reply(b"", status=f"{status} Said"))

    async with open_server(answer, once=True, tls=tls) as server:
        server.url = f"https://localhost:{server.port}/callbacks"
        yield server


def knock(url: str, *, tls: ssl.SSLContext | None) -> Awaitable[None]:
    return call_back(Callback(url=url, sign=lambda now: ({"x-time": str(now)}, b"{}")), 0.0, tls)


@pytest.mark.parametrize(
    ("answers", "tries"),
    [((), 1), ((500,), 2), ((301, 404), 3), ((500, 500, 500, 500), 3)],
    ids=str,
)
async def test_the_simulator_tries_three_times(
    answers: tuple[int, ...], tries: int, authority: trustme.CA, trusting: ssl.SSLContext
):
    async with open_postbox(authority, *answers) as server:
        with trio.fail_after(20):
            await knock(server.url, tls=trusting)
    assert len(server.requests) == tries
    assert all(request.startswith(b"POST /callbacks HTTP/1.1\r\n") for request in server.requests)
    assert all(
        b"\r\nx-time: " in request and request.endswith(b"\r\n\r\n{}")
        for request in server.requests
    )


async def test_it_tells_nothing_to_whom_it_does_not_trust(authority: trustme.CA):
    async with open_postbox(authority) as server:
        with trio.fail_after(20):
            await knock(server.url, tls=None)
    assert server.connections == 3
    assert not server.requests


async def test_it_survives_a_receiver_that_does_not_reply_or_listen(
    authority: trustme.CA, trusting: ssl.SSLContext
):
    with trio.fail_after(20):
        async with open_postbox(authority, *[None] * 3) as server:
            await knock(server.url, tls=trusting)
            assert len(server.requests) == 3
        await knock(server.url, tls=trusting)


@pytest.mark.parametrize(
    "host", ["atelier.example", "203.0.113.1", "localhost.example", "[2001:db8::1]", "0.0.0.0", ""]
)
async def test_it_calls_only_this_machine(host: str, autojump_clock):
    def sign(now: int) -> tuple[dict[str, str], bytes]:
        raise AssertionError("nothing is signed for a stranger")

    await call_back(Callback(url=f"https://{host}/callbacks", sign=sign), 60.0, None)
    assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("model", "fault", "word"),
    [
        ("flux-2-pro", None, "Ready"),
        ("flux-2-pro", JobFails(), "Error"),
        ("flux-2-pro", Withheld(), "Content Moderated"),
        ("fal/flux-schnell", None, "OK"),
        ("fal/flux-schnell", JobFails(), "ERROR"),
        ("replicate/flux-schnell", None, "succeeded"),
        ("replicate/flux-schnell", Withheld(), "failed"),
    ],
)
async def test_a_callback_says_how_the_job_ended(
    model: str, fault: Fault | None, word: str, authority: trustme.CA, trusting: ssl.SSLContext
):
    order = call_for(CATALOG.find(model), "generate")
    async with open_postbox(authority) as server:
        async with open_simulator(
            Fal(callback_keys=(KEY,)), faults=[fault], callback_tls=trusting
        ) as simulator:
            await order_and_die(simulator, msgspec.structs.replace(order, callback_url=server.url))
            await server.wait_closed()
    (request,) = server.requests
    assert msgspec.json.decode(request.partition(b"\r\n\r\n")[2])["status"] == word
