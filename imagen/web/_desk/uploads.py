"""Images that the page uploads: kept with the inputs of the library."""

from __future__ import annotations

import hashlib
from functools import partial

import msgspec

from ..._client.client import Client
from ...metadata._embed import kind_of
from ...metadata._seen import as_seen

__all__ = ["InputView", "keep_upload"]

_LONGEST_NAME = 200


class InputView(msgspec.Struct, frozen=True, kw_only=True):
    """Upload; `input` is its handle, made of the bytes."""

    input: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    name: str


async def keep_upload(client: Client, data: bytes, name: str) -> InputView:
    """Keep an image that the page uploads.

    Raises:
        InvalidRequestError: it is not an image.
        StorageError: it cannot be written.
    """
    look = partial(_look, data, name, client.settings.bounds.max_pixels)
    kept, view = await client._services.runtime.workers.run(look)
    await client.library.keep_input(kept, sha256=view.input, media_type=view.media_type)
    return view


def _look(data: bytes, name: str, max_pixels: int) -> tuple[bytes, InputView]:
    """Return the bytes to be kept, and what the page hears of them."""
    seen = as_seen(data, max_pixels=max_pixels)
    kept = data if kind_of(data) else seen.data
    return kept, InputView(
        input=hashlib.sha256(kept).hexdigest(),
        media_type=kind_of(kept),
        width=seen.width,
        height=seen.height,
        size_bytes=len(kept),
        name=name[:_LONGEST_NAME],
    )
