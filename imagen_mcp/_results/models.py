"""Result of `find_models`."""

from __future__ import annotations

from collections.abc import Sequence

from mcp.types import CallToolResult
from pydantic import BaseModel

import imagen

from .._models import is_available
from .generation import result_of
from .text import clip_line, dollars, spoken

__all__ = ["ModelRow", "ModelsReply", "models_reply"]

_LONGEST_DESCRIPTION = 160


class ModelRow(BaseModel):
    """Model and the range of its price per image; null if unknown. `key` is
    what must be set for it, null if it can be used now.
    """

    id: str
    provider: str
    operations: list[str]
    low_usd: str | None
    high_usd: str | None
    key: str | None
    description: str


class ModelsReply(BaseModel):
    """The first models that fit, and the number of those left out."""

    models: list[ModelRow]
    more: int


def models_reply(
    found: Sequence[imagen.Model], settings: imagen.Settings, most: int
) -> CallToolResult:
    """Return the first `most` of the models."""
    rows = [_row(model, settings) for model in found[:most]]
    reply = ModelsReply(models=rows, more=len(found) - len(rows))
    lines = [_line(row) for row in rows] or ["No model fits: ask for less at once."]
    if reply.more:
        lines.append(f"{reply.more} more fit: ask for less of them.")
    return result_of(reply, lines, [])


def _row(model: imagen.Model, settings: imagen.Settings) -> ModelRow:
    low, high = model.price_range
    return ModelRow(
        id=model.id,
        provider=model.provider,
        operations=list(model.capabilities.operations),
        low_usd=dollars(low),
        high_usd=dollars(high),
        key=None if is_available(model, settings) else _key_of(model, settings),
        description=clip_line(model.description, _LONGEST_DESCRIPTION),
    )


def _key_of(model: imagen.Model, settings: imagen.Settings) -> str:
    access = settings.access.get(model.provider)
    if access is None:
        return "an unknown provider"
    provider = access.provider
    if access.base_url is None and provider.base_url_variable is not None:
        return provider.base_url_variable
    return " or ".join(provider.key_variables) or "an extra package"


def _line(row: ModelRow) -> str:
    state = "ready" if row.key is None else f"needs {row.key}"
    return f"{row.id} ({state}): {', '.join(row.operations)}; {_price(row)}. {row.description}"


def _price(row: ModelRow) -> str:
    match row.low_usd, row.high_usd:
        case None, _:
            return "price unknown"
        case "0", "0":
            return "free"
        case str(low), None:
            return f"{spoken(low)} an image and more"
        case str(low), high if low == high:
            return f"{spoken(low)} an image"
        case str(low), high:
            return f"{spoken(low)} to {spoken(str(high))} an image"
