"""imagen's server over HTTP with the fixtures of the official conformance suite.
usage: python -m tests.support.conformance PORT
"""

from __future__ import annotations

import sys
from functools import partial

import trio

import imagen
from imagen_mcp._http import MountedApps, serve_http
from imagen_mcp.server import make_server
from tests.support.conformance import (
    changes,
    content,
    input_required,
    questions,
    schemas,
    tasks,
)


async def main(port: int) -> None:
    settings = imagen.load_settings(providers=[tasks.waiting_provider()])
    doors = MountedApps(settings)
    server = make_server(
        settings, open_client=doors.open_client, close_seconds=1, local_files=False
    )
    for module in (content, questions, input_required, changes, schemas, tasks):
        for tool in module.TOOLS:
            server.add_tool(tool)
    for prompt in (*content.PROMPTS, *input_required.PROMPTS):
        server.prompt()(prompt)
    for uri, read, media_type in (*content.RESOURCES, *changes.RESOURCES):
        server.resource(uri, mime_type=media_type, description="A fixture.")(read)
    changes.add_handlers(server)
    tasks.take_in(server)
    schemas.set_schema(server)
    # A stream that is closed amid a call goes on only where events are kept.
    open_app = partial(server.streamable_http_app, event_store=changes.Events(), retry_interval=100)
    server.streamable_http_app = open_app  # type: ignore[method-assign]
    await serve_http(
        server,
        ("127.0.0.1", port),
        doors=doors,
        stop=trio.Event().wait,
        on_listening=lambda url: print(url, flush=True),
    )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
