"""Input images: read from wherever they are, remembered without their bytes."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import partial
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from .._errors import ImagenError, InvalidRequestError, StorageError
from .._requests.catalog import InputLimits, Model
from .._requests.request import (
    Edit,
    Generate,
    ImageSource,
    InputImage,
    Request,
    sources_of,
    with_sources,
)
from .._system.base64_text import is_data_url
from .._system.texts_of_users import (
    decode_data_url,
    is_file_uri,
    path_of_uri,
    user_path,
)
from ..metadata._embed import kind_of
from ..metadata._seen import SeenImage, as_seen
from ..providers._provider import EncodedImage
from .runtime import Runtime

__all__ = ["InputReader", "Inputs", "parent_of"]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Encoded input images, and the request with an `InputImage` in the place
    of each.
    """

    request: Request
    encoded: tuple[EncodedImage, ...] = ()
    parent_id: str | None = None


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """Input image: how it is remembered, the bytes that the library keeps, and
    those that are sent.
    """

    image: InputImage
    kept: bytes
    sent: EncodedImage


class InputReader:
    """Reader of input images: bytes, files, https URLs, images of the library."""

    def __init__(self, runtime: Runtime) -> None:
        self._library = runtime.library
        self._workers = runtime.workers
        self._fetch = runtime.connections.fetch
        self._bounds = runtime.settings.bounds

    async def read(self, request: Request, model: Model) -> Inputs:
        """Read and check every input image of a request, and keep it in the
        library.

        Raises:
            InvalidRequestError: an image is missing, not an image, or not one
                that the model takes.
            StorageError: the library cannot be read or written.
        """
        sources = sources_of(request)
        if not sources:
            return Inputs(request=request)
        found = [await self._read_one(source) for source in sources]
        encoded = tuple(one.sent for one in found)
        _check_inputs(request, encoded, model)
        remembered = tuple(one.image for one in found)
        if self._library is not None:
            for one in found:
                await self._library.keep_input(
                    one.kept, sha256=one.image.sha256, media_type=one.image.media_type
                )
        return Inputs(
            request=with_sources(request, remembered),
            encoded=encoded,
            parent_id=remembered[0].id if not hasattr(request, "references") else None,
        )

    async def _read_one(self, source: ImageSource) -> _Found:
        data, image_id, name = await self._load(source)
        self._check_bytes(len(data), name)
        seen = await self._workers.run(partial(self._see, data, name))
        # The library keeps what the caller gave, if it holds such files.
        kept = data if kind_of(data) else seen.data
        image = InputImage(
            sha256=await self._workers.run(lambda: hashlib.sha256(kept).hexdigest()),
            media_type=kind_of(kept),
            width=seen.width,
            height=seen.height,
            id=image_id,
            name=name,
        )
        sent = EncodedImage(
            data=seen.data, media_type=seen.media_type, width=seen.width, height=seen.height
        )
        return _Found(image=image, kept=kept, sent=sent)

    def _see(self, data: bytes, name: str | None) -> SeenImage:
        try:
            seen = as_seen(data, max_pixels=self._bounds.max_pixels)
        except InvalidRequestError as error:
            raise InvalidRequestError(
                f"{name or 'The image'} cannot be used. {error.message}", code="INVALID_PROMPT"
            ) from error
        if seen.width * seen.height > self._bounds.max_pixels:
            raise InvalidRequestError(
                f"{name or 'The image'} has {seen.width} x {seen.height} pixels, which is"
                " more than imagen opens; make it smaller."
            )
        return seen

    def _check_bytes(self, size_bytes: int, name: str | None) -> None:
        if size_bytes > self._bounds.max_input_bytes:
            raise InvalidRequestError(
                f"{name or 'The image'} has {size_bytes:,} bytes; an image may have"
                f" {self._bounds.max_input_bytes:,}."
            )

    async def _load(self, source: ImageSource) -> tuple[bytes, str | None, str | None]:
        """The bytes, the id in the library, and what to call it."""
        match source:
            case bytes():
                return source, None, None
            case InputImage():
                return await self._load_remembered(source), source.id, source.name
            case str() if is_data_url(source):
                decode = partial(decode_data_url, max_bytes=self._bounds.max_input_bytes)
                return await self._workers.run(partial(decode, source)), None, None
            case str() if is_file_uri(source):
                return await self._load_file(path_of_uri(source))
            case str() if "://" in source:
                host = _read_host(source)
                return await self._load_link(source, host), None, host
            case str():
                return await self._load_word(source)
            case PathLike():
                return await self._load_file(user_path(source))
            case _ if hasattr(source, "data") and hasattr(source, "id"):
                return await self._workers.run(lambda: source.data), source.id, None
            case _:
                raise InvalidRequestError(
                    "An image to work on is bytes, a path, an https URL, an id or an Image, not"
                    f" {type(source).__name__}."
                )

    async def _load_file(self, path: Path) -> tuple[bytes, str | None, str | None]:
        read = partial(_read_file, path, self._bounds.max_input_bytes)
        return await self._workers.run(read), None, path.name

    async def _load_word(self, word: str) -> tuple[bytes, str | None, str | None]:
        """A path that is there, or else an id in the library."""
        if not word.strip():
            raise InvalidRequestError(
                "The image to work on is an empty text: give a path, an https URL or an id."
            )
        path = user_path(word)
        # Unlike Path.exists, this is false for invalid names and for files that
        # may not be read.
        if await self._workers.run(partial(os.path.exists, path)):
            return await self._load_file(path)
        image = None if self._library is None else await self._library.get(word)
        if image is None:
            raise InvalidRequestError(
                f"There is no file {word[:200]!r}, and no image of that id in the library."
            )
        return await self._workers.run(lambda: image.data), image.id, None

    async def _load_remembered(self, image: InputImage) -> bytes:
        data = (
            None
            if self._library is None
            else await self._workers.run(partial(self._library.files.find_input, image.sha256))
        )
        if data is None:
            raise InvalidRequestError(
                f"The library does not keep the image {image.sha256[:12]} any more: give it again."
            )
        return data

    async def _load_link(self, url: str, host: str) -> bytes:
        try:
            return await self._fetch(url)
        except StorageError:
            raise
        except ImagenError as error:
            # Nothing has been sent yet, whatever the server did.
            raise InvalidRequestError(
                f"The image at {host} cannot be read. {error.message}"
            ) from error


