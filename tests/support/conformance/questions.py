"""Fixtures of the suite that ask the client amid a call, as versions before
2026-07-28 do.
"""

from __future__ import annotations

from mcp import MCPError
from mcp.server.mcpserver import Context
from mcp.types import MISSING_REQUIRED_CLIENT_CAPABILITY, SamplingMessage, TextContent
from pydantic import BaseModel, Field


class _Response(BaseModel):
    response: str = Field(description="The user's response")


class _Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": name, "title": title} for name, title in titles.items()]


class _Choices(BaseModel):
    # The names are the suite's.
    untitledSingle: str = Field(json_schema_extra={"enum": ["option1", "option2", "option3"]})
    titledSingle: str = Field(
        json_schema_extra={"oneOf": [*_titled(value1="First", value2="Second", value3="Third")]}
    )
    legacyEnum: str = Field(
        json_schema_extra={
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        }
    )
    untitledMulti: list[str] = Field(
        json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2", "option3"]}}
    )
    titledMulti: list[str] = Field(
        json_schema_extra={
            "items": {"anyOf": [*_titled(value1="First", value2="Second", value3="Third")]}
        }
    )


async def _ask(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    answer = await ctx.elicit(message, schema)
    content = answer.data.model_dump_json() if answer.action == "accept" else "{}"
    return f"User response: action={answer.action}, content={content}"


async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the user."""
    return await _ask(ctx, message, _Response)


async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks the user, with defaults of each primitive type."""
    return await _ask(ctx, "Please provide user information", _Defaults)


async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks the user, with each form of a choice."""
    return await _ask(ctx, "Please select options", _Choices)


async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's language model."""
    reply = await ctx.session.create_message(  # pyright: ignore[reportDeprecated]
        [SamplingMessage(role="user", content=TextContent(text=prompt))],
        max_tokens=100,
        related_request_id=ctx.request_id,
    )
    content = reply.content
    return f"LLM response: {content.text if isinstance(content, TextContent) else content}"


async def test_missing_capability(ctx: Context) -> str:
    """Needs a client that declares `sampling`."""
    declared = ctx.client_capabilities
    if declared is None or declared.sampling is None:
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="The client does not declare 'sampling'.",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "The client declares 'sampling'."


TOOLS = (
    test_elicitation,
    test_elicitation_sep1034_defaults,
    test_elicitation_sep1330_enums,
    test_sampling,
    test_missing_capability,
)
