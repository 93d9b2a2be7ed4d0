"""Ideogram's API, version 2: generations are submitted, asked for, and fetched
from links.

Every generation is asynchronous if possible: its id is known at once, so that a
lost reply costs no image. The table `wire` of a model's catalog entry maps the
fields of its endpoints; see `_Wire`.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Literal
from urllib.parse import quote

import msgspec

from .._errors import (
    AuthenticationError,
    ConfigurationError,
    ContentFilterError,
    ImagenError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderError,
    QuotaExceededError,
    RateLimitError,
)
from .._requests.catalog import JsonValue
from .._requests.request import Edit, Enhance, Restyle, Vary, operation_of
from .._requests.translation import Adjustment
from .._system.retry_after import read_wait_seconds
from ._provider import Call, Callback, CallbackReading, EncodedImage, Provider
from ._replies.decoding import (
    MALFORMED,
    collect_each,
    decode,
    decode_json,
    download,
    one_line,
    outage,
    trace,
)
from ._replies.error_text import quote_error
from ._steps import (
    AnyImage,
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    JobAccepted,
    LostImage,
    Progress,
    Step,
    WithheldImage,
)
from ._wire.http import FormFile, add_options, form_request, json_request, leave_out, send
from ._wire.masks import black_mask, white_mask
from ._wire.polling import Ended, Job, await_end
from ._wire.signatures import check_signature, read_job_id
from ._wire.wire_table import read_wire

__all__ = ["PROVIDER", "collect", "edit", "enhance", "generate", "read_callback", "restyle", "vary"]

_NAME = "Ideogram"
# The endpoint wants a prompt, and our callers may come without.
_VARIATION = "The same subject and style, with other details."
_RESTYLING = "The same subject and composition, in the style of the reference image."
# The same keys for every version of the API (developer.ideogram.ai, webhooks).
_KEYS_URL = "v1/.well-known/jwks.json"
_STYLE_TYPES = ("auto", "general", "realistic", "design", "custom", "fiction", "stylized")
_STYLE_CODE = re.compile(r"[0-9a-fA-F]{8}")
_MOST_OTHERS_WITH_MASK = 3
_MICRODOLLARS = Decimal(1_000_000)
# No generation costs as much; more would overflow the money arithmetic.
_MOST_MICRODOLLARS = 10**12
_LARGEST_SEED = 2**63 - 1
_SAFETY = re.compile(r"(?i)\b(?:safety|moderat\w*|unsafe|nsfw|content policy)\b")


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differences between the endpoints.

    `paths` are those below v2, by operation. `image` is the field of the image
    that changes, `more_images` that of the others, `references` that of style
    references, required if `reference_required`. `mask` is the colour of the
    changing area in a mask. `quality` and `size` are the fields for these. An
    endpoint that is always asynchronous has no field for it. With
    `size_required` the endpoint only changes the size.
    """

    paths: dict[str, str]
    image: str = "image"
    more_images: str | None = None
    references: str | None = None
    reference_required: bool = False
    mask: Literal["black", "white"] = "black"
    quality: str = "rendering_speed"
    size: str = "resolution"
    size_required: bool = False
    size_with_mask: bool = True
    magic_prompt: bool = False
    prompt: bool = True
    always_asynchronous: bool = False


# --- operations ---------------------------------------------------------------


def generate(call: Call) -> Exchange:
    """Text to image; references lend their style, or their character."""
    wire = read_wire(call.model, _Wire)
    if wire.reference_required and not call.references:
        raise InvalidRequestError(f"{call.model.id} needs a reference image.")
    return (yield from _work(call, wire, list(_reference_files(call.references, wire))))


