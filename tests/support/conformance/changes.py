"""Fixtures of the suite that tell a client of changes: log messages, watched
resources, lists that change, and a stream that is closed amid a call.
"""

from __future__ import annotations

import trio
from mcp.server import MCPServer, ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import (
    EmptyResult,
    JSONRPCMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)

from imagen_mcp._context import ServerState


class Events(EventStore):
    """The messages of every stream, by their number."""

    def __init__(self) -> None:
        self._all: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        self._all.append((stream_id, message))
        return str(len(self._all))

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        if not last_event_id.isdecimal() or int(last_event_id) > len(self._all):
            return None
        seen = int(last_event_id)
        stream, _ = self._all[seen - 1]
        for number, (other, message) in enumerate(self._all[seen:], seen + 1):
            if other == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three messages to the client."""
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(text)  # pyright: ignore[reportDeprecated]
        await trio.sleep(0.05)
    return "done"


async def test_reconnection(ctx: Context) -> str:
    """Closes the stream of its own call."""
    await ctx.close_sse_stream()
    await trio.sleep(0.2)
    return "Reconnection test completed"


async def test_trigger_tool_change(ctx: Context) -> str:
    """Says that the tools changed."""
    await ctx.notify_tools_changed()
    return "said"


async def test_trigger_prompt_change(ctx: Context) -> str:
    """Says that the prompts changed."""
    await ctx.notify_prompts_changed()
    return "said"


def watched_resource() -> str:
    return "Watched resource content"


TOOLS = (
    test_tool_with_logging,
    test_reconnection,
    test_trigger_tool_change,
    test_trigger_prompt_change,
)
RESOURCES = (("test://watched-resource", watched_resource, "text/plain"),)


def add_handlers(server: MCPServer[ServerState]) -> None:
    """Answer the requests that imagen's server has no use for."""
    add = server._lowlevel_server.add_request_handler
    add("logging/setLevel", SetLevelRequestParams, _accept)
    add("resources/subscribe", SubscribeRequestParams, _accept)
    add("resources/unsubscribe", UnsubscribeRequestParams, _accept)


async def _accept(ctx: ServerRequestContext[ServerState], params: object) -> EmptyResult:
    return EmptyResult()
