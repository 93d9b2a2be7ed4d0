"""Tasks (the extension io.modelcontextprotocol/tasks): a client that declares
it gets a task for each call that makes images, and polls.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.extension import Extension, MethodBinding
from mcp.server.mcpserver import require_client_extension
from mcp.shared.inbound import decode_header_value
from mcp.types import CallToolRequestParams, CallToolResult, InputRequest, RequestParams
from mcp_types import HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ._context import ServerState
from ._results.text import clip_line

__all__ = ["TASKS", "Task", "Tasks", "hand_over"]

TASKS = "io.modelcontextprotocol/tasks"
"""The identifier of the extension."""

_VERSIONS = frozenset({"2026-07-28"})
_POLL_MS = 1000
_log = logging.getLogger("imagen_mcp")

# True while a call is to be answered with a task.
_is_wanted: ContextVar[bool] = ContextVar("is_wanted", default=False)

Context = ServerRequestContext[ServerState]


class Task(Protocol):
    """Work that goes on after its call was answered. `questions` has what must
    be answered first, while the status is `input_required`.
    """

    @property
    def id(self) -> str: ...

    @property
    def status(self) -> Literal["working", "input_required", "completed", "cancelled"]: ...

    @property
    def message(self) -> str: ...

    @property
    def questions(self) -> Mapping[str, InputRequest]: ...

    async def answer(self, answers: Mapping[str, Any]) -> None:
        """Take answers to some of the questions, or to all."""

    async def result(self, tool: str | None) -> CallToolResult:
        """Return what the call itself would have returned in the end. `tool` is
        the one that was called, None if that was in an earlier process.
        """
        ...

    async def cancel(self) -> None: ...


class _Handed(MCPError):
    """Carrier of a task out of its tool; the SDK lets such errors pass."""

    def __init__(self, task: Task) -> None:
        super().__init__(code=0, message="handed over to a task")
        self.task = task


def hand_over(task: Task) -> None:
    """Leave the tool if the client wants a task: the work goes on alone."""
    if _is_wanted.get():
        raise _Handed(task)


class _TaskParams(RequestParams):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow")
    task_id: str


class _Answers(_TaskParams):
    input_responses: dict[str, Any] = Field(default_factory=dict)


class Tasks(Extension):
    """The extension. `tools` are those whose calls become tasks; `find` returns
    the task of an id if the caller may see it; `ttl_seconds` is how long a task
    is kept.
    """

    identifier = TASKS

    def __init__(
        self,
        tools: Collection[str],
        find: Callable[[str], Awaitable[Task | None]],
        ttl_seconds: float,
    ) -> None:
        self._tools = frozenset(tools)
        self._find = find
        self._ttl_ms = int(ttl_seconds * 1000)
        self._tool_of: dict[str, str] = {}
        self._created: dict[str, str] = {}

    def settings(self) -> dict[str, Any]:
        """Return nothing: the extension has no settings."""
        return {}

    def methods(self) -> list[MethodBinding]:
        """Return the methods of the protocol."""
        return [
            MethodBinding("tasks/get", _TaskParams, self._get, _VERSIONS),
            MethodBinding("tasks/update", _Answers, self._update, _VERSIONS),
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
            self._tool_of[handed.task.id] = params.name
            return {**self._wire(handed.task), "resultType": "task"}
        finally:
            _is_wanted.reset(token)

    async def _get(self, ctx: Context, params: _TaskParams) -> HandlerResult:
        task = await self._named(ctx, params)
        wire = {**self._wire(task), "resultType": "complete"}
        if task.status == "completed":
            return {**wire, **await self._end(task)}
        if task.status == "input_required":
            asked = task.questions.items()
            wire["inputRequests"] = {key: _dump(question) for key, question in asked}
        return wire

    async def _update(self, ctx: Context, params: _Answers) -> HandlerResult:
        task = await self._named(ctx, params)
        await task.answer(params.input_responses)
        return {"resultType": "complete"}

    async def _cancel(self, ctx: Context, params: _TaskParams) -> HandlerResult:
        task = await self._named(ctx, params)
        await task.cancel()
        return {"resultType": "complete"}

    async def _named(self, ctx: Context, params: _TaskParams) -> Task:
        require_client_extension(ctx, TASKS)
        headers = getattr(ctx.request, "headers", None)
        named = None if headers is None else decode_header_value(headers.get("mcp-name", ""))
        if named is not None and named != params.task_id:
            raise MCPError(HEADER_MISMATCH, "The header Mcp-Name is not the id of the task.")
        task = await self._find(params.task_id)
        if task is None:
            named = clip_line(params.task_id, 40)
            raise MCPError(INVALID_PARAMS, f"There is no task {named!r}.")
        return task

    def _wire(self, task: Task) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        return {
            "taskId": task.id,
            "status": task.status,
            "statusMessage": task.message,
            "createdAt": self._created.setdefault(task.id, now),
            "lastUpdatedAt": now,
            "ttlMs": self._ttl_ms,
            "pollIntervalMs": _POLL_MS,
        }

    async def _end(self, task: Task) -> dict[str, Any]:
        """Return the result. A tool's error is a result; `failed` says that
        there will be none.
        """
        try:
            result = await task.result(self._tool_of.get(task.id))
        except MCPError as error:
            return {"status": "failed", "error": _dump(error.error)}
        except Exception:
            _log.exception("Task %s has no result.", task.id)
            broken = {"code": INTERNAL_ERROR, "message": "The server failed; its log says why."}
            return {"status": "failed", "error": broken}
        return {"result": {**_dump(result), "resultType": "complete"}}


def _declares(ctx: Context) -> bool:
    capabilities = ctx.session.client_capabilities
    extensions = (None if capabilities is None else capabilities.extensions) or {}
    return TASKS in extensions and ctx.protocol_version in _VERSIONS


def _dump(part: BaseModel) -> dict[str, Any]:
    return part.model_dump(by_alias=True, mode="json", exclude_none=True)
