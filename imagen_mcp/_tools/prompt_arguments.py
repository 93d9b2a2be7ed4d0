"""Kept prompts and styles in the arguments of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
import trio
from pydantic import Field

import imagen

from .._context import ToolContext, client_of
from .._results.text import clip_line, no_such

__all__ = ["ApplyStyles", "Values", "WordedPrompt", "choose_styles", "fill", "find_prompt", "word"]

_MOST_PROMPTS = 100

WordedPrompt = Annotated[
    str, Field(description="What the image should show, or @NAME: a saved prompt.")
]
Values = Annotated[dict[str, str] | None, Field(description="Variables of @NAME.", max_length=100)]
ApplyStyles = Annotated[
    list[str] | None, Field(description="Names from imagen://styles.", max_length=10)
]


async def word(
    ctx: ToolContext,
    request: imagen.Generate,
    values: Mapping[str, str] | None,
    styles: Sequence[str] | None,
) -> imagen.Generate:
    """Return the request with its kept prompt filled in and its styles applied.

    Raises:
        InvalidRequestError: unknown prompt, style or variable; the message
            lists the known ones.
    """
    client = client_of(ctx)
    # Hosts fill in optional fields with empty text.
    chosen = await choose_styles(client, [name for name in styles or () if name])
    if request.prompt.startswith("@"):
        kept = await find_prompt(client, request.prompt[1:])
        text = await fill(client, kept, values or {})
        base = imagen.prompts.apply_styles(
            msgspec.structs.replace(request, prompt=""), (kept.as_style(),)
        )
        request = msgspec.structs.replace(base, prompt=text)
        chosen = (*await choose_styles(client, kept.styles), *chosen)
    elif values:
        raise imagen.InvalidRequestError(
            "Only a prompt that is kept has variables: name one as @NAME, or leave out values."
        )
    return imagen.prompts.apply_styles(request, chosen)


async def choose_styles(
    client: imagen.Client, names: Sequence[str]
) -> tuple[imagen.prompts.Style, ...]:
    """The styles of these names."""
    if not names:
        return ()
    known = await client.styles()
    for name in names:
        if name not in known:
            raise no_such("style", name, list(known))
    return imagen.prompts.choose_styles(known, names)


async def find_prompt(client: imagen.Client, name: str) -> imagen.prompts.Prompt:
    """The kept prompt of that name."""
    found = await client.prompts.get(name)
    if found is None:
        raise no_such(
            "prompt", name, [one.name for one in await client.prompts.list(limit=_MOST_PROMPTS)]
        )
    return found


async def fill(
    client: imagen.Client, kept: imagen.prompts.Prompt, values: Mapping[str, str]
) -> str:
    """Return the one text of a kept prompt with these values."""
    template = imagen.prompts.Template.parse(kept.text)
    folder = client.settings.home / "wildcards"
    wildcards = await trio.to_thread.run_sync(imagen.prompts.read_wildcards, folder, template)
    texts = template.expand(values, wildcards)
    if texts.total != 1:
        raise imagen.InvalidRequestError(
            f"The prompt {kept.name!r} stands for several prompts: write out the one that is meant,"
            f" without @. It is: {clip_line(kept.text, 200)}"
        )
    return texts[0]