def _read_host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        raise InvalidRequestError(
            f"{url[:200]!r} is not a URL: give one such as https://example.com/image.png."
        ) from None


def _read_file(path: Path, most_bytes: int) -> bytes:
    try:
        # Without waiting, or a named pipe would hold the thread for ever.
        descriptor = os.open(
            path,
            os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0),
        )
        with open(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidRequestError(f"{path} is not a file.")
            if status.st_size > most_bytes:
                raise InvalidRequestError(
                    f"{path} has {status.st_size:,} bytes; an image may have {most_bytes:,}."
                )
            return file.read(most_bytes)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidRequestError(f"The image {path} cannot be read: {reason or error}.") from error


def _check_inputs(request: Request, encoded: tuple[EncodedImage, ...], model: Model) -> None:
    limits = model.capabilities.inputs
    masked = isinstance(request, Edit) and request.mask is not None
    for number, encoded_image in enumerate(encoded[:-1] if masked else encoded, start=1):
        if complaint := _complaint(encoded_image, limits):
            which = "The image" if len(encoded) == 1 else f"Image {number}"
            raise InvalidRequestError(
                f"{which} does not suit {model.id}: {complaint}.", code="INVALID_PROMPT"
            )
    if masked and (encoded[-1].width, encoded[-1].height) != (encoded[0].width, encoded[0].height):
        raise InvalidRequestError(
            f"The mask has {encoded[-1].width}x{encoded[-1].height} pixels, the image"
            f" {encoded[0].width}x{encoded[0].height}: make them the same."
        )


def _complaint(encoded_image: EncodedImage, limits: InputLimits) -> str | None:
    long_side, short_side = (
        max(encoded_image.width, encoded_image.height),
        min(encoded_image.width, encoded_image.height),
    )
    pixels = encoded_image.width * encoded_image.height
    if encoded_image.media_type not in limits.media_types:
        return (
            f"it is {encoded_image.media_type}, and the model takes {', '.join(limits.media_types)}"
        )
    if short_side < limits.min_side:
        return (
            f"its short side has {short_side} pixels, and the model takes {limits.min_side} and"
            " more"
        )
    if limits.max_side is not None and long_side > limits.max_side:
        return (
            f"its long side has {long_side:,} pixels, and the model takes at most"
            f" {limits.max_side:,}"
        )
    if pixels < limits.min_pixels or (limits.max_pixels is not None and pixels > limits.max_pixels):
        most = "" if limits.max_pixels is None else f" and at most {limits.max_pixels:,}"
        return f"it has {pixels:,} pixels, and the model takes at least {limits.min_pixels:,}{most}"
    if limits.max_ratio is not None and long_side > limits.max_ratio * short_side:
        return f"its long side is more than {limits.max_ratio:g} times the short one"
    if limits.max_bytes is not None and len(encoded_image.data) > limits.max_bytes:
        return (
            f"it has {len(encoded_image.data):,} bytes, and the model takes at most"
            f" {limits.max_bytes:,}"
        )
    return None


def parent_of(request: Request) -> str | None:
    """Return the id of the image that a remembered request changes, if the
    library had it.
    """
    sources = () if isinstance(request, Generate) else sources_of(request)
    return getattr(sources[0], "id", None) if sources else None
