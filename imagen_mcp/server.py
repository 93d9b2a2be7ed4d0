"""The tools and resources: they convert arguments and results, and leave everything else to imagen."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Annotated

import msgspec
import trio
from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    UnexpectedResourceError,
    UnexpectedToolError,
)
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import AnyUrl, Field

import imagen

from ._desk import (
    LONGEST_PULL,
    MODELS_URI,
    After,
    BatchAnswer,
    Count,
    Full,
    LongTimeout,
    ModelId,
    PictureAnswer,
    Prompt,
    Quality,
    SessionId,
    Size,
    Style,
    Timeout,
    clamp,
    incomplete,
    make_many,
    make_one,
    next_step,
    resume,
    session_of,
    wait_picture,
)
from ._money import ConfirmCost, Limits, MaxCost, estimate, noting_retirement
from ._operations import create_variations, edit_image, enhance_image, restyle_image
from ._replies import BatchReply, CostReply, batch_reply, cost_reply, failed
from ._shop import Desk, Shop, client_of

__all__ = ["make_server"]

# Instructions stand at the beginning of every conversation.
_MOST_NAMED = 24
_IMAGE_URI = "imagen://images/{image_id}"

_INSTRUCTIONS = """\
imagen makes pictures; some models cost money per picture.
Before many pictures call estimate_cost, which makes none, and tell the user what they would cost.
One picture: generate_image. From a picture: edit_image, create_variations, enhance_image, restyle_image.
Several: start_image_batch answers with a session_id and the first picture, and the rest goes on \
in the background. Then call get_next_image(session_id, after=<index of the last picture you have>) until its text says that \
the batch is over. Repeating a pull is free and safe: the same `after` gives the same picture.
Never call start_image_batch or generate_image again for pictures that are still being made: that would pay twice. After a \
time-out, pull again. A batch that the end of the server interrupted is still there: pull what is finished, and resume_batch \
makes the rest.
Pictures are files; tell the user their paths. What you see is a small preview."""


# --- tools ----------------------------------------------------------------------------------------------------------


async def generate_image(
    prompt: Prompt,
    ctx: Desk,
    model: ModelId = None,
    size: Size = None,
    quality: Quality = None,
    style: Style = None,
    timeout: LongTimeout = 50.0,
    full: Full = False,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
) -> PictureAnswer:
    """Makes one picture and waits for it. Answers with its path, a small preview and a link to the whole picture."""
    request = _generate(prompt, model, size, quality, style)
    return await make_one(ctx, request, timeout, Limits(max_cost_usd, confirm_cost), full=full)


async def start_image_batch(
    prompt: Prompt,
    ctx: Desk,
    count: Count = 4,
    model: ModelId = None,
    size: Size = None,
    quality: Quality = None,
    style: Style = None,
    timeout: Timeout = 45.0,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
) -> BatchAnswer:
    """Starts several pictures of one prompt in the background. Answers with the session_id and the first picture as soon as
    it is there; get_next_image gives the others. Never start a batch again that is running: it would be paid twice."""
    request = _generate(prompt, model, size, quality, style)
    return await make_many(ctx, request, count, timeout, Limits(max_cost_usd, confirm_cost))


async def estimate_cost(
    prompt: Prompt,
    ctx: Desk,
    count: Annotated[int, Field(ge=1, le=1000, description="How many pictures.")] = 4,
    model: ModelId = None,
    size: Size = None,
    quality: Quality = None,
    style: Style = None,
) -> Annotated[CallToolResult, CostReply]:
    """Says what pictures would cost, and makes none. Use it before many pictures, or where the user cares about the cost."""
    with noting_retirement() as notes:
        reply = estimate(ctx, _generate(prompt, model, size, quality, style), count)
    return cost_reply(reply, notes)


def _generate(
    prompt: str, model: str | None, size: str | None, quality: str | None, style: str | None
) -> imagen.Generate:
    # Hosts fill in optional fields with empty text.
    return imagen.Generate(
        prompt=prompt, model=model or None, size=size or None, quality=quality or None, style=style or None
    )


async def get_next_image(
    session_id: SessionId, ctx: Desk, after: After = None, timeout: Timeout = 45.0, full: Full = False
) -> Annotated[CallToolResult, BatchReply]:
    """Waits for the next picture of a batch: the first one whose index is above `after`. Changes nothing, so a call whose
    answer got lost can be repeated. `image` is null when nothing came in time, or when the batch is over."""
    session = await session_of(ctx, session_id)
    found = await wait_picture(session, after, clamp(timeout, 0.0, LONGEST_PULL), ctx)
    return await batch_reply(session, found, full=full, notes=[next_step(session, found, after)])


async def get_batch_status(session_id: SessionId, ctx: Desk) -> Annotated[CallToolResult, BatchReply]:
    """Says how far a batch is, without waiting."""
    session = await session_of(ctx, session_id)
    there = ", ".join(str(index) for index, _ in session.images)
    notes = [f"Pictures that can be pulled: {there or 'none yet'}.", *incomplete(session)]
    return await batch_reply(session, None, notes=notes)


async def resume_batch(session_id: SessionId, ctx: Desk) -> Annotated[CallToolResult, BatchReply]:
    """Makes the pictures that are missing of a batch that was cancelled, or that the end of the server interrupted. Nothing
    that may be paid already is made again. Does nothing to a batch that is running or complete."""
    session = await resume(ctx, session_id)
    again = f'get_next_image(session_id="{session.id}", after=<index of the last picture you have>)'
    return await batch_reply(session, None, notes=[f"Next: {again}."])


async def cancel_batch(session_id: SessionId, ctx: Desk) -> Annotated[CallToolResult, BatchReply]:
    """Stops a batch: what has not been sent to the provider is dropped. Finished pictures can still be pulled, and those that
    are paid for already are kept in the library when they come."""
    session = await session_of(ctx, session_id)
    session.cancel()
    return await batch_reply(session, None, notes=["Nothing more will be sent. Finished pictures can still be pulled."])


# --- resources ------------------------------------------------------------------------------------------------------


async def read_image(image_id: str, ctx: Desk) -> bytes:
    """A picture of the library, whole."""
    image = await client_of(ctx).library.get(image_id)
    if image is None:
        raise ResourceNotFoundError(f"There is no picture {image_id!r} in the library.")
    return await trio.to_thread.run_sync(lambda: image.data)


def list_models(settings: imagen.Settings, catalog: imagen.Catalog) -> str:
    """The models that still can be had, as JSON; `available` says whether there is a key.

    Those that there is no key for are many, and only named: all that is known of all of them would fill a conversation.
    """
    models = _live_models(catalog)
    known = [_describe_model(model) for model in models if _available(model, settings)]
    others = [
        {
            "id": model.id,
            "name": model.name,
            "provider": model.provider,
            "available": False,
            "operations": model.capabilities.operations,
        }
        for model in models
        if not _available(model, settings)
    ]
    return msgspec.json.encode([*known, *others]).decode()


def _describe_model(model: imagen.Model) -> dict[str, object]:
    capabilities: dict[str, object] = msgspec.to_builtins(model.capabilities)
    return {
        "id": model.id,
        "name": model.name,
        "provider": model.provider,
        "description": model.description,
        "available": True,
        # What a model lacks is said by leaving it out.
        "capabilities": {name: value for name, value in capabilities.items() if value not in (None, False, [], ())},
        "rate_limit": model.rate_limit,
        "price": model.price,
        "use_cases": model.use_cases,
        "strengths": model.strengths,
        "weaknesses": model.weaknesses,
        "retires_on": model.lifecycle.retires_on,
    }


def _live_models(catalog: imagen.Catalog) -> list[imagen.Model]:
    today = datetime.datetime.now(datetime.UTC).date()
    return [model for model in catalog if model.lifecycle.state(today) != "retired"]


def _available(model: imagen.Model, settings: imagen.Settings) -> bool:
    access = settings.access.get(model.provider)
    return access is not None and access.configured and access.preferred


def _media_type(data: bytes) -> str | None:
    """By the first bytes: PNG, JPEG, WebP or GIF, which is all that a library holds."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    heads = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((media_type for head, media_type in heads.items() if data.startswith(head)), None)


