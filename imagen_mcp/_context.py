"""State of a server, and access to it from the tools."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import NamedTuple

from mcp.server import ServerRequestContext
from mcp.server.apps import client_supports_apps
from mcp.server.context import CallNext, HandlerResult
from mcp.server.mcpserver import Context

import imagen

from ._offer import Offer

__all__ = [
    "ServerState",
    "ToolContext",
    "client_of",
    "current_client",
    "current_state",
    "offer_of_caller",
    "remember_state",
    "shows_views",
]


class ServerState(NamedTuple):
    """State of one server. With `local_files` callers may name files of this
    machine; above `confirm_above_usd` the user must agree; `unanswered` has the
    sessions whose call has no answer yet, and when that call came.

    Where people have tokens, each of the `people` has a state of their own, and
    the server's is for none of them.
    """

    client: imagen.Client
    offer: Offer
    unanswered: dict[str, float]
    local_files: bool = True
    confirm_above_usd: Decimal | None = None
    people: Mapping[str, ServerState] = {}


ToolContext = Context[ServerState]

_state: ContextVar[ServerState | None] = ContextVar("state", default=None)
_shows_views: ContextVar[bool] = ContextVar("shows_views", default=False)


def client_of(ctx: ToolContext) -> imagen.Client:
    """Return the client of the caller."""
    return current_state().client


async def remember_state(
    ctx: ServerRequestContext[ServerState], call_next: CallNext
) -> HandlerResult:
    """Keep the caller's state for the handlers: the SDK passes no context to
    fixed resources, completions and lists.
    """
    _state.set(_state_of(ctx))
    _shows_views.set(client_supports_apps(ctx))
    return await call_next(ctx)


def _state_of(ctx: ServerRequestContext[ServerState]) -> ServerState:
    state = ctx.lifespan_context
    if not state.people:
        return state
    # Each message has its own request, also within a session. Without a user
    # the SDK would have refused it.
    assert ctx.request is not None
    return state.people[ctx.request.user.username]


def current_state() -> ServerState:
    """Return the state of the caller whose request is handled."""
    state = _state.get()
    assert state is not None, "outside of a request"
    return state


def offer_of_caller() -> Offer | None:
    """Return the tools for the caller whose request is handled; None outside of
    requests.
    """
    state = _state.get()
    return None if state is None else state.offer


def shows_views() -> bool:
    """Return True if the caller's host shows pages beside results."""
    return _shows_views.get()


def current_client() -> imagen.Client:
    """Return the client of the caller whose request is handled."""
    return current_state().client
