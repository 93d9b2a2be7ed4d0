"""Fixtures of the suite whose calls are tasks. As every task of imagen's is a
session, each starts one, of a model that takes as long as its prompt says.

There are none that ask for something amid a task, or whose task fails by an
error of the protocol: no tool of imagen's does.
"""

from __future__ import annotations

from functools import partial

from mcp.server import MCPServer
from mcp.server.mcpserver import Context, require_client_extension
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

import imagen
from imagen_mcp._context import ServerState, current_client
from imagen_mcp._tasks import Tasks, hand_over
from tests.support.images import png

_TASKS = "io.modelcontextprotocol/tasks"
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
    hand_over(session)
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
    require_client_extension(ctx.request_context, _TASKS)
    return await _work("1 fail")


async def test_tool_with_task(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name, then becomes a task."""
    answer = (ctx.input_responses or {}).get("user_name")
    if not isinstance(answer, ElicitResult) or not answer.content:
        params = ElicitRequestFormParams(message="What is your name?", requested_schema=_NAME)
        return InputRequiredResult(input_requests={"user_name": ElicitRequest(params=params)})
    return await _work(f"0 {answer.content['name']}")


TASKS = (slow_compute, failing_job, test_tool_with_task)
TOOLS = (greet, *TASKS)


def take_in(server: MCPServer[ServerState]) -> None:
    """Make calls of the fixtures tasks, as those of imagen's tools are."""
    for extension in server._extensions:
        if isinstance(extension, Tasks):
            extension._tools |= {tool.__name__ for tool in TASKS}
