"""Proxies of the environment: named ones are used, everything on this machine
goes past them, and one that cannot be used stops a request before it is sent.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import AsyncIterator

import httpx2
import msgspec
import pytest
import trio

import imagen
from imagen._transport import proxies
from imagen._transport.connections import open_http
from imagen._transport.proxies import check_proxies, proxy_of
from imagen.providers import HttpRequest
from tests.support.drivers import (
    QUICK,
    answering,
    failure,
    http_reply,
    open_driver,
    open_server,
    outcome,
    run_openai,
)
from tests.support.exchanges import images
from tests.transport.test_links import Names

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def has_socks(monkeypatch, *, installed: bool) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        proxies.importlib.util,
        "find_spec",
        lambda name: (object() if installed else None) if name == "socksio" else real(name),
    )


@pytest.mark.parametrize(
    "text",
    [
        "socks5://127.0.0.1:1080",
        "socks5h://127.0.0.1:1080",
        "socks://127.0.0.1:1080/",
        "SOCKS5://user:hunter2@proxy.example:1080",
        ' "socks5://[::1]:1080" ',
    ],
)
def test_a_socks_proxy_needs_its_extra(monkeypatch, text):
    monkeypatch.setenv("ALL_PROXY", text)
    has_socks(monkeypatch, installed=False)
    with pytest.raises(
        imagen.ConfigurationError, match=r"ALL_PROXY.*imagen-trio\[socks\]"
    ) as caught:
        check_proxies()
    assert "hunter2" not in str(caught.value)
    has_socks(monkeypatch, installed=True)
    check_proxies()
    proxy = proxy_of(httpx2.URL("https://api.example/v1"))
    assert proxy is not None
    assert proxy.url.scheme in ("socks5", "socks5h")


@pytest.mark.parametrize(
    "text",
    [
        "socks4://127.0.0.1:1080",
        "ftp://127.0.0.1:21",
        "quic://proxy.example",
        "http://",
        "http://proxy.example:port",
        "http://proxy.example:99999",
        "http://[::1",
        "http://user:hunter2@",
        "http://pro xy.example:3128",
        "http://a..b:3128",
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"])
def test_a_proxy_that_is_none_is_refused(monkeypatch, variable, text):
    monkeypatch.setenv(variable, text)
    with pytest.raises(imagen.ConfigurationError, match=variable.upper()) as caught:
        check_proxies()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("http://proxy.example:3128/", "http://proxy.example:3128/"),
        ("'http://proxy.example:3128'", "http://proxy.example:3128"),
        ("HTTP://proxy.example:3128", "http://proxy.example:3128"),
        ("https://user:word@proxy.example", "https://proxy.example"),
        ("[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
    ],
)
def test_a_proxy_is_read_as_people_write_it(monkeypatch, text, url):
    monkeypatch.setenv("https_proxy", text)
    proxy = proxy_of(httpx2.URL("https://api.example/v1"))
    assert proxy is not None
    assert proxy.url == httpx2.URL(url)


@pytest.mark.parametrize("text", ["", " ", '""', "''"])
def test_an_empty_proxy_is_none(monkeypatch, text):
    monkeypatch.setenv("https_proxy", text)
    check_proxies()
    assert proxy_of(httpx2.URL("https://api.example/v1")) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:7860/sdapi",
        "http://127.8.9.1/",
        "http://localhost:8188/",
        "http://[::1]:8080/",
        "https://localhost/",
        "http://engine.localhost:9/",
    ],
)
def test_this_machine_is_never_behind_a_proxy(monkeypatch, url):
    monkeypatch.setenv("all_proxy", "http://proxy.example:3128")
    assert proxy_of(httpx2.URL(url)) is None


@pytest.mark.parametrize(
    ("listed", "url", "through"),
    [
        ("*", "https://api.example/", False),
        ("api.example", "https://api.example/", False),
        (".example", "https://api.example/", False),
        ("other.org, example", "https://api.example/", False),
        ("other.org", "https://api.example/", True),
        ("pi.example", "https://api.example/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", False),
        ("10.0.0.0/8", "https://11.1.2.3/", True),
        ("10.1.2.3", "https://10.1.2.3:8443/", False),
        ("fd00::/8", "https://[fd00::7]/", False),
        ("[fd00::7]", "https://[fd00::7]/", False),
        ("api.example:8443", "https://api.example:8443/", False),
    ],
)
def test_no_proxy_is_honoured(monkeypatch, listed, url, through):
    monkeypatch.setenv("all_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", listed)
    assert (proxy_of(httpx2.URL(url)) is not None) is through


async def test_an_engine_on_this_machine_is_asked_directly(monkeypatch):
    async with (
        open_server(answering(http_reply(images()))) as proxy,
        open_server(answering(http_reply(images()))) as engine,
    ):
        for name in VARIABLES[:3]:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with open_driver(engine.url) as driver:
            assert len((await run_openai(driver)).images) == 1
    assert not proxy.requests
    assert len(engine.requests) == 1


@pytest.fixture
async def inside() -> AsyncIterator[str]:
    trio.socket.set_custom_hostname_resolver(Names(inside_example=["10.0.0.7"]))
    yield "https://inside.example/a.png"
    trio.socket.set_custom_hostname_resolver(None)


async def test_a_link_past_the_proxy_is_guarded_like_any_other(monkeypatch, inside):
    """NO_PROXY sends it directly, so its address is looked at."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    async with open_driver("https://api.example.com/v1", bounds=QUICK) as driver:
        error = await failure(driver.send(HttpRequest(method="GET", url=inside)))
    assert "not a public address" in str(error)


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:9", "socks4://127.0.0.1:9", "http://"])
async def test_a_proxy_that_cannot_be_used_books_nothing(monkeypatch, tmp_path, text):
    has_socks(monkeypatch, installed=False)
    settings = imagen.load_settings({"IMAGEN_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-test"})
    async with imagen.open_client(settings) as client:
        monkeypatch.setenv("all_proxy", text)
        with pytest.raises(imagen.ConfigurationError, match="ALL_PROXY"):
            await client.generate("x", model="gpt-image-2", size="1024x1024", quality="low")
        spending = await client.spending()
    assert not any(msgspec.structs.astuple(spending.attempts))


