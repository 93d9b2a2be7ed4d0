"""Recraft: POST images/generations and GET users/me, as of the OpenAPI document
of August 2026.
"""

from __future__ import annotations

from decimal import Decimal

from .._core.fields import BadRequestError, Fields
from .._core.jobs import Job
from .._core.messages import Drawing, Reply, json_reply
from .openai_gateways.server import Ask, Gateway, GatewayModel, draw, drawing, read_model

_CREDITS_PER_USD = 1000


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
        return ("/images/generations",)

    def _listed(self) -> object:
        return {"data": []}

    def answer(self, job: Job) -> Reply | Drawing:
        key = job.received.headers.get("authorization") == f"Bearer {job.key}"
        if key and job.received.method == "GET" and job.path == "/users/me":
            return json_reply({"id": "u1", "name": "A", "email": "a@example.org", "credits": 1000})
        return super().answer(job)

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
        model = read_model(fields, self.models, 400)
        fields.prompt(longest=1000 if model.id == "recraftv3" else 10000)
        if model.id != "recraftv3" and "style" in fields:
            raise BadRequestError("style is not supported", param="style", code=None)
        fields.choice("style", ("any", "realistic_image", "digital_illustration"), "any")
        images = job.count(fields.integer("n", 1, 6, 1))
        wide, _, high = fields.text("size", "1024x1024").partition("x")
        if not wide.isdigit() or not high.isdigit():
            raise BadRequestError("size is not valid", param="size", code=None)
        format = fields.choice("image_format", ("webp", "png"), "webp")
        fields.integer("random_seed", 0, 2**63, 0)
        linked = fields.choice("response_format", ("url", "b64_json"), "url") == "url"
        ask = Ask(model=model, images=images, width=int(wide), height=int(high), format=format)
        each = model.usd if job.usd_per_image is None else job.usd_per_image

        def paint() -> dict[str, object]:
            data: list[dict[str, object]] = []
            for number in range(images):
                content = draw(job, ask)
                where = (
                    {"url": job.as_link(content, format=format)}
                    if linked
                    else {"b64_json": job.as_base64(content)}
                )
                data.append({"image_id": f"i{number}", **where})
            credits = images * each * _CREDITS_PER_USD
            return {"created": job.created, "credits": credits, "data": data}

        return drawing(job, ask, paint)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        return json_reply({"code": code or "invalid_request", "message": text}, status=status)


SIMULATED = (Recraft(),)
