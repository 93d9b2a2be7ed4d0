"""The shape of a provider: data about it, and one exchange per operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ._catalog import Model, Operation
from ._exchange import Exchange
from ._requests import Request

__all__ = ["Call", "Provider"]


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What an exchange is asked to do: `count` pictures of one request, which the model is known to take."""

    request: Request
    model: Model
    count: int = 1


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider.

    `key_variable` and `base_url_variable` name environment variables; a provider that works on this machine has neither.
    The key goes into the header `key_header`, behind `key_prefix`. `probe_url` is a path that costs nothing and needs the
    key: `imagen doctor` asks it.
    """

    name: str
    operations: Mapping[Operation, Callable[[Call], Exchange]]
    base_url: str | None = None
    base_url_variable: str | None = None
    key_variable: str | None = None
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    probe_url: str | None = None
    home_page: str = ""
