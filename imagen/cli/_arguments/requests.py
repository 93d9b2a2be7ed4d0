"""The request that a command line asks for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import trio

from ... import (
    Edit,
    Enhance,
    Generate,
    InvalidRequestError,
    JsonValue,
    Request,
    Restyle,
    Vary,
    requests_from,
)
from .options import user_path
from .template_options import fill_request, read_words

__all__ = ["operation_name", "read_requests"]

_COMMON = (
    "model",
    "size",
    "aspect_ratio",
    "resolution",
    "quality",
    "style",
    "seed",
    "negative_prompt",
    "guidance",
    "steps",
    "safety",
    "background",
    "output_format",
    "previews",
    "strict",
    "tag",
)


def operation_name(request: Request) -> str:
    """The name of the operation, for an image that has no prompt."""
    return type(request).__name__.lower()


async def read_requests(options: argparse.Namespace) -> Sequence[Request]:
    """Return the requests of the table that is given, or the one of the command
    line, once for each image.
    """
    if options.table is None:
        return [await _read_request(options)] * options.n
    if options.prompt is not None or options.set or options.together:
        raise InvalidRequestError(
            "--from reads the prompts from a table: leave out PROMPT, --set and --together."
        )
    fields = {**_read_fields(options), "references": tuple(options.reference)}
    made = await trio.to_thread.run_sync(
        lambda: requests_from(_open_table(options.table), n=options.n, **fields)
    )
    return [await fill_request(request, options) for request in made]


def _open_table(name: str) -> bytes | Path:
    return sys.stdin.buffer.read() if name == "-" else user_path(name)


async def _read_request(options: argparse.Namespace) -> Request:
    """The request of a making command; a prompt of "-" is read from standard
    input, one of "@NAME" is a kept one.
    """
    return await fill_request(await _read_bare_request(options), options)


async def _read_bare_request(options: argparse.Namespace) -> Request:
    if options.prompt is None:
        raise InvalidRequestError("Give a prompt, or a table of prompts with --from FILE.")
    fields = {"prompt": await read_words(options.prompt), **_read_fields(options)}
    match options.operation:
        case "generate":
            return Generate(**fields, references=tuple(options.reference))
        case "edit":
            return Edit(**fields, images=tuple(options.image), mask=options.mask)
        case "vary":
            return Vary(
                **fields, image=options.image, strength=options.strength, emulate=options.emulate
            )
        case "enhance":
            return Enhance(
                **fields,
                image=options.image,
                scale=options.scale,
                mode=options.mode,
                emulate=options.emulate,
            )
        case _:
            return Restyle(
                **fields,
                image=options.image,
                reference=options.reference,
                strength=options.strength,
                emulate=options.emulate,
            )


def _read_fields(options: argparse.Namespace) -> dict[str, Any]:
    return {
        **{name: getattr(options, name) for name in _COMMON},
        "assume_usd": options.assume,
        "options": _read_options(options.option),
    }


def _read_options(pairs: list[str]) -> Mapping[str, JsonValue]:
    """Parse NAME=VALUE; the value is JSON if it can be, else text."""
    found: dict[str, JsonValue] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidRequestError(f"--option takes NAME=VALUE, not {pair!r}.")
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[name] = text
    return found
