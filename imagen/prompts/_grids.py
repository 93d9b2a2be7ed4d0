"""Grids: combinations of prompts, models, seeds, styles, sizes and qualities."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Unpack, overload

import msgspec

from .._errors import InvalidRequestError
from .._requests.request import Generate
from ._expansions import Expansions, format_count
from ._styles import Style, apply_styles

if TYPE_CHECKING:
    from .._requests.options import GenerateFields

__all__ = ["Grid", "grid"]

_MOST_REQUESTS = 10_000


_Value = str | int | tuple[Style, ...]


class Axis(msgspec.Struct, frozen=True):
    """One dimension of a grid."""

    name: str
    values: Sequence[_Value]

    @property
    def size(self) -> int:
        # len() raises OverflowError beyond the size of a list.
        return self.values.total if isinstance(self.values, Expansions) else len(self.values)


class Grid(Sequence[Generate]):
    """The requests of a grid, each created on access; batches and quotes accept
    it.

    The first axis varies slowest. `Image.index` is the position in the grid,
    and `labels` describes it.
    """

    def __init__(self, base: Generate, axes: Sequence[Axis]) -> None:
        self._base = base
        self._axes = tuple(axes)
        self._len = math.prod(axis.size for axis in axes)

    @property
    def axes(self) -> Mapping[str, int]:
        """Length of each axis, by name."""
        return {axis.name: axis.size for axis in self._axes}

    @property
    def requests(self) -> Iterator[Generate]:
        """Iterator over the requests."""
        return iter(self)

    def labels(self, index: int) -> Mapping[str, str]:
        """Return the values at this position, by axis."""
        return {axis.name: _label(value) for axis, value in self._cell(index)}

    def caption(self, index: int) -> str:
        """Return a caption: the values at this position that vary within the
        grid.
        """
        return ", ".join(_label(value) for axis, value in self._cell(index) if axis.size > 1)

    def __len__(self) -> int:
        return self._len

    @overload
    def __getitem__(self, index: int) -> Generate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Generate]: ...
    def __getitem__(self, index: int | slice) -> Generate | list[Generate]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._len))]
        found = {axis.name: value for axis, value in self._cell(index)}
        styles = found.pop("style", ())
        request = msgspec.structs.replace(self._base, **found)
        return apply_styles(request, styles) if isinstance(styles, tuple) else request

    def _cell(self, index: int) -> list[tuple[Axis, _Value]]:
        if not -self._len <= index < self._len:
            raise IndexError(f"Request {index} of a grid of {self._len}.")
        left = index % self._len
        found = []
        for axis in reversed(self._axes):
            left, place = divmod(left, axis.size)
            found.append((axis, axis.values[place]))
        return found[::-1]


def _label(value: _Value) -> str:
    if not isinstance(value, tuple):
        return str(value)
    return " + ".join(style.name for style in value) or "no style"


def _together(styles: Style | Sequence[Style] | None) -> tuple[Style, ...]:
    return (styles,) if isinstance(styles, Style) else tuple(styles or ())


def grid(
    prompts: str | Sequence[str],
    *,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (),
    styles: Sequence[Style | Sequence[Style] | None] = (),
    sizes: Sequence[str] = (),
    qualities: Sequence[str] = (),
    most: int = _MOST_REQUESTS,
    **parameters: Unpack[GenerateFields],
) -> Grid:
    """Combine every prompt with every model, every seed, and so on; prompts
    vary slowest, qualities fastest.

    Args:
        prompts: One, or several; `Template.expand` returns those of a template.
        styles: Each entry is one style, several to combine, or None for the
            plain prompt.
        most: Maximum number of requests, against an expensive mistake.
        parameters: Common fields of all requests, as keyword arguments of
            `Generate`.

    Raises:
        InvalidRequestError: there are no requests, or too many.
    """
    lists: Mapping[str, Sequence[_Value]] = {
        "prompt": (prompts,) if isinstance(prompts, str) else prompts,
        "model": models,
        "seed": seeds,
        "style": list(map(_together, styles)),
        "size": sizes,
        "quality": qualities,
    }
    axes = [Axis(name, values) for name, values in lists.items()]
    axes = [axis for axis in axes if axis.size or axis.name == "prompt"]
    if both := [axis.name for axis in axes if axis.name in parameters and axis.name != "style"]:
        raise InvalidRequestError(
            f"{both[0]} is given both as a common value and as a list: omit one of them."
        )
    total = math.prod(axis.size for axis in axes)
    if not total:
        raise InvalidRequestError("Empty grid: expected at least one prompt.")
    if total > most:
        sizes_text = " x ".join(f"{format_count(axis.size)} {axis.name}" for axis in axes)
        raise InvalidRequestError(
            f"The grid has {format_count(total)} requests ({sizes_text}); at most {most:,} are"
            " allowed, unless `most` is increased."
        )
    return Grid(Generate(**parameters), axes)
