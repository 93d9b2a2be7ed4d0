"""Stable Diffusion web UI of AUTOMATIC1111, and Forge: a self-hosted engine,
started with --api.

It draws one request at a time and replies when it is done; another path has the
progress. For --api-auth the variable SD_WEBUI_AUTH holds user:password.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from functools import partial

import msgspec
import pybase64

from .._errors import AuthenticationError, ImagenError, InvalidRequestError, ProviderError
from .._requests.catalog import JsonValue
from .._requests.request import Edit, Enhance, Vary
from ._provider import Call, ListedModel, ModelListing, Provider
from ._replies.decoding import (
    MALFORMED,
    decode,
    decode_base64,
    decode_json,
    one_line,
    outage,
    trace,
)
from ._replies.error_text import read_sentence
from ._replies.refusals import refusal_in_success
from ._steps import (
    Cancellable,
    Compute,
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    LostImage,
    Meanwhile,
    PartialImage,
    Progress,
    Step,
)
from ._wire.http import add_options, as_base64, json_request, leave_out, send
from ._wire.masks import white_mask
from ._wire.self_hosted import (
    checkpoint_of,
    fitted_size,
    keep_free,
    number_setting,
    runs_out_of_memory,
)

__all__ = ["PROVIDER", "draw", "enhance", "list_models"]

_NAME = "The web UI"
_API = "sdapi/v1"
# These have their own parameters, or would keep the images from coming back.
_RESERVED = (
    *("prompt", "init_images", "mask", "image", "n_iter", "batch_size", "width", "height"),
    *("send_images", "force_task_id", "upscaling_resize"),
)
_FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp"}
_DEFAULT_SCALE = 2.0
# The start is kept where the mask is white, as the web page does too.
_KEEP_ORIGINAL = 1


# --- operations ---------------------------------------------------------------


def draw(call: Call) -> Exchange:
    """Text to image, or an image drawn again: whole, by its strength, or inside
    a mask.
    """
    task_id = f"task({secrets.token_hex(8)})"
    body, path = _body(call, task_id), "txt2img"
    if call.images:
        path = "img2img"
        body |= {"init_images": [as_base64(image) for image in call.images]}
    if call.mask is not None:
        mask = yield Compute(call=partial(white_mask, call.mask), repeatable=True)
        assert isinstance(mask, bytes)
        body |= {"mask": pybase64.b64encode_as_string(mask), "inpainting_fill": _KEEP_ORIGINAL}
    watched = _Watched(call, task_id)
    response = yield from _order(call, path, _with_options(call, body), watched)
    if watched.interrupted:
        raise ProviderError(
            f"{_NAME} was told to stop this image before it was finished.", details=trace(response)
        )
    return _read(call, response)


def enhance(call: Call) -> Exchange:
    """Enlarge the image by an upscaler, without a prompt."""
    fields = ("prompt", "size", "negative_prompt", "guidance", "steps", "output_format")
    call, adjustments = leave_out(
        call, *fields, reason="an upscaler takes no more than an image and a scale"
    )
    request = call.request
    assert isinstance(request, Enhance)
    body: dict[str, JsonValue] = {
        "image": as_base64(call.images[0]),
        "upscaling_resize": request.scale or _DEFAULT_SCALE,
        "upscaler_1": call.settings.get("upscaler"),
    }
    body = add_options(body, request, reserved=_RESERVED)
    response = yield from _order(call, "extra-single-image", body, None)
    image = decode(_decode_enhanced, response, _NAME, billed="no").image
    return GeneratedImages(
        images=(GeneratedImage(data=decode_base64(image, _NAME)),), adjustments=adjustments
    )


def list_models() -> ModelListing:
    """The checkpoints that the web UI can load."""
    response = yield from send(HttpRequest(method="GET", url=f"{_API}/sd-models", repeatable=True))
    if response.status != 200:
        raise _refusal(response)
    items = decode(_decode_list, response, _NAME, billed="no")
    names = (
        (one_line(item.get("model_name")), one_line(item.get("title")))
        for item in items
        if isinstance(item, dict)
    )
    return tuple(ListedModel(wire_name=name, name=title) for name, title in names if name)


# --- what is sent -------------------------------------------------------------


def _body(call: Call, task_id: str) -> dict[str, JsonValue]:
    request = call.request
    asked: dict[str, JsonValue] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "steps": request.steps,
        "cfg_scale": request.guidance,
        # One after the other: side by side they would need as much more memory.
        "n_iter": call.count,
        "send_images": True,
        "force_task_id": task_id,
        "denoising_strength": request.strength if isinstance(request, Vary) else None,
    }
    if isinstance(request, (Edit, Vary)) or request.size is not None:
        # Otherwise an image would be drawn again as the square that is the
        # default here.
        asked["width"], asked["height"] = fitted_size(
            request, call.images[0] if call.images else None
        )
    return {field: value for field, value in asked.items() if value is not None}


def _with_options(call: Call, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The body with the caller's fields, whose `override_settings` are added to
    those that the request needs.
    """
    request, checkpoint = call.request, checkpoint_of(call.model)
    override: dict[str, JsonValue] = {}
    if checkpoint is not None:
        override["sd_model_checkpoint"] = checkpoint
    if request.output_format is not None:
        override["samples_format"] = _FORMATS[request.output_format]
    sent = add_options(body, request, reserved=_RESERVED)
    own = request.options.get("override_settings")
    if override:
        sent["override_settings"] = {**(own if isinstance(own, dict) else {}), **override}
    return sent


