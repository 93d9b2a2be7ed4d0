"""Stability AI's v2beta: POST stable-image/*, GET results/{id}, as of
2026-11-22.

https://platform.stability.ai/docs/api-reference
"""

import io
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial

import msgspec
import pybase64

from ..._core.faults import (
    Decline,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
    Spoil,
    Withheld,
)
from ..._core.forms import FormError, parse_form
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Drawing, Kind, Reply, Submission, json_reply
from . import images as drawing

_RATIOS = ("21:9", "16:9", "3:2", "5:4", "1:1", "4:5", "2:3", "9:16", "9:21")
_STYLES = (
    "3d-model",
    "analog-film",
    "anime",
    "cinematic",
    "comic-book",
    "digital-art",
    "enhance",
    "fantasy-art",
    "isometric",
    "line-art",
    "low-poly",
    "modeling-compound",
    "neon-punk",
    "origami",
    "photographic",
    "pixel-art",
    "tile-texture",
)
_SD3_CREDITS = {
    "sd3.5-large": Decimal("6.5"),
    "sd3.5-large-turbo": Decimal(4),
    "sd3.5-medium": Decimal("3.5"),
    "sd3.5-flash": Decimal("2.5"),
}
_MOST_BYTES = 10 << 20
_MOST_SEED = 4_294_967_294
_SEED = ("seed", 0, _MOST_SEED)
_WHOLE = ("seed", "grow_mask", "left", "right", "up", "down")

