"""The wire format that OpenAI's Images API has and others imitate: replies,
lists and streams.
"""

from __future__ import annotations

import datetime
from collections.abc import Generator, Iterator
from decimal import Decimal, InvalidOperation
from typing import Annotated

import msgspec

from ..._errors import ProviderError
from .._provider import ListedModel
from .._steps import GeneratedImage, HttpResponse, LostImage, Step, Usage, WithheldImage
from .._wire.http import MALFORMED, collect_each, decode_base64, download, one_line, trace
from ._errors import refusal

__all__ = [
    "EventStream",
    "ImageItem",
    "ImagesReply",
    "decode_reply",
    "is_null",
    "read_images",
    "read_list",
    "read_usage",
    "read_usd",
]

# Raw leaves the base64 text where it is in the reply; a str field would copy 2
# MB and scan it for escapes.
_Text = msgspec.Raw


class ImageItem(msgspec.Struct):
    b64_json: _Text = msgspec.Raw(b"null")
    # None of them is worth a paid image, so their types are looked at when they
    # are read.
    url: object = None
    revised_prompt: object = None
    generation_id: object = None
    respect_moderation: object = None


# No bill has a million million tokens; more would overflow the money
# arithmetic.
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class _TokenDetails(msgspec.Struct):
    text_tokens: _Tokens = 0
    image_tokens: _Tokens = 0


class TokenUsage(msgspec.Struct):
    input_tokens: _Tokens = 0
    output_tokens: _Tokens = 0
    input_tokens_details: _TokenDetails | None = None
    output_tokens_details: _TokenDetails | None = None


class ImagesReply(msgspec.Struct):
    data: list[ImageItem] = []
    usage: msgspec.Raw = msgspec.Raw(b"null")


class _ListEntry(msgspec.Struct):
    id: str
    name: object = None
    display_name: object = None
    type: object = None
    shutdown_date: object = None


class _ModelList(msgspec.Struct):
    data: list[_ListEntry] = []
    models: list[_ListEntry] = []


