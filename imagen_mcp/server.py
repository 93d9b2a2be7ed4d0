"""The tools and resources: they convert arguments and results, and leave everything else to imagen."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Annotated

import msgspec
import trio
from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import (
    ResourceError,
    ResourceNotFoundError,
    UnexpectedResourceError,
    UnexpectedToolError,
)
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import AnyUrl, Field

import imagen

from ._replies import BatchReply, Found, PictureReply, batch_reply, failed, picture_reply

__all__ = ["make_server"]

# The official TypeScript SDK and claude.ai give up on a call after 60 seconds, so every wait ends before.
HEARTBEAT_SECONDS = 5.0
_LONGEST_PULL = 55.0
# For hosts that wait longer and were asked to; Codex ends a call after 300.
_LONGEST_GENERATE = 300.0

_MODELS_URI = "models://image-generation"
_IMAGE_URI = "imagen://images/{image_id}"

Desk = Context[imagen.Client]

Prompt = Annotated[str, Field(description="What the picture should show.")]
ModelId = Annotated[
    str | None,
    Field(description=f"A model id from the resource {_MODELS_URI}; left out, the server's default model."),
]
Size = Annotated[
    str | None, Field(description="WIDTHxHEIGHT in pixels, such as 1024x1024, as far as the model has it.")
]
Quality = Annotated[str | None, Field(description="One of the model's qualities, such as low, medium or high.")]
Style = Annotated[str | None, Field(description="One of the model's styles, where it has any.")]
Count = Annotated[int, Field(ge=2, le=10, description="How many pictures, 2 to 10.")]
SessionId = Annotated[str, Field(description="The session_id that start_image_batch gave.")]
After = Annotated[
    int | None,
    Field(description="The index of the last picture that you have; leave it out to get the first one."),
]
Timeout = Annotated[float, Field(description="How many seconds to wait for a picture, 0 to 55.")]
LongTimeout = Annotated[
    float,
    Field(description="How many seconds to wait, 1 to 300. Most hosts end a call after 60; then the picture is kept."),
]
Full = Annotated[
    bool,
    Field(description="Show the whole picture in place of a preview, where it is small enough (525 kB, 2000 pixels)."),
]

_INSTRUCTIONS = """\
imagen makes pictures; some models cost money per picture.
One picture: generate_image. Several: start_image_batch answers with a session_id and the first picture, and the rest goes on \
in the background. Then call get_next_image(session_id, after=<index of the last picture you have>) until its text says that \
the batch is over. Repeating a pull is free and safe: the same `after` gives the same picture.
Never call start_image_batch or generate_image again for pictures that are still being made: that would pay twice. After a \
time-out, pull again.
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
) -> Annotated[CallToolResult, PictureReply]:
    """Makes one picture and waits for it. Answers with its path, a small preview and a link to the whole picture."""
    # A session of one: when the wait is over before the picture is, it goes on and can still be pulled.
    session, notes = _start(ctx, prompt, 1, model, size, quality, style)
    with _cancelled_without_answer(session):
        found = await _wait_picture(session, None, _clamp(timeout, 1.0, _LONGEST_GENERATE), ctx)
        if found is not None:
            return await picture_reply(found, full=full, notes=notes)
        if session.finished:
            raise _reason(session)
        return failed(_still_being_made(session))


async def start_image_batch(
    prompt: Prompt,
    ctx: Desk,
    count: Count = 4,
    model: ModelId = None,
    size: Size = None,
    quality: Quality = None,
    style: Style = None,
    timeout: Timeout = 45.0,
) -> Annotated[CallToolResult, BatchReply]:
    """Starts several pictures of one prompt in the background. Answers with the session_id and the first picture as soon as
    it is there; get_next_image gives the others. Never start a batch again that is running: it would be paid twice."""
    session, notes = _start(ctx, prompt, count, model, size, quality, style)
    with _cancelled_without_answer(session):
        found = await _wait_picture(session, None, _clamp(timeout, 0.0, _LONGEST_PULL), ctx)
        return await batch_reply(session, found, notes=[*notes, _next_step(session, found, None)])


