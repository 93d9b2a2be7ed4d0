"""A web application that takes the callbacks of providers, to be mounted in a
server of one's own.

Anybody may send anything there. So what comes is bounded in size and time,
nothing of it is logged or said in an answer, and only what the provider has
signed has an effect: a poll that comes earlier.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import trio

from .._errors import AuthenticationError, ImagenError, InvalidRequestError
from .._system.asgi import Receive, Scope, Send, SendMessage, answer_but_http
from .client import Client

__all__ = ["callback_app"]

# What a callback says is asked for again, so no images are needed out of its
# body.
_LARGEST_BODY_BYTES = 1 << 20
# fal.ai waits 15 s for an answer (fal.ai/docs, webhooks).
_LONGEST_SECONDS = 10.0


def callback_app(client: Client) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI 3 application that hands what is posted to any path that ends in
    a provider's name to the client.

    It runs in the Trio run of the client, under hypercorn's Trio worker say. A
    callback is answered with 204, also one for a job that nobody here waits
    for; with 401 where the provider has not signed it, 400 where it names no
    job, and 503 where it could not be checked within ten seconds. 404, 405 and
    413 (above 1 MiB) mean what they always do.
    """

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        send_message = cast(SendMessage, send)
        match scope["type"]:
            case "http":
                status: int | None = 503
                with trio.move_on_after(_LONGEST_SECONDS):
                    status = await _take(client, scope, receive)
                if status is not None:
                    await _answer(status, send_message)
            case _:
                await answer_but_http(
                    scope, receive, send_message, sentence="A callback comes by HTTP"
                )

    return app


async def _take(client: Client, scope: Scope, receive: Receive) -> int | None:
    """The status to answer with; None where the sender has gone."""
    provider = str(scope["path"]).rpartition("/")[2]
    access = client.settings.access.get(provider)
    if access is None or access.provider.read_callback is None:
        return 404
    if scope["method"] != "POST":
        return 405
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += cast(bytes, message.get("body", b""))
        more = bool(message.get("more_body", False))
        if len(body) > _LARGEST_BODY_BYTES:
            return 413
    fields = cast(Iterable[tuple[bytes, bytes]], scope["headers"])
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in fields}
    try:
        await client.receive_callback(provider, headers, bytes(body))
    except AuthenticationError:
        return 401
    except InvalidRequestError:
        return 400
    except ImagenError:
        # The keys that it is checked by cannot be had; the provider tries
        # again.
        return 503
    return 204


async def _answer(status: int, send: SendMessage) -> None:
    headers = [(b"content-length", b"0")] if status != 204 else []
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
