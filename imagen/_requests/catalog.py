"""Catalog of models: the data are the files in `models/`, one per provider; a
user's `imagen.toml` adds to them or overrides them. A file's `preference` is
its rank when a default model is chosen: the lowest comes first.
"""

from __future__ import annotations

import datetime
import functools
import warnings
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from .._errors import ConfigurationError, ModelNotFoundError
from .._system.numbers import MOST, check_number, check_numbers

__all__ = [
    "CATALOG_AS_OF",
    "Capabilities",
    "Catalog",
    "FreeSize",
    "InputLimits",
    "JsonValue",
    "Lifecycle",
    "MegapixelPrices",
    "Model",
    "ModelRetiringWarning",
    "NumberRange",
    "Operation",
    "Price",
    "RateLimit",
    "TokenPrices",
    "load_catalog",
]

CATALOG_AS_OF = datetime.date(2026, 11, 29)
"""The day on which the built-in catalog was last held against its sources."""

Operation = Literal["generate", "edit", "vary", "enhance", "restyle"]
LifecycleState = Literal["live", "retiring", "retired"]
# Far above the price of any image, or of a million tokens.
_MOST_USD = 1_000_000
_AMOUNTS = ("usd_per_image", "usd_per_unit", "typical_units", "estimate_margin", "economy")
_ABOVE_ZERO = (
    "typical_units",
    "estimate_margin",
    "economy",
    "period_seconds",
    "requests_per_minute",
    "max_at_once",
    "max_images_per_request",
    "max_prompt_characters",
    "multiple_of",
)
_FOLDER = Path(__file__).with_name("models")
JsonValue: TypeAlias = object
"""Any JSON value. msgspec resolves no recursive alias, so the type is wide and
encoding decides.
"""


class ModelRetiringWarning(UserWarning):
    """The model has a last day; the message names it and the successor."""


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class FreeSize(_Entry, frozen=True, kw_only=True):
    """A model that takes any WIDTHxHEIGHT within these bounds; lengths in
    pixels, ratio is long side to short side.
    """

    multiple_of: int = 1
    max_ratio: float = 4.0
    min_side: int = 1
    max_side: int
    min_pixels: int = 1
    max_pixels: int

    def complaint(self, width: int, height: int) -> str | None:
        """Return the fault of a size, as the end of a sentence; None if it is
        valid.
        """
        long_side, short_side = max(width, height), min(width, height)
        if width % self.multiple_of or height % self.multiple_of:
            return f"both sides must be multiples of {self.multiple_of}"
        if short_side < self.min_side or long_side > self.max_side:
            return f"each side must be between {self.min_side} and {self.max_side} pixels"
        if long_side > self.max_ratio * short_side:
            return f"the long side may be at most {self.max_ratio:g} times the short one"
        if not self.min_pixels <= width * height <= self.max_pixels:
            return (
                f"width times height must be between {self.min_pixels:,} and {self.max_pixels:,}"
                " pixels"
            )
        return None


class NumberRange(_Entry, frozen=True, kw_only=True):
    """A number from `low` to `high`, both included."""

    low: float
    high: float

    def nearest(self, number: float) -> float:
        """The number itself, or the end that is nearer."""
        return min(max(number, self.low), self.high)


class InputLimits(_Entry, frozen=True, kw_only=True):
    """The images that a model takes to work on; lengths in pixels, `max_ratio`
    is long side to short side.

    `max_images` counts the images of an edit, `max_references` those that only
    lend their look or subject. None means that no limit is known.
    """

    max_images: int = 1
    max_references: int = 0
    media_types: tuple[str, ...] = ("image/png", "image/jpeg", "image/webp")
    min_side: int = 1
    max_side: int | None = None
    min_pixels: int = 1
    max_pixels: int | None = None
    max_ratio: float | None = None
    max_bytes: int | None = None


