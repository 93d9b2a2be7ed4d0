"""Values that the catalog offers for a model, as fields of requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import imagen
from tests.support.lengths import length

# Fields with many values, of which a short run takes two.
_LONG = ("size", "aspect_ratio", "style")

Values = dict[str, tuple[Any, ...]]


def offered_values(model: imagen.Model, *, free_sizes: tuple[str, str]) -> Values:
    """Return the values of each field; `free_sizes` stand for any size."""
    can = model.capabilities
    return {
        "size": (*can.sizes, *(free_sizes if can.free_size else ())),
        "aspect_ratio": can.aspect_ratios,
        "resolution": can.resolutions,
        "quality": can.qualities,
        "style": can.styles,
        "background": can.backgrounds,
        "output_format": can.output_formats,
        "safety": can.safety,
        "seed": (0, 2**31 - 1) if can.seed else (),
        "negative_prompt": ("dogs",) if can.negative_prompt else (),
        "guidance": () if can.guidance is None else (can.guidance.low, can.guidance.high),
        "steps": () if can.steps is None else (int(can.steps.low), int(can.steps.high)),
    }


def one_at_a_time(values: Values) -> Iterator[dict[str, Any]]:
    """Yield no field, then each value on its own."""
    yield {}
    for field, offered in values.items():
        most = length(len(offered), short=2) if field in _LONG else len(offered)
        yield from ({field: value} for value in offered[:most])


def last_of_each(values: Values, without: set[str]) -> dict[str, Any]:
    """Return the last value of every field but those `without`."""
    return {
        field: offered[-1] for field, offered in values.items() if offered and field not in without
    }
