"""Proxies of the environment: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, and
the proxies of the system on macOS and Windows.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import urllib.request
from contextlib import suppress

import httpx2

from .._errors import ConfigurationError
from .._system.setting_text import clean_text
from .._system.urls import check_host, is_loopback

__all__ = ["ProxiedTransport", "check_proxies", "has_proxies", "proxy_of"]

_SCHEMES = ("all", "https", "http")
_KNOWN = ("http", "https", "socks5", "socks5h")


def has_proxies() -> bool:
    """Return True if the environment names a proxy."""
    return bool(_named())


def check_proxies() -> None:
    """Check every proxy of the environment, before anything is sent.

    Raises:
        ConfigurationError: one is no URL, of an unknown kind, or needs a
            package that is not installed; the message names the variable.
    """
    for variable, text in _named().items():
        _read(variable, text)


def proxy_of(url: httpx2.URL) -> httpx2.Proxy | None:
    """Return the proxy that a URL goes through; None if it goes directly, as
    everything on this machine does.

    Raises:
        ConfigurationError: as `check_proxies`.
    """
    named = _named()
    scheme = url.scheme if url.scheme in named else "all"
    if scheme not in named or _is_direct(url):
        return None
    return _read(scheme, named[scheme])


def _named() -> dict[str, str]:
    found = urllib.request.getproxies()
    texts = {scheme: clean_text(found.get(scheme, "")) for scheme in _SCHEMES}
    return {scheme: text for scheme, text in texts.items() if text}


def _is_direct(url: httpx2.URL) -> bool:
    host = f"[{url.host}]" if ":" in url.host else url.host
    place = host if url.port is None else f"{host}:{url.port}"
    return (
        is_loopback(url)
        or host.rstrip(".").endswith(".localhost")
        or bool(urllib.request.proxy_bypass(place))
        or _is_excepted(url.host)
    )


def _is_excepted(host: str) -> bool:
    """Return True if NO_PROXY lists the address, or a network with it: urllib
    compares names only.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in urllib.request.getproxies().get("no", "").split(","):
        with suppress(ValueError):
            if address in ipaddress.ip_network(entry.strip(" []"), strict=False):
                return True
    return False


def _read(scheme: str, text: str) -> httpx2.Proxy:
    variable = f"{scheme.upper()}_PROXY"
    kind, _, rest = text.rpartition("://")
    # GNOME writes socks:// and means version 5.
    kind = {"": "http", "socks": "socks5"}.get(kind.lower(), kind.lower())
    if kind not in _KNOWN:
        raise ConfigurationError(
            f"{variable} names a proxy of an unknown kind: expected a URL that begins with"
            f" {', '.join(f'{known}://' for known in _KNOWN)}. Correct it or unset it."
        )
    if kind.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise ConfigurationError(
            f"{variable} names a SOCKS proxy, which needs a package that is not installed:"
            ' pip install "imagen-trio[socks]", or unset it.'
        )
    try:
        url = httpx2.URL(f"{kind}://{rest}")
        check_host(url)
        if not url.host or len(text.split()) > 1:
            raise ValueError("no host, or two words")
        return httpx2.Proxy(url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigurationError(
            f"{variable} is not the URL of a proxy: expected one like http://proxy.example:3128."
            " Correct it or unset it."
        ) from None


class ProxiedTransport(httpx2.AsyncBaseTransport):
    """Sends a request through the proxy that the environment names for it, and
    else by `direct`.
    """

    def __init__(self, direct: httpx2.AsyncBaseTransport) -> None:
        self._direct = direct
        self._proxied: dict[httpx2.URL, httpx2.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        proxy = proxy_of(request.url)
        transport = self._direct if proxy is None else self._through(proxy)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        await self._direct.aclose()
        for transport in self._proxied.values():
            await transport.aclose()

    def _through(self, proxy: httpx2.Proxy) -> httpx2.AsyncHTTPTransport:
        if proxy.url not in self._proxied:
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
            self._proxied[proxy.url] = httpx2.AsyncHTTPTransport(proxy=proxy, limits=limits)
        return self._proxied[proxy.url]
