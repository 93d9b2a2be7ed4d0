"""Common parts of the web applications (ASGI 3,
https://asgi.readthedocs.io/en/latest/specs/main.html).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Never

__all__ = ["Receive", "Scope", "Send", "SendMessage", "answer_but_http"]

Scope = Mapping[str, object]
Receive = Callable[[], Awaitable[Mapping[str, object]]]
Send = Callable[[Never], Awaitable[object]]
"""Servers and frameworks define their own types for ASGI messages; this one
stands for all.
"""

SendMessage = Callable[[dict[str, object]], Awaitable[object]]


async def answer_but_http(
    scope: Scope, receive: Receive, send: SendMessage, *, sentence: str
) -> None:
    """Answer a scope that is not HTTP: close a WebSocket, acknowledge start and
    stop.

    Raises:
        NotImplementedError: the scope is unknown; `sentence` names the scopes
            that are supported.
    """
    match scope["type"]:
        case "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})
        case "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
        case unknown:
            raise NotImplementedError(f"{sentence}, not by {unknown}.")