class Capabilities(_Entry, frozen=True, kw_only=True):
    """Parameters that a model takes. An empty tuple, None or False means that
    the model has no such parameter.

    The shape of an image is said in pixels, by `sizes` ("WIDTHxHEIGHT", "auto")
    and `free_size`, or by `aspect_ratios` ("16:9", "auto") with or without
    `resolutions` ("1K", "2K": the side of a square). `prompt_required` are the
    operations that need one: a model that removes a background does without.
    `required_options` are names in `options` without which the provider
    refuses, `scales` the factors of an enhancement, `modes` which of fast,
    conservative, creative it is. A model whose images are `sold_together` draws
    `max_images_per_request` of them for every request, and bills them.
    """

    operations: tuple[Operation, ...] = ("generate",)
    sizes: tuple[str, ...] = ()
    free_size: FreeSize | None = None
    aspect_ratios: tuple[str, ...] = ()
    resolutions: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    max_prompt_characters: int = 4000
    prompt_required: tuple[Operation, ...] = ("generate", "edit")
    max_images_per_request: int = 1
    sold_together: bool = False
    max_previews: int = 0
    seed: bool = False
    negative_prompt: bool = False
    guidance: NumberRange | None = None
    steps: NumberRange | None = None
    safety: tuple[str, ...] = ()
    strength: bool = False
    mask: bool = False
    mask_required: bool = False
    scales: tuple[float, ...] = ()
    modes: tuple[str, ...] = ()
    required_options: tuple[str, ...] = ()
    inputs: InputLimits = InputLimits()


class TokenPrices(_Entry, frozen=True, kw_only=True):
    """US dollars per million tokens."""

    text_input: Decimal = Decimal(0)
    image_input: Decimal = Decimal(0)
    text_output: Decimal = Decimal(0)
    image_output: Decimal = Decimal(0)


class MegapixelPrices(_Entry, frozen=True, kw_only=True):
    """US dollars for the first megapixel of an image, for each further one, and
    for each one of the input images.
    """

    first: Decimal
    next: Decimal = Decimal(0)
    input: Decimal = Decimal(0)


class Price(_Entry, frozen=True, kw_only=True):
    """Price of an image in US dollars; an unknown price is left out, never 0.

    `usd_per_image` is flat, and `usd_per_input_image` comes on top for each
    image that is worked on. `table` is by quality, then by size or resolution;
    `"auto"` as quality, where it is alone, stands for every one, `"*"` for
    every other size; where it has resolutions only, a size is priced as the
    smallest of them that holds its pixels. `per_megapixel` counts megapixels, begun ones as whole.
    `usd_per_unit` is the price of what the provider counts and reports
    (megapixels, seconds), and `typical_units` how many an image takes, to
    estimate before. With `per_million_tokens` the bill follows the usage in the
    reply and the table only serves to estimate; `estimate_margin` is the factor
    from an estimate to what is reserved for it. `economy` is the factor on all
    prices where the provider may take hours; None where it has no such way.
    """

    usd_per_image: Decimal | None = None
    usd_per_input_image: Decimal = Decimal(0)
    table: dict[str, dict[str, Decimal]] = {}
    per_megapixel: MegapixelPrices | None = None
    usd_per_unit: Decimal | None = None
    typical_units: Decimal = Decimal(1)
    per_million_tokens: TokenPrices | None = None
    estimate_margin: Decimal = Decimal(1)
    economy: Decimal | None = None
    as_of: str | None = None
    source: str | None = None


class RateLimit(_Entry, frozen=True, kw_only=True):
    """Rate limit of a provider or a model: `images` in `period_seconds`,
    requests per minute, requests at once.

    None means that no such limit is known.
    """

    images: int | None = None
    period_seconds: int = 60
    requests_per_minute: int | None = None
    max_at_once: int | None = None

    def __str__(self) -> str:
        parts = (
            self.images is not None and f"{self.images} images in {self.period_seconds:,} seconds",
            self.requests_per_minute is not None
            and f"{self.requests_per_minute} requests a minute",
            self.max_at_once is not None and f"{self.max_at_once} requests at once",
        )
        return " and ".join(part for part in parts if part) or "any number of requests"