Fields = Mapping[str, str]
Files = Mapping[str, bytes]
Paint = Callable[[Job, Fields, Files], bytes]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One path: its fields and effect. `numbers` are names with their lowest
    and highest value.
    """

    credits: Decimal
    paint: Paint
    texts: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    numbers: tuple[tuple[str, float, float], ...] = (_SEED,)
    choices: Mapping[str, tuple[str, ...]] = {}
    files: tuple[str, ...] = ()
    required_files: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("png", "jpeg", "webp")
    sides: tuple[int, int] = (64, 100_000)
    pixels: tuple[int, int] = (4096, 9_437_184)
    ratio: float | None = 2.5
    waits: bool = False


def _number(fields: Fields, name: str, default: float) -> float:
    return float(fields.get(name, default))


def _ratio(fields: Fields) -> str:
    return fields.get("aspect_ratio", "1:1")


def _generate(megapixels: float, job: Job, fields: Fields, files: Files) -> bytes:
    if "image" in files:
        return drawing.blended(job, files["image"], _number(fields, "strength", 0.5))
    return drawing.generated(job, _ratio(fields), megapixels)


def _outpaint(job: Job, fields: Fields, files: Files) -> bytes:
    left, up, right, down = (int(fields.get(name, "0")) for name in ("left", "up", "right", "down"))
    return drawing.extended(job, files["image"], left, up, right, down)


_LOOK = {"style_preset": _STYLES}
_SHAPE = {"aspect_ratio": _RATIOS, **_LOOK}
_PROMPTS = ("prompt", "negative_prompt")
_FREE = {"ratio": None}

ENDPOINTS: Mapping[str, Endpoint] = {
    "generate/ultra": Endpoint(
        credits=Decimal(8),
        paint=partial(_generate, 1.0),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("strength", 0, 1)),
        choices=_SHAPE,
        files=("image",),
    ),
    "generate/core": Endpoint(
        credits=Decimal(3),
        paint=partial(_generate, 1.5),
        texts=_PROMPTS,
        required=("prompt",),
        choices=_SHAPE,
    ),
    "generate/sd3": Endpoint(
        credits=Decimal("6.5"),
        paint=partial(_generate, 1.0),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("cfg_scale", 1, 10), ("strength", 0, 1)),
        choices={
            **_SHAPE,
            "model": tuple(_SD3_CREDITS),
            "mode": ("text-to-image", "image-to-image"),
        },
        files=("image",),
    ),
    "edit/erase": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.repainted(job, files["image"], files.get("mask")),
        numbers=(_SEED, ("grow_mask", 0, 20)),
        files=("mask",),
        required_files=("image",),
        ratio=None,
    ),
    "edit/inpaint": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.repainted(job, files["image"], files.get("mask")),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("grow_mask", 0, 100)),
        choices=_LOOK,
        files=("mask",),
        required_files=("image",),
        ratio=None,
    ),
    "edit/outpaint": Endpoint(
        credits=Decimal(4),
        paint=_outpaint,
        texts=("prompt",),
        numbers=(
            _SEED,
            ("creativity", 0, 1),
            ("left", 0, 2000),
            ("right", 0, 2000),
            ("up", 0, 2000),
            ("down", 0, 2000),
        ),
        choices=_LOOK,
        required_files=("image",),
    ),
    "edit/search-and-replace": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.recentred(job, files["image"]),
        texts=(*_PROMPTS, "search_prompt"),
        required=("prompt", "search_prompt"),
        numbers=(_SEED, ("grow_mask", 0, 20)),
        choices=_LOOK,
        required_files=("image",),
    ),
    "edit/search-and-recolor": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.recentred(job, files["image"]),
        texts=(*_PROMPTS, "select_prompt"),
        required=("prompt", "select_prompt"),
        numbers=(_SEED, ("grow_mask", 0, 20)),
        choices=_LOOK,
        required_files=("image",),
    ),
    "edit/remove-background": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.cut_out(files["image"]),
        numbers=(),
        required_files=("image",),
        formats=("png", "webp"),
        pixels=(4096, 4_194_304),
    ),
    "edit/replace-background-and-relight": Endpoint(
        credits=Decimal(8),
        paint=lambda job, fields, files: drawing.before(
            job, files["subject_image"], files.get("background_reference")
        ),
        texts=("background_prompt", "foreground_prompt", "negative_prompt"),
        numbers=(
            _SEED,
            ("preserve_original_subject", 0, 1),
            ("original_background_depth", 0, 1),
            ("light_source_strength", 0, 1),
        ),
        choices={
            "keep_original_background": ("true", "false"),
            "light_source_direction": ("left", "right", "above", "below"),
        },
        files=("background_reference", "light_reference"),
        required_files=("subject_image",),
        waits=True,
    ),
    "upscale/fast": Endpoint(
        credits=Decimal(2),
        paint=lambda job, fields, files: drawing.enlarged(files["image"], 4),
        numbers=(),
        required_files=("image",),
        sides=(32, 1536),
        pixels=(1, 1_048_576),
        ratio=None,
    ),
    "upscale/conservative": Endpoint(
        credits=Decimal(40),
        paint=lambda job, fields, files: drawing.enlarged_to(files["image"], 4_000_000),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("creativity", 0.2, 0.5)),
        required_files=("image",),
    ),
    "upscale/creative": Endpoint(
        credits=Decimal(60),
        paint=lambda job, fields, files: drawing.enlarged_to(files["image"], 8_000_000),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("creativity", 0.1, 0.5)),
        choices=_LOOK,
        required_files=("image",),
        pixels=(4096, 1_048_576),
        waits=True,
    ),
    "control/sketch": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.blended(job, files["image"], 0.5, keep_size=True),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("control_strength", 0, 1)),
        choices=_LOOK,
        required_files=("image",),
    ),
    "control/structure": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.blended(job, files["image"], 0.5, keep_size=True),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("control_strength", 0, 1)),
        choices=_LOOK,
        required_files=("image",),
    ),
    "control/style": Endpoint(
        credits=Decimal(5),
        paint=lambda job, fields, files: drawing.styled(
            job, None, files["image"], _number(fields, "fidelity", 0.5), _ratio(fields)
        ),
        texts=_PROMPTS,
        required=("prompt",),
        numbers=(_SEED, ("fidelity", 0, 1)),
        choices=_SHAPE,
        required_files=("image",),
    ),
    "control/style-transfer": Endpoint(
        credits=Decimal(8),
        paint=lambda job, fields, files: drawing.styled(
            job, files["init_image"], files["style_image"], _number(fields, "style_strength", 1)
        ),
        texts=_PROMPTS,
        numbers=(
            _SEED,
            ("style_strength", 0, 1),
            ("composition_fidelity", 0, 1),
            ("change_strength", 0.1, 1),
        ),
        required_files=("init_image", "style_image"),
    ),
}


class Stability(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated service."""

    name: str = "stability"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        if method == "POST" and path.startswith("/v2beta/stable-image/"):
            return "create"
        return "poll" if method == "GET" and path.startswith("/v2beta/results/") else "other"

    def answer(self, job: Job) -> Reply | Drawing | Submission:
        if job.received.headers.get("authorization") != f"Bearer {job.key}":
            return _error(401, "unauthorized", "authorization: is missing or invalid")
        kind = self.kind(job.received.method, job.path)
        if (job.received.method, job.path) == ("GET", "/v1/user/balance"):
            return json_reply({"credits": 12.5})
        if kind == "poll":
            return _poll(job)
        path = job.path.removeprefix("/v2beta/stable-image/")
        if kind != "create" or path not in ENDPOINTS:
            return _error(404, "not_found", "There is no such endpoint.")
        try:
            return _create(job, path, ENDPOINTS[path])
        except _RefusedError as refusal:
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited():
                return _error(
                    429,
                    "rate_limit_exceeded",
                    "You have exceeded the rate limit of 150 requests in 10 seconds.",
                )
            case QuotaExhausted():
                return _error(
                    402, "payment_required", "You lack sufficient credits to make this request."
                )
            case Overloaded():
                return _error(503, "internal_error", "The service is not available at the moment.")
            case NotAllowed():
                return _error(403, "forbidden", "You do not have permission to do this.")
            case Refused():
                text = (
                    "Your request was flagged by our content moderation system, and you were not"
                    " charged."
                )
                return _error(403, "content_moderation", text)
            case _:
                assert isinstance(fault, ServerError), fault
                return _error(500, "internal_error", "An unexpected server error has occurred.")


