"""MCP server with its tools, resources and prompts."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import trio
from mcp.server import MCPServer
from mcp.server.auth.settings import AuthSettings
from mcp.server.request_state import RequestStateSecurity
from mcp.types import Icon, ToolAnnotations

import imagen

from ._context import ServerState, remember_state
from ._issuer import IssuedTokens, read_issuer
from ._models import is_available, live_models
from ._offer import Offer, read_choice
from ._people import Person, Tokens, settings_of
from ._resources import add_resources
from ._server import Server
from ._session_tasks import find_session
from ._subscribers import open_watched_client
from ._tasks import Tasks
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
from ._view import make_view

__all__ = ["make_server"]

# Instructions begin every conversation.
_MOST_NAMED = 24

# What each line needs, and the line.
_INSTRUCTIONS = (
    ("", "imagen makes images; some models cost money per image."),
    (
        "estimate_cost",
        "Before many images call estimate_cost, which makes none, and tell the user the cost.",
    ),
    ("generate_image", "One image: generate_image."),
    ("edit_image", "From an image: edit_image and the tools beside it."),
    (
        "start_image_batch get_next_image",
        "Several: start_image_batch returns a session_id and the first image; the rest is made in"
        " the background. Then call get_next_image(session_id, after=<index of the last image you"
        " have>) until its text says that the batch is over. Repeating a pull is free and safe: the"
        " same `after` returns the same image.",
    ),
    (
        "start_image_batch get_batch_status resume_batch",
        "Never call start_image_batch or generate_image again for images that are still being made:"
        " that would pay twice. After a timeout, pull again; get_batch_status without an id finds"
        " a batch whose id was lost. A batch that a server's end interrupted is not lost: pull what"
        " is finished, and resume_batch makes the rest.",
    ),
    (
        "search_images show_image organize_images",
        "Earlier images are in a library: search_images finds them, show_image shows one,"
        " organize_images organizes them.",
    ),
    ("", "Images are files; tell the user their paths. What you see is a small preview."),
)

# What is left out is as the protocol assumes: a tool changes things, cannot be
# repeated freely, and reaches other computers.
_SPENDS = ToolAnnotations(destructive_hint=False)
_RESUMES = ToolAnnotations(destructive_hint=False, idempotent_hint=True)
_READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_CHANGES = ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False)

_MAKERS = (
    generate_image,
    start_image_batch,
    edit_image,
    create_variations,
    enhance_image,
    restyle_image,
)
_TOOLS: tuple[tuple[Callable[..., Awaitable[object]], str, ToolAnnotations], ...] = (
    (generate_image, "Generate an image", _SPENDS),
    (edit_image, "Edit an image", _SPENDS),
    (create_variations, "Create variations of an image", _SPENDS),
    (enhance_image, "Enlarge and refine an image", _SPENDS),
    (restyle_image, "Restyle an image", _SPENDS),
    (start_image_batch, "Start a batch of images", _SPENDS),
    (get_next_image, "Get the next image of a batch", _READS),
    (get_batch_status, "Look at a batch", _READS),
    (cancel_batch, "Cancel a batch", _CHANGES),
    (resume_batch, "Resume a batch", _RESUMES),
    (search_images, "Search the library", _READS),
    (show_image, "Show an image", _READS),
    (organize_images, "Organize images", _CHANGES),
    (find_models, "Find models", _READS),
    (estimate_cost, "Estimate a cost", _READS),
)


def make_server(
    settings: imagen.Settings,
    *,
    open_client: Callable[
        [imagen.Settings], AbstractAsyncContextManager[imagen.Client]
    ] = open_watched_client,
    close_seconds: float | None = None,
    local_files: bool = True,
    read_only: bool = False,
    people: Sequence[Person] = (),
    auth: AuthSettings | None = None,
    replica_key: bytes | None = None,
) -> MCPServer[ServerState]:
    """A server whose client is opened by `open_client` for as long as the
    server's lifespan.

    With `local_files` callers may name input files of this machine, as they are
    its own user. When the server ends, what is in flight gets `close_seconds`
    to finish; None leaves that to the client's settings. With `read_only` no
    tool changes anything. Over HTTP, `people` with `auth` are let in by their
    tokens only, each with a home of their own. Servers with the same
    `replica_key` take the answers to each other's questions.

    Raises:
        ConfigurationError: the user's table of models or choice of tools is
            wrong.
    """
    catalog = settings.load_catalog()
    offer = Offer(settings, catalog, _choose(read_only))

    @asynccontextmanager
    async def lifespan(_: MCPServer[ServerState]) -> AsyncIterator[ServerState]:
        async with AsyncExitStack() as stack:

            async def open_state(own: imagen.Settings, own_offer: Offer) -> ServerState:
                # The tools ask before they start anything: see _money.
                unlimited = msgspec.structs.replace(own, confirm_above_usd=None)
                client = await stack.enter_async_context(open_client(unlimited))
                return ServerState(client, own_offer, {}, local_files, own.confirm_above_usd)

            states = {
                person.name: await open_state(
                    settings_of(person, settings),
                    Offer(settings, catalog, _choose(read_only or person.read_only)),
                )
                for person in people
            }
            # The last one is there for callbacks and links.
            state = await open_state(settings, offer)
            clients = [one.client for one in (state, *states.values())]
            async with _heeding(clients, close_seconds):
                yield state._replace(people=states)

    makers = [tool.__name__ for tool in _MAKERS]
    server = Server(
        "imagen",
        title="imagen",
        description=(
            "Makes images, one or in batches, with the image models that there are keys for."
        ),
        instructions=_instruct(offer, settings, catalog),
        icons=[_icon()],
        version=imagen.version(),
        lifespan=lifespan,
        extensions=[
            Tasks(makers, find_session, settings.session_ttl_seconds),
            make_view(),
        ],
        auth=auth,
        request_state_security=(
            None if replica_key is None else RequestStateSecurity(keys=[replica_key])
        ),
        token_verifier=None if auth is None else _verifier(people, auth),
        # The SDK configures logging for the whole process, at INFO.
        log_level="WARNING",
    )
    _add_tools(server)
    add_resources(server, settings, catalog)
    if "generate_image" in offer.chosen:
        add_prompts(server)
    server.offer(offer)
    server.middleware.append(remember_state)
    return server


@asynccontextmanager
async def _heeding(
    clients: Sequence[imagen.Client], close_seconds: float | None
) -> AsyncIterator[None]:
    """Heed what other processes ask of the clients; end them all at once, as
    they close one after the other.
    """
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(client.sessions.heed_stops)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel("the server ends")
            for client in clients:
                client.sessions.cancel_all()
                if close_seconds is not None:
                    client.bound_salvage(close_seconds)


def _icon() -> Icon:
    """Return the server's icon, as vectors: it goes with each result. Tools have
    none, as a list of tools enters each conversation.
    """
    svg = Path(__file__).with_name("icon.svg").read_bytes()
    url = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
    return Icon(src=url, mime_type="image/svg+xml", sizes=["any"])


def _verifier(people: Sequence[Person], auth: AuthSettings) -> Tokens:
    issuer = read_issuer() if any(one.subject is not None for one in people) else None
    if issuer is None:
        return Tokens(people)
    return Tokens(people, IssuedTokens(issuer, str(auth.resource_server_url)))


def _choose(read_only: bool) -> frozenset[str]:
    is_read_only = {
        function.__name__: annotations.read_only_hint is True for function, _, annotations in _TOOLS
    }
    return read_choice(is_read_only, read_only=read_only)


def _add_tools(server: MCPServer[ServerState]) -> None:
    for function, title, hints in _TOOLS:
        server.add_tool(function, title=title, annotations=hints)


def _instruct(offer: Offer, settings: imagen.Settings, catalog: imagen.providers.Catalog) -> str:
    """Return the instructions, without those about tools that are not there."""
    lines = [line for needed, line in _INSTRUCTIONS if offer.listed.issuperset(needed.split())]
    usable = [model.id for model in live_models(catalog) if is_available(model, settings)]
    named = ", ".join(usable[:_MOST_NAMED]) + (", and more" if len(usable) > _MOST_NAMED else "")
    return "\n".join([*lines, f"Models that can be used now: {named}."])
