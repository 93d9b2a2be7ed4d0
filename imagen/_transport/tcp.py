"""httpx2 over a network backend that hands over, in one read, as much decrypted
data as is there.

The reason: `trio.SSLStream` returns at most one TLS record (16 KiB) a call, and
every call costs a cancel scope, a checkpoint and a pass through the HTTP
parser. An image of 2 MB is 130 of them; reading up to 1 MiB at once nearly
doubles the images per second (figures: docs/design.md). Errors and timeouts
follow httpcore2's own backend.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType

import httpcore2
import httpx2
import trio

__all__ = [
    "READ_BYTES",
    "BulkBackend",
    "BulkTransport",
    "PlainStream",
    "as_httpx2",
    "read_socket",
    "resolve_public",
]

READ_BYTES = 1 << 20
# More than one record a call, so that a megabyte needs few of them.
_DECRYPT_BYTES = 1 << 18
# The buffer between the socket and the TLS layer keeps the size that it once
# had: with 1 MiB a batch of 2 MB replies takes a fifth more memory.
_ENCRYPTED_BYTES = 1 << 18
# The pool checks every idle connection for each request, and each check is a
# system call that hands the interpreter to another thread. A connection used
# this recently is taken to be open; it may close at any moment anyway.
_FRESH_SECONDS = 0.1
_SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# IANA's special-purpose registries (2026-11): `is_global` follows the version
# of Python. 192.88.99.0/24 relays to 6to4.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(text)
    for text in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    ]
)
# Where a network of IPv6 alone has every IPv4 address.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Everything else is local (64:ff9b:1::/48, fc00::/7, fe80::/10, fec0::/10), an
# IPv4 address in disguise (::/96), or not assigned.
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Within it: IETF protocols with Teredo, documentation, 6to4 and AS112.
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in ["2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"]
)


# The last two come from host names and ports that cannot be.
_BROKEN = (
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    OSError,
    UnicodeError,
    OverflowError,
)


_OF_HTTPCORE2 = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


class _Translation(AbstractContextManager[None]):
    """Context that raises other exceptions in place of some.

    It has no state, so one serves all requests: a generator for each call takes
    1 % of the time of a small image.

    Args:
        translate: Returns what to raise, and None for other exceptions.
    """

    def __init__(self, translate: Callable[[BaseException], Exception | None]) -> None:
        self._translate = translate

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and (other := self._translate(error)) is not None:
            raise other from error


def _of_trio(
    too_slow: type[httpcore2.TimeoutException], broken: type[httpcore2.NetworkError]
) -> _Translation:
    """Return the context that raises httpcore2's exceptions in place of Trio's."""

    def translate(error: BaseException) -> Exception | None:
        if isinstance(error, trio.TooSlowError):
            return too_slow(str(error))
        return broken(str(error)) if isinstance(error, _BROKEN) else None

    return _Translation(translate)


def _twin(error: BaseException) -> Exception | None:
    if not isinstance(error, _OF_HTTPCORE2):
        return None
    kind: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__)
    return kind(str(error))


_CONNECTING = _of_trio(httpcore2.ConnectTimeout, httpcore2.ConnectError)
_READING = _of_trio(httpcore2.ReadTimeout, httpcore2.ReadError)
_WRITING = _of_trio(httpcore2.WriteTimeout, httpcore2.WriteError)
_AS_HTTPX2 = _Translation(_twin)


def _within(seconds: float | None) -> AbstractContextManager[None]:
    return nullcontext() if seconds is None else _fail_after(seconds)


@contextmanager
def _fail_after(seconds: float) -> Iterator[None]:
    with trio.fail_after(seconds):
        yield


class PlainStream(httpcore2.AsyncNetworkStream):
    """Stream over a TCP connection. One task reads or writes at a time, so the
    socket is used without the guards of Trio's own stream.
    """

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self._socket = socket
        self._fresh_until = 0.0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _READING, _within(timeout):
            # The parser behind this takes any amount; max_bytes is its habit of
            # 64 KiB.
            return await self._socket.recv(max(max_bytes, READ_BYTES))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            with _WRITING, _within(timeout):
                await self._send(buffer)

    async def _send(self, data: bytes) -> None:
        sent = await self._socket.send(data)
        if sent < len(data):
            left = memoryview(data)[sent:]
            while left:
                left = left[await self._socket.send(left) :]

    def close(self) -> None:
        """Close the connection at once. TLS says no goodbye: the length of the
        body is known without.
        """
        self._socket.close()

    async def aclose(self) -> None:
        self.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> PlainStream:
        tls = _TlsStream(self._socket, ssl_context, server_hostname)
        try:
            with _CONNECTING, _within(timeout):
                await tls.handshake()
        except BaseException:
            self.close()
            raise
        return tls

    def get_extra_info(self, info: str) -> object:
        match info:
            case "socket":
                return self._socket
            case "is_readable":
                return self._is_readable()
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case _:
                return None

    def _is_readable(self) -> bool:
        """Return True if an idle connection has data to read: it can only be
        closing.
        """
        now = trio.current_time()
        if now < self._fresh_until:
            return False
        self._fresh_until = now + _FRESH_SECONDS
        return self._socket.is_readable()


class _TlsStream(PlainStream):
    def __init__(
        self, socket: trio.socket.SocketType, context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        super().__init__(socket)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )

    async def handshake(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                return await self._flush()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _READING, _within(timeout):
            while True:
                data, ended = self._decrypt()
                if data or ended:
                    return data
                await self._flush()
                await self._fill()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _WRITING, _within(timeout):
            self._tls.write(buffer)
            await self._flush()

    def get_extra_info(self, info: str) -> object:
        return self._tls if info == "ssl_object" else super().get_extra_info(info)

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self._send(data)

    async def _fill(self) -> None:
        """Read what the socket has. The TLS layer decides if the end of the
        stream was orderly.
        """
        if data := await self._socket.recv(_ENCRYPTED_BYTES):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _decrypt(self) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        size = 0
        try:
            while size < READ_BYTES:
                piece = self._tls.read(_DECRYPT_BYTES)
                if not piece:
                    return b"".join(pieces), True
                pieces.append(piece)
                size += len(piece)
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # Many servers close without a TLS goodbye. The HTTP parser above
            # knows whether the body was complete.
            return b"".join(pieces), True
        return b"".join(pieces), False


async def resolve_public(host: str, port: int, *, allow_loopback: bool = False) -> list[str]:
    """Return the addresses of a host if all are public: none private, loopback
    or link-local.

    Raises:
        PermissionError: one of them is not public.
        OSError: the name has no address.
    """
    found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    addresses = [str(address[4][0]) for address in found]
    for text in addresses:
        address = _unmapped(ipaddress.ip_address(text.partition("%")[0]))
        if allow_loopback and address.is_loopback:
            continue
        if not _is_public(address):
            where = host if host == text else f"{host} is at {address}, which"
            raise PermissionError(f"{where} is not a public address")
    return addresses


def _unmapped(address: _Address) -> _Address:
    """Return the IPv4 address that the system connects to for ::ffff:a.b.c.d."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_public(address: _Address) -> bool:
    # Both: the list is fixed, and a later Python may know of more.
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address in _NAT64:
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _NOT_PUBLIC_6)