def edit(call: Call) -> Exchange:
    """Images and a prompt to a new image, and the tools: masks, backgrounds,
    other shapes.
    """
    wire = read_wire(call.model, _Wire)
    first, *others = call.images
    files = [FormFile.of(wire.image, first)]
    files += [FormFile.of(wire.more_images or wire.image, image) for image in others]
    if (area := call.mask) is not None:
        if not wire.size_with_mask and len(others) > _MOST_OTHERS_WITH_MASK:
            raise InvalidRequestError(f"{call.model.id} takes at most 4 images beside a mask.")
        turn = white_mask if wire.mask == "white" else black_mask
        mask = yield Compute(call=partial(turn, area), repeatable=True)
        assert isinstance(mask, bytes)
        files.append(FormFile("mask", mask, "image/png", "mask.png"))
    return (yield from _work(call, wire, files))


def vary(call: Call) -> Exchange:
    """An image drawn again; its weight is the less the more strength is asked
    for.
    """
    wire = read_wire(call.model, _Wire)
    return (yield from _work(call, wire, [FormFile.of(wire.image, call.images[0])]))


def enhance(call: Call) -> Exchange:
    """Enlarge the image."""
    wire = read_wire(call.model, _Wire)
    return (yield from _work(call, wire, [FormFile.of(wire.image, call.images[0])]))


def restyle(call: Call) -> Exchange:
    """An image drawn again with another one as its style."""
    wire = read_wire(call.model, _Wire)
    files = [FormFile.of(wire.image, call.images[0]), *_reference_files(call.references, wire)]
    return (yield from _work(call, wire, files))


def _reference_files(images: tuple[EncodedImage, ...], wire: _Wire) -> Iterator[FormFile]:
    return (FormFile.of(wire.references or "style_reference_images", image) for image in images)


def _work(call: Call, wire: _Wire, files: list[FormFile]) -> Exchange:
    request = call.request
    path = wire.paths.get(operation_of(request))
    if path is None:
        raise ConfigurationError(
            f'[models."{call.model.id}"] names no path to {operation_of(request)}.'
        )
    if wire.size_required and request.size is None and request.aspect_ratio is None:
        raise InvalidRequestError(
            f"{call.model.id} needs the shape of the new image: give a size or an aspect_ratio."
        )
    fitted, _ = _fit(call, wire)
    body = _request_body(fitted, wire)
    _check_styles(body, files)
    path = f"v2/{path}"
    return (
        yield from _run(
            call,
            form_request(path, _form_fields(body), files) if files else json_request(path, body),
        )
    )


def _fit(call: Call, wire: _Wire) -> tuple[Call, tuple[Adjustment, ...]]:
    """Return the call as its endpoint takes it: with a prompt if it needs one,
    without unknown fields.
    """
    request = call.request
    adjustments: tuple[Adjustment, ...] = ()
    if (
        isinstance(request, Edit)
        and (call.mask or request.mask) is not None
        and not wire.size_with_mask
    ):
        call, adjustments = leave_out(
            call, "size", reason="with a mask the size is that of the image"
        )
    if not request.prompt and isinstance(request, (Vary, Restyle)):
        prompt = _VARIATION if isinstance(request, Vary) else _RESTYLING
        call = msgspec.structs.replace(
            call, request=msgspec.structs.replace(request, prompt=prompt)
        )
    if wire.prompt:
        return call, adjustments
    call, without_prompt = leave_out(call, "prompt", reason="it takes no prompt")
    return call, adjustments + without_prompt


