"""Schemas of the tools, short: they begin every conversation.

The generated ones have a title for each field, "null" as a type and a default,
and the whole structure of each result. A client needs the descriptions, the
types, and the names of what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["short_input", "short_output"]

Schema = Mapping[str, Any]
_TOLD_BY = {"BatchReply": "get_next_image", "StatusReply": "get_next_image"}
# Limits that no caller comes near are checked, and not said.
_UNSAID = ("title", "anyOf", "maxItems", "minItems", "maxProperties", "maxLength")


def short_input(schema: Schema) -> dict[str, object]:
    """Return the schema of arguments, which has no others than it names."""
    properties = {name: _short(field) for name, field in schema.get("properties", {}).items()}
    required = {"required": schema["required"]} if schema.get("required") else {}
    return {
        "type": "object",
        "properties": properties,
        **required,
        "additionalProperties": False,
    }


def short_output(schema: Schema, tool: str) -> dict[str, object]:
    """Return the schema of a result without what is inside its fields; of one
    that several tools return, only one tool has the fields.
    """
    if _TOLD_BY.get(schema.get("title", ""), tool) != tool:
        return {"type": "object"}
    properties = {name: _outline(field) for name, field in schema.get("properties", {}).items()}
    return {"type": "object", "properties": properties}


def _short(field: Schema) -> dict[str, object]:
    """Return a field that may be left out, rather than be null or empty."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind.get("type") != "null"]
    merged = {**kinds[0], **field} if len(kinds) == 1 else dict(field)
    if not merged.get("default"):
        merged.pop("default", None)
    said = {name: value for name, value in merged.items() if name not in _UNSAID}
    return said | {"anyOf": kinds} if len(kinds) > 1 else said


def _outline(field: Schema) -> dict[str, object]:
    kinds = field.get("anyOf", (field,))
    types = [kind.get("type", "object") for kind in kinds]
    return {"type": types[0] if len(types) == 1 else types}