class Lifecycle(_Entry, frozen=True, kw_only=True):
    """Availability of a model, and its end.

    `upstream_retired_on` is for gateways: the maker has shut the model down,
    and it works only as long as the gateway still lists it.
    """

    live: bool = True
    retires_on: datetime.date | None = None
    retired_on: datetime.date | None = None
    upstream_retired_on: datetime.date | None = None
    successor: str | None = None

    def state(self, today: datetime.date) -> LifecycleState:
        """Return the state of the model on a day."""
        last_day = self.retired_on or self.retires_on
        if not self.live or (last_day is not None and last_day <= today):
            return "retired"
        return "live" if self.retires_on is None else "retiring"


class Model(_Entry, frozen=True, kw_only=True):
    """Entry of the catalog. `id` is the caller's name of the model, `wire_name`
    the provider's.

    `wire` is for the provider's module alone: paths and names of fields that
    differ from model to model.
    """

    id: str
    provider: str
    name: str
    wire_name: str
    wire: dict[str, JsonValue] = {}
    description: str = ""
    capabilities: Capabilities = Capabilities()
    price: Price | None = None
    rate_limit: RateLimit | None = None
    lifecycle: Lifecycle = Lifecycle()
    use_cases: tuple[str, ...] = ()
    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()

    @property
    def price_range(self) -> tuple[Decimal | None, Decimal | None]:
        """Lowest and highest list price of an image, in US dollars; None if
        unknown.
        """
        price = self.price
        if price is None:
            return None, None
        if price.usd_per_image is not None:
            return price.usd_per_image, price.usd_per_image
        if price.per_megapixel is not None:
            return price.per_megapixel.first, None
        if price.usd_per_unit is not None and not price.table:
            typical = price.usd_per_unit * price.typical_units
            return typical, typical
        figures = [figure for row in price.table.values() for figure in row.values()]
        return min(figures, default=None), max(figures, default=None)


