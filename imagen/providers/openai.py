"""OpenAI's Images API, and whatever speaks its wire format at another base URL."""

from __future__ import annotations

from collections.abc import Generator

import msgspec

from .._catalog import JsonValue
from .._errors import ProviderError
from .._exchange import (
    Exchange,
    HttpRequest,
    HttpResponse,
    Partial,
    Picture,
    Pictures,
    ReadChunk,
    Step,
    Usage,
)
from .._providers import Call, Provider
from ._openai_wire import (
    EventStream,
    ImageItem,
    decode_reply,
    is_null,
    read_usage,
    refusal,
    refusal_in_stream,
)
from ._wire import add_options, decode_base64, download

__all__ = ["PROVIDER", "RESERVED", "generate", "read_item", "request_body"]

_NAME = "OpenAI"
RESERVED = ("model", "prompt", "n", "stream", "partial_images")


def generate(call: Call) -> Exchange:
    """Text to image: one POST, answered by JSON, or by a stream of events where previews are asked for."""
    body = request_body(call)
    request = HttpRequest(
        method="POST",
        url="images/generations",
        headers={"content-type": "application/json"},
        body=msgspec.json.encode(body),
        stream=bool(body.get("stream")),
    )
    response = yield request
    assert isinstance(response, HttpResponse)
    if request.stream and _is_event_stream(response):
        return (yield from _read_events(call.count))
    if request.stream:
        response = yield from _read_whole(response)
    if response.status != 200:
        raise refusal(response, _NAME)
    reply = decode_reply(response, _NAME)
    pictures: list[Picture] = []
    for item in reply.data:
        pictures.append((yield from read_item(item, _NAME)))
    return Pictures(pictures=tuple(pictures), usage=read_usage(reply.usage))


def request_body(call: Call) -> dict[str, JsonValue]:
    """The fields of a generation: those that were asked for and that the model has, and no others."""
    request = call.request
    asked: dict[str, JsonValue] = {
        "size": request.size,
        "quality": request.quality,
        "style": request.style,
        "background": request.background,
        "output_format": request.output_format,
    }
    body: dict[str, JsonValue] = {"model": call.model.wire_name, "prompt": request.prompt, "n": call.count}
    body |= {field: value for field, value in asked.items() if value is not None}
    if request.previews:
        body |= {"stream": True, "partial_images": request.previews}
    return add_options(body, request, reserved=RESERVED)


def read_item(item: ImageItem, provider: str) -> Generator[Step, HttpResponse | bytes | None, Picture]:
    """One entry of `data`: base64 as GPT image models send it, or a link as the older ones and gateways do."""
    if not is_null(item.b64_json):
        data = decode_base64(item.b64_json, provider)
    elif item.url is not None:
        data = yield from download(item.url, provider)
    else:
        raise ProviderError(f"{provider} answered with a picture that has neither bytes nor a link.", billed="yes")
    return Picture(
        data=data,
        revised_prompt=item.revised_prompt if isinstance(item.revised_prompt, str) else None,
        provider_id=item.generation_id if isinstance(item.generation_id, str) else None,
    )


class _StreamedImage(msgspec.Struct):
    type: str = ""
    b64_json: msgspec.Raw = msgspec.Raw(b"null")
    partial_image_index: object = 0
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


# OpenAI's own stream has no such end; servers that imitate it do.
_DONE = b"[DONE]"

_decode_event = msgspec.json.Decoder(_StreamedImage).decode


def _read_events(count: int) -> Exchange:
    """The stream of a generation: partial pictures, then `completed` ones; there is no closing [DONE]."""
    stream, pictures, usages = EventStream(), list[Picture](), list[Usage]()
    ended = False
    while not ended and len(pictures) < count:
        chunk = yield ReadChunk()
        assert isinstance(chunk, bytes)
        ended = not chunk
        for data in stream.feed(chunk) if chunk else stream.finish():
            if data == _DONE:
                ended = True
                break
            event = _read_event(data)
            if event.type.endswith(".partial_image"):
                if (preview := _read_preview(event)) is not None:
                    yield preview
            elif event.type.endswith(".completed"):
                pictures.append(Picture(data=decode_base64(event.b64_json, _NAME)))
                if (usage := read_usage(event.usage)) is not None:
                    usages.append(usage)
                if len(pictures) == count:
                    # Whatever comes behind the last picture, in the same chunk or later, must not lose it.
                    break
            elif not is_null(event.error):
                raise refusal_in_stream(data, _NAME)
    if not pictures:
        raise ProviderError(
            f"{_NAME}'s stream ended before the picture was complete; it may be billed.", billed="unknown"
        )
    return Pictures(pictures=tuple(pictures), usage=_sum_usage(usages))


def _read_event(data: bytes) -> _StreamedImage:
    try:
        return _decode_event(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderError(
            f"{_NAME}'s stream holds an event that is no JSON; it may be billed.", billed="unknown"
        ) from error


def _read_preview(event: _StreamedImage) -> Partial | None:
    """A preview, if it can be shown: it must not lose the picture that comes after it."""
    if not isinstance(event.partial_image_index, int):
        return None
    try:
        return Partial(data=decode_base64(event.b64_json, _NAME), number=event.partial_image_index)
    except ProviderError:
        return None


def _sum_usage(usages: list[Usage]) -> Usage | None:
    if not usages:
        return None
    return Usage(**{field: sum(getattr(usage, field) for usage in usages) for field in Usage.__struct_fields__})


def _is_event_stream(response: HttpResponse) -> bool:
    return response.status == 200 and response.headers.get("content-type", "").startswith("text/event-stream")


def _read_whole(response: HttpResponse) -> Generator[Step, HttpResponse | bytes | None, HttpResponse]:
    """The rest of a streamed answer that is no stream of events: an error, or JSON from a server that cannot stream."""
    body = bytearray()
    while chunk := (yield ReadChunk()):
        assert isinstance(chunk, bytes)
        body += chunk
    return HttpResponse(status=response.status, headers=response.headers, body=bytes(body))


PROVIDER = Provider(
    name="openai",
    operations={"generate": generate},
    base_url="https://api.openai.com/v1",
    base_url_variable="OPENAI_BASE_URL",
    key_variables=("OPENAI_API_KEY",),
    probe_url="models",
    home_page="platform.openai.com/api-keys",
)
