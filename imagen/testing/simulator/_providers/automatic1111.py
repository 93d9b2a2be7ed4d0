"""The web UI of AUTOMATIC1111 and Forge, started with --api: /sdapi/v1, as of
Forge dfdcbab6 (2025-06-26).

The real one ignores unknown fields; this one refuses them. It draws one job at
a time.
"""

import io
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import pybase64

from .._core.edits import ImageError, draw_edit, open_image, read_base64
from .._core.faults import Decline, NotAllowed, Overloaded, QuotaExhausted, RateLimited, ServerError
from .._core.jobs import Job, RemoteJob
from .._core.messages import Drawing, Kind, Reply, json_reply

if TYPE_CHECKING:
    from PIL import Image

_TEXT_TO_IMAGE = frozenset(
    (
        *(
            "prompt",
            "negative_prompt",
            "styles",
            "seed",
            "subseed",
            "subseed_strength",
            "sampler_name",
            "scheduler",
        ),
        *(
            "batch_size",
            "n_iter",
            "steps",
            "cfg_scale",
            "distilled_cfg_scale",
            "width",
            "height",
            "restore_faces",
        ),
        *(
            "tiling",
            "eta",
            "denoising_strength",
            "enable_hr",
            "hr_scale",
            "hr_upscaler",
            "hr_second_pass_steps",
        ),
        *(
            "override_settings",
            "override_settings_restore_afterwards",
            "script_name",
            "script_args",
        ),
        *("alwayson_scripts", "send_images", "save_images", "force_task_id", "infotext"),
    )
)
_IMAGE_TO_IMAGE = _TEXT_TO_IMAGE | {
    *(
        "init_images",
        "mask",
        "mask_blur",
        "inpainting_fill",
        "inpaint_full_res",
        "inpaint_full_res_padding",
    ),
    *("inpainting_mask_invert", "resize_mode", "include_init_images", "image_cfg_scale"),
}
_ENLARGING = frozenset(
    (
        *(
            "image",
            "resize_mode",
            "upscaling_resize",
            "upscaling_resize_w",
            "upscaling_resize_h",
            "upscaling_crop",
        ),
        *(
            "upscaler_1",
            "upscaler_2",
            "extras_upscaler_2_visibility",
            "gfpgan_visibility",
            "codeformer_visibility",
        ),
        "codeformer_weight",
    )
)
_FIELDS = {"txt2img": _TEXT_TO_IMAGE, "img2img": _IMAGE_TO_IMAGE, "extra-single-image": _ENLARGING}
_NUMBERS = {
    "seed": (-1, 2**63),
    "steps": (1, 150),
    "cfg_scale": (0, 30),
    "batch_size": (1, 16),
    "n_iter": (1, 100),
    "width": (64, 8192),
    "height": (64, 8192),
    "denoising_strength": (0, 1),
    "inpainting_fill": (0, 3),
    "upscaling_resize": (1, 8),
}
SAMPLERS = ("Euler", "Euler a", "DPM++ 2M")
UPSCALERS = ("None", "Lanczos", "R-ESRGAN 4x+")
CHECKPOINTS = ("v1-5-pruned-emaonly", "dreamshaper_8")
_FORMATS = {"png": "png", "jpg": "jpeg", "webp": "webp"}


class _RefusedError(Exception):
    """The request is refused, in the form of the web UI or of FastAPI."""

    def __init__(
        self, status: int, detail: object, *, error: str = "HTTPException", errors: str = ""
    ) -> None:
        super().__init__(detail)
        body = {"error": error, "detail": detail, "body": "", "errors": errors}
        self.reply = json_reply(
            {"detail": detail} if isinstance(detail, list) else body, status=status
        )


