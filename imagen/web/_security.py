"""The door of the page: who may ask, and what a browser may do with a reply.

There are no cookies, as all ports of a host share them. Who knows the secret
path is the user; another site can neither read it nor use it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._system.asgi import answer_but_http
from ._wire.errors import Problem

__all__ = ["CONTENT_POLICY", "FOR_EVER", "PAGE_POLICY", "Door"]

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
    " connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
CONTENT_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
"""For files that others have made: in a window of its own, nothing in it runs."""

FOR_EVER: Final = "private, max-age=31536000, immutable"
"""Caching of what an id or a hash names: it never changes."""

_ALWAYS: Final = {
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
    b"cross-origin-resource-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
}
_DEFAULTS: Final = {
    b"content-security-policy": PAGE_POLICY.encode(),
    b"cache-control": b"no-store",
}
_SAFE: Final = ("GET", "HEAD")


class Door:
    """Application that lets the user's own page in, and nothing else.

    Args:
        secret: First part of every path; None where a service has its own
            login.
        hosts: Names and ports by which the server may be addressed; None leaves
            that to the service.
    """

    def __init__(self, app: ASGIApp, *, secret: str | None, hosts: Iterable[str] | None) -> None:
        self._app = app
        self._secret = secret
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await answer_but_http(scope, receive, send, sentence="The page is served by HTTP")
            return
        guarded = _with_headers(send)
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if (refusal := self._refusal(scope, headers)) is not None:
            await _refuse(*refusal, guarded)
            return
        if self._secret is not None:
            scope = {**scope, "root_path": f"{scope.get('root_path', '')}/{self._secret}"}
            if scope["path"] == scope["root_path"]:
                await RedirectResponse(f"{scope['path']}/", 308)(scope, receive, guarded)
                return
        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Mapping[bytes, str]) -> tuple[int, Problem] | None:
        host = headers.get(b"host", "").lower()
        if self._hosts is not None and host not in self._hosts:
            return 421, Problem(
                code="WRONG_HOST",
                sentence="The page is not served under this host: open the address that"
                " `imagen web` prints.",
            )
        if not self._is_known(scope):
            return 404, Problem(code="NOT_FOUND", sentence="There is nothing here.")
        if not _is_from_here(scope["method"], host, headers):
            return 403, Problem(
                code="FORBIDDEN",
                sentence="Another site asked: only the page itself may, with its Origin.",
            )
        return None

    def _is_known(self, scope: Scope) -> bool:
        if self._secret is None:
            return True
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        given = path.split("/", 2)[1] if "/" in path else ""
        return hmac.compare_digest(given.encode(), self._secret.encode())


def _is_from_here(method: str, host: str, headers: Mapping[bytes, str]) -> bool:
    """Return whether the page itself asks. What only reads may also be a link
    that the user follows, or come from no browser.
    """
    site = headers.get(b"sec-fetch-site")
    if method in _SAFE:
        navigates = headers.get(b"sec-fetch-mode") == "navigate"
        return site in (None, "same-origin", "none") or navigates
    return site in (None, "same-origin") and _host_of(headers.get(b"origin", "")) == host != ""


def _host_of(origin: str) -> str | None:
    """Return the host and port of an origin; None for `null` and the like."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    return parts.netloc.lower() if parts.scheme in ("http", "https") else None


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [*message.get("headers", ())]
            names = {name.lower() for name, _ in own}
            default = [pair for pair in _DEFAULTS.items() if pair[0] not in names]
            message = {**message, "headers": [*own, *default, *_ALWAYS.items()]}
        await send(message)

    return send_with_headers


async def _refuse(status: int, problem: Problem, send: Send) -> None:
    body = msgspec.json.encode(problem)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
