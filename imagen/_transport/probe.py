"""Asks a provider for something that costs nothing, to see whether it can be
used.
"""

from __future__ import annotations

import msgspec
import trio

from .._errors import ImagenError
from .._policy.settings import ProviderAccess
from ..providers._steps import HttpRequest
from .driver import ExchangeDriver

__all__ = ["ProviderStatus", "probe_provider"]

_PROBE_SECONDS = 10.0


class ProviderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Usability of a provider; `message` is a sentence with what to do."""

    name: str
    configured: bool
    usable: bool
    base_url: str | None
    message: str


async def probe_provider(access: ProviderAccess, driver: ExchangeDriver | None) -> ProviderStatus:
    """Asks once, for at most ten seconds. `driver` is None where nothing is
    configured.
    """
    provider = access.provider
    lacks_signer = access.signer is not None and not access.signer.is_installed
    if lacks_signer or (provider.packages and not access.configured):
        return _status(access, False, f'not set up: pip install "imagen-trio[{provider.name}]"')
    if provider.base_url is None and provider.base_url_variable is None:
        return _status(access, True, "works on this machine")
    if driver is None or not _is_set_up(access):
        return _status(access, False, f"not set up: set {_variables(access)}")
    if provider.probe_url is None:
        return _status(access, True, "set up; it offers nothing to try for free")
    with trio.move_on_after(_PROBE_SECONDS):
        try:
            response = await driver.send(
                HttpRequest(method="GET", url=provider.probe_url, repeatable=True)
            )
        except ImagenError as error:
            return _status(access, False, error.message)
        return _judge(access, response.status)
    return _status(access, False, f"no answer within {_PROBE_SECONDS:g} seconds")


def _judge(access: ProviderAccess, status: int) -> ProviderStatus:
    if status < 300:
        return _status(access, True, "reachable, and the key is accepted")
    if status in (401, 403):
        return _status(
            access,
            False,
            f"reachable, but the key in {_variables(access)} is not accepted ({status})",
        )
    return _status(
        access,
        False,
        f"reachable, but it answers {status} to GET {access.provider.probe_url}; check the"
        " base URL",
    )


def _variables(access: ProviderAccess) -> str:
    provider = access.provider
    if provider.optional and provider.base_url_variable:
        return provider.base_url_variable
    return " or ".join(provider.key_variables) or provider.base_url_variable or "a key"


def _is_set_up(access: ProviderAccess) -> bool:
    return access.configured and (access.preferred or access.signer is not None)


def _status(access: ProviderAccess, usable: bool, message: str) -> ProviderStatus:
    return ProviderStatus(
        name=access.provider.name,
        configured=_is_set_up(access),
        usable=usable,
        base_url=access.base_url,
        message=message,
    )
