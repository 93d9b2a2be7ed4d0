"""Keyword arguments of the client's methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Literal, TypedDict, cast, overload

import msgspec

from .catalog import JsonValue
from .request import ImageSource

__all__ = [
    "CallOptions",
    "GenerateFields",
    "GenerateParameters",
    "Parameters",
    "RequestFields",
    "Routing",
    "RoutingOptions",
    "take_options",
]

Routing = Literal["first", "cheapest", "fastest"]


class CallOptions(TypedDict, total=False):
    """Routing options of a call, as keyword arguments.

    With `wait=False` nothing is waited for: a request without a free slot
    fails, and its error has the time of the next one. The others replace the
    settings of the table `[routes]`: fallback models, their order ("first",
    "cheapest" by quote, "fastest" by the time of their last images), and the
    seconds ("p95": by experience) after which a second model is asked too. With
    `cache=True` an equal earlier request is answered by its image in the
    library, for nothing; without a seed by any image of it.
    """

    wait: bool
    fallback: Sequence[str]
    routing: Routing
    hedge_after_seconds: float | Literal["p95"]
    cache: bool


class RequestFields(TypedDict, total=False):
    """The fields that every operation has, beside its prompt and images."""

    model: str | None
    size: str | None
    aspect_ratio: str | None
    resolution: str | None
    quality: str | None
    style: str | None
    seed: int | None
    negative_prompt: str | None
    guidance: float | None
    steps: int | None
    safety: Literal["strict", "standard", "relaxed"] | None
    background: str | None
    output_format: str | None
    previews: int
    options: Mapping[str, JsonValue]
    strict: bool
    emulate: bool
    assume_usd: Decimal | None
    tag: str | None


class GenerateFields(RequestFields, total=False):
    """Fields of `Generate`."""

    references: tuple[ImageSource, ...]


class Parameters(RequestFields, CallOptions, total=False):
    """Keyword arguments of every operation."""


class GenerateParameters(GenerateFields, CallOptions, total=False):
    """Keyword arguments of a generation."""


class RoutingOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`CallOptions` as a value; None leaves a field to the settings."""

    fallback: tuple[str, ...] | None = None
    routing: Routing | None = None
    hedge_after_seconds: float | Literal["p95"] | None = None
    cache: bool = False
    wait: bool = True


@overload
def take_options(parameters: GenerateParameters) -> tuple[GenerateFields, RoutingOptions]: ...
@overload
def take_options(parameters: Parameters) -> tuple[RequestFields, RoutingOptions]: ...
def take_options(
    parameters: Parameters | GenerateParameters,
) -> tuple[RequestFields | GenerateFields, RoutingOptions]:
    """Split keyword arguments into fields of the request and routing options."""
    fallback = parameters.get("fallback")
    options = RoutingOptions(
        fallback=None if fallback is None else tuple(fallback),
        routing=parameters.get("routing"),
        hedge_after_seconds=parameters.get("hedge_after_seconds"),
        cache=parameters.get("cache", False),
        wait=parameters.get("wait", True),
    )
    fields = {
        name: value for name, value in parameters.items() if name not in CallOptions.__annotations__
    }
    return cast(GenerateFields, fields), options