# --- the server -----------------------------------------------------------------------------------------------------


class _Server(MCPServer[Shop]):
    """The SDK hides every exception from the model; those of imagen are meant to be read. Bugs stay hidden, and logged."""

    async def call_tool(
        self, name: str, arguments: dict[str, object], context: Desk | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            return await super().call_tool(name, arguments, context)
        except UnexpectedToolError as error:
            if isinstance(error.__cause__, imagen.ImagenError):
                return failed(error.__cause__)
            raise

    async def read_resource(
        self, uri: AnyUrl | str, context: Desk | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        try:
            contents = await super().read_resource(uri, context)
        except UnexpectedResourceError as error:
            if isinstance(cause := error.__cause__, imagen.ImagenError):
                raise ResourceError(f"[{cause.code}] {cause.message}") from cause
            raise
        if isinstance(contents, InputRequiredResult):
            return contents
        # A template has one media type for all its pictures.
        return [
            replace(item, mime_type=_media_type(item.content) or item.mime_type)
            if isinstance(item.content, bytes)
            else item
            for item in contents
        ]


def make_server(
    settings: imagen.Settings,
    *,
    open_client: Callable[[imagen.Settings], AbstractAsyncContextManager[imagen.Client]] = imagen.open_client,
    close_seconds: float | None = None,
    local_files: bool = True,
) -> MCPServer[Shop]:
    """A server whose client is opened by `open_client` for as long as the server's lifespan.

    With `local_files` the callers may name files of this machine as pictures to work on: they are its own user then. When
    the server ends, what is in flight gets `close_seconds` to finish; None leaves it to the client's settings.

    Raises:
        ConfigurationError: the user's table of models is wrong.
    """
    catalog = settings.load_catalog()

    # The tools ask before they start anything: see _money.
    unlimited = msgspec.structs.replace(settings, confirm_above_usd=None)

    @asynccontextmanager
    async def lifespan(_: MCPServer[Shop]) -> AsyncIterator[Shop]:
        async with open_client(unlimited) as client:
            try:
                yield Shop(client, local_files, settings.confirm_above_usd)
            finally:
                if close_seconds is not None:
                    client.bound_salvage(close_seconds)

    usable = [model.id for model in _live_models(catalog) if _available(model, settings)]
    named = ", ".join(usable[:_MOST_NAMED]) + (", and more" if len(usable) > _MOST_NAMED else "")
    server = _Server(
        "imagen",
        title="imagen",
        description="Makes pictures, one or in batches, with the image models that there are keys for.",
        instructions=f"{_INSTRUCTIONS}\nModels that can be used now: {named}.",
        version=imagen.version(),
        lifespan=lifespan,
        # The SDK configures logging for the whole process, and says much at INFO.
        log_level="WARNING",
    )
    _add_tools(server)
    _add_resources(server, settings, catalog)
    return server


def _add_tools(server: MCPServer[Shop]) -> None:
    spends = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    resumes = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
    stops = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    server.add_tool(generate_image, title="Generate an image", annotations=spends)
    server.add_tool(edit_image, title="Edit an image", annotations=spends)
    server.add_tool(create_variations, title="Create variations of an image", annotations=spends)
    server.add_tool(enhance_image, title="Enlarge and refine an image", annotations=spends)
    server.add_tool(restyle_image, title="Restyle an image", annotations=spends)
    server.add_tool(start_image_batch, title="Start a batch of images", annotations=spends)
    server.add_tool(get_next_image, title="Get the next image of a batch", annotations=reads)
    server.add_tool(get_batch_status, title="Look at a batch", annotations=reads)
    server.add_tool(cancel_batch, title="Cancel a batch", annotations=stops)
    server.add_tool(resume_batch, title="Resume a batch", annotations=resumes)
    server.add_tool(estimate_cost, title="Estimate a cost", annotations=reads)


def _add_resources(server: MCPServer[Shop], settings: imagen.Settings, catalog: imagen.Catalog) -> None:
    @server.resource(
        MODELS_URI,
        name="models",
        title="Image models",
        description="The image models: what each can do, what it costs, and whether there is a key for it.",
        mime_type="application/json",
    )
    def models() -> str:
        return list_models(settings, catalog)

    server.resource(
        _IMAGE_URI,
        name="image",
        title="A picture in full",
        description="A picture of the library by its id, as the provider sent it.",
        mime_type="image/png",
    )(read_image)
