"""What engines on a machine of one's own have in common: nothing of them costs
money, and they fail at the same thing again.
"""

from __future__ import annotations

from collections.abc import Callable

from ..._errors import ImagenError
from ..._requests.catalog import Model
from ..._requests.request import Request
from ..._requests.sizes import parse_size
from .._provider import Call, EncodedImage
from .._steps import Exchange

__all__ = ["checkpoint_of", "fitted_size", "keep_free", "number_setting", "runs_out_of_memory"]

# As the name of a model: whatever the engine has loaded, or has first.
_LOADED = "default"
# The latent image of a checkpoint is smaller by this factor.
_STEP = 8


def keep_free(operation: Callable[[Call], Exchange], call: Call) -> Exchange:
    """An operation whose failures cost nothing."""
    try:
        return (yield from operation(call))
    except ImagenError as error:
        error.billed = "no"
        raise


def checkpoint_of(model: Model) -> str | None:
    """The file that a model is; None for the one that the engine chooses."""
    named = model.wire.get("checkpoint")
    if isinstance(named, str):
        return named
    return None if model.wire_name == _LOADED else model.wire_name


def fitted_size(request: Request, image: EncodedImage | None = None) -> tuple[int, int]:
    """Width and height of what is to be drawn: as asked, else as the image has
    them, else a square.
    """
    asked = None if request.size is None else parse_size(request.size)
    if asked is not None:
        return asked
    if image is None:
        return 1024, 1024
    return max(1, image.width // _STEP) * _STEP, max(1, image.height // _STEP) * _STEP


def number_setting(call: Call, name: str, default: float) -> float:
    """A setting that is a number above 0."""
    value = call.settings.get(name)
    return (
        max(0.001, float(value))
        if isinstance(value, (int, float)) and not isinstance(value, bool)
        else default
    )


def runs_out_of_memory(*texts: str) -> bool:
    """Whether an engine says that its memory did not suffice."""
    said = " ".join(texts).casefold()
    return "outofmemory" in said or "out of memory" in said
