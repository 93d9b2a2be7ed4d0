"""Black Forest Labs' API: POST /v1/<model>, GET /v1/get_result and GET
/v1/credits, as of 2026-11-22.

https://docs.bfl.ai; recorded replies of 2025 show the form of submissions and
polls. The real service ignores fields that an older model does not know; this
one refuses them for every model, as the real one does for FLUX 3.
"""

import io
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

import msgspec
import pybase64

from ..._core.callbacks import is_callback_url, keyed_hash
from ..._core.faults import (
    Decline,
    ExpiredLink,
    JobFails,
    NotAllowed,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    Refused,
    ServerError,
    Withheld,
    WrongMedia,
)
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Callback, Kind, Reply, Signed, Submission, encode, json_reply
from .models import CLASSES, ENDPOINTS, RATIOS, WIDE_RATIOS, Endpoint, megapixels

if TYPE_CHECKING:
    from PIL import Image

_FORMATS = ("jpeg", "png", "webp")
_LARGEST_FILE = 20 << 20


class _InvalidError(Exception):
    """Request refused with 422 in the form of FastAPI."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        detail = [{"loc": ["body", field], "msg": message, "type": "value_error"}]
        self.reply = json_reply({"detail": detail}, status=422)


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is fit to be drawn."""

    model: str
    endpoint: Endpoint
    fields: Mapping[str, object]
    images: Mapping[str, bytes]
    width: int
    height: int
    format: str

    @property
    def inputs(self) -> list[bytes]:
        return [data for name, data in self.images.items() if name != "mask"]


class _Made(msgspec.Struct):
    """Result of a job, the rest of its reply, and how often its link was handed
    out.
    """

    content: bytes
    more: Mapping[str, object]
    links: int = 0