class Catalog:
    """Models by id. Iterates in the order of the files, which is the order of
    preference.
    """

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = dict(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def find(self, name: str) -> Model:
        """The entry of that id; `provider/id` works for every entry.

        Raises:
            ModelNotFoundError: unknown model; the message names the nearest
                ones.
        """
        if (model := self._models.get(name)) is not None:
            return model
        provider, slash, wire_name = name.partition("/")
        if slash:
            for model in self:
                if model.provider == provider and wire_name in (model.wire_name, model.id):
                    return model
        import difflib

        near = difflib.get_close_matches(name, self._models, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "`imagen models` lists them."
        raise ModelNotFoundError(f"There is no model {name!r} in the catalog: {hint}")

    def select(self, name: str, *, today: datetime.date) -> Model:
        """The entry of that id, if it still can be had on that day.

        Raises:
            ModelNotFoundError: unknown, or retired; the message names the
                successor.
        """
        model = self.find(name)
        lifecycle = model.lifecycle
        use_instead = f" Use {lifecycle.successor} instead." if lifecycle.successor else ""
        match lifecycle.state(today):
            case "retired":
                last_day = lifecycle.retired_on or lifecycle.retires_on
                since = f" on {last_day}" if last_day else ""
                raise ModelNotFoundError(
                    f"{model.id} was retired{since}.{use_instead}",
                    details={"successor": lifecycle.successor} if lifecycle.successor else None,
                )
            case "retiring":
                _warn(f"{model.id} will be retired on {lifecycle.retires_on}.{use_instead}")
            case "live" if lifecycle.upstream_retired_on:
                _warn(
                    f"The maker of {model.id} shut it down on {lifecycle.upstream_retired_on}; it"
                    f" works only while {model.provider} still lists it.{use_instead}"
                )
        return model


def _warn(text: str) -> None:
    try:
        warnings.warn(text, ModelRetiringWarning, stacklevel=3)
    except ModelRetiringWarning as warning:
        # If the caller has made warnings errors, the model counts as retired: a
        # batch must not crash over it.
        raise ModelNotFoundError(text) from warning


def load_catalog(
    overrides: Mapping[str, Mapping[str, JsonValue]] | None = None,
    *,
    provided: Mapping[str, Mapping[str, JsonValue]] | None = None,
) -> Catalog:
    """The built-in catalog and the models `provided` by other providers, with a
    user's `[models]` tables merged over it.

    Raises:
        ConfigurationError: a table does not have the form of an entry.
    """
    tables = _read_files() if provided is None else {**_read_files(), **provided}
    merged = {**tables}
    for model_id, override in (overrides or {}).items():
        merged[model_id] = _merge(tables.get(model_id, {}), override)
    merged = {model_id: _inherit(model_id, table, merged) for model_id, table in merged.items()}
    models = {model_id: _read_model(model_id, table) for model_id, table in merged.items()}
    for model_id in (*(provided or {}), *(overrides or {})):
        _check_model(models[model_id])
    return Catalog(models)


def _check_model(model: Model) -> None:
    """Check what decides about money and waiting. The built-in entries pass by
    a test.

    Raises:
        ConfigurationError: a number there is impossible.
    """
    try:
        if model.price is not None:
            _check_price(model.price)
        can = model.capabilities
        for limit in (model.rate_limit, can, can.inputs, can.free_size):
            if limit is not None:
                check_numbers(limit, above_zero=_ABOVE_ZERO)
        for scale in can.scales:
            check_number("scales", scale, above_zero=True)
        for span in (can.guidance, can.steps):
            if span is not None and not -MOST < span.low <= span.high < MOST:
                raise ValueError(f"a range goes from low to high, not {span.low} to {span.high}")
    except ValueError as error:
        raise ConfigurationError(
            f'The table [models."{model.id}"] in imagen.toml is wrong: {error}.'
        ) from error


def _check_price(price: Price) -> None:
    check_numbers(price, above_zero=_ABOVE_ZERO, most=dict.fromkeys(_AMOUNTS, _MOST_USD))
    if price.estimate_margin < 1:
        raise ValueError("estimate_margin must be 1 or more: it is what is reserved for a bill")
    for amounts in (price.per_megapixel, price.per_million_tokens):
        if amounts is not None:
            check_numbers(amounts, most=dict.fromkeys(amounts.__struct_fields__, _MOST_USD))
    for quality, row in price.table.items():
        for size, usd in row.items():
            check_number(f"price.table.{quality}.{size}", usd, most=_MOST_USD)


@functools.cache
def _read_files() -> Mapping[str, Mapping[str, JsonValue]]:
    # Kept: reading them took longer than all else that opens a client.
    # tomllib is imported when used, to keep `import imagen` fast.
    import tomllib

    files = [tomllib.loads(path.read_text("utf-8")) for path in sorted(_FOLDER.glob("*.toml"))]
    files.sort(key=lambda file: int(file["preference"]))
    return {model_id: table for file in files for model_id, table in file["models"].items()}


def _merge(base: Mapping[str, JsonValue], over: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = (
            _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def _inherit(
    model_id: str, table: Mapping[str, JsonValue], tables: Mapping[str, Mapping[str, JsonValue]]
) -> dict[str, JsonValue]:
    own = dict(table)
    like = own.pop("like", None)
    if like is None:
        return own
    if not isinstance(like, str) or "like" in (base := tables.get(like, {"like": like})):
        raise ConfigurationError(
            f'[models."{model_id}"]: like = {like!r} names no entry that stands by itself.'
        )
    return _merge(base, own)


def _read_model(model_id: str, table: Mapping[str, JsonValue]) -> Model:
    wire_name = model_id.rpartition("/")[2]
    try:
        model = msgspec.convert(
            {"id": model_id, "name": wire_name, "wire_name": wire_name, **table},
            Model,
            strict=False,
        )
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise ConfigurationError(
            f'The table [models."{model_id}"] in imagen.toml is wrong: {error}.'
        ) from error
    if "://" in model.wire_name or b"://" in msgspec.json.encode(model.wire):
        # A table may come from an untrusted folder: it must not send prompts
        # and images elsewhere.
        raise ConfigurationError(
            f'[models."{model_id}"] names an address: base URLs belong to providers, not to models.'
        )
    return model