def test_a_local_engine_does_without_a_working_proxy(monkeypatch, tmp_path):
    monkeypatch.setenv("all_proxy", "socks4://127.0.0.1:9")
    settings = imagen.load_settings(
        {"IMAGEN_HOME": str(tmp_path), "SD_WEBUI_URL": "http://127.0.0.1:7860"}
    )
    open_http(settings, None, settings.access["automatic1111"])


async def hang_up(stream: trio.abc.Stream, request: bytes) -> None:
    """Close at once, as a tunnel that died."""
    await stream.aclose()


async def stall(stream: trio.abc.Stream, request: bytes) -> None:
    """Accept, and say nothing."""
    await trio.sleep_forever()


@pytest.mark.parametrize("handler", [hang_up, stall])
async def test_a_tunnel_that_breaks_means_that_nothing_was_sent(monkeypatch, handler):
    async with open_server(handler) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        async with open_driver("https://api.example/v1", bounds=QUICK) as driver:
            error = await failure(run_openai(driver))
    assert outcome(error) == (imagen.ProviderError, "API_ERROR", True, "no")


@pytest.mark.parametrize("kind", [ImportError, ValueError, RuntimeError, ExceptionGroup])
async def test_a_foreign_exception_before_sending_is_nothing_sent(monkeypatch, kind):
    raised = kind("odd", [ImportError("x")]) if kind is ExceptionGroup else kind("odd")

    async def broken(self, *args):
        await trio.lowlevel.checkpoint()
        raise raised

    monkeypatch.setattr(imagen._transport.tcp.BulkBackend, "connect_tcp", broken)
    async with open_driver("https://api.example/v1") as driver:
        error = await failure(run_openai(driver))
    assert outcome(error) == (imagen.ProviderError, "API_ERROR", False, "no")


@pytest.mark.parametrize("kind", [ImportError, ValueError, OSError, ExceptionGroup])
async def test_a_foreign_exception_after_sending_may_be_billed(monkeypatch, kind):
    raised = kind("odd", [ImportError("x")]) if kind is ExceptionGroup else kind("odd")

    async def broken(self, *args):
        raise raised

    monkeypatch.setattr(imagen._transport.tcp.PlainStream, "read", broken)
    async with open_server(stall) as server, open_driver(server.url) as driver:
        error = await failure(run_openai(driver))
    assert outcome(error) == (imagen.OutcomeUnknownError, "OUTCOME_UNKNOWN", False, "unknown")


async def test_a_socks_proxy_connects(monkeypatch):
    pytest.importorskip("socksio")
    asked: list[bytes] = []

    async def socks(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"\x05\x00")
        asked.append(bytes(await stream.receive_some()))
        await stream.send_all(b"\x05\x00\x00\x01" + bytes(4) + struct.pack(">H", 9))

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, socks, [listener])
        port = listener.socket.getsockname()[1]
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{port}")
        async with open_driver("https://api.example/v1", bounds=QUICK) as driver:
            error = await failure(run_openai(driver))
        nursery.cancel_scope.cancel()
    assert error.billed == "no"
    assert b"api.example" in asked[0]
