"""BytePlus ModelArk: POST images/generations for Seedream, as of November 2026.

From the maker's API reference; images to work on come by the same path.
"""

from __future__ import annotations

from decimal import Decimal

from .._core.fields import BadRequestError, Fields
from .._core.jobs import Job
from .._core.messages import Drawing, Reply, json_reply
from .openai_gateways.server import Ask, Gateway, GatewayModel, draw, drawing, opened, read_model

_MOST_PIXELS = 4096 * 4096
_LEAST_PIXELS = {"seedream-4-0-250828": 1280 * 720}
_CLASSES = {"1K": 1024, "2K": 2048, "3K": 3072, "4K": 4096}


class BytePlus(Gateway, frozen=True, kw_only=True):
    """One image per request; several come only as a sequence, which is not
    simulated.
    """

    name: str = "byteplus"
    base_path: str = "/api/v3"
    models: tuple[GatewayModel, ...] = (
        GatewayModel(id="seedream-5-0-lite-260128", usd=Decimal("0.035"), most_images=14),
        GatewayModel(id="seedream-4-5-251128", usd=Decimal("0.04"), most_images=14),
        GatewayModel(id="seedream-4-0-250828", usd=Decimal("0.03"), most_images=14),
    )

    def _create_paths(self) -> tuple[str, ...]:
        return ("/images/generations",)

    def _listed(self) -> object:
        return {"data": []}

    def _create(self, job: Job, fields: Fields) -> Drawing:
        fields.refuse_unknown(
            {
                *[
                    "model",
                    "prompt",
                    "image",
                    "size",
                    "response_format",
                    "output_format",
                    "watermark",
                    "stream",
                ],
                "sequential_image_generation",
                "sequential_image_generation_options",
                "optimize_prompt_options",
            }
        )
        model = read_model(fields, self.models, 404)
        fields.prompt()
        fields.flag("watermark")
        width, height = _read_size(fields, model.id)
        format = "jpeg"
        if "5-0" in model.id:
            format = fields.choice("output_format", ("jpeg", "png"), "jpeg")
        elif "output_format" in fields:
            raise BadRequestError("Unknown parameter.", param="output_format", code=None)
        linked = fields.choice("response_format", ("url", "b64_json"), "url") == "url"
        given = fields.get("image")
        urls = given if isinstance(given, list) else [given] if given is not None else []
        ask = Ask(
            model=model,
            images=job.count(1),
            width=width,
            height=height,
            inputs=opened(urls, model.most_images, "image"),
            format=format,
        )

        def paint() -> dict[str, object]:
            data: list[dict[str, object]] = []
            for _ in range(ask.images):
                content = draw(job, ask)
                where = (
                    {"url": job.as_link(content, format=format)}
                    if linked
                    else {"b64_json": job.as_base64(content)}
                )
                data.append({**where, "size": f"{width}x{height}"})
            usage = {"generated_images": len(data), "output_tokens": 16384, "total_tokens": 16384}
            return {"model": model.id, "created": job.created, "data": data, "usage": usage}

        return drawing(job, ask, paint)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        codes = {401: "AuthenticationError", 402: "AccountOverdueError", 429: "RateLimitExceeded"}
        error = {"code": code or codes.get(status, "InvalidParameter"), "message": text}
        # An account without money is answered with 403 and a code.
        shown = 403 if status == 402 else status
        return json_reply({"error": {**error, "param": "", "type": "BadRequest"}}, status=shown)

    def _refuse_prompt(self) -> Reply:
        text = "The request failed because the input text may contain sensitive information."
        return self._refuse(text, status=400, code="InputTextSensitiveContentDetected")


def _read_size(fields: Fields, model: str) -> tuple[int, int]:
    text = fields.text("size", "2048x2048")
    if text in _CLASSES:
        return _CLASSES[text], _CLASSES[text]
    wide, cross, high = text.partition("x")
    if not cross or not wide.isdigit() or not high.isdigit():
        raise BadRequestError("The size is not valid.", param="size", code="InvalidParameter")
    width, height = int(wide), int(high)
    if not _LEAST_PIXELS.get(model, 2560 * 1440) <= width * height <= _MOST_PIXELS:
        raise BadRequestError("image size out of range", param="size", code="InvalidParameter")
    return width, height


SIMULATED = (BytePlus(),)
