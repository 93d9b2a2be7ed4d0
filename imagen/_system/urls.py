"""Checks of URLs that keys and secrets are sent to."""

from __future__ import annotations

import ipaddress

import httpx2

from .._errors import ConfigurationError

__all__ = ["check_base_url", "check_host", "check_url", "is_loopback"]


def is_loopback(url: httpx2.URL | str) -> bool:
    """Return True if a URL points at this machine, by its text alone."""
    host = httpx2.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_base_url(text: str, *, variable: str) -> str:
    """A base URL that a key may be sent to: https, or plain http on this
    machine.

    Raises:
        ConfigurationError: the URL is anything else; the message names the
            variable and leaves the rest of the URL out.
    """
    url = httpx2.URL(check_url(text, variable=variable))
    if url.query or url.fragment:
        raise ConfigurationError(
            f"{variable} must end with its path: leave out what begins with ? or #."
        )
    return str(url).rstrip("/")


def check_url(text: str, *, variable: str) -> str:
    """Return a URL that secrets may be sent to; it may have a query. Raises
    like `check_base_url`.
    """
    try:
        url = httpx2.URL(text.strip())
        check_host(url)
    except (httpx2.InvalidURL, ValueError):
        raise ConfigurationError(
            f"{variable} is not a URL: expected one like https://api.example.com/v1."
        ) from None
    if url.userinfo:
        raise ConfigurationError(
            f"{variable} holds a user name or password; put the key into its own variable."
        )
    if not url.host or (url.scheme != "https" and not (url.scheme == "http" and is_loopback(url))):
        raise ConfigurationError(
            f"{variable} must begin with https://, or with http:// for a server on this machine;"
            f" the key would be readable on the way to {url.scheme}://{url.host}."
        )
    return str(url)


def check_host(url: httpx2.URL) -> None:
    """Raise ValueError for a host or port that system calls would only refuse
    later.
    """
    url.host.encode("idna")
    if url.port is not None and url.port > 65535:
        raise ValueError("no port is above 65535")
