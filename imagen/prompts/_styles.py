"""Looks with a name: words around a prompt, words against, and parameters, put
onto a request one after the other.
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
"""Where the prompt goes in a style that says so; the sign is that of styles.csv
of the Stable Diffusion web UI.
"""

_SHAPE = ("size", "aspect_ratio", "resolution")
# What a style may not say: how a request is paid, watched and counted, and
# which image of many it is.
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
    """A look. `prefix` comes before the prompt and `suffix` after it; where
    they hold {prompt}, it goes there.

    `references` are images that lend the look: files, https URLs, or ids in the
    library. `parameters` are fields of a request, such as `aspect_ratio` or
    `quality`; they count where the request leaves them open.

    Raises:
        InvalidRequestError: the name cannot be seen, or a parameter is none.
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
                f"A style's name is 1 to 100 letters that can be seen, not {self.name[:100]!r}."
            )
        check_parameters(self.parameters)


def check_parameters(parameters: Mapping[str, JsonValue]) -> None:
    """Makes sure that these are fields of a request, with values that these
    fields take.

    Raises:
        InvalidRequestError: they are not.
    """
    if unknown := [name for name in parameters if name not in _PARAMETERS]:
        raise InvalidRequestError(
            f"{unknown[0][:100]!r} is not among the parameters {', '.join(_PARAMETERS)}."
        )
    try:
        asked = _as_fields(parameters)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"A parameter is wrong: {error}.") from None
    check_request(asked)


def _as_fields(parameters: Mapping[str, JsonValue]) -> Generate:
    return msgspec.convert({"operation": "generate", **parameters}, Generate)


def choose_styles(styles: Mapping[str, Style], names: Iterable[str]) -> tuple[Style, ...]:
    """The styles of these names, in their order.

    Raises:
        InvalidRequestError: there is no such style; the message names the
            nearest ones.
    """
    return tuple(_choose(styles, name) for name in names)


def _choose(styles: Mapping[str, Style], name: str) -> Style:
    if name in styles:
        return styles[name]
    import difflib

    near = difflib.get_close_matches(name, styles, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`imagen style list` lists them."
    raise InvalidRequestError(f"There is no style {name[:100]!r}: {hint}")


def apply_styles(request: AnyRequest, styles: Sequence[Style]) -> AnyRequest:
    """The request in these looks, one around the other; without any it stays
    what it is.

    What the request says itself counts, then the first style that says it.
    References go to generations only.
    """
    for style in styles:
        request = _apply(request, style)
    return request


def _apply(request: AnyRequest, style: Style) -> AnyRequest:
    changes: dict[str, object] = {
        "prompt": frame_prompt(request.prompt, style),
        "negative_prompt": _join_negative(request.negative_prompt, style.negative_prompt),
    }
    asked = _as_fields(style.parameters)
    has_shape = any(getattr(request, name) is not None for name in _SHAPE)
    for name in style.parameters:
        if name == "options":
            changes[name] = {**asked.options, **request.options}
        elif getattr(request, name) is None and not (has_shape and name in _SHAPE):
            changes[name] = getattr(asked, name)
    if isinstance(request, Generate):
        changes["references"] = (*request.references, *style.references)
    return msgspec.structs.replace(request, **changes)


def frame_prompt(prompt: str, style: Style) -> str:
    """The prompt with the words of a style around it."""
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


# Seeds of most models are 32 bits long.
_SEEDS = 1 << 32


class SharedStyle:
    """Makes requests that go together. It lives in memory, and belongs to one
    Trio run.

    Args:
        styles: Are put onto every prompt.
        seed: The seed of the first prompt; each further prompt has the next
            one, and the same prompt the same one again.
        references: Images that lend the look to all of them.
        model_for: Says which model does a request, as `Client.model_for` does:
            how many references it takes.
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
        """A generation in this look. What is said here of seed, size and so on
        counts before what the look says.

        Raises:
            ImagenError: there is no model for it.
        """
        asked = Generate(prompt=prompt, **parameters)
        if asked.seed is None and self.seed is not None:
            asked = msgspec.structs.replace(asked, seed=self._seed_of(prompt, self.seed))
        asked = msgspec.structs.replace(asked, references=(*asked.references, *self.references))
        styled = apply_styles(asked, self.styles)
        return self._with_kept(styled) if self.kept else styled

    def keep(self, image: LibraryImage) -> None:
        """Lets an image lend its look to the following ones, as far as their
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
