"""Recraft: POST images/generations and the operations on an image, and GET
users/me, as of the OpenAPI document of August 2026.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from .._core.edits import ImageError, draw_edit, open_image
from .._core.fields import BadRequestError, Fields
from .._core.forms import FormError, parse_form
from .._core.jobs import Job
from .._core.messages import Drawing, Reply, json_reply
from .openai_gateways.server import Ask, Gateway, GatewayModel, draw, drawing, read_model

if TYPE_CHECKING:
    from PIL import Image

_Change: TypeAlias = "Callable[[Job, Fields, dict[str, Image.Image]], Drawing]"

_CREDITS_PER_USD = 1000
# Operations that draw by a prompt, with the files that they take.
_CHANGES = {
    "/images/imageToImage": {"image"},
    "/images/inpaint": {"image", "mask"},
    "/images/replaceBackground": {"image"},
    "/images/generateBackground": {"image", "mask"},
    "/images/outpaint": {"image"},
}
_STRENGTH, _OUTPAINT = "/images/imageToImage", "/images/outpaint"
_EXPAND = ("expand_left", "expand_right", "expand_top", "expand_bottom")
_CHANGE_FIELDS = (
    *("prompt", "model", "n", "style", "substyle", "style_id", "response_format"),
    *("image_format", "negative_prompt", "random_seed", "controls", "block_nsfw", "expire"),
)
_SIDES = (256, 4096)
_VECTOR = "_vector"


class _Process(msgspec.Struct, frozen=True, kw_only=True):
    """An operation without a prompt: its price, files and least side."""

    usd: Decimal
    files: frozenset[str] = frozenset({"image"})
    least_side: int = _SIDES[0]
    factor: int = 1
    format: str | None = None


_PROCESSES = {
    "/images/vectorize": _Process(usd=Decimal("0.01"), format="svg"),
    "/images/removeBackground": _Process(usd=Decimal("0.01")),
    "/images/eraseRegion": _Process(usd=Decimal("0.002"), files=frozenset({"image", "mask"})),
    "/images/crispUpscale": _Process(usd=Decimal("0.004"), least_side=32, factor=2),
    "/images/creativeUpscale": _Process(usd=Decimal("0.25"), factor=2),
}


class Recraft(Gateway, frozen=True, kw_only=True):
    """The reply counts credits beside its images."""

    name: str = "recraft"
    models: tuple[GatewayModel, ...] = (
        GatewayModel(id="recraftv4_1", usd=Decimal("0.035")),
        GatewayModel(id="recraftv4_1_pro", usd=Decimal("0.21")),
        GatewayModel(id="recraftv4", usd=Decimal("0.04")),
        GatewayModel(id="recraftv3", usd=Decimal("0.04")),
        GatewayModel(id="recraftv4_1_vector", usd=Decimal("0.08")),
        GatewayModel(id="recraftv4_1_pro_vector", usd=Decimal("0.30")),
        GatewayModel(id="recraftv4_vector", usd=Decimal("0.08")),
        GatewayModel(id="recraftv4_pro", usd=Decimal("0.25")),
        GatewayModel(id="recraftv4_pro_vector", usd=Decimal("0.30")),
        GatewayModel(id="recraftv3_vector", usd=Decimal("0.08")),
    )

    def _create_paths(self) -> tuple[str, ...]:
        return ("/images/generations", *_CHANGES, *_PROCESSES)

    def _listed(self) -> object:
        return {"data": []}

    def answer(self, job: Job) -> Reply | Drawing:
        key = job.received.headers.get("authorization") == f"Bearer {job.key}"
        if key and job.received.method == "GET" and job.path == "/users/me":
            return json_reply({"id": "u1", "name": "A", "email": "a@example.org", "credits": 1000})
        if key and job.received.method == "POST" and job.path in _CHANGES:
            return self._change(job, self._changed)
        if key and job.received.method == "POST" and job.path in _PROCESSES:
            return self._change(job, self._processed)
        return super().answer(job)

    def _change(self, job: Job, change: _Change) -> Reply | Drawing:
        try:
            texts, files = parse_form(job.received.headers, job.received.body)
            images = {name: open_image(parts[0].data) for name, parts in files.items()}
            return change(job, Fields.of_form(texts), images)
        except (BadRequestError, FormError, ImageError) as error:
            return self._refuse(str(error), status=400)

    def _processed(self, job: Job, fields: Fields, images: dict[str, Image.Image]) -> Drawing:
        process = _PROCESSES[job.path]
        options = ("svg_compression", "max_num_shapes", "limit_num_shapes")
        others = options if process.format else ("image_format",)
        fields.refuse_unknown({"response_format", "expire", *others})
        _check_images(images, process.files, process.least_side)
        image, mask = images["image"], images.get("mask")
        width, height = (process.factor * side for side in image.size)
        format = process.format or fields.choice("image_format", ("webp", "png"), "webp")
        model = GatewayModel(id=job.path.rpartition("/")[2], usd=process.usd)
        ask = Ask(model=model, images=1, width=width, height=height, format=format)
        return self._paint(job, fields, ask, lambda: _edited(job, ask, image, mask), single=True)

    def _changed(self, job: Job, fields: Fields, images: dict[str, Image.Image]) -> Drawing:
        own = {_STRENGTH: ("strength",), _OUTPAINT: ("size", "zoom_out_percentage", *_EXPAND)}
        fields.refuse_unknown({*_CHANGE_FIELDS, *own.get(job.path, ())})
        if job.path == _STRENGTH and fields.number("strength", 0, 1) is None:
            raise BadRequestError("strength is required", param="strength", code=None)
        _check_images(images, _CHANGES[job.path], _SIDES[0])
        image, mask = images["image"], images.get("mask")
        size = _extended(fields, image.size) if job.path == _OUTPAINT else image.size
        ask = self._read(job, fields, size=size)
        if job.path != _STRENGTH and not ask.model.id.startswith("recraftv3"):
            raise BadRequestError("model is not supported", param="model", code=None)
        return self._paint(job, fields, ask, lambda: _edited(job, ask, image, mask))

    def _create(self, job: Job, fields: Fields) -> Drawing:
        fields.refuse_unknown(
            {
                *[
                    "prompt",
                    "model",
                    "size",
                    "n",
                    "style",
                    "substyle",
                    "style_id",
                    "response_format",
                    "image_format",
                ],
                *[
                    "negative_prompt",
                    "random_seed",
                    "controls",
                    "text_layout",
                    "block_nsfw",
                    "expire",
                ],
            }
        )
        ask = self._read(job, fields, size=_read_size(fields.text("size", "1024x1024")))
        return self._paint(job, fields, ask, lambda: draw(job, ask))

    def _read(self, job: Job, fields: Fields, *, size: tuple[int, int]) -> Ask:
        model = read_model(fields, self.models, 400)
        is_v3, is_vector = model.id.startswith("recraftv3"), model.id.endswith(_VECTOR)
        fields.prompt(longest=1000 if is_v3 else 10000)
        lacking = () if is_v3 else ("style", "negative_prompt")
        for name in (*lacking, *(("image_format",) if is_vector else ())):
            if name in fields:
                raise BadRequestError(f"{name} is not supported", param=name, code=None)
        raster, vector = (
            ("realistic_image", "digital_illustration"),
            ("vector_illustration", "icon"),
        )
        fields.choice("style", ("any", *(vector if is_vector else raster)), "any")
        fields.integer("random_seed", 0, 2**63, 0)
        return Ask(
            model=model,
            images=job.count(fields.integer("n", 1, 6, 1)),
            width=size[0],
            height=size[1],
            format="svg" if is_vector else fields.choice("image_format", ("webp", "png"), "webp"),
        )

    def _paint(
        self,
        job: Job,
        fields: Fields,
        ask: Ask,
        content: Callable[[], bytes],
        *,
        single: bool = False,
    ) -> Drawing:
        linked = fields.choice("response_format", ("url", "b64_json"), "url") == "url"
        each = ask.model.usd if job.usd_per_image is None else job.usd_per_image

        def paint() -> dict[str, object]:
            data: list[dict[str, object]] = []
            for number in range(ask.images):
                drawn = content()
                where = (
                    {"url": job.as_link(drawn, format=ask.format)}
                    if linked
                    else {"b64_json": job.as_base64(drawn)}
                )
                data.append({"image_id": f"i{number}", **where})
            credits = ask.images * each * _CREDITS_PER_USD
            images = {"image": data[0]} if single else {"data": data}
            return {"created": job.created, "credits": credits, **images}

        return drawing(job, ask, paint)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        return json_reply({"code": code or "invalid_request", "message": text}, status=status)


def _check_images(images: dict[str, Image.Image], files: Set[str], least_side: int) -> None:
    if images.keys() != files:
        raise BadRequestError("files do not match", param="image", code=None)
    image, mask = images["image"], images.get("mask")
    if not all(least_side <= side <= _SIDES[1] for side in image.size):
        raise BadRequestError("image has invalid sides", param="image", code=None)
    if mask is not None and (mask.size != image.size or mask.mode != "L"):
        raise BadRequestError("mask must be grayscale", param="mask", code=None)


def _read_size(text: str) -> tuple[int, int]:
    wide, _, high = text.partition("x")
    if not wide.isdigit() or not high.isdigit():
        raise BadRequestError("size is not valid", param="size", code=None)
    return int(wide), int(high)


def _extended(fields: Fields, size: tuple[int, int]) -> tuple[int, int]:
    """Size of an outpainting, which wants at least one of its fields."""
    left, right, top, bottom = (fields.integer(name, 0, 4096, 0) for name in _EXPAND)
    zoom = fields.number("zoom_out_percentage", 0, 100)
    if "size" in fields:
        if any((left, right, top, bottom)):
            raise BadRequestError("size and expand are exclusive", param="size", code=None)
        return _read_size(fields.text("size"))
    if zoom is None and not any((left, right, top, bottom)):
        raise BadRequestError("size, expand or zoom is required", param="size", code=None)
    wide, high = size[0] + left + right, size[1] + top + bottom
    if max(wide, high) > _SIDES[1]:
        raise BadRequestError("result is too large", param="expand_left", code=None)
    return wide, high


def _edited(job: Job, ask: Ask, image: Image.Image, mask: Image.Image | None) -> bytes:
    if ask.format == "svg":
        return job.draw(ask.width, ask.height, format=ask.format)
    return draw_edit(job, [image], ask.width, ask.height, mask=mask, format=ask.format)


SIMULATED = (Recraft(),)
