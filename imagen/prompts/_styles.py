"""Styles: named prefixes, suffixes, negative prompts and parameters of
requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack

import msgspec

from .._errors import InvalidRequestError
from .._requests.catalog import JsonValue, Model
from .._requests.request import AnyRequest, Generate, ImageSource, LibraryImage, check_request

if TYPE_CHECKING:
    from .._requests.options import GenerateFields

__all__ = [
    "PLACEHOLDER",
    "SharedStyle",
    "Style",
    "apply_styles",
    "check_parameters",
    "choose_styles",
    "frame_prompt",
]

PLACEHOLDER = "{prompt}"
"""Position of the prompt in a style; the syntax of styles.csv of the Stable
Diffusion web UI.
"""

_SHAPE = ("size", "aspect_ratio", "resolution")
# A style may not set payment, tracking or counting of a request, or the image
# of a series.
_PARAMETERS = (
    *_SHAPE,
    "model",
    "quality",
    "style",
    "guidance",
    "steps",
    "safety",
    "background",
    "output_format",
    "options",
)
_JOINTS = ".,;:!?"


class Style(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """A named style.

    `prefix` comes before the prompt and `suffix` after it; {prompt} in them
    marks its position. `references` are style images: files, https URLs, or ids
    in the library. `parameters` are fields of a request, e.g. `aspect_ratio` or
    `quality`; they apply if the request leaves them open.

    Raises:
        InvalidRequestError: the name or a parameter is invalid.
    """

    name: str
    description: str = ""
    prefix: str = ""
    suffix: str = ""
    negative_prompt: str = ""
    references: tuple[str, ...] = ()
    parameters: Mapping[str, JsonValue] = {}

    def __post_init__(self) -> None:
        if not self.name.strip() or len(self.name) > 100 or not self.name.isprintable():
            raise InvalidRequestError(
                f"Invalid style name {self.name[:100]!r}: expected 1 to 100 printable characters."
            )
        check_parameters(self.parameters)


def check_parameters(parameters: Mapping[str, JsonValue]) -> None:
    """Check that the parameters are fields of a request with valid values.

    Raises:
        InvalidRequestError: a field or value is invalid.
    """
    if unknown := [name for name in parameters if name not in _PARAMETERS]:
        raise InvalidRequestError(
            f"Unknown parameter {unknown[0][:100]!r}: expected one of {', '.join(_PARAMETERS)}."
        )
    try:
        fields = _as_fields(parameters)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"Invalid parameter: {error}.") from None
    check_request(fields)


def _as_fields(parameters: Mapping[str, JsonValue]) -> Generate:
    return msgspec.convert({"operation": "generate", **parameters}, Generate)


def choose_styles(styles: Mapping[str, Style], names: Iterable[str]) -> tuple[Style, ...]:
    """Return the styles of these names, in their order.

    Raises:
        InvalidRequestError: a style is unknown; the message suggests similar
            names.
    """
    return tuple(_choose(styles, name) for name in names)


def _choose(styles: Mapping[str, Style], name: str) -> Style:
    if name in styles:
        return styles[name]
    import difflib

    near = difflib.get_close_matches(name, styles, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`imagen style list` lists them."
    raise InvalidRequestError(f"Unknown style {name[:100]!r}: {hint}")


def apply_styles(request: AnyRequest, styles: Sequence[Style]) -> AnyRequest:
    """Apply styles to a request, each around the previous result.

    The request's own values win, then those of the first style that sets them.
    References apply to generations only.
    """
    for style in styles:
        request = _apply(request, style)
    return request


def _apply(request: AnyRequest, style: Style) -> AnyRequest:
    changes: dict[str, object] = {
        "prompt": frame_prompt(request.prompt, style),
        "negative_prompt": _join_negative(request.negative_prompt, style.negative_prompt),
    }
    fields = _as_fields(style.parameters)
    has_shape = any(getattr(request, name) is not None for name in _SHAPE)
    for name in style.parameters:
        if name == "options":
            changes[name] = {**fields.options, **request.options}
        elif getattr(request, name) is None and not (has_shape and name in _SHAPE):
            changes[name] = getattr(fields, name)
    if isinstance(request, Generate):
        changes["references"] = (*request.references, *style.references)
    return msgspec.structs.replace(request, **changes)


def frame_prompt(prompt: str, style: Style) -> str:
    """Put the prefix and suffix of a style around a prompt."""
    words = f"{style.prefix} {style.suffix}".strip()
    if PLACEHOLDER in words:
        return words.replace(PLACEHOLDER, prompt)
    before, after = style.prefix.strip(), style.suffix.strip()
    framed = f"{before} {prompt.strip()}".strip() if before else prompt
    if not after:
        return framed
    if not framed:
        return after
    joint = "" if after[0] in _JOINTS else " " if framed.rstrip()[-1:] in _JOINTS else ", "
    return f"{framed.rstrip()}{joint}{after}"


def _join_negative(asked: str | None, added: str) -> str | None:
    if not added or added == asked:
        return asked
    return f"{asked.rstrip(', ')}, {added}" if asked else added


# Seeds of most models have 32 bits.
_SEEDS = 1 << 32


class SharedStyle:
    """A shared style: creates requests whose images match. It is kept in
    memory, for one Trio run.

    Args:
        styles: Applied to every prompt.
        seed: Seed of the first prompt. Each new prompt gets the next seed; a
            repeated prompt keeps its seed.
        references: Style images of all requests.
        model_for: Returns the model of a request, as `Client.model_for` does;
            it sets the number of references.
    """

    def __init__(
        self,
        styles: Sequence[Style] = (),
        *,
        seed: int | None = None,
        references: Sequence[ImageSource] = (),
        model_for: Callable[[Generate], Model],
    ) -> None:
        self.styles = tuple(styles)
        self.seed = seed
        self.references = tuple(references)
        self.kept: tuple[LibraryImage, ...] = ()
        self._model_for = model_for
        self._seeds: dict[str, int] = {}

    def request(self, prompt: str, **parameters: Unpack[GenerateFields]) -> Generate:
        """Create a generation in this style. Its parameters take precedence
        over the style.

        Raises:
            ImagenError: no model supports it.
        """
        request = Generate(prompt=prompt, **parameters)
        if request.seed is None and self.seed is not None:
            request = msgspec.structs.replace(request, seed=self._seed_of(prompt, self.seed))
        request = msgspec.structs.replace(
            request, references=(*request.references, *self.references)
        )
        styled = apply_styles(request, self.styles)
        return self._with_kept(styled) if self.kept else styled

    def keep(self, image: LibraryImage) -> None:
        """Add an image as reference for the following requests, as far as their
        model takes references: the latest first.
        """
        self.kept = (image, *(kept for kept in self.kept if kept.id != image.id))

    def _seed_of(self, prompt: str, first: int) -> int:
        return self._seeds.setdefault(prompt, (first + len(self._seeds)) % max(_SEEDS, first + 1))

    def _with_kept(self, request: Generate) -> Generate:
        room = self._model_for(request).capabilities.inputs.max_references - len(request.references)
        return msgspec.structs.replace(
            request, references=(*request.references, *self.kept[: max(room, 0)])
        )
