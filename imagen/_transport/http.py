"""The way to a provider over HTTP: by `http1` to the provider's own origin, and
by httpx2 through a proxy, through a client of the caller's, and to links.
"""

from __future__ import annotations

import ipaddress
import re
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import httpx2
import msgspec
import pybase64
import trio

from .._errors import ImagenError, OutcomeUnknownError, ProviderError
from .._policy.bounds import Bounds
from .._system.secret import Secret
from .._system.urls import check_host, is_loopback
from ..providers._provider import Provider
from ..providers._steps import HttpRequest, StreamedReply
from .proxies import ProxiedTransport, has_proxies, proxy_of

if TYPE_CHECKING:
    from .http1 import Http1Client

__all__ = ["HttpTransport", "Sign"]

Sign = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Mapping[str, str]]]
"""Returns the headers that sign a request: its method, its URL, the headers to
sign, and its body.
"""

Response = TypeVar("Response")

_INFLATE_BYTES = 1 << 20
# Browsers follow 20; a download from a store takes one or two.
_MOST_REDIRECTS = 5
_BREAKS = re.compile(r"[\r\n\t]+")
# Parsing a URL takes 30 us; most requests have the same few.
_MOST_URLS = 64
# Marks a request to another host than the provider's.
_KEYLESS = "imagen_link"


def _is_address(url: httpx2.URL) -> bool:
    try:
        ipaddress.ip_address(url.host)
    except ValueError:
        return url.host == "localhost"
    return True


