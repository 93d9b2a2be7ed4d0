"""Prompts that users choose in their host, and the completion of names. A
prompt leads an assistant from a wish to images.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from mcp.server import MCPServer
from mcp.types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)
from pydantic import Field

import imagen

from .._context import ServerState, ToolContext, client_of, current_client, current_state
from .._resources import COLLECTION_URI
from .._results.text import clip_line
from .image_names import find_image
from .prompt_arguments import choose_styles, find_prompt

__all__ = ["add_prompts"]

# The protocol's own limit.
_MOST_COMPLETIONS = 100
_LONGEST_WISH = 10_000

_WAYS = {
    "edit_image": "a change",
    "create_variations": "others like it",
    "enhance_image": "more detail",
}

Wish = Annotated[str, Field(max_length=_LONGEST_WISH)]


def add_prompts(server: MCPServer[ServerState]) -> None:
    """Registers the prompts, and the completion of what goes into them."""
    for function, title in (
        (use_prompt, "Use a prompt that is kept"),
        (use_style, "Draw in a style"),
        (explore_idea, "Several images of one idea"),
        (refine_image, "Refine an image"),
    ):
        server.prompt(title=title)(function)
    # The SDK does not type them.
    server.completion()(complete)  # type: ignore[no-untyped-call]


async def use_prompt(
    name: Annotated[str, Field(description="The name of the kept prompt.")],
    ctx: ToolContext,
    wishes: Annotated[
        Wish, Field(description="Values for its variables, or anything else to heed.")
    ] = "",
) -> str:
    """Makes an image of a prompt that you keep."""
    kept = await find_prompt(client_of(ctx), name)
    variables = imagen.prompts.Template.parse(kept.text).variables
    lines = [
        f'Make an image of my prompt: generate_image(prompt="@{kept.name}").',
        f"Its text: {clip_line(kept.text, 2000)}",
    ]
    if variables:
        named = ", ".join(one.name for one in variables)
        lines.append(
            f"It has the variables {named}: give them as values; ask me for those that have no"
            " default."
        )
    return _message(*lines, wishes and f"Heed this: {wishes}")


async def use_style(
    style: Annotated[str, Field(description="The name of a style.")],
    image: Annotated[Wish, Field(description="What the image should show.")],
    ctx: ToolContext,
) -> str:
    """Makes an image in one of the styles."""
    (chosen,) = await choose_styles(client_of(ctx), [style])
    return _message(
        f"Make an image with generate_image and apply_styles={[chosen.name]!r}; leave the look"
        " itself out of the prompt.",
        f"It should show: {image}",
    )


async def explore_idea(
    idea: Annotated[Wish, Field(description="What the images should show.")],
    count: Annotated[str, Field(description="How many, 2 to 10.", max_length=2)] = "4",
) -> str:
    """Several images of one idea, with the cost first."""
    return _message(
        f"I want {count} images of one idea to choose from: {idea}",
        "1. Write one good prompt, and call estimate_cost with it and the count.",
        "2. Tell me what they would cost, and wait until I agree; where they cost nothing, go on.",
        "3. Call start_image_batch once, then get_next_image until its text says that the batch is"
        " over.",
        "4. Show me each image with its path, and say in a line what sets it apart.",
        "5. Ask which ones I like: give those 5 stars with organize_images, and offer to refine"
        " one.",
    )


async def refine_image(
    image_id: Annotated[str, Field(description="The id of an image.")],
    wish: Annotated[Wish, Field(description="What should be different.")],
    ctx: ToolContext,
) -> str:
    """Changes an image step by step."""
    image = await find_image(ctx, image_id)
    return _message(
        f"I want the image {image.id} changed: {wish}",
        f'1. Call show_image(image_id="{image.id}") and look at it.',
        f"2. Choose {_ways(ctx)}.",
        "3. If it costs money, tell me how much before you call it with more than one image.",
        "4. Show me the new image with its path, say what changed, and ask whether to go on from"
        " there.",
    )


def _ways(ctx: ToolContext) -> str:
    """Return what a listed tool is good for."""
    listed = current_state().offer.listed
    ways = [f"{tool} for {what}" for tool, what in _WAYS.items() if tool in listed]
    return ", ".join(ways) or "a new prompt for generate_image"


def _message(*lines: str) -> str:
    return "\n".join(line for line in lines if line)


# --- completion ---------------------------------------------------------------


async def complete(
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion | None:
    """Return the names that start with the typed text, then those that contain
    it.
    """
    names = await _names_for(
        ref.name if isinstance(ref, PromptReference) else ref.uri, argument.name
    )
    typed = argument.value.casefold()
    found = [name for name in names if typed in name.casefold()]
    found.sort(key=lambda name: not name.casefold().startswith(typed))
    return Completion(
        values=found[:_MOST_COMPLETIONS], total=len(found), has_more=len(found) > _MOST_COMPLETIONS
    )


async def _names_for(what: str, argument: str) -> Iterable[str]:
    client = current_client()
    match what, argument:
        case "use_prompt", "name":
            return [prompt.name for prompt in await client.prompts.list(limit=1000)]
        case "use_style", "style":
            return await client.styles()
        case _, "name" if what == COLLECTION_URI:
            return [collection.name for collection in await client.library.collections.list()]
        case "refine_image", "image_id":
            return [image.id for image in await client.library.list(limit=20)]
        case _:
            return ()
