"""Fixtures of the suite whose calls are tasks. Those that work start a session,
as imagen's tools do, of a model that takes as long as its prompt says. Those
that ask amid a task, or fail by an error of the protocol, have a task of their
own: no session does that.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

from mcp import MCPError
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, require_client_extension
from mcp.types import (
    CallToolResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    TextContent,
)
from mcp_types import INTERNAL_ERROR

import imagen
from imagen_mcp._context import ServerState, current_client
from imagen_mcp._session_tasks import SessionTask, find_session
from imagen_mcp._tasks import TASKS as EXTENSION
from imagen_mcp._tasks import Task, Tasks, hand_over
from tests.support.images import png

_MODEL = "waits"
_NAME = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def waiting_provider() -> imagen.providers.Provider:
    """A provider whose prompt is the seconds to wait, and "fail" to fail then."""
    table = {"provider": "waiting", "capabilities": {"sizes": ["64x64"]}}
    return imagen.providers.Provider(
        name="waiting", operations={"generate": _wait}, models={_MODEL: table}
    )


def _wait(call: imagen.providers.Call) -> imagen.providers.Exchange:
    seconds, _, then = call.request.prompt.partition(" ")
    yield imagen.providers.Wait(seconds=float(seconds))
    if then == "fail":
        raise imagen.ContentFilterError("The job failed.")
    data = yield imagen.providers.Compute(call=partial(png, (20, 40, 60), (64, 64)))
    assert isinstance(data, bytes)
    image = imagen.providers.GeneratedImage(data=data, revised_prompt=then or None)
    return imagen.providers.GeneratedImages(images=(image,))


async def _work(prompt: str) -> str:
    session = current_client().start_session(imagen.Generate(prompt=prompt, model=_MODEL))
    hand_over(SessionTask(session))
    await session.wait_finished()
    return "done"


def greet(name: str) -> str:
    """Greets at once."""
    return f"Hello, {name}!"


async def slow_compute(seconds: float = 0.0, label: str = "") -> str:
    """Takes some seconds."""
    return await _work(f"{seconds} {label}")


async def failing_job(ctx: Context) -> str:
    """Fails after a second, and can only be a task."""
    require_client_extension(ctx.request_context, EXTENSION)
    return await _work("1 fail")


async def test_tool_with_task(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name, then becomes a task."""
    answer = (ctx.input_responses or {}).get("user_name")
    if not isinstance(answer, ElicitResult) or not answer.content:
        return InputRequiredResult(input_requests={"user_name": _ask("What is your name?")})
    return await _work(f"0 {answer.content['name']}")


class _Asking:
    """Task that has its result when all of its questions are answered. Without
    any it fails.
    """

    status: Literal["working", "input_required", "completed", "cancelled"]
    message = "asks"

    def __init__(self, *questions: str) -> None:
        self.id = uuid.uuid4().hex
        self.questions: dict[str, InputRequest] = {
            uuid.uuid4().hex: _ask(question) for question in questions
        }
        self.status = "input_required" if questions else "completed"
        self._answers: list[object] = []
        _asking[self.id] = self

    async def answer(self, answers: Mapping[str, Any]) -> None:
        self._answers += [
            answer for key, answer in answers.items() if self.questions.pop(key, None)
        ]
        if self.status == "input_required" and not self.questions:
            self.status = "completed"

    async def result(self, tool: str | None) -> CallToolResult:
        if not self._answers:
            raise MCPError(INTERNAL_ERROR, "The fixture fails.")
        return CallToolResult(content=[TextContent(text=f"{tool}: {self._answers}")])

    async def cancel(self) -> None:
        if self.status == "input_required":
            self.status = "cancelled"


_asking: dict[str, _Asking] = {}


def _ask(question: str) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=question, requested_schema=_NAME))


async def confirm_delete(filename: str) -> None:
    """Asks once, amid its task."""
    hand_over(_Asking(f"Delete {filename}?"))


async def multi_input() -> None:
    """Asks two questions at once, amid its task."""
    hand_over(_Asking("What is your name?", "And hers?"))


async def protocol_error_job() -> None:
    """Fails amid its task, as a server does that breaks."""
    hand_over(_Asking())


TASKS = (
    slow_compute,
    failing_job,
    test_tool_with_task,
    confirm_delete,
    multi_input,
    protocol_error_job,
)
TOOLS = (greet, *TASKS)


async def _find(task_id: str) -> Task | None:
    return _asking.get(task_id) or await find_session(task_id)


def take_in(server: MCPServer[ServerState]) -> None:
    """Make calls of the fixtures tasks, as those of imagen's tools are."""
    for extension in server._extensions:
        if isinstance(extension, Tasks):
            extension._tools |= {tool.__name__ for tool in TASKS}
            extension._find = _find
