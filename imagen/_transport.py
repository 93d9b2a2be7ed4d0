"""Carries out an exchange over HTTP: the only file that imports the HTTP client."""

from __future__ import annotations

import ipaddress
import math
import urllib.request
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager

import httpcore2
import httpx2
import msgspec
import trio

from ._errors import ConfigurationError, OutcomeUnknownError, ProviderError
from ._exchange import (
    Accepted,
    Compute,
    Exchange,
    HttpRequest,
    HttpResponse,
    Partial,
    Pictures,
    ReadChunk,
    Reply,
    Step,
    Transport,
    Wait,
)
from ._network import BulkBackend
from ._providers import Provider
from ._retry import RetryPolicy, retry_steps
from ._secrets import Secret
from ._workers import Workers

__all__ = ["Bounds", "ExchangeDriver", "HttpTransport", "Watch", "check_base_url", "is_loopback"]

_INFLATE_BYTES = 1 << 20


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much one step may take.

    `reply_seconds` is the time to the first byte, which is when the picture is drawn: the official OpenAI SDK waits 600 s.
    `max_body_bytes` holds for a body, and in a stream for what comes from one preview to the next.
    """

    connect_seconds: float = 15.0
    reply_seconds: float = 600.0
    idle_seconds: float = 60.0
    max_body_bytes: int = 256 << 20


class Watch:
    """What the driver tells while it works; the base class ignores it all."""

    async def before_sending(self) -> None:
        """A step that may be billed leaves when this returns."""

    async def accepted(self, job: Accepted) -> None:
        """The provider knows the job by an id now."""

    def preview(self, partial: Partial) -> None:
        """An unfinished picture came."""


class ExchangeDriver:
    """Runs the exchanges of one provider: sends, waits, computes, retries what is repeatable."""

    def __init__(self, transport: Transport, *, bounds: Bounds, retry: RetryPolicy, workers: Workers) -> None:
        self._transport = transport
        self._bounds = bounds
        self._retry = retry
        self._workers = workers
        self._cache: dict[str, tuple[float, HttpResponse]] = {}
        self._cache_lock = trio.Lock()

    async def run(self, exchange: Exchange, watch: Watch) -> Pictures:
        """Steps an exchange to its end. A cancellation closes the connection in use and leaves nothing behind.

        Raises:
            ImagenError: what the provider raised, or what happened on the way.
        """
        answer: HttpResponse | bytes | None = None
        billable = False
        async with AsyncExitStack() as open_reply:
            reply: Reply | None = None
            streamed_bytes = 0
            try:
                while True:
                    try:
                        step = exchange.send(answer)
                    except StopIteration as done:
                        result: Pictures = done.value
                        return result
                    if isinstance(step, HttpRequest) and not step.repeatable and not billable:
                        await watch.before_sending()
                        billable = True
                    if isinstance(step, HttpRequest) and step.stream:
                        reply = await open_reply.enter_async_context(self._transport.open(step))
                        answer = HttpResponse(status=reply.status, headers=reply.headers)
                    elif isinstance(step, ReadChunk):
                        assert reply is not None, "ReadChunk before a streamed request"
                        answer = await self._receive(reply)
                        streamed_bytes += len(answer)
                        self._check_size(streamed_bytes)
                    else:
                        # A preview that is shown is not kept, so its bytes do not count any more.
                        streamed_bytes = 0
                        answer = await self._perform(step, watch, billable=billable)
            finally:
                exchange.close()

    async def _perform(self, step: Step, watch: Watch, *, billable: bool) -> HttpResponse | bytes | None:
        match step:
            case HttpRequest() if step.cache_seconds > 0:
                return await self._send_cached(step)
            case HttpRequest(repeatable=True):
                return await self._send_repeatable(step, billable=billable)
            case HttpRequest():
                return await self.send(step)
            case Wait(seconds=seconds):
                await trio.sleep(seconds)
            case Compute(call=call):
                await watch.before_sending()
                return await self._workers.run(call)
            case Partial():
                watch.preview(step)
            case Accepted():
                await watch.accepted(step)
            case _:
                raise AssertionError(f"{step!r} is no step")
        return None

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Sends one request, once, and reads the whole answer."""
        async with self._transport.open(request) as reply:
            body = await self._read_body(reply)
            return HttpResponse(status=reply.status, headers=reply.headers, body=body)

    async def _send_repeatable(self, request: HttpRequest, *, billable: bool) -> HttpResponse:
        try:
            async for attempt in retry_steps(self._retry):
                with attempt:
                    return _retry_later(await self.send(request))
        except _TriedEnough as tried:
            return tried.response
        except ProviderError as error:
            if billable:
                # Also where nothing was sent on this step: the picture must not be ordered, and paid, once more.
                text = f"The picture was made and billed, but could not be fetched. {error.message}"
                raise ProviderError(text, billed="yes", details=error.details) from error
            retryable = error.retryable or isinstance(error, OutcomeUnknownError)
            raise ProviderError(error.message, retryable=retryable, details=error.details) from error
        raise AssertionError("a retry loop ends in a result or an error")  # pragma: no cover (for the type checker)

    async def _send_cached(self, request: HttpRequest) -> HttpResponse:
        async with self._cache_lock:
            fresh_until, response = self._cache.get(request.url, (-math.inf, None))
            if response is None or fresh_until < trio.current_time():
                response = await self._send_repeatable(request, billable=False)
                if response.status == 200:
                    self._cache[request.url] = (trio.current_time() + request.cache_seconds, response)
            return response

    async def _read_body(self, reply: Reply) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while piece := await self._receive(reply):
            pieces.append(piece)
            size += len(piece)
            self._check_size(size)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _check_size(self, size: int) -> None:
        if size > self._bounds.max_body_bytes:
            raise ProviderError(
                f"The reply is larger than {self._bounds.max_body_bytes:,} bytes; it was dropped, and may be billed.",
                billed="unknown",
            )

    async def _receive(self, reply: Reply) -> bytes:
        with trio.move_on_after(self._bounds.idle_seconds):
            return await reply.receive_some()
        raise OutcomeUnknownError(
            f"The reply stopped in the middle for {self._bounds.idle_seconds:g} seconds; it may be billed.",
            details={"fault": "stall"},
        )


