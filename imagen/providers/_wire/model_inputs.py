"""Inputs of a gateway's models, as data: the table `wire` of a catalog entry
maps our parameters to fields.

So a new model needs no code. In imagen.toml, for one that draws, edits by a
mask and counts its images::

    [models."fal/some-model"]
    provider = "fal"
    wire_name = "acme/some-model"
    capabilities.operations = ["generate", "edit"]
    capabilities.free_size = { max_side = 2048, max_pixels = 4194304 }
    capabilities.seed = true

    [models."fal/some-model".wire]
    size = { field = "image_size", words = { "1024x1024" = "square_hd" } }
    seed = "seed"
    images = ["image_url"]
    mask = { field = "mask_url", form = "white" }
    endpoints = { edit = "acme/some-model/inpaint" }
    fixed = { acceleration = "none" }
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Literal, TypeAlias

import msgspec

from ..._errors import ConfigurationError
from ..._requests.catalog import JsonValue, Model
from ..._requests.request import Enhance, Generate, Restyle, Vary, operation_of
from ..._requests.sizes import parse_size
from ..._requests.translation import Adjustment
from .._provider import Call, EncodedImage
from .._steps import Compute, HttpResponse, Step
from .http import add_options, leave_out
from .masks import black_mask, transparent_mask, white_mask
from .wire_table import read_wire

__all__ = ["HandIn", "ModelInput", "make_input"]

# An image that varies needs a prompt at most endpoints, and our callers may
# come without.
_VARIATION = "The same subject and style, with other details."
_RESTYLING = "Redraw image 1 in the style of image 2. Keep what image 1 shows."
_RESTYLING_BY_REFERENCE = "The same subject and composition, in the style of the reference image."
_MASKS = {"white": white_mask, "black": black_mask, "alpha": transparent_mask}
# Parameters that are sent unchanged, under the name in the table.
_PLAIN = ("seed", "steps", "guidance", "negative_prompt")
# Parameters whose values may have other words at the endpoint.
_WORDED = (
    "aspect_ratio",
    "resolution",
    "quality",
    "style",
    "background",
    "output_format",
    "safety",
)
# These decide the cost, or are input images, so `options` may not hold them.
_PAID = (
    "prompt",
    "size",
    "aspect_ratio",
    "resolution",
    "quality",
    "count",
    "scale",
    "mode",
    "mask",
)

Steps: TypeAlias = Generator[Step, HttpResponse | bytes | None, str]
HandIn = Callable[[EncodedImage], Steps]
"""Passes an image to a gateway; returns the value of its field, a data: URL or
a link.
"""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class _Field(_Table, frozen=True, kw_only=True):
    """Field with other values than ours; a value that is not among `words` is
    sent unchanged.
    """

    field: str
    words: dict[str, JsonValue] = {}


class _Size(_Table, frozen=True, kw_only=True):
    """Form of "WIDTHxHEIGHT": {"width", "height"} in one field, text in it, or
    two fields.

    A size among `words` is sent as its word. `extra` accompanies a size, e.g.
    `aspect_ratio = "custom"`.
    """

    form: Literal["object", "text", "sides"] = "object"
    field: str = ""
    width: str = "width"
    height: str = "height"
    words: dict[str, JsonValue] = {}
    extra: dict[str, JsonValue] = {}


class _Mask(_Table, frozen=True, kw_only=True):
    """`form` is how the area to change looks: white, black, or transparent
    (alpha).
    """

    field: str
    form: Literal["white", "black", "alpha"] = "white"


class _Strength(_Table, frozen=True, kw_only=True):
    """`inverted` if the endpoint's number grows with the likeness; `low` is its
    minimum.
    """

    field: str
    inverted: bool = False
    low: float = 0.0


class _Inputs(_Table, frozen=True, kw_only=True):
    """Table `wire`. An absent parameter has no field at the endpoint; without
    `prompt` it takes none.

    `images` are the fields of the images in their order, `references` those of
    style references; a name ending in [] is a list of all that are left.
    `endpoints` are other addresses than `wire_name`, by the work: an operation,
    "mask" for an edit with one, "references" for a generation with some.
    `lacks` are the parameters that one of these lacks, though the model has
    them elsewhere. `fixed` is sent always.
    """

    endpoints: dict[str, str] = {}
    lacks: dict[str, tuple[str, ...]] = {}
    prompt: str = "prompt"
    count: str | None = None
    seed: str | None = None
    steps: str | None = None
    guidance: str | None = None
    negative_prompt: str | None = None
    size: _Size | None = None
    aspect_ratio: str | _Field | None = None
    resolution: str | _Field | None = None
    quality: str | _Field | None = None
    style: str | _Field | None = None
    background: str | _Field | None = None
    output_format: str | _Field | None = None
    safety: str | _Field | None = None
    images: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    mask: str | _Mask | None = None
    strength: str | _Strength | None = None
    scale: str | _Field | None = None
    mode: str | _Field | None = None
    fixed: dict[str, JsonValue] = {}


class ModelInput(msgspec.Struct, frozen=True, kw_only=True):
    """A request in the words of one endpoint; `adjustments` are those that only
    the table knew of.
    """

    endpoint: str
    fields: dict[str, JsonValue]
    adjustments: tuple[Adjustment, ...] = ()


def make_input(
    call: Call, hand_in: HandIn, *, reserved: Iterable[str] = ()
) -> Generator[Step, HttpResponse | bytes | None, ModelInput]:
    """Makes the input object of a call: `made = yield from make_input(call,
    hand_in)`.

    `reserved` are fields of the gateway itself that `options` may not hold.

    Raises:
        ConfigurationError: the table is invalid, or lacks a field that the
            entry's capabilities need.
        InvalidRequestError: `strict` forbids to leave something out.
    """
    inputs = read_wire(call.model, _Inputs)
    work = _work_of(call, inputs)
    lacking = (*inputs.lacks.get(work, ()), *(() if inputs.prompt else ("prompt",)))
    call, adjustments = leave_out(
        call, *lacking, reason=f"it takes none to {operation_of(call.request)}"
    )
    fields = {**inputs.fixed, **_parameters(call, inputs)}
    if isinstance(call.request, Vary | Restyle) and call.request.strength is not None:
        field, strength, adjusted = _fit_strength(call.request.strength, inputs, call.model)
        fields[field] = strength
        adjustments += adjusted
    places = _place(call, inputs)
    fields = add_options(fields, call.request, reserved={*reserved, *_taken(inputs), *inputs.fixed})
    for field, images in places:
        urls: list[JsonValue] = []
        for image in images:
            urls.append((yield from hand_in(image)))
        fields[field.removesuffix("[]")] = urls if field.endswith("[]") else urls[0]
    if call.mask is not None:
        mask = _mask_of(inputs, call.model)
        turned = yield Compute(call=partial(_MASKS[mask.form], call.mask), repeatable=True)
        assert isinstance(turned, bytes)
        image = msgspec.structs.replace(call.mask, data=turned, media_type="image/png")
        fields[mask.field] = yield from hand_in(image)
    return ModelInput(
        endpoint=inputs.endpoints.get(work, call.model.wire_name),
        fields=fields,
        adjustments=adjustments,
    )


def _missing(model: Model, field: str) -> ConfigurationError:
    return ConfigurationError(
        f'wire of [models."{model.id}"] names no field for {field}, which its capabilities promise:'
        " add it there."
    )


def _work_of(call: Call, inputs: _Inputs) -> str:
    """Return the kind of work, as a key of `endpoints`."""
    if call.mask is not None and "mask" in inputs.endpoints:
        return "mask"
    if isinstance(call.request, Generate) and call.references and "references" in inputs.endpoints:
        return "references"
    return operation_of(call.request)


# --- parameters ---------------------------------------------------------------


def _parameters(call: Call, inputs: _Inputs) -> dict[str, JsonValue]:
    request, model = call.request, call.model
    fields: dict[str, JsonValue] = {}
    if inputs.prompt and (prompt := _prompt_of(call, inputs)):
        fields[inputs.prompt] = prompt
    if model.capabilities.max_images_per_request > 1:
        if inputs.count is None:
            raise _missing(model, "count")
        fields[inputs.count] = call.count
    for name in _PLAIN:
        if (value := getattr(request, name)) is not None:
            field = getattr(inputs, name)
            if field is None:
                raise _missing(model, name)
            fields[field] = value
    for name in _WORDED:
        if (value := getattr(request, name)) is not None:
            fields |= _worded(getattr(inputs, name), name, value, model)
    if request.size is not None:
        fields |= _size(request.size, inputs, model)
    if isinstance(request, Enhance):
        if request.scale is not None:
            scale = int(request.scale) if request.scale == int(request.scale) else request.scale
            fields |= _worded(inputs.scale, "scale", scale, model)
        if request.mode is not None and len(model.capabilities.modes) > 1:
            fields |= _worded(inputs.mode, "mode", request.mode, model)
    return fields


def _prompt_of(call: Call, inputs: _Inputs) -> str:
    match call.request:
        case Vary(prompt=""):
            return _VARIATION
        case Restyle(prompt=prompt) if inputs.references:
            return prompt or _RESTYLING_BY_REFERENCE
        case Restyle(prompt=prompt):
            return f"{_RESTYLING} {prompt}".strip()
        case request:
            return request.prompt


def _worded(
    place: str | _Field | None, name: str, value: str | float, model: Model
) -> dict[str, JsonValue]:
    match place:
        case None:
            raise _missing(model, name)
        case str():
            return {place: value}
        case _Field(field=field, words=words):
            return {
                field: words.get(f"{value:g}" if isinstance(value, float) else str(value), value)
            }


def _size(text: str, inputs: _Inputs, model: Model) -> dict[str, JsonValue]:
    size = inputs.size
    if size is None or not (size.field or size.form == "sides"):
        raise _missing(model, "size")
    if text in size.words:
        return {size.field: size.words[text], **size.extra}
    if (pair := parse_size(text)) is None:
        # "auto": the endpoint decides if the field is absent.
        return {}
    width, height = pair
    match size.form:
        case "sides":
            return {size.width: width, size.height: height, **size.extra}
        case "text":
            return {size.field: f"{width}x{height}", **size.extra}
        case "object":
            return {size.field: {"width": width, "height": height}, **size.extra}


def _fit_strength(
    asked: float, inputs: _Inputs, model: Model
) -> tuple[str, float, tuple[Adjustment, ...]]:
    place = inputs.strength
    if place is None:
        raise _missing(model, "strength")
    place = _Strength(field=place) if isinstance(place, str) else place
    number = round(1 - asked if place.inverted else asked, 4)
    if number >= place.low:
        return place.field, number, ()
    sent = 1 - place.low if place.inverted else place.low
    reason = f"{model.id}: the nearest it takes"
    adjustment = Adjustment(field="strength", asked=f"{asked:g}", sent=f"{sent:g}", reason=reason)
    return place.field, place.low, (adjustment,)


# --- images -------------------------------------------------------------------


def _place(call: Call, inputs: _Inputs) -> list[tuple[str, tuple[EncodedImage, ...]]]:
    """Return the images by field; references follow the others if they have no
    fields of their own.
    """
    images, references = call.images, call.references
    if not inputs.references:
        images, references = images + references, ()
    return [
        *_assign(images, inputs.images, call.model),
        *_assign(references, inputs.references, call.model),
    ]


def _assign(
    images: tuple[EncodedImage, ...], names: tuple[str, ...], model: Model
) -> Iterator[tuple[str, tuple[EncodedImage, ...]]]:
    for name in names:
        if not images:
            return
        here = images if name.endswith("[]") else images[:1]
        yield name, here
        images = images[len(here) :]
    if images:
        raise _missing(model, "that many images")


def _mask_of(inputs: _Inputs, model: Model) -> _Mask:
    if inputs.mask is None:
        raise _missing(model, "a mask")
    return _Mask(field=inputs.mask) if isinstance(inputs.mask, str) else inputs.mask


def _taken(inputs: _Inputs) -> Iterator[str]:
    """Fields that `options` may not replace."""
    for name in _PAID:
        match getattr(inputs, name):
            case str() as field if field:
                yield field
            case _Field() | _Mask() as place:
                yield place.field
            case _Size() as size:
                yield from (size.width, size.height) if size.form == "sides" else (size.field,)
                yield from size.extra
    yield from (field.removesuffix("[]") for field in (*inputs.images, *inputs.references))
