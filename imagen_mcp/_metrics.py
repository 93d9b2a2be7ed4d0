"""`/metrics` of the server: a scrape of Prometheus, for this machine only."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from imagen.telemetry import Prometheus

__all__ = ["metrics_route"]

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def metrics_route(metrics: Prometheus) -> Route:
    """Return a route that shows the metrics. As MCP does, it refuses requests
    that name another host: a page in a browser must not read it.
    """

    async def show(request: Request) -> Response:
        if not _is_here(f"//{request.headers.get('host', '')}"):
            return Response("The host is not this machine.\n", status_code=421)
        origin = request.headers.get("origin")
        if origin is not None and not _is_here(origin):
            return Response("The origin is not this machine.\n", status_code=403)
        body, content_type = metrics.render()
        return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})

    return Route("/metrics", show, methods=["GET"])


def _is_here(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False
