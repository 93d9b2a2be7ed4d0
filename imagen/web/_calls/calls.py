"""Calls of the API: a function each, whose annotations say what it takes and
replies.

`body` is the JSON body, `query` the parameters of the URL, both structs; other
keyword arguments are parts of the path.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..._errors import ImagenError
from .._wire.errors import FAULT, ApiError, problem_of, status_of

if TYPE_CHECKING:
    from .._desk.desk import Desk

__all__ = ["Call", "Calls", "read_body", "reply_json", "routes_of"]

_LARGEST_BODY_BYTES = 4 << 20
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_log = logging.getLogger("imagen.web")
_Handler = TypeVar("_Handler", bound=Callable[..., Awaitable[object]])


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call: its method and path, and the function behind it."""

    method: str
    path: str
    handler: Callable[..., Awaitable[object]]
    status: int
    hints: Mapping[str, type]

    @property
    def summary(self) -> str:
        """The first sentence of its documentation."""
        return " ".join((self.handler.__doc__ or "").split("\n\n")[0].split())


class Calls:
    """Calls of one subject, to be decorated with."""

    def __init__(self) -> None:
        self.all: Final[list[Call]] = []

    def get(self, path: str) -> Callable[[_Handler], _Handler]:
        """Call that only reads."""
        return self._add("GET", path, 200)

    def post(self, path: str, *, status: int = 200) -> Callable[[_Handler], _Handler]:
        """Call that changes something."""
        return self._add("POST", path, status)

    def _add(self, method: str, path: str, status: int) -> Callable[[_Handler], _Handler]:
        def add(handler: _Handler) -> _Handler:
            hints = get_type_hints(handler)
            self.all.append(
                Call(method=method, path=path, handler=handler, status=status, hints=hints)
            )
            return handler

        return add


def routes_of(calls: Sequence[Call], desk: Desk) -> Sequence[Route]:
    """Return a route for each path of the calls."""
    paths: dict[str, dict[str, Call]] = {}
    for call in calls:
        paths.setdefault(call.path, {})[call.method] = call
    return [
        Route(f"/{path}", partial(_serve, methods, desk), methods=_METHODS)
        # Words before parts that may be any word: `images/change`, then
        # `images/{image_id}`.
        for path, methods in sorted(paths.items(), key=lambda item: "{" in item[0])
    ]


async def _serve(methods: Mapping[str, Call], desk: Desk, request: Request) -> Response:
    method = "GET" if request.method == "HEAD" else request.method
    try:
        if (call := methods.get(method)) is None:
            known = " or ".join(methods)
            raise ApiError(405, "METHOD_NOT_ALLOWED", f"This is called with {known}.")
        return await _answer(call, desk, request)
    except ApiError as error:
        return reply_json(error.problem, error.status)
    except ImagenError as error:
        return reply_json(problem_of(error), status_of(error))
    except Exception:
        _log.exception("A call to %s failed", request.scope["path"].rpartition("/api/")[2])
        return reply_json(FAULT, 500)


async def _answer(call: Call, desk: Desk, request: Request) -> Response:
    # A service may have parts of its own in the path that leads here.
    arguments: dict[str, object] = {
        name: value for name, value in request.path_params.items() if name in call.hints
    }
    if "query" in call.hints:
        arguments["query"] = _read_query(request, call.hints["query"])
    if "body" in call.hints:
        arguments["body"] = _decode(
            await read_body(request, _LARGEST_BODY_BYTES), call.hints["body"]
        )
    if "request" in call.hints:
        arguments["request"] = request
    reply = await call.handler(desk, **arguments)
    return reply if isinstance(reply, Response) else reply_json(reply, call.status)


def reply_json(reply: object, status: int = 200) -> Response:
    """Return a struct as a JSON response."""
    return Response(msgspec.json.encode(reply), status, media_type="application/json")


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body of a request.

    Raises:
        ApiError: it is too large.
    """
    body = bytearray()
    async with aclosing(request.stream()) as pieces:
        async for piece in pieces:
            body += piece
            if len(body) > most_bytes:
                sentence = f"The body is too large: at most {most_bytes:,} bytes are taken."
                raise ApiError(413, "TOO_LARGE", sentence)
    return bytes(body)


def _decode(data: bytes, kind: type) -> object:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        raise ApiError(400, "INVALID_REQUEST", f"The body is wrong: {_lower(error)}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "INVALID_REQUEST", "The body is not JSON in UTF-8.") from error


def _read_query(request: Request, kind: type) -> object:
    types = _types_of(kind)
    values: dict[str, object] = {}
    for name in request.query_params:
        if name not in types:
            known = ", ".join(types)
            raise ApiError(
                400,
                "INVALID_REQUEST",
                f"There is no parameter {name[:100]!r}: expected one of {known}.",
            )
        given = request.query_params.getlist(name)
        if _is_list(types[name]):
            values[name] = given
        elif given[-1] or types[name] is bool:
            # `?download` alone switches it on.
            values[name] = given[-1] or "true"
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError(
            400, "INVALID_REQUEST", f"A parameter of the URL is wrong: {_lower(error)}."
        ) from error


@cache
def _types_of(kind: type) -> Mapping[str, object]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _is_list(kind: object) -> bool:
    return get_origin(kind) in (list, tuple, Sequence) or any(
        get_origin(one) in (list, tuple) for one in get_args(kind)
    )


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]
