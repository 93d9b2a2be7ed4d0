"""Ideogram's API, version 2: POST /v2/image/<action>/<model> and GET
/v2/generations/<id>, as of 2026-11-22.

https://developer.ideogram.ai. Except for a price quote no recorded reply of
version 2 is public: shapes follow the documentation.
"""

import io
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from ..._core.callbacks import is_callback_url, published_keys, sign_with_key
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
from ..._core.forms import FilePart, FormError, parse_form
from ..._core.jobs import Job, RemoteJob
from ..._core.messages import Callback, Drawing, Kind, Reply, Signed, Submission, json_reply
from .models import ENDPOINTS, Endpoint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from PIL import Image

_FREE_SIZE = re.compile(r"([0-9]{3,4})x([0-9]{3,4})")
_STYLE_CODE = re.compile(r"[0-9a-fA-F]{8}")
_FLAGS = ("async", "private", "enable_copyright_detection")
_LARGEST_FILE = 50 << 20
_LONGEST_PROMPT = 10_000


class _InvalidError(Exception):
    """The request is refused."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.reply = json_reply({"error": message}, status=status)


class _Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is fit to be drawn: its fields, a list of texts each, and
    its files.
    """

    path: str
    endpoint: Endpoint
    fields: Mapping[str, list[str]]
    files: Mapping[str, list[bytes]]

    def word(self, name: str) -> str | None:
        found = self.fields.get(name)
        return found[0] if found else None

    def number(self, name: str, default: int) -> int:
        found = self.word(name)
        return default if found is None else int(found)


class _Made(msgspec.Struct):
    """The images of a generation, and how often their links were handed out."""

    contents: list[bytes]
    ask: _Ask
    usd: Decimal
    links: int = 0