class HttpTransport:
    """Sends requests to a provider. The key goes to the provider's own origin and
    nowhere else.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        base_url: str,
        key: Secret | None,
        bounds: Bounds,
        user_agent: str,
        http: httpx2.AsyncClient | None = None,
        sign: Sign | None = None,
    ) -> None:
        self._provider = provider
        self._base_url = httpx2.URL(base_url)
        self._origin = _origin(self._base_url)
        self._key = key
        self._bounds = bounds
        self._user_agent = user_agent
        self._http = http
        self._sign = sign
        self._owns_http = http is None
        self._links: httpx2.AsyncClient | None = None
        self._direct: Http1Client | None = None
        self._url = lru_cache(_MOST_URLS)(httpx2.URL)

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[StreamedReply]:
        url = self._locate(request)
        send = self._send_directly if self._goes_directly(url, request) else self._send_by_httpx2
        departure, response = await send(request, url)
        reply = _HttpReply(response, partial(self._broken, departure))
        try:
            reply.prepare()
            yield reply
        finally:
            await reply.aclose()

    async def aclose(self) -> None:
        if self._http is not None and self._owns_http:
            await self._http.aclose()
        if self._links is not None and self._links is not self._http:
            await self._links.aclose()
        if self._direct is not None:
            await self._direct.aclose()

    # --- straight to the provider ---------------------------------------------

    @cached_property
    def _may_go_directly(self) -> bool:
        return self._owns_http and self._sign is None and proxy_of(self._base_url) is None

    def _goes_directly(self, url: httpx2.URL, request: HttpRequest) -> bool:
        return (
            self._may_go_directly
            and "upgrade" not in request.headers
            and _origin(url) == self._origin
        )

    async def _send_directly(
        self, request: HttpRequest, url: httpx2.URL
    ) -> tuple[_Departure, _Response]:
        departure = _Departure(url)
        send = partial(
            self._direct_client().send,
            request.method,
            url.raw_path,
            self._headers(request, trusted=True),
            request.body,
            departure.note,
        )
        return departure, await self._await_head(departure, send)

    def _direct_client(self) -> Http1Client:
        if self._direct is None:
            # Imported when used; see _open_http_client.
            from .http1 import Http1Client

            self._direct = Http1Client(
                self._base_url,
                connect_seconds=self._bounds.connect_seconds,
                write_seconds=self._bounds.idle_seconds,
            )
        return self._direct

    async def _await_head(
        self, departure: _Departure, send: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Send a request and return its reply, or raise by what had left."""
        try:
            with trio.move_on_after(self._bounds.reply_seconds) as wait:
                return await send()
        except ImagenError:
            raise
        except Exception as error:
            raise self._broken(departure, error) from error
        assert wait.cancelled_caught
        if not departure.has_left:
            seconds = f"no connection within {self._bounds.reply_seconds:g} seconds"
            raise self._unreachable(departure.url, trio.TooSlowError(seconds))
        raise OutcomeUnknownError(
            f"{self._provider.name} gave no answer within {self._bounds.reply_seconds:g} seconds;"
            " it may be billed.",
            details={"fault": "no answer"},
        )

    # --- by httpx2 ------------------------------------------------------------

    async def _send_by_httpx2(
        self, request: HttpRequest, url: httpx2.URL
    ) -> tuple[_Departure, _Response]:
        http_request = self._build(request, url)
        departure, response = await self._send(http_request)
        for _ in range(_MOST_REDIRECTS):
            if (
                not self._is_link(http_request)
                or http_request.method != "GET"
                or not response.has_redirect_location
            ):
                break
            http_request = await self._redirect(request, response)
            departure, response = await self._send(http_request)
        return departure, _ClientReply(response)

    async def _send(self, http_request: httpx2.Request) -> tuple[_Departure, httpx2.Response]:
        is_link = self._is_link(http_request)
        if self._sign is not None and not is_link:
            await self._add_signature(self._sign, http_request)
        # A transport of the caller's may send the content another way.
        departure = _Departure(http_request.url, has_left=not self._owns_http)
        if self._owns_http:
            http_request.stream = _WatchedBody(http_request.stream, departure)

        async def send() -> httpx2.Response:
            if is_link:
                await self._check_public(http_request.url)
            client = self._link_client() if is_link else self._client()
            return await client.send(http_request, stream=True, follow_redirects=False)

        return departure, await self._await_head(departure, send)

    async def _add_signature(self, sign: Sign, http_request: httpx2.Request) -> None:
        """Sign the request as it leaves: each retry has a time of its own."""
        names = ("host", "content-type")
        headers = {
            name: http_request.headers[name] for name in names if name in http_request.headers
        }
        signed = await sign(
            http_request.method, str(http_request.url), headers, await http_request.aread()
        )
        http_request.headers.update(signed)

    async def _redirect(self, request: HttpRequest, response: httpx2.Response) -> httpx2.Request:
        """Return the request for a redirect, checked like the link itself."""
        with trio.move_on_after(1, shield=True):
            await response.aclose()
        try:
            target = response.url.join(response.headers["location"])
            if not target.host:
                # It would be taken for a path below the base URL.
                raise ValueError("no host")
        except (httpx2.InvalidURL, ValueError) as error:
            raise ProviderError("The link leads on to no URL.", billed="yes") from error
        request = msgspec.structs.replace(request, url=str(target))
        return self._build(request, self._locate(request))

    def _is_link(self, http_request: httpx2.Request) -> bool:
        """Return True if the URL is a link to another host than the provider's:
        it is untrusted.
        """
        return _KEYLESS in http_request.extensions

    def _is_providers(self, url: httpx2.URL, request: HttpRequest) -> bool:
        if _origin(url) == self._origin:
            return True
        if request.collects or url.scheme != "https":
            return False
        return any(url.host.endswith(domain) for domain in self._provider.key_domains)

    async def _check_public(self, url: httpx2.URL) -> None:
        # The caller's own client, or a proxy, may resolve names differently:
        # only addresses count.
        elsewhere = not self._owns_http or proxy_of(url) is not None
        if elsewhere and not _is_address(url):
            return
        # Imported when used; see _open_http_client.
        from .tcp import resolve_public

        try:
            await resolve_public(
                url.host, url.port or 443, allow_loopback=is_loopback(self._base_url)
            )
        except PermissionError as error:
            raise ProviderError(f"The link was not followed: {error}.", billed="yes") from error
        except OSError as error:
            raise httpx2.ConnectError(str(error)) from error

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            self._http = _open_http_client(self._bounds)
        return self._http

    def _link_client(self) -> httpx2.AsyncClient:
        if self._links is None:
            loopback = is_loopback(self._base_url)
            self._links = (
                _open_link_client(self._bounds, allow_loopback=loopback)
                if self._owns_http
                else self._client()
            )
        return self._links

    def _headers(self, request: HttpRequest, *, trusted: bool) -> dict[str, str]:
        headers = {"user-agent": self._user_agent, "accept-encoding": "identity", **request.headers}
        if self._key is not None and trusted:
            headers[self._provider.key_header] = self._key_header(self._key)
        return headers

    def _build(self, request: HttpRequest, url: httpx2.URL) -> httpx2.Request:
        trusted = self._is_providers(url, request)
        # A client of the caller's may wait for 5 seconds, which is httpx2's
        # default: less than an image takes.
        timeout = _timeout(self._bounds)
        return self._client().build_request(
            request.method,
            url,
            headers=self._headers(request, trusted=trusted),
            content=request.body or None,
            timeout=timeout,
            extensions={} if trusted else {_KEYLESS: True},
        )

    def _key_header(self, key: Secret) -> str:
        if self._provider.basic_auth:
            return f"Basic {pybase64.b64encode_as_string(key.reveal().encode())}"
        return self._provider.key_prefix + key.reveal()

    def _locate(self, request: HttpRequest) -> httpx2.URL:
        text = request.url
        try:
            if "://" not in text and not text.startswith("//"):
                return self._url(f"{self._base_url}/{text}")
            url = httpx2.URL(_tidy_link(text))
            check_host(url)
        except (httpx2.InvalidURL, ValueError) as error:
            raise ProviderError("The link is not a URL.", billed="yes") from error
        url = self._secure(url) if request.collects else url
        if url.scheme == "https" or (
            url.scheme == "http" and is_loopback(url) and is_loopback(self._base_url)
        ):
            return url
        raise ProviderError("The link is not https; it was not followed.", billed="yes")

    def _secure(self, url: httpx2.URL) -> httpx2.URL:
        """Return a link by https. A server behind a proxy may give its links
        with http, or as localhost.
        """
        base = self._base_url
        if is_loopback(base) or url.scheme not in ("http", "https"):
            return url
        if is_loopback(url) or (url.scheme == "http" and url.host == base.host):
            return url.copy_with(scheme=base.scheme, host=base.host, port=base.port)
        if url.scheme == "http":
            return url.copy_with(scheme="https", port=None if url.port == 80 else url.port)
        return url

    def _broken(self, departure: _Departure, error: Exception) -> ProviderError:
        """Return what to raise for a fault of the connection; a transport of the
        caller's may raise anything.
        """
        if isinstance(error, _NOT_SENT) or not departure.has_left:
            return self._unreachable(departure.url, error)
        return OutcomeUnknownError(
            f"The connection to {self._provider.name} broke before the whole answer was there"
            f" ({_reason(error)}); it may be billed.",
            details={"fault": type(error).__name__},
        )

    def _unreachable(self, url: httpx2.URL, error: Exception) -> ProviderError:
        return ProviderError(
            f"{self._provider.name} cannot be reached at {url.scheme}://{url.netloc.decode()}:"
            f" {_reason(error)}. Nothing was sent; check the network and the base URL.",
            retryable=isinstance(error, (httpx2.HTTPError, trio.TooSlowError)),
            details={"fault": type(error).__name__},
        )


