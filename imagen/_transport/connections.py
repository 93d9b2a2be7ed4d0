"""Connections to the providers: one driver and one transport each, made when
first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from .._errors import ConfigurationError, ProviderError
from .._policy.settings import ProviderAccess, Settings
from .._system.aws_signing import AwsSigner
from .._system.threads import ThreadWorkers, Workers
from .._system.urls import is_loopback
from .._system.version import version
from ..providers._provider import Provider
from ..providers._steps import HttpRequest, HttpResponse, Transport
from .driver import ExchangeDriver
from .http import HttpTransport, Sign
from .proxies import check_proxies

if TYPE_CHECKING:
    import httpx2

__all__ = ["ProviderConnections", "open_http"]

# No provider: every link leads to another host and gets no key.
_LINKS = ProviderAccess(
    provider=Provider(name="The server", operations={}), base_url=None, key=None, configured=True
)
_RECEIVER = msgspec.structs.replace(
    _LINKS, provider=Provider(name="The receiver of webhooks", operations={})
)


class ProviderConnections:
    """Connections of one client to providers, links and the webhook receiver."""

    def __init__(
        self,
        settings: Settings,
        open_transport: Callable[[ProviderAccess], Transport],
        workers: Workers,
    ) -> None:
        self._settings = settings
        self._open_transport = open_transport
        self._workers = workers
        self._drivers: dict[str, ExchangeDriver] = {}
        self._transports: list[Transport] = []
        self._links: ExchangeDriver | None = None
        self._receiver: Transport | None = None

    def driver(self, provider: str) -> ExchangeDriver:
        if (driver := self._drivers.get(provider)) is None:
            access = self._settings.access[provider]
            if not access.configured:
                raise ConfigurationError(_what_is_missing(access))
            transport = self._open_transport(access)
            self._transports.append(transport)
            driver = ExchangeDriver(
                transport,
                bounds=self._settings.bounds,
                retry=self._settings.retry,
                workers=self._workers,
            )
            self._drivers[provider] = driver
        return driver

    async def fetch(self, url: str) -> bytes:
        """Return the bytes behind a caller's link."""
        if self._links is None:
            bounds = msgspec.structs.replace(
                self._settings.bounds, max_body_bytes=self._settings.bounds.max_input_bytes
            )
            transport = self._open_transport(_LINKS)
            self._transports.append(transport)
            self._links = ExchangeDriver(
                transport, bounds=bounds, retry=self._settings.retry, workers=self._workers
            )
        response = await self._links.send(HttpRequest(method="GET", url=url, repeatable=True))
        if response.status != 200:
            raise ProviderError(f"The link answers {response.status}.")
        return response.body

    async def post_webhook(self, request: HttpRequest) -> HttpResponse:
        """Send a webhook without following redirects; return the status and the
        headers.
        """
        if self._receiver is None:
            # One whose very URL is on this machine may be there; no other one
            # may turn out to be.
            base_url = request.url if is_loopback(request.url) else None
            self._receiver = self._open_transport(
                msgspec.structs.replace(_RECEIVER, base_url=base_url)
            )
            self._transports.append(self._receiver)
        async with self._receiver.open(request) as reply:
            return HttpResponse(status=reply.status, headers=reply.headers)

    def hide_secrets(self, provider: str, text: str) -> str:
        return self._settings.access[provider].hide_secrets(text)

    def hide_secrets_in_bytes(self, provider: str, data: bytes) -> bytes:
        return self._settings.access[provider].hide_secrets_in_bytes(data)

    async def aclose(self) -> None:
        for transport in self._transports:
            await transport.aclose()


def _what_is_missing(access: ProviderAccess) -> str:
    provider = access.provider
    if provider.packages:
        return (
            f"{provider.name} needs packages that are not installed: pip install"
            f' "imagen-trio[{provider.name}]".'
        )
    if access.signer is not None and not access.signer.is_installed:
        return (
            "The credentials of AWS sign by botocore, which is not installed: pip install"
            f' "imagen-trio[{provider.name}]", or set {" or ".join(provider.key_variables)}.'
        )
    where = f" (from {provider.home_page})" if provider.home_page else ""
    if access.base_url is None:
        return (
            f"{provider.name} needs the address of its server: set"
            f" {provider.base_url_variable}{where}."
        )
    variables = " or ".join(provider.key_variables)
    if provider.aws_service is not None:
        where += ", or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
    return (
        f"{provider.name} needs a key: set {variables}{where}, or use the model sketch, which needs"
        " none."
    )


def open_http(
    settings: Settings,
    http: httpx2.AsyncClient | None,
    access: ProviderAccess,
    *,
    workers: Workers | None = None,
) -> Transport:
    """Open the way to a provider by HTTP.

    Raises:
        ConfigurationError: a proxy of the environment cannot be used.
    """
    if http is None and not is_loopback(access.base_url or ""):
        check_proxies()
    return HttpTransport(
        access.provider,
        base_url=access.base_url or "https://nowhere.invalid",
        key=access.key,
        bounds=settings.bounds,
        user_agent=f"imagen-trio/{version()}",
        http=http,
        sign=None if access.signer is None else _signing(access.signer, workers or ThreadWorkers()),
    )


def _signing(signer: AwsSigner, workers: Workers) -> Sign:
    async def sign(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        return await workers.run(partial(signer.sign, method, url, headers, body))

    return sign
