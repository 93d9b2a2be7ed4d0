"""Template variables and styles, for every command that takes a prompt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

import msgspec
import trio

from ... import InvalidRequestError, Request, load_settings
from ...prompts import (
    Expansions,
    Prompt,
    Style,
    Template,
    apply_styles,
    choose_styles,
    load_styles,
    open_prompts,
    read_wildcards,
)

__all__ = [
    "ResolvedPrompt",
    "add_filling",
    "add_values",
    "choose",
    "expand",
    "fill",
    "fill_request",
    "find_prompt",
    "not_there",
    "read_words",
]


def add_filling(parser: argparse.ArgumentParser) -> None:
    """The options of every command that takes a prompt."""
    group = parser.add_argument_group("the prompt")
    add_values(group)
    group.add_argument(
        "--apply-style",
        action="append",
        default=[],
        metavar="STYLE",
        help="style from `imagen style list`; several are nested",
    )


def add_values(parser: argparse._ActionsContainer) -> None:
    """`--set`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a variable, e.g. {{name}}; repeatable",
    )


async def read_words(prompt: str) -> str:
    """Return the prompt, read from standard input if it is "-"."""
    if prompt != "-":
        return prompt
    text: str = await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
    return text.strip()


class ResolvedPrompt(msgspec.Struct, frozen=True):
    """Prompt with its variables filled in: the texts, their request, and the
    styles applied to them.
    """

    base: Request
    prompts: Expansions
    styles: tuple[Style, ...] = ()


async def fill_request(request: Request, options: argparse.Namespace) -> Request:
    """The request with its prompt filled in and its styles put on.

    Without `--set` and "@" a prompt is not a template: its braces are literal.
    """
    chosen = await choose(options.apply_style)
    if not options.set and not request.prompt.startswith("@"):
        return apply_styles(request, chosen)
    filled = await fill(request, options.set)
    if filled.prompts.total != 1:
        raise InvalidRequestError(
            "The prompt stands for more than one: `imagen grid` makes them all, `imagen prompt use"
            " --sample 1` takes one of a kept one at random."
        )
    return apply_styles(
        msgspec.structs.replace(filled.base, prompt=filled.prompts[0]), (*filled.styles, *chosen)
    )


async def fill(request: Request, pairs: Sequence[str]) -> ResolvedPrompt:
    """Return all expansions of a template, or of the kept prompt @NAME, with
    these values.
    """
    if not request.prompt.startswith("@"):
        return ResolvedPrompt(request, await expand(request.prompt, pairs))
    kept = await find_prompt(request.prompt[1:])
    base = apply_styles(msgspec.structs.replace(request, prompt=""), (kept.as_style(),))
    return ResolvedPrompt(base, await expand(kept.text, pairs), await choose(kept.styles))


async def choose(names: Sequence[str]) -> tuple[Style, ...]:
    """The styles of these names."""
    if not names:
        return ()
    return choose_styles(await trio.to_thread.run_sync(load_styles, load_settings().home), names)


async def expand(text: str, pairs: Sequence[str]) -> Expansions:
    """Return all expansions of a template with these values and the user's
    wildcards.
    """
    template = Template.parse(text)
    wildcards = await trio.to_thread.run_sync(
        read_wildcards, load_settings().home / "wildcards", template
    )
    return template.expand(_read_values(pairs), wildcards)


def _read_values(pairs: Sequence[str]) -> Mapping[str, str]:
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InvalidRequestError(f"--set takes NAME=VALUE, not {pair!r}.")
        values[name.strip()] = value
    return values


async def find_prompt(name: str, version: int | None = None) -> Prompt:
    """The kept prompt of that name."""
    async with open_prompts(load_settings()) as prompts:
        found = await prompts.get(name, version)
    if found is None:
        raise not_there(name, "" if version is None else f" with a version {version}")
    return found


def not_there(name: str, which: str = "") -> InvalidRequestError:
    """Return the message for an unknown prompt."""
    return InvalidRequestError(
        f"There is no prompt {name[:100]!r}{which}: `imagen prompt list` lists them."
    )
