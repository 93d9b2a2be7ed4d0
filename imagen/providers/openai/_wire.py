"""The wire format that OpenAI's Images API has and others imitate: replies,
lists and streams.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Generator, Iterator, Mapping
from decimal import Decimal

import msgspec

from ..._errors import ProviderError
from .._provider import ListedModel
from .._replies.amounts import read_count, read_fields, read_usd
from .._replies.decoding import (
    MALFORMED,
    collect_each,
    decode_base64,
    decode_json,
    download,
    one_line,
    trace,
)
from .._replies.refusals import refusal, refusal_in_success
from .._steps import AnyImage, GeneratedImage, HttpResponse, Step, Usage, WithheldImage

__all__ = [
    "EventStream",
    "ImageItem",
    "ImagesReply",
    "decode_reply",
    "is_null",
    "read_cost",
    "read_images",
    "read_item",
    "read_list",
    "read_usage",
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


class ImagesReply(msgspec.Struct):
    data: list[ImageItem] | None = None
    # Some operations answer with one image outside of a list.
    image: msgspec.Raw = msgspec.Raw(b"null")
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


# Lines end with CR, LF or both (WHATWG HTML, server-sent events).
_EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\r?\n|\r\r")
_MARK = b"\xef\xbb\xbf"
_decode_reply = msgspec.json.Decoder(ImagesReply).decode
_decode_item = msgspec.json.Decoder(ImageItem).decode
_IMAGE_OPENS = re.compile(rb'"b64_json"\s*:\s*"')
_LARGE_BODY = 64 << 10
_decode_list = msgspec.json.Decoder(_ModelList | list[_ListEntry]).decode


def decode_reply(response: HttpResponse, provider: str) -> ImagesReply:
    """Decode the body of a 200 reply.

    Raises:
        ImagenError: the error in it.
        ProviderError: the body has another form; its billing is unknown.
    """
    try:
        reply = decode_json(_decode_images, response.body)
    except MALFORMED as error:
        raise ProviderError(
            f"{provider} answered with {len(response.body)} bytes that are no image reply; it may"
            " have been billed.",
            billed="unknown",
            details=trace(response),
        ) from error
    if not reply.data:
        reply.data = _read_single(reply.image)
    if not reply.data:
        raise refusal_in_success(response, provider) or ProviderError(
            f"{provider} answered with no image in it; it may have been billed.", billed="unknown"
        )
    return reply


def _read_single(image: msgspec.Raw) -> list[ImageItem]:
    try:
        return [] if is_null(image) else [_decode_item(image)]
    except MALFORMED:
        return []


def _decode_images(body: bytes) -> ImagesReply:
    """Decode a reply; cut out large images first.

    A search for the end of a base64 text takes a twentieth of the time of a
    JSON parser. On any doubt, such as an escaped quote, all is parsed.
    """
    if len(body) < _LARGE_BODY:
        return _decode_reply(body)
    view = memoryview(body)
    rest: list[memoryview] = []
    texts: list[memoryview] = []
    at = 0
    while (opening := _IMAGE_OPENS.search(body, at)) is not None:
        start = opening.end()
        end = body.find(b'"', start)
        if end < 0 or body.find(b"\\", start, end) >= 0:
            return _decode_reply(body)
        rest.append(view[at:start])
        texts.append(view[start - 1 : end + 1])
        at = end
    try:
        reply = _decode_reply(b"".join([*rest, view[at:]]))
    except MALFORMED:
        return _decode_reply(body)
    items = [item for item in reply.data or [] if bytes(item.b64_json) == b'""']
    if len(items) != len(texts):
        return _decode_reply(body)
    for item, text in zip(items, texts, strict=True):
        item.b64_json = msgspec.Raw(text)
    return reply


def is_null(raw: msgspec.Raw) -> bool:
    """Return True if a field of a reply is missing, null or an empty text."""
    return memoryview(raw).nbytes <= len(b"null")


def read_images(
    reply: ImagesReply, provider: str, *, seed: int | None = None
) -> Generator[Step, HttpResponse | bytes | None, tuple[AnyImage, ...]]:
    """The images of a reply, those behind links fetched. One that cannot be had
    does not lose the others.

    `seed` is the one that was sent; it belongs to an image only if there is
    just one.

    Raises:
        ProviderError: not one of them can be had; they were billed.
    """
    items = reply.data or []
    own_seed = seed if len(items) == 1 else None
    return (yield from collect_each(read_item(item, provider, own_seed) for item in items))


def read_item(
    item: ImageItem, provider: str, seed: int | None = None
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
        revised_prompt=_read_text(item.revised_prompt),
        seed=seed,
        provider_id=_read_text(item.generation_id),
    )


def _read_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _locate(url: str) -> str:
    """Return the link; some servers send the path alone, beside the base URL's
    `/v1`.
    """
    url = url.strip()
    return f"..{url}" if url.startswith("/") and not url.startswith("//") else url


def read_cost(raw: msgspec.Raw, field: str, usd_per_unit: Decimal = Decimal(1)) -> Decimal | None:
    """Return the cost in a field of `usage`; None if absent or implausible."""
    return read_usd(read_fields(raw).get(field), usd_per_unit)


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
        listed = decode_json(_decode_list, response.body)
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


def read_usage(raw: msgspec.Raw, *, has_inputs: bool = False) -> Usage | None:
    """Return the tokens of a reply; None if absent or in an unknown form.

    Without details, output is image, and input is text, or image if there are
    input images: the dearer kind, so that the cost is not too low.
    """
    fields = read_fields(raw)
    if not fields:
        return None
    into = _split(fields, "input", "image" if has_inputs else "text")
    out = _split(fields, "output", "image")
    return Usage(
        text_input_tokens=into["text"],
        image_input_tokens=into["image"],
        text_output_tokens=out["text"],
        image_output_tokens=out["image"],
    )


def _split(fields: Mapping[str, object], side: str, usual: str) -> dict[str, int | None]:
    """Return the tokens of each kind; what the details leave of the total is of
    the usual kind.
    """
    total = read_count(fields.get(f"{side}_tokens"))
    details = fields.get(f"{side}_tokens_details")
    details = details if isinstance(details, dict) else {}
    counts = {
        kind: read_count(details[f"{kind}_tokens"]) if f"{kind}_tokens" in details else 0
        for kind in ("text", "image")
    }
    listed = counts["text"], counts["image"]
    if total is None and not any(listed):
        return {**counts, usual: None}
    if total is not None and None not in listed:
        rest = total - sum(filter(None, listed))
        counts[usual] = (counts[usual] or 0) + max(0, rest)
    return counts


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
            event = bytes(self._buffer[: end.start()])
            del self._buffer[: end.end()]
            self._searched = 0
            if data := _event_data(event):
                yield data
        self._searched = max(0, len(self._buffer) - 3)

    def _find_end(self) -> re.Match[bytes] | None:
        """Return the next empty line. No byte is searched twice, and a search
        for one byte is fast: an image is one line.
        """
        breaks = [self._buffer.find(byte, self._searched) for byte in (b"\n", b"\r")]
        found = [at for at in breaks if at >= 0]
        return _EMPTY_LINE.search(self._buffer, min(found)) if found else None

    def finish(self) -> Iterator[bytes]:
        """Return the last event of a stream that ended without an empty line."""
        if data := _event_data(bytes(self._buffer)):
            yield data
        self._buffer.clear()


def _event_data(event: bytes) -> bytes:
    """Return the data of an event: its `data` lines, or all of it if it is bare
    JSON.
    """
    lines = event.removeprefix(_MARK).splitlines()
    data = [line[5:].strip(b" \r") for line in lines if line.startswith(b"data:")]
    if not data and lines and lines[0].startswith(b"{"):
        data = lines
    return b"\n".join(data)
