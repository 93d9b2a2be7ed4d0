"""Parameters that several tools take."""

from __future__ import annotations

from typing import Annotated

from mcp.types import CallToolResult, InputRequiredResult
from pydantic import Field

from .._results.generation import BatchReply, ImageReply

__all__ = [
    "Seed",
    "Resolution",
    "References",
    "OutputFormat",
    "NegativePrompt",
    "Background",
    "AspectRatio",
    "After",
    "BatchAnswer",
    "Cache",
    "Count",
    "Full",
    "HEARTBEAT_SECONDS",
    "ImageAnswer",
    "LONGEST_GENERATE",
    "LONGEST_PULL",
    "LongTimeout",
    "ModelId",
    "Prompt",
    "Quality",
    "SessionId",
    "Size",
    "Source",
    "Strength",
    "Style",
    "Timeout",
    "clamp",
]

# The official TypeScript SDK and claude.ai end a call after 60 seconds, so
# every wait ends before.
HEARTBEAT_SECONDS = 5.0
LONGEST_PULL = 55.0
# For hosts that wait longer and were asked to; Codex ends a call after 300.
LONGEST_GENERATE = 300.0


# A tool that spends may first have the client ask its user.
ImageAnswer = Annotated[CallToolResult, ImageReply] | InputRequiredResult
BatchAnswer = Annotated[CallToolResult, BatchReply] | InputRequiredResult

Prompt = Annotated[str, Field(description="What the image should show.")]
ModelId = Annotated[
    str | None, Field(description="A model id (find_models); left out, the default model.")
]
Size = Annotated[
    str | None,
    Field(
        description=(
            "Pixels (1024x1024), a ratio (16:9), or square, portrait, landscape, photo,"
            " widescreen, story, banner, avatar, wallpaper, poster."
        )
    ),
]
AspectRatio = Annotated[str | None, Field(description="In place of size: 16:9.")]
Resolution = Annotated[str | None, Field(description="With aspect_ratio: 1K, 2K, 4K.")]
Seed = Annotated[int | None, Field(description="Repeats an image, if the model can.")]
NegativePrompt = Annotated[str | None, Field(description="What it should not show.")]
Background = Annotated[str | None, Field(description="transparent, opaque, auto.")]
OutputFormat = Annotated[str | None, Field(description="png, jpeg, webp.")]
References = Annotated[
    list[str] | None, Field(max_length=16, description="Images that lend subject or style.")
]
Source = Annotated[str, Field(description="An image id, https URL, data URL or path.")]
Strength = Annotated[
    float | None, Field(ge=0, le=1, description="How far it may go from the image.")
]
Quality = Annotated[str | None, Field(description="low, medium, high, or the model's own.")]
Style = Annotated[str | None, Field(description="One of the model's styles.")]
Count = Annotated[int, Field(ge=2, le=10, description="How many images.")]
SessionId = Annotated[str, Field(description="From start_image_batch.")]
After = Annotated[
    int | None, Field(description="Index of the last image that you have; none for the first.")
]
Timeout = Annotated[float, Field(description="Seconds to wait for an image, 0 to 55.")]
LongTimeout = Annotated[
    float, Field(description="Seconds to wait, 1 to 300; most hosts end a call after 60.")
]
Cache = Annotated[
    bool, Field(description="Take the image of an equal request from the library, for nothing.")
]
Full = Annotated[
    bool,
    Field(description="The whole image in place of a preview, up to 525 kB and 2000 pixels."),
]


def clamp(seconds: float, least: float, most: float) -> float:
    return min(max(least, seconds), most)