_decode_images = msgspec.json.Decoder(ImagesReply).decode
_decode_usage = msgspec.json.Decoder(TokenUsage | None).decode
_decode_list = msgspec.json.Decoder(_ModelList | list[_ListEntry]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_decode_number = msgspec.json.Decoder(Decimal | None).decode
# No request costs as much; more would overflow the money arithmetic.
_MOST_USD = 10**6


def decode_reply(response: HttpResponse, provider: str) -> ImagesReply:
    """Decode the body of a 200 reply.

    Raises:
        ProviderError: the body has another form; its billing is unknown.
    """
    try:
        reply = _decode_images(response.body)
    except MALFORMED as error:
        raise ProviderError(
            f"{provider} answered with {len(response.body)} bytes that are no image reply; it may"
            " have been billed.",
            billed="unknown",
            details=trace(response),
        ) from error
    if not reply.data:
        raise ProviderError(
            f"{provider} answered with no image in it; it may have been billed.", billed="unknown"
        )
    return reply


def is_null(raw: msgspec.Raw) -> bool:
    """Return True if a field of a reply is missing, null or an empty text."""
    return memoryview(raw).nbytes <= len(b"null")


def read_images(
    reply: ImagesReply, provider: str, *, seed: int | None = None
) -> Generator[
    Step, HttpResponse | bytes | None, tuple[GeneratedImage | WithheldImage | LostImage, ...]
]:
    """The images of a reply, those behind links fetched. One that cannot be had
    does not lose the others.

    `seed` is the one that was sent; it belongs to an image only if there is
    just one.

    Raises:
        ProviderError: not one of them can be had; they were billed.
    """
    told = seed if len(reply.data) == 1 else None
    return (yield from collect_each(_read_item(item, provider, told) for item in reply.data))


def _read_item(
    item: ImageItem, provider: str, seed: int | None
) -> Generator[Step, HttpResponse | bytes | None, GeneratedImage | WithheldImage]:
    """Read one entry of `data`: base64 as GPT image models send it, or a link
    as older models and gateways do.
    """
    if not is_null(item.b64_json):
        data = decode_base64(item.b64_json, provider)
    elif isinstance(item.url, str) and item.url:
        data = yield from download(_locate(item.url), provider)
    elif item.respect_moderation is False:
        return WithheldImage(
            reason="it was found to break the rules on content. Change the prompt."
        )
    else:
        raise ProviderError(
            f"{provider} answered with an image that has neither bytes nor a link.", billed="yes"
        )
    return GeneratedImage(
        data=data,
        revised_prompt=item.revised_prompt if isinstance(item.revised_prompt, str) else None,
        seed=seed,
        provider_id=item.generation_id if isinstance(item.generation_id, str) else None,
    )


def _locate(url: str) -> str:
    """Return the link; some servers send the path alone, beside the base URL's
    `/v1`.
    """
    return f"..{url}" if url.startswith("/") and not url.startswith("//") else url


def read_usd(raw: msgspec.Raw, field: str, usd_per_unit: Decimal = Decimal(1)) -> Decimal | None:
    """Return the cost in a field of `usage`; None if absent or implausible."""
    try:
        amount: Decimal | None = _decode_number((_decode_fields(raw) or {}).get(field, b"null"))
    except (*MALFORMED, InvalidOperation):
        return None
    if (
        amount is None
        or not amount.is_finite()
        or not 0 <= amount <= _MOST_USD / (usd_per_unit or 1)
    ):
        return None
    return amount * usd_per_unit


def read_list(
    response: HttpResponse, provider: str, *, kind: str | None = None
) -> tuple[ListedModel, ...]:
    """The models that a provider lists, in any of the three forms that are
    about; with a `kind`, those of that type.

    Raises:
        ImagenError: it gave no list. Nothing was ordered by that.
    """
    if response.status != 200:
        error = refusal(response, provider)
        error.billed = "no"
        raise error
    try:
        listed = _decode_list(response.body)
    except MALFORMED as error:
        raise ProviderError(
            f"{provider} answered its model list with {len(response.body)} bytes that are no list."
        ) from error
    entries = listed if isinstance(listed, list) else listed.data or listed.models
    return tuple(
        ListedModel(
            wire_name=entry.id,
            name=one_line(entry.display_name) or one_line(entry.name),
            retires_on=_read_day(entry.shutdown_date),
        )
        for entry in entries
        if kind is None or entry.type == kind
    )


def _read_day(value: object) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def read_usage(raw: msgspec.Raw) -> Usage | None:
    """Return the tokens of a reply; None if absent or in an unknown form."""
    try:
        usage = _decode_usage(raw)
    except MALFORMED:
        return None
    if usage is None:
        return None
    # Without details, input is text and output is image, as in a plain
    # generation.
    into = usage.input_tokens_details or _TokenDetails(text_tokens=usage.input_tokens)
    out = usage.output_tokens_details or _TokenDetails(image_tokens=usage.output_tokens)
    return Usage(
        text_input_tokens=into.text_tokens,
        image_input_tokens=into.image_tokens,
        text_output_tokens=out.text_tokens,
        image_output_tokens=out.image_tokens,
    )


class EventStream:
    """Server-sent events out of chunks of bytes: the `data` lines, joined, of
    each event.

    A partial image is one line of megabytes, so chunks are collected and only
    new ones searched.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The events that this chunk completes."""
        self._buffer += chunk
        while (end := self._find_end()) is not None:
            event = bytes(self._buffer[: end[0]])
            del self._buffer[: end[1]]
            self._searched = 0
            if data := _event_data(event):
                yield data
        self._searched = max(0, len(self._buffer) - 3)

    def finish(self) -> Iterator[bytes]:
        """Return the last event of a stream that ended without an empty line."""
        if data := _event_data(bytes(self._buffer)):
            yield data
        self._buffer.clear()

    def _find_end(self) -> tuple[int, int] | None:
        """Return start and end of the next empty line. Searches no byte twice."""
        at = self._searched
        while (at := self._buffer.find(b"\n", at) + 1) > 0:
            for empty_line in (b"\n", b"\r\n"):
                if self._buffer.startswith(empty_line, at):
                    return at, at + len(empty_line)
        return None


def _event_data(event: bytes) -> bytes:
    lines = [line[5:].strip(b" \r") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
