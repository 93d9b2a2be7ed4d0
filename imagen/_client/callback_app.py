"""Web application for the callbacks of providers, mounted in the user's server.

Its input is untrusted. So it is bounded in size and time, never logged or
echoed, and only a signed callback has an effect: an earlier poll.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import trio

from .._errors import AuthenticationError, ImagenError, InvalidRequestError
from .._system.asgi import Receive, Scope, Send, SendMessage, answer_but_http
from .client import Client

__all__ = ["callback_app"]

# The poll fetches what the callback contains, so the body needs no images.
_LARGEST_BODY_BYTES = 1 << 20
# fal.ai waits 15 s for a reply (fal.ai/docs, webhooks).
_LONGEST_SECONDS = 10.0


def callback_app(client: Client) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """Return an ASGI 3 application that passes a POST to any path ending in a
    provider's name to the client.

    It runs in the client's Trio run, e.g. under hypercorn's Trio worker. It
    replies with 204 to a callback, also for a job that this client does not
    wait for; 401 if the provider has not signed it, 400 if it names no job, and
    503 if it could not be checked within ten seconds. 404, 405 and 413 (above 1
    MiB) have their usual meaning.
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
    """Return the status of the reply; None if the sender has gone."""
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
        # The keys to check it are unavailable; the provider retries.
        return 503
    return 204


async def _answer(status: int, send: SendMessage) -> None:
    headers = [(b"content-length", b"0")] if status != 204 else []
    if status == 405:
        headers.append((b"allow", b"POST"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
