"""The description of the API for programs, made of the calls themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from ..._system.version import version
from .._wire.errors import Problem
from .calls import Call

__all__ = ["describe_calls"]

_SCHEMAS = "#/components/schemas/{name}"
_PART = re.compile(r"\{(\w+)(:int)?\}")


def describe_calls(calls: Iterable[Call]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of calls."""
    calls = list(calls)
    kinds = dict.fromkeys([Problem, *(kind for call in calls for kind in _kinds(call))])
    schemas, components = _schemas(kinds)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for call in calls:
        path = _PART.sub(r"{\1}", call.path)
        paths.setdefault(f"/{path}", {})[call.method.lower()] = _operation(call, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "imagen web", "version": version()},
        "servers": [{"url": "."}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _schemas(kinds: Iterable[type]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    # The type of any JSON value is `object`.
    return msgspec.json.schema_components(
        kinds, schema_hook=lambda _: {"description": "Any JSON value"}, ref_template=_SCHEMAS
    )


def _kinds(call: Call) -> list[type]:
    kinds = [call.hints[name] for name in ("body", "return") if name in call.hints]
    return [kind for kind in kinds if _is_struct(kind)]


def _is_struct(kind: type) -> bool:
    return issubclass(kind, msgspec.Struct)


def _operation(call: Call, schemas: dict[type, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.handler.__name__,
        "summary": call.summary,
        "parameters": [*_parts(call), *_parameters(call)],
        "responses": {
            str(call.status): _reply(call, schemas),
            "default": {
                "description": "Failure",
                "content": {"application/json": {"schema": schemas[Problem]}},
            },
        },
    }
    if "body" in call.hints:
        content = {"application/json": {"schema": schemas[call.hints["body"]]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parts(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if is_int else "string"},
        }
        for name, is_int in _PART.findall(call.path)
    ]


def _parameters(call: Call) -> list[dict[str, Any]]:
    if "query" not in call.hints:
        return []
    kind = call.hints["query"]
    _, components = _schemas([kind])
    described = components[kind.__name__]
    return [
        {"name": name, "in": "query", "required": name in described["required"], "schema": schema}
        for name, schema in described["properties"].items()
    ]


def _reply(call: Call, schemas: dict[type, dict[str, Any]]) -> dict[str, Any]:
    kind = call.hints["return"]
    if not _is_struct(kind):
        return {"description": "File or stream"}
    return {"description": "Done", "content": {"application/json": {"schema": schemas[kind]}}}