class WebUI(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated engine.

    Args:
        api: False for one that was started without --api.
        grid: whether several images come with their grid before them.
        tells_first: True if the reply marks the first image that was asked for.
        tells_task: True if the progress names the task; older servers do not.
        longest_side: an image with a longer side does not fit into its memory.
    """

    api: bool = True
    grid: bool = True
    tells_first: bool = True
    tells_task: bool = True
    longest_side: int = 4096
    name: str = "automatic1111"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        kinds: dict[str, Kind] = {"progress": "poll", "interrupt": "cancel", "sd-models": "list"}
        route = path.removeprefix("/sdapi/v1/")
        return "create" if route in _FIELDS else kinds.get(route, "other")

    def answer(self, job: Job) -> Reply | Drawing:
        if (
            job.received.headers.get("authorization")
            != f"Basic {b64encode(job.key.encode()).decode()}"
        ):
            return json_reply({"detail": "Incorrect username or password"}, status=401)
        route = job.path.removeprefix("/sdapi/v1/")
        try:
            match job.received.method, route:
                case "GET", "progress" if self.api:
                    return self._progress(job)
                case "POST", "interrupt" if self.api:
                    return self._interrupt(job)
                case "GET", "sd-models" if self.api:
                    listed = [
                        {"title": f"{name}.safetensors [6ce0161689]", "model_name": name}
                        for name in CHECKPOINTS
                    ]
                    return json_reply(listed)
                case "POST", route if self.api and route in _FIELDS:
                    return self._draw(job, route, _read_fields(route, job.received.body))
        except _RefusedError as refused:
            return refused.reply
        return json_reply({"detail": "Not Found"}, status=404)

    def decline(self, job: Job, fault: Decline) -> Reply:
        """A self-hosted engine only fails; the other errors are those of a
        proxy in front.
        """
        match fault:
            case ServerError():
                return _RefusedError(
                    500, "", error="OutOfMemoryError", errors="CUDA out of memory."
                ).reply
            case NotAllowed():
                return json_reply({"detail": "Incorrect username or password"}, status=401)
            case Overloaded():
                return json_reply({}, status=503)
            case RateLimited(wait_seconds=wait):
                return json_reply({}, status=429, headers=(("retry-after", f"{wait:g}"),))
            case _:
                return json_reply({}, status=402 if isinstance(fault, QuotaExhausted) else 400)

    def _draw(self, job: Job, route: str, fields: Mapping[str, object]) -> Drawing:
        inputs = [_read_image(item) for item in _listed(fields.get("init_images"))]
        mask = _read_image(fields["mask"]) if "mask" in fields else None
        if route == "img2img" and not inputs:
            raise _RefusedError(404, "Init image not found")
        source = _read_image(fields.get("image")) if route == "extra-single-image" else None
        if max(_size(fields)) > self.longest_side:
            raise _RefusedError(500, "", error="OutOfMemoryError", errors="CUDA out of memory.")
        count = _integer(fields, "n_iter", 1) * _integer(fields, "batch_size", 1)
        earlier = [other.ready_at for other in job.remote.all() if not other.cancelled]
        waits = max([*earlier, job.now]) - job.now
        remote = job.remote.submit(
            job, lambda: None, id=str(fields.get("force_task_id", f"task({job.received.number})"))
        )
        remote.started_at, remote.ready_at = remote.started_at + waits, remote.ready_at + waits
        job.seconds += waits

        def paint() -> Reply:
            if source is not None:
                factor = fields.get("upscaling_resize", 2)
                assert isinstance(factor, (int, float))
                return json_reply(
                    {"html_info": "", "image": job.as_base64(_enlarged(source, factor))}
                )
            return self._painted(job, fields, inputs, mask, job.count(count))

        usd = Decimal(0) if job.usd_per_image is None else job.usd_per_image * count
        return Drawing(
            model=route, images=count, usd=usd, paint=paint, stopped=lambda: remote.cancelled
        )

    def _painted(
        self,
        job: Job,
        fields: Mapping[str, object],
        inputs: "list[Image.Image]",
        mask: "Image.Image | None",
        count: int,
    ) -> Reply:
        width, height = _size(fields)
        settings = fields.get("override_settings", {})
        assert isinstance(settings, dict)
        format = _FORMATS[str(settings.get("samples_format", "png"))]
        share = fields.get("denoising_strength", 0.75)
        assert isinstance(share, (int, float))
        painted = [
            _paint(job, inputs, mask, (width, height), float(share), format) for _ in range(count)
        ]
        first = 1 if self.grid and count > 1 else 0
        if first:
            painted.insert(0, job.draw(64, 64, format=format))
        seed = _integer(fields, "seed", -1)
        seeds = [42 + at if seed == -1 else seed + at for at in range(count)]
        info: dict[str, object] = {
            "seed": seeds[0] if seeds else -1,
            "all_seeds": seeds,
            "infotexts": [""] * count,
        }
        if self.tells_first:
            info["index_of_first_image"] = first
        images = [job.as_base64(image) for image in painted]
        return json_reply(
            {"images": images, "parameters": {}, "info": msgspec.json.encode(info).decode()}
        )

    def _current(self, job: Job) -> RemoteJob | None:
        running = [
            remote for remote in job.remote.all() if remote.started_at <= job.now < remote.ready_at
        ]
        return next((remote for remote in running if not remote.cancelled), None)

    def _progress(self, job: Job) -> Reply:
        remote = self._current(job)
        done = 0.0 if remote is None else remote.progress(job.now)
        state = {"skipped": False, "interrupted": False, "job": "", "job_count": 0, "job_no": 0}
        state |= {"sampling_step": int(20 * done), "sampling_steps": 20 if remote else 0}
        told: dict[str, object] = {
            "progress": done,
            "eta_relative": 1.0,
            "state": state,
            "current_image": None,
        }
        if "skip_current_image=false" in job.received.query and done > 0.1:
            told["current_image"] = pybase64.b64encode_as_string(job.draw(64, 64, format="jpeg"))
        if self.tells_task:
            told["current_task"] = None if remote is None else remote.id
        return json_reply({**told, "textinfo": None})

    def _interrupt(self, job: Job) -> Reply:
        if (remote := self._current(job)) is not None:
            remote.cancelled = True
        return json_reply({})


# --- reading ------------------------------------------------------------------


def _read_fields(route: str, body: bytes) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _invalid("body", "JSON decode error") from None
    for name, value in fields.items():
        if name not in _FIELDS[route]:
            raise _invalid(name, "Extra inputs are not permitted")
        low, high = _NUMBERS.get(name, (None, None))
        if low is not None and high is not None:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise _invalid(name, "Input should be a valid number")
            if not low <= value <= high:
                raise _invalid(name, f"Input should be between {low} and {high}")
    for name in ("width", "height"):
        if _integer(fields, name, 512) % 8:
            raise _invalid(name, "Input should be a multiple of 8")
    if fields.get("sampler_name", "Euler") not in SAMPLERS:
        raise _RefusedError(400, "Sampler not found")
    if fields.get("upscaler_1", "None") not in UPSCALERS:
        raise _RefusedError(
            400, f"Invalid upscaler, needs to be one of these: {' , '.join(UPSCALERS)}"
        )
    settings = fields.get("override_settings", {})
    if not isinstance(settings, dict) or settings.get("samples_format", "png") not in _FORMATS:
        raise _invalid("override_settings", "Input should be a valid dictionary")
    if settings.get("sd_model_checkpoint", CHECKPOINTS[0]) not in CHECKPOINTS:
        raise _RefusedError(500, "", error="RuntimeError", errors="Checkpoint not found")
    return fields


def _invalid(field: str, message: str) -> _RefusedError:
    return _RefusedError(422, [{"loc": ["body", field], "msg": message, "type": "value_error"}])


def _integer(fields: Mapping[str, object], name: str, default: int) -> int:
    value = fields.get(name, default)
    assert isinstance(value, (int, float))
    return int(value)


def _size(fields: Mapping[str, object]) -> tuple[int, int]:
    return _integer(fields, "width", 512), _integer(fields, "height", 512)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _read_image(text: object) -> "Image.Image":
    if isinstance(text, str) and text.startswith(("http://", "https://")):
        raise _RefusedError(500, "Requests not allowed")
    try:
        return open_image(read_base64(text.rpartition(",")[2] if isinstance(text, str) else ""))
    except ImageError:
        raise _RefusedError(500, "Invalid encoded image") from None


# --- drawing ------------------------------------------------------------------


def _paint(
    job: Job,
    inputs: "list[Image.Image]",
    mask: "Image.Image | None",
    size: tuple[int, int],
    share: float,
    format: str,
) -> bytes:
    from PIL import Image

    if not inputs:
        return job.draw(*size, format=format)
    if mask is not None:
        return draw_edit(job, inputs, *size, mask=mask, format=format)
    content = job.draw(*size)
    if job.spoiled:
        return content
    blended = Image.blend(
        inputs[0].convert("RGB").resize(size), open_image(content).convert("RGB"), share
    )
    file = io.BytesIO()
    blended.save(file, format.upper())
    return file.getvalue()


def _enlarged(image: "Image.Image", factor: float) -> bytes:
    file = io.BytesIO()
    image.resize((int(image.width * factor), int(image.height * factor))).save(
        file, "PNG", compress_level=1
    )
    return file.getvalue()


SIMULATED = (WebUI(),)