class _TriedEnough(ProviderError):
    """A repeatable step that was answered by an outage; the answer itself is what the exchange gets in the end."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(f"The provider answered {response.status}.", retryable=True)
        self.response = response


def _retry_later(response: HttpResponse) -> HttpResponse:
    if response.status == 429 or response.status >= 500:
        raise _TriedEnough(response)
    return response


# --- HTTP -----------------------------------------------------------------------------------------------------------


def is_loopback(url: httpx2.URL) -> bool:
    """Whether a URL points at this machine, by its text alone."""
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"


def check_base_url(text: str, *, variable: str) -> str:
    """A base URL that a key may be sent to: https, or plain http on this machine.

    Raises:
        ConfigurationError: it is something else; the message names the variable, and not what else the URL holds.
    """
    try:
        url = httpx2.URL(text.strip())
        _check_host(url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigurationError(f"{variable} is no URL; it should look like https://api.example.com/v1.") from None
    if url.userinfo:
        raise ConfigurationError(f"{variable} holds a user name or password; put the key into its own variable.")
    if not url.host or (url.scheme != "https" and not (url.scheme == "http" and is_loopback(url))):
        raise ConfigurationError(
            f"{variable} must begin with https://, or with http:// for a server on this machine; the key would be readable "
            f"on the way to {url.scheme}://{url.host}."
        )
    if url.query or url.fragment:
        raise ConfigurationError(f"{variable} must end with its path: leave out what begins with ? or #.")
    return str(url).rstrip("/")


def _check_host(url: httpx2.URL) -> None:
    """Raises ValueError where no host and port can be so, which the system calls would only find out too late."""
    url.host.encode("idna")
    if url.port is not None and url.port > 65535:
        raise ValueError("no port is above 65535")


class HttpTransport:
    """Sends requests with httpx2. The key goes to the provider's own origin and nowhere else."""

    def __init__(
        self,
        provider: Provider,
        *,
        base_url: str,
        key: Secret | None,
        bounds: Bounds,
        user_agent: str,
        http: httpx2.AsyncClient | None = None,
    ) -> None:
        self._provider = provider
        self._base_url = httpx2.URL(base_url)
        self._key = key
        self._bounds = bounds
        self._user_agent = user_agent
        self._http = http
        self._owns_http = http is None

    @asynccontextmanager
    async def open(self, request: HttpRequest) -> AsyncIterator[Reply]:
        http_request = self._build(request)
        with self._translate(http_request.url), trio.move_on_after(self._bounds.reply_seconds) as wait:
            response = await self._client().send(http_request, stream=True, follow_redirects=False)
        if wait.cancelled_caught:
            raise OutcomeUnknownError(
                f"{self._provider.name} gave no answer within {self._bounds.reply_seconds:g} seconds; it may be billed.",
                details={"fault": "no answer"},
            )
        reply = _HttpReply(response)
        try:
            with self._translate(http_request.url):
                reply.prepare()
                yield reply
        finally:
            with trio.move_on_after(1, shield=True):
                await reply.aclose()

    async def aclose(self) -> None:
        if self._http is not None and self._owns_http:
            await self._http.aclose()

    def _client(self) -> httpx2.AsyncClient:
        if self._http is None:
            self._http = _open_http_client(self._bounds)
        return self._http

    def _build(self, request: HttpRequest) -> httpx2.Request:
        url = self._locate(request.url)
        headers = {"user-agent": self._user_agent, "accept-encoding": "identity", **request.headers}
        if self._key is not None and _origin(url) == _origin(self._base_url):
            headers[self._provider.key_header] = self._provider.key_prefix + self._key.reveal()
        # A client of the caller's may wait for 5 seconds, which is httpx2's default: less than a picture takes.
        timeout = _timeout(self._bounds)
        return self._client().build_request(
            request.method, url, headers=headers, content=request.body or None, timeout=timeout
        )

    def _locate(self, text: str) -> httpx2.URL:
        try:
            if "://" not in text:
                return httpx2.URL(f"{self._base_url}/{text}")
            url = httpx2.URL(text)
            _check_host(url)
        except (httpx2.InvalidURL, ValueError) as error:
            raise ProviderError(f"{self._provider.name} gave a link that is no URL.", billed="yes") from error
        if url.scheme == "https" or (url.scheme == "http" and is_loopback(url) and is_loopback(self._base_url)):
            return url
        raise ProviderError(f"{self._provider.name} gave a link that is not https; it was not followed.", billed="yes")

    @contextmanager
    def _translate(self, url: httpx2.URL) -> Iterator[None]:
        name = self._provider.name
        try:
            yield
        except _NOT_SENT as error:
            raise ProviderError(
                f"{name} cannot be reached at {url.scheme}://{url.netloc.decode()}: {_reason(error)}. Nothing was sent; check "
                "the network and the base URL.",
                retryable=True,
                details={"fault": type(error).__name__},
            ) from error
        except (httpx2.HTTPError, httpx2.StreamError, httpcore2.TimeoutException, *_LOST) as error:
            raise OutcomeUnknownError(
                f"The connection to {name} broke before the whole answer was there ({_reason(error)}); it may be billed.",
                details={"fault": type(error).__name__},
            ) from error


