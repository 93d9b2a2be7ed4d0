"""Names of images: each that a result hands out is accepted back.

Callers say an id, its beginning, `ID.png`, `imagen://images/ID`, or the path of
the file. A name that can be an id is looked up in the library and never opened
as a file of a server with remote callers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import trio

import imagen

from .._context import ToolContext, client_of, current_state
from .._results.text import clip_line

__all__ = ["find_image", "id_in", "image_source", "image_sources"]

_WHOLE = re.compile(
    r"(?:imagen://images/)?([0-9a-f]{16})(?:\.(?:png|jpe?g|webp|gif))?(?:/thumbnail)?/?", re.I
)
# Not with a suffix: "face.png" is a file that is not there.
_BEGINNING = re.compile(r"(?:imagen://images/)?([0-9a-f]{1,15})", re.I)
_ID_DIGITS = 16
# A source is paid for, and one letter may be the beginning of another image.
_LEAST_DIGITS = 4
_LONGEST_PATH = 4096


def id_in(name: str) -> str | None:
    """Return the id, or the beginning of one, in the name of an image; None if
    the name has none.
    """
    match = _WHOLE.fullmatch(name.strip()) or _BEGINNING.fullmatch(name.strip())
    return None if match is None else match[1].lower()


async def find_image(ctx: ToolContext, name: str) -> imagen.Image:
    """Return the image of the library that has this name.

    Raises:
        InvalidRequestError: no image matches, or several do.
    """
    image = await _look_up(client_of(ctx), name)
    if image is None:
        raise imagen.InvalidRequestError(
            f"There is no image {clip_line(name, 40)!r} in the library: search_images finds ids."
        )
    return image


async def image_sources(
    ctx: ToolContext, names: Sequence[str] | None
) -> tuple[imagen.ImageSource, ...]:
    """Return the sources of several images."""
    return tuple([await image_source(ctx, name) for name in names or () if name])


async def image_source(ctx: ToolContext, name: str) -> imagen.ImageSource:
    """Return the source of an image that an assistant names; no local file if
    the server has remote callers.

    Raises:
        InvalidRequestError: the source is not allowed here, or not there.
    """
    if name.strip().lower().startswith(("https://", "data:")):
        return name
    if current_state().local_files and not _is_uri(name):
        return await _local_source(ctx, name)
    if _is_uri(name) or _is_long_enough(name):
        return await find_image(ctx, name)
    if (image := await _image_of_file(client_of(ctx), name)) is not None:
        return image
    raise imagen.InvalidRequestError(
        f"{clip_line(name, 200)!r}: this server opens no files; give the id of an image that it"
        " made, an https URL or a data URL."
    )


async def _local_source(ctx: ToolContext, name: str) -> imagen.ImageSource:
    """Return an image of the library, or a path."""
    client = client_of(ctx)
    is_whole_id = len(id_in(name) or "") == _ID_DIGITS
    if not is_whole_id and await trio.to_thread.run_sync(_exists, name):
        return await _image_of_file(client, name) or name
    if id_in(name) is None:
        return name
    if not _is_long_enough(name):
        raise imagen.InvalidRequestError(
            f"There is no file {name!r}, and an id needs at least {_LEAST_DIGITS} digits."
        )
    return await _look_up(client, name) or name


async def _look_up(client: imagen.Client, name: str) -> imagen.Image | None:
    if (image_id := id_in(name)) is not None:
        return await client.library.get(image_id)
    return await _image_of_file(client, name)


async def _image_of_file(client: imagen.Client, name: str) -> imagen.Image | None:
    """Return the image whose file has this path, which is not opened."""
    if len(name) > _LONGEST_PATH:
        return None
    return await client.library.of_file(name)


def _is_uri(name: str) -> bool:
    return name.strip().lower().startswith("imagen://")


def _is_long_enough(name: str) -> bool:
    return len(id_in(name) or "") >= _LEAST_DIGITS


def _exists(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