def _request_body(call: Call, wire: _Wire) -> dict[str, JsonValue]:
    """The fields that were asked for. Names of enums are in small letters, and
    ratios have an x for their colon.
    """
    request, can = call.request, call.model.capabilities
    asked: dict[str, JsonValue] = {
        "prompt": request.prompt if wire.prompt and request.prompt else None,
        "num_images": call.count if can.max_images_per_request > 1 else None,
        wire.size: request.size,
        "aspect_ratio": (
            None if request.aspect_ratio is None else request.aspect_ratio.replace(":", "x")
        ),
        "output_resolution": None if request.resolution is None else request.resolution.lower(),
        wire.quality: request.quality,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "magic_prompt": "auto" if wire.magic_prompt else None,
        "async": None if wire.always_asynchronous else True,
        "webhook_url": call.callback_url,
    }
    if request.style is not None:
        asked["style_type" if request.style in _STYLE_TYPES else "style_preset"] = request.style
    if isinstance(request, (Vary, Restyle)) and request.strength is not None:
        # From 100, the same, to 1, anything.
        asked["image_weight"] = round(100 - 99 * request.strength)
    if isinstance(request, Enhance) and request.scale is not None:
        asked["upscale_factor"] = f"x{request.scale:g}"
    body = {field: value for field, value in asked.items() if value is not None}
    reserved = {"prompt", "num_images", "async", wire.image, wire.more_images or wire.image, "mask"}
    reserved |= {wire.size} if can.sizes or can.free_size else set()
    reserved |= {wire.quality} if can.qualities else set()
    reserved |= {"output_resolution"} if can.resolutions else set()
    reserved |= {"upscale_factor"} if can.scales else set()
    return add_options(body, request, reserved=reserved)


def _check_styles(body: Mapping[str, JsonValue], files: list[FormFile]) -> None:
    """Refuse styles that the service would refuse."""
    codes = body.get("style_codes")
    referred = any(file.name == "style_reference_images" for file in files)
    if codes is not None and not (
        isinstance(codes, (list, tuple))
        and all(isinstance(code, str) and _STYLE_CODE.fullmatch(code) for code in codes)
    ):
        raise InvalidRequestError(
            "style_codes is a list of codes of eight hexadecimal digits each."
        )
    if codes is not None and referred:
        raise InvalidRequestError("Give style_codes or reference images, not both.")
    if "style_preset" in body and (codes is not None or referred):
        raise InvalidRequestError(
            "A style preset goes with neither style_codes nor reference images: leave one out."
        )