_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


def _tidy_link(text: str) -> str:
    """Return a link without the traces of the text that it was taken from."""
    text = _BREAKS.sub("", text.strip()).replace("&amp;", "&").replace(" ", "%20")
    return f"https:{text}" if text.startswith("//") else text


class _Departure:
    """URL of a request, and a note that it leaves. Without its body a server
    has nothing to bill.
    """

    def __init__(self, url: httpx2.URL, *, has_left: bool = False) -> None:
        self.url = url
        self.has_left = has_left

    def note(self) -> None:
        self.has_left = True


class _WatchedBody(httpx2.AsyncByteStream):
    """Body of a request, which notes that it leaves."""

    def __init__(
        self,
        body: httpx2.SyncByteStream | httpx2.AsyncByteStream | None,
        departure: _Departure,
    ) -> None:
        assert isinstance(body, httpx2.AsyncByteStream)
        self._body = body
        self._departure = departure

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._departure.note()
        return aiter(self._body)


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


class _Response(Protocol):
    """Reply as it comes: of `Http1Client`, or of httpx2."""

    status: int
    headers: dict[str, str]

    async def receive(self) -> bytes: ...

    async def aclose(self) -> None:
        """Drop what has not come, shielded and within a bound."""
        ...


class _ClientReply:
    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._chunks = response.aiter_raw()

    async def receive(self) -> bytes:
        if self.status == 101:
            # Imported when used; see _open_http_client.
            from .tcp import read_socket

            return await read_socket(self._response)
        return await anext(self._chunks, b"")

    async def aclose(self) -> None:
        with trio.move_on_after(1, shield=True):
            await self._chunks.aclose()
            await self._response.aclose()