async def get_next_image(
    session_id: SessionId, ctx: Desk, after: After = None, timeout: Timeout = 45.0, full: Full = False
) -> Annotated[CallToolResult, BatchReply]:
    """Waits for the next picture of a batch: the first one whose index is above `after`. Changes nothing, so a call whose
    answer got lost can be repeated. `image` is null when nothing came in time, or when the batch is over."""
    session = _session(ctx, session_id)
    found = await _wait_picture(session, after, _clamp(timeout, 0.0, _LONGEST_PULL), ctx)
    return await batch_reply(session, found, full=full, notes=[_next_step(session, found, after)])


async def get_batch_status(session_id: SessionId, ctx: Desk) -> Annotated[CallToolResult, BatchReply]:
    """Says how far a batch is, without waiting."""
    session = _session(ctx, session_id)
    there = ", ".join(str(index) for index, _ in session.images)
    return await batch_reply(session, None, notes=[f"Pictures that can be pulled: {there or 'none yet'}."])


async def cancel_batch(session_id: SessionId, ctx: Desk) -> Annotated[CallToolResult, BatchReply]:
    """Stops a batch: what has not been sent to the provider is dropped. Finished pictures can still be pulled, and those that
    are paid for already are kept in the library when they come."""
    session = _session(ctx, session_id)
    session.cancel()
    return await batch_reply(session, None, notes=["Nothing more will be sent. Finished pictures can still be pulled."])


def _client(ctx: Desk) -> imagen.Client:
    return ctx.request_context.lifespan_context


def _session(ctx: Desk, session_id: str) -> imagen.Session:
    try:
        return _client(ctx).sessions.get(session_id)
    except imagen.SessionNotFoundError as error:
        # Hosts restart servers, and an assistant that starts again pays again.
        raise imagen.SessionNotFoundError(
            f"{error.message} Batches end with the server that ran them; the pictures that they finished are files "
            f"below {_client(ctx).settings.home}."
        ) from error


