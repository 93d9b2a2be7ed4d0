"""The tool that finds a model."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

import imagen

from .._context import ToolContext, client_of
from .._models import Wish
from .._models import find_models as matching
from .._results.models import ModelsReply, models_reply
from .._results.text import no_such

__all__ = ["find_models"]

_MOST_ROWS = 10


async def find_models(
    ctx: ToolContext,
    query: Annotated[str, Field(description="What it is good at, or its name.")] = "",
    operation: Annotated[imagen.Operation | None, Field(description="What it must do.")] = None,
    provider: Annotated[str | None, Field(description="E.g. openai.")] = None,
    max_price_usd: Annotated[float | None, Field(ge=0, description="Of an image.")] = None,
    with_key: Annotated[bool, Field(description="Only those ready to use.")] = False,
    limit: Annotated[int, Field(ge=1, le=_MOST_ROWS, description="How many.")] = 10,
) -> Annotated[CallToolResult, ModelsReply]:
    """Find image models by what they do and cost, with their prices and the
    keys that they need. Makes nothing.
    """
    client = client_of(ctx)
    settings = client.settings
    if provider is not None and provider not in settings.access:
        raise no_such("provider", provider, sorted(settings.access))
    wish = Wish(query, operation, provider, max_price_usd, with_key)
    return models_reply(matching(wish, settings, client.catalog), settings, limit)
