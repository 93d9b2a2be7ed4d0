"""Fixtures of the suite whose first reply asks for input, since 2026-07-28."""

from __future__ import annotations

import json

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)


def _question(message: str, key: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {key: {"type": kind}}, "required": [key]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _message(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(text=text))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[message], max_tokens=50)
    )


def _input_required(state: str | None = None, **requests: InputRequest) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests, request_state=state)


def _answer(ctx: Context, name: str, key: str) -> object:
    """The user's answer to one question, None if it was not given."""
    answer = (ctx.input_responses or {}).get(name)
    return (answer.content or {}).get(key) if isinstance(answer, ElicitResult) else None


def _are_answered(ctx: Context, *names: str) -> bool:
    return (ctx.input_responses or {}).keys() >= {*names}


async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks for the user's name."""
    name = _answer(ctx, "user_name", "name")
    if name is None:
        return _input_required(user_name=_question("What is your name?", "name"))
    return f"Hello, {name}!"


async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the client's language model."""
    if _are_answered(ctx, "capital_question"):
        return "The model answered."
    return _input_required(capital_question=_message("What is the capital of France?"))


async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for the client's roots."""
    if _are_answered(ctx, "client_roots"):
        return "The client has roots."
    return _input_required(client_roots=ListRootsRequest())


async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Asks for a confirmation and hands out a state."""
    if _are_answered(ctx, "confirm") and ctx.request_state == "asked":
        return "state-ok"
    return _input_required("asked", confirm=_question("Please confirm", "ok", "boolean"))


async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Hands out a state that the SDK must guard."""
    if ctx.request_state is not None:
        return "state-ok"
    return _input_required("asked", confirm=_question("Please confirm", "ok", "boolean"))


async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks three things at once."""
    if _are_answered(ctx, "user_name", "greeting", "client_roots"):
        return "Everything was answered."
    return _input_required(
        "asked",
        user_name=_question("What is your name?", "name"),
        greeting=_message("Generate a greeting"),
        client_roots=ListRootsRequest(),
    )


async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name, then for a color."""
    known = json.loads(ctx.request_state or "{}")
    known |= {key: value for key in ("name", "color") if (value := _answer(ctx, _STEPS[key], key))}
    for key in ("name", "color"):
        if key not in known:
            question = _question(f"What is your {key}?", key)
            return _input_required(json.dumps(known), **{_STEPS[key]: question})
    return f"{known['name']} likes {known['color']}."


_STEPS = {"name": "step1", "color": "step2"}


async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
    """Asks only for what the client declares."""
    declared = ctx.client_capabilities
    requests: dict[str, InputRequest] = {}
    if declared is None or declared.sampling is not None:
        requests["sample"] = _message("Say hello")
    if declared is None or declared.elicitation is not None:
        requests["ask"] = _question("What is your name?", "name")
    return _input_required("asked", **requests)


async def test_input_required_result_prompt(
    ctx: Context,
) -> list[UserMessage] | InputRequiredResult:
    """A prompt that asks for its context."""
    context = _answer(ctx, "user_context", "context")
    if context is None:
        question = _question("What context should the prompt use?", "context")
        return _input_required(user_context=question)
    return [UserMessage(f"Use the following context: {context}")]


TOOLS = (
    test_input_required_result_elicitation,
    test_input_required_result_sampling,
    test_input_required_result_list_roots,
    test_input_required_result_request_state,
    test_input_required_result_tampered_state,
    test_input_required_result_multiple_inputs,
    test_input_required_result_multi_round,
    test_input_required_result_capabilities,
)
PROMPTS = (test_input_required_result_prompt,)
