"""Fixtures of the suite whose schemas a server must pass on unchanged."""

from __future__ import annotations

from typing import Annotated

from mcp.server import MCPServer
from pydantic import Field

from imagen_mcp._context import ServerState

_SCHEMA: dict[str, object] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def json_schema_2020_12_tool() -> str:
    """Has a schema with the words of JSON Schema 2020-12."""
    return "json_schema_2020_12_tool"


def test_x_mcp_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> str:
    """Has a parameter that clients repeat in a header."""
    return f"region={region}"


TOOLS = (json_schema_2020_12_tool, test_x_mcp_header)


def set_schema(server: MCPServer[ServerState]) -> None:
    # The SDK has no public way to give a schema.
    server._tool_manager._tools["json_schema_2020_12_tool"].parameters = _SCHEMA
