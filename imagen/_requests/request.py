"""Requests: one struct per operation; what is invalid for every model is
refused here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from os import PathLike
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import msgspec

from .._errors import InvalidRequestError
from .catalog import JsonValue, Operation

__all__ = [
    "Edit",
    "Enhance",
    "Generate",
    "ImageSource",
    "InputImage",
    "LibraryImage",
    "Request",
    "Restyle",
    "Vary",
    "as_request",
    "check_request",
    "decode_request",
    "encode_request",
    "fingerprint_of",
    "operation_of",
    "sources_of",
    "with_sources",
]


class InputImage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Input image as it is remembered: its facts, never its bytes.

    `id` is its id in the library if it came from there, `name` the name of its
    file or the host of its link. It can be used as a source again as long as
    the library keeps the bytes.
    """

    sha256: str
    media_type: str
    width: int
    height: int
    id: str | None = None
    name: str | None = None


class LibraryImage(Protocol):
    """An image that imagen made: an `Image`."""

    @property
    def id(self) -> str: ...

    @property
    def data(self) -> bytes: ...


if TYPE_CHECKING:
    ImageSource = bytes | str | PathLike[str] | LibraryImage | InputImage
    """An image to work on: its bytes, the path of a file, an https URL, an id
    in the library, or an `Image`.
    """
else:
    # JSON form for msgspec: requests are stored and read from files.
    ImageSource = InputImage | str


class _Request(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation"
):
    """Fields of every operation.

    `model` None means the default model of the operation. The shape of the
    image is either `size`, i.e. "WIDTHxHEIGHT" in pixels, "auto", or a name
    such as "square", "portrait", "banner"; or `aspect_ratio` ("16:9") with or
    without `resolution` ("1K", "2K", "4K": the side of a square of that many
    pixels). `guidance` and `steps` are those of diffusion models, `safety` is
    "strict", "standard" or "relaxed".

    Values that the model lacks or takes differently are left out or replaced by
    the nearest, and listed in `Image.adjustments`; with `strict` the request is
    refused instead. With `emulate`, an operation that the model lacks is done
    by a similar one. `options` goes to the provider unchanged. `previews` is
    the number of unfinished images to send. `assume_usd` is the most that one
    image is assumed to cost if its price is unknown and a budget is set, `tag`
    the caller's word for the spending.
    """

    prompt: str = ""
    model: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    quality: str | None = None
    style: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    guidance: float | None = None
    steps: int | None = None
    safety: Literal["strict", "standard", "relaxed"] | None = None
    background: str | None = None
    output_format: str | None = None
    previews: int = 0
    options: Mapping[str, JsonValue] = {}
    strict: bool = False
    emulate: bool = False
    assume_usd: Decimal | None = None
    tag: str | None = None


class Generate(
    _Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="generate"
):
    """Text to image; `references` are images that lend style or subject, if the
    model takes any.
    """

    references: tuple[ImageSource, ...] = ()


class Edit(
    _Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="edit"
):
    """One or more images and a prompt to a new image.

    The first one is the image that changes. A white area of `mask`, which has
    its size, is the area to change.
    """

    images: tuple[ImageSource, ...]
    mask: ImageSource | None = None


class Vary(
    _Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="vary"
):
    """Another image like this one; `strength` from 0 (the same) to 1
    (anything).
    """

    image: ImageSource
    strength: float | None = None


class Enhance(
    _Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="enhance"
):
    """The same image, larger and finer; `scale` is the factor of each side,
    None the model's default.
    """

    image: ImageSource
    scale: float | None = None
    mode: Literal["fast", "conservative", "creative"] | None = None


class Restyle(
    _Request, frozen=True, kw_only=True, omit_defaults=True, tag_field="operation", tag="restyle"
):
    """The content of one image in the look of another; `strength` from 0 to 1."""

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
# Half of a SHA-256: it names requests, and guards nothing.
_FINGERPRINT_DIGITS = 32
_SAFETY = ("strict", "standard", "relaxed")
# Limit of the library.
_MOST_SEED = 2**63 - 1

_decode = msgspec.json.Decoder(Request).decode


def as_request(item: object) -> Request:
    """Return a request unchanged, or a prompt as a generation with the default
    model.

    Raises:
        InvalidRequestError: neither a prompt nor a request.
    """
    if isinstance(item, str):
        return Generate(prompt=item)
    if not isinstance(item, Request):
        raise InvalidRequestError(
            "A batch takes prompts and requests such as imagen.Generate, not"
            f" {type(item).__name__}."
        )
    return item


