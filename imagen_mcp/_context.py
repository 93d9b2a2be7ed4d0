"""What a server works with, and how a tool gets at it."""

from __future__ import annotations

from contextvars import ContextVar
from decimal import Decimal
from typing import NamedTuple

from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context

import imagen

__all__ = ["ServerState", "ToolContext", "client_of", "current_client", "remember_state"]


class ServerState(NamedTuple):
    """`local_files` says whether callers may name files of this machine,
    `confirm_above_usd` what needs the user's consent.
    """

    client: imagen.Client
    local_files: bool = True
    confirm_above_usd: Decimal | None = None


ToolContext = Context[ServerState]

_state: ContextVar[ServerState] = ContextVar("state")


def client_of(ctx: ToolContext) -> imagen.Client:
    return ctx.request_context.lifespan_context.client


async def remember_state(
    ctx: ServerRequestContext[ServerState], call_next: CallNext
) -> HandlerResult:
    """Middleware: the SDK gives its context to tools, templates and prompts,
    and none to fixed resources and completions.
    """
    _state.set(ctx.lifespan_context)
    return await call_next(ctx)


def current_client() -> imagen.Client:
    """The client of the server that answers this request."""
    return _state.get().client
