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
    str | None,
    Field(description=("A model id; find_models finds one. Left out, the server's default model.")),
]
Size = Annotated[
    str | None,
    Field(
        description=(
            "WIDTHxHEIGHT in pixels, such as 1024x1024; or a ratio such as 16:9; or square,"
            " portrait, landscape, photo, widescreen, story, banner, avatar, wallpaper, poster. The"
            " nearest that the model has is made."
        )
    ),
]
AspectRatio = Annotated[
    str | None, Field(description="WIDTH:HEIGHT, such as 16:9, in place of size.")
]
Resolution = Annotated[str | None, Field(description="1K, 2K or 4K, with aspect_ratio.")]
Seed = Annotated[int | None, Field(description="The same seed draws alike, where the model can.")]
NegativePrompt = Annotated[str | None, Field(description="What the image should not show.")]
Background = Annotated[str | None, Field(description="transparent, opaque or auto.")]
OutputFormat = Annotated[str | None, Field(description="png, jpeg or webp.")]
References = Annotated[
    list[str] | None,
    Field(
        max_length=16,
        description="Images that lend subject or style, named as in edit_image.",
    ),
]
Source = Annotated[
    str,
    Field(
        description=(
            "The image: the id of one that imagen made, an https URL, a data URL, or a path on the"
            " server's machine."
        )
    ),
]
Strength = Annotated[
    float | None,
    Field(
        ge=0, le=1, description="How far it may go from the image, 0 to 1, where the model has it."
    ),
]
Quality = Annotated[
    str | None, Field(description="One of the model's qualities, such as low, medium or high.")
]
Style = Annotated[str | None, Field(description="One of the model's styles, where it has any.")]
Count = Annotated[int, Field(ge=2, le=10, description="How many images, 2 to 10.")]
SessionId = Annotated[str, Field(description="The session_id that start_image_batch gave.")]
After = Annotated[
    int | None,
    Field(
        description="The index of the last image that you have; leave it out to get the first one."
    ),
]
Timeout = Annotated[float, Field(description="How many seconds to wait for an image, 0 to 55.")]
LongTimeout = Annotated[
    float,
    Field(
        description=(
            "How many seconds to wait, 1 to 300. Most hosts end a call after 60; then the image is"
            " kept."
        )
    ),
]
Cache = Annotated[
    bool,
    Field(
        description=(
            "Answer a request that was made before with an image of the library, for nothing."
        )
    ),
]
Full = Annotated[
    bool,
    Field(
        description=(
            "Show the whole image in place of a preview, where it is small enough (525 kB, 2000"
            " pixels)."
        )
    ),
]


def clamp(seconds: float, least: float, most: float) -> float:
    return min(max(least, seconds), most)