# --- requests -----------------------------------------------------------------


class _RefusedError(Exception):
    """The request is refused with Stability's envelope."""

    def __init__(self, *errors: str, status: int = 400, name: str = "bad_request") -> None:
        super().__init__(*errors)
        self.reply = _error(status, name, *errors)


def _create(job: Job, path: str, endpoint: Endpoint) -> Reply | Drawing | Submission:
    if len(job.received.body) > _MOST_BYTES:
        raise _RefusedError(
            "The request is larger than 10MiB.", status=413, name="payload_too_large"
        )
    fields, files = _read_form(job, endpoint)
    _check_together(path, fields, files)
    credits = (
        _SD3_CREDITS[fields.get("model", "sd3.5-large")]
        if path == "generate/sd3"
        else endpoint.credits
    )
    model = fields.get("model", path)
    images = job.count(1)
    usd = images * (job.usd_per_image if job.usd_per_image is not None else credits / 100)
    accept = job.received.headers.get("accept", "image/*")
    format = fields.get("output_format", "png")
    seed = int(fields.get("seed", "0")) or job.chance.randrange(1, _MOST_SEED)

    def paint() -> bytes:
        return drawing.converted(endpoint.paint(job, fields, files), format)

    if endpoint.waits:
        remote = job.remote.submit(
            job, lambda: (paint(), format, seed), id=f"{job.chance.getrandbits(256):064x}"
        )
        return Submission(model=model, images=images, usd=usd, reply=json_reply({"id": remote.id}))
    if not images:
        return _error(500, "internal_error", "An unexpected server error has occurred.")
    if accept not in ("image/*", "application/json"):
        raise _RefusedError("accept: must be one of 'image/*', 'application/json'")

    def reply() -> Reply:
        return _image(
            job, paint(), format, seed, accept=accept, filtered=isinstance(job.fault, Withheld)
        )

    return Drawing(model=model, images=images, usd=usd, paint=reply)


def _read_form(job: Job, endpoint: Endpoint) -> tuple[dict[str, str], dict[str, bytes]]:
    try:
        texts, files = parse_form(job.received.headers, job.received.body)
    except FormError as error:
        raise _RefusedError(f"content-type: {error}") from None
    # Forms without files have an empty part of this name.
    files.pop("none", None)
    counts = {
        name: len(texts.get(name, ())) + len(files.get(name, ())) for name in (*texts, *files)
    }
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise _RefusedError(f"{repeated[0]}: is given twice")
    fields = {name: values[0] for name, values in texts.items()}
    contents = {name: parts[0].data for name, parts in files.items()}
    for name in endpoint.required:
        if not fields.get(name):
            raise _RefusedError(f"{name}: is required")
    for name in endpoint.required_files:
        if name not in contents:
            raise _RefusedError(f"{name}: is required")
    for name, value in fields.items():
        _check_field(endpoint, name, value)
    for name, content in contents.items():
        if name not in (*endpoint.files, *endpoint.required_files):
            raise _RefusedError(f"{name}: is not known")
        _check_image(endpoint, name, content)
    return fields, contents


