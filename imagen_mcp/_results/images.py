"""Image in a result: facts, text, and the image itself.

Hosts count base64 in text or structured content as words, refuse results above
1 MiB, and break a conversation permanently over images above 2000 pixels
(docs/mcp.md). So the bytes of an image are bounded, and only in an image block.
"""

from __future__ import annotations

import base64
import os
from typing import NamedTuple

import trio
from mcp.types import (
    Annotations,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextResourceContents,
)
from pydantic import BaseModel

import imagen

from .chat_errors import sentence
from .text import clip, clip_line, dollars, spoken

__all__ = ["Blocks", "ImageInfo", "describe", "image_blocks", "model_of", "read_image"]

# As JPEG, which every host shows.
_PREVIEW = imagen.library.Transform(width=768, height=768, format="jpeg", quality=80)
# 525,000 bytes are 700,000 characters of base64.
_INLINE_BYTES = 525_000
_INLINE_SIDE = 2000
_TOO_LARGE = "It is too large to be shown in full here"
_SVG = "image/svg+xml"
# The metadata of an imported image is untrusted.
_MODEL = 100
_WORD = 60
_MOST_CHANGES = 20


class ImageInfo(BaseModel):
    """Finished image. `uri` is None if the disk failed; `cached` if the library
    had it already, for nothing.
    """

    id: str
    uri: str | None
    path: str | None
    media_type: str
    width: int
    height: int
    size_bytes: int
    model: str
    cost_usd: str | None
    cached: bool
    parent_id: str | None
    adjustments: list[str]


class Blocks(NamedTuple):
    """Image as blocks of content, and notes about them."""

    content: list[ContentBlock]
    notes: list[str]


def read_image(image: imagen.Image) -> ImageInfo:
    """The facts."""
    return ImageInfo(
        id=image.id,
        uri=_uri(image),
        path=None if image.path is None else str(image.path),
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        model=model_of(image),
        cost_usd=dollars(image.cost.usd),
        cached=image.cached,
        parent_id=image.parent_id,
        adjustments=_changes(image),
    )


def describe(image: imagen.Image, name: str) -> str:
    """Return the facts for an assistant that cannot see the image yet."""
    lines = [
        f"{name}: {image.width}x{image.height} {image.media_type}, {image.size_bytes:,} bytes, by"
        f" {model_of(image)}, {_cost(image)}."
    ]
    if image.path is not None:
        lines += [f"File: {image.path}", f"Resource: {_uri(image)}"]
    if image.storage_error is not None:
        lines.append(f"The disk failed: {image.storage_error}")
    if image.revised_prompt:
        lines.append(f"The provider's wording of the prompt: {clip(image.revised_prompt)}")
    return "\n".join([*lines, *_changes(image)])


def model_of(image: imagen.Image) -> str:
    """The model on one line."""
    return clip_line(image.model, _MODEL)


def _cost(image: imagen.Image) -> str:
    if image.cached:
        return "free, as the library had it already"
    return (
        "cost an unknown amount"
        if image.cost.usd is None
        else f"cost {spoken(image.cost.usd)} ({image.cost.source})"
    )


def _changes(image: imagen.Image) -> list[str]:
    """Return a sentence for each field that was not sent as asked."""
    sentences: list[str] = []
    for change in image.adjustments[:_MOST_CHANGES]:
        sent = "left out" if change.sent is None else f"sent as {clip(change.sent)}"
        sentences.append(
            f"{clip_line(change.field, _WORD)} {clip(change.asked)!r} was {sent}:"
            f" {clip(change.reason)}."
        )
    return sentences


def _uri(image: imagen.Image) -> str | None:
    return None if image.path is None else f"imagen://images/{image.id}"


async def image_blocks(client: imagen.Client, image: imagen.Image, *, full: bool) -> Blocks:
    """Return the image itself if it is asked for and fits, else a preview; and
    a link.
    """
    # If the disk failed, this result holds the only copy.
    full = full or image.path is None
    inline = full and _fits(image)
    try:
        shown = await (_read_whole(image) if inline else _preview(client, image))
    except imagen.StorageError as error:
        return Blocks([], [f"There is no preview. [{error.code}] {sentence(error)}"])
    except imagen.ConfigurationError as error:
        return Blocks(_source(image), [f"There is no preview. {sentence(error)}"])
    except imagen.InvalidRequestError:
        return Blocks(_source(image), ["There is no preview: the image cannot be decoded."])
    notes = [shown.note]
    if full and not inline and image.path is not None:
        why = "An SVG is not shown by hosts" if image.media_type == _SVG else _TOO_LARGE
        notes.append(f"{why}: open the file, or read {_uri(image)}.")
    content = ImageContent(
        data=base64.b64encode(shown.data).decode(),
        mime_type=shown.media_type,
        annotations=Annotations(audience=["user", "assistant"]),
    )
    return Blocks([content, *_source(image)], notes)


def _fits(image: imagen.Image) -> bool:
    is_small = image.size_bytes <= _INLINE_BYTES and max(image.width, image.height) <= _INLINE_SIDE
    return is_small and image.media_type != _SVG


def _source(image: imagen.Image) -> list[ContentBlock]:
    """Return the link to the file, or the text of an SVG that has no file: no
    host shows it as an image.
    """
    if image.path is not None or image.media_type != _SVG or image.size_bytes > _INLINE_BYTES:
        return _links(image)
    text = image.data.decode("utf-8", "replace")
    uri = f"imagen://images/{image.id}"
    return [
        EmbeddedResource(resource=TextResourceContents(uri=uri, mime_type=_SVG, text=text)),
    ]


def _links(image: imagen.Image) -> list[ContentBlock]:
    # Some hosts throw away a whole result that holds a link.
    uri = _uri(image)
    if uri is None or os.environ.get("IMAGEN_MCP_LINKS", "").strip() == "0":
        return []
    return [
        ResourceLink(
            name=f"{image.id}{image.suffix}",
            uri=uri,
            mime_type=image.media_type,
            size=image.size_bytes,
            annotations=Annotations(audience=["user"]),
        )
    ]


class _Shown(NamedTuple):
    data: bytes
    media_type: str
    note: str


async def _read_whole(image: imagen.Image) -> _Shown:
    data = await trio.to_thread.run_sync(lambda: image.data)
    return _Shown(data, image.media_type, "The image is shown in full.")


async def _preview(client: imagen.Client, image: imagen.Image) -> _Shown:
    if image.media_type == _SVG:
        # A rendition may be a placeholder, which shows nothing of the image.
        data = await trio.to_thread.run_sync(
            lambda: imagen.library.apply_transform(image.data, _PREVIEW)
        )
        return _Shown(data, "image/jpeg", "Shown is a drawing of the SVG, not the file itself.")
    data = await client.renditions.read(image, _PREVIEW)
    return _Shown(
        data, "image/jpeg", "Shown is a preview of at most 768 pixels a side, not the image itself."
    )
