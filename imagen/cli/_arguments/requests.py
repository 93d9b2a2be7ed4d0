"""The request that a command line asks for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import msgspec

from ... import Edit, Enhance, Generate, InvalidRequestError, JsonValue, Request, Restyle, Vary
from .template_options import fill_request, read_words

__all__ = ["operation_name", "read_request"]

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


async def read_request(options: argparse.Namespace) -> Request:
    """The request of a making command; a prompt of "-" is read from standard
    input, one of "@NAME" is a kept one.
    """
    return await fill_request(await _read_bare_request(options), options)


async def _read_bare_request(options: argparse.Namespace) -> Request:
    prompt = await read_words(options.prompt)
    fields = {name: getattr(options, name) for name in _COMMON}
    fields |= {
        "prompt": prompt,
        "assume_usd": options.assume,
        "options": _read_options(options.option),
    }
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