def _check_field(endpoint: Endpoint, name: str, value: str) -> None:
    numbers = {number: (low, high) for number, low, high in endpoint.numbers}
    choices = {**endpoint.choices, "output_format": endpoint.formats}
    if name in endpoint.texts:
        if len(value) > 10_000:
            raise _RefusedError(f"{name}: cannot exceed 10000 characters")
        if not value.isascii():
            # A rough guess of what is not English.
            raise _RefusedError(
                "prompt: only English is supported", status=422, name="invalid_language"
            )
    elif name in choices:
        if value not in choices[name]:
            raise _RefusedError(f"{name}: must be one of {', '.join(choices[name])}")
    elif name in numbers:
        low, high = numbers[name]
        try:
            fits = low <= (int(value) if name in _WHOLE else float(value)) <= high
        except ValueError:
            fits = False
        if not fits:
            raise _RefusedError(f"{name}: must be between {low} and {high}")
    else:
        raise _RefusedError(f"{name}: is not known")


def _check_image(endpoint: Endpoint, name: str, content: bytes) -> None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as opened:
            opened.load()
            width, height = opened.size
    except OSError:
        raise _RefusedError(f"{name}: must be a jpeg, png or webp image") from None
    if not all(endpoint.sides[0] <= side <= endpoint.sides[1] for side in (width, height)):
        raise _RefusedError(
            f"{name}: each side must be between {endpoint.sides[0]} and {endpoint.sides[1]} pixels"
        )
    if not endpoint.pixels[0] <= width * height <= endpoint.pixels[1]:
        raise _RefusedError(
            f"{name}: must have between {endpoint.pixels[0]} and {endpoint.pixels[1]} pixels"
        )
    if endpoint.ratio is not None and max(width, height) > endpoint.ratio * min(width, height):
        raise _RefusedError(f"{name}: the aspect ratio must be between 1:2.5 and 2.5:1")


def _check_together(path: str, fields: Fields, files: Files) -> None:
    """Fields that go only with, or only without, others."""
    varies = "image" in files
    if path.startswith("generate/") and varies != ("strength" in fields):
        raise _RefusedError("strength: is required with an image, and not allowed without one")
    if path == "generate/sd3":
        if varies != (fields.get("mode") == "image-to-image"):
            raise _RefusedError(
                "mode: must be image-to-image with an image, and text-to-image without one"
            )
        if varies and "aspect_ratio" in fields:
            raise _RefusedError("aspect_ratio: is not allowed with image-to-image")
    if path == "edit/outpaint" and not any(
        int(fields.get(name, "0")) for name in ("left", "right", "up", "down")
    ):
        raise _RefusedError("outpaint: at least one of left, right, up, down must be above 0")
    if path == "edit/replace-background-and-relight" and not (
        fields.get("background_prompt") or "background_reference" in files
    ):
        raise _RefusedError("background_prompt: this or background_reference is required")


# --- answers ------------------------------------------------------------------


def _poll(job: Job) -> Reply:
    remote = job.remote.find(job.path.removeprefix("/v2beta/results/"))
    if remote is None:
        return _error(
            404, "generation_not_found", "The generation was not found, or is older than 24 hours."
        )
    if job.now < remote.ready_at:
        return json_reply({"id": remote.id, "status": "in-progress"}, status=202)
    if isinstance(remote.fault, JobFails):
        return _error(500, "internal_error", remote.fault.text)
    return _collect(job, remote)


def _collect(job: Job, remote: RemoteJob) -> Reply:
    made = remote.painted()
    assert isinstance(made, tuple)
    data, format, seed = made
    if not isinstance(remote.fault, Spoil):
        job.collected(remote)
    accept = (
        "application/json"
        if job.received.headers.get("accept") == "application/json"
        else "image/*"
    )
    return _image(
        job, data, format, seed, accept=accept, filtered=isinstance(remote.fault, Withheld)
    )


def _image(job: Job, data: bytes, format: str, seed: int, *, accept: str, filtered: bool) -> Reply:
    """A filtered image is there too, blurred, and its status is that of
    success.
    """
    reason = "CONTENT_FILTERED" if filtered else "SUCCESS"
    media_type = f"image/{format}"
    if accept == "application/json":
        text = job.as_base64(data) if not filtered else pybase64.b64encode_as_string(data)
        reply = json_reply({"image": text, "finish_reason": reason, "seed": seed})
        return msgspec.structs.replace(
            reply, headers=(("content-type", f"application/json; type={media_type}"),)
        )
    headers = (
        ("content-type", media_type),
        ("finish-reason", reason),
        ("seed", str(seed)),
        ("x-request-id", f"{job.chance.getrandbits(128):032x}"),
    )
    return Reply(headers=headers, pieces=(data,))


def _error(status: int, name: str, *errors: str) -> Reply:
    return json_reply(
        {"id": "ea8877d647fd34d56e00e688823294ab", "name": name, "errors": list(errors)},
        status=status,
    )


SIMULATED = (Stability(),)
