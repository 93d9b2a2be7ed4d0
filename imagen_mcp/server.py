"""MCP server with its tools, resources and prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
from mcp.server import MCPServer
from mcp.types import ToolAnnotations

import imagen

from ._context import ServerState, remember_state
from ._models import is_available, live_models
from ._resources import add_resources
from ._server import Server
from ._tools.generation import (
    cancel_batch,
    estimate_cost,
    generate_image,
    get_batch_status,
    get_next_image,
    resume_batch,
    start_image_batch,
)
from ._tools.library import organize_images, search_images, show_image
from ._tools.models import find_models
from ._tools.operations import create_variations, edit_image, enhance_image, restyle_image
from ._tools.prompts import add_prompts

__all__ = ["make_server"]

# Instructions begin every conversation.
_MOST_NAMED = 24

_INSTRUCTIONS = """\
imagen makes images; some models cost money per image.
Before many images call estimate_cost, which makes none, and tell the user the cost.
One image: generate_image. From an image: edit_image, create_variations, enhance_image, \
restyle_image.
Several: start_image_batch returns a session_id and the first image; the rest is made in the \
background. Then call get_next_image(session_id, after=<index of the last image you have>) until \
its text says that the batch is over. Repeating a pull is free and safe: the same `after` returns \
the same image.
Never call start_image_batch or generate_image again for images that are still being made: that \
would pay twice. After a timeout, pull again. A batch that a server's end interrupted is not lost: \
pull what is finished, and resume_batch makes the rest.
Earlier images are in a library: search_images finds them, show_image shows one, organize_images \
organizes them.
Images are files; tell the user their paths. What you see is a small preview."""


def make_server(
    settings: imagen.Settings,
    *,
    open_client: Callable[
        [imagen.Settings], AbstractAsyncContextManager[imagen.Client]
    ] = imagen.open_client,
    close_seconds: float | None = None,
    local_files: bool = True,
) -> MCPServer[ServerState]:
    """A server whose client is opened by `open_client` for as long as the
    server's lifespan.

    With `local_files` callers may name input files of this machine, as they are
    its own user. When the server ends, what is in flight gets `close_seconds`
    to finish; None leaves that to the client's settings.

    Raises:
        ConfigurationError: the user's table of models is wrong.
    """
    catalog = settings.load_catalog()

    # The tools ask before they start anything: see _money.
    unlimited = msgspec.structs.replace(settings, confirm_above_usd=None)

    @asynccontextmanager
    async def lifespan(_: MCPServer[ServerState]) -> AsyncIterator[ServerState]:
        async with open_client(unlimited) as client:
            try:
                yield ServerState(client, local_files, settings.confirm_above_usd)
            finally:
                if close_seconds is not None:
                    client.bound_salvage(close_seconds)

    usable = [model.id for model in live_models(catalog) if is_available(model, settings)]
    named = ", ".join(usable[:_MOST_NAMED]) + (", and more" if len(usable) > _MOST_NAMED else "")
    server = Server(
        "imagen",
        title="imagen",
        description=(
            "Makes images, one or in batches, with the image models that there are keys for."
        ),
        instructions=f"{_INSTRUCTIONS}\nModels that can be used now: {named}.",
        version=imagen.version(),
        lifespan=lifespan,
        # The SDK configures logging for the whole process, at INFO.
        log_level="WARNING",
    )
    _add_tools(server)
    add_resources(server, settings, catalog)
    add_prompts(server)
    server.middleware.append(remember_state)
    return server


def _add_tools(server: MCPServer[ServerState]) -> None:
    spends = ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True
    )
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    resumes = ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True
    )
    changes = ToolAnnotations(
        read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
    )
    server.add_tool(generate_image, title="Generate an image", annotations=spends)
    server.add_tool(edit_image, title="Edit an image", annotations=spends)
    server.add_tool(create_variations, title="Create variations of an image", annotations=spends)
    server.add_tool(enhance_image, title="Enlarge and refine an image", annotations=spends)
    server.add_tool(restyle_image, title="Restyle an image", annotations=spends)
    server.add_tool(start_image_batch, title="Start a batch of images", annotations=spends)
    server.add_tool(get_next_image, title="Get the next image of a batch", annotations=reads)
    server.add_tool(get_batch_status, title="Look at a batch", annotations=reads)
    server.add_tool(cancel_batch, title="Cancel a batch", annotations=changes)
    server.add_tool(resume_batch, title="Resume a batch", annotations=resumes)
    server.add_tool(search_images, title="Search the library", annotations=reads)
    server.add_tool(show_image, title="Show an image", annotations=reads)
    server.add_tool(organize_images, title="Organize images", annotations=changes)
    server.add_tool(find_models, title="Find models", annotations=reads)
    server.add_tool(estimate_cost, title="Estimate a cost", annotations=reads)