_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.LocalProtocolError,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
    httpcore2.ConnectError,
    httpcore2.ConnectTimeout,
    httpcore2.LocalProtocolError,
    httpcore2.PoolTimeout,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)
_LOST = (httpcore2.NetworkError, httpcore2.ProtocolError)


def _reason(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


class _HttpReply:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._chunks = response.aiter_raw()
        self._inflater: zlib._Decompress | None = None
        self._deflated = b""

    def prepare(self) -> None:
        """Looks how the body is compressed.

        Raises:
            ProviderError: in a way that was not asked for.
        """
        self._inflater = _choose_inflater(self.headers.get("content-encoding", "identity"))

    async def receive_some(self) -> bytes:
        while True:
            if self._inflater is None:
                return await anext(self._chunks, b"")
            if not self._deflated:
                self._deflated = await anext(self._chunks, b"")
                # What comes behind the end of the compressed data is nothing, however long it is.
                if not self._deflated or self._inflater.eof:
                    return b""
            try:
                # Bounded pieces, so that a small body that unpacks to gigabytes meets the size limit on the way.
                data = self._inflater.decompress(self._deflated, _INFLATE_BYTES)
            except zlib.error as error:
                raise ProviderError("The reply is compressed and cannot be unpacked.", billed="unknown") from error
            self._deflated = self._inflater.unconsumed_tail
            if data:
                return data

    async def aclose(self) -> None:
        await self._chunks.aclose()
        await self._response.aclose()


def _choose_inflater(encoding: str) -> zlib._Decompress | None:
    match encoding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip" | "deflate":
            # 32 more than the largest window: zlib finds out itself whether it is gzip or zlib.
            return zlib.decompressobj(zlib.MAX_WBITS | 32)
        case _:
            raise ProviderError("The reply is compressed in a way that was not asked for.", billed="unknown")


def _timeout(bounds: Bounds) -> httpx2.Timeout:
    return httpx2.Timeout(None, connect=bounds.connect_seconds, write=bounds.idle_seconds)


def _open_http_client(bounds: Bounds) -> httpx2.AsyncClient:
    timeout = _timeout(bounds)
    # httpx2 looks for proxies in the environment only where it builds the transport itself.
    if urllib.request.getproxies():
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        return httpx2.AsyncClient(timeout=timeout, limits=limits)
    return httpx2.AsyncClient(timeout=timeout, transport=_BulkTransport())


class _BulkTransport(httpx2.AsyncBaseTransport):
    """httpcore2's connection pool over our network backend; httpx2 has no public way to choose one."""

    def __init__(self) -> None:
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=httpx2.create_ssl_context(),
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=30.0,
            network_backend=BulkBackend(),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        response = await self._pool.handle_async_request(
            httpcore2.Request(
                method=request.method,
                url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx2.Response(
            response.status, headers=response.headers, stream=_PoolStream(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _PoolStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # A body that is dropped half-way leaves no generator behind for the garbage collector to complain about.
        async with aclosing(self._response.aiter_stream()) as parts:
            async for part in parts:
                yield part

    async def aclose(self) -> None:
        await self._response.aclose()
