"""xAI, OpenRouter and Together: three variants of OpenAI's Images API, as of
August 2026.

From their published OpenAPI documents, and recorded exchanges of the first two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec

from ..._core.edits import ImageError, draw_edit, open_image, read_data_url
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
from ..._core.fields import BadRequestError, Fields
from ..._core.images import MEDIA_TYPES
from ..._core.jobs import Job
from ..._core.messages import Drawing, Kind, Reply, json_reply

if TYPE_CHECKING:
    from PIL import Image

_TICKS = 10**10
_XAI_RATIOS = [
    "1:1",
    "16:9",
    "9:16",
    "4:3",
    "3:4",
    "3:2",
    "2:3",
    "2:1",
    "1:2",
    "19.5:9",
    "9:19.5",
    "20:9",
    "9:20",
    "auto",
]
_RATIOS = ["1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"]
_SIDES = {"1K": 1024, "2K": 2048, "4K": 4096}
_QUALITIES = ("low", "medium", "high")


class GatewayModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model, its price for an image in US dollars, and its most input
    images.

    `usd_by_quality` are the prices of a quality, by resolution; without it the
    model has none. `usd_per_input` is the price of each input image.
    """

    id: str
    usd: Decimal = Decimal(0)
    most_images: int = 0
    usd_by_quality: Mapping[str, Mapping[str, Decimal]] = {}
    usd_per_input: Decimal = Decimal(0)

    def price(self, quality: str, resolution: str) -> Decimal:
        return self.usd_by_quality[quality][resolution] if self.usd_by_quality else self.usd


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was found to be right."""

    model: GatewayModel
    images: int
    width: int
    height: int
    inputs: list[Image.Image] = []
    format: str = "jpeg"


def read_model(fields: Fields, models: Collection[GatewayModel], status: int) -> GatewayModel:
    name = fields.text("model", required=True)
    model = next((model for model in models if model.id == name), None)
    if model is None:
        raise BadRequestError(
            f"The model {name} does not exist.",
            param="model",
            code="model_not_found",
            status=status,
        )
    return model


def _shape(ratio: str, side: int) -> tuple[int, int]:
    """Sides in that ratio with the area of a square of that side, as multiples
    of 16.
    """
    if ratio in ("auto", ""):
        return side, side
    wide, _, high = ratio.partition(":")
    factor = (float(wide) / float(high)) ** 0.5
    return round(side * factor / 16) * 16, round(side / factor / 16) * 16


def opened(urls: list[object], most: int, param: str) -> list[Image.Image]:
    if len(urls) > most:
        raise BadRequestError(
            f"At most {most} images are taken.", param=param, code="invalid_value"
        )
    try:
        return [open_image(read_data_url(url if isinstance(url, str) else "")) for url in urls]
    except ImageError as error:
        raise BadRequestError(
            f"Invalid image: {error}", param=param, code="invalid_image"
        ) from error


def draw(job: Job, ask: Ask) -> bytes:
    if ask.inputs:
        return draw_edit(job, ask.inputs, ask.width, ask.height, format=ask.format)
    return job.draw(ask.width, ask.height, format=ask.format)


def drawing(job: Job, ask: Ask, paint: Callable[[], dict[str, object]]) -> Drawing:
    each = ask.model.usd if job.usd_per_image is None else job.usd_per_image
    return Drawing(
        model=ask.model.id,
        images=ask.images,
        usd=ask.images * each,
        paint=lambda: json_reply(paint()),
    )


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """Common part: a bearer key, a list, and a POST that draws."""

    name: str
    base_path: str = "/v1"
    models: tuple[GatewayModel, ...] = ()

    def kind(self, method: str, path: str) -> Kind:
        if method == "POST" and path in self._create_paths():
            return "create"
        return "list" if method == "GET" and path == self._list_path() else "other"

    def answer(self, job: Job) -> Reply | Drawing:
        if job.received.headers.get("authorization") != f"Bearer {job.key}":
            return self._refuse("Incorrect API key provided.", status=401, code="invalid_api_key")
        kind = self.kind(job.received.method, job.path)
        if kind == "list":
            return json_reply(self._listed())
        if kind != "create":
            known = job.received.method == "GET" and job.path in ("/models", "/key")
            return json_reply({"data": []}) if known else self._refuse("Not Found", status=404)
        if "json" not in job.received.headers.get("content-type", ""):
            return self._refuse("Expected a JSON body.", status=400)
        try:
            fields = Fields(job.received.body)
            return self._create(job, fields)
        except BadRequestError as error:
            return self._refuse(str(error), status=error.status)

    def decline(self, job: Job, fault: Decline) -> Reply:
        match fault:
            case RateLimited(wait_seconds=wait, told=told):
                text = (
                    f"Rate limit exceeded. Please try again in {wait:g}s."
                    if told == "text"
                    else "Rate limit exceeded."
                )
                reply = self._refuse(text, status=429)
                headers = (("retry-after", f"{wait:.0f}"),) if told == "header" else ()
                return msgspec.structs.replace(reply, headers=reply.headers + headers)
            case QuotaExhausted():
                return self._refuse(
                    "Insufficient credits. Add more on the billing page.", status=402
                )
            case Overloaded():
                return self._refuse("The service is overloaded.", status=503)
            case NotAllowed():
                return self._refuse("This key may not do that.", status=403)
            case Refused():
                return self._refuse_prompt()
            case _:
                assert isinstance(fault, ServerError), fault
                return self._refuse("Internal error.", status=500)

    def _create_paths(self) -> tuple[str, ...]:
        raise NotImplementedError  # pragma: no cover (a base class)

    def _list_path(self) -> str:
        return "/models"

    def _listed(self) -> object:
        raise NotImplementedError  # pragma: no cover (a base class)

    def _create(self, job: Job, fields: Fields) -> Reply | Drawing:
        raise NotImplementedError  # pragma: no cover (a base class)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        error = {"message": text, "type": "invalid_request_error", "param": None, "code": code}
        return json_reply({"error": error}, status=status)

    def _refuse_prompt(self) -> Reply:
        return self._refuse("The prompt was rejected: NSFW content.", status=400)


def _cheapest(model: GatewayModel) -> Decimal:
    rows = model.usd_by_quality.values()
    return min((usd for row in rows for usd in row.values()), default=model.usd)


class Xai(Gateway, frozen=True, kw_only=True):
    """xAI: shapes by ratio, edits as JSON, the cost of each reply in ticks."""

    name: str = "xai"
    models: tuple[GatewayModel, ...] = (
        GatewayModel(
            id="grok-imagine-image",
            usd=Decimal("0.02"),
            most_images=3,
            usd_per_input=Decimal("0.002"),
        ),
        GatewayModel(
            id="grok-imagine-image-2.0",
            most_images=3,
            usd_by_quality={
                "low": {"1k": Decimal("0.04"), "2k": Decimal("0.06")},
                "medium": {"1k": Decimal("0.06"), "2k": Decimal("0.08")},
            },
            usd_per_input=Decimal("0.01"),
        ),
    )

    def _create_paths(self) -> tuple[str, ...]:
        return "/images/generations", "/images/edits"

    def _list_path(self) -> str:
        return "/image-generation-models"

    def _listed(self) -> object:
        return {
            "models": [
                {"id": model.id, "object": "model", "image_price": int(_cheapest(model) * _TICKS)}
                for model in self.models
            ]
        }

    def _create(self, job: Job, fields: Fields) -> Drawing:
        known = {"model", "prompt", "n", "aspect_ratio", "resolution", "response_format"}
        inputs: list[Image.Image] = []
        model = read_model(fields, self.models, 404)
        if job.path == "/images/edits":
            known |= {"image", "images"}
            listed = fields.get("images")
            sources = (
                [fields.get("image")]
                if "image" in fields
                else listed
                if isinstance(listed, list)
                else []
            )
            if not sources:
                raise BadRequestError("Missing image.", param="image", code=None)
            typed = [
                source
                for source in sources
                if isinstance(source, dict) and source.get("type") == "image_url"
            ]
            inputs = opened([source.get("url") for source in typed], model.most_images, "images")
            if len(typed) < len(sources):
                raise BadRequestError(
                    "Each image needs a type and a url.", param="images", code=None
                )
        known |= {"quality"} if model.usd_by_quality else set()
        for name in fields.names():
            if name not in known:
                # As recorded for `size`.
                raise BadRequestError(f"Argument not supported: {name}", param=name, code=None)
        fields.prompt()
        images = job.count(fields.integer("n", 1, 10, 1))
        resolution = fields.choice("resolution", ("1k", "2k"), "1k")
        quality = fields.choice("quality", ("auto", "low", "medium"), "auto")
        side = {"1k": 1024, "2k": 2048}[resolution]
        width, height = _shape(fields.choice("aspect_ratio", _XAI_RATIOS, "1:1"), side)
        linked = fields.choice("response_format", ("url", "b64_json"), "url") == "url"
        ask = Ask(model=model, images=images, width=width, height=height, inputs=inputs)
        each = job.usd_per_image
        if each is None:
            # Which quality "auto" is, is the model's to choose.
            each = model.price("medium" if quality == "auto" else quality, resolution)
        usd = images * each + len(inputs) * model.usd_per_input
        ticks = int(usd * _TICKS)

        def paint() -> dict[str, object]:
            data: list[dict[str, object]] = []
            for _ in range(images):
                if isinstance(job.fault, Withheld):
                    data.append({"url": "", "respect_moderation": False})
                    continue
                content = draw(job, ask)
                where = (
                    {"url": job.as_link(content, format="jpeg")}
                    if linked
                    else {"b64_json": job.as_base64(content)}
                )
                # As recorded: empty where the prompt was kept.
                data.append({**where, "mime_type": "image/jpeg", "revised_prompt": ""})
            return {"data": data, "usage": {"cost_in_usd_ticks": ticks}}

        return msgspec.structs.replace(drawing(job, ask, paint), usd=usd)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        return json_reply({"code": code or "The request was refused", "error": text}, status=status)


def _by_resolution(id: str, *usd: str) -> GatewayModel:
    prices = dict(zip(_SIDES, map(Decimal, usd), strict=True))
    return GatewayModel(id=id, most_images=14, usd_by_quality={"": prices})


class OpenRouter(Gateway, frozen=True, kw_only=True):
    """OpenRouter: one path for everything, and replies with their cost in
    dollars.
    """

    name: str = "openrouter"
    base_path: str = "/api/v1"
    models: tuple[GatewayModel, ...] = (
        GatewayModel(
            id="google/gemini-3.1-flash-lite-image", usd=Decimal("0.03422675"), most_images=3
        ),
        _by_resolution("google/gemini-nano-banana-2.1", "0.0338", "0.0506", "0.1136"),
        _by_resolution("google/gemini-3-pro-image", "0.1350", "0.1350", "0.2406"),
        GatewayModel(
            id="openai/gpt-image-2",
            most_images=16,
            usd_by_quality={
                quality: dict.fromkeys(_SIDES, Decimal(usd))
                for quality, usd in (("medium", "0.053"), ("low", "0.006"), ("high", "0.211"))
            },
        ),
        GatewayModel(id="openai/gpt-image-2.5-flare", usd=Decimal("0.04"), most_images=16),
        GatewayModel(id="black-forest-labs/flux.2-pro", usd=Decimal("0.03"), most_images=3),
        GatewayModel(id="black-forest-labs/flux.2-max", usd=Decimal("0.07"), most_images=3),
        GatewayModel(id="black-forest-labs/flux.2-klein-4b", usd=Decimal("0.014"), most_images=3),
        GatewayModel(id="bytedance-seed/seedream-4.5", usd=Decimal("0.04"), most_images=14),
        GatewayModel(id="recraft/recraft-v4.1", usd=Decimal("0.035"), most_images=1),
        GatewayModel(id="recraft/recraft-v4.1-vector", usd=Decimal("0.08")),
        GatewayModel(id="microsoft/mai-image-2.5-pro", usd=Decimal("0.1"), most_images=1),
        GatewayModel(id="krea/krea-2-large", usd=Decimal("0.06")),
    )

    def _create_paths(self) -> tuple[str, ...]:
        return ("/images",)

    def _list_path(self) -> str:
        return "/images/models"

    def _listed(self) -> object:
        return {
            "data": [{"id": model.id, "name": model.id.partition("/")[2]} for model in self.models]
        }

    def _create(self, job: Job, fields: Fields) -> Drawing:
        known = (
            "model prompt n aspect_ratio resolution size quality background output_format"
            " output_compression seed"
        )
        fields.refuse_unknown({*known.split(), "input_references", "stream", "provider"})
        model = read_model(fields, self.models, 404)
        fields.prompt()
        images = job.count(fields.integer("n", 1, 10, 1))
        resolution = fields.choice("resolution", tuple(_SIDES), "1K")
        quality = fields.choice("quality", ("auto", "", *model.usd_by_quality, *_QUALITIES), "auto")
        if quality not in model.usd_by_quality:
            quality = next(iter(model.usd_by_quality), "")
        width, height = _shape(fields.choice("aspect_ratio", _RATIOS, "1:1"), _SIDES[resolution])
        sources = fields.get("input_references") or []
        if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
            raise BadRequestError(
                "input_references must be a list of objects.", param="input_references", code=None
            )
        urls: list[object] = []
        for source in sources:
            inner = source.get("image_url")
            urls.append(
                inner.get("url")
                if source.get("type") == "image_url" and isinstance(inner, dict)
                else None
            )
        inputs = opened(urls, model.most_images, "input_references")
        kind = "svg" if model.id.endswith("-vector") else "jpeg"
        ask = Ask(
            model=model, images=images, width=width, height=height, inputs=inputs, format=kind
        )
        each = job.usd_per_image
        usd = images * (model.price(quality, resolution) if each is None else each)

        def paint() -> dict[str, object]:
            data = [
                {"b64_json": job.as_base64(draw(job, ask)), "media_type": MEDIA_TYPES[kind]}
                for _ in range(images)
            ]
            usage = {
                "prompt_tokens": 5,
                "completion_tokens": 1537,
                "total_tokens": 1542,
                "cost": usd,
                "is_byok": False,
            }
            return {"created": 0, "data": data, "usage": usage}

        return msgspec.structs.replace(drawing(job, ask, paint), usd=usd)

    def _refuse(self, text: str, *, status: int, code: str | None = None) -> Reply:
        return json_reply({"error": {"code": status, "message": text}}, status=status)

    def _refuse_prompt(self) -> Reply:
        metadata = {"reasons": ["violence"], "flagged_input": "a ..."}
        error = {"code": 403, "message": "Your input was flagged.", "metadata": metadata}
        return json_reply({"error": error}, status=403)


class Together(Gateway, frozen=True, kw_only=True):
    """Together: sizes as width and height, and images to work on by the path of
    generations.
    """

    name: str = "together"
    models: tuple[GatewayModel, ...] = (
        GatewayModel(id="black-forest-labs/FLUX.1-schnell", usd=Decimal("0.0027")),
        GatewayModel(id="black-forest-labs/FLUX.1-kontext-pro", usd=Decimal("0.04"), most_images=1),
        GatewayModel(id="Qwen/Qwen-Image", usd=Decimal("0.0058")),
    )

    def _create_paths(self) -> tuple[str, ...]:
        return ("/images/generations",)

    def _listed(self) -> object:
        chat: dict[str, object] = {
            "id": "moonshotai/Kimi-K2",
            "type": "chat",
            "display_name": "Kimi K2",
        }
        images = [
            {"id": model.id, "type": "image", "display_name": model.id.partition("/")[2]}
            for model in self.models
        ]
        return [chat, *images]

    def _create(self, job: Job, fields: Fields) -> Drawing:
        known = (
            "model prompt n width height steps seed negative_prompt guidance_scale image_url"
            " reference_images"
        )
        fields.refuse_unknown(
            {
                *known.split(),
                "image_loras",
                "output_format",
                "response_format",
                "disable_safety_checker",
            }
        )
        model = read_model(fields, self.models, 404)
        fields.prompt()
        images = job.count(fields.integer("n", 1, 4, 1))
        width, height = (fields.integer(name, 64, 1792, 1024) for name in ("width", "height"))
        fields.integer("steps", 1, 50, 20)
        fields.number("guidance_scale", 0, 20)
        fields.flag("disable_safety_checker")
        format = fields.choice("output_format", ("jpeg", "png"), "jpeg")
        linked = fields.choice("response_format", ("url", "base64"), "url") == "url"
        listed = fields.get("reference_images") or []
        urls = [
            *([fields.get("image_url")] if "image_url" in fields else []),
            *(listed if isinstance(listed, list) else []),
        ]
        inputs = opened(urls, model.most_images, "image_url")
        ask = Ask(
            model=model, images=images, width=width, height=height, inputs=inputs, format=format
        )
        megapixels = -(-width * height // (1024 * 1024)) if "schnell" in model.id else 1

        def paint() -> dict[str, object]:
            data: list[dict[str, object]] = []
            for index in range(images):
                content = draw(job, ask)
                where = (
                    {"url": job.as_link(content, format=format)}
                    if linked
                    else {"b64_json": job.as_base64(content)}
                )
                data.append({"index": index, **where, "type": "url" if linked else "b64_json"})
            return {
                "id": f"o{job.received.number}",
                "model": model.id,
                "object": "list",
                "data": data,
            }

        drawn = drawing(job, ask, paint)
        return msgspec.structs.replace(drawn, usd=drawn.usd * megapixels)


SIMULATED = (Xai(), OpenRouter(), Together())
