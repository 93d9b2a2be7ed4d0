"""Calls around prompts: saved ones, styles, templates with wildcards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import msgspec

from ..._requests.catalog import JsonValue
from ...prompts._prompt import Prompt
from ...prompts._styles import Style, apply_styles, choose_styles
from ...prompts._templates import Template, read_wildcards
from .._desk.desk import Desk
from .._wire.errors import ApiError
from .._wire.requests import AskedRequest, read_request, write_request
from .calls import Calls
from .curating import NameBody

__all__ = ["CALLS"]

CALLS = Calls()
_MOST_PROMPTS = 500
_MOST_TEXTS = 200


class PromptsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Words of the prompts, a tag, and whether only favourites are meant."""

    q: str = ""
    tag: str | None = None
    favourites: bool = False


class PromptsReply(msgspec.Struct, frozen=True, kw_only=True):
    """Saved prompts by name."""

    prompts: Sequence[Prompt]


class PromptBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompt to be saved; tags and notes that are None stay."""

    name: str
    text: str
    negative_prompt: str | None = None
    styles: Sequence[str] = ()
    parameters: Mapping[str, JsonValue] = {}
    tags: Sequence[str] | None = None
    notes: str | None = None


class FavourBody(NameBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prompt, and whether it is a favourite."""

    favourite: bool = True


@CALLS.get("prompts")
async def prompts(desk: Desk, *, query: PromptsQuery) -> PromptsReply:
    """List saved prompts."""
    found = await desk.client.prompts.list(
        query.q,
        tag=query.tag,
        favourites=query.favourites,
        limit=_MOST_PROMPTS,
    )
    return PromptsReply(prompts=found)


@CALLS.post("prompts", status=201)
async def save_prompt(desk: Desk, *, body: PromptBody) -> Prompt:
    """Save a prompt; under a name that exists, as a new version."""
    saved = await desk.client.prompts.save(
        body.name,
        body.text,
        negative_prompt=body.negative_prompt,
        styles=body.styles,
        parameters=body.parameters,
        tags=body.tags,
        notes=body.notes,
    )
    desk.events.add("prompts", {})
    return saved


@CALLS.post("prompts/favour")
async def favour_prompt(desk: Desk, *, body: FavourBody) -> PromptsReply:
    """Mark a prompt as favourite, or not any more."""
    _check(await desk.client.prompts.favour(body.name, body.favourite), body.name)
    desk.events.add("prompts", {})
    return await prompts(desk, query=PromptsQuery())


@CALLS.post("prompts/delete")
async def delete_prompt(desk: Desk, *, body: NameBody) -> PromptsReply:
    """Delete a prompt with all its versions."""
    _check(await desk.client.prompts.delete(body.name, all_versions=True), body.name)
    desk.events.add("prompts", {})
    return await prompts(desk, query=PromptsQuery())


def _check(is_there: bool, name: str) -> None:
    if not is_there:
        raise ApiError(404, "NOT_FOUND", f"There is no prompt {name[:100]!r}.")


# --- styles -------------------------------------------------------------------


class StylesReply(msgspec.Struct, frozen=True, kw_only=True):
    """Styles by name."""

    styles: Sequence[Style]


class ApplyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Request, and the styles that it gets."""

    request: AskedRequest
    styles: Sequence[str]


class ApplyReply(msgspec.Struct, frozen=True, kw_only=True):
    """Request with its styles applied."""

    request: dict[str, Any]


@CALLS.get("styles")
async def styles(desk: Desk) -> StylesReply:
    """List the styles."""
    found = await desk.client.styles()
    return StylesReply(styles=[found[name] for name in sorted(found)])


@CALLS.post("styles/apply")
async def apply(desk: Desk, *, body: ApplyBody) -> ApplyReply:
    """Apply styles to a request."""
    chosen = choose_styles(await desk.client.styles(), body.styles)
    request = await read_request(desk.client, body.request)
    plain = [msgspec.structs.replace(style, references=()) for style in chosen]
    return ApplyReply(request=write_request(apply_styles(request, plain)))


# --- templates ----------------------------------------------------------------


class ExpandBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Template, with values of its variables."""

    text: str
    values: Mapping[str, str | int | float | bool] = {}
    limit: Annotated[int, msgspec.Meta(ge=0, le=_MOST_TEXTS)] = 20


class ExpandReply(msgspec.Struct, frozen=True, kw_only=True):
    """Number of prompts of a template, and the first of them."""

    count: int
    texts: Sequence[str]
    variables: Sequence[str]
    wildcards: Sequence[str]


@CALLS.post("templates/expand")
async def expand(desk: Desk, *, body: ExpandBody) -> ExpandReply:
    """Count the prompts of a template, and return the first."""
    template = Template.parse(body.text)
    folder = desk.client.settings.home / "wildcards"
    wildcards = await desk.work(read_wildcards, folder, template)
    values = {name: str(value) for name, value in body.values.items()}
    expansions = template.expand(values, wildcards)
    return ExpandReply(
        count=template.count(wildcards),
        texts=list(islice(expansions, body.limit)),
        variables=[variable.name for variable in template.variables],
        wildcards=sorted(template.wildcards),
    )
