"""State of a server, and access to it from the tools."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextvars import ContextVar
from decimal import Decimal
from typing import NamedTuple

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context

import imagen

__all__ = ["ServerState", "ToolContext", "client_of", "current_client", "remember_state"]


class ServerState(NamedTuple):
    """State of one server. With `local_files` callers may name files of this
    machine; above `confirm_above_usd` the user must agree. `tools` returns the
    names of those that are listed; `unanswered` has the sessions whose call
    has no answer yet, and when that call came.
    """

    client: imagen.Client
    unanswered: dict[str, float]
    local_files: bool = True
    confirm_above_usd: Decimal | None = None
    tools: Callable[[], Collection[str]] = frozenset


ToolContext = Context[ServerState]

_state: ContextVar[ServerState] = ContextVar("state")


def client_of(ctx: ToolContext) -> imagen.Client:
    return ctx.request_context.lifespan_context.client


async def remember_state(
    ctx: ServerRequestContext[ServerState], call_next: CallNext
) -> HandlerResult:
    """Keep the state for handlers without a context: the SDK passes none to
    fixed resources and completions.
    """
    _state.set(ctx.lifespan_context)
    return await call_next(ctx)


def current_client() -> imagen.Client:
    """Return the client of the server that handles this request."""
    return _state.get().client