def _order(
    call: Call, path: str, body: Mapping[str, JsonValue], watched: _Watched | None
) -> Generator[Step, HttpResponse | bytes | None, HttpResponse]:
    # It stops whatever is being drawn, so it can be switched off for an engine
    # with several users.
    stops = call.settings.get("interrupts") is not False
    stop = HttpRequest(method="POST", url=f"{_API}/interrupt") if stops else None
    yield Cancellable(request=stop, stops_bill=True)
    request = json_request(f"{_API}/{path}", body)
    if watched is not None:
        request = msgspec.structs.replace(request, meanwhile=watched.question)
    response = yield from send(request)
    if response.status != 200:
        raise _refusal(response)
    return response


# --- how far it is ------------------------------------------------------------


class _State(msgspec.Struct):
    interrupted: object = None
    sampling_step: object = None
    sampling_steps: object = None


class _Told(msgspec.Struct):
    progress: object = None
    state: _State = msgspec.field(default_factory=_State)
    current_image: msgspec.Raw = msgspec.Raw(b"null")
    current_task: object = None


_decode_told = msgspec.json.Decoder(_Told).decode


class _Watched:
    """Request in progress, as the progress replies show it."""

    def __init__(self, call: Call, task_id: str) -> None:
        self.interrupted = False
        self._task_id = task_id
        self._previews = call.request.previews
        self._shown = 0
        self._last = b""
        skip = "false" if self._previews else "true"
        request = HttpRequest(
            method="GET", url=f"{_API}/progress?skip_current_image={skip}", repeatable=True
        )
        seconds = number_setting(call, "progress_seconds", 1.0)
        self.question = Meanwhile(request=request, every_seconds=seconds, read=self._read)

    def _read(self, response: HttpResponse) -> PartialImage | Progress | None:
        try:
            told = decode_json(_decode_told, response.body)
        except MALFORMED:
            return None
        if response.status != 200:
            return None
        if isinstance(told.current_task, str) and told.current_task != self._task_id:
            # The engine draws for another client.
            return Progress(note="waiting")
        if told.current_task == self._task_id and told.state.interrupted is True:
            self.interrupted = True
        return self._preview(told) or _read_progress(told)

    def _preview(self, told: _Told) -> PartialImage | None:
        if self._shown >= self._previews or len(memoryview(told.current_image)) < 9:
            return None
        data = decode_base64(told.current_image, _NAME)
        if data == self._last:
            return None
        self._last, self._shown = data, self._shown + 1
        return PartialImage(data=data, number=self._shown - 1)


def _read_progress(told: _Told) -> Progress:
    share, step, steps = told.progress, told.state.sampling_step, told.state.sampling_steps
    is_share = isinstance(share, (int, float)) and not isinstance(share, bool) and 0 <= share <= 1
    note = (
        f"step {step} of {steps}"
        if isinstance(step, int) and isinstance(steps, int) and steps
        else ""
    )
    return Progress(
        fraction=float(share) if is_share and isinstance(share, (int, float)) else None, note=note
    )


# --- what comes back ----------------------------------------------------------


class _Drawn(msgspec.Struct):
    images: list[msgspec.Raw] = []
    info: object = None


class _Enhanced(msgspec.Struct):
    image: msgspec.Raw


class _Info(msgspec.Struct):
    all_seeds: object = None
    seed: object = None
    index_of_first_image: object = None


_decode_drawn = msgspec.json.Decoder(_Drawn).decode
_decode_enhanced = msgspec.json.Decoder(_Enhanced).decode
_decode_info = msgspec.json.Decoder(_Info).decode
_decode_list = msgspec.json.Decoder(list[object]).decode


