"""Requests as the API says them: the library's fields, with images as objects
in place of paths, which a page must not name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..._client.client import Client
from ..._requests.request import (
    Edit,
    Enhance,
    Generate,
    InputImage,
    Request,
    Restyle,
    Vary,
    sources_of,
    with_sources,
)
from ..._results.images import Image
from ...metadata._image_header import read_image_header
from .errors import ApiError

__all__ = [
    "AskedRequest",
    "Source",
    "find_image",
    "read_input",
    "read_request",
    "repeated",
    "write_request",
]

_OPERATIONS = (Generate, Edit, Vary, Enhance, Restyle)


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Image to work on: `id` of one in the library, or `input`, the handle of
    an upload.
    """

    id: str | None = None
    input: str | None = None


_TYPES: Final[dict[str, object]] = {
    "image": Source,
    "reference": Source,
    "mask": Source | None,
    "images": tuple[Source, ...],
    "references": tuple[Source, ...],
}


def _asked(operation: type[Request]) -> type[msgspec.Struct]:
    """Return the operation with sources as images, and with a parent."""
    fields: list[tuple[str, Any, Any]] = [
        (field.name, _TYPES.get(field.name, field.type), _default(field))
        for field in msgspec.structs.fields(operation)
    ]
    return msgspec.defstruct(
        operation.__name__,
        [*fields, ("parent", str | None, None)],
        tag=operation.__struct_config__.tag,
        tag_field="operation",
        kw_only=True,
        forbid_unknown_fields=True,
        omit_defaults=True,
        module=__name__,
    )


def _default(field: msgspec.structs.FieldInfo) -> object:
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.NODEFAULT if field.required else field.default


_ASKED: Final = tuple(_asked(operation) for operation in _OPERATIONS)
if TYPE_CHECKING:
    AskedRequest = msgspec.Struct
    """Request of the API; `operation` tells which."""
else:
    AskedRequest = reduce(or_, _ASKED)


async def read_request(client: Client, asked: msgspec.Struct) -> Request:
    """Return a request of the API as one of the library.

    Raises:
        ApiError: an image is unknown.
        ImagenError: a field is wrong.
    """
    values = {name: getattr(asked, name) for name in asked.__struct_fields__}
    parent = values.pop("parent")
    operation = _OPERATIONS[_ASKED.index(type(asked))]
    request: Request = operation(**values)
    sources = [await _find(client, source) for source in _sources(request)]
    if parent is not None and sources:
        sources[0] = msgspec.structs.replace(sources[0], id=await _known(client, parent))
    return with_sources(request, tuple(sources))


def _sources(request: Request) -> Iterator[Source]:
    for source in sources_of(request):
        assert isinstance(source, Source), "decoded as such"
        yield source


async def _find(client: Client, source: Source) -> InputImage:
    if (source.id is None) == (source.input is None):
        raise ApiError(
            400,
            "INVALID_REQUEST",
            "An image to work on is an object with `id`, for one of the library, or `input`, for"
            " an upload.",
        )
    if source.id is not None:
        image = await find_image(client, source.id)
        return InputImage(
            sha256=image.sha256,
            media_type=image.media_type,
            width=image.width,
            height=image.height,
            id=image.id,
        )
    return await find_input(client, source.input or "")


async def _known(client: Client, image_id: str) -> str:
    return (await find_image(client, image_id)).id


async def find_image(client: Client, image_id: str) -> Image:
    """Return an image of the library.

    Raises:
        ApiError: there is none of that id.
    """
    # Exactly this one: what an address names must never change.
    found = await client.library.of_ids([image_id])
    if not found:
        raise ApiError(404, "NOT_FOUND", f"There is no image {image_id[:80]!r} in the library.")
    return found[0]


async def find_input(client: Client, handle: str) -> InputImage:
    """Return an upload as the library remembers it.

    Raises:
        ApiError: there is none of that handle.
    """
    data = await read_input(client, handle)
    header = read_image_header(data)
    return InputImage(
        sha256=handle, media_type=header.media_type, width=header.width, height=header.height
    )


async def read_input(client: Client, handle: str) -> bytes:
    """Return the bytes of an upload.

    Raises:
        ApiError: there is none of that handle.
    """
    workers = client._services.runtime.workers
    data = await workers.run(partial(client.library.files.find_input, handle))
    if data is None:
        raise ApiError(404, "NOT_FOUND", f"There is no upload {handle[:80]!r}: upload it again.")
    return data


def write_request(request: Request) -> dict[str, Any]:
    """Return a request of the library as the API says it, to be sent again."""
    written: dict[str, Any] = msgspec.to_builtins(request)
    for name in _TYPES.keys() & written.keys():
        given = written[name]
        written[name] = (
            [*map(_handle, given)] if isinstance(given, list | tuple) else _handle(given)
        )
    if not isinstance(request, Generate) and (parent := _parent(request)) is not None:
        written["parent"] = parent
    return written


def _handle(source: Any) -> dict[str, str]:
    # Words other than these are of requests that were never sent.
    return {"input": source["sha256"]} if isinstance(source, dict) else {"id": source}


def _parent(request: Request) -> str | None:
    first = sources_of(request)[0]
    return first.id if isinstance(first, InputImage) else None


def repeated(requests: list[Request], n: int) -> list[Request]:
    """Return each request n times, a seed counted up."""
    return [_with_seed(request, number) for request in requests for number in range(n)]


def _with_seed(request: Request, number: int) -> Request:
    if request.seed is None or not number:
        return request
    return msgspec.structs.replace(request, seed=request.seed + number)
