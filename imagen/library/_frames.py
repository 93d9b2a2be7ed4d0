"""Images as a data frame of pandas or polars."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from .._errors import ConfigurationError
from .._requests.request import operation_of
from .._results.images import Image

if TYPE_CHECKING:
    import pandas
    import polars

__all__ = ["FrameLibrary", "check_frames", "make_frame"]

FrameLibrary = Literal["pandas", "polars"]

_LIBRARIES: tuple[FrameLibrary, ...] = ("pandas", "polars")
# The kind of each column, by its name in narwhals: a frame without rows has
# the columns of one with them.
_COLUMNS: Mapping[str, tuple[str, Callable[[Image], object]]] = {
    "id": ("String", lambda image: image.id),
    "created_at": ("Datetime", lambda image: image.created_at),
    "operation": ("String", lambda image: operation_of(image.request)),
    "prompt": ("String", lambda image: image.prompt),
    "revised_prompt": ("String", lambda image: image.revised_prompt),
    "provider": ("String", lambda image: image.provider),
    "model": ("String", lambda image: image.model),
    "width": ("Int64", lambda image: image.width),
    "height": ("Int64", lambda image: image.height),
    "media_type": ("String", lambda image: image.media_type),
    "size_bytes": ("Int64", lambda image: image.size_bytes),
    "seed": ("Int64", lambda image: image.seed),
    "cost_usd": (
        "Float64",
        lambda image: None if image.cost.usd is None else float(image.cost.usd),
    ),
    "cost_source": ("String", lambda image: image.cost.source),
    "seconds": ("Float64", lambda image: image.seconds),
    "rating": ("Int64", lambda image: image.rating),
    "tags": ("String", lambda image: ", ".join(image.tags)),
    "notes": ("String", lambda image: image.notes),
    "parent_id": ("String", lambda image: image.parent_id),
    "sha256": ("String", lambda image: image.sha256),
    "path": ("String", lambda image: None if image.path is None else str(image.path)),
}


def check_frames(library: FrameLibrary | None) -> FrameLibrary:
    """Return the library that makes the frame: the one that is asked for, else
    the first that is installed.

    Raises:
        ConfigurationError: it or narwhals is missing.
    """
    wanted = _LIBRARIES if library is None else (library,)
    found = [name for name in wanted if importlib.util.find_spec(name) is not None]
    if found and importlib.util.find_spec("narwhals") is not None:
        return found[0]
    raise ConfigurationError(
        f"A data frame needs {' or '.join(wanted)}, and narwhals: pip install"
        f' "imagen-trio[frames]" {wanted[0]}.'
    )


def make_frame(
    images: Sequence[Image], library: FrameLibrary
) -> pandas.DataFrame | polars.DataFrame:
    """Return a frame with a row for each image. Blocking."""
    import narwhals

    kinds = {
        name: narwhals.Datetime("us", "UTC") if kind == "Datetime" else getattr(narwhals, kind)()
        for name, (kind, _) in _COLUMNS.items()
    }
    values = {name: [read(image) for image in images] for name, (_, read) in _COLUMNS.items()}
    seeds = values["seed"]
    if library == "pandas":
        values["seed"] = [0] * len(images)
    frame: pandas.DataFrame | polars.DataFrame = narwhals.from_dict(
        values, schema=kinds, backend=library
    ).to_native()
    if library == "pandas":
        import pandas

        # By itself pandas makes a column with gaps one of floats, which do not
        # hold all seeds.
        frame["seed"] = pandas.array(seeds, dtype="Int64")
    return frame