class BulkBackend(httpcore2.AsyncNetworkBackend):
    """Connects by TCP; see the module. With `public_only` to no address that
    only this machine or its network can reach.
    """

    def __init__(self, *, public_only: bool = False, allow_loopback: bool = False) -> None:
        self._public_only = public_only
        self._allow_loopback = allow_loopback

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> PlainStream:
        with _CONNECTING, _within(timeout):
            if self._public_only:
                # By the address that was looked at: a name may have another one
                # a moment later.
                host = (await resolve_public(host, port, allow_loopback=self._allow_loopback))[0]
            stream = await trio.open_tcp_stream(host, port, local_address=local_address)
        return PlainStream(stream.socket)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class BulkTransport(httpx2.AsyncBaseTransport):
    """httpcore2's connection pool over this backend; httpx2 has no public way
    to choose one.

    Raises:
        httpx2.TransportError: as httpx2's own transport does.
    """

    def __init__(self, *, public_only: bool = False, allow_loopback: bool = False) -> None:
        self._backend = BulkBackend(public_only=public_only, allow_loopback=allow_loopback)
        self._pools: dict[str, httpcore2.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = request.url
        with as_httpx2():
            response = await self._pool(url.scheme).handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            response.status,
            headers=response.headers,
            stream=_PoolStream(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, scheme: str) -> httpcore2.AsyncConnectionPool:
        if scheme not in self._pools:
            # Reading the certificates takes 20 ms and some megabytes, which
            # plain http has no use for.
            context = httpx2.create_ssl_context() if scheme == "https" else None
            self._pools[scheme] = httpcore2.AsyncConnectionPool(
                ssl_context=context,
                max_connections=None,
                max_keepalive_connections=None,
                keepalive_expiry=30.0,
                network_backend=self._backend,
            )
        return self._pools[scheme]


class _PoolStream(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._response.aiter_stream()
        try:
            while True:
                with as_httpx2():
                    part = await anext(parts, None)
                if part is None:
                    return
                yield part
        finally:
            # A body that is dropped half-way leaves no generator behind for the
            # garbage collector to complain about.
            with trio.move_on_after(1, shield=True):
                await parts.aclose()

    async def aclose(self) -> None:
        await self._response.aclose()


async def read_socket(response: httpx2.Response) -> bytes:
    """The next bytes of a connection that a request turned into a socket; b""
    at its end.
    """
    stream: httpcore2.AsyncNetworkStream = response.extensions["network_stream"]
    with as_httpx2():
        return await stream.read(READ_BYTES)


def as_httpx2() -> AbstractContextManager[None]:
    """Every exception of httpcore2 has its twin of the same name in httpx2."""
    return _AS_HTTPX2
