"""What every web application here has in common (ASGI 3,
https://asgi.readthedocs.io/en/latest/specs/main.html).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Never

__all__ = ["Receive", "Scope", "Send", "SendMessage", "answer_but_http"]

Scope = Mapping[str, object]
Receive = Callable[[], Awaitable[Mapping[str, object]]]
Send = Callable[[Never], Awaitable[object]]
"""Servers and frameworks have types of their own for the messages of ASGI; this
one stands for all of them.
"""

SendMessage = Callable[[dict[str, object]], Awaitable[object]]


async def answer_but_http(
    scope: Scope, receive: Receive, send: SendMessage, *, sentence: str
) -> None:
    """Answers what is no HTTP: a WebSocket is closed, and there is nothing to
    start or to stop.

    Raises:
        NotImplementedError: it is something that did not exist when this was
            written; `sentence` says what is taken.
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
