"""Self-hosted engines: they cost nothing, and fail again at the same request."""

from __future__ import annotations

from collections.abc import Callable

from ..._errors import ImagenError
from ..._requests.catalog import Model
from ..._requests.request import Request
from ..._requests.sizes import parse_size
from .._provider import Call, EncodedImage
from .._steps import Exchange

__all__ = ["checkpoint_of", "fitted_size", "keep_free", "number_setting", "runs_out_of_memory"]

# As a model name: the one that the engine has loaded, or its first.
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
    """Return width and height to draw: as requested, else those of the image,
    else a square.
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
    """Return True if an engine ran out of memory."""
    said = " ".join(texts).casefold()
    return "outofmemory" in said or "out of memory" in said
