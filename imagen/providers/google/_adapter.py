"""Google's image models: Gemini over the Gemini API and Vertex AI, and Imagen
if a Vertex project still has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote

import msgspec

from ..._errors import Billed, ContentFilterError, InvalidRequestError, ProviderError
from ..._requests.catalog import JsonValue
from ...metadata._whole_image import find_image_start
from .._provider import Call, EncodedImage, ListedModel, ModelListing, Provider
from .._replies.amounts import read_count, read_fields
from .._replies.decoding import MALFORMED, decode, decode_base64, one_line, trace
from .._replies.refusals import refusal_in_success
from .._steps import (
    Exchange,
    GeneratedImage,
    GeneratedImages,
    HttpRequest,
    HttpResponse,
    UnmadeImage,
    Usage,
    WithheldImage,
)
from .._wire.batch_files import SETTINGS
from .._wire.http import add_options, as_base64, json_request, send
from ._batch import batch_api
from ._errors import refusal

__all__ = ["PROVIDERS", "edit", "generate", "list_models", "restyle"]

_NAMES = {"google": "Google", "vertex": "Vertex AI"}
_RESTYLING = "Redraw the first image in the style of the second one. Keep what the first one shows."

_CATEGORIES = ("HATE_SPEECH", "HARASSMENT", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_THRESHOLDS = {"strict": "low_and_above", "standard": "medium_and_above", "relaxed": "only_high"}

# Reasons to stop (ai.google.dev, generate-content): an image was made and is
# not shown,
_WITHHELD = frozenset(("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"))
# or the request was refused before there was one,
_REFUSED = frozenset(("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"))
# or the model could not draw it, and its text tells that this costs nothing.
_FREE_REFUSAL = "IMAGE_OTHER"
_TALKED = frozenset(("NO_IMAGE", "STOP"))

_NULL = msgspec.Raw(b"null")
_MOST_PAGES = 10


class _Reply(msgspec.Struct):
    candidates: msgspec.Raw = _NULL
    promptFeedback: msgspec.Raw = _NULL
    usageMetadata: msgspec.Raw = _NULL


class _Part(msgspec.Struct):
    """One part. Its `thoughtSignature`, megabytes of base64, has no field here,
    so it is not copied.
    """

    text: object = ""
    thought: object = False
    inlineData: msgspec.Raw = _NULL


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    finishReason: object = ""
    finishMessage: object = ""


class _InlineData(msgspec.Struct):
    mimeType: object = ""
    data: msgspec.Raw = _NULL


class _Prediction(msgspec.Struct):
    bytesBase64Encoded: msgspec.Raw = _NULL
    raiFilteredReason: object = ""


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction] | None = None


class _ListedModel(msgspec.Struct):
    name: str
    displayName: object = ""


class _ModelList(msgspec.Struct):
    models: list[_ListedModel] | None = None
    nextPageToken: object = ""


_decode_reply = msgspec.json.Decoder(_Reply).decode
_decode_candidates = msgspec.json.Decoder(list[_Candidate] | None).decode
_decode_inline_data = msgspec.json.Decoder(_InlineData).decode
_decode_predictions = msgspec.json.Decoder(_Predictions).decode
_decode_list = msgspec.json.Decoder(_ModelList).decode


# --- operations ---------------------------------------------------------------


def generate(call: Call) -> Exchange:
    """Text to image, with or without images that lend their look or subject."""
    if call.model.wire.get("method") == "predict":
        return (yield from _predict(call))
    return (yield from _generate_content(call, _generation_body(call)))


def edit(call: Call) -> Exchange:
    """Edit the images, in their order, by the prompt."""
    return (
        yield from _generate_content(call, _content_body(call, call.images, call.request.prompt))
    )


def restyle(call: Call) -> Exchange:
    """Restyle the image: image, style reference, and a prompt that names them."""
    prompt = f"{_RESTYLING} {call.request.prompt}".strip()
    return (
        yield from _generate_content(
            call, _content_body(call, (*call.images, *call.references), prompt)
        )
    )


def list_models() -> ModelListing:
    """The image models of the Gemini API; the list has no mark for them, so
    their names decide.
    """
    found: list[ListedModel] = []
    token = ""
    for _ in range(_MOST_PAGES):
        url = "models?pageSize=1000" + (f"&pageToken={quote(token, safe='')}" if token else "")
        response = yield from send(HttpRequest(method="GET", url=url, repeatable=True))
        if response.status != 200:
            error = refusal(response, _NAMES["google"])
            # A list is free, whatever happened to it.
            error.billed = "no"
            raise error
        page = decode(_decode_list, response, _NAMES["google"], billed="no")
        for model in page.models or ():
            wire_name = model.name.removeprefix("models/")
            if any(word in wire_name for word in ("-image", "imagen", "nano-banana")):
                found.append(ListedModel(wire_name=wire_name, name=one_line(model.displayName)))
        if not isinstance(page.nextPageToken, str) or not page.nextPageToken:
            break
        token = page.nextPageToken
    return tuple(found)


# --- Gemini: :generateContent -------------------------------------------------


def _generate_content(call: Call, body: Mapping[str, JsonValue]) -> Exchange:
    response = yield from send(json_request(f"models/{call.model.wire_name}:generateContent", body))
    if response.status != 200:
        raise refusal(response, _NAMES[call.model.provider], call.model)
    return _read_content(call, response)


def _generation_body(call: Call) -> dict[str, JsonValue]:
    return _content_body(call, call.references, call.request.prompt)


def _content_body(
    call: Call, inputs: tuple[EncodedImage, ...], prompt: str
) -> dict[str, JsonValue]:
    request = call.request
    image = _present(
        aspectRatio=request.aspect_ratio,
        imageSize=request.resolution,
        imageOutputOptions=_output_options(request.output_format),
    )
    # Without words in between: a model that may talk sometimes talks instead of
    # drawing.
    config = _present(responseModalities=["IMAGE"], imageConfig=image or None, seed=request.seed)
    parts: list[JsonValue] = [
        {"inlineData": {"mimeType": source.media_type, "data": as_base64(source)}}
        for source in inputs
    ]
    # A reference needs no prompt; an empty text is refused.
    parts += [{"text": prompt}] if prompt else []
    body: dict[str, JsonValue] = {
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": config,
    }
    if request.safety is not None:
        threshold = f"BLOCK_{_THRESHOLDS[request.safety].upper()}"
        body["safetySettings"] = [
            {"category": f"HARM_CATEGORY_{category}", "threshold": threshold}
            for category in _CATEGORIES
        ]
    merged = add_options(body, request, reserved=("contents",))
    own = request.options.get("generationConfig")
    if isinstance(own, Mapping):
        if "candidateCount" in own:
            raise InvalidRequestError(
                "options may not hold candidateCount: say n for more than one image."
            )
        merged["generationConfig"] = _merge(config, own)
    return merged


def _read_content(call: Call, response: HttpResponse) -> GeneratedImages:
    name = _NAMES[call.model.provider]
    reply = decode(_decode_reply, response, name)
    try:
        candidates = _decode_candidates(reply.candidates) or []
    except MALFORMED as error:
        raise ProviderError(
            f"{name} replied with candidates of unknown form; they may have been billed.",
            billed="unknown",
            details=trace(response),
        ) from error
    parts = [
        part
        for candidate in candidates
        if candidate.content
        for part in candidate.content.parts or ()
    ]
    data = [
        found
        for part in parts
        if part.thought is not True and (found := _read_image(part, name)) is not None
    ]
    usage = _read_usage(reply.usageMetadata, drawn=bool(data))
    if not data:
        said = " ".join(filter(None, (one_line(part.text) for part in parts)))
        return _read_refusal(call, reply, candidates[0] if candidates else None, said, usage)
    images = tuple(GeneratedImage(data=image, seed=call.request.seed) for image in data)
    return GeneratedImages(images=images, usage=usage)


def _read_image(part: _Part, name: str) -> bytes | None:
    """Return the image of a part; its bytes decide where the label is missing
    or wrong.
    """
    try:
        inline = _decode_inline_data(part.inlineData)
    except MALFORMED:
        return None
    labelled = isinstance(inline.mimeType, str) and inline.mimeType.lower().startswith("image/")
    if inline.data == _NULL and not labelled:
        return None
    data = decode_base64(inline.data, name)
    return data if labelled or find_image_start(data) is not None else None


def _read_refusal(
    call: Call, reply: _Reply, candidate: _Candidate | None, said: str, usage: Usage | None
) -> GeneratedImages:
    """Read a reply of status 200 without an image: withheld, refused, or text
    instead.
    """
    name = _NAMES[call.model.provider]
    feedback = read_fields(reply.promptFeedback)
    blocked = one_line(feedback.get("blockReason"))
    reason = blocked or (one_line(candidate.finishReason) if candidate is not None else "")
    words = one_line(
        feedback.get("blockReasonMessage") if blocked else candidate and candidate.finishMessage
    )
    words = (words or said or "no reason is given").rstrip(".")
    details = {"reason": reason} if reason else {}
    if not blocked and reason in _WITHHELD:
        free = call.settings.get("charges_for_withheld") is False
        withheld = GeneratedImages(
            images=(WithheldImage(reason=f"{reason}: {words}."),), usage=usage, details=details
        )
        # The cost of such a reply is undocumented; its usage has it, if
        # present.
        return msgspec.structs.replace(withheld, reported_cost_usd=Decimal(0)) if free else withheld
    if not blocked and reason == _FREE_REFUSAL:
        raise ContentFilterError(
            f"{name} could not draw this ({reason}): {words}.", billed="no", details=details
        )
    if blocked or reason in _REFUSED:
        # At most the tokens of the prompt are paid; whether they are is not
        # published.
        billed: Billed = (
            "no" if call.settings.get("charges_for_blocked_prompts") is False else "unknown"
        )
        raise ContentFilterError(
            f"{name} refuses this request ({reason}): {words}. Change the prompt or the images.",
            billed=billed,
            details=details,
        )
    if reason in _TALKED:
        error = InvalidRequestError(
            f"{name} answered in words instead of drawing ({reason}): {words}. Say in the prompt"
            " what the image should show.",
            code="INVALID_PROMPT",
            billed="unknown",
            details=details,
        )
        if usage is None:
            raise error
        return GeneratedImages(images=(UnmadeImage(error=error),), usage=usage, details=details)
    raise ProviderError(
        f"{name} answered without an image ({reason or 'no reason'}): {words}. It may have been"
        " billed.",
        billed="unknown",
        details=details,
    )


def _read_usage(raw: msgspec.Raw, *, drawn: bool) -> Usage | None:
    """Return the tokens of a reply; None if absent, or without tokens for an
    image that is there.
    """
    value = read_fields(raw)
    counted = read_count(value.get("promptTokenCount"))
    prompt = (counted or 0) + _count(value.get("toolUsePromptTokenCount"))
    candidates = _count(value.get("candidatesTokenCount"))
    image_input = min(_by_modality(value.get("promptTokensDetails"), "IMAGE"), prompt)
    image_output = _by_modality(value.get("candidatesTokensDetails"), "IMAGE")
    if drawn and not image_output:
        # The image's part of them is undocumented; it is nearly all of them.
        image_output = candidates
    if (drawn and not image_output) or not (prompt or candidates):
        return None
    return Usage(
        text_input_tokens=None if counted is None else prompt - image_input,
        image_input_tokens=image_input,
        # Thinking is billed as text, and counted beside the candidates, or
        # within them by some models.
        text_output_tokens=max(0, candidates - image_output)
        + _count(value.get("thoughtsTokenCount")),
        image_output_tokens=image_output,
    )


def _by_modality(details: object, modality: str) -> int:
    if not isinstance(details, list):
        return 0
    entries = [
        entry for entry in details if isinstance(entry, dict) and entry.get("modality") == modality
    ]
    return sum(_count(entry.get("tokenCount")) for entry in entries)


def _count(value: object) -> int:
    return read_count(value) or 0


# --- Imagen: :predict ---------------------------------------------------------


def _predict(call: Call) -> Exchange:
    request, name = call.request, _NAMES[call.model.provider]
    parameters = _present(
        sampleCount=call.count,
        aspectRatio=request.aspect_ratio,
        sampleImageSize=request.resolution,
        negativePrompt=request.negative_prompt,
        seed=request.seed,
        # A seed is refused beside the watermark.
        addWatermark=None if request.seed is None else False,
        safetySetting=None if request.safety is None else f"block_{_THRESHOLDS[request.safety]}",
        outputOptions=_output_options(request.output_format),
        # Without it a filtered image is missing without a reason.
        includeRaiReason=True,
    )
    # With a storageUri the images would be in a bucket, and not in the reply.
    parameters = add_options(parameters, request, reserved=("sampleCount", "storageUri"))
    body = {"instances": [{"prompt": request.prompt}], "parameters": parameters}
    response = yield from send(json_request(f"models/{call.model.wire_name}:predict", body))
    if response.status != 200:
        raise refusal(response, name, call.model)
    predictions = decode(_decode_predictions, response, name).predictions or []
    if not predictions:
        raise refusal_in_success(response, name) or ContentFilterError(
            f"{name} filtered out every image, which costs nothing, and gives no reason. Change the"
            " prompt.",
            billed="no",
        )
    # A seed belongs to one image only if one was asked for.
    seed = request.seed if call.count == 1 else None
    return GeneratedImages(images=tuple(_read_prediction(item, name, seed) for item in predictions))


def _read_prediction(
    item: _Prediction, name: str, seed: int | None
) -> GeneratedImage | WithheldImage:
    if reason := one_line(item.raiFilteredReason):
        return WithheldImage(reason=reason, billed=False)
    return GeneratedImage(data=decode_base64(item.bytesBase64Encoded, name), seed=seed)


# --- both ---------------------------------------------------------------------


def _output_options(output_format: str | None) -> dict[str, JsonValue] | None:
    return None if output_format is None else {"mimeType": f"image/{output_format}"}


def _present(**fields: JsonValue) -> dict[str, JsonValue]:
    return {name: value for name, value in fields.items() if value is not None}


def _merge(base: Mapping[str, JsonValue], over: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Merge one object into another, with the objects in them."""
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        merged[name] = (
            _merge(below, value)
            if isinstance(below, Mapping) and isinstance(value, Mapping)
            else value
        )
    return merged


_SETTINGS: dict[str, JsonValue] = {
    "charges_for_withheld": True,
    "charges_for_blocked_prompts": True,
}

PROVIDERS = (
    Provider(
        name="google",
        operations={"generate": generate, "edit": edit, "restyle": restyle},
        list_models=list_models,
        batch_api=batch_api(_generation_body, _read_content),
        base_url="https://generativelanguage.googleapis.com/v1beta",
        base_url_variable="GOOGLE_BASE_URL",
        key_variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        key_header="x-goog-api-key",
        key_prefix="",
        probe_url="models?pageSize=1",
        home_page="aistudio.google.com/apikey",
        settings={**_SETTINGS, **SETTINGS},
    ),
    Provider(
        name="vertex",
        operations={"generate": generate, "edit": edit, "restyle": restyle},
        base_url_variable="VERTEX_BASE_URL",
        key_variables=("VERTEX_ACCESS_TOKEN",),
        optional=True,
        home_page="console.cloud.google.com/vertex-ai",
        settings=_SETTINGS,
    ),
)
