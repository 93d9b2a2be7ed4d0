"""The models as the dialog needs them: what each takes, does and costs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Literal
from weakref import WeakKeyDictionary

import msgspec

from ..._client.client import Client
from ..._policy.settings import ProviderAccess
from ..._requests.catalog import Capabilities, FreeSize, Model, NumberRange
from ..._results.prices import tidy_usd
from .._desk.desk import Desk
from .calls import Calls

__all__ = ["CALLS", "describe_model"]

CALLS = Calls()
Kind = Literal["choice", "size", "integer", "number", "text", "images"]


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """Field of a request that a model has, with the operations that take it."""

    name: str
    kind: Kind
    choices: Sequence[str] = ()
    low: float | None = None
    high: float | None = None
    operations: Sequence[str] = ()


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """Model: what it does, takes and costs."""

    id: str
    name: str
    provider: str
    description: str
    operations: Sequence[str]
    has_key: bool
    is_default: bool
    price: str
    low_usd: Decimal | None
    high_usd: Decimal | None
    has_economy: bool
    strengths: Sequence[str]
    weaknesses: Sequence[str]
    use_cases: Sequence[str]
    state: str
    retires_on: datetime.date | None
    max_prompt_characters: int
    max_references: int
    max_images: int
    input_media_types: Sequence[str]
    prompt_required: Sequence[str]
    parameters: Sequence[Parameter]
    free_size: FreeSize | None


class ModelsReply(msgspec.Struct, frozen=True, kw_only=True):
    """All models that can be had, in the order of preference, and the names of
    all parameters in the order of the dialog.
    """

    models: Sequence[ModelView]
    parameters: Sequence[str]


# It takes 15 ms, in which no thumbnail is sent, and is the same all day.
_replies: WeakKeyDictionary[Client, tuple[datetime.date, ModelsReply]] = WeakKeyDictionary()


@CALLS.get("models")
async def models(desk: Desk) -> ModelsReply:
    """List the models."""
    client, today = desk.client, desk.moment.date()
    day, reply = _replies.get(client, (None, None))
    if reply is None or day != today:
        reply = _describe(client, today)
        _replies[client] = today, reply
    return reply


def _describe(client: Client, today: datetime.date) -> ModelsReply:
    live = [model for model in client.catalog if model.lifecycle.state(today) != "retired"]
    default = client.default_model.id
    views = [_view(client, model, today, is_default=model.id == default) for model in live]
    return ModelsReply(
        models=sorted(views, key=lambda view: (not view.is_default, not view.has_key)),
        parameters=_PARAMETERS,
    )


def _view(client: Client, model: Model, today: datetime.date, *, is_default: bool) -> ModelView:
    low, high = _price_range(model)
    capabilities, limits = model.capabilities, model.capabilities.inputs
    return ModelView(
        id=model.id,
        name=model.name,
        provider=model.provider,
        description=model.description,
        operations=capabilities.operations,
        has_key=_has_key(client.settings.access.get(model.provider)),
        is_default=is_default,
        price=_price_text(low, high),
        low_usd=low,
        high_usd=high,
        has_economy=model.price is not None and model.price.economy is not None,
        strengths=model.strengths,
        weaknesses=model.weaknesses,
        use_cases=model.use_cases,
        state=model.lifecycle.state(today),
        retires_on=model.lifecycle.retires_on,
        max_prompt_characters=capabilities.max_prompt_characters,
        max_references=limits.max_references,
        max_images=limits.max_images,
        input_media_types=limits.media_types,
        prompt_required=capabilities.prompt_required,
        parameters=describe_model(model),
        free_size=capabilities.free_size,
    )


def _has_key(access: ProviderAccess | None) -> bool:
    return access is not None and access.configured


# --- price --------------------------------------------------------------------


def _price_range(model: Model) -> tuple[Decimal | None, Decimal | None]:
    low, high = model.price_range
    if low is None:
        return None, None
    # By the megapixel there is no highest.
    return tidy_usd(low), tidy_usd(low if high is None else high)


def _price_text(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return "price unknown"
    if high == 0:
        return "free"
    return f"${low:f} an image" if low == high else f"${low:f} to ${high:f} an image"


# --- parameters ---------------------------------------------------------------


_PARAMETERS = (
    *("size", "aspect_ratio", "resolution", "quality", "style", "background", "output_format"),
    *("safety", "scale", "mode", "seed", "guidance", "steps", "strength", "previews"),
    *("negative_prompt", "references", "mask"),
)


def describe_model(model: Model) -> Sequence[Parameter]:
    """Return the parameters that a model has, in the order of the dialog."""
    every = [*_choices(model), *_numbers(model), *_switches(model), *_sources(model)]
    return [one for one in every if one is not None]


def _choices(model: Model) -> Iterator[Parameter | None]:
    able = model.capabilities
    has_size = bool(able.sizes) or able.free_size is not None
    yield _parameter(model, "size", "size", has_size, choices=able.sizes)
    fields = {
        "aspect_ratio": able.aspect_ratios,
        "resolution": able.resolutions,
        "quality": able.qualities,
        "style": able.styles,
        "background": able.backgrounds,
        "output_format": able.output_formats,
        "safety": able.safety,
    }
    for name, choices in fields.items():
        yield _parameter(model, name, "choice", bool(choices), choices=choices)
    yield _of_enhance(model, "scale", [f"{scale:g}" for scale in able.scales])
    yield _of_enhance(model, "mode", able.modes)


def _of_enhance(model: Model, name: str, choices: Sequence[str]) -> Parameter | None:
    return _parameter(model, name, "choice", bool(choices), choices=choices, only=("enhance",))


def _numbers(model: Model) -> Iterator[Parameter | None]:
    able = model.capabilities
    yield _parameter(model, "seed", "integer", able.seed, low=0, high=2**31 - 1)
    yield _range(model, "guidance", "number", able.guidance)
    yield _range(model, "steps", "integer", able.steps)
    yield _parameter(
        model, "strength", "number", able.strength, low=0, high=1, only=("vary", "restyle")
    )
    most = able.max_previews
    yield _parameter(model, "previews", "integer", bool(most), low=0, high=most or None)


def _range(model: Model, name: str, kind: Kind, bounds: NumberRange | None) -> Parameter | None:
    if bounds is None:
        return None
    return _parameter(model, name, kind, True, low=bounds.low, high=bounds.high)


def _switches(model: Model) -> Iterator[Parameter | None]:
    yield _parameter(model, "negative_prompt", "text", model.capabilities.negative_prompt)


def _sources(model: Model) -> Iterator[Parameter | None]:
    able = model.capabilities
    most = able.inputs.max_references
    yield _parameter(
        model, "references", "images", bool(most), high=most or None, only=("generate",)
    )
    yield _parameter(model, "mask", "images", able.mask, high=1, only=("edit",))


def _parameter(
    model: Model,
    name: str,
    kind: Kind,
    is_supported: bool,
    *,
    choices: Sequence[str] = (),
    low: float | None = None,
    high: float | None = None,
    only: Sequence[str] | None = None,
) -> Parameter | None:
    operations = _operations(model.capabilities, only)
    if not is_supported or not operations:
        return None
    return Parameter(
        name=name, kind=kind, choices=choices, low=low, high=high, operations=operations
    )


def _operations(able: Capabilities, only: Sequence[str] | None) -> Sequence[str]:
    return [one for one in able.operations if only is None or one in only]
