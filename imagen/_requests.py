"""What is asked for: one struct per operation, checked against the catalog before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from os import PathLike
from typing import Literal, TypeVar

import msgspec

from ._catalog import Capabilities, JsonValue, Model, Operation
from ._errors import InvalidRequestError

__all__ = [
    "Edit",
    "Enhance",
    "Generate",
    "ImageSource",
    "Request",
    "Restyle",
    "Vary",
    "as_request",
    "check_model",
    "operation_of",
    "unsupported_fields",
]

ImageSource = bytes | str | PathLike[str]
"""A picture to work on: its bytes, the path of a file, an https URL, or an id in the library."""


class _Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation"):
    """What every operation has.

    `model` None means the default model. `size` is "WIDTHxHEIGHT" in pixels, or "auto" where the model has it. Parameters
    that the model lacks are left out and listed in `Image.adjustments`; with `strict` the request is refused instead.
    `options` goes to the provider as it is. `previews` asks for so many unfinished pictures on the way. `assume_usd` is the
    most that one picture may be taken to cost where the price is unknown and a budget is set.
    """

    prompt: str
    model: str | None = None
    size: str | None = None
    quality: str | None = None
    style: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    background: str | None = None
    output_format: str | None = None
    previews: int = 0
    options: Mapping[str, JsonValue] = {}
    strict: bool = False
    assume_usd: Decimal | None = None


class Generate(_Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="generate"):
    """Text to image."""


class Edit(_Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="edit"):
    """One or more pictures and a prompt to a new picture; a white area of `mask` is the area to change."""

    images: tuple[ImageSource, ...]
    mask: ImageSource | None = None


class Vary(_Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="vary"):
    """Another picture like this one; `strength` from 0 (the same) to 1 (anything)."""

    prompt: str = ""
    image: ImageSource
    strength: float | None = None


class Enhance(_Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="enhance"):
    """The same picture, larger and finer; `scale` is the factor of each side."""

    prompt: str = ""
    image: ImageSource
    scale: float = 2.0
    mode: Literal["fast", "conservative", "creative"] = "conservative"


class Restyle(_Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="restyle"):
    """The content of one picture in the look of another; `strength` from 0 to 1."""

    prompt: str = ""
    image: ImageSource
    reference: ImageSource
    strength: float | None = None


Request = Generate | Edit | Vary | Enhance | Restyle
AnyRequest = TypeVar("AnyRequest", bound=Request)

_OPERATIONS: dict[type[Request], Operation] = {
    Generate: "generate",
    Edit: "edit",
    Vary: "vary",
    Enhance: "enhance",
    Restyle: "restyle",
}
_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")


def as_request(item: object) -> Request:
    """A request as it is, or a prompt as a generation with the default model.

    Raises:
        InvalidRequestError: it is neither.
    """
    if isinstance(item, str):
        return Generate(prompt=item)
    if not isinstance(item, Request):
        raise InvalidRequestError(
            f"A batch takes prompts and requests such as imagen.Generate, not {type(item).__name__}."
        )
    return item


def operation_of(request: Request) -> Operation:
    """The name of the request's operation."""
    return _OPERATIONS[type(request)]


def check_model(request: Request, model: Model) -> None:
    """Refuses what the model cannot do, so that nothing is paid for a request that must fail.

    Raises:
        InvalidRequestError: one sentence that says what is wrong and what the model takes.
    """
    can = model.capabilities
    operation = operation_of(request)
    if operation not in can.operations:
        raise InvalidRequestError(f"{model.id} cannot {operation}; it can {' and '.join(can.operations)}.")
    _check_prompt(request, model)
    _check_sources(request)
    _check_size(request.size, model)
    _check_choice("quality", request.quality, can.qualities, model)
    _check_choice("style", request.style, can.styles, model)
    _check_choice("background", request.background, can.backgrounds, model)
    _check_choice("output_format", request.output_format, can.output_formats, model)
    if request.previews < 0:
        raise InvalidRequestError("previews must be 0 or more.")
    if request.assume_usd is not None and not request.assume_usd >= 0:
        raise InvalidRequestError("assume_usd must be 0 or more US dollars.")
    if request.strict and (missing := unsupported_fields(request, can)):
        raise InvalidRequestError(f"{model.id} has no {' and no '.join(missing)}; leave it out, or drop strict.")


def unsupported_fields(request: Request, can: Capabilities) -> dict[str, str]:
    """The parameters that were asked for and that the model does not have, with the value asked."""
    asked_and_there = {
        "size": (request.size, bool(can.sizes or can.free_size)),
        "quality": (request.quality, bool(can.qualities)),
        "style": (request.style, bool(can.styles)),
        "background": (request.background, bool(can.backgrounds)),
        "output_format": (request.output_format, bool(can.output_formats)),
        "seed": (request.seed, can.seed),
        "negative_prompt": (request.negative_prompt, can.negative_prompt),
        "previews": (request.previews or None, can.max_previews > 0),
    }
    return {field: str(asked) for field, (asked, there) in asked_and_there.items() if asked is not None and not there}


def _check_prompt(request: Request, model: Model) -> None:
    needs_prompt = isinstance(request, (Generate, Edit))
    if needs_prompt and not request.prompt.strip():
        raise InvalidRequestError("The prompt is empty: say what the picture should show.", code="INVALID_PROMPT")
    longest = model.capabilities.max_prompt_characters
    if len(request.prompt) > longest:
        raise InvalidRequestError(
            f"The prompt has {len(request.prompt):,} characters; {model.id} takes at most {longest:,}. Shorten it.",
            code="INVALID_PROMPT",
        )
    try:
        request.prompt.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            "The prompt holds a lone surrogate, which is no valid text: decode it again as UTF-8.",
            code="INVALID_PROMPT",
        ) from None


def _check_sources(request: Request) -> None:
    match request:
        case Edit(images=()):
            raise InvalidRequestError("An edit needs at least one picture in `images`.")
        case Enhance(scale=scale) if not 1 < scale <= 16:
            raise InvalidRequestError("scale must be more than 1 and at most 16.")
        case Vary(strength=float(strength)) | Restyle(strength=float(strength)) if not 0 <= strength <= 1:
            raise InvalidRequestError("strength must be between 0 and 1.")
        case _:
            pass


def _check_size(size: str | None, model: Model) -> None:
    can = model.capabilities
    if size is None or size in can.sizes or not (can.sizes or can.free_size):
        return
    named = ", ".join(can.sizes)
    match = _SIZE.fullmatch(size)
    if match is None:
        hint = f"; {model.id} takes {named}" if named else ""
        raise InvalidRequestError(f"{size!r} is no size: write WIDTHxHEIGHT in pixels, such as 1024x1024{hint}.")
    if can.free_size is None:
        raise InvalidRequestError(f"{model.id} has no size {size}: choose one of {named}.")
    if complaint := can.free_size.complaint(int(match[1]), int(match[2])):
        raise InvalidRequestError(f"{model.id} has no size {size}: {complaint}.")


def _check_choice(field: str, asked: str | None, choices: tuple[str, ...], model: Model) -> None:
    if asked is not None and choices and asked not in choices:
        raise InvalidRequestError(f"{model.id} has no {field} {asked!r}: choose one of {', '.join(choices)}.")
