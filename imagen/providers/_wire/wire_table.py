"""The `wire` table of a model: what its adapter has to know beside its
capabilities.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ..._errors import ConfigurationError
from ..._requests.catalog import Model

__all__ = ["read_wire"]

Table = TypeVar("Table")


def read_wire(model: Model, form: type[Table]) -> Table:
    """Return the `wire` table of a model in the form of its adapter.

    Raises:
        ConfigurationError: it has another form, as of a model in imagen.toml.
    """
    try:
        return msgspec.convert(model.wire, form)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f'wire of [models."{model.id}"] is wrong: {error}.') from error