def operation_of(request: Request) -> Operation:
    """The name of the request's operation."""
    return _OPERATIONS[type(request)]


def encode_request(request: Request) -> str:
    """A request as JSON, to be stored. Its sources must be words:
    `InputImage`s, paths, ids.

    Raises:
        InvalidRequestError: a value that JSON cannot hold.
    """
    try:
        return msgspec.json.encode(request).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequestError(
            f"The request holds something that JSON cannot say ({error}); look at its options."
        ) from error


def decode_request(text: str | bytes) -> Request:
    """A request that `encode_request` made."""
    request: Request = _decode(text)
    return request


def fingerprint_of(request: Request, model: str) -> str:
    """Return a hash of a request to a model without its seed: equal for every
    caller and tag.

    The sources of the request must be words, as for `encode_request`; images
    count by their bytes, not by their names.
    """
    sources = tuple(
        (
            msgspec.structs.replace(source, id=None, name=None)
            if isinstance(source, InputImage)
            else source
        )
        for source in sources_of(request)
    )
    asked = msgspec.structs.replace(
        with_sources(request, sources),
        model=model,
        seed=None,
        previews=0,
        strict=False,
        assume_usd=None,
        tag=None,
    )
    return hashlib.sha256(encode_request(asked).encode()).hexdigest()[:_FINGERPRINT_DIGITS]


def sources_of(request: Request) -> tuple[ImageSource, ...]:
    """The images that a request works on, the one that it changes first, and
    its mask last.
    """
    match request:
        case Generate():
            return tuple(request.references)
        case Edit(mask=mask):
            return (*request.images, *(() if mask is None else (mask,)))
        case Restyle():
            return request.image, request.reference
        case _:
            return (request.image,)


def with_sources(request: Request, sources: tuple[ImageSource, ...]) -> Request:
    """Return the request with other images, in the order of `sources_of`."""
    match request:
        case Generate():
            return msgspec.structs.replace(request, references=sources)
        case Edit(mask=None):
            return msgspec.structs.replace(request, images=sources)
        case Edit():
            return msgspec.structs.replace(request, images=sources[:-1], mask=sources[-1])
        case Restyle():
            return msgspec.structs.replace(request, image=sources[0], reference=sources[1])
        case _:
            return msgspec.structs.replace(request, image=sources[0])


def check_request(request: Request) -> None:
    """Refuses what no model could do.

    Raises:
        InvalidRequestError: one sentence with the fault and what to do.
    """
    try:
        request.prompt.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(
            "The prompt holds a lone surrogate, which is not valid text: decode it again as UTF-8.",
            code="INVALID_PROMPT",
        ) from None
    if request.previews < 0:
        raise InvalidRequestError("previews must be 0 or more.")
    if request.seed is not None and not -_MOST_SEED <= request.seed <= _MOST_SEED:
        raise InvalidRequestError(
            f"A seed is a whole number up to {_MOST_SEED}, not {str(request.seed)[:40]}."
        )
    if request.assume_usd is not None and not _is_amount(request.assume_usd):
        raise InvalidRequestError(
            'assume_usd is a Decimal, 0 or more US dollars: assume_usd=Decimal("0.10").'
        )
    if request.size is not None and (
        request.aspect_ratio is not None or request.resolution is not None
    ):
        raise InvalidRequestError("Give a size, or an aspect_ratio with a resolution, not both.")
    if request.safety is not None and request.safety not in _SAFETY:
        raise InvalidRequestError(f"safety is one of {', '.join(_SAFETY)}, not {request.safety!r}.")
    _check_sources(request)


def _is_amount(usd: object) -> bool:
    return isinstance(usd, Decimal) and usd.is_finite() and usd >= 0


def _check_sources(request: Request) -> None:
    match request:
        case Edit(images=images) if not _is_series(images):
            raise InvalidRequestError(
                "`images` of an edit is a tuple of images, also of one: images=(image,)."
            )
        case Edit(images=images) if not images:
            raise InvalidRequestError("An edit needs at least one image in `images`.")
        case Enhance(scale=float() | int() as scale) if not 1 < scale <= 16:
            raise InvalidRequestError("scale must be more than 1 and at most 16.")
        case (
            Vary(strength=float() | int() as strength)
            | Restyle(strength=float() | int() as strength)
        ) if not (0 <= strength <= 1):
            raise InvalidRequestError("strength must be between 0 and 1.")
        case _:
            pass


def _is_series(images: object) -> bool:
    """A single path is a sequence too, in Python's eyes."""
    return isinstance(images, (tuple, list))
