"""Links in replies, and links of users: fetched with care. No private address,
no key, every redirect looked at again.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator

import httpx2
import msgspec
import pytest
import trio

import imagen
from imagen._transport.http import HttpTransport
from imagen._transport.tcp import BulkBackend, resolve_public
from imagen.providers import HttpRequest
from imagen.providers.openai import _adapter as openai
from tests.support.drivers import (
    KEY,
    QUICK,
    Server,
    answering,
    http_reply,
    open_server,
    open_transport,
)
from tests.support.images import PNG

API = "https://api.example.com/v1"
GET = "GET"


class Names(trio.abc.HostnameResolver):
    """A name service by hand; each name may have another address every time it
    is asked for.
    """

    def __init__(self, **addresses: list[str]) -> None:
        self._addresses = {name.replace("_", "."): list(known) for name, known in addresses.items()}

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        name = host.decode() if isinstance(host, bytes) else str(host)
        known = self._addresses.get(name)
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        address = known.pop(0) if len(known) > 1 else known[0]
        if ipaddress.ip_address(address).version == 6:
            return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, int(port), 0, 0))]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


class Nothing(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b""


@pytest.fixture
async def names() -> AsyncIterator[Names]:
    resolver = Names(
        inside_example=["10.0.0.7"],
        outside_example=["93.184.216.34"],
        twofaced_example=["93.184.216.34", "127.0.0.1"],
        six_example=["fd00::1"],
        mapped_example=["::ffff:192.168.0.1"],
    )
    trio.socket.set_custom_hostname_resolver(resolver)
    yield resolver
    trio.socket.set_custom_hostname_resolver(None)


async def fetch(transport: HttpTransport, url: str) -> bytes:
    async with transport.open(HttpRequest(method=GET, url=url, repeatable=True)) as reply:
        body = b""
        while piece := await reply.receive_some():
            body += piece
        return body if reply.status == 200 else b"%d" % reply.status


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/a.png",
        "https://localhost/a.png",
        "https://10.0.0.1/a.png",
        "https://172.16.5.5/a.png",
        "https://192.168.1.1/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://0.0.0.0/a.png",
        "https://100.64.0.1/a.png",
        "https://224.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://[fe80::1]/a.png",
        "https://[fd00::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://[fec0::1]/a.png",
        "https://[fec0::a00:1]/a.png",
        "https://[feff::1]/a.png",
        "https://[64:ff9b::10.0.0.1]/a.png",
        "https://[64:ff9b::7f00:1]/a.png",
        "https://[64:ff9b:1::a00:1]/a.png",
        "https://[64:ff9b:1:ffff::1]/a.png",
        "https://[2002:7f00:1::]/a.png",
        "https://[2002:a00:1::1]/a.png",
        "https://[2002:808:808::1]/a.png",
        "https://[2001:0:53aa:64c:0:0:f5ff:fffe]/a.png",
        "https://[2001:2::1]/a.png",
        "https://[2001:db8::1]/a.png",
        "https://[3fff::1]/a.png",
        "https://[::]/a.png",
        "https://[::10.0.0.1]/a.png",
        "https://[::7f00:1]/a.png",
        "https://[::8.8.8.8]/a.png",
        "https://[::ffff:0:127.0.0.1]/a.png",
        "https://[::ffff:10.0.0.1]/a.png",
        "https://[0:0:0:0:0:ffff:c0a8:1]/a.png",
        "https://[100::1]/a.png",
        "https://[5f00::1]/a.png",
        "https://[ff02::1]/a.png",
        "https://[ff0e::1]/a.png",
        "https://[4000::1]/a.png",
        "https://192.0.0.1/a.png",
        "https://192.0.0.170/a.png",
        "https://192.0.2.7/a.png",
        "https://198.51.100.7/a.png",
        "https://203.0.113.7/a.png",
        "https://198.19.255.1/a.png",
        "https://192.88.99.1/a.png",
        "https://100.127.255.254/a.png",
        "https://239.255.255.250/a.png",
        "https://240.0.0.1/a.png",
        "https://255.255.255.255/a.png",
        "https://0.1.2.3/a.png",
        "https://0/a.png",
        "https://017700000001/a.png",
        "https://127.1/a.png",
        "https://2130706433/a.png",
        "https://0x7f.1/a.png",
    ],
)
async def test_a_link_to_a_private_address_is_not_followed(url):
    async with open_transport(API, bounds=QUICK) as transport:
        with (
            trio.fail_after(5),
            pytest.raises(imagen.ProviderError, match="not a public address") as caught,
        ):
            await fetch(transport, url)
    assert (caught.value.billed, caught.value.retryable) == ("yes", False)


PUBLIC = [
    *("8.8.8.8", "93.184.216.34", "100.63.0.1", "172.32.0.1", "192.0.1.1"),
    *("2606:4700::1111", "2a00:1450::1", "2001:4860::8", "64:ff9b::808:808"),
]


@pytest.mark.parametrize("address", PUBLIC)
async def test_a_public_address_is_one(address):
    assert await resolve_public(address, 443) == [address]


@pytest.mark.parametrize("url", ["https://[fe80::1%25lo]/a.png", "https://127.0.0.1./a.png"])
async def test_an_address_with_a_zone_or_a_dot_is_not_followed_either(url):
    async with open_transport(API, bounds=QUICK) as transport:
        with trio.fail_after(5), pytest.raises(imagen.ProviderError) as caught:
            await fetch(transport, url)
    assert "Nothing was sent" in str(caught.value) or caught.value.billed == "yes"


@pytest.mark.parametrize("host", ["inside.example", "six.example", "mapped.example"])
async def test_a_name_of_a_private_address_is_not_followed(names, host):
    async with open_transport(API, bounds=QUICK) as transport:
        with pytest.raises(imagen.ProviderError, match=f"{host} is at .* not a public address"):
            await fetch(transport, f"https://{host}/a.png")


async def test_a_name_that_changes_its_address_between_look_and_connection_is_caught(names):
    assert await resolve_public("twofaced.example", 443) == ["93.184.216.34"]
    with pytest.raises(Exception, match="not a public address"):
        await BulkBackend(public_only=True).connect_tcp("twofaced.example", 443)


@pytest.mark.parametrize(
    "url", ["http://93.184.216.34/a.png", "ftp://example.com/a", "file:///etc/passwd"]
)
async def test_only_https_is_followed(url):
    async with open_transport(API) as transport:
        with pytest.raises(imagen.ProviderError, match="not https"):
            await fetch(transport, url)


async def test_a_local_engine_may_link_to_this_machine_and_nowhere_else(names):
    async with (
        open_server(answering(http_reply(PNG))) as engine,
        open_server(answering(http_reply(PNG))) as files,
    ):
        async with open_transport(engine.url) as transport:
            assert await fetch(transport, f"{files.url}/a.png") == PNG
            with pytest.raises(imagen.ProviderError, match="not a public address"):
                await fetch(transport, "https://inside.example/a.png")
    assert KEY.encode() not in b"".join(files.requests)


def redirecting(*locations: str) -> bytes:
    (location,) = locations
    return http_reply(b"", "302 Found", location=location)


async def test_a_link_is_followed_to_where_it_leads_without_the_key():
    async with open_server(answering(http_reply(PNG))) as target:
        async with (
            open_server(answering(redirecting(f"{target.url}/real.png"))) as link,
            open_server(answering(http_reply(b"{}"))) as engine,
        ):
            async with open_transport(engine.url) as transport:
                assert await fetch(transport, f"{link.url}/a.png") == PNG
    for server in (link, target):
        assert len(server.requests) == 1
        assert KEY.encode() not in server.requests[0]
        assert b"authorization" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("location", "sentence"),
    [
        ("https://10.0.0.1/a.png", "not a public address"),
        ("file:///etc/passwd", "no URL"),
        ("file:models", "no URL"),
        ("http://inside.example/a.png", "not https"),
        ("https://inside.example/a.png", "not a public address"),
        ("http://[broken", "not https"),
    ],
)
async def test_a_redirect_is_looked_at_like_the_link_itself(names, location, sentence):
    async with (
        open_server(answering(redirecting(location))) as link,
        open_server(answering()) as engine,
    ):
        async with open_transport(engine.url) as transport:
            with trio.fail_after(5), pytest.raises(imagen.ProviderError, match=sentence):
                await fetch(transport, f"{link.url}/a.png")


async def test_a_circle_of_redirects_ends():
    server: Server

    async def around(stream: trio.abc.Stream, request: bytes) -> None:
        await stream.send_all(redirecting(f"{server.url}/again"))

    async with open_server(around) as server, open_server(answering()) as engine:
        async with open_transport(engine.url) as transport:
            with trio.fail_after(5):
                assert await fetch(transport, f"{server.url}/a.png") == b"302"
    assert len(server.requests) == 6


async def test_the_provider_itself_is_never_followed_elsewhere():
    async with open_server(answering(http_reply(PNG))) as elsewhere:
        async with open_server(answering(redirecting(f"{elsewhere.url}/x"))) as engine:
            async with open_transport(engine.url) as transport:
                assert await fetch(transport, "models") == b"302"
    assert not elsewhere.requests


async def test_the_key_goes_to_the_provider_s_own_domains_over_https_only():
    provider = msgspec.structs.replace(openai.PROVIDER, key_domains=(".example.com",))
    sent: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200, stream=Nothing())

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
        async with open_transport(API, provider=provider, http=http) as transport:
            for url in (
                "https://eu1.example.com/poll",
                "https://example.org/poll",
                "https://badexample.com/poll",
            ):
                await fetch(transport, url)
            with pytest.raises(imagen.ProviderError, match="not https"):
                await fetch(transport, "http://eu1.example.com/poll")
    assert ["authorization" in request.headers for request in sent] == [True, False, False]


async def test_through_a_callers_own_connections_an_address_is_still_looked_at():
    async with httpx2.AsyncClient(
        transport=httpx2.MockTransport(lambda request: httpx2.Response(200, stream=Nothing()))
    ) as http:
        async with open_transport(API, http=http) as transport:
            with pytest.raises(imagen.ProviderError, match="not a public address"):
                await fetch(transport, "https://192.168.0.1/a.png")
            assert await fetch(transport, "https://only-the-proxy-knows.example/a.png") == b""


async def test_a_user_and_password_go_as_http_wants_them():
    provider = msgspec.structs.replace(openai.PROVIDER, basic_auth=True)
    async with open_server(answering(http_reply(b"{}"))) as server:
        async with open_transport(
            server.url, provider=provider, key="Aladdin:open-sesame"
        ) as transport:
            await fetch(transport, "models")
    assert b"authorization: basic qwxhzgrpbjpvcgvulxnlc2ftzq==" in server.requests[0].lower()
