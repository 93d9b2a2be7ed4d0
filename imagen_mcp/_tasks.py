"""Tasks (the extension io.modelcontextprotocol/tasks): a client that declares
it gets a task for each call that makes images, and polls.

A task and a batch are one thing: the id of the task is the session's. So a task
outlives the server as a session does, and both sides see the same images.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal

from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.inbound import decode_header_value
from mcp.types import CallToolRequestParams, CallToolResult, RequestParams
from mcp_types import HEADER_MISMATCH, INVALID_PARAMS
from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

import imagen

from ._context import ServerState, current_client
from ._results.generation import Found, batch_reply, failed, image_reply
from ._results.text import clip_line

__all__ = ["Tasks", "hand_over"]

_IDENTIFIER = "io.modelcontextprotocol/tasks"
_VERSIONS = frozenset({"2026-07-28"})
_POLL_MS = 1000

# True while a call is to be answered with a task.
_is_wanted: ContextVar[bool] = ContextVar("is_wanted", default=False)

Context = ServerRequestContext[ServerState]


class _Handed(MCPError):
    """Carrier of a session out of its tool; the SDK lets such errors pass."""

    def __init__(self, session: imagen.Session) -> None:
        super().__init__(code=0, message="handed over to a task")
        self.session = session


def hand_over(session: imagen.Session) -> None:
    """Leave the tool if the client wants a task: the session goes on alone."""
    if _is_wanted.get():
        raise _Handed(session)


class _TaskParams(RequestParams):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")
    task_id: str


class Tasks(Extension):
    """The extension. `tools` are those whose calls become tasks; `ttl_seconds`
    is how long a task is kept.
    """

    identifier = _IDENTIFIER

    def __init__(self, tools: Sequence[str], ttl_seconds: float) -> None:
        self._tools = frozenset(tools)
        self._ttl_ms = int(ttl_seconds * 1000)
        # Of a later server the result of one image is that of generate_image.
        self._tool_of: dict[str, str] = {}
        self._created: dict[str, str] = {}

    def settings(self) -> dict[str, Any]:
        """Return nothing: the extension has no settings."""
        return {}

    def methods(self) -> list[MethodBinding]:
        """Return the methods of the protocol."""
        return [
            MethodBinding("tasks/get", _TaskParams, self._get, _VERSIONS),
            MethodBinding("tasks/update", _TaskParams, self._update, _VERSIONS),
            MethodBinding("tasks/cancel", _TaskParams, self._cancel, _VERSIONS),
        ]

    async def intercept_tool_call(
        self, params: CallToolRequestParams, ctx: Context, call_next: CallNext
    ) -> HandlerResult:
        """Answer a call with a task, if the client declared the extension. An
        error, or a question about the cost, comes first.
        """
        if params.name not in self._tools or not _declares(ctx):
            return await call_next(ctx)
        token = _is_wanted.set(True)
        try:
            return await call_next(ctx)
        except _Handed as handed:
            self._tool_of[handed.session.id] = params.name
            return {**self._wire(handed.session), "resultType": "task"}
        finally:
            _is_wanted.reset(token)

    async def _get(self, ctx: Context, params: _TaskParams) -> HandlerResult:
        session = await self._find(ctx, params)
        wire = {**self._wire(session), "resultType": "complete"}
        if wire["status"] == "completed":
            result = await self._result(session)
            wire["result"] = {
                **result.model_dump(by_alias=True, mode="json", exclude_none=True),
                "resultType": "complete",
            }
        return wire

    async def _update(self, ctx: Context, params: _TaskParams) -> HandlerResult:
        # Questions come before the task: nothing waits for an answer.
        await self._find(ctx, params)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Context, params: _TaskParams) -> HandlerResult:
        session = await self._find(ctx, params)
        await current_client().sessions.stop(session.id)
        return {"resultType": "complete"}

    async def _find(self, ctx: Context, params: _TaskParams) -> imagen.Session:
        require_client_extension(ctx, _IDENTIFIER)
        headers = getattr(ctx.request, "headers", None)
        named = None if headers is None else decode_header_value(headers.get("mcp-name", ""))
        if named is not None and named != params.task_id:
            raise MCPError(HEADER_MISMATCH, "The header Mcp-Name is not the id of the task.")
        try:
            return await current_client().sessions.follow(params.task_id)
        except imagen.SessionError:
            raise MCPError(
                INVALID_PARAMS, f"There is no task {clip_line(params.task_id, 40)!r}."
            ) from None

    def _wire(self, session: imagen.Session) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        return {
            "taskId": session.id,
            "status": _status(session),
            "statusMessage": f"{len(session.images)} of {session.requested} images",
            "createdAt": self._created.setdefault(session.id, now),
            "lastUpdatedAt": now,
            "ttlMs": self._ttl_ms,
            "pollIntervalMs": _POLL_MS,
        }

    async def _result(self, session: imagen.Session) -> CallToolResult:
        """Return what the call itself would have returned in the end."""
        client = current_client()
        found = Found(*session.images[0]) if session.images else None
        tool = self._tool_of.get(session.id)
        is_batch = session.requested > 1 or tool in ("start_image_batch", "create_variations")
        if is_batch:
            return await batch_reply(client, session, found, notes=_paths(session))
        if found is not None:
            return await image_reply(client, found)
        if session.failures:
            return failed(session.failures[0][1].error)
        return failed(session.error or imagen.SessionError("No image was made."))


def _declares(ctx: Context) -> bool:
    capabilities = ctx.session.client_capabilities
    extensions = (None if capabilities is None else capabilities.extensions) or {}
    return _IDENTIFIER in extensions and ctx.protocol_version in _VERSIONS


def _status(session: imagen.Session) -> Literal["working", "completed", "cancelled"]:
    if not session.finished:
        return "working"
    # An error of a tool is a result.
    return "cancelled" if session.state == "CANCELLED" else "completed"


def _paths(session: imagen.Session) -> list[str]:
    named = [f"{number}: {image.path}" for number, image in session.images if image.path]
    more = f'get_next_image(session_id="{session.id}", after=N) shows the one after N.'
    return [f"All images, {'; '.join(named)}. {more}"] if named else []
