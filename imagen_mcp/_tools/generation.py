"""The tools that make images of words, one or in batches."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

import imagen

from .._context import ToolContext, client_of
from .._results.batches import StatusReply, batches_reply
from .._results.generation import BatchReply, CostReply, batch_reply, cost_reply
from .image_names import image_sources
from .money import ConfirmCost, Limits, MaxCost, New, estimate, noting_retirement
from .parameters import (
    LONGEST_PULL,
    After,
    AspectRatio,
    Background,
    BatchAnswer,
    Cache,
    Count,
    Full,
    ImageAnswer,
    LongTimeout,
    ModelId,
    NegativePrompt,
    OutputFormat,
    Quality,
    References,
    Resolution,
    Seed,
    SessionId,
    Size,
    Style,
    Timeout,
    clamp,
)
from .prompt_arguments import ApplyStyles, Values, WordedPrompt, word
from .sessions import (
    incomplete,
    make_many,
    make_one,
    next_step,
    resume,
    session_of,
    stop,
    wait_image,
)

__all__ = [
    "cancel_batch",
    "estimate_cost",
    "generate_image",
    "get_batch_status",
    "get_next_image",
    "resume_batch",
    "start_image_batch",
]


_MOST_BATCHES = 20


async def generate_image(
    prompt: WordedPrompt,
    ctx: ToolContext,
    model: ModelId = None,
    size: Size = None,
    aspect_ratio: AspectRatio = None,
    resolution: Resolution = None,
    quality: Quality = None,
    style: Style = None,
    seed: Seed = None,
    negative_prompt: NegativePrompt = None,
    background: Background = None,
    output_format: OutputFormat = None,
    references: References = None,
    apply_styles: ApplyStyles = None,
    values: Values = None,
    timeout: LongTimeout = 50.0,
    full: Full = False,
    cache: Cache = False,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
    new: New = False,
) -> ImageAnswer:
    """Make one image and wait for it. Returns its path, a small preview and a
    link to the whole image.
    """
    asked = imagen.Generate(
        prompt=prompt,
        model=model,
        size=size,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        quality=quality,
        style=style,
        seed=seed,
        negative_prompt=negative_prompt,
        background=background,
        output_format=output_format,
        references=await image_sources(ctx, references),
    )
    request = await word(ctx, asked, values, apply_styles)
    return await make_one(
        ctx, request, timeout, Limits(max_cost_usd, confirm_cost, new), full=full, cache=cache
    )


async def start_image_batch(
    prompt: WordedPrompt,
    ctx: ToolContext,
    count: Count = 4,
    model: ModelId = None,
    size: Size = None,
    aspect_ratio: AspectRatio = None,
    resolution: Resolution = None,
    quality: Quality = None,
    style: Style = None,
    seed: Seed = None,
    negative_prompt: NegativePrompt = None,
    background: Background = None,
    output_format: OutputFormat = None,
    references: References = None,
    apply_styles: ApplyStyles = None,
    values: Values = None,
    timeout: Timeout = 45.0,
    cache: Cache = False,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
    new: New = False,
) -> BatchAnswer:
    """Start several images of one prompt in the background. Returns the
    session_id, and the first image as soon as it is finished; get_next_image
    returns the others. Never start a running batch again: it would be paid
    twice.
    """
    asked = imagen.Generate(
        prompt=prompt,
        model=model,
        size=size,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        quality=quality,
        style=style,
        seed=seed,
        negative_prompt=negative_prompt,
        background=background,
        output_format=output_format,
        references=await image_sources(ctx, references),
    )
    request = await word(ctx, asked, values, apply_styles)
    return await make_many(
        ctx, request, count, timeout, Limits(max_cost_usd, confirm_cost, new), cache=cache
    )


async def estimate_cost(
    prompt: WordedPrompt,
    ctx: ToolContext,
    count: Annotated[int, Field(ge=1, le=1000, description="How many images.")] = 4,
    model: ModelId = None,
    size: Size = None,
    aspect_ratio: AspectRatio = None,
    resolution: Resolution = None,
    quality: Quality = None,
    style: Style = None,
    seed: Seed = None,
    negative_prompt: NegativePrompt = None,
    background: Background = None,
    output_format: OutputFormat = None,
    references: References = None,
    apply_styles: ApplyStyles = None,
    values: Values = None,
) -> Annotated[CallToolResult, CostReply]:
    """Estimate the cost of images without making any. Use it before many
    images, or if the user cares about the cost.
    """
    asked = imagen.Generate(
        prompt=prompt,
        model=model,
        size=size,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        quality=quality,
        style=style,
        seed=seed,
        negative_prompt=negative_prompt,
        background=background,
        output_format=output_format,
        references=await image_sources(ctx, references),
    )
    request = await word(ctx, asked, values, apply_styles)
    with noting_retirement() as notes:
        reply = estimate(ctx, request, count)
    return cost_reply(reply, notes)


async def get_next_image(
    session_id: SessionId,
    ctx: ToolContext,
    after: After = None,
    timeout: Timeout = 45.0,
    full: Full = False,
) -> Annotated[CallToolResult, BatchReply]:
    """Wait for the next image of a batch: the first one whose index is above
    `after`. Changes nothing, so a call whose result was lost can be repeated.
    `image` is null if none came in time, or if the batch is over.
    """
    session = await session_of(ctx, session_id)
    found = await wait_image(session, after, clamp(timeout, 0.0, LONGEST_PULL), ctx)
    return await batch_reply(
        client_of(ctx), session, found, full=full, notes=[next_step(session, found, after)]
    )


async def get_batch_status(
    ctx: ToolContext,
    session_id: Annotated[
        str | None, Field(description="Left out: all batches that run or ran lately.")
    ] = None,
) -> Annotated[CallToolResult, StatusReply]:
    """Return the progress of a batch, without waiting; without an id, list the
    running and recent batches, also those whose id was lost.
    """
    if session_id is None:
        return batches_reply(await client_of(ctx).sessions.list(limit=_MOST_BATCHES))
    session = await session_of(ctx, session_id)
    there = ", ".join(str(index) for index, _ in session.images)
    notes = [f"Images that can be pulled: {there or 'none yet'}.", *incomplete(session)]
    return await batch_reply(client_of(ctx), session, None, notes=notes)


async def resume_batch(
    session_id: SessionId, ctx: ToolContext
) -> Annotated[CallToolResult, BatchReply]:
    """Makes the images that are missing of a batch that was cancelled, or that
    the end of the server interrupted. Nothing that may be paid already is made
    again. Does nothing to a batch that is running or complete.
    """
    session = await resume(ctx, session_id)
    again = f'get_next_image(session_id="{session.id}", after=<index of the last image you have>)'
    return await batch_reply(client_of(ctx), session, None, notes=[f"Next: {again}."])


async def cancel_batch(
    session_id: SessionId, ctx: ToolContext
) -> Annotated[CallToolResult, BatchReply]:
    """Stop a batch: what has not been sent to the provider is dropped. Finished
    images can still be pulled, and paid ones are kept in the library when they
    come.
    """
    session = await stop(ctx, session_id)
    notes = ["Nothing more will be sent. Finished images can still be pulled."]
    return await batch_reply(client_of(ctx), session, None, notes=notes)
