"""The tools that work on an image: edit, vary, enhance, restyle."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

import imagen

from .._context import ToolContext
from .image_names import image_source, image_sources
from .money import ConfirmCost, Limits, MaxCost, New
from .parameters import (
    AspectRatio,
    Background,
    BatchAnswer,
    Full,
    ImageAnswer,
    LongTimeout,
    ModelId,
    NegativePrompt,
    OutputFormat,
    Prompt,
    Quality,
    Resolution,
    Seed,
    Size,
    Source,
    Strength,
    Timeout,
)
from .sessions import make_many, make_one

__all__ = ["create_variations", "edit_image", "enhance_image", "restyle_image"]

Words = Annotated[str, Field(description="Words to go by, if the model takes any.")]


async def edit_image(
    prompt: Prompt,
    images: Annotated[
        list[str],
        Field(
            min_length=1,
            max_length=16,
            description="The image that changes, then those that are mixed in.",
        ),
    ],
    ctx: ToolContext,
    mask: Annotated[
        str | None,
        Field(description="Of the same size, white where the first one is to change."),
    ] = None,
    model: ModelId = None,
    size: Size = None,
    aspect_ratio: AspectRatio = None,
    resolution: Resolution = None,
    quality: Quality = None,
    seed: Seed = None,
    negative_prompt: NegativePrompt = None,
    background: Background = None,
    output_format: OutputFormat = None,
    timeout: LongTimeout = 50.0,
    full: Full = False,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
    new: New = False,
) -> ImageAnswer:
    """Change an image as the prompt describes, or make one from several. An
    image is an id or imagen:// URI, an https URL, a data URL, or a path on the
    server's machine.
    """
    request = imagen.Edit(
        prompt=prompt,
        images=await image_sources(ctx, images),
        mask=await image_source(ctx, mask) if mask else None,
        model=model,
        size=size,
        aspect_ratio=aspect_ratio,
        resolution=resolution,
        quality=quality,
        seed=seed,
        negative_prompt=negative_prompt,
        background=background,
        output_format=output_format,
    )
    return await make_one(ctx, request, timeout, Limits(max_cost_usd, confirm_cost, new), full=full)


async def create_variations(
    image: Source,
    ctx: ToolContext,
    count: Annotated[int, Field(ge=1, le=10, description="How many.")] = 4,
    prompt: Words = "",
    strength: Strength = None,
    model: ModelId = None,
    timeout: Timeout = 45.0,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
    new: New = False,
) -> BatchAnswer:
    """Start variations of an image in the background. Returns the session_id,
    and the first image as soon as it is finished; get_next_image returns the
    others. A model without variations makes them by an edit, and reports that.
    """
    request = imagen.Vary(
        image=await image_source(ctx, image),
        prompt=prompt,
        strength=strength,
        model=model,
        emulate=bool(model),
    )
    return await make_many(ctx, request, count, timeout, Limits(max_cost_usd, confirm_cost, new))


async def enhance_image(
    image: Source,
    ctx: ToolContext,
    scale: Annotated[float | None, Field(gt=1, le=16, description="Factor of each side.")] = None,
    mode: Annotated[
        Literal["fast", "conservative", "creative"] | None,
        Field(description="How much detail may be invented."),
    ] = None,
    prompt: Words = "",
    model: ModelId = None,
    timeout: LongTimeout = 50.0,
    full: Full = False,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
    new: New = False,
) -> ImageAnswer:
    """Makes an image larger and finer."""
    request = imagen.Enhance(
        image=await image_source(ctx, image), scale=scale, mode=mode, prompt=prompt, model=model
    )
    return await make_one(ctx, request, timeout, Limits(max_cost_usd, confirm_cost, new), full=full)


async def restyle_image(
    image: Source,
    reference: Annotated[str, Field(description="The image whose look it gets.")],
    ctx: ToolContext,
    prompt: Words = "",
    strength: Strength = None,
    model: ModelId = None,
    timeout: LongTimeout = 50.0,
    full: Full = False,
    max_cost_usd: MaxCost = None,
    confirm_cost: ConfirmCost = False,
    new: New = False,
) -> ImageAnswer:
    """Draw the content of one image in the style of another."""
    request = imagen.Restyle(
        image=await image_source(ctx, image),
        reference=await image_source(ctx, reference),
        prompt=prompt,
        strength=strength,
        model=model,
        emulate=bool(model),
    )
    return await make_one(ctx, request, timeout, Limits(max_cost_usd, confirm_cost, new), full=full)
