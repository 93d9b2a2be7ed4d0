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
    return await client._services.runtime.workers.run(partial(_keep, client, data, name))


def _keep(client: Client, data: bytes, name: str) -> InputView:
    seen = as_seen(data, max_pixels=client.settings.bounds.max_pixels)
    kept = data if kind_of(data) else seen.data
    sha256 = hashlib.sha256(kept).hexdigest()
    client.library.files.store_input(kept, sha256=sha256, media_type=kind_of(kept))
    return InputView(
        input=sha256,
        media_type=kind_of(kept),
        width=seen.width,
        height=seen.height,
        size_bytes=len(kept),
        name=name[:_LONGEST_NAME],
    )