class BlackForestLabs(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated maker.

    Args:
        tells_cost: True if submissions return their cost; older models' did
            not.
        resigns: True if a job that is read again returns a fresh link (unknown
            for the real service).
        charges_for_moderated: whether an image that is withheld is billed (not
            known of the real service).
    """

    tells_cost: bool = True
    resigns: bool = True
    charges_for_moderated: bool = True
    name: str = "bfl"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        if path == "/v1/get_result":
            return "poll"
        return "create" if method == "POST" and path.startswith("/v1/") else "other"

    def answer(self, job: Job) -> Reply | Submission:
        if job.received.headers.get("x-key") != job.key:
            return json_reply({"detail": "Not authenticated - Invalid Authentication"}, status=403)
        kind = self.kind(job.received.method, job.path)
        if kind == "poll":
            return self._poll(job)
        if job.path == "/v1/credits" and job.received.method == "GET":
            return json_reply({"credits": 12.5})
        model = job.path.removeprefix("/v1/")
        if kind != "create" or model not in ENDPOINTS:
            return json_reply({"detail": "Not Found"}, status=404)
        try:
            return self._submit(job, _read_ask(model, ENDPOINTS[model], job.received.body))
        except _InvalidError as refusal:
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Rate limit exceeded. Please try again in {wait:g}s."
                    if told == "text"
                    else "Rate limit exceeded."
                )
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                return json_reply({"detail": text}, status=429, headers=headers)
            case QuotaExhausted():
                return json_reply({"detail": "Insufficient credits."}, status=402)
            case Overloaded():
                return json_reply({"detail": "Service unavailable."}, status=503)
            case NotAllowed():
                return json_reply(
                    {"detail": "Not authenticated - Invalid Authentication"}, status=403
                )
            case Refused():
                details = {"Moderation Reasons": ["Derivative Works Filter"]}
                return json_reply(_state("", "Request Moderated", details=details), status=422)
            case _:
                assert isinstance(fault, ServerError), fault
                return json_reply({"detail": "Internal server error."}, status=500)

    def _submit(self, job: Job, ask: _Ask) -> Submission:
        remote = job.remote.submit(job, lambda: _Made(_paint(job, ask), _told(ask)))
        into = sum(megapixels(*_open(data).size) for data in ask.inputs)
        out = megapixels(ask.width, ask.height)
        usd = _price_usd(ask, out, into) if job.usd_per_image is None else job.usd_per_image
        if isinstance(job.fault, Withheld) and not self.charges_for_moderated:
            usd = Decimal(0)
        payload: dict[str, object] = {"id": remote.id}
        if "webhook_url" in ask.fields:
            payload |= {"status": "Pending", "webhook_url": ask.fields["webhook_url"]}
        else:
            payload["polling_url"] = (
                f"{job.origin}/{self.name}{self.base_path}/v1/get_result?id={remote.id}"
            )
        if self.tells_cost and job.usd_per_image is None:
            payload |= {"cost": usd * 100, "input_mp": float(into), "output_mp": float(out)}
        callback = _callback(remote, ask)
        return Submission(
            model=ask.model, images=1, usd=usd, reply=json_reply(payload), callback=callback
        )

    def _poll(self, job: Job) -> Reply:
        remote = job.remote.find(job.received.query.removeprefix("id="))
        if remote is None:
            return json_reply(_state(job.received.query.removeprefix("id="), "Task not found"))
        if job.now < remote.ready_at:
            return json_reply(
                _state(remote.id, "Pending", progress=min(0.99, round(remote.progress(job.now), 2)))
            )
        if isinstance(remote.fault, JobFails):
            return json_reply(
                _state(remote.id, _ending(remote), details={"error": remote.fault.text})
            )
        if isinstance(remote.fault, Withheld):
            details = {"Moderation Reasons": ["Content Policy"]}
            return json_reply(_state(remote.id, _ending(remote), details=details))
        return self._hand_out(job, remote)

    def _hand_out(self, job: Job, remote: RemoteJob) -> Reply:
        made = remote.painted()
        assert isinstance(made, _Made)
        made.links += 1
        link = self._link(job, remote, made)
        job.collected(remote)
        result = {"sample": link, **made.more, "start_time": 1.0, "end_time": 7.5, "duration": 6.5}
        return json_reply(_state(remote.id, _ending(remote), result=result))

    def _link(self, job: Job, remote: RemoteJob, made: _Made) -> str:
        """The first link may be broken by the fault of the submission, and
        those after it too where none is signed anew.
        """
        if made.links > 1 and self.resigns:
            return job.as_link(made.content)
        if isinstance(remote.fault, ExpiredLink):
            job.fault = remote.fault
        return job.as_link(made.content)


def sign_callback(job_id: str, secret: str | None, *, status: str = "Ready") -> Signed:
    """Return the message to the `webhook_url` of an ended job, signed with its
    `webhook_secret` if it has one.
    """
    body = encode(_state(job_id, status))
    return (
        {} if secret is None else {"x-bfl-signature": f"sha256={keyed_hash(secret, body).hex()}"}
    ), body


def _callback(remote: RemoteJob, ask: _Ask) -> Callback | None:
    if "webhook_url" not in ask.fields:
        return None
    secret = str(ask.fields["webhook_secret"]) if "webhook_secret" in ask.fields else None
    return Callback(
        url=str(ask.fields["webhook_url"]),
        sign=lambda now: sign_callback(remote.id, secret, status=_ending(remote)),
    )


def _ending(remote: RemoteJob) -> str:
    if isinstance(remote.fault, JobFails):
        return "Error"
    return "Content Moderated" if isinstance(remote.fault, Withheld) else "Ready"


def _state(
    id: str,
    status: str,
    *,
    result: object = None,
    progress: float | None = None,
    details: object = None,
) -> dict[str, object]:
    return {
        "id": id,
        "status": status,
        "result": result,
        "progress": progress,
        "details": details,
        "preview": None,
    }


def _price_usd(ask: _Ask, out: int, into: int) -> Decimal:
    if ask.endpoint.usd_by_class:
        return Decimal(ask.endpoint.usd_by_class[_class_of(ask)])
    return ask.endpoint.usd(out, into)


def _class_of(ask: _Ask) -> str:
    if "width" not in ask.fields:
        return str(ask.fields.get("resolution", "1k"))
    area = ask.width * ask.height
    return next(name for name, side in CLASSES.items() if side * side >= area)


def _told(ask: _Ask) -> dict[str, object]:
    """Every model except FLUX 3 returns a seed if none was sent."""
    prompt = ask.fields.get("prompt", "")
    told: dict[str, object] = {
        "prompt": f"A detailed image of {prompt}" if ask.fields.get("prompt_upsampling") else prompt
    }
    return (
        told
        if ask.endpoint.shape == "class" and "seed" not in ask.fields
        else {**told, "seed": ask.fields.get("seed", 1752479754028)}
    )


# --- reading ------------------------------------------------------------------


def _read_ask(model: str, endpoint: Endpoint, body: bytes) -> _Ask:
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _InvalidError("body", "Input should be a valid dictionary") from None
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in endpoint.required:
        if not fields.get(name):
            raise _InvalidError(name, "Field required")
    for name, value in fields.items():
        _check_field(endpoint, name, value)
    prompt = fields.get("prompt", "")
    if isinstance(prompt, str) and len(prompt) > endpoint.longest_prompt:
        raise _InvalidError(
            "prompt", f"String should have at most {endpoint.longest_prompt} characters"
        )
    if "webhook_url" in fields and not is_callback_url(fields["webhook_url"]):
        raise _InvalidError(
            "webhook_url", "Input should be a valid https URL of at most 2083 characters"
        )
    images = _read_images(endpoint, fields)
    width, height = _read_size(endpoint, fields, images)
    format = endpoint.fixed_format or str(fields.get("output_format", endpoint.default_format))
    return _Ask(
        model=model,
        endpoint=endpoint,
        fields=fields,
        images=images,
        width=width,
        height=height,
        format=format,
    )


def _check_field(endpoint: Endpoint, name: str, value: object) -> None:
    if name in endpoint.numbers:
        low, high = endpoint.numbers[name]
        _check_number(name, value, low, high, whole=name in endpoint.whole)
    elif name in ("width", "height") and endpoint.shape in ("pixels", "class"):
        # 0 is what FLUX.2 takes for "as the input".
        if not (endpoint.shape == "pixels" and endpoint.step == 16 and value == 0):
            _check_number(name, value, endpoint.low, endpoint.high, whole=True)
    elif name == "aspect_ratio" and endpoint.shape in ("ratio", "class"):
        _check_choice(name, value, WIDE_RATIOS if endpoint.shape == "class" else RATIOS)
    elif name == "resolution" and endpoint.shape == "class":
        _check_choice(name, value, tuple(CLASSES))
    elif name == "output_format" and endpoint.default_format is not None:
        _check_choice(name, value, _FORMATS)
    elif name in endpoint.texts or name in endpoint.images:
        if not isinstance(value, str):
            raise _InvalidError(name, "Input should be a valid string")
    elif name in endpoint.flags:
        if not isinstance(value, bool):
            raise _InvalidError(name, "Input should be a valid boolean")
    elif name != endpoint.image_list:
        raise _InvalidError(name, "Extra inputs are not permitted")


def _check_number(name: str, value: object, low: float, high: float, *, whole: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise _InvalidError(name, f"Input should be a valid {'integer' if whole else 'number'}")
    assert isinstance(value, (int, float))
    if not low <= value <= high:
        raise _InvalidError(name, f"Input should be between {low:g} and {high:g}")


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _InvalidError(name, f"Input should be one of {', '.join(choices)}")


def _read_images(endpoint: Endpoint, fields: Mapping[str, object]) -> dict[str, bytes]:
    texts = {name: fields[name] for name in endpoint.images if name in fields}
    if endpoint.image_list is not None and endpoint.image_list in fields:
        listed = fields[endpoint.image_list]
        items = listed if isinstance(listed, list) else [listed]
        if not 1 <= len(items) <= 10:
            raise _InvalidError(endpoint.image_list, "List should have between 1 and 10 items")
        texts |= {f"{endpoint.image_list}.{place}": item for place, item in enumerate(items)}
    images = {name: _read_image(name, text, endpoint) for name, text in texts.items()}
    if "mask" in images and _open(images["mask"]).size != _open(images["image"]).size:
        raise _InvalidError("mask", "Mask must have the same size as the image")
    return images


def _read_image(name: str, text: object, endpoint: Endpoint) -> bytes:
    if not isinstance(text, str) or len(text) > _LARGEST_FILE:
        raise _InvalidError(name, "Input should be an image of at most 20 MB in base64")
    try:
        data = pybase64.b64decode(
            text.partition(",")[2] if text.startswith("data:") else text, validate=True
        )
        width, height = _open(data).size
    except (ValueError, OSError):
        raise _InvalidError(name, "Invalid image") from None
    if endpoint.shape == "class" and min(width, height) < 256:
        raise _InvalidError(name, "Image must be at least 256x256")
    return data


def _read_size(
    endpoint: Endpoint, fields: Mapping[str, object], images: Mapping[str, bytes]
) -> tuple[int, int]:
    """Width and height of the image that comes out."""
    first = _open(next(iter(images.values()))).size if images else None
    if endpoint.shape == "class" and ("width" in fields or "height" in fields):
        return _read_exact(endpoint, fields)
    if endpoint.shape == "pixels":
        # Variations do not follow the image that they vary.
        return _read_pixels(endpoint, fields, None if "image_prompt" in images else first)
    if endpoint.shape in ("ratio", "class"):
        side = CLASSES[str(fields.get("resolution", "1k"))]
        if "image_prompt_strength" in endpoint.numbers:
            side, first = 2048, None
        default = "16:9" if side == 2048 and endpoint.shape == "ratio" else "auto"
        ratio = str(fields.get("aspect_ratio", default))
        across, down = first or (1, 1)
        if ratio != "auto":
            across, down = map(int, ratio.split(":"))
        area = side * side
        width = round((area * across / down) ** 0.5 / 16) * 16
        return width, round((area * down / across) ** 0.5 / 16) * 16
    assert first is not None
    margins = {
        name: value
        for name in ("left", "right", "top", "bottom")
        if isinstance(value := fields.get(name, 0), int)
    }
    return (
        first[0] + margins["left"] + margins["right"],
        first[1] + margins["top"] + margins["bottom"],
    )


def _read_pixels(
    endpoint: Endpoint, fields: Mapping[str, object], follows: tuple[int, int] | None
) -> tuple[int, int]:
    default = (1024, 768) if endpoint.step == 32 else follows or (1024, 1024)
    width, height = (
        fields.get(name) or side for name, side in zip(("width", "height"), default, strict=True)
    )
    assert isinstance(width, int)
    assert isinstance(height, int)
    if endpoint.step == 16:
        width, height = max(64, width // 16 * 16), max(64, height // 16 * 16)
    if width % endpoint.step or height % endpoint.step:
        _refuse_size(f"Input should be a multiple of {endpoint.step}")
    if width * height > endpoint.most_pixels:
        _refuse_size("At most 4 megapixels")
    return width, height


def _read_exact(endpoint: Endpoint, fields: Mapping[str, object]) -> tuple[int, int]:
    """An exact size of a model that has ratios too: one of the two ways."""
    width, height = fields.get("width"), fields.get("height")
    if not isinstance(width, int) or not isinstance(height, int):
        _refuse_size("width and height belong together")
    if "aspect_ratio" in fields or "resolution" in fields:
        _refuse_size("Give a size, or a ratio and a resolution")
    if width % endpoint.step or height % endpoint.step:
        _refuse_size(f"Input should be a multiple of {endpoint.step}")
    if width * height > endpoint.most_pixels:
        _refuse_size("At most 16 megapixels")
    return width, height


def _refuse_size(message: str) -> NoReturn:
    raise _InvalidError("width", message)


# --- drawing ------------------------------------------------------------------


def _open(data: bytes) -> "Image.Image":
    from PIL import Image

    return Image.open(io.BytesIO(data))


def _paint(job: Job, ask: _Ask) -> bytes:
    """Return an image that shows what was made of the inputs.

    A mask changes its white area only; margins and canvases surround the first
    image; a variation is blended with a new image; several inputs are stripes
    side by side, in their order.
    """
    if not ask.images:
        return job.draw(ask.width, ask.height, format=ask.format)
    drawn = job.draw(ask.width, ask.height)
    if isinstance(job.fault, WrongMedia):
        return drawn
    canvas = _open(drawn).convert("RGB")
    inputs = [_open(data).convert("RGB") for data in ask.inputs]
    if "mask" in ask.images:
        canvas.paste(
            inputs[0], mask=_open(ask.images["mask"]).convert("L").point(lambda grey: 255 - grey)
        )
    elif "image_prompt" in ask.images:
        canvas = _blend(canvas, inputs[0], ask.fields.get("image_prompt_strength", 0.1))
    elif "reference_offset_x" in ask.endpoint.numbers or "left" in ask.endpoint.numbers:
        canvas.paste(inputs[0], _place_of(ask, inputs[0]))
    else:
        for place, image in enumerate(inputs):
            left, right = (ask.width * at // len(inputs) for at in (place, place + 1))
            canvas.paste(image.resize(canvas.size).crop((left, 0, right, ask.height)), (left, 0))
    file = io.BytesIO()
    # Lossless if the format can be, so that colours can be compared.
    canvas.save(
        file,
        ask.format.upper(),
        **({"quality": 95} if ask.format == "jpeg" else {"lossless": True}),
    )
    return file.getvalue()


def _blend(canvas: "Image.Image", image: "Image.Image", strength: object) -> "Image.Image":
    from PIL import Image

    assert isinstance(strength, (int, float))
    return Image.blend(canvas, image.resize(canvas.size), strength)


def _place_of(ask: _Ask, image: "Image.Image") -> tuple[int, int]:
    if "left" in ask.endpoint.numbers:
        left, top = ask.fields.get("left", 0), ask.fields.get("top", 0)
    else:
        left = ask.fields.get("reference_offset_x", (ask.width - image.width) // 2)
        top = ask.fields.get("reference_offset_y", (ask.height - image.height) // 2)
    assert isinstance(left, int)
    assert isinstance(top, int)
    return left, top


SIMULATED = (BlackForestLabs(),)
