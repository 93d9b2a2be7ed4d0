"""Recraft: POST images/generations, images/imageToImage and images/inpaint, and
GET users/me, as of the OpenAPI document of August 2026.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from .._core.edits import ImageError, draw_edit, open_image
from .._core.fields import BadRequestError, Fields
from .._core.forms import FormError, parse_form
from .._core.jobs import Job
from .._core.messages import Drawing, Reply, json_reply
from .openai_gateways.server import Ask, Gateway, GatewayModel, draw, drawing, read_model

if TYPE_CHECKING:
    from PIL import Image

_CREDITS_PER_USD = 1000
_CHANGES = ("/images/imageToImage", "/images/inpaint")
_CHANGE_FIELDS = (
    *("prompt", "model", "n", "style", "substyle", "style_id", "response_format"),
    *("image_format", "negative_prompt", "random_seed", "controls", "block_nsfw", "expire"),
)
_SIDES = (256, 4096)


class Recraft(Gateway, frozen=True, kw_only=True):
    """Raster models only; the reply counts credits beside its images."""

    name: str = "recraft"
    models: tuple[GatewayModel, ...] = (
        GatewayModel(id="recraftv4_1", usd=Decimal("0.035")),
        GatewayModel(id="recraftv4_1_pro", usd=Decimal("0.21")),
        GatewayModel(id="recraftv4", usd=Decimal("0.04")),
        GatewayModel(id="recraftv3", usd=Decimal("0.04")),
    )

    def _create_paths(self) -> tuple[str, ...]:
        return ("/images/generations", *_CHANGES)

    def _listed(self) -> object:
        return {"data": []}

    def answer(self, job: Job) -> Reply | Drawing:
        key = job.received.headers.get("authorization") == f"Bearer {job.key}"
        if key and job.received.method == "GET" and job.path == "/users/me":
            return json_reply({"id": "u1", "name": "A", "email": "a@example.org", "credits": 1000})
        if key and job.received.method == "POST" and job.path in _CHANGES:
            return self._change(job)
        return super().answer(job)

    def _change(self, job: Job) -> Reply | Drawing:
        try:
            texts, files = parse_form(job.received.headers, job.received.body)
            images = {name: open_image(parts[0].data) for name, parts in files.items()}
            return self._changed(job, Fields.of_form(texts), images)
        except (BadRequestError, FormError, ImageError) as error:
            return self._refuse(str(error), status=400)

    def _changed(self, job: Job, fields: Fields, images: dict[str, Image.Image]) -> Drawing:
        inpaints = job.path == "/images/inpaint"
        fields.refuse_unknown({*_CHANGE_FIELDS, *(() if inpaints else ("strength",))})
        if not inpaints and fields.number("strength", 0, 1) is None:
            raise BadRequestError("strength is required", param="strength", code=None)
        if images.keys() != ({"image", "mask"} if inpaints else {"image"}):
            raise BadRequestError("files do not match", param="image", code=None)
        image, mask = images["image"], images.get("mask")
        if not all(_SIDES[0] <= side <= _SIDES[1] for side in image.size):
            raise BadRequestError("image has invalid sides", param="image", code=None)
        if mask is not None and (mask.size != image.size or mask.mode != "L"):
            raise BadRequestError("mask must be grayscale", param="mask", code=None)
        ask = self._read(job, fields, size=image.size)
        if inpaints and ask.model.id != "recraftv3":
            raise BadRequestError("model is not supported", param="model", code=None)
        width, height = image.size
        return self._paint(
            job,
            fields,
            ask,
            lambda: draw_edit(job, [image], width, height, mask=mask, format=ask.format),
        )

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
        wide, _, high = fields.text("size", "1024x1024").partition("x")
        if not wide.isdigit() or not high.isdigit():
            raise BadRequestError("size is not valid", param="size", code=None)
        ask = self._read(job, fields, size=(int(wide), int(high)))
        return self._paint(job, fields, ask, lambda: draw(job, ask))

    def _read(self, job: Job, fields: Fields, *, size: tuple[int, int]) -> Ask:
        model = read_model(fields, self.models, 400)
        fields.prompt(longest=1000 if model.id == "recraftv3" else 10000)
        for name in ("style", "negative_prompt"):
            if model.id != "recraftv3" and name in fields:
                raise BadRequestError(f"{name} is not supported", param=name, code=None)
        fields.choice("style", ("any", "realistic_image", "digital_illustration"), "any")
        fields.integer("random_seed", 0, 2**63, 0)
        return Ask(
            model=model,
            images=job.count(fields.integer("n", 1, 6, 1)),
            width=size[0],
            height=size[1],
            format=fields.choice("image_format", ("webp", "png"), "webp"),
        )

    def _paint(self, job: Job, fields: Fields, ask: Ask, content: Callable[[], bytes]) -> Drawing:
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
            return {"created": job.created, "credits": credits, "data": data}

        return drawing(job, ask, paint)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        return json_reply({"code": code or "invalid_request", "message": text}, status=status)


SIMULATED = (Recraft(),)