def _form_fields(body: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    """A list is a field that is repeated."""
    for name, value in body.items():
        if isinstance(value, (list, tuple)):
            yield from ((name, item) for item in value)
        else:
            yield name, value


# --- the life of a generation -------------------------------------------------


class _Generation(msgspec.Struct):
    # No wrong type may lose paid images: each field is checked when it is used.
    generation_id: object = None
    status: object = None
    failure_reason: object = None
    usage_cost_usd_micros: object = None
    data: object = None


_decode_generation = msgspec.json.Decoder(_Generation).decode

_COMPLETED = "completed"
_FAILED = "failed"


def _run(call: Call, submission: HttpRequest) -> Exchange:
    response = yield from send(submission)
    if response.status >= 300:
        raise _refusal(response)
    generation = decode(_decode_generation, response, _NAME)
    if _items(generation) and _status_of(generation) in ("", _COMPLETED):
        # Replied at once, as the older endpoints do.
        return (yield from _finish(call, generation, None))
    job_id = generation.generation_id
    if not isinstance(job_id, str) or not job_id:
        raise ProviderError(
            f"{_NAME} took the request and did not say how to ask for the images; it may have been"
            " billed.",
            billed="unknown",
            details=trace(response),
        )
    accepted = JobAccepted(job_id=job_id, poll_url=f"v2/generations/{quote(job_id, safe='')}")
    yield accepted
    return (yield from collect(call, accepted))


def collect(call: Call, accepted: JobAccepted) -> Exchange:
    """Waits for the end of a generation and fetches its images."""
    called_back = call.callback_url is not None and "webhook_url" not in call.request.options
    job = Job(id=accepted.job_id, url=accepted.poll_url, provider=_NAME, called_back=called_back)
    generation = yield from await_end(
        call,
        job,
        partial(_read_verdict, job_id=job.id),
        lambda response: _said(_read_refused(response)),
    )
    return (yield from _finish(call, generation, job.url))


def read_callback(callback: Callback) -> CallbackReading:
    """Ideogram signs callbacks with keys that it publishes."""
    yield from check_signature(callback, "x-ideogram-webhook-", "generation-id", _KEYS_URL, _NAME)
    return read_job_id(callback, "generation_id", _NAME)


def _read_verdict(
    response: HttpResponse, early: bool, job_id: str
) -> Ended[_Generation] | tuple[Progress, ...] | None:
    generation = _read_generation(response)
    status = _status_of(generation)
    if status == _COMPLETED or (not status and _items(generation)):
        return Ended(generation)
    if status == _FAILED:
        raise _failure(generation, job_id)
    return (Progress(note=one_line(generation.status)),) if status else None


def _read_generation(response: HttpResponse) -> _Generation:
    """Return the generation; an empty one for an unreadable reply."""
    if response.status >= 300:
        return _Generation()
    try:
        return decode_json(_decode_generation, response.body)
    except MALFORMED:
        return _Generation()


def _status_of(generation: _Generation) -> str:
    return generation.status.strip().casefold() if isinstance(generation.status, str) else ""


def _items(generation: _Generation) -> list[dict[object, object]]:
    """Return one entry per image; an unreadable entry is empty, so positions
    stay.
    """
    data = generation.data
    return (
        [item if isinstance(item, dict) else {} for item in data] if isinstance(data, list) else []
    )


def _failure(generation: _Generation, job_id: str) -> ImagenError:
    said = one_line(generation.failure_reason).rstrip(".") or "it does not say why"
    details = {"job_id": job_id}
    if _SAFETY.search(said):
        return ContentFilterError(
            f"{_NAME} refuses the request: {said}. Change the prompt or the images.",
            details=details,
        )
    return ProviderError(
        f"{_NAME} failed to make the image, and does not bill it: {said}.", details=details
    )


def _finish(call: Call, generation: _Generation, url: str | None) -> Exchange:
    call, adjustments = _fit(call, read_wire(call.model, _Wire))
    items = _items(generation)
    if not items:
        raise ProviderError(
            f"{_NAME} completed the generation and gave no image; it may have been billed.",
            billed="unknown",
        )
    images = yield from collect_each(
        _collect_one(call, generation, url, place, item) for place, item in enumerate(items)
    )
    cost_usd = _read_cost(generation.usage_cost_usd_micros)
    return GeneratedImages(images=images, reported_cost_usd=cost_usd, adjustments=adjustments)


def _collect_one(
    call: Call, generation: _Generation, url: str | None, place: int, item: dict[object, object]
) -> Generator[Step, HttpResponse | bytes | None, AnyImage]:
    link = item.get("url")
    if item.get("is_image_safe") is False:
        return WithheldImage(reason="its filter finds the image unsafe.")
    if not isinstance(link, str) or not link:
        return LostImage(reason="its answer holds no link to the image.")
    return _image(call, generation, item, (yield from _fetch(link, url, place)))


def _image(
    call: Call, generation: _Generation, item: Mapping[object, object], data: bytes
) -> GeneratedImage:
    seed, prompt = item.get("seed"), item.get("prompt")
    told = isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) <= _LARGEST_SEED
    return GeneratedImage(
        data=data,
        revised_prompt=(
            prompt if isinstance(prompt, str) and prompt and prompt != call.request.prompt else None
        ),
        seed=seed if told and isinstance(seed, int) else call.request.seed,
        provider_id=generation.generation_id if isinstance(generation.generation_id, str) else None,
    )


def _fetch(
    link: str, url: str | None, place: int
) -> Generator[Step, HttpResponse | bytes | None, bytes]:
    """Downloads an image. Where its link has expired, the generation is read
    once more for a fresh one.
    """
    try:
        return (yield from download(link, _NAME, pauses=()))
    except ProviderError as error:
        if url is None or error.details.get("status") not in ("403", "404", "410"):
            raise
        response = yield from send(HttpRequest(method="GET", url=url, repeatable=True))
        fresh = _items(_read_generation(response))[place : place + 1]
        link_again = fresh[0].get("url") if fresh else None
        if not isinstance(link_again, str) or not link_again:
            raise
    return (yield from download(link_again, _NAME, pauses=()))