class _HttpReply:
    """Reply whose body is unpacked."""

    def __init__(
        self,
        response: _Response,
        broken: Callable[[Exception], ProviderError],
    ) -> None:
        self._response = response
        self._broken = broken
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        if "retry-after" in self.headers and "date" not in self.headers:
            # A recipient records when such a reply came (RFC 9110, 6.6.1).
            self.headers = {**self.headers, "date": formatdate(usegmt=True)}
        self._inflater: zlib._Decompress | None = None
        self._deflated = b""

    def prepare(self) -> None:
        """Looks how the body is compressed.

        Raises:
            ProviderError: in a way that was not asked for.
        """
        self._inflater = _choose_inflater(self.headers.get("content-encoding", "identity"))

    async def receive_some(self) -> bytes:
        # Here, and not around the whole reply: who reads it may go on after its
        # error.
        try:
            return await self._receive()
        except ImagenError:
            raise
        except Exception as error:
            raise self._broken(error) from error

    async def _receive(self) -> bytes:
        while True:
            if self._inflater is None:
                return await self._response.receive()
            if not self._deflated:
                self._deflated = await self._response.receive()
                # Bytes after the end of the compressed data are ignored.
                if not self._deflated or self._inflater.eof:
                    return b""
            try:
                # Bounded pieces, so that a small body that unpacks to gigabytes
                # meets the size limit on the way.
                data = self._inflater.decompress(self._deflated, _INFLATE_BYTES)
            except zlib.error as error:
                raise ProviderError(
                    "The reply is compressed and cannot be unpacked.", billed="unknown"
                ) from error
            self._deflated = self._inflater.unconsumed_tail
            if data:
                return data

    async def aclose(self) -> None:
        await self._response.aclose()


def _choose_inflater(encoding: str) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            # 32 more than the largest window: zlib detects gzip and zlib by
            # itself.
            return zlib.decompressobj(zlib.MAX_WBITS | 32)
        case _:
            raise ProviderError(
                "The reply is compressed in a way that was not asked for.", billed="unknown"
            )


def _timeout(bounds: Bounds) -> httpx2.Timeout:
    return httpx2.Timeout(None, connect=bounds.connect_seconds, write=bounds.idle_seconds)


def _open_http_client(bounds: Bounds) -> httpx2.AsyncClient:
    # Imported when used: its HTTP/1 and HTTP/2 parsers take a quarter of the
    # import of httpx2.
    from .tcp import BulkTransport

    return httpx2.AsyncClient(timeout=_timeout(bounds), transport=_with_proxies(BulkTransport()))


def _open_link_client(bounds: Bounds, *, allow_loopback: bool) -> httpx2.AsyncClient:
    # Imported when used; see _open_http_client.
    from .tcp import BulkTransport

    transport = BulkTransport(public_only=True, allow_loopback=allow_loopback)
    return httpx2.AsyncClient(timeout=_timeout(bounds), transport=_with_proxies(transport))


def _with_proxies(direct: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    return ProxiedTransport(direct) if has_proxies() else direct