def _read(call: Call, response: HttpResponse) -> GeneratedImages:
    """The images without the grid before them and the maps behind them."""
    drawn = decode(_decode_drawn, response, _NAME, billed="no")
    info = _read_info(drawn.info)
    first = info.index_of_first_image
    if not isinstance(first, int) or isinstance(first, bool) or not 0 <= first < len(drawn.images):
        # Older versions do not mark it; there is a grid if there is one image
        # more than several.
        first = 1 if 1 < call.count == len(drawn.images) - 1 else 0
    images = [
        _read_image(item, _read_seed(info, place))
        for place, item in enumerate(drawn.images[first : first + call.count])
    ]
    if not any(isinstance(image, GeneratedImage) for image in images):
        raise refusal_in_success(response, _NAME) or ProviderError(
            f"{_NAME} answered without an image.", details=trace(response)
        )
    return GeneratedImages(images=tuple(images))


def _read_info(info: object) -> _Info:
    """JSON in a string."""
    try:
        return _decode_info(info.encode()) if isinstance(info, str) else _Info()
    except (*MALFORMED, UnicodeEncodeError):
        return _Info()


def _read_seed(info: _Info, place: int) -> int | None:
    seeds = info.all_seeds if isinstance(info.all_seeds, list) else [info.seed]
    seed = seeds[place] if place < len(seeds) else None
    return (
        seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 else None
    )


def _read_image(item: msgspec.Raw, seed: int | None) -> GeneratedImage | LostImage:
    try:
        return GeneratedImage(data=decode_base64(item, _NAME), seed=seed)
    except ProviderError as error:
        return LostImage(reason=error.message)


# --- errors -------------------------------------------------------------------


class _Refused(msgspec.Struct):
    error: object = None
    detail: object = None
    errors: object = None


_decode_refused = msgspec.json.Decoder(_Refused).decode

# Sent with status 500 or 404, though the request is at fault.
_AT_FAULT = (
    "invalid encoded image",
    "invalid image url",
    "requests not allowed",
    "init image not found",
)


def _refusal(response: HttpResponse) -> ImagenError:
    try:
        refused = decode_json(_decode_refused, response.body)
    except MALFORMED:
        refused = _Refused()
    kind, text = one_line(refused.error), _complaint(refused)
    text = text or read_sentence(response.body)
    said = f"{_NAME} says: {text.rstrip('.')}." if text else f"{_NAME} answered {response.status}."
    details = trace(response) | ({"error": kind} if kind else {})
    if any(words in text.casefold() for words in _AT_FAULT):
        return InvalidRequestError(said, code="INVALID_PROMPT", details=details)
    match response.status:
        case 400 | 422 | 413:
            return InvalidRequestError(said, code="INVALID_PROMPT", details=details)
        case 401 | 403:
            return AuthenticationError(
                f"{said} Put user:password of --api-auth into SD_WEBUI_AUTH.", details=details
            )
        case 404:
            return ProviderError(
                f"{said} Start the web UI with --api, and check SD_WEBUI_URL.", details=details
            )
        case 500 if runs_out_of_memory(kind, text):
            return ProviderError(f"{said} Ask for a smaller size.", details=details)
        case 500:
            # It would fail at the same thing again.
            return ProviderError(said, details=details)
        case status if status > 500 or status in (408, 429):
            return outage(response, _NAME, said, details)
        case status if status >= 400:
            return InvalidRequestError(said, code="API_ERROR", details=details)
        case _:
            return ProviderError(
                f"{said} That is no answer of the web UI; check SD_WEBUI_URL.", details=details
            )


def _complaint(refused: _Refused) -> str:
    if isinstance(refused.detail, list):
        items = (item for item in refused.detail if isinstance(item, dict))
        return one_line("; ".join(f"{_place(item)}: {one_line(item.get('msg'))}" for item in items))
    kind = one_line(refused.error)
    text = one_line(refused.detail) or one_line(refused.errors)
    return text if not text or not kind or kind == "HTTPException" else f"{kind}: {text}"


def _place(item: Mapping[str, object]) -> str:
    place = item.get("loc")
    return ".".join(map(one_line, place[1:])) if isinstance(place, list) else ""


PROVIDER = Provider(
    name="automatic1111",
    operations={
        "generate": partial(keep_free, draw),
        "edit": partial(keep_free, draw),
        "vary": partial(keep_free, draw),
        "enhance": partial(keep_free, enhance),
    },
    list_models=list_models,
    base_url="http://127.0.0.1:7860",
    base_url_variable="SD_WEBUI_URL",
    key_variables=("SD_WEBUI_AUTH",),
    key_required=False,
    basic_auth=True,
    optional=True,
    probe_url=f"{_API}/sd-models",
    home_page="github.com/AUTOMATIC1111/stable-diffusion-webui",
    settings={
        # Seconds between two questions how far an image is.
        "progress_seconds": 1.0,
        # The upscaler of an enhancement, by its name on the page; "None" would
        # change nothing.
        "upscaler": "R-ESRGAN 4x+",
        # True if the image of a caller who has gone is interrupted. The engine
        # then stops whatever it is drawing.
        "interrupts": True,
    },
)