def _read_cost(microdollars: object) -> Decimal | None:
    if isinstance(microdollars, bool) or not isinstance(microdollars, (int, float)):
        return None
    return (
        Decimal(str(microdollars)) / _MICRODOLLARS
        if 0 <= microdollars <= _MOST_MICRODOLLARS
        else None
    )


# --- errors -------------------------------------------------------------------


class _Refused(msgspec.Struct):
    error: object = None
    message: object = None
    reject_reason: object = None


_decode_refused = msgspec.json.Decoder(_Refused).decode

_TOO_MANY = "inflight_limit"


def _refusal(response: HttpResponse) -> ImagenError:
    """Return the error of a refused submission. The reason in the body counts
    more than the HTTP code.
    """
    refused = _read_refused(response)
    reason = one_line(refused.reject_reason)
    said = _said(refused) or quote_error(response, _NAME)
    details = {**trace(response), **({"reject_reason": reason} if reason else {})}
    match response.status:
        case 402 | 429 if reason == _TOO_MANY:
            return _rate_limit(
                response, f"{said} Too many generations run at once: wait for one to end.", details
            )
        case 402:
            return QuotaExceededError(
                f"{said} Top up the account or change its plan.", details=details
            )
        case 401 | 403:
            return AuthenticationError(
                f"{_NAME} does not allow this. {said} Check IDEOGRAM_API_KEY.", details=details
            )
        case 404:
            return ModelNotFoundError(
                f"{said} Check the model and the base URL.", code="API_ERROR", details=details
            )
        case 422 if _SAFETY.search(said):
            return ContentFilterError(f"{said} Change the prompt or the images.", details=details)
        case 400 | 413 | 422:
            return InvalidRequestError(said, code="INVALID_PROMPT", details=details)
        case 429:
            return _rate_limit(response, said, details)
        case 500:
            # Only completed generations are billed (developer.ideogram.ai,
            # errors).
            text = f"{_NAME} has trouble (500). {said} Try again later."
            return ProviderError(text, retryable=True, billed="no", details=details)
        case code if 400 <= code < 500 and code != 408:
            return InvalidRequestError(said, code="API_ERROR", details=details)
        case code if 300 <= code < 400:
            return ProviderError(
                f"{_NAME} redirects to another address, which is not followed.", details=details
            )
        case _:
            return outage(response, _NAME, said, details)


def _rate_limit(response: HttpResponse, text: str, details: Mapping[str, str]) -> ImagenError:
    wait = read_wait_seconds(response.headers, text, response.body)
    return RateLimitError(text, retry_after_seconds=wait, details=details)


def _read_refused(response: HttpResponse) -> _Refused:
    try:
        return decode_json(_decode_refused, response.body)
    except MALFORMED:
        return _Refused()


def _said(refused: _Refused) -> str:
    """Return the provider's own words as a sentence; "" if there are none."""
    error = refused.error.get("message") if isinstance(refused.error, dict) else refused.error
    text = one_line(refused.message) or one_line(error)
    return f"{_NAME} says: {text.rstrip('.')}." if text else ""


PROVIDER = Provider(
    name="ideogram",
    operations={
        "generate": generate,
        "edit": edit,
        "vary": vary,
        "enhance": enhance,
        "restyle": restyle,
    },
    collect=collect,
    read_callback=read_callback,
    base_url="https://api.ideogram.ai",
    base_url_variable="IDEOGRAM_BASE_URL",
    key_variables=("IDEOGRAM_API_KEY",),
    key_header="Api-Key",
    key_prefix="",
    home_page="ideogram.ai/manage-api",
    # Seconds between two questions whether a generation has ended; the provider
    # asks for 2 to 5.
    settings={"poll_seconds": 3.0},
)