class Ideogram(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated service.

    Args:
        resigns: True if a generation that is read again returns fresh links
            (unknown for the real service).
        tells_cost: True if a generation returns its cost.
        callback_keys: the published keys; the first signs the callbacks,
            without a key there are none.
    """

    resigns: bool = True
    tells_cost: bool = True
    callback_keys: "tuple[Ed25519PrivateKey, ...]" = ()
    name: str = "ideogram"
    base_path: str = ""

    def kind(self, method: str, path: str) -> Kind:
        if path.startswith("/v2/generations/"):
            return "poll"
        return "create" if method == "POST" and path.startswith("/v2/image/") else "other"

    def answer(self, job: Job) -> Reply | Drawing | Submission:
        if job.path == "/v1/.well-known/jwks.json":
            return json_reply(published_keys(*self.callback_keys))
        if job.received.headers.get("api-key") != job.key:
            return json_reply({"error": "Invalid API key."}, status=401)
        kind = self.kind(job.received.method, job.path)
        if kind == "poll":
            return self._poll(job)
        endpoint = ENDPOINTS.get(job.path.removeprefix("/v2/image/"))
        if kind != "create" or endpoint is None:
            return json_reply({"error": "Not found."}, status=404)
        try:
            ask = _read_ask(job, job.path.removeprefix("/v2/image/"), endpoint)
            return self._take(job, ask)
        except _InvalidError as refusal:
            return refusal.reply

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                # The limit on what runs at once comes without a time to wait,
                # that on polls with one.
                said = "Too many requests in flight."
                body = {
                    "error": f"{said} Please try again in {wait:g}s." if told == "text" else said,
                    "reject_reason": "inflight_limit",
                    "max_inflight_requests": 10,
                    "task_completion_speed": "fast",
                }
                headers = (("retry-after", f"{wait:g}"),) if told == "header" else ()
                return json_reply(body, status=429, headers=headers)
            case QuotaExhausted():
                return json_reply(
                    {"error": "Insufficient funds.", "reject_reason": "insufficient_funds"},
                    status=402,
                )
            case Overloaded():
                return json_reply({"error": "Service unavailable."}, status=503)
            case NotAllowed():
                return json_reply({"error": "No access to this model."}, status=403)
            case Refused():
                return json_reply({"error": "Prompt failed safety check"}, status=422)
            case _:
                assert isinstance(fault, ServerError), fault
                return json_reply({"error": "Internal server error."}, status=500)

    def _take(self, job: Job, ask: _Ask) -> Reply | Drawing | Submission:
        images = job.count(ask.number("num_images", 1))
        each = _price_usd(ask) if job.usd_per_image is None else job.usd_per_image
        # Only completed images are billed, also those that the filter
        # withholds.
        usd = Decimal(0) if isinstance(job.fault, JobFails) else each * images
        if "dry_run=true" in job.received.query:
            quote = {
                "object": "price_quote",
                "quantity": images,
                "usd_micros": int(usd * 1_000_000),
                "qualifier": "exact",
            }
            return json_reply(quote)
        if (
            ask.word("async") != "true"
            and not ask.endpoint.always_asynchronous
            and "webhook_url" not in ask.fields
        ):
            return Drawing(
                model=ask.path,
                images=images,
                usd=usd,
                paint=lambda: self._answer_at_once(job, ask, images),
            )
        remote = job.remote.submit(
            job, lambda: _Made([_paint(job, ask) for _ in range(images)], ask, usd)
        )
        reply = json_reply({"generation_id": remote.id, "seed": ask.number("seed", 7)})
        url = ask.word("webhook_url")
        callback = None
        if url is not None and self.callback_keys:
            callback = Callback(
                url=url, sign=lambda now: sign_callback(remote.id, self.callback_keys[0], now=now)
            )
        return Submission(model=ask.path, images=images, usd=usd, reply=reply, callback=callback)

    def _answer_at_once(self, job: Job, ask: _Ask, images: int) -> Reply:
        made = _Made([_paint(job, ask) for _ in range(images)], ask, Decimal(0))
        data = [_item(ask, content, job.as_link(content), safe=True) for content in made.contents]
        return json_reply(
            {"generation_id": "at-once", "generation_kind": "sampling", "seed": 7, "data": data}
        )

    def _poll(self, job: Job) -> Reply:
        remote = job.remote.find(job.path.removeprefix("/v2/generations/"))
        if remote is None or job.received.method != "GET":
            return json_reply({"error": "Not found."}, status=404)
        head: dict[str, object] = {
            "generation_id": remote.id,
            "created": "2026-11-22T10:00:00Z",
            "response_type": "url",
        }
        if job.now < remote.ready_at:
            return json_reply({**head, "status": "pending"})
        if isinstance(remote.fault, JobFails):
            return json_reply({**head, "status": "failed", "failure_reason": remote.fault.text})
        made = remote.painted()
        assert isinstance(made, _Made)
        body = {**head, "status": "completed", "data": self._hand_out(job, remote, made)}
        if self.tells_cost and job.usd_per_image is None:
            body["usage_cost_usd_micros"] = int(made.usd * 1_000_000)
        return json_reply(body)

    def _hand_out(self, job: Job, remote: RemoteJob, made: _Made) -> list[dict[str, object]]:
        made.links += 1
        if isinstance(remote.fault, ExpiredLink) and (made.links == 1 or not self.resigns):
            job.fault = remote.fault
        data = []
        for place, content in enumerate(made.contents):
            safe = not (isinstance(remote.fault, Withheld) and place == 0)
            data.append(_item(made.ask, content, job.as_link(content) if safe else None, safe=safe))
        if not isinstance(remote.fault, Withheld):
            job.collected(remote)
        return data


def sign_callback(job_id: str, key: "Ed25519PrivateKey", *, now: int) -> Signed:
    """Return the message to the `webhook_url` of an ended generation."""
    payload = {"generation_id": job_id, "created": "2026-11-22T10:00:00Z", "data": []}
    return sign_with_key(
        payload, key, headers="x-ideogram-webhook-", id_header="generation-id", id=job_id, now=now
    )


def _price_usd(ask: _Ask) -> Decimal:
    """Return the price of one image. Ideogram 4.5 draws in high quality by
    default, and edits in medium.
    """
    word = ask.word(ask.endpoint.priced_by)
    return ask.endpoint.price_usd("medium" if word is None and "images" in ask.files else word)


def _item(ask: _Ask, content: bytes, link: str | None, *, safe: bool) -> dict[str, object]:
    prompt = ask.word("prompt") or ""
    # The prompt is extended by default, or on request.
    magic = ask.word("magic_prompt") not in (None, "off")
    return {
        "object_type": "image.generation",
        "url": link,
        "prompt": f"A detailed image of {prompt}" if magic else prompt,
        "resolution": "1024x1024",
        "seed": ask.number("seed", 7),
        "is_image_safe": safe,
    }


# --- reading ------------------------------------------------------------------


def _read_ask(job: Job, path: str, endpoint: Endpoint) -> _Ask:
    fields, files = _read_body(job)
    for name, (least, most) in endpoint.files.items():
        if not least <= len(files.get(name, [])) <= most:
            raise _InvalidError(
                f"{name}: expected {least} to {most} files.", 415 if not files and least else 400
            )
    if unknown := files.keys() - endpoint.files.keys():
        raise _InvalidError(f"Unknown file field: {min(unknown)}.")
    for name, values in fields.items():
        _check_field(endpoint, name, values, with_files=bool(files))
    for name in endpoint.required:
        if name not in fields:
            raise _InvalidError(f"{name} is required.")
    if not all(map(is_callback_url, fields.get("webhook_url", []))):
        raise _InvalidError("webhook_url must be an https URL.")
    prompt = fields.get("prompt", [""])[0]
    if (endpoint.prompt == "required" and not prompt) or len(prompt) > _LONGEST_PROMPT:
        raise _InvalidError("prompt must have 1 to 10000 characters.")
    _check_together(fields, files)
    contents = {name: [_read_image(name, part) for part in parts] for name, parts in files.items()}
    ask = _Ask(path=path, endpoint=endpoint, fields=fields, files=contents)
    if "mask" in contents:
        _check_mask(ask)
    return ask


def _read_body(job: Job) -> tuple[dict[str, list[str]], dict[str, list[FilePart]]]:
    """The fields as texts, from a form or from JSON, where each must have its
    own type.
    """
    if not job.received.headers.get("content-type", "").startswith("application/json"):
        try:
            return parse_form(job.received.headers, job.received.body)
        except FormError as error:
            raise _InvalidError(str(error)) from None
    try:
        body = msgspec.json.decode(job.received.body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _InvalidError("The body is not a JSON object.") from None
    fields: dict[str, list[str]] = {}
    for name, value in body.items():
        if (name in _FLAGS) != isinstance(value, bool) or isinstance(value, float):
            raise _InvalidError(f"{name} has the wrong type.")
        if name in ("num_images", "seed", "image_weight") and not isinstance(value, int):
            raise _InvalidError(f"{name} must be an integer.")
        items = value if isinstance(value, list) else [value]
        fields[name] = [
            item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in items
        ]
    return fields, {}


def _check_field(endpoint: Endpoint, name: str, values: list[str], *, with_files: bool) -> None:
    value = values[0] if values else ""
    if name != "style_codes" and len(values) != 1:
        raise _InvalidError(f"{name} may be given once.")
    if name in endpoint.numbers:
        low, high = endpoint.numbers[name]
        if not value.isdigit() or not low <= int(value) <= high:
            raise _InvalidError(f"{name} must be between {low} and {high}.")
    elif name in endpoint.choices:
        if value not in endpoint.choices[name] and not (
            name == "size" and endpoint.free_size and with_files and _is_free_size(value)
        ):
            raise _InvalidError(f"{name} must be one of {', '.join(endpoint.choices[name][:8])}...")
    elif name in _FLAGS:
        if value not in ("true", "false"):
            raise _InvalidError(f"{name} must be true or false.")
    elif name == "style_codes" and name in endpoint.texts:
        if not all(_STYLE_CODE.fullmatch(code) for code in values):
            raise _InvalidError("style_codes must be 8 hexadecimal digits each.")
    elif name not in endpoint.texts and not (name == "prompt" and endpoint.prompt is not None):
        raise _InvalidError(f"Unknown field: {name}.")


def _is_free_size(value: str) -> bool:
    found = _FREE_SIZE.fullmatch(value)
    if found is None:
        return False
    width, height = int(found[1]), int(found[2])
    whole = width % 32 == 0 and height % 32 == 0 and min(width, height) >= 256
    return whole and width * height <= 4_194_304 and max(width, height) <= 6 * min(width, height)


def _check_together(fields: Mapping[str, list[str]], files: Mapping[str, list[FilePart]]) -> None:
    if "aspect_ratio" in fields and "resolution" in fields:
        raise _InvalidError("Give aspect_ratio or resolution, not both.")
    if "style_codes" in fields and "style_reference_images" in files:
        raise _InvalidError("Give style_codes or style_reference_images, not both.")
    if "style_preset" in fields and ("style_codes" in fields or "style_reference_images" in files):
        raise _InvalidError(
            "style_preset goes with neither style_codes nor style_reference_images."
        )
    if fields.get("quality") == ["very_low"] and not files:
        raise _InvalidError("very_low needs images.")
    if "images" in files and "mask" in files and ("size" in fields or len(files["images"]) > 4):
        raise _InvalidError("With a mask there is no size, and there are at most 3 other images.")


def _read_image(name: str, part: FilePart) -> bytes:
    if len(part.data) > _LARGEST_FILE:
        raise _InvalidError(f"{name} is too large.", 413)
    try:
        format = _open(part.data).format or ""
    except OSError:
        format = ""
    if part.media_type != f"image/{format.lower()}" or format not in ("PNG", "JPEG", "WEBP"):
        raise _InvalidError(f"{name} must be a PNG, JPEG or WebP image that says so.")
    return part.data


def _check_mask(ask: _Ask) -> None:
    first = ask.files.get("images") or ask.files.get("image")
    if not first:
        raise _InvalidError("A mask needs an image.")
    mask = _open(ask.files["mask"][0]).convert("L")
    if mask.size != _open(first[0]).size:
        raise _InvalidError("The mask must have the size of the image.")
    if mask.getextrema() != (0, 255):
        raise _InvalidError("The mask must have black and white areas.")


# --- drawing ------------------------------------------------------------------


def _open(data: bytes) -> "Image.Image":
    from PIL import Image

    return Image.open(io.BytesIO(data))


def _paint(job: Job, ask: _Ask) -> bytes:
    """Return an image that shows what was made of the inputs.

    A mask changes its area only; a remix is blended with a new image by its
    weight; images of an edit are side by side in their order, and style
    references at the right edge.
    """
    images = [
        _open(data).convert("RGB")
        for name in ("image", "images")
        for data in ask.files.get(name, [])
    ]
    looks = [
        _open(data).convert("RGB")
        for name in ("reference_images", "style_reference_images", "character_reference_images")
        for data in ask.files.get(name, [])
    ]
    width, height = _size_of(ask, images)
    drawn = job.draw(width, height)
    if isinstance(job.fault, WrongMedia) or not (images or looks):
        return drawn
    canvas = _open(drawn).convert("RGB")
    _work(canvas, ask, images)
    if ask.endpoint.work == "remix":
        canvas = _blend(canvas, images[0], ask.number("image_weight", 50))
    for place, look in enumerate(looks):
        # With a mask it is in the area that changes, like everything new.
        left = 0 if "mask" in ask.files else width - 16 * (len(looks) - place)
        canvas.paste(look.resize((16, height)), (left, 0))
    if ask.endpoint.work == "cut out":
        canvas.putalpha(canvas.convert("L").point(lambda grey: 128))
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def _work(canvas: "Image.Image", ask: _Ask, images: "list[Image.Image]") -> None:
    """Return what each kind of endpoint does with the input images."""
    width, height = canvas.size
    if "mask" in ask.files:
        mask = _open(ask.files["mask"][0]).convert("L")
        # Black changes, except when removing an object.
        kept = mask.point(lambda grey: 255 - grey) if ask.endpoint.work == "erase" else mask
        canvas.paste(images[0], mask=kept)
        return
    match ask.endpoint.work:
        case "upscale" | "cut out":
            canvas.paste(images[0].resize(canvas.size))
        case "reframe" | "background":
            small = images[0].resize((width // 2, height // 2))
            canvas.paste(small, (width // 4, height // 4))
        case "edit" | "draw":
            for place, image in enumerate(images):
                left, right = (width * at // len(images) for at in (place, place + 1))
                canvas.paste(image.resize(canvas.size).crop((left, 0, right, height)), (left, 0))
        case _:
            pass


def _blend(canvas: "Image.Image", image: "Image.Image", weight: int) -> "Image.Image":
    from PIL import Image

    return Image.blend(canvas, image.resize(canvas.size), weight / 100)


def _size_of(ask: _Ask, images: "list[Image.Image]") -> tuple[int, int]:
    work = ask.endpoint.work
    if work == "upscale":
        factor = int((ask.word("upscale_factor") or "x2")[1:])
        return images[0].width * factor, images[0].height * factor
    named = ask.word("resolution") or ask.word("size")
    if named is not None and "x" in named:
        width, height = map(int, named.split("x"))
        return width, height
    if (ratio := ask.word("aspect_ratio")) is not None:
        across, down = map(int, ratio.split("x"))
        side = 1024 * int((ask.word("output_resolution") or "1k")[0])
        return (
            round(side * (across / down) ** 0.5 / 16) * 16,
            round(side * (down / across) ** 0.5 / 16) * 16,
        )
    if resolution := ask.word("output_resolution"):
        return 1024 * int(resolution[0]), 1024 * int(resolution[0])
    return images[0].size if images and work != "remix" else ask.endpoint.default_size


SIMULATED = (Ideogram(),)