def _start(
    ctx: Desk, prompt: str, count: int, model: str | None, size: str | None, quality: str | None, style: str | None
) -> tuple[imagen.Session, list[str]]:
    """Starts a session; the notes say that its model will be retired."""
    # Hosts fill in optional fields with empty text.
    request = imagen.Generate(
        prompt=prompt, model=model or None, size=size or None, quality=quality or None, style=style or None
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", imagen.ModelRetiringWarning)
        session = _client(ctx).start_session(request, n=count)
    return session, [str(item.message) for item in caught if issubclass(item.category, imagen.ModelRetiringWarning)]


@contextmanager
def _cancelled_without_answer(session: imagen.Session) -> Iterator[None]:
    """Until the tool answers nobody knows the session's id: whatever prevents the answer stops the spending."""
    try:
        yield
    except BaseException:
        session.cancel()
        raise


async def _wait_picture(session: imagen.Session, after: int | None, seconds: float, ctx: Desk) -> Found | None:
    """The next picture; None when it does not come in time or never will. Reports progress meanwhile."""
    beats = 0
    with trio.move_on_after(seconds):
        while True:
            with trio.move_on_after(HEARTBEAT_SECONDS):
                pulled = await session.wait_image(after)
                return None if pulled is None else Found(*pulled)
            beats += 1
            done = len(session.outcomes)
            # Progress must grow with every report, so the picture in the making counts as a growing fraction.
            await ctx.report_progress(
                done + beats / (beats + 1), session.requested, f"{done} of {session.requested} pictures"
            )
    return None


def _next_step(session: imagen.Session, found: Found | None, after: int | None) -> str:
    """What the caller should do now."""
    have = after if found is None else found.number
    more = session.images and (have is None or session.images[-1][0] > have)
    again = f'get_next_image(session_id="{session.id}"{"" if have is None else f", after={have}"})'
    if found is not None and (more or not session.finished):
        return f"Next: {again}."
    if found is not None:
        return "This was the last picture of the batch."
    if not session.finished:
        return f"Nothing new yet: call {again} again. Do not start the batch again."
    if session.images:
        return f"The batch is over: no picture comes after index {have}."
    return "The batch is over: no picture was made."


def _reason(session: imagen.Session) -> imagen.ImagenError:
    """Why a session of one picture ended without it."""
    if session.failures:
        return session.failures[0][1].error
    return session.error or imagen.SessionError("The picture was cancelled with the server.", retryable=True)


def _still_being_made(session: imagen.Session) -> imagen.ImagenError:
    return imagen.ProviderError(
        f'The picture is still being made: call get_next_image(session_id="{session.id}") to wait on. It lands in the library '
        "in any case. Do not ask for it again: that would be paid twice.",
        code="TIMEOUT",
    )


def _clamp(seconds: float, least: float, most: float) -> float:
    return min(max(least, seconds), most)


# --- resources ------------------------------------------------------------------------------------------------------


async def read_image(image_id: str, ctx: Desk) -> bytes:
    """A picture of the library, whole."""
    image = await _client(ctx).library.get(image_id)
    if image is None:
        raise ResourceNotFoundError(f"There is no picture {image_id!r} in the library.")
    return await trio.to_thread.run_sync(lambda: image.data)


def list_models(settings: imagen.Settings, catalog: imagen.Catalog) -> str:
    """The models that still can be had, as JSON; `available` says whether there is a key."""
    models = [
        {
            "id": model.id,
            "name": model.name,
            "provider": model.provider,
            "description": model.description,
            "available": _available(model, settings),
            "capabilities": model.capabilities,
            "rate_limit": model.rate_limit,
            "price": model.price,
            "use_cases": model.use_cases,
            "strengths": model.strengths,
            "weaknesses": model.weaknesses,
            "retires_on": model.lifecycle.retires_on,
        }
        for model in _live_models(catalog)
    ]
    return msgspec.json.encode(models).decode()


def _live_models(catalog: imagen.Catalog) -> list[imagen.Model]:
    today = datetime.datetime.now(datetime.UTC).date()
    return [model for model in catalog if model.lifecycle.state(today) != "retired"]


def _available(model: imagen.Model, settings: imagen.Settings) -> bool:
    access = settings.access.get(model.provider)
    return access is not None and access.configured


def _media_type(data: bytes) -> str | None:
    """By the first bytes: PNG, JPEG, WebP or GIF, which is all that a library holds."""
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    heads = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
    return next((media_type for head, media_type in heads.items() if data.startswith(head)), None)


# --- the server -----------------------------------------------------------------------------------------------------


class _Server(MCPServer[imagen.Client]):
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
) -> MCPServer[imagen.Client]:
    """A server whose client is opened by `open_client` for as long as the server's lifespan.

    When the server ends, what is in flight gets `close_seconds` to finish; None leaves it to the client's settings.

    Raises:
        ConfigurationError: the user's table of models is wrong.
    """
    catalog = settings.load_catalog()

    @asynccontextmanager
    async def lifespan(_: MCPServer[imagen.Client]) -> AsyncIterator[imagen.Client]:
        async with open_client(settings) as client:
            try:
                yield client
            finally:
                if close_seconds is not None:
                    client.bound_salvage(close_seconds)

    usable = [model.id for model in _live_models(catalog) if _available(model, settings)]
    server = _Server(
        "imagen",
        title="imagen",
        description="Makes pictures, one or in batches, with the image models that there are keys for.",
        instructions=f"{_INSTRUCTIONS}\nModels that can be used now: {', '.join(usable)}.",
        version=imagen.version(),
        lifespan=lifespan,
        # The SDK configures logging for the whole process, and says much at INFO.
        log_level="WARNING",
    )
    _add_tools(server)
    _add_resources(server, settings, catalog)
    return server


def _add_tools(server: MCPServer[imagen.Client]) -> None:
    spends = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=True)
    reads = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    stops = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False)
    server.add_tool(generate_image, title="Generate an image", annotations=spends)
    server.add_tool(start_image_batch, title="Start a batch of images", annotations=spends)
    server.add_tool(get_next_image, title="Get the next image of a batch", annotations=reads)
    server.add_tool(get_batch_status, title="Look at a batch", annotations=reads)
    server.add_tool(cancel_batch, title="Cancel a batch", annotations=stops)


def _add_resources(server: MCPServer[imagen.Client], settings: imagen.Settings, catalog: imagen.Catalog) -> None:
    @server.resource(
        _MODELS_URI,
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
