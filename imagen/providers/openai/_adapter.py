"""OpenAI's Images API."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from functools import partial

import msgspec

from ..._errors import ImagenError, ProviderError
from ..._requests.catalog import JsonValue
from .._provider import Call, EncodedImage, ListedModel, ModelListing, Provider
from .._replies.decoding import MALFORMED, collect_each, decode_base64, decode_json
from .._replies.refusals import refusal, refusal_in_success
from .._steps import (
    AnyImage,
    Compute,
    Exchange,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    PartialImage,
    ReadChunk,
    Step,
    Usage,
)
from .._wire.batch_files import SETTINGS
from .._wire.http import FormFile, add_options, as_data_url, form_request, json_request, send
from .._wire.masks import transparent_mask
from ._batch import batch_api
from ._wire import (
    EventStream,
    ImageItem,
    decode_reply,
    is_null,
    read_images,
    read_item,
    read_list,
    read_usage,
)

__all__ = [
    "PROVIDER",
    "RESERVED",
    "as_edit",
    "edit",
    "generate",
    "list_models",
    "order",
    "request_body",
    "restyle",
]

_NAME = "OpenAI"
RESERVED = ("model", "prompt", "n", "stream", "partial_images")
_IMAGE_MODELS = ("gpt-image", "chatgpt-image", "dall-e")
_RESTYLING = "Redraw the first image in the style of the second one. Keep what the first one shows."
# The longest `image_url` (API reference, images/edits); a larger image goes
# into a form, which takes 50 MB.
_LONGEST_URL = 20_971_520


def generate(call: Call) -> Exchange:
    """Text to image: one POST, with a reply in JSON, or a stream of events if
    previews are asked for.
    """
    return (yield from order(call, json_request("images/generations", request_body(call))))


def edit(call: Call) -> Exchange:
    """Up to sixteen images, the first of which changes, to a new one; with a
    mask only where it is white.
    """
    body = request_body(call)
    mask = None
    if call.mask is not None:
        data = yield Compute(call=partial(transparent_mask, call.mask), repeatable=True)
        assert isinstance(data, bytes)
        mask = EncodedImage(
            data=data, media_type="image/png", width=call.mask.width, height=call.mask.height
        )
    return (yield from order(call, _edit_request(body, (*call.images, *call.references), mask)))


def restyle(call: Call) -> Exchange:
    """Edit the image with the reference as the second one, and a prompt that
    explains it.
    """
    return edit(as_edit(call))


def as_edit(call: Call) -> Call:
    """Return a restyling with the prompt of an edit that does it."""
    prompt = f"{_RESTYLING} {call.request.prompt}".strip()
    return msgspec.structs.replace(
        call, request=msgspec.structs.replace(call.request, prompt=prompt)
    )


def list_models() -> ModelListing:
    """The image models that the key can use, with their last day."""
    response = yield from send(HttpRequest(method="GET", url="models", repeatable=True))
    return tuple(model for model in read_list(response, _NAME) if _is_image_model(model))


def _is_image_model(model: ListedModel) -> bool:
    return model.wire_name.startswith(_IMAGE_MODELS)


def request_body(call: Call) -> dict[str, JsonValue]:
    """Return the fields of a request: those that were set and that the model
    has.
    """
    request = call.request
    asked: dict[str, JsonValue] = {
        "size": request.size,
        "quality": request.quality,
        "style": request.style,
        "background": request.background,
        "output_format": request.output_format,
        "moderation": {"relaxed": "low", "standard": "auto"}.get(request.safety or ""),
    }
    body: dict[str, JsonValue] = {
        "model": call.model.wire_name,
        "prompt": request.prompt,
        "n": call.count,
    }
    body |= {field: value for field, value in asked.items() if value is not None}
    if request.previews:
        body |= {"stream": True, "partial_images": request.previews}
    return add_options(body, request, reserved=RESERVED)


def _edit_request(
    body: Mapping[str, JsonValue], images: tuple[EncodedImage, ...], mask: EncodedImage | None
) -> HttpRequest:
    """Return JSON with the images as data: URLs, or a form if one of them is
    too long for that.
    """
    urls = [as_data_url(image) for image in images]
    if max(map(len, urls)) > _LONGEST_URL:
        files = [FormFile.of("image", image)._replace(name="image[]") for image in images]
        files += [FormFile.of("mask", mask)] if mask is not None else []
        return form_request("images/edits", body.items(), files)
    sources: dict[str, JsonValue] = {"images": [{"image_url": url} for url in urls]}
    if mask is not None:
        sources["mask"] = {"image_url": as_data_url(mask)}
    return json_request("images/edits", {**body, **sources})


def order(call: Call, request: HttpRequest) -> Exchange:
    """Send a request that may be billed, once, and read the reply."""
    request = msgspec.structs.replace(request, stream=bool(call.request.previews))
    response = yield from send(request)
    if request.stream and _is_event_stream(response):
        return (yield from _read_events(call))
    if request.stream:
        response = yield from _read_whole(response)
    return (yield from _read_answer(response, has_inputs=_has_inputs(call)))


def _read_answer(response: HttpResponse, *, has_inputs: bool = False) -> Exchange:
    """Return the images of a whole reply, or raise its error."""
    if response.status != 200:
        raise refusal(response, _NAME)
    reply = decode_reply(response, _NAME)
    images = yield from read_images(reply, _NAME)
    return GeneratedImages(images=images, usage=read_usage(reply.usage, has_inputs=has_inputs))


def _has_inputs(call: Call) -> bool:
    return bool(call.images or call.references)


class _Event(ImageItem):
    """Event of a stream: a preview, an image, or, from servers that imitate the
    stream, a whole reply.
    """

    type: object = ""
    partial_image_index: object = 0
    data: list[ImageItem] | None = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def is_preview(self) -> bool:
        return str(self.type).endswith(".partial_image")

    @property
    def images(self) -> list[ImageItem]:
        has_image = not is_null(self.b64_json) or bool(self.url)
        return [self] if has_image else self.data or []


# OpenAI's own stream has no such end; servers that imitate it do.
_DONE = b"[DONE]"

_decode_event = msgspec.json.Decoder(_Event).decode


def _read_events(call: Call) -> Exchange:
    """Read the stream of a generation or an edit: partial images, then
    `completed` ones; without a closing [DONE].
    """
    stream = EventStream()
    images: list[AnyImage] = []
    usages: list[Usage] = []
    ended = False
    while not ended and len(images) < call.count:
        chunk = yield ReadChunk()
        assert isinstance(chunk, bytes)
        ended = not chunk
        for data in stream.feed(chunk) if chunk else stream.finish():
            if data == _DONE:
                ended = True
                break
            event = _read_event(data)
            if event.is_preview:
                if (preview := _read_preview(event)) is not None:
                    yield preview
            elif event.images:
                reads = [read_item(item, _NAME) for item in event.images]
                images += yield from collect_each(reads)
                usage = read_usage(event.usage, has_inputs=_has_inputs(call))
                if usage is not None:
                    usages.append(usage)
                if len(images) >= call.count:
                    # Bytes after the last image, in the same chunk or later,
                    # must not lose it.
                    break
            elif not is_null(event.error):
                raise _refusal_in_stream(data)
    if not images:
        raise ProviderError(
            f"{_NAME}'s stream ended before the image was complete; it may be billed.",
            billed="unknown",
        )
    return GeneratedImages(images=tuple(images), usage=_sum_usage(usages))


def _read_event(data: bytes) -> _Event:
    try:
        return decode_json(_decode_event, data)
    except MALFORMED as error:
        raise ProviderError(
            f"{_NAME}'s stream holds an event that is no JSON; it may be billed.", billed="unknown"
        ) from error


def _refusal_in_stream(event: bytes) -> ImagenError:
    # The work had begun: without a reason it may be billed.
    response = HttpResponse(status=200, body=event)
    return refusal_in_success(response, _NAME, otherwise=500) or ProviderError(
        f"{_NAME}'s stream ended with an error that says nothing; it may be billed.",
        billed="unknown",
    )


def _read_preview(event: _Event) -> PartialImage | None:
    """A preview, if it can be shown: it must not lose the image that comes
    after it.
    """
    if not isinstance(event.partial_image_index, int):
        return None
    try:
        return PartialImage(
            data=decode_base64(event.b64_json, _NAME), number=event.partial_image_index
        )
    except ProviderError:
        return None


def _sum_usage(usages: list[Usage]) -> Usage | None:
    if not usages:
        return None
    return Usage(
        **{
            field: _sum_counts([getattr(usage, field) for usage in usages])
            for field in Usage.__struct_fields__
        }
    )


def _sum_counts(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _is_event_stream(response: HttpResponse) -> bool:
    kind = response.headers.get("content-type", "").strip().lower()
    return response.status == 200 and kind.startswith("text/event-stream")


def _read_whole(
    response: HttpResponse,
) -> Generator[Step, HttpResponse | bytes | None, HttpResponse]:
    """Read the rest of a streamed reply that is not a stream of events: an
    error, or JSON from a server without streams.
    """
    body = bytearray()
    while chunk := (yield ReadChunk()):
        assert isinstance(chunk, bytes)
        body += chunk
    return HttpResponse(status=response.status, headers=response.headers, body=bytes(body))


PROVIDER = Provider(
    name="openai",
    operations={"generate": generate, "edit": edit, "restyle": restyle},
    list_models=list_models,
    batch_api=batch_api(request_body, _read_answer),
    base_url="https://api.openai.com/v1",
    base_url_variable="OPENAI_BASE_URL",
    key_variables=("OPENAI_API_KEY",),
    probe_url="models",
    home_page="platform.openai.com/api-keys",
    settings=SETTINGS,
)
