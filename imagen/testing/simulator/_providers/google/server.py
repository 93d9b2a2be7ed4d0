"""Google's Gemini API and Vertex AI: models/X:generateContent, models/X:predict
and GET models, as of 2026-11-22.

https://ai.google.dev/gemini-api/docs/image-generation; with Gemini's Batch API.
"""

import io
import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from functools import partial

import msgspec
import pybase64

from ..._core.faults import (
    Decline,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
    Withheld,
)
from ..._core.jobs import Job
from ..._core.messages import Drawing, Kind, Reply, Submission, json_reply
from .batches import answer_batch, kind_of, start_upload

_TYPE = "type.googleapis.com/google.rpc."
_TEN_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_FOURTEEN_RATIOS = (*_TEN_RATIOS, "1:4", "4:1", "1:8", "8:1")
_IMAGEN_RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9")
_SIDES = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
_TOKENS_PER_INPUT = 258
_MOST_BYTES = 20_000_000
_CATEGORIES = ("HATE_SPEECH", "HARASSMENT", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
_THRESHOLDS = (
    "BLOCK_NONE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_LOW_AND_ABOVE",
    "OFF",
)

_TOP = {"contents", "systemInstruction", "generationConfig", "safetySettings", "tools"}
_CONFIG = {
    "responseModalities",
    "imageConfig",
    "seed",
    "candidateCount",
    "temperature",
    "topP",
    "thinkingConfig",
}
_PREDICT = {
    "sampleCount",
    "aspectRatio",
    "sampleImageSize",
    "personGeneration",
    "safetySetting",
    "includeRaiReason",
    "includeSafetyAttributes",
    "outputOptions",
    "language",
}
_PREDICT_VERTEX = {
    "negativePrompt",
    "seed",
    "addWatermark",
    "enhancePrompt",
    "storageUri",
    "guidanceScale",
    "labels",
}


class GeminiModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of `:generateContent`. Prices are US dollars per million
    tokens.
    """

    text_input: Decimal
    text_output: Decimal
    image_output: Decimal
    image_tokens: Mapping[str, int]
    ratios: tuple[str, ...] = _TEN_RATIOS
    most_images: int = 14
    format: str = "jpeg"
    thinking_tokens: int = 0


MODELS = {
    "gemini-nano-banana-2.1": GeminiModel(
        text_input=Decimal("1.50"),
        text_output=Decimal("7.50"),
        image_output=Decimal(30),
        image_tokens={"1K": 1120, "2K": 1680, "4K": 3780},
        ratios=_FOURTEEN_RATIOS,
        thinking_tokens=174,
    ),
    "gemini-3-pro-image": GeminiModel(
        text_input=Decimal("2.00"),
        text_output=Decimal(12),
        image_output=Decimal(120),
        image_tokens={"1K": 1120, "2K": 1120, "4K": 2000},
        thinking_tokens=174,
    ),
    "gemini-3.1-flash-lite-image": GeminiModel(
        text_input=Decimal("0.25"),
        text_output=Decimal("1.50"),
        image_output=Decimal(30),
        image_tokens={"1K": 1120},
    ),
    "gemini-3.1-flash-image": GeminiModel(
        text_input=Decimal("0.50"),
        text_output=Decimal(3),
        image_output=Decimal(60),
        image_tokens={"512": 747, "1K": 1120, "2K": 1680, "4K": 2520},
        ratios=_FOURTEEN_RATIOS,
    ),
    "gemini-2.5-flash-image": GeminiModel(
        text_input=Decimal("0.30"),
        text_output=Decimal("2.50"),
        image_output=Decimal(30),
        image_tokens={"1K": 1290},
        most_images=3,
        format="png",
    ),
}
RETIRED = frozenset(("gemini-3.1-flash-image",))
_IMAGEN_USD = {
    "imagen-4.0-fast-generate-001": Decimal("0.02"),
    "imagen-4.0-generate-001": Decimal("0.04"),
    "imagen-4.0-ultra-generate-001": Decimal("0.06"),
}


class _RefusedError(Exception):
    """The request is refused with Google's envelope."""

    def __init__(
        self,
        message: str,
        *details: Mapping[str, object],
        code: int = 400,
        status: str = "INVALID_ARGUMENT",
    ) -> None:
        super().__init__(message)
        self.reply = _error(code, status, message, *details)


class Google(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated service.

    Args:
        vertex: a bearer token instead of a key, Imagen for projects that have
            it, and the choice of the file format.
        retired: models that return 404.
    """

    name: str = "google"
    base_path: str = "/v1beta"
    vertex: bool = False
    retired: Collection[str] = RETIRED

    def kind(self, method: str, path: str) -> Kind:
        if (
            method == "POST"
            and path.startswith("/models/")
            and path.endswith((":generateContent", ":predict"))
        ):
            return "create"
        if method == "GET" and path == "/models":
            return "list"
        return (None if self.vertex else kind_of(method, path)) or "other"

    def answer(self, job: Job) -> Reply | Drawing | Submission:
        if refused := self.refuse_key(job):
            return refused
        if self.kind(job.received.method, job.path) == "list" and not self.vertex:
            return self._list()
        try:
            if not self.vertex and kind_of(job.received.method, job.path) is not None:
                return self._batch(job)
            if self.kind(job.received.method, job.path) != "create":
                raise _RefusedError(
                    "The requested URL was not found.", code=404, status="NOT_FOUND"
                )
            return self._create(job)
        except _RefusedError as refusal:
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait):
                return _quota("GenerateRequestsPerMinutePerProjectPerModel", wait)
            case QuotaExhausted():
                return _quota("GenerateRequestsPerDayPerProjectPerModel", 3600)
            case Overloaded():
                return _error(
                    503, "UNAVAILABLE", "The model is overloaded. Please try again later."
                )
            case NotAllowed():
                return _error(403, "PERMISSION_DENIED", "The caller does not have permission.")
            case Refused() if job.path.endswith(":predict"):
                return json_reply(
                    {"predictions": [{"raiFilteredReason": "The prompt could not be submitted."}]}
                )
            case Refused():
                return json_reply(
                    {
                        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                        "responseId": "simulated",
                    }
                )
            case _:
                assert isinstance(fault, ServerError), fault
                return _error(500, "INTERNAL", "An internal error has occurred.")

    def refuse_key(self, job: Job) -> Reply | None:
        headers = job.received.headers
        if self.vertex:
            if headers.get("authorization") == f"Bearer {job.key}":
                return None
            text = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            return _error(401, "UNAUTHENTICATED", text)
        if headers.get("x-goog-api-key") == job.key:
            return None
        detail = {
            "@type": f"{_TYPE}ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
        return _error(
            400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", detail
        )

    def _list(self) -> Reply:
        names = [
            name for name in (*MODELS, *_IMAGEN_USD, "gemini-2.5-flash") if name not in self._gone()
        ]
        return json_reply(
            {"models": [{"name": f"models/{name}", "displayName": name} for name in names]}
        )

    def _gone(self) -> frozenset[str]:
        return (
            frozenset(self.retired) if self.vertex else frozenset(self.retired) | _IMAGEN_USD.keys()
        )

    def _batch(self, job: Job) -> Reply | Submission:
        name, _, method = job.path.removeprefix("/models/").rpartition(":")
        if method == "batchGenerateContent":
            self._check_model(name, method, MODELS)

        def execute(body: bytes) -> Drawing | Reply:
            try:
                return _generate_content(job, name, _object(_decode(body), "request"), vertex=False)
            except _RefusedError as refusal:
                return refusal.reply

        return answer_batch(job, execute, _error)

    def _check_model(self, name: str, method: str, known: Collection[str]) -> None:
        if name not in known or name in self._gone():
            message = (
                f"models/{name} is not found for API version v1beta, or is not supported for"
                f" {method}."
            )
            raise _RefusedError(message, code=404, status="NOT_FOUND")

    def _create(self, job: Job) -> Drawing:
        name, _, method = job.path.removeprefix("/models/").rpartition(":")
        self._check_model(name, method, MODELS if method == "generateContent" else _IMAGEN_USD)
        if len(job.received.body) > _MOST_BYTES:
            raise _RefusedError("Request payload size exceeds the limit: 20971520 bytes.")
        body = _object(_decode(job.received.body), "request")
        if method == "predict":
            return _predict(job, name, body, vertex=self.vertex)
        return _generate_content(job, name, body, vertex=self.vertex)


class GoogleUploads(msgspec.Struct, frozen=True, kw_only=True):
    """Start of file uploads: beside the rest of the Gemini API, at another
    path.
    """

    name: str = "google/upload"
    base_path: str = "/v1beta"

    def kind(self, method: str, path: str) -> Kind:
        return "upload"

    def answer(self, job: Job) -> Reply:
        return Google().refuse_key(job) or start_upload(job, _error)

    def decline(
        self, job: Job, fault: Decline
    ) -> Reply:  # pragma: no cover (no plan has faults for uploads)
        return self.answer(job)


# --- :generateContent ---------------------------------------------------------


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has passed every check."""

    prompt: str
    images: tuple[bytes, ...]
    width: int
    height: int
    format: str
    usage: dict[str, object]
    usd: Decimal


def _generate_content(job: Job, name: str, body: dict[str, object], *, vertex: bool) -> Drawing:
    ask = _read_ask(job, MODELS[name], body, vertex=vertex)
    images = job.count(1)
    return Drawing(
        model=name, images=images, usd=ask.usd, paint=partial(_paint, job, name, ask, images)
    )


def _read_ask(job: Job, model: GeminiModel, body: dict[str, object], *, vertex: bool) -> _Ask:
    _refuse_unknown(body, _TOP | ({"labels", "modelArmorConfig"} if vertex else set()), "request")
    prompt, images = _read_contents(body, model)
    config = _object(body.get("generationConfig", {}), "generation_config")
    _refuse_unknown(config, _CONFIG, "generation_config")
    _integer(config, "seed", -(2**31), 2**31 - 1)
    _integer(config, "candidateCount", 1, 1)
    modalities = config.get("responseModalities", ["TEXT", "IMAGE"])
    if modalities not in (["IMAGE"], ["TEXT", "IMAGE"], ["IMAGE", "TEXT"]):
        raise _RefusedError(
            f"Invalid value at 'generation_config.response_modalities': {modalities}."
        )
    _check_safety(body.get("safetySettings", []))
    image = _object(config.get("imageConfig", {}), "generation_config.image_config")
    more = {"personGeneration", "prominentPeople", "imageOutputOptions"} if vertex else set[str]()
    _refuse_unknown(image, {"aspectRatio", "imageSize"} | more, "generation_config.image_config")
    size = _choice(image, "imageSize", tuple(model.image_tokens), "1K")
    if "imageSize" in image and len(model.image_tokens) == 1 and model.format == "jpeg":
        raise _RefusedError("This model has one resolution: image_size is not supported.")
    ratio = _choice(image, "aspectRatio", model.ratios, "")
    width, height = _pixels(ratio or _input_ratio(images), size)
    drawn = model.image_tokens[size] if job.count(1) else 0
    usage, usd = _count(job, model, prompt, len(images), drawn)
    return _Ask(
        prompt=prompt,
        images=images,
        width=width,
        height=height,
        format=_read_output_options(image, "imageOutputOptions") or model.format,
        usage=usage,
        usd=usd,
    )


def _read_contents(body: dict[str, object], model: GeminiModel) -> tuple[str, tuple[bytes, ...]]:
    contents = _list_of(body.get("contents"), "contents")
    if not contents:
        raise _RefusedError("* GenerateContentRequest.contents: contents is not specified")
    texts, images = list[str](), list[bytes]()
    for entry in contents:
        content = _object(entry, "contents[0]")
        _refuse_unknown(content, {"role", "parts"}, "contents[0]")
        if content.get("role", "user") not in ("user", "model"):
            raise _RefusedError("Please use a valid role: user, model.")
        for part in _list_of(content.get("parts"), "contents[0].parts"):
            fields = _object(part, "contents[0].parts[0]")
            _refuse_unknown(fields, {"text", "inlineData", "fileData"}, "contents[0].parts[0]")
            if "inlineData" in fields:
                images.append(_read_image(_object(fields["inlineData"], "inline_data")))
            elif isinstance(text := fields.get("text"), str) and text:
                texts.append(text)
            else:
                raise _RefusedError(
                    "Unable to submit request because it must have a text parameter."
                )
    if len(images) > model.most_images:
        raise _RefusedError(f"At most {model.most_images} images are supported, got {len(images)}.")
    return " ".join(texts), tuple(images)


def _read_image(inline: dict[str, object]) -> bytes:
    _refuse_unknown(inline, {"mimeType", "data"}, "inline_data")
    mime_type, text = inline.get("mimeType"), inline.get("data")
    if mime_type not in ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif"):
        raise _RefusedError(f"Unsupported MIME type: {mime_type}")
    from PIL import Image

    try:
        data = pybase64.b64decode(text if isinstance(text, str) else "", validate=True)
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            if opened.get_format_mimetype() != mime_type:
                raise ValueError(f"it is {opened.get_format_mimetype()}")
    except (OSError, ValueError) as error:
        raise _RefusedError(f"Unable to process input image: {error}") from None
    return data


def _check_safety(value: object) -> None:
    for entry in _list_of(value, "safety_settings"):
        setting = _object(entry, "safety_settings[0]")
        _refuse_unknown(setting, {"category", "threshold"}, "safety_settings[0]")
        _choice(setting, "category", tuple(f"HARM_CATEGORY_{name}" for name in _CATEGORIES), None)
        _choice(setting, "threshold", _THRESHOLDS, None)


def _input_ratio(images: tuple[bytes, ...]) -> str:
    if not images:
        return "1:1"
    from PIL import Image

    with Image.open(io.BytesIO(images[0])) as opened:
        return f"{opened.width}:{opened.height}"


def _pixels(ratio: str, size: str) -> tuple[int, int]:
    """16:9 is 1376x768 at 1K, and the others are like it."""
    across, down = map(int, ratio.split(":"))
    width, height = (
        max(1, round(1024 * math.sqrt(part) / 32)) * 32 for part in (across / down, down / across)
    )
    factor = _SIDES[size] / 1024
    return round(width * factor), round(height * factor)


def _count(
    job: Job, model: GeminiModel, prompt: str, inputs: int, drawn: int
) -> tuple[dict[str, object], Decimal]:
    text, images = len(prompt) // 4 + 1, inputs * _TOKENS_PER_INPUT
    thoughts = model.thinking_tokens
    # Some words are counted as candidates, beside the image and the thoughts.
    words = 5
    details = [{"modality": "TEXT", "tokenCount": text}]
    details += [{"modality": "IMAGE", "tokenCount": images}] if images else []
    usage: dict[str, object] = {
        "promptTokenCount": text + images,
        "candidatesTokenCount": drawn + words,
        "totalTokenCount": text + images + drawn + words + thoughts,
        "promptTokensDetails": details,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": drawn}] if drawn else [],
        "serviceTier": "standard",
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if job.usd_per_image is not None:
        return {}, job.usd_per_image if drawn else Decimal(0)
    usd = (
        model.text_input * (text + images)
        + model.text_output * (words + thoughts)
        + model.image_output * drawn
    )
    return usage, usd / 1_000_000


def _paint(job: Job, name: str, ask: _Ask, images: int) -> Reply:
    candidate: dict[str, object] = {"content": {}, "finishReason": "IMAGE_SAFETY", "index": 0}
    if isinstance(job.fault, Withheld):
        candidate["finishMessage"] = "Unable to show the generated image. It violates our policies."
    elif not images:
        candidate |= {
            "content": {"parts": [{"text": "A fine idea."}], "role": "model"},
            "finishReason": "NO_IMAGE",
        }
    else:
        data = job.as_base64(_draw(job, ask))
        # Megabytes in the real reply.
        signature = pybase64.b64encode_as_string(job.chance.randbytes(3000))
        parts: list[dict[str, object]] = [
            {"text": "**Thinking about it**", "thought": True},
            {"text": "Here you go: "},
            {
                "inlineData": {"mimeType": f"image/{ask.format}", "data": data},
                "thoughtSignature": signature,
            },
        ]
        candidate |= {"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}
    payload: dict[str, object] = {
        "candidates": [candidate],
        "modelVersion": name,
        "responseId": "simulated",
    }
    if ask.usage:
        payload["usageMetadata"] = ask.usage
    return json_reply(payload, headers=(("x-gemini-service-tier", "standard"),), chunked=True)


def _draw(job: Job, ask: _Ask) -> bytes:
    """A new image; made of others, it shows the first of them, with a stripe of
    the colour of each further one.
    """
    drawn = job.draw(ask.width, ask.height, format=ask.format)
    if not ask.images or job.spoiled:
        return drawn
    from PIL import Image

    first, *others = (Image.open(io.BytesIO(data)).convert("RGB") for data in ask.images)
    canvas = first.resize((ask.width, ask.height))
    stripe = ask.height // 20
    for number, other in enumerate(others):
        canvas.paste(other.resize((1, 1)).resize((ask.width, stripe)), (0, number * stripe))
    file = io.BytesIO()
    canvas.save(file, ask.format.upper())
    return file.getvalue()


# --- :predict -----------------------------------------------------------------


def _predict(job: Job, name: str, body: dict[str, object], *, vertex: bool) -> Drawing:
    _refuse_unknown(body, {"instances", "parameters"}, "request")
    instances = _list_of(body.get("instances"), "instances")
    prompt = _object(instances[0], "instances[0]").get("prompt") if len(instances) == 1 else None
    if not isinstance(prompt, str) or not prompt:
        raise _RefusedError("Prompt is empty.")
    asked = _object(body.get("parameters", {}), "parameters")
    _refuse_unknown(asked, _PREDICT | (_PREDICT_VERTEX if vertex else set()), "parameters")
    images = job.count(
        _integer(asked, "sampleCount", 1, 1 if "ultra" in name else 4, 1 if "ultra" in name else 4)
    )
    ratio = _choice(asked, "aspectRatio", _IMAGEN_RATIOS, "1:1")
    size = _choice(asked, "sampleImageSize", ("1K",) if "fast" in name else ("1K", "2K"), "1K")
    levels = ("block_low_and_above", "block_medium_and_above", "block_only_high", "block_none")
    _choice(asked, "safetySetting", levels, levels[1])
    format = _read_output_options(asked, "outputOptions") or "png"
    _integer(asked, "seed", 0, 2**32 - 1)
    if "seed" in asked and asked.get("addWatermark") is not False:
        raise _RefusedError("Seed is not supported when watermark is enabled.")
    withheld = min(images, 1) if isinstance(job.fault, Withheld) else 0
    width, height = _pixels(ratio, size)

    def paint() -> Reply:
        items: list[dict[str, object]] = [
            {
                "mimeType": f"image/{format}",
                "bytesBase64Encoded": job.as_base64(job.draw(width, height, format=format)),
            }
            for _ in range(images - withheld)
        ]
        # A filtered image costs nothing, and has a reason only if it was asked
        # for.
        reason = (
            "Unable to show generated images: they violate our usage guidelines. Support codes: 1"
        )
        items[:0] = [{"raiFilteredReason": reason}] * (
            withheld if asked.get("includeRaiReason") is True else 0
        )
        return json_reply({"predictions": items} if items else {}, chunked=True)

    usd = (images - withheld) * (job.usd_per_image or _IMAGEN_USD[name])
    return Drawing(model=name, images=images - withheld, usd=usd, paint=paint)


def _read_output_options(fields: dict[str, object], name: str) -> str | None:
    options = _object(fields.get(name, {}), name)
    _refuse_unknown(options, {"mimeType", "compressionQuality"}, name)
    _integer(options, "compressionQuality", 0, 100)
    return (
        _choice(options, "mimeType", ("image/png", "image/jpeg"), "").removeprefix("image/") or None
    )


# --- reading and refusing -----------------------------------------------------


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _RefusedError("Invalid JSON payload received. Unexpected token.") from None


def _object(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _RefusedError(f"Invalid value at '{where}': an object is expected.")
    return value


def _list_of(value: object, where: str) -> list[object]:
    if not isinstance(value, list):
        raise _RefusedError(f"Invalid value at '{where}': a list is expected.")
    return value


def _refuse_unknown(fields: dict[str, object], known: Collection[str], where: str) -> None:
    for name in fields:
        if name not in known:
            message = (
                f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find"
                " field."
            )
            raise _RefusedError(
                message, {"@type": f"{_TYPE}BadRequest", "fieldViolations": [{"field": where}]}
            )


def _choice(
    fields: dict[str, object], name: str, allowed: Collection[str], default: str | None
) -> str:
    value = fields.get(name, default)
    if isinstance(value, str) and (value in allowed or (value == default and name not in fields)):
        return value
    raise _RefusedError(
        f"Invalid value at '{name}': {value!r}. Supported values are {', '.join(allowed)}."
    )


def _integer(
    fields: dict[str, object], name: str, lowest: int, highest: int, default: int = 1
) -> int:
    value = fields.get(name, default)
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
        return value
    raise _RefusedError(
        f"Invalid value at '{name}': {value!r} is not between {lowest} and {highest}."
    )


def _error(code: int, status: str, message: str, *details: Mapping[str, object]) -> Reply:
    error: dict[str, object] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return json_reply({"error": error}, status=code)


def _quota(quota: str, wait_seconds: float) -> Reply:
    """Without a header for the wait: only `RetryInfo` has it."""
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_requests",
        "quotaId": quota,
        "quotaValue": "10",
    }
    return _error(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan.",
        {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]},
        {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait_seconds:g}s"},
    )


VERTEX_BASE_PATH = "/v1beta1/projects/test/locations/global/publishers/google"
SIMULATED = (
    Google(),
    GoogleUploads(),
    Google(name="vertex", base_path=VERTEX_BASE_PATH, vertex=True),
)
